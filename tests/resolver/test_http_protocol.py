import asyncio
import logging

import pytest

from protocol.codes import OpCode
from resolver.http_protocol import LINGER_S
from resolver.tunnel import TUNNEL_BODY_OCTETS_MAX
from tests.resolver.http_connections import (
    GET,
    LIMITS,
    answers,
    connect,
    make_server,
    post,
    run,
)
from tests.resolver.peers import (
    ListingAnswerer,
    request,
    request_ids,
    turns,
)


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_requests_are_answered_in_order_however_they_arrive(step: int) -> None:
    async def scenario() -> None:
        server = make_server()
        connection, transport = connect(server)
        octets = b"".join(f"GET /{number} HTTP/1.1\r\n\r\n".encode() for number in range(5))
        octets += post(request(7)) + GET
        for start in range(0, len(octets), step):
            connection.data_received(octets[start : start + step])
            await turns(1)
        await turns(60)
        found = answers(transport.written)
        assert [body.split()[0] for _, _, body in found[:5]] == [b"/0", b"/1", b"/2", b"/3", b"/4"]
        assert request_ids(found[5][2]) == [7]
        assert found[6][2].startswith(b"/x")
        await server.stop()

    run(scenario)


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (b"GET /x HTTP/1.1\r\n" + b"A: b\r\n" * 65 + b"\r\n", 431),
        (b"GET /x HTTP/1.1\r\nA: " + b"b" * 17_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * 17_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"PUT /x HTTP/1.1\r\nContent-Length: 2000000\r\n\r\n", 413),
        (post(b"", length=TUNNEL_BODY_OCTETS_MAX + 1), 413),
        (b"\x00\x01\x02\x03\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"CONNECT x:1 HTTP/1.1\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\n\r\n", 400),
    ],
)
@pytest.mark.parametrize("step", [64, 1_000_000])
def test_heads_and_bodies_out_of_bounds_are_refused_once(
    octets: bytes, status: int, step: int
) -> None:
    async def scenario() -> None:
        server = make_server()
        connection, transport = connect(server)
        for start in range(0, len(octets), step):
            connection.data_received(octets[start : start + step])
        await turns()
        found = answers(transport.written)
        assert [each[0] for each in found] == [status]
        assert found[0][1][b"connection"] == b"close"
        connection.data_received(GET)
        assert len(answers(transport.written)) == 1
        await server.stop()

    run(scenario)


def test_a_body_in_chunks_is_bounded_as_well() -> None:
    async def scenario() -> None:
        server = make_server(http_body_octets_max=1_000)
        connection, transport = connect(server)
        connection.data_received(b"PUT /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(10):
            connection.data_received(b"64\r\n" + b"x" * 100 + b"\r\n")
        assert not transport.eof_written
        connection.data_received(b"1\r\nx\r\n")
        assert transport.eof_written or transport.closing
        await server.stop()

    run(scenario)


def test_a_refused_client_can_read_its_answer_before_it_is_cut() -> None:
    async def scenario() -> None:
        server = make_server()
        connection, transport = connect(server)
        connection.data_received(b"PUT /x HTTP/1.1\r\nContent-Length: 2000000\r\n\r\n")
        assert transport.eof_written
        connection.data_received(bytes(65_536))
        now_s = asyncio.get_running_loop().time()
        server.sweep(now_s + LINGER_S - 0.5)
        assert not transport.aborted
        server.sweep(now_s + LINGER_S + 0.5)
        assert transport.aborted
        await server.stop()

    run(scenario)


def test_a_head_that_takes_too_long_is_answered_408() -> None:
    async def scenario() -> None:
        server = make_server()
        connection, transport = connect(server)
        connection.data_received(b"GET /x HTTP/1.1\r\n")
        now_s = asyncio.get_running_loop().time()
        connection.data_received(b"A: b\r\n")
        server.sweep(now_s + LIMITS.http_head_timeout_s + 1)
        assert answers(transport.written)[0][0] == 408
        await server.stop()

    run(scenario)


def test_a_connection_without_a_request_is_cut_in_silence() -> None:
    async def scenario() -> None:
        server = make_server()
        _, transport = connect(server)
        server.sweep(asyncio.get_running_loop().time() + LIMITS.http_head_timeout_s + 1)
        assert transport.aborted
        assert transport.written == b""
        await server.stop()

    run(scenario)


def test_line_ends_do_not_keep_a_connection_open() -> None:
    async def scenario() -> None:
        server = make_server()
        connection, transport = connect(server)
        connection.data_received(GET)
        await turns()
        connection.data_received(b"\r\n")
        server.sweep(asyncio.get_running_loop().time() + LIMITS.http_head_timeout_s + 1)
        assert transport.aborted
        await server.stop()

    run(scenario)


def test_a_body_that_takes_too_long_is_answered_408() -> None:
    async def scenario() -> None:
        server = make_server()
        connection, transport = connect(server)
        connection.data_received(b"PUT /x HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc")
        await turns()
        now_s = asyncio.get_running_loop().time()
        server.sweep(now_s + LIMITS.http_body_timeout_s - 1)
        assert not transport.closing
        server.sweep(now_s + LIMITS.http_body_timeout_s + 1)
        assert answers(transport.written)[0][0] == 408
        await server.stop()

    run(scenario)


def test_an_answer_under_way_is_not_cut() -> None:
    async def scenario() -> None:
        server = make_server()
        connection, transport = connect(server)
        connection.data_received(post(request(7, OpCode.DELETE_HANDLE)))
        await turns()
        server.sweep(asyncio.get_running_loop().time() + 10_000)
        assert not transport.closing
        transport.close()
        await turns()
        assert server.state.tasks == set()
        assert len(server.tasks) == 0
        await server.stop()

    run(scenario)


def test_a_pipeline_is_bounded() -> None:
    async def scenario() -> None:
        server = make_server(pipelined_max=4)
        connection, transport = connect(server)
        connection.data_received(post(request(7, OpCode.DELETE_HANDLE)) + GET * 10)
        assert transport.closing or transport.eof_written
        assert len(connection.pipeline) <= 4
        await turns()
        await server.stop()

    run(scenario)


def test_a_client_that_closes_its_half_is_answered_first() -> None:
    async def scenario() -> None:
        server = make_server(ListingAnswerer(messages=1))
        connection, transport = connect(server)
        connection.data_received(post(request(7, OpCode.CREATE_HANDLE)))
        assert connection.eof_received()
        await turns()
        assert request_ids(answers(transport.written)[0][2]) == [7]
        assert transport.closing
        await server.stop()

    run(scenario)


def test_a_request_cut_off_is_not_waited_for() -> None:
    async def scenario() -> None:
        server = make_server()
        for octets in (post(request(7))[:-1], b"PUT /x HTTP/1.1\r\nContent-Length: 9\r\n\r\n"):
            connection, transport = connect(server)
            connection.data_received(octets)
            assert not connection.eof_received()
            transport.close()  # as a transport does when told so
        await turns()
        await server.stop()

    run(scenario)


def test_proxy_headers_do_not_change_who_the_client_is() -> None:
    async def scenario() -> None:
        server = make_server()
        connection, transport = connect(server)
        connection.data_received(
            b"GET /x HTTP/1.1\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n\r\n"
        )
        await turns()
        assert answers(transport.written)[0][2] == b"/x 192.0.2.1 "
        await server.stop()

    run(scenario)


def test_our_own_mistake_costs_one_answer(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        server = make_server()
        connection, transport = connect(server)
        connection.data_received(b"GET /fail HTTP/1.1\r\n\r\n")
        await turns()
        status, _, body = answers(transport.written)[0]
        assert status == 500
        assert b"Traceback" not in body
        await server.stop()

    with caplog.at_level(logging.ERROR):
        run(scenario)
    assert "our mistake" in caplog.text


def test_a_wish_for_another_protocol_is_not_granted_but_answered() -> None:
    async def scenario() -> None:
        server = make_server()
        connection, transport = connect(server)
        connection.data_received(b"GET /x HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n")
        await turns()
        ((status, headers, body),) = answers(transport.written)
        assert (status, headers[b"connection"]) == (200, b"close")
        assert body.startswith(b"/x")
        assert transport.closing
        await server.stop()

    run(scenario)
