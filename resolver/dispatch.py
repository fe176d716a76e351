"""What a worker does with a request: answer it, sign it, or hand it on.

    octets ──> answer_now ──┬─ octets   the answer, made here and now
                            ├─ b""      silence: not a request, or not of this protocol
                            └─ None     ──> answer ──┬─ certified: signed in a thread, errors too
                                                     ├─ recursive role, not in the cache: keeper
                                                     └─ anything else: registrar

The transports call these two and write what comes, each item one whole message with its envelope.
Nothing here blocks the loop. The REST interface, which has no messages, uses
`resolver.rest_operations`.
"""

import contextlib
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor
from typing import Any, NamedTuple

from protocol.bodies import (
    ResolutionRequest,
    SiteInfoAnswer,
    decode_request_body,
)
from protocol.codes import READ_OPCODES, MessageFlag, OpCode, ResponseCode
from protocol.envelope import ENVELOPE_OCTETS, Envelope, decode_envelope
from protocol.errors import DecodeError, ProtocolError
from protocol.header import Header, decode_header
from protocol.message import Message, decode_message
from resolver.connection_streams import ConnectionStream
from resolver.link import Link, LinkDown, LinkLost
from resolver.metrics import RequestMetrics
from resolver.node import Node, must_resolve_for
from resolver.query import Records, ask_keeper
from resolver.query_counts import QueryCounts
from resolver.replies import Replies, readable_request, sign_if_asked

# Makes a stream of what the registrar says should follow an answer.
OpenStream = Callable[[dict[str, Any]], ConnectionStream]


class Peer(NamedTuple):
    """Who asks, and over which transport (TRANSPORT_* of `protocol.types.hs_site`)."""

    address: str
    port: int
    transport: int


class Dispatcher:
    """Answers requests in one worker. Use from its event loop.

    Args:
        node: this node's site and keys.
        records: what is answered without asking anybody.
        link: to the registrar or keeper.
        threads: where signatures are made.
        metrics: counts what is answered.
        now_s: the time since 1970.
        counts: where queries answered here are counted for statistics; None: nowhere.
        open_stream: makes what the registrar wants to follow an answer; None: nothing ever does.
    """

    def __init__(
        self,
        node: Node,
        records: Records,
        link: Link,
        threads: Executor,
        metrics: RequestMetrics,
        now_s: Callable[[], float] = time.time,
        counts: QueryCounts | None = None,
        open_stream: OpenStream | None = None,
    ) -> None:
        self._counts = counts
        self._open_stream = open_stream
        self._node = node
        self._records = records
        self._link = link
        self._threads = threads
        self._metrics = metrics
        # A recursive node speaks from its cache, never with the authority of the primary.
        is_authority = node.registers and node.site.is_primary
        self.replies = Replies(node.site.serial, is_authority, now_s)

    def answer_now(self, octets: bytes, peer: Peer) -> bytes | None:
        """Answer what takes no waiting.

        Returns:
            The answer with its envelope; b"" to stay silent; None when `answer` has to be awaited.
        """
        try:
            envelope = decode_envelope(octets)
        except DecodeError:
            return b""
        if envelope.session_id or envelope.is_encrypted:
            # Sessions and challenges live in the registrar. A response is met with silence there
            # too: two nodes would refuse each other's refusals for ever.
            header, _ = _head_of(octets)
            is_response = header is not None and header.response_code != ResponseCode.REQUEST
            return b"" if is_response else None
        started = time.perf_counter()
        try:
            request = decode_message(octets)
            if request.header.response_code != ResponseCode.REQUEST:
                return b""
            reply = self._reply_now(request, peer)
        except ProtocolError as error:
            return self._refuse_undecodable(octets, envelope, error, peer)
        if reply is None:
            return None
        self._metrics.count(reply.header, peer.transport, time.perf_counter() - started)
        return self.replies.encoded(request, reply)

    async def answer(
        self, octets: bytes, peer: Peer
    ) -> AsyncGenerator[bytes | ConnectionStream, None]:
        """Yield the answer to a request that `answer_now` declined, message by message."""
        started = time.perf_counter()
        async with contextlib.aclosing(self._answer(octets, peer)) as items:
            async for item in items:
                header = _head_of(item)[0] if isinstance(item, bytes) else None
                if header is not None:
                    self._metrics.count(header, peer.transport, time.perf_counter() - started)
                yield item

    def _reply_now(self, request: Message, peer: Peer) -> Message | None:
        if request.header.has(MessageFlag.CERTIFY):
            return None  # whatever the answer is, it is signed
        opcode = request.header.opcode
        refusal = self._node.refusal(opcode, peer.transport)
        if refusal is not None:
            return self.replies.refuse(request, *refusal)
        if opcode not in READ_OPCODES:
            # Malformed bodies are refused here and do not go to the registrar.
            decode_request_body(opcode, request.body, request.envelope.version)
            return None
        return self._read(request, peer)

    def _read(self, request: Message, peer: Peer) -> Message | None:
        """Answer a resolution or a question for the site; None: somebody else has to be asked."""
        header = request.header
        body = decode_request_body(header.opcode, request.body, request.envelope.version)
        if header.opcode == OpCode.GET_SITE_INFO:
            return self.replies.reply(
                request, ResponseCode.SUCCESS, SiteInfoAnswer(self._node.site_octets)
            )
        assert isinstance(body, ResolutionRequest)
        answer = self._records.find(body, header.flags)
        if answer is None or must_resolve_for(answer.response_code, request.envelope, body):
            return None
        if self._counts is not None:
            is_success = answer.response_code == ResponseCode.SUCCESS
            self._counts.add(body.handle, peer.address, answered=is_success)
        return self.replies.reply(request, answer.response_code, answer.body)

    async def _answer(
        self, octets: bytes, peer: Peer
    ) -> AsyncGenerator[bytes | ConnectionStream, None]:
        is_answered = False
        envelope = decode_envelope(octets)
        try:
            if not envelope.session_id and not envelope.is_encrypted:
                request = decode_message(octets)
                reply = await self._answer_here(request, peer)
                if reply is not None:
                    yield self.replies.encoded(request, await self._signed(request, reply))
                    return
            elif not self._node.registers:
                words = "a recursive node holds no sessions"
                yield await self._refuse(octets, ResponseCode.SESSION_TIMEOUT, words)
                return
            payload = {"octets": octets, "address": peer.address, "transport": peer.transport}
            async with contextlib.aclosing(self._link.stream("message", payload)) as items:
                async for item in items:
                    if isinstance(item, bytes):
                        is_answered = not _has_more(item)
                        yield item
                    else:
                        assert self._open_stream is not None, "nothing here can be streamed"
                        yield self._open_stream(item)
                        return  # nothing follows it; the registrar hears that it is done
        except ProtocolError as error:
            yield await self._refuse(octets, error.response_code, str(error))
        except LinkDown as error:
            # Lost between the answer and the stream's end: a second answer would be taken for
            # that of the next request on the connection.
            if not is_answered:
                yield await self._refuse(octets, link_code(error), str(error))

    async def _answer_here(self, request: Message, peer: Peer) -> Message | None:
        """Answer what needs no registrar: certified look-ups, and all of the recursive role."""
        opcode = request.header.opcode
        refusal = self._node.refusal(opcode, peer.transport)
        if refusal is not None:
            return self.replies.refuse(request, *refusal)
        if opcode in READ_OPCODES:
            reply = self._read(request, peer)
            if reply is not None or self._node.registers:
                return reply
            return await self._ask_keeper(request)
        if self._node.registers:
            return None
        words = "a recursive node holds no sessions"
        return self.replies.refuse(request, ResponseCode.OPERATION_NOT_SUPPORTED, words)

    async def _ask_keeper(self, request: Message) -> Message:
        header = request.header
        body = decode_request_body(header.opcode, request.body, request.envelope.version)
        assert isinstance(body, ResolutionRequest)
        result = await ask_keeper(self._link, body, header.flags, header.recursion_count)
        return self.replies.reply(request, result.response_code, result.body)

    def _refuse_undecodable(
        self, octets: bytes, envelope: Envelope, error: ProtocolError, peer: Peer
    ) -> bytes | None:
        """Answer a message whose header can be read and whose rest cannot; else stay silent."""
        header, body = _head_of(octets)
        if header is None or header.response_code != ResponseCode.REQUEST:
            return b""
        if header.has(MessageFlag.CERTIFY):
            return None
        request = Message(envelope, header, body)
        reply = self.replies.refuse(request, error.response_code, str(error))
        self._metrics.count(reply.header, peer.transport, 0.0)
        return self.replies.encoded(request, reply)

    async def _refuse(self, octets: bytes, code: int, words: str) -> bytes:
        """Refuse a request, of which perhaps little can be read; signed if it asked for that."""
        request = readable_request(octets)
        reply = self.replies.refuse(request, code, words, session_id=request.envelope.session_id)
        return self.replies.encoded(request, await self._signed(request, reply))

    async def _signed(self, request: Message, reply: Message) -> Message:
        return await sign_if_asked(request, reply, self._node.signing_key, self._threads)


def link_code(error: LinkDown) -> int:
    """Return 2 when something may have been done, 3 when certainly nothing was."""
    if isinstance(error, LinkLost):
        return ResponseCode.ERROR
    return ResponseCode.SERVER_TOO_BUSY


def _has_more(octets: bytes) -> bool:
    """Say whether an answer announces that more messages follow it; unknown when encrypted."""
    header, _ = _head_of(octets)
    return header is not None and header.has(MessageFlag.CONTINUOUS)


def _head_of(octets: bytes) -> tuple[Header | None, bytes]:
    """Return a message's header, if it can be read, and its body as far as it goes."""
    if decode_envelope(octets).is_encrypted:
        return None, b""
    try:
        header, body_octets = decode_header(octets[ENVELOPE_OCTETS:])
    except DecodeError:
        return None, b""
    start = ENVELOPE_OCTETS + 24
    return header, octets[start : start + body_octets]
