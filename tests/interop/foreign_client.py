"""A stranger's client of the Handle protocol over UDP, TCP, HTTP and HTTPS.

It behaves as the stock client library does: a new socket and request id for every request, request
digests and signatures checked, challenges answered only when they are about our own request.
"""

import secrets
from dataclasses import dataclass, field, replace
from struct import pack

from tests.interop import foreign_wire as wire
from tests.interop.foreign_crypto import (
    Identity,
    check_certified,
    credential,
    mac,
    read_credential,
    same_digest,
)
from tests.interop.foreign_session import AES_CIPHER, DES, DhPair, decrypt, encrypt, session_key
from tests.interop.foreign_transport import Line, exchange
from tests.interop.foreign_wire import Answer, Cursor, Envelope, Value, Version, pack_str

LATEST: Version = (2, 10)
QUERY_FLAGS = wire.CACR | wire.PUBL | wire.RECU


@dataclass
class Session:
    """A key shared with the server; every message of ours counts up.

    The version of the set-up's answer rules encryption for the whole session, whatever versions its
    later messages have: so the recorded traffic shows. MACs follow each message's own version.

    The stock client's first answer to a challenge has no MAC; one that it repeats over UDP has.
    """

    id: int
    version: Version
    key: bytes
    cipher_id: int
    encrypted: bool
    counter: int = 0
    macs_answers: bool = False


@dataclass
class ForeignClient(Line):
    """One server, one way to speak to it."""

    version: Version = LATEST
    suggested: Version = LATEST
    session: Session | None = None
    sent: bytes = field(default=b"", init=False)

    def speaking(self, **changes: object) -> "ForeignClient":
        """The same server, spoken to in another way."""
        return replace(self, **changes)  # type: ignore[arg-type]

    # One request, its answers

    def ask(self, opcode: int, body: bytes, flags: int = 0, **header: int) -> Answer:
        """The single answer to a request."""
        answers = self.ask_for_many(opcode, body, flags, **header)
        assert len(answers) == 1, f"{len(answers)} answers"
        return answers[0]

    def ask_for_many(
        self, opcode: int, body: bytes, flags: int = 0, *, session_id: int = 0, **header: int
    ) -> list[Answer]:
        """Sends a request, checks what every answer promises."""
        if self.session is not None and self.session.encrypted:
            flags |= wire.ENCR
        covered = wire.pack_message(opcode, body, flags, **header)
        envelope, message = self._seal(covered, session_id)
        answers = exchange(self, envelope, message, self._open)
        for answer in answers:
            self._check(envelope, covered, flags, answer)
        self.sent = covered
        return answers

    def _seal(self, covered: bytes, session_id: int, request_id: int = 0) -> tuple[Envelope, bytes]:
        request_id = request_id or secrets.randbelow(2**31 - 1) + 1
        envelope = Envelope(self.version, 0, self.suggested, session_id, request_id, 0, 0)
        message = covered + bytes(4)
        session = self.session
        if session is not None:
            envelope = replace(envelope, session=session.id)
            is_answer = int.from_bytes(covered[:4], "big") == wire.ANSWER_CHALLENGE
            if session.macs_answers or not is_answer:
                session.counter += 1
                name, digest = mac(session.key, envelope, session.counter, covered)
                message = covered + pack_str(credential(b"HS_MAC", name, digest, session.counter))
            if session.encrypted:
                message = encrypt(session.key, session.cipher_id, message, session.version)
                envelope = replace(envelope, flags=wire.ENCRYPTED)
        return replace(envelope, length=len(message)), message

    def _open(self, envelope: Envelope, message: bytes) -> Answer:
        if envelope.flags & wire.ENCRYPTED:
            session = self.session
            assert session is not None, "an encrypted answer outside a session"
            message = decrypt(session.key, session.cipher_id, message, session.version)
        return Answer(envelope, message)

    def _check(self, request: Envelope, covered: bytes, flags: int, answer: Answer) -> None:
        assert answer.envelope.request == request.request
        assert answer.envelope.version == min(request.suggested, LATEST)
        assert answer.envelope.suggested == LATEST
        assert answer.code != 0, "a request came back"
        if answer.digest is not None:
            expected_id = 3 if answer.envelope.version >= (2, 7) else 2
            assert answer.digest[0] == expected_id
            assert same_digest(covered, answer.digest), "the digest is of another request"
        if flags & wire.RRDG:
            assert answer.digest is not None, "no request digest, though asked for"
        if self.session is not None and answer.opcode != wire.SESSION_SETUP:
            self._check_mac(self.session, answer)
        elif flags & wire.CERT and self.server_key is not None:
            check_certified(answer, self.server_key)

    def _check_mac(self, session: Session, answer: Answer) -> None:
        if answer.code >= 500:
            return
        encrypted = bool(answer.envelope.flags & wire.ENCRYPTED)
        # Values that are not public come encrypted from 2.8 on, asked for or not.
        assert encrypted or not session.encrypted
        assert not encrypted or session.encrypted or answer.envelope.version >= (2, 8)
        parts = read_credential(answer.credential)
        assert parts.kind == b"HS_MAC", parts.kind
        expected = mac(session.key, answer.envelope, parts.counter, answer.covered)
        assert (parts.hash_name, parts.signature) == expected

    # Challenge and response

    def perform(self, opcode: int, body: bytes, identity: Identity, flags: int = 0) -> Answer:
        """An administrative request that answers its challenge."""
        answers = self.perform_for_many(opcode, body, identity, flags)
        assert len(answers) == 1, f"{len(answers)} answers"
        return answers[0]

    def perform_for_many(
        self, opcode: int, body: bytes, identity: Identity, flags: int = 0
    ) -> list[Answer]:
        flags |= wire.PUBL | wire.RECU
        first = self.ask_for_many(opcode, body, flags)
        if first[0].code != 402:
            return first
        return self.answer_challenge(first[0], identity, flags)

    def answer_challenge(
        self, challenge: Answer, identity: Identity, flags: int = 0
    ) -> list[Answer]:
        body = answer_body(challenge, identity)
        answering = self.speaking(version=challenge.envelope.version)  # as the stock client does
        answers = answering.ask_for_many(
            wire.ANSWER_CHALLENGE, body, flags, session_id=challenge.envelope.session
        )
        self.http_head = answering.http_head
        opcodes = {answer.opcode for answer in answers}
        assert opcodes == {challenge.opcode}, (opcodes, answers[0].body)
        return answers

    # Sessions

    def set_up_session(
        self, mode: int, who: tuple[bytes, int], fields: bytes, **header: int
    ) -> Answer:
        """The certified answer to a SESSION_SETUP, whose body ends in two zero octets."""
        body = pack(">hi", mode, 86400) + pack_str(who[0]) + pack(">i", who[1]) + fields + bytes(2)
        return self.ask(wire.SESSION_SETUP, body, wire.CERT | wire.RRDG | QUERY_FLAGS, **header)

    def open_session(
        self,
        identity: Identity | None,
        *,
        encrypted: bool = False,
        pair: DhPair | None = None,
    ) -> "ForeignClient":
        """A client inside a new Diffie-Hellman session; None is an anonymous one.

        In a session, the new one takes its place: so the library changes a session's options.
        """
        pair = pair or DhPair.make()
        who = (b"", -1) if identity is None else (identity.handle, identity.index)
        answer = self.set_up_session(4, who, pack_str(pair.pack()))
        data = session_data(answer, 4)
        cipher_id = data.number("i") if answer.envelope.version >= (2, 4) else DES
        assert cipher_id in (AES_CIPHER, DES)
        key = session_key(pair.shared(data.rest), cipher_id)
        place = (answer.envelope.session, answer.envelope.version)
        return self.speaking(session=Session(*place, key, cipher_id, encrypted))

    # Operations

    def resolve(
        self,
        handle: bytes,
        types: tuple[bytes, ...] = (),
        indexes: tuple[int, ...] = (),
        flags: int = 0,
        **header: int,
    ) -> Answer:
        body = resolution_body(handle, types, indexes)
        return self.ask(wire.RESOLUTION, body, flags | QUERY_FLAGS, **header)

    def site(self) -> wire.Site:
        return wire.read_site(
            self.ask(wire.GET_SITE_INFO, pack_str(b"/"), QUERY_FLAGS).payload.rest
        )

    def create(
        self, handle: bytes, values: list[Value], identity: Identity, flags: int = 0
    ) -> Answer:
        return self.perform(
            wire.CREATE, pack_str(handle) + wire.pack_values(values), identity, flags
        )

    def delete(self, handle: bytes, identity: Identity) -> Answer:
        return self.perform(wire.DELETE, pack_str(handle), identity)

    def add(self, handle: bytes, values: list[Value], identity: Identity, flags: int = 0) -> Answer:
        return self.perform(wire.ADD, pack_str(handle) + wire.pack_values(values), identity, flags)

    def modify(self, handle: bytes, values: list[Value], identity: Identity) -> Answer:
        return self.perform(wire.MODIFY, pack_str(handle) + wire.pack_values(values), identity)

    def remove(self, handle: bytes, indexes: list[int], identity: Identity) -> Answer:
        return self.perform(wire.REMOVE, pack_str(handle) + wire.pack_indexes(indexes), identity)

    def list(
        self, prefix_handle: bytes, identity: Identity, opcode: int = wire.LIST
    ) -> list[Answer]:
        return self.perform_for_many(opcode, pack_str(prefix_handle), identity)


def session_data(answer: Answer, mode: int) -> Cursor:
    """The data of a session set-up's answer."""
    assert (answer.opcode, answer.code) == (wire.SESSION_SETUP, 1), answer
    assert answer.envelope.session > 0
    cursor = answer.payload
    assert cursor.number("h") == mode
    data = Cursor(cursor.str())
    assert cursor.rest == bytes(2)
    return data


def resolution_body(
    handle: bytes, types: tuple[bytes, ...] = (), indexes: tuple[int, ...] = ()
) -> bytes:
    packed_types = wire.pack_list([pack_str(kind) for kind in types])
    return pack_str(handle) + wire.pack_indexes([*indexes]) + packed_types


def answer_body(challenge: Answer, identity: Identity) -> bytes:
    """What follows a challenge; its digest was compared with the request when it came."""
    digest = challenge.digest
    assert digest is not None, "a challenge without a request digest"
    cursor = challenge.payload
    nonce = cursor.str()
    assert cursor.rest == b""
    version = min(challenge.envelope.version, challenge.envelope.suggested)
    answer = identity.answer(nonce + digest[1], version)
    who = pack_str(identity.handle) + pack(">i", identity.index)
    return pack_str(identity.kind) + who + pack_str(answer)
