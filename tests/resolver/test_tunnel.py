import asyncio

import pytest

from protocol.codes import OpCode
from protocol.types.hs_site import TRANSPORT_HTTP, TRANSPORT_HTTPS
from resolver.tunnel import is_tunnel_request
from tests.resolver.http_connections import (
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
    response,
    turns,
)


@pytest.mark.parametrize("step", [1, 50, 10_000])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_the_tunnel_answers_with_a_length_and_never_in_chunks(version: str, step: int) -> None:
    async def scenario() -> None:
        answerer = ListingAnswerer()
        server = make_server(answerer)
        connection, transport = connect(server)
        octets = post(request(7), version=version)
        for start in range(0, len(octets), step):
            connection.data_received(octets[start : start + step])
        ((status, headers, body),) = answers(transport.written)
        assert status == 200
        assert headers[b"content-type"] == b"application/x-hdl-message"
        assert int(headers[b"content-length"]) == len(body)
        assert b"transfer-encoding" not in headers
        assert request_ids(body) == [7]
        assert transport.closing == (version == "1.0")
        assert answerer.peers[0].transport == TRANSPORT_HTTP
        assert answerer.peers[0].address == "192.0.2.1"
        await server.stop()

    run(scenario)


def test_the_tunnel_inside_tls_says_so() -> None:
    async def scenario() -> None:
        answerer = ListingAnswerer()
        server = make_server(answerer)
        connection, _ = connect(server, secure=True)
        connection.data_received(post(request(7)))
        assert answerer.peers[0].transport == TRANSPORT_HTTPS
        await server.stop()

    run(scenario)


def test_line_ends_before_the_envelope_are_tolerated() -> None:
    async def scenario() -> None:
        server = make_server()
        connection, transport = connect(server)
        connection.data_received(post(b"\r\n\n" + request(7)))
        assert request_ids(answers(transport.written)[0][2]) == [7]
        await server.stop()

    run(scenario)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_list_ends_with_the_connection(version: str) -> None:
    async def scenario() -> None:
        server = make_server(ListingAnswerer(messages=3))
        connection, transport = connect(server)
        connection.data_received(post(request(7, OpCode.LIST_HANDLES), version=version))
        await turns()
        ((status, headers, body),) = answers(transport.written)
        assert status == 200
        assert b"content-length" not in headers
        assert b"transfer-encoding" not in headers
        assert headers[b"connection"] == b"close"
        assert request_ids(body) == [7, 7, 7]
        assert transport.closing
        await server.stop()

    run(scenario)


def test_one_message_made_elsewhere_keeps_the_connection() -> None:
    async def scenario() -> None:
        server = make_server(ListingAnswerer(messages=1))
        connection, transport = connect(server)
        connection.data_received(post(request(7, OpCode.CREATE_HANDLE)) + post(request(8)))
        await turns()
        found = answers(transport.written)
        assert [request_ids(body) for _, _, body in found] == [[7], [8]]
        assert not transport.closing
        await server.stop()

    run(scenario)


@pytest.mark.parametrize("body", [b"", b"garbage", request(7)[:-1], response(7)])
def test_what_is_no_message_is_refused(body: bytes) -> None:
    async def scenario() -> None:
        server = make_server()
        connection, transport = connect(server)
        connection.data_received(post(body))
        assert answers(transport.written)[0][0] == 400
        await server.stop()

    run(scenario)


def test_a_list_waits_for_a_client_that_does_not_read_and_then_cuts_it() -> None:
    async def scenario() -> None:
        answerer = ListingAnswerer(answer_octets=1_000, messages=100)
        server = make_server(answerer)
        connection, transport = connect(server, high_water=5_000)
        connection.data_received(post(request(7, OpCode.LIST_HANDLES)))
        await turns(300)
        assert answerer.produced <= 9
        server.sweep(asyncio.get_running_loop().time() + LIMITS.write_timeout_s + 1)
        assert transport.aborted
        await turns()
        await server.stop()

    run(scenario)


def test_a_client_that_leaves_is_written_to_no_more() -> None:
    async def scenario() -> None:
        answerer = ListingAnswerer()
        answerer.may_go_on.clear()
        server = make_server(answerer)
        connection, transport = connect(server)
        connection.data_received(post(request(7, OpCode.LIST_HANDLES)))
        await turns()
        connection.connection_lost(None)
        answerer.may_go_on.set()
        await turns()
        assert transport.written == b""
        assert len(server.tasks) == 0
        await server.stop()

    run(scenario)


def test_a_tunnel_body_of_the_longest_message_is_taken() -> None:
    async def scenario() -> None:
        server = make_server(http_body_octets_max=1_000)
        connection, transport = connect(server)
        longest = request(7, body=bytes(262_144 - 28))
        octets = post(longest)
        for start in range(0, len(octets), 65_536):
            connection.data_received(octets[start : start + 65_536])
        assert transport.reading
        assert request_ids(answers(transport.written)[0][2]) == [7]
        await server.stop()

    run(scenario)


def test_a_long_pipeline_of_tunnel_requests_does_not_nest() -> None:
    async def scenario() -> None:
        answerer = ListingAnswerer(messages=1)
        answerer.may_go_on.clear()
        server = make_server(answerer, pipelined_max=1_000)
        connection, transport = connect(server)
        octets = post(request(1, OpCode.CREATE_HANDLE))
        octets += b"".join(post(request(number)) for number in range(2, 500))
        connection.data_received(octets)
        answerer.may_go_on.set()
        await turns(1_200)
        found = [request_ids(body)[0] for _, _, body in answers(transport.written)]
        assert found == list(range(1, 500))
        await server.stop()

    run(scenario)


@pytest.mark.parametrize(
    ("method", "content_type", "accept", "is_tunnel"),
    [
        (b"POST", b"application/x-hdl-message", b"application/x-hdl-message", True),
        (b"POST", b"Application/X-HDL-Message; a=b", b"*/*, application/x-hdl-message", True),
        (b"POST", b"application/x-hdl-message", b"*/*", False),
        (b"POST", b"application/json", b"application/x-hdl-message", False),
        (b"GET", b"application/x-hdl-message", b"application/x-hdl-message", False),
    ],
)
def test_tunnel_requests_are_told_by_method_and_both_types(
    method: bytes, content_type: bytes, accept: bytes, is_tunnel: bool
) -> None:
    headers = [(b"content-type", content_type), (b"accept", accept)]
    assert is_tunnel_request(method, headers) == is_tunnel
