"""One node on real loopback sockets, for the tests of what touches the network."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import cast

from protocol.envelope import ENVELOPE_OCTETS, decode_envelope
from protocol.framing import split_datagrams
from protocol.message import decode_message
from protocol.types.hs_site import (
    KIND_BOTH,
    TRANSPORT_HTTP,
    TRANSPORT_HTTPS,
    TRANSPORT_TCP,
    TRANSPORT_UDP,
    HsSite,
    SiteInterface,
)
from tests.resolver.network import FakeNode, make_site

Datagrams = Callable[[list[bytes]], list[bytes]]


@dataclass
class LoopbackNode:
    """Serves a FakeNode; `spoil_datagrams` and `http_head` change what goes out."""

    node: FakeNode
    spoil_datagrams: Datagrams = list
    http_head: bytes = b"HTTP/1.0 200 OK\r\nContent-Type: application/x-hdl-message\r\n\r\n"
    datagrams_ignored: int = 0
    closes_at_once: bool = False
    heads: list[bytes] = field(default_factory=list)
    ports: dict[int, int] = field(default_factory=dict)
    address: str = "127.0.0.1"

    def site(self, *transports: int) -> HsSite:
        interfaces = tuple(
            SiteInterface(KIND_BOTH, transport, self.ports[transport]) for transport in transports
        )
        return make_site(self.address, key=self.node.key, interfaces=interfaces)

    def answers(self, octets: bytes) -> list[bytes]:
        request = decode_message(octets)
        self.node.asked.append(request)
        return [answer.encode() for answer in self.node.answer(request)]

    async def serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            await self._serve(reader, writer)
        writer.close()

    async def serve_http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(self.http_head)
            await self._serve(reader, writer)
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readexactly(ENVELOPE_OCTETS)
        payload = await reader.readexactly(decode_envelope(head).length)
        if not self.closes_at_once:
            for answer in self.answers(head + payload):
                writer.write(answer)
            await writer.drain()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, node: LoopbackNode) -> None:
        self._node = node
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Neither loop's datagram transport is a subclass of asyncio's.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self._transport is not None
        if self._node.datagrams_ignored:
            self._node.datagrams_ignored -= 1
            return
        for answer in self._node.answers(data):
            for datagram in self._node.spoil_datagrams(split_datagrams(answer)):
                self._transport.sendto(datagram, addr)


@contextlib.asynccontextmanager
async def serving(
    loopback: LoopbackNode, context: ssl.SSLContext | None = None
) -> AsyncIterator[LoopbackNode]:
    loop = asyncio.get_running_loop()
    udp, _ = await loop.create_datagram_endpoint(
        lambda: _Datagrams(loopback), local_addr=(loopback.address, 0)
    )
    tcp = await asyncio.start_server(loopback.serve_tcp, loopback.address, 0)
    http = await asyncio.start_server(loopback.serve_http, loopback.address, 0)
    https = await asyncio.start_server(loopback.serve_http, loopback.address, 0, ssl=context)
    loopback.ports = {
        TRANSPORT_UDP: udp.get_extra_info("sockname")[1],
        TRANSPORT_TCP: tcp.sockets[0].getsockname()[1],
        TRANSPORT_HTTP: http.sockets[0].getsockname()[1],
        TRANSPORT_HTTPS: https.sockets[0].getsockname()[1],
    }
    try:
        yield loopback
    finally:
        udp.close()
        for server in (tcp, http, https):
            server.close()
            await server.wait_closed()
        await asyncio.sleep(0)
