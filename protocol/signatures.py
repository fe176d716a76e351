"""Signatures by handle keys, with the hash names the protocol writes beside them.

RSA is PKCS#1 v1.5, DSA the DER sequence of r and s. From 2.7 on RSA signs with SHA-256; before,
and with DSA keys always, with SHA-1.
"""

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.dsa import DSAPublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from protocol.digests import MD5, SHA1, SHA256
from protocol.key_files import PrivateKey
from protocol.types.hs_pubkey import PublicKey
from protocol.versions import V2_7, Version

NAME_SHA1 = b"SHA1"
NAME_SHA256 = b"SHA-256"

_HASHES: dict[int, hashes.HashAlgorithm] = {
    MD5: hashes.MD5(),
    SHA1: hashes.SHA1(),
    SHA256: hashes.SHA256(),
}
_HASH_IDS = {
    b"SHA1": SHA1,
    b"SHA-1": SHA1,
    b"SHA256": SHA256,
    b"SHA-256": SHA256,
    b"MD5": MD5,
    b"\x01": MD5,
    b"\x02": SHA1,
    b"\x03": SHA256,
}


def find_hash(name: bytes) -> int | None:
    """Return the digest id that a hash name means (names, or one octet 1 to 3), or None."""
    return _HASH_IDS.get(name.upper())


def sign(private_key: PrivateKey, octets: bytes, version: Version) -> tuple[bytes, bytes]:
    """Sign as `version` asks. Returns: (hash name, signature)."""
    if not isinstance(private_key, RSAPrivateKey):
        return NAME_SHA1, private_key.sign(octets, _HASHES[SHA1])
    if version.at_least(V2_7):
        return NAME_SHA256, private_key.sign(octets, PKCS1v15(), _HASHES[SHA256])
    return NAME_SHA1, private_key.sign(octets, PKCS1v15(), _HASHES[SHA1])


def signature_holds(
    public_key: PublicKey, octets: bytes, hash_name: bytes, signature: bytes
) -> bool:
    """Say whether `signature` is that of `octets`; an unknown hash or a DH key never signs."""
    hash_id = find_hash(hash_name)
    if hash_id is None:
        return False
    try:
        if isinstance(public_key, RSAPublicKey):
            public_key.verify(signature, octets, PKCS1v15(), _HASHES[hash_id])
            return True
        if isinstance(public_key, DSAPublicKey):
            public_key.verify(signature, octets, _HASHES[hash_id])
            return True
    except (InvalidSignature, UnsupportedAlgorithm):
        return False
    return False
