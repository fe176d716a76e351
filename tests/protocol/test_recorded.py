"""Every recorded message: same octets again, and every proof in it holds. Nothing is skipped.

The counts stand here so that a proof which is silently not checked fails the test.
"""

from collections import Counter
from dataclasses import replace

import pytest

from protocol.bodies import ChallengeAnswer, ChallengeAnswerRequest
from protocol.challenge import (
    ALGORITHM_PBKDF2,
    challenge_version,
    verify_public_key_answer,
    verify_secret_key_answer,
)
from protocol.ciphers import AES, decrypt, encrypt
from protocol.codes import MessageFlag
from protocol.credential import (
    KIND_MAC,
    KIND_SIGNED,
    decode_credential,
    mac_message,
    verify_mac,
    verify_message,
)
from protocol.digests import SHA1, SHA256, RequestDigest, digest_request
from protocol.envelope import ENVELOPE_OCTETS
from protocol.errors import SecurityError
from protocol.header import HEADER_OCTETS
from protocol.message import Message
from protocol.session import SessionKey, encrypt_message
from protocol.types.hs_pubkey import decode_public_key
from protocol.versions import V2_7
from tests.protocol.recorded import (
    MESSAGES,
    SECRET,
    VERSIONS,
    Recorded,
    decode_any,
    messages,
    octets_of,
    requests_by_id,
    session_keys,
)


def per_version(each: int, in_2_10: int | None = None) -> dict[str, int]:
    """Return the count expected of every version; only the counts of 2.10 stand out."""
    return dict.fromkeys(VERSIONS, each) | {"2.10": in_2_10 or each}


def with_body_flipped(message: Message) -> Message:
    if not message.body:
        return replace(message, header=replace(message.header, expiration=1))
    return replace(message, body=message.body[:-1] + bytes([message.body[-1] ^ 1]))


def test_all_messages_are_there() -> None:
    assert len(messages()) == MESSAGES
    assert {str(one.envelope.version) for one in messages()} == set(VERSIONS)
    assert Counter(one.is_request for one in messages()) == {True: 180, False: 180}


def test_messages_encode_to_the_same_octets() -> None:
    clear = [one for one in messages() if not one.envelope.is_encrypted]
    for one in clear:
        assert one.message.encode() == one.octets
    assert len(clear) == MESSAGES - 60


def test_bodies_encode_to_the_same_octets() -> None:
    for one in messages():
        digest = one.digest.encode() if one.digest else b""
        assert digest + one.body.encode() == one.message.body


def test_headers_encode_to_the_same_octets() -> None:
    for one in messages():
        encoded = one.message.header.encode(len(one.message.body))
        assert encoded == one.message.payload[:HEADER_OCTETS]


def test_cipher_texts_decrypt_and_encrypt_to_the_same_octets() -> None:
    counts: Counter[str] = Counter()
    for one in messages():
        if one.envelope.is_encrypted:
            key = session_keys()[one.envelope.session_id].cipher_octets
            iv, cipher_text = one.octets[20:36], one.octets[36:]
            assert decrypt(AES, key, iv, cipher_text) == one.message.payload
            assert encrypt(AES, key, iv, one.message.payload) == cipher_text
            assert decode_any(encrypt_message(one.message, key_of(one))).body == one.message.body
            counts[str(one.envelope.version)] += 1
    assert counts == per_version(4, 24)


def key_of(one: Recorded) -> SessionKey:
    return session_keys()[one.envelope.session_id]


def test_request_digests_hold() -> None:
    requests = requests_by_id()
    counts: Counter[str] = Counter()
    for one in messages():
        if one.digest is not None:
            covered = requests[one.envelope.request_id].covered
            assert one.digest.matches(covered)
            assert not one.digest.matches(covered + b"\0")
            assert digest_request(covered, one.envelope.version) == one.digest
            assert one.message.header.has(MessageFlag.REQUEST_DIGEST)
            counts[str(one.envelope.version)] += 1
    assert counts == per_version(8, 28)


def test_server_signatures_hold() -> None:
    server_key = decode_public_key(octets_of("pubkey.bin"))
    counts: Counter[str] = Counter()
    for one in messages():
        if not one.message.credential:
            continue
        credential = decode_credential(one.message.credential)
        assert credential.encode() == one.message.credential
        if credential.kind != KIND_SIGNED:
            assert credential.kind == KIND_MAC
            continue
        verify_message(one.message, server_key)
        with pytest.raises(SecurityError, match="does not hold"):
            verify_message(with_body_flipped(one.message), server_key)
        counts[str(one.envelope.version)] += 1
    assert counts == per_version(2, 22)


def test_macs_hold_and_are_made_the_same() -> None:
    counts: Counter[str] = Counter()
    for one in messages():
        if b"HS_MAC" not in one.message.credential:
            continue
        key = session_keys()[one.envelope.session_id]
        counter = verify_mac(one.message, key)
        assert mac_message(one.message, key, counter) == one.message
        with pytest.raises(SecurityError, match="does not hold"):
            verify_mac(with_body_flipped(one.message), key)
        counts[str(one.envelope.version)] += 1
    assert counts == per_version(6, 46)


def challenge_answers() -> list[tuple[str, ChallengeAnswerRequest, bytes, RequestDigest]]:
    """Return (version that chose the form, answer, nonce, digest) of every answer recorded."""
    found = []
    challenges: dict[int, tuple[str, bytes, RequestDigest]] = {}
    for one in messages():
        if isinstance(one.body, ChallengeAnswer):
            assert one.digest is not None
            version = str(challenge_version(one.envelope))
            challenges[one.envelope.session_id] = (version, one.body.nonce, one.digest)
        elif isinstance(one.body, ChallengeAnswerRequest):
            version, nonce, digest = challenges[one.envelope.session_id]
            found.append((version, one.body, nonce, digest))
    return found


def test_public_key_answers_hold() -> None:
    key = octets_of("admpub.bin")
    counts: Counter[str] = Counter()
    for version, body, nonce, digest in challenge_answers():
        if body.authentication_type == b"HS_PUBKEY":
            assert verify_public_key_answer(key, nonce, digest, body.answer)
            assert not verify_public_key_answer(key, nonce + b"\0", digest, body.answer)
            name = b"SHA-256" if minor_of(version) >= V2_7.minor else b"SHA1"
            assert body.answer[4 : 4 + len(name)] == name
            counts[version] += 1
    assert counts == per_version(4)


def test_secret_key_answers_hold() -> None:
    counts: Counter[str] = Counter()
    for version, body, nonce, digest in challenge_answers():
        if body.authentication_type == b"HS_SECKEY":
            assert verify_secret_key_answer(SECRET, nonce, digest, body.answer)
            assert not verify_secret_key_answer(SECRET + b"x", nonce, digest, body.answer)
            algorithm = ALGORITHM_PBKDF2 if minor_of(version) >= V2_7.minor else SHA1
            assert body.answer[0] == algorithm
            counts[version] += 1
    assert counts == per_version(2)
    assert {digest.algorithm for _, _, _, digest in challenge_answers()} == {SHA1, SHA256}


def minor_of(version: str) -> int:
    return int(version.partition(".")[2])


def test_every_challenge_answer_is_of_a_kind_that_was_checked() -> None:
    kinds = Counter(body.authentication_type for _, body, _, _ in challenge_answers())
    assert kinds == {b"HS_PUBKEY": 40, b"HS_SECKEY": 20}


def test_the_envelope_of_a_recorded_message_is_its_first_octets() -> None:
    for one in messages():
        assert one.envelope.encode() == one.octets[:ENVELOPE_OCTETS]
