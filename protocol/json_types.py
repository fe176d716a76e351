"""JSON forms of typed data: administrators, groups, sites and public keys.

    admin  {"handle": "0.NA/88.118", "index": 200, "permissions": "111111111111"}
           and "legacyByteLength": true when it ends in the two zero octets of old writers
    vlist  [{"handle": "0.NA/88.118", "index": 300}]
    key    {"kty": "RSA", "n": .., "e": ..} or {"kty": "DSA", "y": .., "p": .., "q": .., "g": ..}
    site   {"version": 1, "protocolVersion": "2.10", "serialNumber": 1, "primarySite": true,
            "multiPrimary": false, "attributes": [{"name", "value"}],
            "servers": [{"serverId", "address", "publicKey": {"format": "key", "value": key},
                         "interfaces": [{"query", "admin", "protocol": "TCP", "port": 2641}]}]}

Permissions print the highest bit first (list handles down to add handle). Numbers of keys are
unsigned base64url without padding. A site's "hashOption" (a number) and "hashFilter" appear when
they are not the usual ones.

Read, as Handle.Net's library does: numbers and switches in quotes, kinds of keys in either case,
an administrator's permissions as digits, "*", true or false, or a list of switches beginning with
add handle; none if missing. A site's attributes may be an object, its fields may be missing, and
begin with capitals as in its oldest files, whose keys are hexadecimal.
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
    decode_hex,
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
from protocol.types.hs_admin import LEGACY_TRAILING, HsAdmin
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
from protocol.versions import BEST, Version

Item = TypeVar("Item")

_PERMISSION_DIGITS = 12
_PERMISSION_DIGITS_MAX = 16
_ALL_PERMISSIONS = (1 << _PERMISSION_DIGITS) - 1
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


def _key_data_to_json(data: bytes) -> dict[str, Any]:
    """Return a server's key, in base64 if it cannot be taken apart."""
    try:
        return {"format": "key", "value": key_to_json(data)}
    except ProtocolError:
        return {"format": "base64", "value": base64.b64encode(data).decode()}


def _key_data_from_json(item: Any, where: str) -> bytes:
    if isinstance(item, str):
        return decode_hex(expect_text(item, where), where)
    fields = expect_object(item, where)
    form, value = get_text(fields, "format", where).lower(), get_field(fields, "value", where)
    if form == "key":
        return key_from_json(value, f"{where}.value")
    if form == "base64":
        return decode_base64(expect_text(value, f"{where}.value"), f"{where}.value")
    if form == "hex":
        return decode_hex(expect_text(value, f"{where}.value"), f"{where}.value")
    raise InvalidValueError(f'{where}.format must be "key", "base64" or "hex", not {form[:40]!r}')


def _interface_to_json(interface: SiteInterface) -> dict[str, Any]:
    number = interface.protocol
    return {
        "query": interface.answers_queries,
        "admin": interface.answers_admin,
        "protocol": _TRANSPORT_NAMES[number] if number < len(_TRANSPORT_NAMES) else number,
        "port": interface.port,
    }


def _interface_from_json(item: Any, where: str) -> SiteInterface:
    fields = _small_first(expect_object(item, where))
    kind = KIND_QUERY if expect_bool(fields.get("query", False), f"{where}.query") else 0
    kind |= KIND_ADMIN if expect_bool(fields.get("admin", False), f"{where}.admin") else 0
    named = get_field(fields, "protocol", where)
    if isinstance(named, str) and named.upper() in _TRANSPORT_NAMES:
        protocol = _TRANSPORT_NAMES.index(named.upper())
    else:
        try:
            protocol = expect_number(named, f"{where}.protocol", 0, 255)
        except InvalidValueError:
            raise InvalidValueError(
                f"{where}.protocol must be one of {', '.join(_TRANSPORT_NAMES)}, not "
                f"{describe(named)}"
            ) from None
    return SiteInterface(kind, protocol, get_number(fields, "port", where, 0, _PORT_MAX))


def _server_to_json(server: SiteServer) -> dict[str, Any]:
    return {
        "serverId": server.id,
        "address": str(server.ip),
        "publicKey": _key_data_to_json(server.public_key),
        "interfaces": [_interface_to_json(interface) for interface in server.interfaces],
    }


def _server_from_json(item: Any, where: str) -> SiteServer:
    fields = _small_first(expect_object(item, where))
    text = get_text(fields, "address", where)
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise InvalidValueError(f"{where}.address is not an IP address: {text[:60]!r}") from None
    listed = fields.get("interfaces", fields.get("interfaceList", []))
    interfaces = expect_list(listed, f"{where}.interfaces")
    return SiteServer(
        get_number(fields, "serverId", where),
        address_octets(address),
        _key_data_from_json(get_field(fields, "publicKey", where), f"{where}.publicKey"),
        _read_each(interfaces, _interface_from_json, f"{where}.interfaces"),
    )


def _attributes_from_json(item: Any, where: str) -> tuple[tuple[bytes, bytes], ...]:
    """Read [{"name", "value"}], or an object of names with one value or several."""
    if not isinstance(item, dict):
        return _read_each(expect_list(item, where), _attribute_from_json, where)
    pairs = []
    for name, values in item.items():
        for value in values if isinstance(values, list) else [values]:
            text = expect_text(value, f"{where}.{name[:40]}")
            pairs.append((expect_text(name, where).encode(), text.encode()))
    return tuple(pairs)


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
    fields = _small_first(expect_object(item, where))
    if "serverList" in fields:
        fields.setdefault("servers", fields["serverList"])
    servers = expect_list(get_field(fields, "servers", where), f"{where}.servers")
    hash_option = fields.get("hashOption", HASH_BY_HANDLE)
    format_ = fields.get("version", SITE_FORMAT)
    return HsSite(
        protocol_version=_get_version(fields, where),
        serial=expect_number(fields.get("serialNumber", 0), f"{where}.serialNumber", 0, 0xFFFF),
        is_primary=expect_bool(fields.get("primarySite", False), f"{where}.primarySite"),
        servers=_read_each(servers, _server_from_json, f"{where}.servers"),
        attributes=_attributes_from_json(fields.get("attributes", []), f"{where}.attributes"),
        is_multi_primary=expect_bool(fields.get("multiPrimary", False), f"{where}.multiPrimary"),
        hash_option=expect_number(hash_option, f"{where}.hashOption", 0, HASH_BY_HANDLE),
        hash_filter=expect_text(fields.get("hashFilter", ""), f"{where}.hashFilter").encode(),
        format=expect_number(format_, f"{where}.version", -0x8000, 0x7FFF),
    )


def _small_first(fields: dict[str, Any]) -> dict[str, Any]:
    """Return a site's, a server's or an interface's fields as they are named today."""
    if not any(name in fields for name in ("ServerList", "Address", "Port")):
        return dict(fields)
    return {name[:1].lower() + name[1:]: value for name, value in fields.items()}


def _get_version(fields: dict[str, Any], where: str) -> Version:
    if "protocolVersion" not in fields:
        return BEST
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
