"""Keys, digests, challenge answers and credentials of the foreign client.

Only hashlib, hmac and `cryptography`: nothing of this project.
"""

import hashlib
import hmac
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

from tests.interop.foreign_wire import Answer, Cursor, Envelope, Version, pack_str

PrivateKey = rsa.RSAPrivateKey | dsa.DSAPrivateKey
PublicKey = rsa.RSAPublicKey | dsa.DSAPublicKey


def number(octets: bytes) -> int:
    return int.from_bytes(octets, "big")


def signed_octets(value: int) -> bytes:
    """Two's complement, with a leading zero where the top bit is set."""
    return value.to_bytes(value.bit_length() // 8 + 1, "big")


def read_public_key(octets: bytes) -> PublicKey:
    cursor = Cursor(octets)
    kind, flags = cursor.str(), cursor.number("H")
    assert flags == 0
    if kind == b"RSA_PUB_KEY":
        exponent, modulus = number(cursor.str()), number(cursor.str())
        assert cursor.rest in (b"", bytes(4))
        return rsa.RSAPublicNumbers(exponent, modulus).public_key()
    assert kind == b"DSA_PUB_KEY", kind
    q, p, g, y = (number(cursor.str()) for _ in range(4))
    return dsa.DSAPublicNumbers(y, dsa.DSAParameterNumbers(p, q, g)).public_key()


def pack_public_key(key: PublicKey) -> bytes:
    """As the stock software writes it: an RSA key with four octets too many."""
    if isinstance(key, dsa.DSAPublicKey):
        group, y = key.public_numbers().parameter_numbers, key.public_numbers().y
        numbers_of_it = (group.q, group.p, group.g, y)
        packed = b"".join(pack_str(signed_octets(each)) for each in numbers_of_it)
        return pack_str(b"DSA_PUB_KEY") + bytes(2) + packed
    numbers = key.public_numbers()
    parts = pack_str(signed_octets(numbers.e)) + pack_str(signed_octets(numbers.n))
    return pack_str(b"RSA_PUB_KEY") + bytes(2) + parts + bytes(4)


def read_private_key(octets: bytes) -> PrivateKey:
    """An unencrypted private key file."""
    cursor = Cursor(octets)
    assert cursor.number("i") == 1, "the key file is encrypted"
    kind = cursor.str()
    if kind == b"DSA_PRIV_KEY":
        x, p, q, g = (number(cursor.str()) for _ in range(4))
        public = dsa.DSAPublicNumbers(pow(g, x, p), dsa.DSAParameterNumbers(p, q, g))
        return dsa.DSAPrivateNumbers(x, public).private_key()
    assert kind == b"RSA_PRIVCRT_KEY", kind
    n, e, d, p, q, dp, dq, q_inverse = (number(cursor.str()) for _ in range(8))
    public_numbers = rsa.RSAPublicNumbers(e, n)
    return rsa.RSAPrivateNumbers(p, q, d, dp, dq, q_inverse, public_numbers).private_key()


def digest_request(covered: bytes, version: Version) -> tuple[int, bytes]:
    """The digest that an answer of this version carries of its request."""
    if version >= (2, 7):
        return 3, hashlib.sha256(covered).digest()
    return 2, hashlib.sha1(covered).digest()


def same_digest(covered: bytes, digest: tuple[int, bytes]) -> bool:
    name = {1: "md5", 2: "sha1", 3: "sha256"}[digest[0]]
    return hashlib.new(name, covered).digest() == digest[1]


def _hash_of(name: bytes) -> hashes.HashAlgorithm:
    if name in (b"SHA1", b"SHA-1", b"\2"):
        return hashes.SHA1()
    assert name in (b"SHA-256", b"SHA256", b"\3"), name
    return hashes.SHA256()


def sign(key: PrivateKey, data: bytes, version: Version) -> tuple[bytes, bytes]:
    """Hash name and signature, by the rules of the version."""
    if isinstance(key, dsa.DSAPrivateKey):
        return b"SHA1", key.sign(data, hashes.SHA1())
    name = b"SHA-256" if version >= (2, 7) else b"SHA1"
    return name, key.sign(data, PKCS1v15(), _hash_of(name))


def check_signature(key: PublicKey, name: bytes, signature: bytes, data: bytes) -> None:
    """Raises InvalidSignature."""
    if isinstance(key, dsa.DSAPublicKey):
        key.verify(signature, data, _hash_of(name))
    else:
        key.verify(signature, data, PKCS1v15(), _hash_of(name))


@dataclass(frozen=True)
class KeyIdentity:
    """An administrator known by an HS_PUBKEY value."""

    handle: bytes
    index: int
    key: PrivateKey
    kind: bytes = b"HS_PUBKEY"

    def answer(self, challenge: bytes, version: Version) -> bytes:
        name, signature = sign(self.key, challenge, version)
        return pack_str(name) + pack_str(signature)


SecretRule = Callable[[bytes, bytes], bytes]


def pbkdf2_answer(
    secret: bytes, challenge: bytes, rounds: int = 10_000, salt: bytes | None = None
) -> bytes:
    salt = salt or os.urandom(16)
    # The stock client makes characters of the octets (Latin-1); Java's PBKDF2 takes them as UTF-8.
    password = secret.decode("latin-1").encode()
    key = hashlib.pbkdf2_hmac("sha1", password, salt, rounds, 20)
    parts = struct.pack(">ii", rounds, 160) + pack_str(hmac.digest(key, challenge, "sha1"))
    return b"\x22" + pack_str(salt) + parts


SECRET_RULES: dict[int, SecretRule] = {
    1: lambda secret, data: b"\1" + hashlib.md5(secret + data + secret).digest(),
    2: lambda secret, data: b"\2" + hashlib.sha1(secret + data + secret).digest(),
    3: lambda secret, data: b"\3" + hashlib.sha256(secret + data + secret).digest(),
    0x12: lambda secret, data: b"\x12" + hmac.digest(secret, data, "sha1"),
    0x13: lambda secret, data: b"\x13" + hmac.digest(secret, data, "sha256"),
    0x22: pbkdf2_answer,
}


@dataclass(frozen=True)
class SecretIdentity:
    """An administrator known by an HS_SECKEY value; `rule` forces one of the secret key answers."""

    handle: bytes
    index: int
    secret: bytes
    rule: int | None = None
    kind: bytes = b"HS_SECKEY"

    def answer(self, challenge: bytes, version: Version) -> bytes:
        rule = self.rule or (0x22 if version >= (2, 7) else 2)
        return SECRET_RULES[rule](self.secret, challenge)


Identity = KeyIdentity | SecretIdentity


def credential(kind: bytes, hash_name: bytes, signature: bytes, counter: int) -> bytes:
    section = pack_str(hash_name) + pack_str(signature)
    head = bytes(4) + pack_str(b"") + struct.pack(">i", counter) + pack_str(kind)
    return head + struct.pack(">i", len(section)) + section


@dataclass(frozen=True)
class Credential:
    counter: int
    kind: bytes
    hash_name: bytes
    signature: bytes


def read_credential(octets: bytes) -> Credential:
    cursor = Cursor(octets)
    assert cursor.take(4) == bytes(4)
    assert cursor.str() == b""
    counter, kind = cursor.number("i"), cursor.str()
    section = cursor.str()
    assert cursor.rest == b""
    cursor = Cursor(section)
    parts = Credential(counter, kind, cursor.str(), cursor.str())
    assert cursor.rest == b""
    return parts


def _prefixed(envelope: Envelope, counter: int, covered: bytes) -> bytes:
    """What is signed or MACed from 2.7 on: envelope fields, counter, header and body."""
    suggested = bytes(envelope.suggested) if envelope.version >= (2, 8) else b""
    numbers = struct.pack(">iii", envelope.session, envelope.request, counter)
    return bytes(envelope.version) + suggested + numbers + covered


def signed_octets_of(envelope: Envelope, counter: int, covered: bytes) -> bytes:
    if envelope.version >= (2, 7):
        return _prefixed(envelope, counter, covered)
    if envelope.version == (2, 6):
        head = bytes(envelope.version) + struct.pack(">i", envelope.session)[:2]
        return head + struct.pack(">i", counter) + bytes(6) + covered
    return covered


def check_certified(answer: Answer, key: PublicKey) -> None:
    """The server's signature over an answer; raises InvalidSignature."""
    parts = read_credential(answer.credential)
    assert parts.kind in (b"HS_SIGNED", b"HS_DSAPUBKEY"), parts.kind
    if answer.envelope.version >= (2, 7):
        assert parts.hash_name == (b"SHA1" if isinstance(key, dsa.DSAPublicKey) else b"SHA-256")
    data = signed_octets_of(answer.envelope, parts.counter, answer.covered)
    check_signature(key, parts.hash_name, parts.signature, data)


def mac(key: bytes, envelope: Envelope, counter: int, covered: bytes) -> tuple[bytes, bytes]:
    """Hash name and MAC under a session key, the misplaced writes of 2.5 and 2.6 included."""
    if envelope.version >= (2, 7):
        data = _prefixed(envelope, counter, covered)
        return b"HMAC-SHA256", hmac.digest(key, data, "sha256")
    if envelope.version <= (2, 4):
        return b"\2", hashlib.sha1(key + covered + key).digest()
    size = 2 * len(key) + len(covered) + 14
    buffer = bytearray(size)
    writes = [
        (0, key),
        (len(key), bytes(envelope.version)),
        (len(key) + 2, struct.pack(">i", envelope.session)),
        (4, struct.pack(">i", counter)),
        (4, covered),
        (4 + len(covered), key),
    ]
    for at, octets in writes:
        buffer[at : at + len(octets)] = octets
    assert len(buffer) == size
    return (b"\2" if envelope.version == (2, 5) else b"SHA1"), hashlib.sha1(buffer).digest()
