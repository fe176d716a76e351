import asyncio
import contextlib
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from protocol.bodies import (
    ErrorAnswer,
    HandleRequest,
    ResolutionRequest,
    SiteInfoAnswer,
    UnknownBody,
    ValuesRequest,
)
from protocol.codes import MessageFlag, OpCode, ResponseCode
from protocol.credential import verify_message
from protocol.digests import digest_request
from protocol.envelope import decode_envelope
from protocol.message import Message, decode_message
from protocol.session import SessionKey, encrypt_message
from protocol.types.hs_site import TRANSPORT_TCP, TRANSPORT_UDP
from protocol.value import HandleValue, encode_values
from protocol.versions import BEST, V2_0, V2_4, V2_9, V2_10, Version
from resolver.config import NodeRole
from resolver.dispatch import Dispatcher, Peer, link_code
from resolver.link import Link, LinkBusy, LinkDown, LinkFailed, LinkLost
from resolver.metrics import RequestMetrics
from resolver.query import Result
from tests.registry.builders import NOW_S, url
from tests.resolver.office import SERVER_KEY, body_of, digest_of, make_node, request

TCP = Peer("192.0.2.1", 1234, TRANSPORT_TCP)
UDP = Peer("192.0.2.1", 1234, TRANSPORT_UDP)
FOUND = b"88/FOUND"
ASK = ResolutionRequest(FOUND)


class FakeRecords:
    """Knows FOUND, refers 0.NA/ handles on, leaves 88/SECRET to somebody else."""

    def find(self, question: ResolutionRequest, flags: int) -> Result | None:
        if question.handle == FOUND:
            return Result(ResponseCode.SUCCESS, ValuesRequest(FOUND, (url(),)))
        if question.handle.startswith(b"0.NA/"):
            return Result(ResponseCode.PREFIX_REFERRAL, ErrorAnswer(b""))
        if question.handle == b"88/LONG":
            values = tuple(HandleValue(n, b"BLOB", bytes(60_000)) for n in range(1, 6))
            return Result(ResponseCode.SUCCESS, ValuesRequest(question.handle, values))
        if question.handle == b"88/SECRET":
            return None
        return Result(ResponseCode.HANDLE_NOT_FOUND, ErrorAnswer(b"not there"))


class FakeLink:
    """Streams what it is given, and remembers what it was asked."""

    def __init__(self, *items: bytes, error: LinkDown | None = None) -> None:
        self.items = items
        self.error = error
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.is_up = True

    async def stream(self, kind: str, payload: dict[str, Any]) -> AsyncGenerator[bytes, None]:
        self.asked.append((kind, payload))
        for item in self.items:
            yield item
        if self.error is not None:
            raise self.error

    async def call(
        self, kind: str, payload: dict[str, Any], timeout_s: float | None = None
    ) -> dict[str, Any]:
        self.asked.append((kind, payload))
        if self.error is not None:
            raise self.error
        return {"code": 1, "values": encode_values([url()]), "message": b"", "read_only": ""}


def make_dispatcher(
    link: FakeLink | None = None, role: NodeRole = NodeRole.ENTERPRISE
) -> Dispatcher:
    return Dispatcher(
        make_node(role),
        FakeRecords(),
        cast("Link", link or FakeLink()),
        ThreadPoolExecutor(1),
        RequestMetrics(),
        now_s=lambda: NOW_S,
    )


def answered_now(message: Message, peer: Peer = TCP) -> Message:
    answer = make_dispatcher().answer_now(message.encode(), peer)
    assert answer
    return decode_message(answer)


def answers(dispatcher: Dispatcher, octets: bytes, peer: Peer = TCP) -> list[bytes]:
    async def run() -> list[bytes]:
        async with contextlib.aclosing(dispatcher.answer(octets, peer)) as items:
            return [item async for item in items if isinstance(item, bytes)]

    return asyncio.run(run())


def test_a_look_up_is_answered_now() -> None:
    answer = answered_now(request(OpCode.RESOLUTION, ASK, MessageFlag.PUBLIC_ONLY), UDP)
    assert body_of(answer) == ValuesRequest(FOUND, (url(),))
    assert answer.envelope.request_id == 7
    assert answer.header.has(MessageFlag.AUTHORITATIVE)
    assert answer.header.has(MessageFlag.PUBLIC_ONLY)


def test_the_site_is_told_now() -> None:
    answer = answered_now(request(OpCode.GET_SITE_INFO, HandleRequest(b"/")))
    assert body_of(answer) == SiteInfoAnswer(make_node().site_octets)


@pytest.mark.parametrize(
    ("version", "suggested", "answered"),
    [
        (Version(2, 3), V2_10, V2_10),
        (V2_4, V2_4, V2_4),
        (V2_10, Version(2, 99), BEST),
        (V2_4, Version(0, 0), V2_4),
    ],
)
def test_the_answer_is_in_the_lower_of_both_best_versions(
    version: Version, suggested: Version, answered: Version
) -> None:
    message = request(
        OpCode.RESOLUTION, ASK, MessageFlag.REQUEST_DIGEST, version=version, suggested=suggested
    )
    answer = answered_now(message)
    assert (answer.envelope.version, answer.envelope.suggested) == (answered, BEST)
    assert digest_of(answer) == digest_request(message.covered, answered)


def test_2_0_knows_no_digest_before_a_body() -> None:
    flags = MessageFlag.REQUEST_DIGEST
    message = request(OpCode.RESOLUTION, ASK, flags, version=V2_0, suggested=V2_0)
    answer = answered_now(message)
    assert not answer.header.has(MessageFlag.REQUEST_DIGEST)
    assert body_of(answer) == ValuesRequest(FOUND, (url(),))


@pytest.mark.parametrize(
    ("opcode", "code", "words"),
    [
        (0, ResponseCode.PROTOCOL_ERROR, b"opcode 0 is reserved"),
        (7, ResponseCode.ERROR, b"Server error processing request"),
        (-5, ResponseCode.ERROR, b"Server error processing request"),
    ],
)
def test_opcodes_that_ask_for_nothing(opcode: int, code: int, words: bytes) -> None:
    answer = answered_now(request(opcode, UnknownBody(b"")))
    assert (answer.header.response_code, body_of(answer)) == (code, ErrorAnswer(words))


def test_administration_over_udp_is_refused_now() -> None:
    answer = answered_now(request(OpCode.DELETE_HANDLE, HandleRequest(FOUND)), UDP)
    assert answer.header.response_code == ResponseCode.PROTOCOL_ERROR
    assert body_of(answer) == ErrorAnswer(b"Received admin request on non-admin interface")


@pytest.mark.parametrize("opcode", [OpCode.RESOLUTION, OpCode.CREATE_HANDLE, 105])
def test_a_body_that_does_not_decode_is_a_protocol_error(opcode: int) -> None:
    answer = answered_now(request(opcode, UnknownBody(b"\0\0\0\x09short")))
    assert answer.header.opcode == opcode
    assert answer.envelope.request_id == 7
    assert answer.header.response_code == ResponseCode.PROTOCOL_ERROR


def test_a_length_that_does_not_fit_is_a_protocol_error_with_the_request_id() -> None:
    octets = request(OpCode.RESOLUTION, ASK).encode() + b"more"
    answer = make_dispatcher().answer_now(octets, TCP)
    assert answer
    assert decode_message(answer).header.response_code == ResponseCode.PROTOCOL_ERROR
    assert decode_envelope(answer).request_id == 7


@pytest.mark.parametrize("octets", [b"", b"GET / HTTP/1.1\r\n", bytes(19), bytes(43)])
def test_what_is_not_of_this_protocol_is_met_with_silence(octets: bytes) -> None:
    assert make_dispatcher().answer_now(octets, UDP) == b""


def test_responses_are_met_with_silence() -> None:
    answer = answered_now(request(OpCode.RESOLUTION, ASK)).encode()
    dispatcher = make_dispatcher()
    assert dispatcher.answer_now(answer, UDP) == b""
    assert dispatcher.answer_now(answer[:-1], UDP) == b""


def test_responses_with_a_session_are_met_with_silence() -> None:
    # Two nodes would answer each other's 500 with a 500 for ever.
    message = request(OpCode.RESOLUTION, ASK, session_id=5)
    refusal = make_dispatcher().replies.refuse(message, 500, "not known", session_id=5)
    assert make_dispatcher().answer_now(refusal.encode(), UDP) == b""


def test_an_answer_too_long_is_told() -> None:
    answer = answered_now(request(OpCode.RESOLUTION, ResolutionRequest(b"88/LONG")))
    assert answer.header.response_code == ResponseCode.ERROR
    assert b"262144 allowed" in answer.body


@pytest.mark.parametrize(
    "message",
    [
        request(OpCode.CREATE_HANDLE, ValuesRequest(FOUND, ())),
        request(OpCode.RESOLUTION, ResolutionRequest(b"88/SECRET")),
        request(OpCode.RESOLUTION, ASK, MessageFlag.CERTIFY),
        request(OpCode.RESOLUTION, ASK, session_id=5),
        request(OpCode.RESOLUTION, ResolutionRequest(b"0.NA/88.1"), suggested=V2_9),
    ],
)
def test_what_takes_waiting_is_not_answered_now(message: Message) -> None:
    assert make_dispatcher().answer_now(message.encode(), TCP) is None


def test_encrypted_messages_are_not_answered_now() -> None:
    message = request(OpCode.RESOLUTION, ASK, session_id=5)
    octets = encrypt_message(message, SessionKey(bytes(32)))
    assert make_dispatcher().answer_now(octets, TCP) is None


def test_certified_look_ups_are_signed_here() -> None:
    link = FakeLink()
    octets = request(OpCode.RESOLUTION, ASK, MessageFlag.CERTIFY).encode()
    (answer,) = answers(make_dispatcher(link), octets)
    verify_message(decode_message(answer), SERVER_KEY.public_key())
    assert link.asked == []


@pytest.mark.parametrize("role", [NodeRole.ENTERPRISE, NodeRole.RECURSIVE])
@pytest.mark.parametrize(
    ("octets", "peer", "code"),
    [
        (request(0, UnknownBody(b""), MessageFlag.CERTIFY).encode(), TCP, 4),
        (request(7, UnknownBody(b""), MessageFlag.CERTIFY).encode(), TCP, 2),
        (request(101, HandleRequest(FOUND), MessageFlag.CERTIFY).encode(), UDP, 4),
        (request(1, UnknownBody(b"\0"), MessageFlag.CERTIFY).encode(), UDP, 4),
        (request(1, ASK, MessageFlag.CERTIFY).encode() + b"more", TCP, 4),
    ],
)
def test_refusals_are_signed_when_that_was_asked_for(
    octets: bytes, peer: Peer, code: int, role: NodeRole
) -> None:
    dispatcher = make_dispatcher(role=role)
    assert dispatcher.answer_now(octets, peer) is None
    (answer,) = answers(dispatcher, octets, peer)
    message = decode_message(answer)
    assert message.header.response_code == code
    verify_message(message, SERVER_KEY.public_key())


def test_a_lost_link_is_told_with_a_signature() -> None:
    octets = request(OpCode.DELETE_HANDLE, HandleRequest(FOUND), MessageFlag.CERTIFY).encode()
    (answer,) = answers(make_dispatcher(FakeLink(error=LinkDown("down"))), octets)
    verify_message(decode_message(answer), SERVER_KEY.public_key())


def test_the_rest_goes_to_the_registrar_as_it_came() -> None:
    link = FakeLink(b"", b"")
    link.items = (request(1, ASK).encode(), request(1, ASK).encode())
    octets = request(OpCode.LIST_HANDLES, HandleRequest(FOUND)).encode()
    assert answers(make_dispatcher(link), octets) == list(link.items)
    payload = {"octets": octets, "address": "192.0.2.1", "transport": TRANSPORT_TCP}
    assert link.asked == [("message", payload)]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LinkDown("not running"), ResponseCode.SERVER_TOO_BUSY),
        (LinkBusy("full"), ResponseCode.SERVER_TOO_BUSY),
        (LinkLost("outcome unknown"), ResponseCode.ERROR),
        (LinkFailed("mistake"), ResponseCode.ERROR),
    ],
)
def test_a_link_that_is_down_is_told(error: LinkDown, code: int) -> None:
    assert link_code(error) == code
    octets = request(OpCode.DELETE_HANDLE, HandleRequest(FOUND), session_id=9).encode()
    (answer,) = answers(make_dispatcher(FakeLink(error=error)), octets)
    message = decode_message(answer)
    assert message.header.response_code == code
    assert body_of(message) == ErrorAnswer(str(error).encode())
    assert message.envelope.session_id == 9


def test_a_link_lost_after_the_answer_adds_no_second_one() -> None:
    item = answered_now(request(OpCode.RESOLUTION, ASK)).encode()
    link = FakeLink(item, error=LinkLost("too late"))
    octets = request(OpCode.DELETE_HANDLE, HandleRequest(FOUND)).encode()
    assert answers(make_dispatcher(link), octets) == [item]


def test_an_encrypted_request_is_refused_without_its_opcode() -> None:
    message = request(OpCode.DELETE_HANDLE, HandleRequest(FOUND), session_id=9)
    octets = encrypt_message(message, SessionKey(bytes(32)))
    (answer,) = answers(make_dispatcher(FakeLink(error=LinkDown("down"))), octets)
    assert decode_message(answer).header.opcode == 0


class TestRecursive:
    role = NodeRole.RECURSIVE

    def test_what_is_not_cached_is_the_keeper_s(self) -> None:
        link = FakeLink()
        dispatcher = make_dispatcher(link, self.role)
        message = request(OpCode.RESOLUTION, ResolutionRequest(b"88/SECRET", (1,), (b"URL",)))
        assert dispatcher.answer_now(message.encode(), TCP) is None
        (answer,) = answers(dispatcher, message.encode())
        assert body_of(decode_message(answer)) == ValuesRequest(b"88/SECRET", (url(),))
        assert not decode_message(answer).header.has(MessageFlag.AUTHORITATIVE)
        ((kind, payload),) = link.asked
        assert kind == "resolve"
        assert (payload["handle"], payload["indexes"], payload["types"]) == (
            b"88/SECRET",
            [1],
            [b"URL"],
        )

    def test_nothing_is_registered(self) -> None:
        message = request(OpCode.DELETE_HANDLE, HandleRequest(FOUND))
        answer = make_dispatcher(role=self.role).answer_now(message.encode(), TCP)
        assert answer
        code = decode_message(answer).header.response_code
        assert code == ResponseCode.OPERATION_NOT_SUPPORTED

    def test_there_are_no_sessions(self) -> None:
        link = FakeLink()
        dispatcher = make_dispatcher(link, self.role)
        message = request(OpCode.RESOLUTION, ASK, session_id=9)
        for octets in (message.encode(), encrypt_message(message, SessionKey(bytes(32)))):
            (answer,) = answers(dispatcher, octets)
            code = decode_message(answer).header.response_code
            assert code == ResponseCode.SESSION_TIMEOUT
        assert link.asked == []
