from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from protocol import session
from protocol.ciphers import AES, DES, DESEDE
from protocol.envelope import ENVELOPE_OCTETS, Envelope, decode_envelope
from protocol.errors import DecodeError, InvalidValueError, SecurityError
from protocol.header import Header
from protocol.message import Message
from protocol.session import (
    KeyExchange,
    ReplayWindow,
    SessionKey,
    answer_key_exchange,
    decrypt_payload,
    encrypt_message,
    make_session_key,
    start_key_exchange,
    unwrap_session_key,
    wrap_session_key,
)
from protocol.types.hs_pubkey import DhPublicKey, decode_public_key, encode_public_key
from protocol.versions import BEST, V2_1, V2_2, V2_3, V2_4, Version
from protocol.wire import write_i32
from tests.protocol.recorded import octets_of

MESSAGE = Message(Envelope(BEST, BEST, 0, 77, 88, 0, 0), Header(1, 0, 0, 99), b"body", b"cred")


def arctan_of_inverse(number: int, bits: int) -> int:
    """Return arctan(1/number) as a fixed-point number."""
    term = total = (1 << bits) // number
    divisor, sign = 3, -1
    while term:
        term //= number * number
        total += sign * (term // divisor)
        divisor, sign = divisor + 2, -sign
    return total


def test_our_group_is_that_of_rfc_3526() -> None:
    """2^2048 - 2^1984 - 1 + 2^64 * (floor(2^1918 pi) + 124476), recomputed from pi."""
    extra = 64
    bits = 1918 + extra
    pi = 4 * (4 * arctan_of_inverse(5, bits) - arctan_of_inverse(239, bits)) >> extra
    expected = 2**2048 - 2**1984 - 1 + 2**64 * (pi + 124_476)
    assert expected == session._GROUP_P


@pytest.mark.parametrize("cipher_id", [DES, DESEDE, AES])
def test_both_sides_of_a_key_exchange_agree(cipher_id: int) -> None:
    exchange = start_key_exchange()
    data, ours = answer_key_exchange(exchange.public_data, BEST, cipher_id)
    assert data[:4] == write_i32(cipher_id)
    assert exchange.finish(data, BEST) == ours
    assert ours.cipher_id == cipher_id
    assert len(ours.octets) == {DES: 8, DESEDE: 24, AES: 32}[cipher_id]
    if cipher_id != AES:
        assert all(octet.bit_count() % 2 == 1 for octet in ours.octets)


def test_a_key_exchange_below_2_4_has_no_cipher_id_and_means_des() -> None:
    exchange = start_key_exchange()
    data, ours = answer_key_exchange(exchange.public_data, V2_3, AES)
    assert isinstance(decode_public_key(data), DhPublicKey)
    assert ours.cipher_id == DES
    assert ours.iv_octets == 0
    assert exchange.finish(data, V2_3) == ours


def test_keys_differ_from_exchange_to_exchange() -> None:
    exchange = start_key_exchange()
    keys = {answer_key_exchange(exchange.public_data)[1].octets for _ in range(3)}
    assert len(keys) == 3


def test_an_answer_to_another_exchange_gives_another_key() -> None:
    data, ours = answer_key_exchange(start_key_exchange().public_data)
    assert start_key_exchange().finish(data) != ours


@pytest.mark.parametrize("zeros", [0, 1, 5, 96, 97, 120])
def test_leading_zeros_of_a_shared_secret(zeros: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """AES keys begin at the first octet that is not zero, as long as 32 octets remain."""
    p = 2**1024 - 1
    secret = bytes(zeros) + bytes([7]) * (128 - zeros)
    y = int.from_bytes(secret, "big")
    key = DhPublicKey(y, p, 2)
    derived = session._derive_key(key, 1, AES, BEST)
    assert derived.octets == secret[min(zeros, 96) :][:32]
    assert session._derive_key(key, 1, DES, BEST).octets == session._set_parity(secret[:8])


def test_the_parity_of_a_des_key() -> None:
    assert session._set_parity(bytes([0x00, 0x01, 0x02, 0xFE, 0xFF])) == bytes(
        [0x01, 0x01, 0x02, 0xFE, 0xFE]
    )


def test_what_is_no_diffie_hellman_key(rsa_key: RSAPrivateKey) -> None:
    with pytest.raises(InvalidValueError, match="needs a DH_PUB_KEY"):
        answer_key_exchange(octets_of("admpub.bin"))
    with pytest.raises(DecodeError):
        answer_key_exchange(b"")
    with pytest.raises(DecodeError):
        start_key_exchange().finish(b"\0\0")


def test_answers_that_a_client_refuses() -> None:
    exchange = start_key_exchange()
    data, _ = answer_key_exchange(exchange.public_data)
    with pytest.raises(SecurityError, match="session cipher 4 is unknown"):
        exchange.finish(write_i32(4) + data[4:])
    key = decode_public_key(data[4:])
    assert isinstance(key, DhPublicKey)
    other_group = encode_public_key(replace(key, g=3))
    with pytest.raises(SecurityError, match="another Diffie-Hellman group"):
        exchange.finish(write_i32(AES) + other_group)


def test_secrets_do_not_show() -> None:
    assert "octets" not in repr(SessionKey(bytes(32)))
    assert "exponent" not in repr(KeyExchange(b"", 7))


@pytest.mark.parametrize("version", [Version(2, 0), V2_1, V2_2, V2_3, V2_4, BEST], ids=str)
@pytest.mark.parametrize("cipher_id", [DES, DESEDE, AES])
def test_wrapped_keys(version: Version, cipher_id: int, rsa_key: RSAPrivateKey) -> None:
    key = make_session_key(version, cipher_id)
    assert key.cipher_id == (cipher_id if version.at_least(V2_2) else DES)
    wrapped = wrap_session_key(key, rsa_key.public_key(), version)
    assert unwrap_session_key(wrapped, rsa_key, version) == key


@pytest.mark.parametrize(
    ("clear", "words"),
    [
        (b"abc", "a session key of 3 octets has no cipher id"),
        (write_i32(9) + bytes(32), "session cipher 9 is unknown"),
        (write_i32(AES) + bytes(15), "a session key of 15 octets does not fit cipher 3"),
        (write_i32(AES) + bytes(65), "a session key of 65 octets does not fit cipher 3"),
    ],
)
def test_wrapped_keys_that_are_none(clear: bytes, words: str, rsa_key: RSAPrivateKey) -> None:
    wrapped = rsa_key.public_key().encrypt(clear, PKCS1v15())
    with pytest.raises(SecurityError, match=words):
        unwrap_session_key(wrapped, rsa_key)


def test_a_wrapped_key_of_the_wrong_length(rsa_key: RSAPrivateKey) -> None:
    with pytest.raises(SecurityError, match="does not decrypt"):
        unwrap_session_key(b"short", rsa_key)


@pytest.mark.parametrize("version", [V2_3, V2_4, BEST], ids=str)
@pytest.mark.parametrize("cipher_id", [DES, DESEDE, AES])
def test_encrypted_messages(version: Version, cipher_id: int) -> None:
    key = make_session_key(version, cipher_id)
    octets = encrypt_message(MESSAGE, key)
    envelope, payload = decode_envelope(octets), octets[ENVELOPE_OCTETS:]
    assert envelope.is_encrypted
    assert envelope.length == len(payload)
    assert b"body" not in payload
    message = decrypt_payload(envelope, payload, key)
    assert (message.header, message.body, message.credential) == (MESSAGE.header, b"body", b"cred")
    repeats = encrypt_message(MESSAGE, key) == octets
    assert repeats is (version == V2_3)  # below 2.4 nothing is random
    with pytest.raises((SecurityError, DecodeError)):
        decrypt_payload(envelope, payload, make_session_key(version, cipher_id))
    with pytest.raises(SecurityError):
        decrypt_payload(envelope, b"", key)


def test_an_encrypted_message_over_the_limit() -> None:
    key = make_session_key()
    largest = replace(MESSAGE, body=bytes(262_144 - 28 - 4 - 16 - 1))
    assert len(encrypt_message(largest, key)) == ENVELOPE_OCTETS + 262_144
    with pytest.raises(DecodeError, match="message has 262160 octets, 262144 allowed"):
        encrypt_message(replace(largest, body=largest.body + b"\0"), key)


def test_counters_are_accepted_once() -> None:
    window = ReplayWindow()
    assert window.accept(1)
    assert not window.accept(1)
    assert window.accept(3)
    assert window.accept(2)
    assert not window.accept(2)
    assert not window.accept(3)


def test_counter_0_is_exempt_and_a_negative_one_is_not() -> None:
    window = ReplayWindow()
    assert window.accept(0)
    assert window.accept(0)
    assert not window.accept(-1)


def test_counters_older_than_the_window() -> None:
    window = ReplayWindow()
    assert window.accept(300)
    assert window.accept(101)
    assert not window.accept(100)
    assert not window.accept(101)
    assert window.accept(2**31 - 1)
    assert not window.accept(300)
    assert window.accept(2**31 - 200)
    assert not window.accept(2**31 - 201)
