"""What an applicant brings: the public key of his, and the site of his node if he runs one."""

import struct
from typing import Any

from cryptography.hazmat.primitives.asymmetric.dsa import DSAPublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from protocol.errors import InvalidValueError, ProtocolError
from protocol.json_forms import key_from_json, site_from_json
from protocol.types.hs_pubkey import decode_public_key, encode_public_key
from registry.office_parameters import PEM_LETTERS_MAX

KEY_BITS_MIN = 2_048
SITE_OCTETS_MAX = 16_384
ROLES = ("enterprise", "secondary")


def read_key(item: Any, where: str = "publicKey") -> bytes:
    """Return the HS_PUBKEY data of a key: a PEM file's text, or the form it has in JSON.

    Raises:
        ProtocolError: it is none, of a kind nobody signs with, or too short.
    """
    data = _key_of_pem(item, where) if isinstance(item, str) else key_from_json(item, where)
    key = decode_public_key(data)
    if not isinstance(key, RSAPublicKey | DSAPublicKey):
        raise InvalidValueError(f"{where} is no key to sign with: give an RSA key")
    if key.key_size < KEY_BITS_MIN:
        raise InvalidValueError(f"{where} has {key.key_size} bits, {KEY_BITS_MIN} are the least")
    return data


def _key_of_pem(text: str, where: str) -> bytes:
    if len(text) > PEM_LETTERS_MAX:
        raise InvalidValueError(f"{where} has {len(text)} letters, at most {PEM_LETTERS_MAX}")
    try:
        key = load_pem_public_key(text.encode())
    except Exception:  # whatever a stranger's octets make the library raise
        raise InvalidValueError(
            f"{where} is no public key: write PEM, -----BEGIN PUBLIC KEY-----, or its JSON form"
        ) from None
    if not isinstance(key, RSAPublicKey | DSAPublicKey):
        raise InvalidValueError(f"{where} is no RSA key, and no other kind can log in")
    return encode_public_key(key)


def read_site(item: Any, role: str, where: str = "site") -> bytes:
    """Return the HS_SITE data of a site as JSON has it; nothing for None.

    Raises:
        ProtocolError: it is none, too large, or of a role that no node below has.
    """
    if role not in ROLES:
        raise InvalidValueError(f"role is {role[:40]!r}: write {' or '.join(ROLES)}")
    if item is None:
        return b""
    site = site_from_json(item, where)
    if not site.servers:
        raise InvalidValueError(f"{where} names no server")
    try:
        octets = site.encode()
    except (ValueError, OverflowError, struct.error) as error:
        raise InvalidValueError(f"{where} cannot be written: {error}") from None
    if len(octets) > SITE_OCTETS_MAX:
        raise InvalidValueError(f"{where} has {len(octets)} octets, at most {SITE_OCTETS_MAX}")
    return octets


def is_same_key(one: bytes, other: bytes) -> bool:
    """Say whether two HS_PUBKEY data are the same key, however they are written."""
    try:
        return decode_public_key(one) == decode_public_key(other)
    except ProtocolError:
        return False
