"""These tests open sockets on loopback: plain and TLS on one port are what they are about."""

import asyncio
import http.client
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import uvloop

from protocol.codes import OpCode
from protocol.key_files import generate_rsa_key
from resolver.config import LimitsConfig, TlsConfig
from resolver.http_server import HttpServer
from resolver.sockets import open_tcp
from resolver.tls import open_certificate
from tests.resolver.http_connections import (
    LIMITS,
    answers,
    echo,
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
        assert stand.server._limiter.taken == 0

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
        ours.setblocking(False)
        server._accept(ours, ("192.0.2.1", 1_234))
        now_s = asyncio.get_running_loop().time()
        server.sweep(now_s + LIMITS.http_head_timeout_s - 1)
        assert server._limiter.taken == 1
        server.sweep(now_s + LIMITS.http_head_timeout_s + 1)
        assert server._limiter.taken == 0
        assert theirs.recv(1) == b""
        theirs.close()
        await server.stop()

    run(scenario)
