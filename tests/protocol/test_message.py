from dataclasses import replace

import pytest

from protocol.codes import EnvelopeFlag, MessageFlag
from protocol.envelope import Envelope, decode_envelope
from protocol.errors import DecodeError
from protocol.header import Header, decode_header
from protocol.message import Message, decode_message, decode_payload
from protocol.versions import BEST, V2_3, Version

ENVELOPE = Envelope(V2_3, BEST, EnvelopeFlag.TRUNCATED, 5, 6, 0, 0)
HEADER = Header(1, 0, MessageFlag.CERTIFY, 7)


def test_envelope_octets() -> None:
    octets = bytes.fromhex("0203220a 00000005 00000006 00000000 00000000")
    assert ENVELOPE.encode() == octets
    assert decode_envelope(octets) == ENVELOPE
    assert not ENVELOPE.is_encrypted
    assert replace(ENVELOPE, flags=EnvelopeFlag.ENCRYPTED).is_encrypted


def test_old_peers_suggest_no_version_and_mean_their_own() -> None:
    assert ENVELOPE.best_version == BEST
    assert replace(ENVELOPE, suggested=Version(0, 0)).best_version == V2_3


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (bytes(19), "envelope needs 20 octets, 19 remain"),
        (bytes(16) + b"\xff\xff\xff\xff", "message length is -1"),
        (bytes(16) + (262_145).to_bytes(4, "big"), "message length is 262145"),
        (bytes(12) + b"\xff\xff\xff\xff" + bytes(4), "sequence number is -1"),
    ],
)
def test_envelopes_that_are_none(octets: bytes, words: str) -> None:
    with pytest.raises(DecodeError, match=words):
        decode_envelope(octets)


def test_headers() -> None:
    assert HEADER.has(MessageFlag.CERTIFY)
    assert not HEADER.has(MessageFlag.ENCRYPT)
    with pytest.raises(DecodeError, match="header needs 24 octets, 23 remain"):
        decode_header(bytes(23))
    with pytest.raises(DecodeError, match="body length is -1"):
        decode_header(bytes(20) + b"\xff\xff\xff\xff")


def test_a_message_without_the_length_of_its_credential() -> None:
    message = Message(ENVELOPE, HEADER, b"body")
    assert message.payload == message.covered + bytes(4)
    assert decode_payload(ENVELOPE, message.covered) == message


def test_an_encrypted_message_needs_a_key() -> None:
    envelope = replace(ENVELOPE, flags=EnvelopeFlag.ENCRYPTED)
    with pytest.raises(DecodeError, match="no session key"):
        decode_message(Message(envelope, HEADER, b"").encode())


def test_the_largest_message() -> None:
    largest = Message(ENVELOPE, HEADER, bytes(262_144 - 28))
    assert decode_message(largest.encode()).body == largest.body
    with pytest.raises(DecodeError, match="message has 262145 octets, 262144 allowed"):
        replace(largest, body=largest.body + b"\0").encode()
