"""JSON forms of values straight from a record's wire octets, for the hot route of HTTP.

The same forms as `protocol.json_forms.value_to_json` makes, but without an object for each value:

    i32 count, then   i32 i32 u8 i32 u8   str type   str data   i32 references
                      one unpack          a slice    a slice    0, else json_forms

Data of types that have a form (administrators, keys, sites) are the same in many records, so what
they look like is remembered. Octets that are not exactly a list of public values are left to the
readable path, which says what is wrong with them.
"""

import struct
from functools import lru_cache
from typing import Any

import msgspec

from protocol.codes import Permission
from protocol.errors import DecodeError
from protocol.handle import to_text
from protocol.json_forms import form_type, opaque_to_json, time_to_json, value_to_json
from protocol.types import DECODERS
from protocol.value import TTL_ABSOLUTE, HandleValue, read_value
from protocol.wire import Reader

# What is remembered: at most some 10 MB, and in practice the few administrators of a prefix.
TYPED_FORMS_MAX = 1_024
TYPED_OCTETS_MAX = 2_048
_DAYS_MAX = 1_024

_I32 = struct.Struct(">i")
_HEAD = struct.Struct(">iiBiBi")  # the fields before the type, and the length of the type
_DAY_S = 86_400
_DAY_LETTERS = len("2026-11-21T")
_CLOCK = [time_to_json(minute * 60)[_DAY_LETTERS:-3] for minute in range(_DAY_S // 60)]
_SECONDS = [f"{second:02d}Z" for second in range(60)]


def values_to_json(octets: bytes) -> list[dict[str, Any]] | None:
    """Return the forms of a list of public values; None when it is empty, damaged or not public."""
    try:
        return _values_to_json(octets)
    except (struct.error, DecodeError):
        return None


def _values_to_json(octets: bytes) -> list[dict[str, Any]] | None:
    (count,) = _I32.unpack_from(octets)
    at = _I32.size
    forms: list[dict[str, Any]] = []
    for _ in range(count):
        form, at = _value_to_json(octets, at)
        if form is None:
            return None
        forms.append(form)
    return forms if forms and at == len(octets) else None


def _value_to_json(octets: bytes, at: int) -> tuple[dict[str, Any] | None, int]:
    """Return the form of the value at an offset and where the next one begins."""
    index, timestamp, ttl_type, ttl, permission, length = _HEAD.unpack_from(octets, at)
    if not permission & Permission.PUBLIC_READ or length < 0:
        return None, at
    type_at = at + _HEAD.size
    type_end = type_at + length
    (length,) = _I32.unpack_from(octets, type_end)
    if length < 0:
        return None, at
    data_at = type_end + _I32.size
    data_end = data_at + length
    (references,) = _I32.unpack_from(octets, data_end)
    if references:
        reader = Reader(octets, at)
        return value_to_json(read_value(reader)), reader.position
    type_ = octets[type_at:type_end]
    form: dict[str, Any] = {
        "index": index,
        "type": to_text(type_),
        "data": _data_to_json(type_, octets[data_at:data_end]),
    }
    if permission != Permission.DEFAULT:
        form["permissions"] = f"{permission:04b}"
    form["ttl"] = _time(ttl) if ttl_type == TTL_ABSOLUTE else ttl
    if timestamp:
        form["timestamp"] = _time(timestamp)
    return form, data_end + _I32.size


def _data_to_json(type_: bytes, data: bytes) -> Any:
    if form_type(type_) not in DECODERS:
        return opaque_to_json(data)
    if len(data) > TYPED_OCTETS_MAX:
        return _typed_to_json(type_, data)
    return _remembered(type_, data)


def _typed_to_json(type_: bytes, data: bytes) -> Any:
    return value_to_json(HandleValue(1, type_, data))["data"]


@lru_cache(TYPED_FORMS_MAX)
def _remembered(type_: bytes, data: bytes) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(_typed_to_json(type_, data)))


@lru_cache(_DAYS_MAX)
def _day(days: int) -> str:
    return time_to_json(days * _DAY_S)[:_DAY_LETTERS]


def _time(seconds: int) -> str:
    days, rest = divmod(seconds, _DAY_S)
    minutes, rest = divmod(rest, 60)
    return _day(days) + _CLOCK[minutes] + _SECONDS[rest]
