"""Sessions with servers, on the asking side (wire-notes §9).

    SESSION_SETUP, certified ─> key exchange ─> session id, key
    request + HS_MAC(our counter), encrypted when wanted ─> answer + HS_MAC(its counter)

A session is set up with one server, over a stream: a datagram repeated in a session is a replay.
The first request in it is challenged, the others cost one message each way. Every answer has to
bear a MAC with a new counter. A server that knows the session no longer says so with a code of 500
or more, in clear, and has not acted on the request: it is repeated, once, in a new session.
"""

import asyncio
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from protocol.bodies import (
    SESSION_MODE_CLIENT_KEY,
    SESSION_MODE_DIFFIE_HELLMAN,
    SESSION_MODE_KEY_IN_HANDLE,
    HandleRequest,
    SessionSetupAnswer,
    SessionSetupRequest,
)
from protocol.codes import MessageFlag, OpCode, ResponseCode
from protocol.credential import KIND_MAC, decode_credential, mac_message, verify_mac, verify_message
from protocol.envelope import ENVELOPE_OCTETS, decode_envelope
from protocol.errors import ProtocolError, SecurityError
from protocol.message import Message, decode_payload
from protocol.session import (
    ReplayWindow,
    SessionKey,
    decrypt_payload,
    encrypt_message,
    start_key_exchange,
    unwrap_session_key,
)
from protocol.types.hs_pubkey import decode_public_key, encode_public_key
from protocol.value import Reference
from protocol.versions import Version
from resolver.asking import Answer, Candidate, Hop, Request, server_key
from resolver.client.challenges import CHALLENGES_MAX, answer_challenge, is_challenge
from resolver.client.errors import error_for
from resolver.client.identities import Identity
from resolver.exchanges import ExchangeError
from resolver.upstream import Upstream
from resolver.walker import words_of

SESSION_TIMEOUT_S = 86_400  # what existing clients ask for
_SESSION_CODES = range(500, 600)
_NOBODY = Reference(b"", -1)


class OwnKey(NamedTuple):
    """An RSA key that the server encrypts the session's key to (modes 1 and 3)."""

    private_key: RSAPrivateKey
    reference: Reference | None = None
    """Where its public half is registered; None: it is sent along."""


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How sessions are wanted."""

    encrypt: bool = True
    """Encrypt requests and answers; MACs protect them either way."""
    fall_back: bool = True
    """Ask without a session where a server says that it does not do sessions."""
    timeout_s: int = SESSION_TIMEOUT_S
    """Seconds without a request after which the server may forget the session."""
    own_key: OwnKey | None = None
    """None: Diffie-Hellman."""


class SessionRefusedError(ProtocolError):
    """The server answered, and does not set up this session."""


class SessionEndedError(ProtocolError):
    """The server knows the session no longer, and has not acted on the request."""


@dataclass(slots=True)
class ClientSession:
    """One session: a `resolver.asking.Channel`."""

    number: int
    key: SessionKey
    server_key: bytes
    encrypt: bool
    counter: int = 0
    window: ReplayWindow = field(default_factory=ReplayWindow)

    @property
    def flags(self) -> int:
        """Ask for answers with a MAC and the request's digest, encrypted when wanted."""
        flags = MessageFlag.CERTIFY | MessageFlag.REQUEST_DIGEST
        return flags | MessageFlag.ENCRYPT if self.encrypt else flags

    def seal(self, request: Message) -> bytes:
        """Return a request's octets with the next counter. Raises: DecodeError."""
        self.counter += 1
        request = mac_message(request, self.key, self.counter)
        return encrypt_message(request, self.key) if self.encrypt else request.encode()

    def open(self, octets: bytes) -> Message:
        """Return an answer in clear.

        Raises:
            SessionEndedError: the server says that there is no such session.
            SecurityError: no MAC, or one that does not hold; a counter seen before; undecryptable.
            DecodeError: octets that are no message.
        """
        envelope, payload = decode_envelope(octets), octets[ENVELOPE_OCTETS:]
        if envelope.is_encrypted:
            message = decrypt_payload(envelope, payload, self.key)
        else:
            message = decode_payload(envelope, payload)
        if message.header.response_code in _SESSION_CODES and not _has_mac(message):
            self._check_end(message)
        if not self.window.accept(verify_mac(message, self.key)):
            raise SecurityError("the answer was received before: somebody repeats old ones")
        return message

    def _check_end(self, message: Message) -> None:
        """Raise what a refusal in clear means; a signature, where there is one, has to hold."""
        if message.credential:
            verify_message(message, decode_public_key(self.server_key))
        code = message.header.response_code
        raise SessionEndedError(f"the server ended the session (response code {code})")


def _has_mac(message: Message) -> bool:
    return bool(message.credential) and decode_credential(message.credential).kind == KIND_MAC


class SessionBook:
    """The sessions of one identity, one for each server. Use from one event loop.

    Args:
        upstream: how servers are asked.
        identity: answers challenges; None: sessions are anonymous.
        options: how sessions are wanted.
    """

    def __init__(
        self, upstream: Upstream, identity: Identity | None, options: SessionOptions
    ) -> None:
        self._upstream = upstream
        self._identity = identity
        self._options = options
        self._sessions: dict[bytes, tuple[Candidate, ClientSession]] = {}
        self._refused: dict[bytes, str] = {}
        self._turn = asyncio.Lock()

    @property
    def refusals(self) -> tuple[str, ...]:
        """What servers said that do no sessions and are asked without one."""
        return tuple(self._refused.values())

    async def ask(self, request: Request, candidate: Candidate, hops: list[Hop]) -> Answer | None:
        """Ask in the session with a server, set up when there is none.

        Args:
            request: what to ask.
            candidate: the server, over a stream.
            hops: gets every attempt.

        Returns:
            The answer; None when the server does no sessions and may be asked without.

        Raises:
            ExchangeError: no answer; a NotSentError when the request was not sent.
            ProtocolError: an answer that may not be believed, or the server refuses sessions.
        """
        for is_last in (False, True):
            session = await self._find(candidate, hops)
            if session is None:
                return None
            try:
                return await self._ask_in(session, request, candidate, hops)
            except SessionEndedError:
                self._sessions.pop(_name_of(candidate), None)
                if is_last:
                    raise
        raise AssertionError("the second attempt returns or raises")

    async def end(self) -> None:
        """Tell servers that their sessions are over; one that does not hear it forgets in time."""
        sessions, self._sessions = self._sessions, {}
        for candidate, session in sessions.values():
            body = HandleRequest(b"")
            request = Request(b"", OpCode.SESSION_TERMINATE, body, channel=session)
            try:
                await self._upstream.attempt(request, candidate, False, [])
            except (ExchangeError, ProtocolError):
                continue

    async def _ask_in(
        self, session: ClientSession, request: Request, candidate: Candidate, hops: list[Hop]
    ) -> Answer:
        request = replace(request, channel=session)
        answer = await self._upstream.attempt(request, candidate, False, hops)
        for _ in range(CHALLENGES_MAX):
            if not is_challenge(answer) or self._identity is None:
                break
            request = await answer_challenge(answer, request, self._identity)
            answer = await self._upstream.attempt(request, candidate, False, hops)
        if answer.response_code in _SESSION_CODES:
            raise SessionEndedError(f"the server ended the session: {words_of(answer)}")
        return answer

    async def _find(self, candidate: Candidate, hops: list[Hop]) -> ClientSession | None:
        name = _name_of(candidate)
        async with self._turn:
            if name in self._refused:
                return None
            if name not in self._sessions:
                try:
                    session = await self._set_up(candidate, hops)
                except SessionRefusedError as error:
                    if not self._options.fall_back:
                        raise
                    self._refused[name] = f"{candidate.endpoint}: {error}"
                    return None
                self._sessions[name] = candidate, session
            return self._sessions[name][1]

    async def _set_up(self, candidate: Candidate, hops: list[Hop]) -> ClientSession:
        key = server_key(candidate)  # without it whoever is in between could answer
        exchange = start_key_exchange() if self._options.own_key is None else None
        public_data = exchange.public_data if exchange is not None else b""
        request = Request(b"", OpCode.SESSION_SETUP, self._setup_body(public_data))
        answer = await self._upstream.attempt(request, candidate, True, hops)
        if answer.response_code != ResponseCode.SUCCESS:
            error = error_for(answer.response_code, words_of(answer))
            code = answer.response_code
            raise SessionRefusedError(f"no session: {error.words} (response code {code})")
        body, version = answer.body, answer.message.envelope.version
        assert isinstance(body, SessionSetupAnswer), "the body of a successful SESSION_SETUP"
        if exchange is not None:
            session_key = await asyncio.to_thread(exchange.finish, body.data, version)
        else:
            session_key = self._unwrap(body.data, version)
        number = answer.message.envelope.session_id
        return ClientSession(number, session_key, key, self._options.encrypt)

    def _setup_body(self, dh_public: bytes) -> SessionSetupRequest:
        own = self._options.own_key
        who = self._identity.reference if self._identity is not None else _NOBODY
        timeout_s = self._options.timeout_s
        if own is None:
            mode = SESSION_MODE_DIFFIE_HELLMAN
            return SessionSetupRequest(mode, timeout_s, who.handle, who.index, dh_public)
        if own.reference is not None:
            mode = SESSION_MODE_KEY_IN_HANDLE
            where = own.reference
            return SessionSetupRequest(
                mode,
                timeout_s,
                who.handle,
                who.index,
                key_handle=where.handle,
                key_index=where.index,
            )
        public_data = encode_public_key(own.private_key.public_key())
        mode = SESSION_MODE_CLIENT_KEY
        return SessionSetupRequest(mode, timeout_s, who.handle, who.index, public_data)

    def _unwrap(self, data: bytes, version: Version) -> SessionKey:
        assert self._options.own_key is not None, "without Diffie-Hellman there is a key"
        return unwrap_session_key(data, self._options.own_key.private_key, version)


def _name_of(candidate: Candidate) -> bytes:
    """Return what stands for a server: its key, whatever the address."""
    return candidate.server.public_key
