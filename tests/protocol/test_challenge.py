import hashlib
import hmac

import pytest

from protocol.challenge import (
    ALGORITHM_PBKDF2,
    AUTHENTICATION_PUBLIC_KEY,
    AUTHENTICATION_SECRET_KEY,
    answer_from_parts,
    answer_public_key,
    answer_secret_key,
    challenge_version,
    make_nonce,
    verify_public_key_answer,
    verify_secret_key_answer,
)
from protocol.digests import RequestDigest, digest_request
from protocol.envelope import Envelope
from protocol.errors import DecodeError, InvalidValueError, SecurityError
from protocol.key_files import PrivateKey
from protocol.types.hs_pubkey import encode_public_key
from protocol.versions import BEST, V2_0, V2_1, V2_3, V2_7, Version
from protocol.wire import write_i32, write_str

NONCE = bytes(range(16))
DIGEST = digest_request(b"request", BEST)
DATA = NONCE + DIGEST.digest
SECRET = "gehäim".encode()


def key_data(key: PrivateKey) -> bytes:
    return encode_public_key(key.public_key())


def test_the_version_that_counts_is_the_lower_one() -> None:
    for version, suggested, expected in (
        (V2_3, BEST, V2_3),
        (BEST, V2_3, V2_3),
        (V2_3, Version(0, 0), V2_3),
    ):
        assert challenge_version(Envelope(version, suggested, 0, 0, 0, 0, 0)) == expected


def test_nonces_differ() -> None:
    assert len(make_nonce()) == 16
    assert make_nonce() != make_nonce()


@pytest.mark.parametrize("version", [V2_0, V2_1, V2_7, BEST])
def test_public_key_answers(version: Version, rsa_key: PrivateKey, dsa_key: PrivateKey) -> None:
    for key, other in ((rsa_key, dsa_key), (dsa_key, rsa_key)):
        answer = answer_public_key(key, NONCE, DIGEST, version)
        assert verify_public_key_answer(key_data(key), NONCE, DIGEST, answer)
        assert not verify_public_key_answer(key_data(other), NONCE, DIGEST, answer)
        assert not verify_public_key_answer(key_data(key), NONCE[1:], DIGEST, answer)
        assert not verify_public_key_answer(key_data(key), NONCE, DIGEST, answer[:-1])
        assert not verify_public_key_answer(key_data(key), NONCE, DIGEST, answer + b"\0")


def test_hash_names_of_public_key_answers(rsa_key: PrivateKey, dsa_key: PrivateKey) -> None:
    assert answer_public_key(rsa_key, NONCE, DIGEST, V2_7).startswith(write_str(b"SHA-256"))
    assert answer_public_key(rsa_key, NONCE, DIGEST, V2_1).startswith(write_str(b"SHA1"))
    assert answer_public_key(dsa_key, NONCE, DIGEST, BEST).startswith(write_str(b"SHA1"))


@pytest.mark.parametrize("name", [b"SHA256", b"sha-256", b"\x03"])
def test_hash_names_that_readers_accept(name: bytes, rsa_key: PrivateKey) -> None:
    answer = answer_public_key(rsa_key, NONCE, DIGEST, BEST)
    renamed = write_str(name) + answer[11:]
    assert verify_public_key_answer(key_data(rsa_key), NONCE, DIGEST, renamed)
    assert not verify_public_key_answer(
        key_data(rsa_key), NONCE, DIGEST, write_str(b"SHA512") + answer[11:]
    )


def test_key_data_that_are_no_key() -> None:
    with pytest.raises(InvalidValueError, match="is unknown"):
        verify_public_key_answer(write_str(b"EC") + bytes(2), NONCE, DIGEST, b"")
    with pytest.raises(DecodeError):
        verify_public_key_answer(b"", NONCE, DIGEST, b"")


@pytest.mark.parametrize("version", [V2_0, V2_1, V2_7, BEST])
def test_secret_key_answers(version: Version) -> None:
    answer = answer_secret_key(SECRET, NONCE, DIGEST, version)
    assert verify_secret_key_answer(SECRET, NONCE, DIGEST, answer)
    assert not verify_secret_key_answer(b"other", NONCE, DIGEST, answer)
    assert not verify_secret_key_answer(SECRET, NONCE[1:], DIGEST, answer)
    assert not verify_secret_key_answer(SECRET, NONCE, DIGEST, answer[:-1])


def test_an_empty_secret_lets_nobody_in() -> None:
    for version in (V2_0, V2_1, BEST):
        answer = answer_secret_key(b"", NONCE, DIGEST, version)
        assert not verify_secret_key_answer(b"", NONCE, DIGEST, answer)


def sandwich(name: str) -> bytes:
    return hashlib.new(name, SECRET + DATA + SECRET).digest()


@pytest.mark.parametrize(
    "answer",
    [
        sandwich("md5"),
        b"\x00" + sandwich("md5"),
        b"\x01" + sandwich("md5"),
        b"\x02" + sandwich("sha1"),
        b"\x03" + sandwich("sha256"),
        b"\x12" + hmac.digest(SECRET, DATA, "sha1"),
        b"\x13" + hmac.digest(SECRET, DATA, "sha256"),
    ],
)
def test_every_algorithm(answer: bytes) -> None:
    assert verify_secret_key_answer(SECRET, NONCE, DIGEST, answer)
    flipped = answer[:-1] + bytes([answer[-1] ^ 1])
    assert not verify_secret_key_answer(SECRET, NONCE, DIGEST, flipped)


@pytest.mark.parametrize("answer", [b"", b"\x04" + bytes(20), b"\x23", b"\x22" + bytes(3)])
def test_answers_that_are_none(answer: bytes) -> None:
    assert not verify_secret_key_answer(SECRET, NONCE, DIGEST, answer)


def pbkdf2_answer(rounds: int, bits: int, mac: bytes = b"") -> bytes:
    return bytes([ALGORITHM_PBKDF2]) + b"".join(
        (write_str(b"salt"), write_i32(rounds), write_i32(bits), write_str(mac))
    )


def test_the_sender_cannot_make_us_work_for_long() -> None:
    for rounds in (100_001, 2**31 - 1):
        with pytest.raises(SecurityError, match=f"{rounds} PBKDF2 rounds, at most 100000"):
            verify_secret_key_answer(SECRET, NONCE, DIGEST, pbkdf2_answer(rounds, 160))
    with pytest.raises(SecurityError, match="2147483647-bit key, at most 512"):
        verify_secret_key_answer(SECRET, NONCE, DIGEST, pbkdf2_answer(1, 2**31 - 1))
    with pytest.raises(SecurityError, match="at most 9"):
        verify_secret_key_answer(SECRET, NONCE, DIGEST, pbkdf2_answer(10, 160), rounds_max=9)


@pytest.mark.parametrize(("rounds", "bits"), [(0, 160), (-1, 160), (1, 0), (1, 7), (1, -8)])
def test_rounds_and_bits_that_cannot_be(rounds: int, bits: int) -> None:
    assert not verify_secret_key_answer(SECRET, NONCE, DIGEST, pbkdf2_answer(rounds, bits))


def test_a_secret_goes_into_pbkdf2_as_java_characters() -> None:
    password = SECRET.decode("latin-1").encode("utf-8")
    key = hashlib.pbkdf2_hmac("sha1", password, b"salt", 7, 20)
    answer = pbkdf2_answer(7, 160, hmac.digest(key, DATA, "sha1"))
    assert verify_secret_key_answer(SECRET, NONCE, DIGEST, answer)


@pytest.mark.parametrize("algorithm", ["SHA256", "sha-256", "Sha_256"])
def test_http_parts_with_a_secret_key(algorithm: str) -> None:
    cnonce = RequestDigest(3, bytes(32))
    mac = hashlib.sha256(SECRET + NONCE + bytes(32) + SECRET).digest()
    answer = answer_from_parts(AUTHENTICATION_SECRET_KEY, algorithm, mac)
    assert verify_secret_key_answer(SECRET, NONCE, cnonce, answer)


def test_http_parts_with_pbkdf2() -> None:
    answer = pbkdf2_answer(10, 160, b"mac")
    for name in ("PBKDF2-HMAC-SHA1", "PBKDF2WithHmacSHA1"):
        parts = answer_from_parts(
            AUTHENTICATION_SECRET_KEY, name, b"mac", salt=b"salt", rounds=10, key_bits=160
        )
        assert parts == answer


def test_http_parts_with_a_public_key(rsa_key: PrivateKey) -> None:
    answer = answer_public_key(rsa_key, NONCE, DIGEST, BEST)
    parts = answer_from_parts(AUTHENTICATION_PUBLIC_KEY, "SHA-256", answer[15:])
    assert parts == answer


@pytest.mark.parametrize(
    ("authentication_type", "algorithm"),
    [(b"HS_CERT", "SHA256"), (AUTHENTICATION_SECRET_KEY, "SHA512")],
)
def test_http_parts_that_are_unknown(authentication_type: bytes, algorithm: str) -> None:
    with pytest.raises(SecurityError, match="is unknown"):
        answer_from_parts(authentication_type, algorithm, b"")
