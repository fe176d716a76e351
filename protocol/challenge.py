"""Answers to a challenge: proof of a private or secret key, over nonce and request digest.

     public key (HS_PUBKEY)     secret key (HS_SECKEY), D = nonce ++ digest, K = secret
       str hash name              u8 algorithm, then
       str signature              1, 2, 3     MD5, SHA-1, SHA-256 of K ++ D ++ K; 0 the same as 1
                                  0x12, 0x13  HMAC-SHA1, HMAC-SHA256 of D under K
                                  0x22        str salt, i32 rounds, i32 key bits, str HMAC-SHA1 of D
                                              under PBKDF2-HMAC-SHA1(K, salt, rounds, bits)
                                  2.0 sends the 16 octets of the MD5 alone

The version that chooses the form is the lower of the two in the challenge's envelope
(`challenge_version`). Over HTTP the client's own nonce stands in place of the request digest.
Verification says False to an answer that is wrong or malformed alike.
"""

import hashlib
import hmac
import secrets

from protocol.digests import DIGEST_NAMES, MD5, SHA1, SHA256, RequestDigest
from protocol.envelope import Envelope
from protocol.errors import DecodeError, SecurityError
from protocol.key_files import PrivateKey, pbkdf2_sha1
from protocol.signatures import sign, signature_holds
from protocol.types.hs_pubkey import decode_public_key
from protocol.versions import V2_1, V2_7, Version
from protocol.wire import Reader, write_i32, write_str

AUTHENTICATION_PUBLIC_KEY = b"HS_PUBKEY"
AUTHENTICATION_SECRET_KEY = b"HS_SECKEY"

NONCE_OCTETS = 16

ALGORITHM_HMAC_SHA1 = 0x12
ALGORITHM_HMAC_SHA256 = 0x13
ALGORITHM_PBKDF2 = 0x22

# What Handle.Net's client sends.
PBKDF2_ROUNDS = 10_000
PBKDF2_KEY_BITS = 160
_SALT_OCTETS = 16
# The sender chooses the rounds and we pay for them before we know who he is: ten times what
# existing clients send, 30 ms of one core. Longer keys multiply the cost, so they are bound too.
ROUNDS_MAX_DEFAULT = 100_000
_KEY_BITS_MAX = 512

_HMAC_NAMES = {ALGORITHM_HMAC_SHA1: "sha1", ALGORITHM_HMAC_SHA256: "sha256"}
_MD5_OCTETS = 16


def make_nonce() -> bytes:
    """Return 16 random octets."""
    return secrets.token_bytes(NONCE_OCTETS)


def challenge_version(envelope: Envelope) -> Version:
    """Return the version whose rules the answer to a challenge follows."""
    best = envelope.best_version
    return best if envelope.version.at_least(best) else envelope.version


def answer_public_key(
    private_key: PrivateKey, nonce: bytes, digest: RequestDigest, version: Version
) -> bytes:
    """Return the answer of the owner of a private key."""
    hash_name, signature = sign(private_key, nonce + digest.digest, version)
    return write_str(hash_name) + write_str(signature)


def verify_public_key_answer(
    key_data: bytes, nonce: bytes, digest: RequestDigest, answer: bytes
) -> bool:
    """Say whether an answer was made with the private key of HS_PUBKEY data `key_data`.

    Raises:
        DecodeError: `key_data` are truncated.
        InvalidValueError: `key_data` are not a key.
    """
    public_key = decode_public_key(key_data)
    reader = Reader(answer)
    try:
        hash_name = reader.read_str("hash name")
        signature = reader.read_str("signature")
        reader.expect_end("public-key answer")
    except DecodeError:
        return False
    return signature_holds(public_key, nonce + digest.digest, hash_name, signature)


def answer_secret_key(
    secret: bytes, nonce: bytes, digest: RequestDigest, version: Version
) -> bytes:
    """Return the answer of somebody who knows the secret."""
    data = nonce + digest.digest
    if version.at_least(V2_7):
        salt = secrets.token_bytes(_SALT_OCTETS)
        mac = _pbkdf2_mac(secret, data, salt, PBKDF2_ROUNDS, PBKDF2_KEY_BITS)
        return bytes([ALGORITHM_PBKDF2]) + _encode_pbkdf2(salt, PBKDF2_ROUNDS, PBKDF2_KEY_BITS, mac)
    if version.at_least(V2_1):
        return bytes([SHA1]) + _sandwich(SHA1, secret, data)
    return _sandwich(MD5, secret, data)


def verify_secret_key_answer(
    secret: bytes,
    nonce: bytes,
    digest: RequestDigest,
    answer: bytes,
    *,
    rounds_max: int = ROUNDS_MAX_DEFAULT,
) -> bool:
    """Say whether an answer was made by somebody who knows the secret.

    Costs a few milliseconds of CPU when PBKDF2 is used: call it off the event loop. An empty secret
    proves nothing: the answer is False.

    Raises:
        SecurityError: more PBKDF2 rounds than `rounds_max` or a key longer than 512 bits.
    """
    if not secret or not answer:
        return False
    data = nonce + digest.digest
    if len(answer) == _MD5_OCTETS:
        return hmac.compare_digest(answer, _sandwich(MD5, secret, data))
    algorithm, mac = answer[0], answer[1:]
    if algorithm == ALGORITHM_PBKDF2:
        return _verify_pbkdf2(secret, data, mac, rounds_max)
    if algorithm in _HMAC_NAMES:
        return hmac.compare_digest(mac, hmac.digest(secret, data, _HMAC_NAMES[algorithm]))
    if algorithm in (0, *DIGEST_NAMES):
        return hmac.compare_digest(mac, _sandwich(algorithm or MD5, secret, data))
    return False


def _verify_pbkdf2(secret: bytes, data: bytes, encoded: bytes, rounds_max: int) -> bool:
    reader = Reader(encoded)
    try:
        salt = reader.read_str("salt")
        rounds = reader.read_i32("PBKDF2 rounds")
        bits = reader.read_i32("PBKDF2 key bits")
        mac = reader.read_str("mac")
        reader.expect_end("secret-key answer")
    except DecodeError:
        return False
    if rounds > rounds_max:
        raise SecurityError(f"the answer asks for {rounds} PBKDF2 rounds, at most {rounds_max}")
    if bits > _KEY_BITS_MAX:
        raise SecurityError(f"the answer asks for a {bits}-bit key, at most {_KEY_BITS_MAX}")
    if rounds < 1 or bits < 8:
        return False
    return hmac.compare_digest(mac, _pbkdf2_mac(secret, data, salt, rounds, bits))


def _pbkdf2_mac(secret: bytes, data: bytes, salt: bytes, rounds: int, bits: int) -> bytes:
    return hmac.digest(pbkdf2_sha1(secret, salt, rounds, bits), data, "sha1")


def _encode_pbkdf2(salt: bytes, rounds: int, bits: int, mac: bytes) -> bytes:
    return write_str(salt) + write_i32(rounds) + write_i32(bits) + write_str(mac)


def _sandwich(algorithm: int, secret: bytes, data: bytes) -> bytes:
    name = DIGEST_NAMES[algorithm]
    return hashlib.new(name, secret + data + secret, usedforsecurity=False).digest()


_SECRET_ALGORITHM_NAMES = {
    "MD5": MD5,
    "SHA1": SHA1,
    "SHA256": SHA256,
    "HMACSHA1": ALGORITHM_HMAC_SHA1,
    "HMACSHA256": ALGORITHM_HMAC_SHA256,
    "PBKDF2HMACSHA1": ALGORITHM_PBKDF2,
    "PBKDF2WITHHMACSHA1": ALGORITHM_PBKDF2,
}


def answer_from_parts(
    authentication_type: bytes,
    algorithm: str,
    signature: bytes,
    *,
    salt: bytes = b"",
    rounds: int = 0,
    key_bits: int = 0,
) -> bytes:
    """Return the answer that the fields of an HTTP `Authorization: Handle` header stand for.

    Args:
        authentication_type: b"HS_PUBKEY" or b"HS_SECKEY".
        algorithm: its name; case and punctuation do not matter.
        signature: the signature or MAC.
        salt: with PBKDF2 only, as are the two below.
        rounds: "iterations" in the header.
        key_bits: "length" in the header.

    Raises:
        SecurityError: an unknown authentication type or algorithm.
    """
    if authentication_type == AUTHENTICATION_PUBLIC_KEY:
        return write_str(algorithm.encode()) + write_str(signature)
    if authentication_type != AUTHENTICATION_SECRET_KEY:
        raise SecurityError(f"authentication type {authentication_type[:32]!r} is unknown")
    name = "".join(character for character in algorithm.upper() if character.isalnum())
    if name not in _SECRET_ALGORITHM_NAMES:
        raise SecurityError(f"algorithm {algorithm[:32]!r} is unknown")
    number = _SECRET_ALGORITHM_NAMES[name]
    if number == ALGORITHM_PBKDF2:
        signature = _encode_pbkdf2(salt, rounds, key_bits, signature)
    return bytes([number]) + signature
