"""Every truncation and every length out of range ends in DecodeError, or in InvalidValueError for
typed values, and in nothing else.

Where a shorter form is legal (a credential or an error message may be missing, a referral may come
without values) what is accepted must encode to exactly the octets given; the legal ones are listed.
"""

import struct
from collections import Counter
from dataclasses import replace

import pytest

from protocol.bodies import (
    CreatedAnswer,
    SessionSetupAnswer,
    SessionSetupRequest,
    ValuesRequest,
)
from protocol.credential import decode_credential
from protocol.envelope import ENVELOPE_OCTETS
from protocol.errors import DecodeError, InvalidValueError, SecurityError
from protocol.header import HEADER_OCTETS
from protocol.json_forms import values_from_json
from protocol.message import decode_message, decode_payload
from protocol.types import DECODERS, decode_typed
from protocol.types.hs_pubkey import HsPubkey
from tests.protocol.recorded import (
    Recorded,
    decode_any,
    decode_body,
    json_of,
    messages,
    octets_of,
)

NOT_LENGTHS = (-1, -(2**31), 2**31 - 1, 1_048_577)
# Bodies with a legal shorter form: its length is compared below.
LEGAL_WHEN_CUT = (SessionSetupRequest, SessionSetupAnswer)


def shapes() -> list[Recorded]:
    """Return one message of each shape, so that the slow tests stay fast."""
    found = {
        (
            one.is_request,
            one.message.header.opcode,
            one.message.header.response_code,
            len(one.message.credential) > 0,
        ): one
        for one in messages()
    }
    return list(found.values())


def test_every_truncation_of_every_message() -> None:
    for one in messages():
        for octets in range(len(one.octets)):
            with pytest.raises(DecodeError):
                decode_message(one.octets[:octets])


def test_every_truncation_of_every_payload() -> None:
    for one in messages():
        payload = one.message.payload
        without_credential = HEADER_OCTETS + len(one.message.body)
        for octets in range(len(payload)):
            if octets == without_credential:
                assert decode_payload(one.envelope, payload[:octets]).credential == b""
                continue
            with pytest.raises(DecodeError):
                decode_payload(one.envelope, payload[:octets])


def test_every_truncation_of_every_cipher_text() -> None:
    encrypted = [one for one in messages() if one.envelope.is_encrypted]
    assert len(encrypted) == 60
    for one in encrypted[::6]:
        for octets in range(ENVELOPE_OCTETS, len(one.octets)):
            with pytest.raises((DecodeError, SecurityError)):
                decode_any(one.octets[:octets])


def test_every_truncation_of_every_body() -> None:
    legal: Counter[str] = Counter()
    for one in messages():
        for octets in range(len(one.message.body)):
            cut = replace(one.message, body=one.message.body[:octets])
            try:
                digest, body = decode_body(cut, is_request=one.is_request)
            except DecodeError:
                continue
            assert (digest.encode() if digest else b"") + body.encode() == cut.body
            if not isinstance(body, LEGAL_WHEN_CUT):
                assert body == CreatedAnswer(None)
            legal[type(body).__name__] += 1
    assert set(legal) == {"CreatedAnswer", "SessionSetupAnswer", "SessionSetupRequest"}


def test_every_truncation_of_every_credential() -> None:
    checked = 0
    for one in messages():
        for octets in range(len(one.message.credential)):
            with pytest.raises(DecodeError):
                decode_credential(one.message.credential[:octets])
        checked += bool(one.message.credential)
    assert checked == 140


def test_octets_after_a_message_a_body_and_a_credential() -> None:
    for one in messages():
        with pytest.raises(DecodeError):
            decode_message(one.octets + b"\0")
        with pytest.raises(DecodeError):
            decode_payload(one.envelope, one.message.payload + b"\0")
        if one.message.credential:
            with pytest.raises(DecodeError):
                decode_credential(one.message.credential + b"\0")
        longer = replace(one.message, body=one.message.body + b"\0")
        if not isinstance(one.body, LEGAL_WHEN_CUT):
            with pytest.raises(DecodeError):
                decode_body(longer, is_request=one.is_request)


@pytest.mark.parametrize("length", NOT_LENGTHS)
def test_the_three_lengths_of_a_message(length: int) -> None:
    octets = struct.pack(">i", length)
    for one in messages():
        if one.envelope.is_encrypted:
            continue
        credential = ENVELOPE_OCTETS + HEADER_OCTETS + len(one.message.body)
        for offset in (16, ENVELOPE_OCTETS + 20, credential):
            with pytest.raises(DecodeError):
                decode_message(one.octets[:offset] + octets + one.octets[offset + 4 :])


@pytest.mark.parametrize("length", NOT_LENGTHS)
def test_any_field_of_a_body_out_of_range(length: int) -> None:
    """Four octets at every offset become a bad length: refused, or a field that may hold it."""
    octets = struct.pack(">i", length)
    refused = 0
    for one in shapes():
        for offset in range(len(one.message.body) - 3):
            body = one.message.body[:offset] + octets + one.message.body[offset + 4 :]
            broken = replace(one.message, body=body)
            try:
                digest, decoded = decode_body(broken, is_request=one.is_request)
            except DecodeError:
                refused += 1
                continue
            assert (digest.encode() if digest else b"") + decoded.encode() == body
    assert refused > 100


@pytest.mark.parametrize("length", NOT_LENGTHS)
def test_any_field_of_a_credential_out_of_range(length: int) -> None:
    octets = struct.pack(">i", length)
    for one in shapes():
        credential = one.message.credential
        for offset in range(len(credential) - 3):
            broken = credential[:offset] + octets + credential[offset + 4 :]
            try:
                decoded = decode_credential(broken)
            except DecodeError:
                continue
            assert decoded.encode() == broken


def typed_values() -> list[tuple[bytes, bytes]]:
    """Return (type, data) of every typed value recorded, of the server's records and its key."""
    found = {
        (value.type, value.data)
        for one in messages()
        if isinstance(one.body, ValuesRequest)
        for value in one.body.values
        if value.type in DECODERS
    }
    records = json_of("boot.json")["handleRecords"].values()
    found |= {(value.type, value.data) for record in records for value in values_from_json(record)}
    found.add((b"HS_PUBKEY", octets_of("pubkey.bin")))
    found.add((b"HS_SERV", b"0.SERV/x"))
    return sorted(found)


def test_typed_values_encode_to_the_same_octets() -> None:
    types = {type_ for type_, _ in typed_values()}
    assert types == {
        *(b"HS_ADMIN", b"HS_VLIST", b"HS_PUBKEY", b"HS_SECKEY", b"HS_SITE", b"HS_SERV"),
    }
    for type_, data in typed_values():
        assert decode_typed(type_, data).encode() == data


def test_every_truncation_of_every_typed_value() -> None:
    for type_, data in typed_values():
        for octets in range(len(data)):
            if type_ in (b"HS_SERV", b"HS_SECKEY") and octets:
                continue  # any octets are one
            try:
                typed = decode_typed(type_, data[:octets])
            except (DecodeError, InvalidValueError):
                continue
            # An RSA key may lack its four zero octets; nothing else may be missing.
            assert isinstance(typed, HsPubkey)
            assert len(data) - octets <= 4
            assert typed.encode() == data


@pytest.mark.parametrize("length", NOT_LENGTHS)
def test_any_field_of_a_typed_value_out_of_range(length: int) -> None:
    octets = struct.pack(">i", length)
    for type_, data in typed_values():
        for offset in range(min(len(data) - 3, 200)):
            broken = data[:offset] + octets + data[offset + 4 :]
            try:
                typed = decode_typed(type_, broken)
            except (DecodeError, InvalidValueError):
                continue
            if not isinstance(typed, HsPubkey):
                assert typed.encode() == broken
