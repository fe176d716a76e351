"""The fast way: what is plain goes straight from NDJSON or msgpack to wire octets.

Plain is a row whose values are text with the default permissions, a relative ttl, no references and
no type whose data have to make sense to a node. That is nearly every row of nearly every file, and
it takes a tenth of the time of the ways that read all others and word all refusals. Rows of a
stream get the node's time, whatever timestamps they state, as single registrations do; those of a
file that is loaded keep theirs.
"""

import struct
from functools import lru_cache

import msgspec
from msgspec import UNSET

from protocol.codes import Permission
from protocol.errors import ProtocolError
from protocol.json_fields import I32_MAX
from protocol.json_forms import value_from_json
from protocol.value import TTL_DEFAULT_S, TTL_RELATIVE
from protocol.wire import HANDLE_OCTETS_MAX
from registry.checks import CHECKED_TYPES
from registry.schema import VALUES_MAX

_NO_REFERENCES = bytes(4)
_CACHED_TEXTS = 1_024  # types and timestamps repeat from row to row
_CACHED_HEADS = 4_096  # and so does, mostly, all that stands before the data of a value
_pack_head = struct.Struct(">iiBiB").pack
_pack_count = struct.Struct(">i").pack
_SLASH = ord("/")
_ROW_STRINGS = 3  # "handle", its text, "values"
_VALUE_STRINGS = 11  # eight of a value's own, "ttl", "timestamp" and its text
_FORM_STRINGS = 3  # "format", "string", "value": not there where the data are the text itself


class NotPlainError(Exception):
    """The row has to be read in full."""


# What the functions here raise for a row that is not plain, be it good or bad.
PLAIN_ERRORS = (msgspec.DecodeError, UnicodeError, ProtocolError, NotPlainError, RecursionError)


class _Data(msgspec.Struct, gc=False):
    format: str
    value: str


class _Value(msgspec.Struct, forbid_unknown_fields=True, gc=False, omit_defaults=True):
    index: int
    type: str
    data: _Data | str
    ttl: int | msgspec.UnsetType = UNSET
    timestamp: str = ""


class PlainForm(msgspec.Struct, gc=False, omit_defaults=True):
    """A row as its JSON or msgpack has it."""

    handle: str
    values: list[_Value]
    operation: str | msgspec.UnsetType = UNSET


_json_decoder = msgspec.json.Decoder(PlainForm)
_msgpack_decoder = msgspec.msgpack.Decoder(PlainForm)
_msgpack_encoder = msgspec.msgpack.Encoder()


def read_plain(line: bytes, now_s: int) -> tuple[bytes, bytes]:
    """Return (handle, wire octets of the value list) of a line of NDJSON.

    A member given twice counts once, the last time; "operation" is not looked at.

    Raises:
        PLAIN_ERRORS: the row is not plain.
    """
    return pack_plain(_json_decoder.decode(line), now_s, keeps_times=True)[:2]


def read_plain_json(line: bytes, now_s: int) -> tuple[bytes, bytes]:
    """Return (handle, wire octets of the value list) of a line that creates a handle.

    Raises:
        PLAIN_ERRORS: the row is not plain, or has a member twice.
    """
    form = _json_decoder.decode(line)
    handle, octets, strings = pack_plain(form, now_s, keeps_times=False)
    if form.operation is not UNSET:
        if form.operation != "create":
            raise NotPlainError
        strings += 2
    # A member given twice, or unknown here, is a string more than the form has.
    quotes = line.count(b'"')
    if quotes != 2 * strings and (b"\\\\" in line or quotes - line.count(b'\\"') != 2 * strings):
        raise NotPlainError
    return handle, octets


def read_plain_msgpack(row: bytes, now_s: int) -> tuple[bytes, bytes]:
    """Return (handle, wire octets of the value list) of an object that creates a handle.

    Raises:
        PLAIN_ERRORS: the row is not plain, has a member twice, or is not written the short way.
    """
    form = _msgpack_decoder.decode(row)
    if form.operation is not UNSET and form.operation != "create":
        raise NotPlainError
    # A member given twice, or unknown here, takes octets that the form does not.
    if len(_msgpack_encoder.encode(form)) != len(row):
        raise NotPlainError
    return pack_plain(form, now_s, keeps_times=False)[:2]


def pack_plain(form: PlainForm, now_s: int, *, keeps_times: bool) -> tuple[bytes, bytes, int]:
    """Return the handle, the wire octets of the value list, and the number of strings.

    Args:
        form: as decoded.
        now_s: timestamp of values that state none.
        keeps_times: those stated are kept; else they are only looked at.

    Raises:
        PLAIN_ERRORS: the row is not plain.
    """
    handle, values = form.handle.encode(), form.values
    if not 0 < len(handle) <= HANDLE_OCTETS_MAX or handle[0] == _SLASH:
        raise NotPlainError
    count = len(values)
    if not 0 < count <= VALUES_MAX:
        raise NotPlainError
    strings = _ROW_STRINGS + _VALUE_STRINGS * count
    parts = [_pack_count(count)]
    last, is_rising = 0, True
    for value in values:
        index, ttl, stated, data = value.index, value.ttl, value.timestamp, value.data
        if ttl is UNSET:
            strings -= 1
        if not stated:
            strings -= 2
        if isinstance(data, str):
            strings -= _FORM_STRINGS
            text = data
        elif data.format == "string":
            text = data.value
        else:
            raise NotPlainError
        if index <= last:
            is_rising = False
        last = index
        octets = text.encode()
        head = _packed_head(index, stated, now_s, ttl, value.type, keeps_times)
        parts += (head, _pack_count(len(octets)), octets, _NO_REFERENCES)
    if not is_rising and len({value.index for value in values}) < count:
        raise NotPlainError
    return handle, b"".join(parts), strings


def pack_text(index: int, packed_type_: bytes, data: bytes, now_s: int) -> bytes:
    """Return the wire octets of a plain value whose type is packed already."""
    head = _pack_head(index, now_s, TTL_RELATIVE, TTL_DEFAULT_S, Permission.DEFAULT)
    return head + packed_type_ + _pack_count(len(data)) + data + _NO_REFERENCES


def pack_list(values: list[bytes]) -> bytes:
    """Return the wire octets of a list of values."""
    return _pack_count(len(values)) + b"".join(values)


@lru_cache(_CACHED_HEADS)
def _packed_head(
    index: int,
    stated: str,
    now_s: int,
    ttl: int | msgspec.UnsetType,
    type_: str,
    keeps_times: bool,
) -> bytes:
    """Return the wire octets of a value up to its data. Raises: PLAIN_ERRORS."""
    timestamp = _timestamp(stated) if stated else 0
    if not (timestamp and keeps_times):
        timestamp = now_s
    seconds = TTL_DEFAULT_S if ttl is UNSET else ttl
    if not (0 < index <= I32_MAX and 0 <= seconds <= I32_MAX):
        raise NotPlainError
    head = _pack_head(index, timestamp, TTL_RELATIVE, seconds, Permission.DEFAULT)
    return head + packed_type(type_)


@lru_cache(_CACHED_TEXTS)
def packed_type(text: str) -> bytes:
    """Return the wire octets of a type. Raises: NotPlainError."""
    type_ = text.encode()
    if type_ in CHECKED_TYPES:
        raise NotPlainError
    return _pack_count(len(type_)) + type_


@lru_cache(_CACHED_TEXTS)
def _timestamp(text: str) -> int:
    form = {"index": 1, "type": "", "data": "", "timestamp": text}
    return value_from_json(form).timestamp
