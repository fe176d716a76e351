"""Messages in the registrar: everything that a worker does not answer by itself.

    octets ─> which session or challenge ─> by opcode ─> replies ─> MAC, signature, encryption

       session id 0            a request on its own
       that of a session       decrypted, its MAC checked; it may be the answer to a challenge
       that of a challenge     the answer to a challenge, with a request id of its own
       anything else           500, or 405 for an answer that came too late

A request that needs an identity is answered with a challenge and kept. Its answer is replied to as
the original request: with its opcode, and the answer's request id.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import Executor
from typing import Any

from protocol.bodies import HandleListAnswer, SiteInfoAnswer
from protocol.codes import MessageFlag, OpCode, ResponseCode
from protocol.envelope import Envelope, decode_envelope
from protocol.errors import DecodeError, ProtocolError
from protocol.message import Message, decode_message
from registry.errors import RecordError
from registry.operations import Listing
from resolver.administration import Administration, Reply, ResolveAfar
from resolver.asked import Asked, AskedReplies, Conversations
from resolver.listing import Pages
from resolver.mirrors import MirrorReply, Mirrors
from resolver.node import Node
from resolver.operations import Operations
from resolver.query import damaged_record
from resolver.query_counts import QueryCounts
from resolver.refused_log_ins import RefusedLogIns
from resolver.replies import Replies, readable_request, sign_if_asked
from resolver.session_setup import SessionSetup
from resolver.sessions import Session, SessionError

# Answers to these are signed with the server's key even in a session: they are before its key.
_SIGNED_OPCODES = frozenset({OpCode.SESSION_SETUP, OpCode.SESSION_EXCHANGE_KEY})


class Messages:
    """Answers messages in the registrar.

    Args:
        node: this node's site and keys.
        operations: decides and carries out.
        conversations: challenges and sessions.
        pages: reads lists.
        mirrors: says how mirrors are fed.
        resolve_afar: follows a referral for clients too old to do it.
        threads: where signatures are made.
        refused_log_ins: hears of identities that were claimed and not believed.
        clock_s: a clock that never goes back.
        now_s: the time since 1970.
        counts: where queries are counted for statistics; None: nowhere.
    """

    def __init__(
        self,
        node: Node,
        operations: Operations,
        conversations: Conversations,
        pages: Pages,
        mirrors: Mirrors,
        resolve_afar: ResolveAfar,
        threads: Executor,
        refused_log_ins: RefusedLogIns,
        *,
        clock_s: Callable[[], float],
        now_s: Callable[[], float],
        counts: QueryCounts | None = None,
    ) -> None:
        self._node = node
        self._conversations = conversations
        self._pages = pages
        self._mirrors = mirrors
        self._threads = threads
        self._clock_s = clock_s
        self._replies = AskedReplies(Replies(node.site.serial, node.site.is_primary, now_s))
        administration = Administration(
            operations,
            conversations,
            pages,
            self._replies,
            resolve_afar,
            refused_log_ins,
            clock_s,
            counts,
        )
        setup = SessionSetup(operations, conversations, self._replies, clock_s)
        self._administer = administration.administer
        self._handlers: dict[int, Callable[[Asked], Awaitable[Reply | None]]] = {
            OpCode.RESOLUTION: administration.resolve,
            OpCode.GET_SITE_INFO: self._tell_site,
            OpCode.RESPONSE_TO_CHALLENGE: administration.take_answer,
            OpCode.VERIFY_CHALLENGE: administration.verify_for_another,
            OpCode.SESSION_SETUP: setup.set_up,
            OpCode.SESSION_TERMINATE: setup.end,
            OpCode.SESSION_EXCHANGE_KEY: setup.refuse_key,
        }

    async def answer(self, payload: dict[str, Any]) -> AsyncGenerator[Any, None]:
        """Yield the answer to a message handed on by a worker: {octets, address, transport}.

        Octets, and at most one dictionary behind them: what the worker is to stream.
        """
        octets, address = payload["octets"], payload["address"]
        envelope = decode_envelope(octets)
        try:
            asked = self._receive(envelope, octets, address, payload["transport"])
        except (SessionError, ProtocolError) as error:
            refusal = await self._refuse_unread(octets, error.response_code, str(error))
            if refusal is not None:
                yield refusal
            return
        if asked.request.header.response_code != ResponseCode.REQUEST:
            return
        reply = await self._reply_to(asked)
        if isinstance(reply, MirrorReply):
            unfed = self._mirrors.refusal(reply)
            if unfed is None:
                with self._mirrors.feeding():
                    answer = self._replies.reply(reply.asked, ResponseCode.SUCCESS, reply.body)
                    yield await self._seal(reply.asked, answer)
                    yield self._mirrors.order(reply)
                    await asyncio.Event().wait()  # the worker cancels this when it is done
                return
            reply = self._replies.refusal(reply.asked, unfed)
        if isinstance(reply, Message):
            yield await self._seal(asked, reply)
        elif reply is not None:
            async for page in self._list(reply.asked, reply.listing):
                yield await self._seal(reply.asked, page)

    def _receive(self, envelope: Envelope, octets: bytes, address: str, transport: int) -> Asked:
        number = envelope.session_id
        session = self._conversations.sessions.find(number, self._clock_s()) if number else None
        if session is not None:
            request = session.receive(envelope, octets)
            if request.credential:  # what anybody may send does not keep a session alive
                self._conversations.sessions.touch(session, self._clock_s())
            return Asked(request, session, address, transport)
        if envelope.is_encrypted:
            if number <= 0:
                words = "an encrypted message needs the id of its session"
                raise SessionError(ResponseCode.SESSION_FAILED, words)
            raise SessionError(ResponseCode.SESSION_TIMEOUT, f"session {number} is not known")
        request = decode_message(octets)
        if number and request.header.opcode != OpCode.RESPONSE_TO_CHALLENGE:
            raise SessionError(ResponseCode.SESSION_TIMEOUT, f"session {number} is not known")
        return Asked(request, None, address, transport)

    async def _reply_to(self, asked: Asked) -> Reply | None:
        """Return a reply, something to stream, or None to stay silent."""
        opcode = asked.request.header.opcode
        refusal = self._node.refusal(opcode, asked.transport)
        if refusal is not None:
            return self._replies.refuse(asked, *refusal)
        try:
            return await self._handlers.get(opcode, self._administer)(asked)
        except (SessionError, ProtocolError) as error:
            return self._replies.refuse(asked, error.response_code, str(error).encode())
        except RecordError as error:
            result = damaged_record(error)
            return self._replies.reply(asked, result.response_code, result.body)

    async def _tell_site(self, asked: Asked) -> Message:
        return self._replies.reply(
            asked, ResponseCode.SUCCESS, SiteInfoAnswer(self._node.site_octets)
        )

    async def _refuse_unread(self, octets: bytes, code: int, words: str) -> bytes | None:
        """Refuse what could not be read in its session, in clear; None: it was no request.

        There is no session to MAC it with, or not the client's: it gets the server's signature,
        since the stock client asks for one on every message in a session.
        """
        request = readable_request(octets)
        if request.header.response_code != ResponseCode.REQUEST:
            return None
        replies = self._replies.replies
        reply = replies.refuse(request, code, words, session_id=request.envelope.session_id)
        return replies.encoded(request, await self._signed(request, reply))

    async def _seal(self, asked: Asked, reply: Message) -> bytes:
        session = asked.session
        if session is not None and reply.header.opcode not in _SIGNED_OPCODES:
            return self._seal_in(session, asked, reply)
        signed = await self._signed(asked.request, reply)
        return self._replies.replies.encoded(asked.request, signed)

    async def _signed(self, request: Message, reply: Message) -> Message:
        return await sign_if_asked(request, reply, self._node.signing_key, self._threads)

    def _seal_in(self, session: Session, asked: Asked, reply: Message) -> bytes:
        try:
            return session.seal(reply)
        except DecodeError as error:  # larger than any peer takes
            words = f"the answer is too long: {error}".encode()
            return session.seal(self._replies.refuse(asked, ResponseCode.ERROR, words))

    async def _list(self, asked: Asked, listing: Listing) -> AsyncGenerator[Message, None]:
        for handles, is_last in self._pages.pages(listing):
            flags = 0 if is_last else MessageFlag.CONTINUOUS
            body = HandleListAnswer(handles)
            if handles or is_last:
                yield self._replies.reply(asked, ResponseCode.SUCCESS, body, flags)
            await asyncio.sleep(0)  # a list of millions must not keep the loop from others
