import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from protocol.bodies import (
    Body,
    HandleRequest,
    ResolutionRequest,
    SessionExchangeKeyRequest,
    SessionSetupAnswer,
    SessionSetupRequest,
    ValuesRequest,
)
from protocol.codes import MessageFlag, OpCode, ResponseCode
from protocol.credential import mac_message, verify_mac, verify_message
from protocol.envelope import ENVELOPE_OCTETS, Envelope, decode_envelope
from protocol.message import Message, decode_message
from protocol.session import (
    SessionKey,
    decrypt_payload,
    encrypt_message,
    start_key_exchange,
    unwrap_session_key,
)
from protocol.types.hs_pubkey import encode_public_key
from protocol.types.hs_site import TRANSPORT_HTTP, TRANSPORT_HTTPS, TRANSPORT_TCP
from protocol.value import HandleValue, Reference
from protocol.versions import V2_1, V2_4, V2_5, V2_6, V2_7, V2_8, V2_10, Version
from resolver.bounded_table import BoundedTable, Bounds
from resolver.sessions import Session, Sessions
from tests.protocol.recorded import messages, session_keys
from tests.registry.builders import PREFIX, admin_value, hidden, put, url
from tests.resolver.office import (
    ADMIN,
    ADMIN_KEY,
    SECRET,
    SECRET_ADMIN,
    SERVER_KEY,
    Office,
    answer_to,
    body_of,
    digest_of,
    open_office,
    request,
)

Scene = Callable[[Office], Awaitable[None]]
NEW = b"88.118/NEW"
CREATE = ValuesRequest(NEW, (url(),))
WRONG = SessionKey(bytes(32))
SETUP_FLAGS = MessageFlag.CERTIFY | MessageFlag.REQUEST_DIGEST


def play(folder: Path, scene: Scene) -> None:
    async def run() -> None:
        async with open_office(folder) as office:
            await scene(office)

    asyncio.run(run())


class Client:
    """A client in a Diffie-Hellman session."""

    def __init__(
        self, office: Office, number: int, key: SessionKey, version: Version, encrypts: bool
    ) -> None:
        self.office = office
        self.number = number
        self.key = key
        self.version = version
        self.flags = MessageFlag.CERTIFY | (MessageFlag.ENCRYPT if encrypts else 0)
        self.counter = 0

    def seal(self, message: Message) -> Message:
        self.counter += 1
        return mac_message(message, self.key, self.counter)

    def make(self, opcode: int, body: Body, flags: int = 0) -> Message:
        message = request(
            opcode,
            body,
            self.flags | flags,
            session_id=self.number,
            version=self.version,
            suggested=self.version,
        )
        return self.seal(message)

    async def ask(self, message: Message) -> Message:
        encrypts = message.header.has(MessageFlag.ENCRYPT)
        octets = encrypt_message(message, self.key) if encrypts else message.encode()
        (answer,) = await self.office.hand_in(octets)
        envelope = decode_envelope(answer)
        assert envelope.is_encrypted == encrypts
        assert envelope.session_id == self.number
        if encrypts:
            reply = decrypt_payload(envelope, answer[ENVELOPE_OCTETS:], self.key)
        else:
            reply = decode_message(answer)
        verify_mac(reply, self.key)
        return reply

    async def ask_code(self, message: Message) -> int:
        """Ask what may be refused without a MAC."""
        (answer,) = await self.office.hand_in(message.encode())
        return decode_message(answer).header.response_code


async def open_session(
    office: Office,
    user: Reference = ADMIN,
    *,
    version: Version = V2_10,
    encrypts: bool = False,
    timeout_s: int = 0,
) -> Client:
    exchange = start_key_exchange()
    body = SessionSetupRequest(4, timeout_s, user.handle, user.index, exchange.public_data)
    asked = request(OpCode.SESSION_SETUP, body, SETUP_FLAGS, version=version, suggested=version)
    answer = await office.ask(asked)
    assert answer.header.response_code == ResponseCode.SUCCESS
    verify_message(answer, SERVER_KEY.public_key())
    assert digest_of(answer).matches(asked.covered)
    setup = body_of(answer)
    assert isinstance(setup, SessionSetupAnswer)
    assert setup.mode == 4
    key = exchange.finish(setup.data, answer.envelope.version)
    assert answer.envelope.session_id > 0
    return Client(office, answer.envelope.session_id, key, version, encrypts)


async def log_in(
    client: Client, user: Reference = ADMIN, secret: bytes = b"", *, macs: bool = False
) -> Message:
    """Handle.Net's client MACs its answer only when it repeats it over UDP."""
    challenge = await client.ask(client.make(OpCode.CREATE_HANDLE, CREATE))
    assert challenge.header.response_code == ResponseCode.AUTHENTICATION_NEEDED
    answer = answer_to(challenge, user, secret=secret, version=client.version)
    answer = dataclasses.replace(
        answer, header=dataclasses.replace(answer.header, flags=client.flags)
    )
    return await client.ask(client.seal(answer) if macs else answer)


@pytest.mark.parametrize("macs", [False, True])
@pytest.mark.parametrize("encrypts", [False, True])
@pytest.mark.parametrize("version", [V2_1, V2_4, V2_5, V2_6, V2_7, V2_8, V2_10])
def test_one_proof_opens_a_session(
    tmp_path: Path, version: Version, encrypts: bool, macs: bool
) -> None:
    async def scene(office: Office) -> None:
        client = await open_session(office, version=version, encrypts=encrypts)
        created = await log_in(client, macs=macs)
        assert (created.header.opcode, created.header.response_code) == (100, 1)
        deleted = await client.ask(client.make(OpCode.DELETE_HANDLE, HandleRequest(NEW)))
        assert deleted.header.response_code == ResponseCode.SUCCESS
        assert not office.has(NEW)

    play(tmp_path, scene)


def test_a_session_is_only_its_own_identity_s(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        client = await open_session(office, ADMIN)
        created = await log_in(client, SECRET_ADMIN, SECRET)
        assert created.header.response_code == ResponseCode.SUCCESS
        answer = await client.ask(client.make(OpCode.DELETE_HANDLE, HandleRequest(NEW)))
        assert answer.header.response_code == ResponseCode.AUTHENTICATION_NEEDED

    play(tmp_path, scene)


def test_a_wrong_proof_opens_nothing(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        client = await open_session(office, SECRET_ADMIN)
        failed = await log_in(client, SECRET_ADMIN, b"wrong")
        assert failed.header.response_code == ResponseCode.AUTHENTICATION_FAILED
        answer = await client.ask(client.make(OpCode.CREATE_HANDLE, CREATE))
        assert answer.header.response_code == ResponseCode.AUTHENTICATION_NEEDED

    play(tmp_path, scene)


def test_a_look_up_in_a_session_needs_its_identity(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        put(office.store, {NEW: [url(), hidden(2)]})
        client = await open_session(office)
        asked = client.make(OpCode.RESOLUTION, ResolutionRequest(b"88.118/OLD"))
        assert (await client.ask(asked)).header.response_code == 402
        public = client.make(
            OpCode.RESOLUTION, ResolutionRequest(b"88.118/OLD"), MessageFlag.PUBLIC_ONLY
        )
        assert (await client.ask(public)).header.response_code == 1

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("version", "transport", "hides"),
    [
        (V2_10, TRANSPORT_TCP, True),
        (V2_8, TRANSPORT_HTTP, True),
        (V2_7, TRANSPORT_TCP, False),
        (V2_10, TRANSPORT_HTTPS, False),
    ],
)
def test_what_is_not_public_is_not_sent_in_clear_in_a_session_without_encryption(
    tmp_path: Path, version: Version, transport: int, hides: bool
) -> None:
    async def scene(office: Office) -> None:
        client = await open_session(office, version=version)
        assert (await log_in(client)).header.response_code == 1
        put(office.store, {NEW: [url(), hidden(2), admin_value()]})
        for indexes, expected in (((1, 2), hides), ((1,), False)):
            asked = client.make(OpCode.RESOLUTION, ResolutionRequest(NEW, indexes))
            (octets,) = await office.hand_in(asked.encode(), transport=transport)
            envelope = decode_envelope(octets)
            assert envelope.is_encrypted == expected
            reply = (
                decrypt_payload(envelope, octets[ENVELOPE_OCTETS:], client.key)
                if expected
                else decode_message(octets)
            )
            verify_mac(reply, client.key)
            found = body_of(reply)
            assert isinstance(found, ValuesRequest)
            assert [value.index for value in found.values] == list(indexes)

    play(tmp_path, scene)


def test_an_encrypted_request_that_wants_no_encryption_back_is_answered_in_clear(
    tmp_path: Path,
) -> None:
    """So the stock client sends values that are not public in sessions without encryption."""

    async def scene(office: Office) -> None:
        client = await open_session(office)
        message = client.make(OpCode.CREATE_HANDLE, ValuesRequest(NEW, (hidden(1),)))
        (octets,) = await office.hand_in(encrypt_message(message, client.key))
        assert decode_message(octets).header.response_code == 402

    play(tmp_path, scene)


def test_a_request_sent_again_in_a_session_is_challenged_with_the_same_nonce(
    tmp_path: Path,
) -> None:
    """Over UDP clients send again under the same id; the first challenge may be on its way."""

    async def scene(office: Office) -> None:
        client = await open_session(office)
        first, again = (client.make(OpCode.CREATE_HANDLE, CREATE) for _ in range(2))
        challenges = [await client.ask(message) for message in (first, again)]
        assert body_of(challenges[0]) == body_of(challenges[1])
        answer = answer_to(challenges[0], version=client.version)
        assert (await client.ask(client.seal(answer))).header.response_code == 1
        other = ValuesRequest(b"88.118/OTHER", (url(),))
        client = await open_session(office)
        first, other_first = client.make(100, CREATE), client.make(100, other)
        challenges = [await client.ask(message) for message in (first, other_first)]
        assert body_of(challenges[0]) != body_of(challenges[1]), "another request of the same id"

    play(tmp_path, scene)


def test_an_encrypted_message_without_a_session_fails(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        message = request(2, HandleRequest(b"/"))
        (answer,) = await office.hand_in(encrypt_message(message, SessionKey(bytes(32))))
        assert decode_message(answer).header.response_code == ResponseCode.SESSION_FAILED

    play(tmp_path, scene)


def test_a_session_that_has_its_key_takes_no_other(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        client = await open_session(office)
        offered = client.make(OpCode.SESSION_EXCHANGE_KEY, SessionExchangeKeyRequest(b"key"))
        assert await client.ask_code(offered) == ResponseCode.SESSION_FAILED
        assert (await log_in(client)).header.response_code == 1

    play(tmp_path, scene)


def test_a_counter_is_taken_once(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        client = await open_session(office)
        message = client.make(OpCode.GET_SITE_INFO, HandleRequest(b"/"))
        assert (await client.ask(message)).header.response_code == 1
        assert await client.ask_code(message) == ResponseCode.SESSION_MESSAGE_REJECTED

    play(tmp_path, scene)


def test_recorded_requests_in_sessions_are_taken() -> None:
    """Among them answers to challenges, which the recorded client sends without a MAC."""
    sessions = {number: Session(number, key, ADMIN, 60.0) for number, key in session_keys().items()}
    bare = 0
    for one in messages():
        number = one.envelope.session_id
        if one.is_request and number in sessions:
            assert sessions[number].receive(one.envelope, one.octets) == one.message
            assert bool(one.message.credential) == (one.message.header.opcode != 200)
            bare += not one.message.credential
    assert bare == len(sessions)


def test_an_answer_without_a_mac_is_not_taken_for_nothing(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        client = await open_session(office)
        challenge = await client.ask(client.make(OpCode.CREATE_HANDLE, CREATE))
        answer = answer_to(challenge)
        forged = dataclasses.replace(answer, credential=mac_message(answer, WRONG, 9).credential)
        assert await client.ask_code(forged) == ResponseCode.INVALID_SESSION_KEY
        assert (await client.ask(answer)).header.response_code == 1
        again = await client.ask(dataclasses.replace(answer, envelope=another_id(answer)))
        assert again.header.response_code == ResponseCode.AUTHENTICATION_TIMEOUT

    play(tmp_path, scene)


def test_a_request_repeated_in_a_session_gets_the_same_challenge(tmp_path: Path) -> None:
    """Handle.Net's client repeats it over UDP: the same request id, and a new counter."""

    async def scene(office: Office) -> None:
        client = await open_session(office, SECRET_ADMIN)
        question = client.make(OpCode.RESOLUTION, ResolutionRequest(b"88.118/OLD"))
        first = await client.ask(question)
        again = await client.ask(client.seal(question))
        assert again.body == first.body
        answer = answer_to(first, SECRET_ADMIN, secret=SECRET)
        other = client.make(OpCode.RESOLUTION, ResolutionRequest(b"88.118/OLD"))
        other = dataclasses.replace(other, envelope=another_id(other))
        assert (await client.ask(client.seal(other))).body != first.body, "another request"
        assert (await client.ask(answer)).header.response_code == 403, "the challenge was replaced"

    play(tmp_path, scene)


def another_id(message: Message) -> Envelope:
    return dataclasses.replace(message.envelope, request_id=message.envelope.request_id + 1)


@pytest.mark.parametrize(("version", "code"), [(V2_1, 1), (V2_4, 1), (V2_5, 505), (V2_10, 505)])
def test_a_query_is_counted_from_2_5_on(tmp_path: Path, version: Version, code: int) -> None:
    async def scene(office: Office) -> None:
        client = await open_session(office, version=version)
        message = client.make(OpCode.GET_SITE_INFO, HandleRequest(b"/"))
        assert (await client.ask(message)).header.response_code == 1
        assert await client.ask_code(message) == code

    play(tmp_path, scene)


@pytest.mark.parametrize(("version", "code"), [(V2_4, 1), (V2_5, 505)])
def test_before_2_5_clients_may_write_the_session_s_id_for_a_counter(
    tmp_path: Path, version: Version, code: int
) -> None:
    async def scene(office: Office) -> None:
        client = await open_session(office, version=version)
        assert (await log_in(client)).header.response_code == 1
        codes = []
        for handle in (NEW, b"88.118/OLD"):
            client.counter = client.number - 1
            message = client.make(OpCode.DELETE_HANDLE, HandleRequest(handle))
            codes.append(await client.ask_code(message))
        assert codes == [1, code]
        client.counter -= 2
        message = client.make(OpCode.CREATE_HANDLE, CREATE)
        assert await client.ask_code(message) == 1, "a counter after all"
        assert await client.ask_code(message) == ResponseCode.SESSION_MESSAGE_REJECTED

    play(tmp_path, scene)


def test_messages_that_are_not_the_session_s_are_refused(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        client = await open_session(office)
        bare = request(2, HandleRequest(b"/"), session_id=client.number)
        assert await client.ask_code(bare) == ResponseCode.INVALID_CREDENTIAL
        other = mac_message(bare, WRONG, 1)
        assert await client.ask_code(other) == ResponseCode.INVALID_SESSION_KEY
        cipher = encrypt_message(other, WRONG)
        (answer,) = await office.hand_in(cipher)
        assert decode_message(answer).header.response_code == ResponseCode.INVALID_SESSION_KEY
        damaged = dataclasses.replace(bare, credential=b"\0")
        assert await client.ask_code(damaged) == ResponseCode.PROTOCOL_ERROR

    play(tmp_path, scene)


@pytest.mark.parametrize("encrypts", [False, True])
def test_an_unknown_session_has_timed_out(tmp_path: Path, encrypts: bool) -> None:
    async def scene(office: Office) -> None:
        message = request(2, HandleRequest(b"/"), session_id=12_345)
        octets = encrypt_message(message, SessionKey(bytes(32))) if encrypts else message.encode()
        (answer,) = await office.hand_in(octets)
        assert decode_message(answer).header.response_code == ResponseCode.SESSION_TIMEOUT
        assert decode_envelope(answer).session_id == 12_345

    play(tmp_path, scene)


@pytest.mark.parametrize(("asked_s", "given_s"), [(0, 3_600), (100, 100), (99_999, 3_600)])
def test_a_session_lives_from_its_last_use(tmp_path: Path, asked_s: int, given_s: int) -> None:
    async def scene(office: Office) -> None:
        client = await open_session(office, timeout_s=asked_s)
        for _ in range(2):
            office.clock_s += given_s - 1
            answer = await client.ask(client.make(OpCode.GET_SITE_INFO, HandleRequest(b"/")))
            assert answer.header.response_code == 1
        office.clock_s += given_s
        message = client.make(OpCode.GET_SITE_INFO, HandleRequest(b"/"))
        assert await client.ask_code(message) == ResponseCode.SESSION_TIMEOUT

    play(tmp_path, scene)


def test_nobody_else_keeps_a_session_alive(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        client = await open_session(office, timeout_s=100)
        challenge = await client.ask(client.make(OpCode.CREATE_HANDLE, CREATE))
        office.clock_s += 50
        answered = await client.ask(answer_to(challenge, SECRET_ADMIN, secret=b"wrong"))
        assert answered.header.response_code == ResponseCode.AUTHENTICATION_FAILED
        office.clock_s += 50
        message = client.make(OpCode.GET_SITE_INFO, HandleRequest(b"/"))
        assert await client.ask_code(message) == ResponseCode.SESSION_TIMEOUT

    play(tmp_path, scene)


def test_a_session_is_ended_by_its_owner_alone(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        client = await open_session(office)
        bare = request(OpCode.SESSION_TERMINATE, HandleRequest(b""), session_id=client.number)
        assert await client.ask_code(bare) == ResponseCode.INVALID_CREDENTIAL
        ended = await client.ask(client.make(OpCode.SESSION_TERMINATE, HandleRequest(b"")))
        assert ended.header.response_code == 1
        assert len(office.conversations.sessions) == 0
        alone = await office.ask(request(OpCode.SESSION_TERMINATE, HandleRequest(b"")))
        assert alone.header.response_code == ResponseCode.SESSION_TIMEOUT

    play(tmp_path, scene)


def test_an_address_makes_room_among_its_own_sessions(tmp_path: Path) -> None:
    # Stock tools begin a session a run, for a day, and end none: they must not lock themselves out.
    async def scene(office: Office) -> None:
        clients = [await open_session(office) for _ in range(4)]
        assert (await log_in(clients[0])).header.response_code == 1
        newcomers = [await open_session(office) for _ in range(2)]
        assert len(office.conversations.sessions) == 4
        codes = [await code_in(client) for client in (*clients, *newcomers)]
        gone = ResponseCode.SESSION_TIMEOUT
        assert codes == [1, gone, gone, 1, 1, 1], "least recently used first, not the logged-in"

    play(tmp_path, scene)


async def code_in(client: Client) -> int:
    return await client.ask_code(client.make(OpCode.GET_SITE_INFO, HandleRequest(b"/")))


def add_session(sessions: Sessions, number: int, address: str) -> Session | None:
    setup = SessionSetupRequest(4, 0, b"", -1)
    return sessions.add(number, SessionKey(bytes(32)), setup, address, 0.0)


def test_nobody_pushes_those_who_logged_in_out() -> None:
    sessions = Sessions(BoundedTable(Bounds(4, 2, 0, 0)), 60.0)
    for number in range(1, 5):
        session = add_session(sessions, number, f"192.0.2.{(number + 1) // 2}")
        assert session is not None
        if number != 2:
            session.authenticate(ADMIN)
    assert add_session(sessions, 5, "192.0.2.9") is not None
    assert [number for number in range(1, 6) if number in sessions] == [1, 3, 4, 5]
    assert add_session(sessions, 6, "192.0.2.8") is not None, "in the place of 5, nobody's"
    assert [number for number in range(1, 7) if number in sessions] == [1, 3, 4, 6]
    sixth = sessions.find(6, 0.0)
    assert sixth is not None
    sixth.authenticate(ADMIN)
    assert add_session(sessions, 7, "192.0.2.9") is None, "everybody has logged in"
    assert add_session(sessions, 8, "192.0.2.2") is not None, "in the place of 3, its own"
    assert [number for number in range(1, 9) if number in sessions] == [1, 4, 6, 8]


def test_all_who_logged_in_by_a_handle_are_logged_out() -> None:
    sessions = Sessions(BoundedTable(Bounds(4, 4, 0, 0)), 60.0)
    others = Reference(ADMIN.handle + b".1", ADMIN.index)
    for number, who in enumerate((ADMIN, others, None)):
        session = add_session(sessions, number, "192.0.2.1")
        assert session is not None
        if who is not None:
            session.authenticate(who)
    assert sessions.drop_of(lambda key: key == ADMIN) == 1
    assert [number for number in range(3) if number in sessions] == [1, 2]


def test_refusals_outside_a_session_s_key_are_signed(tmp_path: Path) -> None:
    # The stock client asks for a signature in sessions too, and believes no refusal without.
    async def scene(office: Office) -> None:
        client = await open_session(office, encrypts=True)
        lost = dataclasses.replace(client.make(2, HandleRequest(b"/")).envelope, session_id=77)
        message = client.seal(
            dataclasses.replace(client.make(2, HandleRequest(b"/")), envelope=lost)
        )
        wrong = SessionKey(bytes(32))
        for octets in (message.encode(), encrypt_message(message, wrong)):
            (answer,) = await office.hand_in(octets)
            refusal = decode_message(answer)
            assert refusal.header.response_code == ResponseCode.SESSION_TIMEOUT
            verify_message(refusal, SERVER_KEY.public_key())

    play(tmp_path, scene)


def test_a_response_in_a_session_is_met_with_silence(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        (refusal,) = await office.hand_in(request(2, HandleRequest(b"/"), session_id=77).encode())
        assert await office.hand_in(refusal) == []

    play(tmp_path, scene)


@pytest.mark.parametrize("mode", [1, 3])
def test_a_key_is_sent_to_an_rsa_key(tmp_path: Path, mode: int) -> None:
    async def scene(office: Office) -> None:
        data = encode_public_key(ADMIN_KEY.public_key())
        body = (
            SessionSetupRequest(1, 0, ADMIN.handle, ADMIN.index, data)
            if mode == 1
            else SessionSetupRequest(
                3, 0, ADMIN.handle, ADMIN.index, key_handle=PREFIX, key_index=300
            )
        )
        answer = await office.ask(request(OpCode.SESSION_SETUP, body, SETUP_FLAGS))
        verify_message(answer, SERVER_KEY.public_key())
        setup = body_of(answer)
        assert isinstance(setup, SessionSetupAnswer)
        key = unwrap_session_key(setup.data, ADMIN_KEY, answer.envelope.version)  # type: ignore[arg-type]
        client = Client(office, answer.envelope.session_id, key, V2_10, encrypts=True)
        assert (await log_in(client)).header.response_code == 1

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (SessionSetupRequest(2, 0, b"", -1), ResponseCode.INVALID_SESSION_SETUP_REQUEST),
        (SessionSetupRequest(9, 0, b"", -1), ResponseCode.INVALID_SESSION_SETUP_REQUEST),
        (SessionSetupRequest(4, 0, b"", -1, b"\0"), ResponseCode.INVALID_SESSION_SETUP_REQUEST),
        (
            SessionSetupRequest(1, 0, b"", -1, start_key_exchange().public_data),
            ResponseCode.NEED_RSA_KEY_FOR_SESSION,
        ),
        (
            SessionSetupRequest(3, 0, b"", -1, key_handle=PREFIX, key_index=7),
            ResponseCode.SESSION_FAILED,
        ),
        (SessionExchangeKeyRequest(b"key"), ResponseCode.SESSION_TIMEOUT),
    ],
)
def test_set_ups_that_lead_nowhere_are_refused(tmp_path: Path, body: Body, code: int) -> None:
    async def scene(office: Office) -> None:
        is_setup = isinstance(body, SessionSetupRequest)
        opcode = OpCode.SESSION_SETUP if is_setup else OpCode.SESSION_EXCHANGE_KEY
        answer = await office.ask(request(opcode, body))
        assert answer.header.response_code == code
        assert len(office.conversations.sessions) == 0

    play(tmp_path, scene)


def test_an_answer_too_long_is_told_in_the_session(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        values = [HandleValue(n, b"BLOB", bytes(60_000)) for n in range(1, 6)]
        put(office.store, {NEW: values})
        client = await open_session(office)
        asked = client.make(OpCode.RESOLUTION, ResolutionRequest(NEW), MessageFlag.PUBLIC_ONLY)
        answer = await client.ask(asked)
        assert answer.header.response_code == ResponseCode.ERROR
        assert b"too long" in answer.body

    play(tmp_path, scene)
