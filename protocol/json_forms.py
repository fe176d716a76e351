"""JSON forms of handle values, as REST clients and Handle.Net's files have them.

    {"index": 1, "type": "URL", "data": {"format": "string", "value": "https://.."},
     "permissions": "1110", "ttl": 86400, "timestamp": "2026-11-21T08:00:00Z",
     "references": [{"handle": "88.118/x", "index": 1}]}

Written, "permissions" appears only when not 1110 (admin read, admin write, public read, public
write) and "references" only when there are some; a relative ttl is a number of seconds, an absolute
one a time; a timestamp of 0 is none. Data formats written: admin, vlist, site, key for the types
that have them, else string, or base64 for what looks binary. Read: these, hex, and a bare string,
number, true or false; "ttl", "timestamp", "references" and "permissions" may be missing. Numbers
may stand in quotes, formats in either case, permissions be "*" for all: as Handle.Net takes them.

No JSON library is involved: dict, list, str, int and bool go in and come out.
"""

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from protocol.codes import Permission
from protocol.errors import InvalidValueError, ProtocolError
from protocol.handle import fold_case, to_text
from protocol.json_fields import (
    I32_MAX,
    I32_MIN,
    decode_base64,
    decode_hex,
    describe,
    expect_list,
    expect_number,
    expect_object,
    expect_text,
    get_field,
    get_text,
)
from protocol.json_sites import site_from_json, site_to_json
from protocol.json_types import (
    admin_from_json,
    admin_to_json,
    key_from_json,
    key_to_json,
    reference_from_json,
    reference_to_json,
    vlist_from_json,
    vlist_to_json,
)
from protocol.types import DECODERS, TypedValue, decode_typed
from protocol.types.hs_admin import HsAdmin
from protocol.types.hs_pubkey import HsPubkey
from protocol.types.hs_site import HsSite
from protocol.types.hs_vlist import HsVlist
from protocol.value import TTL_ABSOLUTE, TTL_DEFAULT_S, TTL_RELATIVE, HandleValue

__all__ = [
    "admin_from_json",
    "admin_to_json",
    "form_type",
    "key_from_json",
    "key_to_json",
    "opaque_to_json",
    "site_from_json",
    "site_to_json",
    "time_to_json",
    "value_from_json",
    "value_to_json",
    "values_from_json",
    "vlist_from_json",
    "vlist_to_json",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PERMISSION_DIGITS = 4
_ALL_PERMISSIONS = (1 << _PERMISSION_DIGITS) - 1
# Handle.Net's rule for what looks binary: control octets other than 0x09 to 0x13, and 0x7f.
_BINARY_OCTETS = bytes([*range(0x09), *range(0x14, 0x20), 0x7F])


def value_to_json(value: HandleValue) -> dict[str, Any]:
    """Return the form of one value."""
    form: dict[str, Any] = {
        "index": value.index,
        "type": to_text(value.type),
        "data": _data_to_json(value),
    }
    if value.permission != Permission.DEFAULT:
        form["permissions"] = f"{value.permission:0{_PERMISSION_DIGITS}b}"
    absolute = value.ttl_type == TTL_ABSOLUTE
    form["ttl"] = time_to_json(value.ttl) if absolute else value.ttl
    if value.timestamp:
        form["timestamp"] = time_to_json(value.timestamp)
    if value.references:
        form["references"] = [reference_to_json(reference) for reference in value.references]
    return form


def value_from_json(item: Any, *, index: int | None = None, where: str = "value") -> HandleValue:
    """Read the form of one value.

    Args:
        item: the object.
        index: the index of a value that states none.
        where: its path, for error messages.

    Raises:
        InvalidValueError: a field that is missing or wrong; the message says where.
    """
    fields = expect_object(item, where)
    if index is None or "index" in fields:
        index = expect_number(get_field(fields, "index", where), f"{where}.index", 1)
    ttl, ttl_type = _ttl_from_json(fields.get("ttl", TTL_DEFAULT_S), f"{where}.ttl")
    listed = fields.get("references")
    references = expect_list([] if listed is None else listed, f"{where}.references")
    return HandleValue(
        index=index,
        type=get_text(fields, "type", where).encode(),
        data=_data_from_json(get_field(fields, "data", where), f"{where}.data"),
        permission=_permission_from_json(fields.get("permissions"), f"{where}.permissions"),
        ttl=ttl,
        ttl_type=ttl_type,
        timestamp=_timestamp_from_json(fields.get("timestamp"), f"{where}.timestamp"),
        references=tuple(
            reference_from_json(reference, f"{where}.references[{position}]")
            for position, reference in enumerate(references)
        ),
    )


def values_from_json(item: Any) -> tuple[HandleValue, ...]:
    """Read a request's body: an array of values, {"values": [..]}, or one value.

    Raises:
        InvalidValueError: a field that is missing or wrong; the message says which value's.
    """
    if isinstance(item, dict) and "values" not in item:
        return (value_from_json(item),)
    if isinstance(item, dict):
        item = item["values"]
    return tuple(
        value_from_json(value, where=f"values[{position}]")
        for position, value in enumerate(expect_list(item, "values"))
    )


def _typed_to_json(typed: TypedValue) -> tuple[str, Any] | None:
    """Return (format, form) of data that have one."""
    match typed:
        case HsAdmin():
            return "admin", admin_to_json(typed)
        case HsVlist():
            return "vlist", vlist_to_json(typed)
        case HsSite():
            return "site", site_to_json(typed)
        case HsPubkey():
            return "key", key_to_json(typed.encode())
        case _:
            return None


def form_type(type_: bytes) -> bytes:
    """Return the type whose form data of `type_` have: that of a subtype or of other case too."""
    if type_[:3].upper() != b"HS_":
        return type_
    folded = fold_case(type_)
    for base in (folded, folded.partition(b".")[0]):
        if base in DECODERS:
            return base
    return type_


def _data_to_json(value: HandleValue) -> dict[str, Any]:
    """Return {"format", "value"}; data that are not of their type's form appear as they are."""
    try:
        typed = _typed_to_json(decode_typed(form_type(value.type), value.data))
    except ProtocolError:
        typed = None
    if typed is not None:
        return {"format": typed[0], "value": typed[1]}
    return opaque_to_json(value.data)


def opaque_to_json(data: bytes) -> dict[str, Any]:
    """Return {"format", "value"} of data without a form of their own: string, else base64."""
    if len(data.translate(None, _BINARY_OCTETS)) == len(data):
        try:
            return {"format": "string", "value": data.decode()}
        except UnicodeDecodeError:
            pass
    return {"format": "base64", "value": base64.b64encode(data).decode()}


_DATA_READERS: dict[str, Callable[[Any, str], bytes]] = {
    "string": lambda item, where: _text_of(item, where),
    "base64": lambda item, where: decode_base64(expect_text(item, where), where),
    "hex": lambda item, where: decode_hex(expect_text(item, where), where),
    "admin": lambda item, where: admin_from_json(item, where).encode(),
    "vlist": lambda item, where: vlist_from_json(item, where).encode(),
    "site": lambda item, where: site_from_json(item, where).encode(),
    "key": key_from_json,
}


def _data_from_json(item: Any, where: str) -> bytes:
    if isinstance(item, str | int):
        return _text_of(item, where)
    fields = expect_object(item, where)
    form = get_text(fields, "format", where).lower()
    if form not in _DATA_READERS:
        known = ", ".join(_DATA_READERS)
        raise InvalidValueError(f"{where}.format must be one of {known}, not {form[:40]!r}")
    return _DATA_READERS[form](get_field(fields, "value", where), f"{where}.value")


def _text_of(item: Any, where: str) -> bytes:
    """Return what a string, a whole number, true or false is as text."""
    if isinstance(item, bool):
        return b"true" if item else b"false"
    if isinstance(item, int) and item.bit_length() <= 64:
        return str(item).encode()
    return expect_text(item, where).encode()


def _permission_from_json(item: Any, where: str) -> int:
    if item is None:
        return Permission.DEFAULT
    if item == "*":
        return _ALL_PERMISSIONS
    digits = expect_text(item, where)
    if set(digits) - {"0", "1"} or len(digits) != _PERMISSION_DIGITS:
        raise InvalidValueError(
            f'{where} must be four digits 0 or 1 like "1110", not {digits[:40]!r}'
        )
    return int(digits, 2)


def time_to_json(seconds: int) -> str:
    """Return seconds since 1970 as a time in UTC."""
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"


def _time_from_json(text: str, where: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidValueError(
            f'{where} must be a time like "2026-11-21T08:00:00Z", not {text[:40]!r}'
        ) from None
    if moment.tzinfo is None:
        raise InvalidValueError(f"{where} lacks its time zone: {text[:40]!r}, write Z for UTC")
    seconds = (moment - _EPOCH) // timedelta(seconds=1)
    if not I32_MIN <= seconds <= I32_MAX:
        raise InvalidValueError(f"{where} is {text}, allowed are the years 1901 to 2038")
    return seconds


def _timestamp_from_json(item: Any, where: str) -> int:
    if item is None:
        return 0
    return _time_from_json(expect_text(item, where), where)


def _ttl_from_json(item: Any, where: str) -> tuple[int, int]:
    """Return (ttl, ttl type)."""
    if isinstance(item, str):
        return _time_from_json(expect_text(item, where), where), TTL_ABSOLUTE
    if isinstance(item, dict | list):
        raise InvalidValueError(f"{where} must be seconds or a time, not {describe(item)}")
    return expect_number(item, where, 0), TTL_RELATIVE
