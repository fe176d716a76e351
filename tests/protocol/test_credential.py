"""Signatures and MACs that were not recorded; the recorded ones are in test_recorded.py."""

from dataclasses import replace
from typing import Any

import pytest

from protocol.credential import (
    KIND_SIGNED_OLD,
    Credential,
    decode_credential,
    mac_message,
    sign_message,
    verify_mac,
    verify_message,
)
from protocol.envelope import Envelope
from protocol.errors import DecodeError, SecurityError
from protocol.header import Header
from protocol.key_files import PrivateKey
from protocol.message import Message
from protocol.session import SessionKey
from protocol.types.hs_pubkey import DhPublicKey
from protocol.versions import BEST, V2_8, Version

ALL_VERSIONS = [Version(2, minor) for minor in range(11)]
KEY = SessionKey(bytes(range(32)))


def message_in(version: Version) -> Message:
    return Message(Envelope(version, BEST, 0, 77, 88, 0, 0), Header(1, 1, 0, 99), b"body")


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=str)
def test_signatures(version: Version, rsa_key: PrivateKey, dsa_key: PrivateKey) -> None:
    for key, other in ((rsa_key, dsa_key), (dsa_key, rsa_key)):
        signed = sign_message(message_in(version), key, 5)
        verify_message(signed, key.public_key())
        assert decode_credential(signed.credential).session_counter == 5
        with pytest.raises(SecurityError, match="does not hold"):
            verify_message(signed, other.public_key())
        with pytest.raises(SecurityError, match="does not hold"):
            verify_message(replace(signed, body=b"other"), key.public_key())


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=str)
def test_macs(version: Version) -> None:
    authenticated = mac_message(message_in(version), KEY, 9)
    assert verify_mac(authenticated, KEY) == 9
    with pytest.raises(SecurityError, match="does not hold"):
        verify_mac(replace(authenticated, body=b"other"), KEY)
    with pytest.raises(SecurityError, match="does not hold"):
        verify_mac(authenticated, SessionKey(bytes(32)))


@pytest.mark.parametrize("elsewhere", [{"session_id": 1}, {"request_id": 1}], ids=str)
def test_the_envelope_is_covered_from_2_7_on(
    elsewhere: dict[str, Any], rsa_key: PrivateKey
) -> None:
    for version in (Version(2, 7), V2_8, BEST):
        signed = sign_message(message_in(version), rsa_key)
        changed = replace(signed, envelope=replace(signed.envelope, **elsewhere))
        with pytest.raises(SecurityError, match="does not hold"):
            verify_message(changed, rsa_key.public_key())
        authenticated = mac_message(message_in(version), KEY, 1)
        with pytest.raises(SecurityError, match="does not hold"):
            verify_mac(replace(authenticated, envelope=changed.envelope), KEY)


def test_the_suggested_version_is_covered_from_2_8_on() -> None:
    for version, covered in ((Version(2, 7), False), (V2_8, True)):
        authenticated = mac_message(message_in(version), KEY, 1)
        envelope = replace(authenticated.envelope, suggested=V2_8)
        changed = replace(authenticated, envelope=envelope)
        if covered:
            with pytest.raises(SecurityError, match="does not hold"):
                verify_mac(changed, KEY)
        else:
            assert verify_mac(changed, KEY) == 1


def test_messages_without_the_proof_asked_for(rsa_key: PrivateKey) -> None:
    bare = message_in(BEST)
    with pytest.raises(SecurityError, match="not signed"):
        verify_message(bare, rsa_key.public_key())
    with pytest.raises(SecurityError, match="no MAC"):
        verify_mac(bare, KEY)
    with pytest.raises(SecurityError, match="its credential is b'HS_MAC'"):
        verify_message(mac_message(bare, KEY, 1), rsa_key.public_key())
    with pytest.raises(SecurityError, match="its credential is b'HS_SIGNED'"):
        verify_mac(sign_message(bare, rsa_key), KEY)
    with pytest.raises(DecodeError):
        verify_mac(bare.with_credential(b"x"), KEY)


def test_the_old_name_of_a_signature(rsa_key: PrivateKey) -> None:
    signed = sign_message(message_in(BEST), rsa_key)
    old = replace(decode_credential(signed.credential), kind=KIND_SIGNED_OLD)
    verify_message(signed.with_credential(old.encode()), rsa_key.public_key())


def test_a_diffie_hellman_key_signs_nothing(rsa_key: PrivateKey) -> None:
    with pytest.raises(SecurityError, match="does not hold"):
        verify_message(sign_message(message_in(BEST), rsa_key), DhPublicKey(5, 23, 2))


def test_a_section_length_that_does_not_fit() -> None:
    octets = Credential(0, 0, 1, b"HS_MAC", b"a", b"b").encode()
    assert octets[22:26] == (10).to_bytes(4, "big")
    for section in (9, 11, -1):
        broken = octets[:22] + section.to_bytes(4, "big", signed=True) + octets[26:]
        with pytest.raises(DecodeError, match=f"section has {section} octets, 10 remain"):
            decode_credential(broken)
