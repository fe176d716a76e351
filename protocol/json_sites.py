"""The JSON form of a site.

    {"version": 1, "protocolVersion": "2.10", "serialNumber": 1, "primarySite": true,
     "multiPrimary": false, "attributes": [{"name", "value"}],
     "servers": [{"serverId", "address", "publicKey": {"format": "key", "value": key},
                  "interfaces": [{"query", "admin", "protocol": "TCP", "port": 2641}]}]}

"hashOption" (a number) and "hashFilter" appear when they are not the usual ones.

Read, as Handle.Net's library does: attributes may be an object, fields may be missing, numbers and
switches stand in quotes; names begin with capitals in its oldest files, whose keys are hexadecimal.
"""

import base64
import ipaddress
from collections.abc import Callable
from typing import Any, TypeVar

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
from protocol.json_types import key_from_json, key_to_json
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
from protocol.versions import BEST, Version

Item = TypeVar("Item")

_TRANSPORT_NAMES = ("UDP", "TCP", "HTTP", "HTTPS")
_PORT_MAX = 65_535


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
