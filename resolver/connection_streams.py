"""What may follow an answer on its connection: octets that are no messages, until it ends.

    transport                    Channel                      ConnectionStream
    TcpConnection    ───────>    write, read, take_input <─── send
    TunnelExchange   ───────>    write

A stream waits in `write` while the client does not read; the transport ends a connection whose
client reads nothing for `limits.write_timeout_s`, and with it the stream's task.
"""

import asyncio
from typing import Protocol

INPUT_OCTETS_MAX = 65_536  # unread; a TLS handshake takes a few thousand


class Channel(Protocol):
    """A connection, as a stream sees it."""

    async def write(self, octets: bytes) -> None:
        """Write, once there is room."""
        ...

    async def read(self) -> bytes:
        """Return what the client sent, as soon as there is some; nothing: it has ended."""
        ...

    def take_input(self) -> bytes:
        """Return what the client has sent by now."""
        ...


class ConnectionStream(Protocol):
    """What follows an answer."""

    async def send(self, channel: Channel) -> bool:
        """Send all of it; False: it was broken off, and the connection is to be cut."""
        ...


class Input:
    """What a client sends while a stream has its connection."""

    def __init__(self) -> None:
        self._octets = bytearray()
        self._arrived = asyncio.Event()
        self._is_ended = False

    def feed(self, data: bytes) -> bool:
        """Take octets in; False: more than a client has reason to send."""
        self._octets += data
        self._arrived.set()
        return len(self._octets) <= INPUT_OCTETS_MAX

    def end(self) -> None:
        """Nothing more comes."""
        self._is_ended = True
        self._arrived.set()

    def take(self) -> bytes:
        """Return what has arrived."""
        taken = bytes(self._octets)
        self._octets.clear()
        if not self._is_ended:
            self._arrived.clear()
        return taken

    async def read(self) -> bytes:
        """Return what arrives, nothing at the end."""
        await self._arrived.wait()
        return self.take()
