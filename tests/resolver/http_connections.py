"""HTTP connections to a server under test, without sockets."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any, cast

import uvloop

from resolver.config import LimitsConfig
from resolver.http_protocol import HttpProtocol
from resolver.http_server import HttpServer
from resolver.proxies import Proxies
from resolver.tls import Certificate
from tests.resolver.peers import (
    FakeTransport,
    ListingAnswerer,
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


def make_server(
    answerer: ListingAnswerer | None = None, proxies: Proxies | None = None, **limits: int
) -> HttpServer:
    return HttpServer(
        socket.socket(),
        echo,
        answerer or ListingAnswerer(),
        LimitsConfig(**limits),
        cast(Certificate, None),
        asyncio.get_running_loop(),
        proxies=proxies,
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
