"""Sessions of the foreign client: Diffie-Hellman set-up and encrypted messages."""

import os
import secrets
from dataclasses import dataclass

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, ECB

from tests.interop.foreign_crypto import number, signed_octets
from tests.interop.foreign_wire import Cursor, Version, pack_str

# The 1024-bit group in which the stock client sets up its sessions.
DH_PRIME = int(
    "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e34"
    "04ddef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6"
    "f406b7edee386bfb5a899fa5ae9f24117c4b1fe649286651ece65381ffffffffffffffff",
    16,
)
DH_GENERATOR = 2
DES, DESEDE, AES_CIPHER = 1, 2, 3


@dataclass(frozen=True)
class DhPair:
    private: int
    public: int
    prime: int = DH_PRIME
    generator: int = DH_GENERATOR

    @classmethod
    def make(cls, prime: int = DH_PRIME, generator: int = DH_GENERATOR) -> "DhPair":
        private = secrets.randbelow(prime - 3) + 2
        return cls(private, pow(generator, private, prime), prime, generator)

    def pack(self) -> bytes:
        parts = (self.public, self.prime, self.generator)
        key = b"".join(pack_str(signed_octets(part)) for part in parts)
        return pack_str(b"DH_PUB_KEY") + bytes(2) + key

    def shared(self, server_key: bytes) -> bytes:
        cursor = Cursor(server_key)
        assert cursor.str() == b"DH_PUB_KEY"
        cursor.number("H")
        public, prime, generator = (number(cursor.str()) for _ in range(3))
        assert (prime, generator) == (self.prime, self.generator), "the server left the group"
        assert 1 < public < prime - 1
        return pow(public, self.private, prime).to_bytes((prime.bit_length() + 7) // 8, "big")


def _odd_parity(octets: bytes) -> bytes:
    return bytes(o & 0xFE | (bin(o >> 1).count("1") + 1) & 1 for o in octets)


def session_key(shared: bytes, cipher_id: int) -> bytes:
    if cipher_id == AES_CIPHER:
        while len(shared) > 32 and shared[0] == 0:
            shared = shared[1:]
        return shared[:32]
    return _odd_parity(shared[: 8 if cipher_id == DES else 24])


def _cipher(key: bytes, cipher_id: int, iv: bytes | None) -> "Cipher[CBC | ECB]":
    mode: CBC | ECB = ECB() if iv is None else CBC(iv)
    if cipher_id == AES_CIPHER:
        return Cipher(AES(key[:16]), mode)
    return Cipher(TripleDES(key * 3 if cipher_id == DES else key), mode)


def encrypt(key: bytes, cipher_id: int, message: bytes, version: Version) -> bytes:
    block = 16 if cipher_id == AES_CIPHER else 8
    iv = os.urandom(block) if version >= (2, 4) else None
    padder = padding.PKCS7(block * 8).padder()
    encryptor = _cipher(key, cipher_id, iv).encryptor()
    padded = padder.update(message) + padder.finalize()
    return (iv or b"") + encryptor.update(padded) + encryptor.finalize()


def decrypt(key: bytes, cipher_id: int, octets: bytes, version: Version) -> bytes:
    block = 16 if cipher_id == AES_CIPHER else 8
    iv, text = (octets[:block], octets[block:]) if version >= (2, 4) else (None, octets)
    decryptor = _cipher(key, cipher_id, iv).decryptor()
    padded = decryptor.update(text) + decryptor.finalize()
    unpadder = padding.PKCS7(block * 8).unpadder()
    return unpadder.update(padded) + unpadder.finalize()
