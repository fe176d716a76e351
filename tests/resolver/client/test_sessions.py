"""A session on the asking side against the node's own, without sockets."""

import pytest

from protocol.bodies import Empty, ErrorAnswer, HandleRequest
from protocol.codes import MessageFlag, OpCode, ResponseCode
from protocol.credential import sign_message
from protocol.envelope import Envelope, decode_envelope
from protocol.errors import ProtocolError, SecurityError
from protocol.header import Header
from protocol.message import Message
from protocol.session import make_session_key
from protocol.types.hs_pubkey import encode_public_key
from protocol.value import Reference
from protocol.versions import BEST
from resolver.client import (
    HandleClient,
    ServiceUnavailableError,
    SessionOptions,
    UnbelievedError,
    UnreachableError,
)
from resolver.client.sessions import ClientSession, SessionEndedError
from resolver.sessions import Session, SessionError
from tests.resolver.client.test_client import SECRET, Administered, done, run, upstream_of
from tests.resolver.network import Tiers, make_reply, make_site, make_tiers, server_key

KEY = make_session_key()
NAME = b"88.118.5/secret-name"


def pair(*, encrypt: bool = True) -> tuple[ClientSession, Session]:
    public = encode_public_key(server_key(1).public_key())
    return ClientSession(7, KEY, public, encrypt), Session(7, KEY, Reference(b"0.NA/1", 300), 60.0)


def request(flags: int) -> Message:
    header = Header(OpCode.DELETE_HANDLE, ResponseCode.REQUEST, flags, 0)
    return Message(Envelope(BEST, BEST, 0, 7, 99, 0, 0), header, HandleRequest(NAME).encode())


def answer(code: int = ResponseCode.SUCCESS, flags: int = 0) -> Message:
    header = Header(OpCode.DELETE_HANDLE, code, flags, 0)
    body = ErrorAnswer(b"words").encode() if code != ResponseCode.SUCCESS else b""
    return Message(Envelope(BEST, BEST, 0, 7, 99, 0, 0), header, body)


@pytest.mark.parametrize("encrypt", [True, False])
def test_both_ends_understand_each_other_and_nobody_else_does(*, encrypt: bool) -> None:
    client, node = pair(encrypt=encrypt)
    for _ in range(3):
        octets = client.seal(request(client.flags))
        assert (NAME in octets) is not encrypt
        received = node.receive(decode_envelope(octets), octets)
        assert received.body == HandleRequest(NAME).encode()
        assert received.header.has(MessageFlag.CERTIFY)
        told = node.seal(answer(flags=received.header.flags))
        assert decode_envelope(told).is_encrypted is encrypt
        assert client.open(told).header.response_code == ResponseCode.SUCCESS
    assert client.counter == 3
    with pytest.raises(SessionError):
        node.receive(decode_envelope(octets), octets)


def test_an_answer_is_believed_once() -> None:
    client, node = pair()
    told = node.seal(answer())
    client.open(told)
    with pytest.raises(SecurityError, match="received before"):
        client.open(told)


@pytest.mark.parametrize("at", [24, 30, 45, -1])
def test_no_octet_of_an_answer_can_change(at: int) -> None:
    client, node = pair()
    told = bytearray(node.seal(answer(flags=MessageFlag.ENCRYPT)))
    told[at] ^= 1
    with pytest.raises(ProtocolError):
        client.open(bytes(told))


def test_an_answer_without_mac_is_refused_unless_it_ends_the_session() -> None:
    client, _ = pair()
    with pytest.raises(SecurityError, match="no MAC"):
        client.open(answer().encode())
    with pytest.raises(SecurityError, match="no MAC"):
        client.open(sign_message(answer(), server_key(1)).encode())
    ends = answer(ResponseCode.SESSION_TIMEOUT)
    for octets in (ends.encode(), sign_message(ends, server_key(1)).encode()):
        with pytest.raises(SessionEndedError, match="500"):
            client.open(octets)
    with pytest.raises(SecurityError, match="does not hold"):
        client.open(sign_message(ends, server_key(2)).encode())


def server_without_sessions(code: ResponseCode) -> tuple[Tiers, Administered]:
    """The enterprise node takes SECRET's changes, and refuses sessions."""
    tiers = make_tiers(certified=True)
    administered = Administered(SECRET, done(Empty()))

    def answer_as(request: Message) -> list[Message] | None:
        if request.header.opcode == OpCode.SESSION_SETUP:
            return [make_reply(request, code, ErrorAnswer(b"no sessions here"))]
        return administered(request)

    tiers.enterprise.answerer = answer_as
    return tiers, administered


def client_for(tiers: Tiers, options: SessionOptions) -> HandleClient:
    site = make_site("10.0.0.3", key=server_key(2))
    upstream = upstream_of(tiers.network)
    return HandleClient(site=site, identity=SECRET, sessions=options, upstream=upstream)


def test_a_server_without_sessions_is_asked_without_and_that_is_said() -> None:
    tiers, administered = server_without_sessions(ResponseCode.OPERATION_NOT_SUPPORTED)
    client = client_for(tiers, SessionOptions())

    async def change_twice() -> None:
        await client.delete("88.118.5/a")
        await client.delete("88.118.5/b")

    run(change_twice())
    assert administered.done == [HandleRequest(b"88.118.5/a"), HandleRequest(b"88.118.5/b")]
    (words,) = client.session_refusals
    assert "no sessions here (response code 5)" in words
    opcodes = [message.header.opcode for message in tiers.enterprise.asked]
    assert opcodes.count(OpCode.SESSION_SETUP) == 1, "it is asked once"


def test_without_falling_back_nothing_is_sent() -> None:
    tiers, administered = server_without_sessions(ResponseCode.OPERATION_NOT_SUPPORTED)
    client = client_for(tiers, SessionOptions(fall_back=False))
    with pytest.raises(ServiceUnavailableError, match="no session"):
        run(client.delete("88.118.5/a"))
    assert administered.done == []


def test_whoever_answers_a_set_up_with_another_key_is_not_believed() -> None:
    tiers, administered = server_without_sessions(ResponseCode.OPERATION_NOT_SUPPORTED)
    tiers.enterprise.key = server_key(9)
    client = client_for(tiers, SessionOptions())
    with pytest.raises(UnbelievedError, match="does not hold"):
        run(client.delete("88.118.5/a"))
    assert administered.done == [], "a refusal that is not the server's is no reason to fall back"


def test_sessions_need_the_servers_key() -> None:
    tiers, _ = server_without_sessions(ResponseCode.OPERATION_NOT_SUPPORTED)
    site = make_site("10.0.0.3")
    upstream = upstream_of(tiers.network)
    client = HandleClient(site=site, identity=SECRET, sessions=SessionOptions(), upstream=upstream)
    with pytest.raises(UnreachableError, match="names no key"):
        run(client.delete("88.118.5/a"))
