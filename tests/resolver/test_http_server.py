import asyncio
import http.client
import logging
import socket
import ssl
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, cast

import pytest
import uvloop

from protocol.codes import OpCode
from protocol.key_files import generate_rsa_key
from protocol.types.hs_site import TRANSPORT_HTTP, TRANSPORT_HTTPS
from resolver.config import LimitsConfig, TlsConfig
from resolver.http_protocol import LINGER_S, HttpProtocol
from resolver.http_server import HttpServer
from resolver.sockets import open_tcp
from resolver.tls import Certificate, open_certificate
from resolver.tunnel import TUNNEL_BODY_OCTETS_MAX, is_tunnel_request
from tests.resolver.peers import (
    FakeTransport,
    ListingAnswerer,
    request,
    request_ids,
    response,
    turns,
)

LIMITS = LimitsConfig()
GET = b"GET /x HTTP/1.1\r\nHost: n\r\n\r\n"


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers with the path and what it received."""
    body = b""
    more = True
    while more:
        event = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)
    if scope["path"] == "/fail":
        raise RuntimeError("our mistake")
    answer = scope["path"].encode() + b" " + str(scope["client"][0]).encode() + b" " + body
    headers = [(b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    uvloop.run(scenario())


def make_server(answerer: ListingAnswerer | None = None, **limits: int) -> HttpServer:
    return HttpServer(
        socket.socket(),
        echo,
        answerer or ListingAnswerer(),
        LimitsConfig(**limits),
        cast(Certificate, None),
        asyncio.get_running_loop(),
    )


def connect(
    server: HttpServer, *, secure: bool = False, high_water: int = 2**31
) -> tuple[HttpProtocol, FakeTransport]:
    assert server._limiter.admit("192.0.2.1")
    connection = HttpProtocol(server, "192.0.2.1")
    return connection, FakeTransport(connection, secure=secure, high_water=high_water)


def post(body: bytes, *headers: str, version: str = "1.1", length: int | None = None) -> bytes:
    lines = [
        f"POST /88.118%2Fx HTTP/{version}",
        "Host: n",
        "Content-Type: application/x-hdl-message",
        "Accept: application/x-hdl-message",
        f"Content-Length: {len(body) if length is None else length}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def answers(octets: bytes) -> list[tuple[int, dict[bytes, bytes], bytes]]:
    """Take a stream of HTTP answers apart; one without a length takes the rest."""
    found = []
    while octets:
        head, _, rest = octets.partition(b"\r\n\r\n")
        status, *lines = head.split(b"\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(b":") for line in lines)
        }
        length = int(headers.get(b"content-length", len(rest)))
        found.append((int(status.split()[1]), headers, rest[:length]))
        octets = rest[length:]
    return found


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
            connection, _ = connect(server)
            connection.data_received(octets)
            assert not connection.eof_received()
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


# From here on with real sockets on loopback.


class Stand:
    """A server on a real port, used by blocking clients in threads."""

    def __init__(self, folder: Path, answerer: ListingAnswerer, **limits: int) -> None:
        self.certificate = open_certificate(
            TlsConfig(), folder, folder, generate_rsa_key(), ["127.0.0.1"], time.time()
        )
        self.sock = open_tcp("127.0.0.1", 0)
        self.port = self.sock.getsockname()[1]
        self.server = HttpServer(
            self.sock,
            echo,
            answerer,
            LimitsConfig(**limits),
            self.certificate,
            asyncio.get_running_loop(),
        )


def serve(
    folder: Path,
    client: Callable[[Stand], None],
    answerer: ListingAnswerer | None = None,
    **limits: int,
) -> None:
    async def scenario() -> None:
        stand = Stand(folder, answerer or ListingAnswerer(), **limits)
        await stand.server.start()
        try:
            async with asyncio.timeout(20):
                await asyncio.to_thread(client, stand)
        finally:
            await stand.server.stop()
        await turns()
        assert stand.server._limiter.connections == 0

    uvloop.run(scenario())


def trusting(folder: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(folder / "tls-certificate.pem"))


def test_plain_and_tls_share_the_port(tmp_path: Path) -> None:
    def client(stand: Stand) -> None:
        plain = http.client.HTTPConnection("127.0.0.1", stand.port, timeout=10)
        secure = http.client.HTTPSConnection(
            "127.0.0.1", stand.port, timeout=10, context=trusting(tmp_path)
        )
        for connection in (plain, secure, plain, secure):
            connection.request("GET", "/x")
            assert connection.getresponse().read() == b"/x 127.0.0.1 "
        plain.close()
        secure.close()

    serve(tmp_path, client)


def test_a_list_goes_through_tls(tmp_path: Path) -> None:
    def client(stand: Stand) -> None:
        raw = socket.create_connection(("127.0.0.1", stand.port), timeout=10)
        with trusting(tmp_path).wrap_socket(raw, server_hostname="127.0.0.1") as secure:
            secure.sendall(post(request(7, OpCode.LIST_HANDLES), version="1.0"))
            octets = b"".join(iter(lambda: secure.recv(65_536), b""))
        assert request_ids(answers(octets)[0][2]) == [7] * 60

    serve(tmp_path, client, ListingAnswerer(answer_octets=20_000, messages=60))


def test_silent_connections_and_half_handshakes_delay_nobody(tmp_path: Path) -> None:
    def client(stand: Stand) -> None:
        silent = [socket.create_connection(("127.0.0.1", stand.port)) for _ in range(230)]
        for each in silent[::2]:
            each.sendall(b"\x16")
        fast = http.client.HTTPConnection("127.0.0.1", stand.port, timeout=5)
        fast.request("GET", "/x")
        assert fast.getresponse().status == 200
        fast.close()
        for each in silent:
            each.close()

    serve(tmp_path, client)


def test_a_failed_handshake_frees_its_place(tmp_path: Path) -> None:
    def client(stand: Stand) -> None:
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", stand.port), timeout=10) as each:
                each.sendall(b"\x16\x03\x01\x00\x05garbage")
                while each.recv(1_024):
                    pass

    serve(tmp_path, client, connections_max=2, connections_per_address_max=2)


def test_one_connection_too_many_is_closed(tmp_path: Path) -> None:
    def client(stand: Stand) -> None:
        held = [socket.create_connection(("127.0.0.1", stand.port)) for _ in range(2)]
        with socket.create_connection(("127.0.0.1", stand.port), timeout=10) as refused:
            assert refused.recv(1) == b""
        for each in held:
            each.close()

    serve(tmp_path, client, connections_max=2, connections_per_address_max=2)


def test_silent_connections_are_cut_after_their_time() -> None:
    async def scenario() -> None:
        server = make_server()
        ours, theirs = socket.socketpair()
        server._accept(ours, "192.0.2.1")
        now_s = asyncio.get_running_loop().time()
        server.sweep(now_s + LIMITS.http_head_timeout_s - 1)
        assert server._limiter.connections == 1
        server.sweep(now_s + LIMITS.http_head_timeout_s + 1)
        assert server._limiter.connections == 0
        assert theirs.recv(1) == b""
        theirs.close()
        await server.stop()

    run(scenario)
