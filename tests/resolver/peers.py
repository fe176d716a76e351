"""A dispatcher to put behind a transport, requests to send to it, and a transport without a socket.

The request's opcode says how it is answered: RESOLUTION at once, LIST_HANDLES by a task in
`ListingAnswerer.messages` messages, DELETE_HANDLE never, GET_SITE_INFO by our mistake; a response
is met with silence.
"""

import asyncio
from collections.abc import AsyncGenerator

from protocol.codes import MessageFlag, OpCode, ResponseCode
from protocol.envelope import Envelope, decode_envelope
from protocol.header import Header
from protocol.message import Message, decode_message
from protocol.versions import BEST
from resolver.dispatch import Peer


def request(request_id: int, opcode: int = OpCode.RESOLUTION, body: bytes = b"") -> bytes:
    envelope = Envelope(BEST, BEST, 0, 0, request_id, 0, 0)
    return Message(envelope, Header(opcode, 0, 0, 0), body).encode()


def response(request_id: int, body: bytes = b"", flags: int = 0, opcode: int = 1) -> bytes:
    envelope = Envelope(BEST, BEST, 0, 0, request_id, 0, 0)
    return Message(envelope, Header(opcode, ResponseCode.SUCCESS, flags, 0), body).encode()


def request_ids(octets: bytes) -> list[int]:
    """Take a stream of messages apart."""
    found = []
    while octets:
        envelope = decode_envelope(octets)
        found.append(envelope.request_id)
        octets = octets[20 + envelope.length :]
    return found


class ListingAnswerer:
    def __init__(self, answer_octets: int = 10, messages: int = 3) -> None:
        self.answer_octets = answer_octets
        self.messages = messages
        self.peers: list[Peer] = []
        self.produced = 0
        self.ended = 0
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    def answer_now(self, octets: bytes, peer: Peer) -> bytes | None:
        self.peers.append(peer)
        try:
            message = decode_message(octets)
        except Exception:
            return b""
        if message.header.response_code:
            return b""
        if message.header.opcode == OpCode.GET_SITE_INFO:
            raise RuntimeError("our mistake")
        if message.header.opcode != OpCode.RESOLUTION:
            return None
        return response(message.envelope.request_id, bytes(self.answer_octets))

    async def answer(self, octets: bytes, peer: Peer) -> AsyncGenerator[bytes, None]:
        message = decode_message(octets)
        request_id = message.envelope.request_id
        try:
            await self.may_go_on.wait()
            if message.header.opcode == OpCode.DELETE_HANDLE:
                await asyncio.Event().wait()
            for number in range(self.messages):
                self.produced += 1
                last = number == self.messages - 1
                flags = 0 if last else MessageFlag.CONTINUOUS
                yield response(request_id, bytes(self.answer_octets), flags, OpCode.LIST_HANDLES)
        finally:
            self.ended += 1


class FakeTransport(asyncio.Transport):
    def __init__(
        self,
        protocol: asyncio.Protocol,
        address: str = "192.0.2.1",
        *,
        secure: bool = False,
        high_water: int = 2**31,
    ) -> None:
        super().__init__({"peername": (address, 1234)})
        if secure:
            self._extra["sslcontext"] = object()  # type: ignore[attr-defined]
        self.protocol = protocol
        self.high_water = high_water
        self.writes: list[bytes] = []
        self.unread = 0
        self.reading = True
        self.closing = False
        self.aborted = False
        self.eof_written = False
        self.paused = False
        protocol.connection_made(self)

    @property
    def written(self) -> bytes:
        return b"".join(self.writes)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.eof_written
        if self.closing:
            return
        self.writes.append(bytes(data))
        self.unread += len(data)
        if self.unread > self.high_water and not self.paused:
            self.paused = True
            self.protocol.pause_writing()

    def read_all(self) -> None:
        """Let the client read all that was written."""
        self.unread = 0
        if self.paused:
            self.paused = False
            self.protocol.resume_writing()

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def can_write_eof(self) -> bool:
        return "sslcontext" not in self._extra  # type: ignore[attr-defined]

    def write_eof(self) -> None:
        self.eof_written = True

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self._end()

    def abort(self) -> None:
        self.aborted = True
        self._end()

    def _end(self) -> None:
        if not self.closing:
            self.closing = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)


async def turns(count: int = 20) -> None:
    """Let the loop run what is ready."""
    for _ in range(count):
        await asyncio.sleep(0)
