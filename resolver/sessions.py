"""Sessions of the Handle protocol: keys agreed on once, then a MAC on every message.

    SESSION_SETUP ─> key exchange ─> session id, key      signed with the server's key
    request + HS_MAC(counter)     ─> answer + HS_MAC(our counter), encrypted when asked for
    answer to a challenge, no MAC ─> the same

A session starts as nobody's. The first request in it that needs authentication is answered with
a challenge; once that is answered by the identity named at set-up, the session is that identity's
and a valid MAC is enough. Every counter is taken once, within a window of the last 200.

Handle.Net's client puts no MAC on its answer to a challenge (only on one that it repeats over UDP).
Nothing is lost by that: the request it answers for had one, and the answer proves an identity for
just that request, once.

The table is bounded per address and in all, and a session not used for its time-out is dropped.
Stock tools begin a session on every run, ask for a day and end none. So an address that has as many
as it may makes room among its own, and a full table among those nobody has logged in to, always the
least recently used first. Clients take any answer with a code of 500 or more as the end of the
session. Time is an argument.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from protocol.bodies import (
    SESSION_MODE_CLIENT_KEY,
    SESSION_MODE_DIFFIE_HELLMAN,
    SESSION_MODE_KEY_IN_HANDLE,
    SessionSetupAnswer,
    SessionSetupRequest,
)
from protocol.codes import READ_OPCODES, MessageFlag, OpCode, ResponseCode
from protocol.credential import KIND_MAC, decode_credential, mac_message, verify_mac
from protocol.envelope import ENVELOPE_OCTETS, Envelope
from protocol.errors import DecodeError, ProtocolError, SecurityError
from protocol.message import Message, decode_payload
from protocol.session import (
    ReplayWindow,
    SessionKey,
    answer_key_exchange,
    decrypt_payload,
    encrypt_message,
    make_session_key,
    wrap_session_key,
)
from protocol.types.hs_pubkey import decode_public_key
from protocol.value import Reference
from protocol.versions import V2_5, Version
from resolver.bounded_table import BoundedTable

KEY_MODES = frozenset({SESSION_MODE_CLIENT_KEY, SESSION_MODE_KEY_IN_HANDLE})
_COUNTER_MAX = 2**31 - 1


class SessionError(Exception):
    """A message that cannot be taken as one of its session; `response_code` answers it."""

    def __init__(self, response_code: ResponseCode, words: str) -> None:
        super().__init__(words)
        self.response_code = response_code


@dataclass(slots=True)
class Session:
    """One session: its key and identity, our counter and the client's counters seen."""

    number: int
    key: SessionKey
    identity: Reference
    timeout_s: float
    proven: Reference | None = None
    counter: int = 0
    window: ReplayWindow = field(default_factory=ReplayWindow)

    def authenticate(self, identity: Reference) -> None:
        """Note who the session's identity was proven to be (its index 0 means any of its keys)."""
        self.proven = identity

    def receive(self, envelope: Envelope, octets: bytes) -> Message:
        """Return the clear message, once its MAC holds and its counter is new.

        Args:
            envelope: of the message.
            octets: envelope and message as received.

        Raises:
            SessionError: 404 without a MAC (but for the answer to a challenge), 502 when it does
                not hold or does not decrypt, 505 when its counter was seen before.
        """
        payload = octets[ENVELOPE_OCTETS:]
        try:
            if envelope.is_encrypted:
                request = decrypt_payload(envelope, payload, self.key)
            else:
                request = decode_payload(envelope, payload)
            if not request.credential and request.header.opcode == OpCode.RESPONSE_TO_CHALLENGE:
                return request
            if not request.credential or decode_credential(request.credential).kind != KIND_MAC:
                raise SessionError(
                    ResponseCode.INVALID_CREDENTIAL, "a message in a session needs a MAC"
                )
            counter = verify_mac(request, self.key)
        except SecurityError as error:
            raise SessionError(ResponseCode.INVALID_SESSION_KEY, str(error)) from None
        except DecodeError as error:
            raise SessionError(_decode_code(envelope), str(error)) from None
        if not self._is_new(request, counter):
            raise SessionError(
                ResponseCode.SESSION_MESSAGE_REJECTED, f"counter {counter} was used before"
            )
        return request

    def _is_new(self, request: Message, counter: int) -> bool:
        """Say whether a message was not taken before, as far as its session's version counts.

        In sessions below 2.5 the field is not a counter yet: clients of that time write the
        session's id, and today's repeat a query over UDP with the counter it had.
        """
        if not self.key.version.at_least(V2_5):
            is_query = request.header.opcode in READ_OPCODES
            if is_query or counter == self.number:
                return True
        return self.window.accept(counter)

    def seal(self, answer: Message) -> bytes:
        """Return an answer's octets with a MAC, encrypted when its flags say so.

        Raises:
            DecodeError: it is larger than any peer takes.
        """
        self.counter = self.counter % _COUNTER_MAX + 1
        answer = mac_message(answer, self.key, self.counter)
        if answer.header.has(MessageFlag.ENCRYPT):
            return encrypt_message(answer, self.key)
        return answer.encode()


def _decode_code(envelope: Envelope) -> ResponseCode:
    # What decrypts to garbage was encrypted with another key.
    return (
        ResponseCode.INVALID_SESSION_KEY if envelope.is_encrypted else ResponseCode.PROTOCOL_ERROR
    )


def agree_on_key(
    request: SessionSetupRequest, version: Version, key_data: bytes
) -> tuple[SessionKey, SessionSetupAnswer]:
    """Answer a session set-up: milliseconds of CPU, so call it off the loop.

    Args:
        request: the set-up.
        version: of the answer.
        key_data: the HS_PUBKEY data to use: the request's own, or in mode 3 that of its handle.

    Raises:
        SessionError: 503 a key that is not RSA where it must be, 504 anything else that is wrong.
    """
    try:
        if request.mode == SESSION_MODE_DIFFIE_HELLMAN:
            data, key = answer_key_exchange(key_data, version)
        else:
            data, key = _wrap_new_key(key_data, version)
    except ProtocolError as error:
        raise SessionError(ResponseCode.INVALID_SESSION_SETUP_REQUEST, str(error)) from None
    return key, SessionSetupAnswer(request.mode, data)


def _wrap_new_key(key_data: bytes, version: Version) -> tuple[bytes, SessionKey]:
    public_key = decode_public_key(key_data)
    if not isinstance(public_key, RSAPublicKey):
        raise SessionError(
            ResponseCode.NEED_RSA_KEY_FOR_SESSION, "only an RSA key can receive a session key"
        )
    key = make_session_key(version)
    return wrap_session_key(key, public_key, version), key


def _is_nobodys(session: Session) -> bool:
    return session.proven is None


class Sessions:
    """The sessions of a node.

    Args:
        table: holds them within its bounds.
        timeout_s_max: a client may ask for a shorter time-out, not for a longer one.
    """

    def __init__(self, table: BoundedTable[Session], timeout_s_max: float) -> None:
        self._table = table
        self._timeout_s_max = timeout_s_max

    def __len__(self) -> int:
        return len(self._table)

    def __contains__(self, number: int) -> bool:
        return number in self._table

    def add(
        self,
        number: int,
        key: SessionKey,
        setup: SessionSetupRequest,
        address: str,
        now_s: float,
    ) -> Session | None:
        """Begin a session, perhaps in another's place; None when there is no room for it."""
        timeout_s = self._timeout_s_max
        if 0 < setup.timeout_s < timeout_s:
            timeout_s = setup.timeout_s
        identity = Reference(setup.identity_handle, setup.identity_index)
        session = Session(number, key, identity, timeout_s)
        deadline_s = now_s + timeout_s
        if self._table.add(number, session, address, deadline_s):
            return session
        self._make_room(address)
        return session if self._table.add(number, session, address, deadline_s) else None

    def _make_room(self, address: str) -> None:
        """End one session for a newcomer, if there is one that may be ended.

        The address's own go first: its client begins anew. A stranger's goes only if nobody has
        logged in to it, so that nobody can push administrators out.
        """
        if not self._table.make_room(_is_nobodys, address) and self._table.has_its_share(address):
            self._table.make_room(lambda session: True, address)

    def find(self, number: int, now_s: float) -> Session | None:
        """Return a session that lives."""
        return self._table.find(number, now_s)

    def touch(self, session: Session, now_s: float) -> None:
        """Note that a session was used."""
        if session.number in self._table:
            self._table.touch(session.number, now_s + session.timeout_s)

    def drop(self, number: int) -> None:
        """End a session."""
        self._table.drop(number)

    def identities(self) -> Iterator[Reference]:
        """Iterate over who has logged in."""
        return (each.proven for each in self._table.entries() if each.proven is not None)

    def drop_of(self, is_meant: Callable[[Reference], bool]) -> int:
        """End the sessions of whoever logged in with a key that is meant; return how many."""
        return self._table.drop_all(
            lambda session: session.proven is not None and is_meant(session.proven)
        )

    def purge(self, now_s: float) -> int:
        """End the sessions that were not used in time; return how many."""
        return self._table.purge(now_s)
