"""JSON forms of typed data: administrators, groups, sites and public keys.

    admin  {"handle": "0.NA/88.118", "index": 200, "permissions": "111111111111"}
    vlist  [{"handle": "0.NA/88.118", "index": 300}]
    key    {"kty": "RSA", "n": .., "e": ..} or {"kty": "DSA", "y": .., "p": .., "q": .., "g": ..}
    site   {"version": 1, "protocolVersion": "2.10", "serialNumber": 1, "primarySite": true,
            "multiPrimary": false, "attributes": [{"name", "value"}],
            "servers": [{"serverId", "address", "publicKey": {"format": "key", "value": key},
                         "interfaces": [{"query", "admin", "protocol": "TCP", "port": 2641}]}]}

Permissions print the highest bit first (list handles down to add handle). Numbers of keys are
unsigned base64url without padding. A site's "hashOption" (a number) and "hashFilter" appear when
they are not the usual ones.
"""

import base64
import ipaddress
from collections.abc import Callable
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.dsa import DSAPublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from protocol.errors import InvalidValueError, ProtocolError
from protocol.handle import to_text
from protocol.json_fields import (
    decode_base64,
    describe,
    expect_bool,
    expect_list,
    expect_number,
    expect_object,
    expect_text,
    get_field,
    get_number,
    get_text,
)
from protocol.types.hs_admin import HsAdmin
from protocol.types.hs_pubkey import (
    KEY_BITS_MAX,
    decode_public_key,
    encode_public_key,
    make_dsa_key,
    make_rsa_key,
)
from protocol.types.hs_site import (
    HASH_BY_HANDLE,
    KIND_ADMIN,
    KIND_QUERY,
    SITE_FORMAT,
    HsSite,
    SiteInterface,
    SiteServer,
    address_octets,
)
from protocol.types.hs_vlist import HsVlist
from protocol.value import Reference
from protocol.versions import Version

Item = TypeVar("Item")

_PERMISSION_DIGITS = 12
_PERMISSION_DIGITS_MAX = 16
_TRANSPORT_NAMES = ("UDP", "TCP", "HTTP", "HTTPS")
_PORT_MAX = 65_535


def reference_to_json(reference: Reference) -> dict[str, Any]:
    """Return {"handle", "index"}."""
    return {"handle": to_text(reference.handle), "index": reference.index}


def reference_from_json(item: Any, where: str) -> Reference:
    """Read {"handle", "index"}. Raises: InvalidValueError."""
    fields = expect_object(item, where)
    return Reference(get_text(fields, "handle", where).encode(), get_number(fields, "index", where))


def admin_to_json(admin: HsAdmin) -> dict[str, Any]:
    """Return the form of an HS_ADMIN; trailing octets are left out."""
    permissions = f"{admin.permissions:0{_PERMISSION_DIGITS}b}"
    return {**reference_to_json(admin.admin), "permissions": permissions}


def admin_from_json(item: Any, where: str = "admin") -> HsAdmin:
    """Read the form of an HS_ADMIN. Raises: InvalidValueError."""
    fields = expect_object(item, where)
    digits = get_text(fields, "permissions", where)
    if set(digits) - {"0", "1"} or not 0 < len(digits) <= _PERMISSION_DIGITS_MAX:
        raise InvalidValueError(
            f"{where}.permissions must be {_PERMISSION_DIGITS} digits 0 or 1, not {digits[:40]!r}"
        )
    return HsAdmin(int(digits, 2), reference_from_json(fields, where))


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
    text = get_text(fields, name, where).translate(str.maketrans("-_", "+/")).rstrip("=")
    octets = decode_base64(text + "=" * (-len(text) % 4), f"{where}.{name}")
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
    kind = get_text(fields, "kty", where)
    if kind == "RSA":
        e, n = (_get_key_number(fields, name, where) for name in ("e", "n"))
        return encode_public_key(make_rsa_key(e, n))
    if kind == "DSA":
        y, p, q, g = (_get_key_number(fields, name, where) for name in "ypqg")
        return encode_public_key(make_dsa_key(y, p, q, g))
    raise InvalidValueError(f'{where}.kty must be "RSA" or "DSA", not {kind[:40]!r}')


def _key_data_to_json(data: bytes) -> dict[str, Any]:
    """Return a server's key, in base64 if it cannot be taken apart."""
    try:
        return {"format": "key", "value": key_to_json(data)}
    except ProtocolError:
        return {"format": "base64", "value": base64.b64encode(data).decode()}


def _key_data_from_json(item: Any, where: str) -> bytes:
    fields = expect_object(item, where)
    form, value = get_text(fields, "format", where), get_field(fields, "value", where)
    if form == "key":
        return key_from_json(value, f"{where}.value")
    if form == "base64":
        return decode_base64(expect_text(value, f"{where}.value"), f"{where}.value")
    raise InvalidValueError(f'{where}.format must be "key" or "base64", not {form[:40]!r}')


def _interface_to_json(interface: SiteInterface) -> dict[str, Any]:
    number = interface.protocol
    return {
        "query": interface.answers_queries,
        "admin": interface.answers_admin,
        "protocol": _TRANSPORT_NAMES[number] if number < len(_TRANSPORT_NAMES) else str(number),
        "port": interface.port,
    }


def _interface_from_json(item: Any, where: str) -> SiteInterface:
    fields = expect_object(item, where)
    kind = KIND_QUERY if expect_bool(fields.get("query", False), f"{where}.query") else 0
    kind |= KIND_ADMIN if expect_bool(fields.get("admin", False), f"{where}.admin") else 0
    name = get_text(fields, "protocol", where).upper()
    if name in _TRANSPORT_NAMES:
        protocol = _TRANSPORT_NAMES.index(name)
    elif name.isascii() and name.isdigit() and len(name) <= 3 and int(name) <= 255:
        protocol = int(name)
    else:
        raise InvalidValueError(
            f"{where}.protocol must be one of {', '.join(_TRANSPORT_NAMES)}, not {name[:40]!r}"
        )
    return SiteInterface(kind, protocol, get_number(fields, "port", where, 0, _PORT_MAX))


def _server_to_json(server: SiteServer) -> dict[str, Any]:
    return {
        "serverId": server.id,
        "address": str(server.ip),
        "publicKey": _key_data_to_json(server.public_key),
        "interfaces": [_interface_to_json(interface) for interface in server.interfaces],
    }


def _server_from_json(item: Any, where: str) -> SiteServer:
    fields = expect_object(item, where)
    text = get_text(fields, "address", where)
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise InvalidValueError(f"{where}.address is not an IP address: {text[:60]!r}") from None
    interfaces = expect_list(fields.get("interfaces", []), f"{where}.interfaces")
    return SiteServer(
        get_number(fields, "serverId", where),
        address_octets(address),
        _key_data_from_json(get_field(fields, "publicKey", where), f"{where}.publicKey"),
        _read_each(interfaces, _interface_from_json, f"{where}.interfaces"),
    )


def _attribute_from_json(item: Any, where: str) -> tuple[bytes, bytes]:
    fields = expect_object(item, where)
    return get_text(fields, "name", where).encode(), get_text(fields, "value", where).encode()


def _read_each(
    items: list[Any], read_item: Callable[[Any, str], Item], where: str
) -> tuple[Item, ...]:
    return tuple(read_item(item, f"{where}[{n}]") for n, item in enumerate(items))


def site_to_json(site: HsSite) -> dict[str, Any]:
    """Return the form of a site; flag bits without a meaning are left out."""
    form: dict[str, Any] = {
        "version": site.format,
        "protocolVersion": str(site.protocol_version),
        "serialNumber": site.serial,
        "primarySite": site.is_primary,
        "multiPrimary": site.is_multi_primary,
    }
    if site.hash_option != HASH_BY_HANDLE:
        form["hashOption"] = site.hash_option
    if site.hash_filter:
        form["hashFilter"] = to_text(site.hash_filter)
    form["attributes"] = [
        {"name": to_text(name), "value": to_text(value)} for name, value in site.attributes
    ]
    form["servers"] = [_server_to_json(server) for server in site.servers]
    return form


def site_from_json(item: Any, where: str = "site") -> HsSite:
    """Read the form of a site. Raises: InvalidValueError."""
    fields = expect_object(item, where)
    attributes = expect_list(fields.get("attributes", []), f"{where}.attributes")
    servers = expect_list(get_field(fields, "servers", where), f"{where}.servers")
    return HsSite(
        protocol_version=_get_version(fields, where),
        serial=get_number(fields, "serialNumber", where, 0, 0xFFFF),
        is_primary=expect_bool(get_field(fields, "primarySite", where), f"{where}.primarySite"),
        servers=_read_each(servers, _server_from_json, f"{where}.servers"),
        attributes=_read_each(attributes, _attribute_from_json, f"{where}.attributes"),
        is_multi_primary=expect_bool(fields.get("multiPrimary", False), f"{where}.multiPrimary"),
        hash_option=expect_number(
            fields.get("hashOption", HASH_BY_HANDLE), f"{where}.hashOption", 0, HASH_BY_HANDLE
        ),
        hash_filter=expect_text(fields.get("hashFilter", ""), f"{where}.hashFilter").encode(),
        format=expect_number(
            fields.get("version", SITE_FORMAT), f"{where}.version", -0x8000, 0x7FFF
        ),
    )


def _get_version(fields: dict[str, Any], where: str) -> Version:
    text = get_text(fields, "protocolVersion", where)
    major, point, minor = text.partition(".")
    if not (point and text.isascii() and major.isdigit() and minor.isdigit() and len(text) <= 7):
        raise InvalidValueError(
            f'{where}.protocolVersion must look like "2.10", not {describe(text)}'
        )
    version = Version(int(major), int(minor))
    if max(version) > 255:
        raise InvalidValueError(f"{where}.protocolVersion is {text}, neither part exceeds 255")
    return version
