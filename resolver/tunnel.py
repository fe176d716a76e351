"""The HTTP tunnel: Handle messages as the bodies of POST requests, answered without ASGI.

    POST /<anything> HTTP/1.0 or 1.1                  HTTP/1.1 200 OK
    Content-Type: application/x-hdl-message           Content-Type: application/x-hdl-message
    Accept: application/x-hdl-message                 Content-Length: ...      one message
                                                      Connection: close        several: to the end
    [CR LF ...] envelope message                      envelope message [envelope message ...]

Existing clients skip the answer's head unread and take what follows as an envelope, so an answer is
never chunked, and several messages end with the connection. `TunnelExchange` takes the place of
uvicorn's request-response cycle in `HttpProtocol`, whose order of pipelined requests, keep-alive
and flow control it thereby shares.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from protocol.envelope import ENVELOPE_OCTETS
from protocol.wire import MESSAGE_OCTETS_MAX
from resolver.connection_streams import ConnectionStream
from resolver.dispatch import Peer

if TYPE_CHECKING:
    from resolver.http_protocol import HttpProtocol

MESSAGE_TYPE = b"application/x-hdl-message"
LEADING_LINES_OCTETS_MAX = 16  # a few line ends that some clients send before the envelope
TUNNEL_BODY_OCTETS_MAX = ENVELOPE_OCTETS + MESSAGE_OCTETS_MAX + LEADING_LINES_OCTETS_MAX

_HEAD = (
    b"HTTP/1.1 200 OK\r\n"
    b"content-type: application/x-hdl-message\r\n"
    b"access-control-allow-origin: *\r\n"
)


def is_tunnel_request(method: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Say whether a request is tunnel traffic; header names are in lower case."""
    if method != b"POST":
        return False
    found = {
        name
        for name, value in headers
        if name in (b"content-type", b"accept") and MESSAGE_TYPE in value.lower()
    }
    return len(found) == 2


class TunnelExchange:
    """One tunnel request and its answer; has what `HttpToolsProtocol` uses of a cycle."""

    def __init__(self, protocol: "HttpProtocol", *, keep_alive: bool) -> None:
        self._protocol = protocol
        self._peer = protocol.peer
        self._is_its_turn = False
        self.keep_alive = keep_alive
        self.disconnected = False
        self.response_started = False
        self.response_complete = False
        self.message_event = asyncio.Event()
        self.body = bytearray()
        self.more_body = True

    def begin(self) -> None:
        """Answer as soon as the body is whole: the answers before this one are written."""
        self._is_its_turn = True
        self.answer_if_whole()

    def answer_if_whole(self) -> None:
        """Answer if this is the request's turn and its body has arrived."""
        if not self._is_its_turn or self.more_body or self.disconnected:
            return
        octets = bytes(self.body).lstrip(b"\r\n")
        protocol, peer = self._protocol, self._peer
        answer = protocol.server_.dispatcher.answer_now(octets, peer)
        if answer is None:
            protocol.tunnel_task = protocol.server_.tasks.start(self._answer(octets, peer))
            protocol.tunnel_task.add_done_callback(self._answered)
        else:
            self._write_one(answer)

    async def _answer(self, octets: bytes, peer: Peer) -> None:
        answers = self._protocol.server_.dispatcher.answer(octets, peer)
        async with contextlib.aclosing(answers):
            first = await anext(answers, b"")
            assert isinstance(first, bytes), "a stream follows an answer"
            second = await anext(answers, None)
            if second is None:
                self._write_one(first)
                return
            self.keep_alive = False
            self.response_started = True
            await self.write(_HEAD + b"connection: close\r\n\r\n" + first)
            await self._write_next(second)
            async for answer in answers:
                await self._write_next(answer)
        self._complete()

    async def _write_next(self, answer: bytes | ConnectionStream) -> None:
        if isinstance(answer, bytes):
            await self.write(answer)
        elif not await answer.send(self):
            self._protocol.transport.abort()

    async def read(self) -> bytes:
        """Return nothing: a stream in a tunnel goes one way."""
        return b""

    def take_input(self) -> bytes:
        """Return nothing likewise."""
        return b""

    def _answered(self, task: asyncio.Task[None]) -> None:
        if self._protocol.tunnel_task is task:  # the next request's may have begun
            self._protocol.tunnel_task = None
        if task.cancelled() or task.exception() is not None:
            self._protocol.transport.abort()

    def _write_one(self, answer: bytes) -> None:
        if self.disconnected:
            return
        if not answer:
            self._protocol.refuse(400, "the body is not a handle message")
            return
        end = b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n"
        length = b"content-length: %d\r\n" % len(answer)
        self._protocol.transport.write(_HEAD + length + end + answer)
        self._complete()

    async def write(self, octets: bytes) -> None:
        """Write, once the client has read what was written before."""
        await self._protocol.flow.drain()
        if not self.disconnected:
            self._protocol.transport.write(octets)

    def _complete(self) -> None:
        self.response_complete = True
        if not self.keep_alive:
            self._protocol.transport.close()
        self._protocol.on_response_complete()
