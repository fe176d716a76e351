"""Key files of all five encryptions. Those we do not write are put together here by hand."""

import hashlib
import struct
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.dsa import DSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from protocol.ciphers import AES, DES, DESEDE, encrypt
from protocol.errors import KeyFileError
from protocol.key_files import (
    decode_private_key,
    encode_private_key,
    generate_rsa_key,
    is_encrypted,
)
from protocol.types.hs_pubkey import decode_public_key, write_number
from protocol.wire import write_i32, write_str
from tests.protocol.recorded import octets_of

PASSPHRASE = "schlüssel".encode()
ROUNDS = 10
CLEAR = octets_of("admpriv.bin")[4:]


def pbkdf2_file(encryption: int, bits: int, rounds: int = ROUNDS) -> bytes:
    password = PASSPHRASE.decode("latin-1").encode("utf-8")
    key = hashlib.pbkdf2_hmac("sha1", password, b"salt", max(rounds, 1) % 1000, bits // 8)
    cipher_id, iv = (AES, bytes(16)) if encryption == 4 else (DESEDE, bytes(8))
    return (
        struct.pack(">i", encryption)
        + write_str(b"salt")
        + write_i32(rounds)
        + write_i32(bits)
        + write_str(iv)
        + write_str(encrypt(cipher_id, key, iv, CLEAR))
    )


def des_file(encryption: int) -> bytes:
    key = hashlib.md5(PASSPHRASE).digest()[:8]
    iv = bytes(range(8)) if encryption == 2 else None
    return write_i32(encryption) + (iv or b"") + encrypt(DES, key, iv, CLEAR)


FILES: dict[str, Callable[[], bytes]] = {
    "DES-ECB": lambda: des_file(0),
    "DES-CBC": lambda: des_file(2),
    "PBKDF2 and DESede": lambda: pbkdf2_file(3, 192),
    "PBKDF2 and AES-128": lambda: pbkdf2_file(4, 128),
    "PBKDF2 and AES-256": lambda: pbkdf2_file(4, 256),
}


@pytest.mark.parametrize(("private", "public"), [("admpriv", "admpub"), ("privkey", "pubkey")])
def test_recorded_files(private: str, public: str) -> None:
    octets = octets_of(f"{private}.bin")
    key = decode_private_key(octets)
    assert encode_private_key(key) == octets
    assert key.public_key() == decode_public_key(octets_of(f"{public}.bin"))
    assert not is_encrypted(octets)


@pytest.mark.parametrize("form", FILES)
def test_every_encryption_is_read(form: str, rsa_key: RSAPrivateKey) -> None:
    octets = FILES[form]()
    assert is_encrypted(octets)
    key = decode_private_key(octets, PASSPHRASE)
    assert key.private_numbers() == rsa_key.private_numbers()
    with pytest.raises(KeyFileError, match="not opened by this passphrase"):
        decode_private_key(octets, b"other")
    with pytest.raises(KeyFileError, match="no passphrase was given"):
        decode_private_key(octets)


@pytest.mark.parametrize("form", FILES)
def test_every_truncation(form: str) -> None:
    octets = FILES[form]()
    for length in range(0, len(octets), 7):
        with pytest.raises(KeyFileError):
            decode_private_key(octets[:length], PASSPHRASE)


def test_every_truncation_of_an_unencrypted_file() -> None:
    for name in ("admpriv.bin", "privkey.bin"):
        octets = octets_of(name)
        for length in range(len(octets)):
            with pytest.raises(KeyFileError):
                decode_private_key(octets[:length])


def test_written_and_read(rsa_key: RSAPrivateKey, dsa_key: DSAPrivateKey) -> None:
    for key in (rsa_key, dsa_key):
        octets = encode_private_key(key, PASSPHRASE, rounds=ROUNDS)
        assert octets[:4] == write_i32(4)
        read = decode_private_key(octets, PASSPHRASE)
        assert read.private_numbers() == key.private_numbers()
        assert encode_private_key(key, PASSPHRASE, rounds=ROUNDS) != octets


def test_writing_an_encryption_that_is_only_read(rsa_key: RSAPrivateKey) -> None:
    with pytest.raises(AssertionError, match="encryption 2 is only read"):
        encode_private_key(rsa_key, PASSPHRASE, encryption=2)


def rsa_without_crt(key: RSAPrivateKey, d: int | None = None) -> bytes:
    numbers = key.private_numbers()
    clear = write_str(b"RSA_PRIV_KEY") + write_number(numbers.public_numbers.n)
    return write_i32(1) + clear + write_number(d or numbers.d)


def test_an_rsa_key_of_two_numbers(rsa_key: RSAPrivateKey) -> None:
    read = decode_private_key(rsa_without_crt(rsa_key))
    assert read.private_numbers() == rsa_key.private_numbers()


def clear_file(kind: bytes, *numbers: int) -> bytes:
    return write_i32(1) + write_str(kind) + b"".join(map(write_number, numbers))


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"\0\0", "this is not a key file: key file encryption needs 4 octets"),
        (write_i32(5), "encryption 5 is unknown"),
        (write_i32(-1), "encryption -1 is unknown"),
        (clear_file(b"EC_PRIV_KEY", 1), "private key kind b'EC_PRIV_KEY' is unknown"),
        (clear_file(b"RSA_PRIV_KEY", 77, 5), "no usual public exponent"),
        (clear_file(b"RSA_PRIV_KEY", 0, 5), "no usual public exponent"),
        (clear_file(b"RSA_PRIVCRT_KEY", 1, 2, 3, 4, 5, 6, 7, 8), "the key file is damaged"),
        (clear_file(b"RSA_PRIVCRT_KEY", 2**8192, 2, 3, 4, 5, 6, 7, 8), "has 8193 bits"),
        (clear_file(b"DSA_PRIV_KEY", 1, 0, 3, 4), "DSA p is 0"),
        (clear_file(b"DSA_PRIV_KEY", 1, 23, 11, 4), "the key file is damaged"),
    ],
)
def test_files_that_are_none(octets: bytes, words: str) -> None:
    with pytest.raises(KeyFileError, match=words):
        decode_private_key(octets)


@pytest.mark.parametrize(
    "octets",
    [
        pbkdf2_file(4, 128, rounds=0),
        pbkdf2_file(4, 128, rounds=-1),
        pbkdf2_file(4, 128, rounds=100_000_001),
        pbkdf2_file(4, 128)[:16] + write_i32(1_024) + pbkdf2_file(4, 128)[20:],
        pbkdf2_file(4, 128)[:16] + write_i32(7) + pbkdf2_file(4, 128)[20:],
        pbkdf2_file(4, 128)[:16] + write_i32(64) + pbkdf2_file(4, 128)[20:],
        pbkdf2_file(4, 128) + b"\0",
    ],
)
def test_numbers_of_a_file_out_of_range(octets: bytes) -> None:
    with pytest.raises(KeyFileError, match="not opened by this passphrase"):
        decode_private_key(octets, PASSPHRASE)


def test_a_new_key() -> None:
    key = generate_rsa_key(1_024)
    assert key.key_size == 1_024
    read = decode_private_key(encode_private_key(key))
    assert read.private_numbers() == key.private_numbers()
