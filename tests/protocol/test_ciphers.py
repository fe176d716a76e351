"""DES, triple DES and AES against published examples, and what must not decrypt."""

import pytest

from protocol.ciphers import AES, BLOCK_OCTETS, DES, DESEDE, decrypt, encrypt
from protocol.errors import SecurityError

KEYS = {DES: bytes(range(8)), DESEDE: bytes(range(24)), AES: bytes(range(16))}


@pytest.mark.parametrize("cipher_id", [DES, DESEDE, AES])
@pytest.mark.parametrize("with_iv", [True, False])
@pytest.mark.parametrize("octets", [0, 1, 7, 8, 15, 16, 100])
def test_round_trip(cipher_id: int, with_iv: bool, octets: int) -> None:
    iv = bytes(range(BLOCK_OCTETS[cipher_id])) if with_iv else None
    cipher_text = encrypt(cipher_id, KEYS[cipher_id], iv, bytes(octets))
    assert len(cipher_text) % BLOCK_OCTETS[cipher_id] == 0
    assert len(cipher_text) > octets
    assert decrypt(cipher_id, KEYS[cipher_id], iv, cipher_text) == bytes(octets)


@pytest.mark.parametrize(
    ("cipher_id", "key", "clear", "cipher_text"),
    [
        # FIPS 81, table B1; FIPS 197, appendix C
        (DES, "0123456789abcdef", "4e6f772069732074", "3fa40e8a984d4815"),
        (
            AES,
            "000102030405060708090a0b0c0d0e0f",
            "00112233445566778899aabbccddeeff",
            "69c4e0d86a7b0430d8cdb78070b4c55a",
        ),
    ],
)
def test_published_blocks(cipher_id: int, key: str, clear: str, cipher_text: str) -> None:
    block = encrypt(cipher_id, bytes.fromhex(key), None, bytes.fromhex(clear))
    assert block[: BLOCK_OCTETS[cipher_id]].hex() == cipher_text


def test_triple_des_of_one_key_thrice_is_des() -> None:
    key = KEYS[DES]
    assert encrypt(DESEDE, key * 3, None, b"x") == encrypt(DES, key, None, b"x")
    assert encrypt(DESEDE, KEYS[DESEDE], None, b"x") != encrypt(DES, key, None, b"x")


@pytest.mark.parametrize(
    ("cipher_id", "key", "iv", "words"),
    [
        (AES, bytes(15), None, "an AES key has 16, 24 or 32 octets, this one 15"),
        (DES, bytes(16), None, "a key of cipher 1 has 8 octets, this one 16"),
        (DESEDE, bytes(16), None, "a key of cipher 2 has 24 octets, this one 16"),
        (AES, bytes(16), bytes(8), "an IV here has 16 octets, not 8"),
    ],
)
def test_lengths(cipher_id: int, key: bytes, iv: bytes | None, words: str) -> None:
    with pytest.raises(SecurityError, match=words):
        encrypt(cipher_id, key, iv, b"")
    with pytest.raises(SecurityError, match=words):
        decrypt(cipher_id, key, iv, bytes(16))


@pytest.mark.parametrize("cipher_text", [b"", bytes(15), bytes(17)])
def test_cipher_text_of_a_length_that_cannot_be(cipher_text: bytes) -> None:
    with pytest.raises(SecurityError, match="not a multiple of 16"):
        decrypt(AES, KEYS[AES], None, cipher_text)


def test_the_wrong_key() -> None:
    cipher_text = encrypt(AES, KEYS[AES], bytes(16), b"message")
    with pytest.raises(SecurityError, match="does not decrypt"):
        decrypt(AES, bytes(16), bytes(16), cipher_text)
