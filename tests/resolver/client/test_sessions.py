"""A session on the asking side against the node's own, without sockets."""

import pytest

from protocol.bodies import ErrorAnswer, HandleRequest
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
from resolver.client.sessions import ClientSession, SessionEndedError
from resolver.sessions import Session, SessionError
from tests.resolver.network import server_key

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
