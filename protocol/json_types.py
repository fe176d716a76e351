"""JSON forms of typed data: administrators, groups, sites and public keys.

    admin  {"handle": "0.NA/88.118", "index": 200, "permissions": "111111111111"}
           and "legacyByteLength": true when it ends in the two zero octets of old writers
    vlist  [{"handle": "0.NA/88.118", "index": 300}]
    key    {"kty": "RSA", "n": .., "e": ..} or {"kty": "DSA", "y": .., "p": .., "q": .., "g": ..}

Permissions print the highest bit first (list handles down to add handle). Numbers of keys are
unsigned base64url without padding. Sites are in `protocol.json_sites`.

Read, as Handle.Net's library does: numbers in quotes, kinds of keys in either case, permissions as
digits, "*", true or false, or a list of switches beginning with add handle; none if missing.
"""

import base64
from typing import Any

from cryptography.hazmat.primitives.asymmetric.dsa import DSAPublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from protocol.errors import InvalidValueError
from protocol.handle import to_text
from protocol.json_fields import (
    decode_base64,
    expect_bool,
    expect_list,
    expect_object,
    expect_text,
    get_number,
    get_text,
)
from protocol.types.hs_admin import LEGACY_TRAILING, HsAdmin
from protocol.types.hs_pubkey import (
    KEY_BITS_MAX,
    decode_public_key,
    encode_public_key,
    make_dsa_key,
    make_rsa_key,
)
from protocol.types.hs_vlist import HsVlist
from protocol.value import Reference

_PERMISSION_DIGITS = 12
_PERMISSION_DIGITS_MAX = 16
_ALL_PERMISSIONS = (1 << _PERMISSION_DIGITS) - 1


def reference_to_json(reference: Reference) -> dict[str, Any]:
    """Return {"handle", "index"}."""
    return {"handle": to_text(reference.handle), "index": reference.index}


def reference_from_json(item: Any, where: str) -> Reference:
    """Read {"handle", "index"}. Raises: InvalidValueError."""
    fields = expect_object(item, where)
    return Reference(get_text(fields, "handle", where).encode(), get_number(fields, "index", where))


def admin_to_json(admin: HsAdmin) -> dict[str, Any]:
    """Return the form of an HS_ADMIN."""
    permissions = f"{admin.permissions:0{_PERMISSION_DIGITS}b}"
    form = {**reference_to_json(admin.admin), "permissions": permissions}
    return {**form, "legacyByteLength": True} if admin.trailing else form


def admin_from_json(item: Any, where: str = "admin") -> HsAdmin:
    """Read the form of an HS_ADMIN. Raises: InvalidValueError."""
    fields = expect_object(item, where)
    permissions = _admin_permissions(fields.get("permissions"), f"{where}.permissions")
    is_legacy = expect_bool(fields.get("legacyByteLength", False), f"{where}.legacyByteLength")
    trailing = LEGACY_TRAILING if is_legacy else b""
    return HsAdmin(permissions, reference_from_json(fields, where), trailing)


def _admin_permissions(item: Any, where: str) -> int:
    """Read an administrator's permissions; none where nothing is said."""
    if item is None or isinstance(item, bool) or item == "*":
        return _ALL_PERMISSIONS if item else 0
    if isinstance(item, list):
        switches = [expect_bool(each, f"{where}[{bit}]") for bit, each in enumerate(item)]
        if len(switches) > _PERMISSION_DIGITS:
            raise InvalidValueError(f"{where} has {len(switches)} of {_PERMISSION_DIGITS} switches")
        return sum(switch << bit for bit, switch in enumerate(switches))
    digits = expect_text(item, where)
    if set(digits) - {"0", "1"} or not 0 < len(digits) <= _PERMISSION_DIGITS_MAX:
        raise InvalidValueError(
            f"{where} must be {_PERMISSION_DIGITS} digits 0 or 1, not {digits[:40]!r}"
        )
    return int(digits, 2)


def vlist_to_json(vlist: HsVlist) -> list[Any]:
    """Return the form of an HS_VLIST."""
    return [reference_to_json(reference) for reference in vlist.references]


def vlist_from_json(item: Any, where: str = "vlist") -> HsVlist:
    """Read the form of an HS_VLIST. Raises: InvalidValueError."""
    members = enumerate(expect_list(item, where))
    return HsVlist(
        tuple(reference_from_json(member, f"{where}[{position}]") for position, member in members)
    )


def _number_to_json(number: int) -> str:
    octets = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def _get_key_number(fields: dict[str, Any], name: str, where: str) -> int:
    octets = decode_base64(get_text(fields, name, where), f"{where}.{name}")
    number = int.from_bytes(octets, "big")
    if number.bit_length() > KEY_BITS_MAX:
        raise InvalidValueError(f"{where}.{name} has over {KEY_BITS_MAX} bits")
    return number


def key_to_json(data: bytes) -> dict[str, Any]:
    """Return the form of HS_PUBKEY data.

    Raises:
        DecodeError: truncated, or a length out of range.
        InvalidValueError: not a key, or a Diffie-Hellman key, which has no form.
    """
    key = decode_public_key(data)
    if isinstance(key, RSAPublicKey):
        rsa = key.public_numbers()
        return {"kty": "RSA", "n": _number_to_json(rsa.n), "e": _number_to_json(rsa.e)}
    if isinstance(key, DSAPublicKey):
        dsa = key.public_numbers()
        group = dsa.parameter_numbers
        numbers = {"y": dsa.y, "p": group.p, "q": group.q, "g": group.g}
        return {"kty": "DSA", **{name: _number_to_json(n) for name, n in numbers.items()}}
    raise InvalidValueError("a Diffie-Hellman key has no JSON form")


def key_from_json(item: Any, where: str = "key") -> bytes:
    """Read the form of a key into HS_PUBKEY data. Raises: InvalidValueError."""
    fields = expect_object(item, where)
    kind = get_text(fields, "kty", where).upper()
    if kind == "RSA":
        e, n = (_get_key_number(fields, name, where) for name in ("e", "n"))
        return encode_public_key(make_rsa_key(e, n))
    if kind == "DSA":
        y, p, q, g = (_get_key_number(fields, name, where) for name in "ypqg")
        return encode_public_key(make_dsa_key(y, p, q, g))
    raise InvalidValueError(f'{where}.kty must be "RSA" or "DSA", not {kind[:40]!r}')
