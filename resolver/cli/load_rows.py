"""Rows for `biaoshi load`, read fast: what is plain goes straight to wire octets.

Plain is a row whose values are text with the default permissions, a relative ttl, no references and
no type whose data have to make sense to a node. That is nearly every row of nearly every file, and
it takes a tenth of the time of `resolver.cli.rows`, which reads all others and words all refusals.
"""

import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache

import msgspec

from protocol.codes import Permission
from protocol.errors import ProtocolError
from protocol.handle import check_handle
from protocol.json_fields import I32_MAX
from protocol.json_forms import value_from_json
from protocol.value import TTL_DEFAULT_S, TTL_RELATIVE
from registry.checks import CHECKED_TYPES
from registry.offline import LoadRow
from registry.schema import VALUES_MAX
from resolver.cli.rows import BadRow, read_ndjson_rows

_BOM = b"\xef\xbb\xbf"
_NO_REFERENCES = bytes(4)
_CACHED_TEXTS = 1_024  # types and timestamps repeat from row to row
_HEAD = struct.Struct(">iiBiB")
_COUNT = struct.Struct(">i")


class _NotPlainError(Exception):
    """The row has to be read by `resolver.cli.rows`."""


class _Data(msgspec.Struct):
    format: str
    value: str


class _Value(msgspec.Struct, forbid_unknown_fields=True):
    index: int
    type: str
    data: _Data
    ttl: int = TTL_DEFAULT_S
    timestamp: str = ""


class _PlainRow(msgspec.Struct):
    handle: str
    values: list[_Value]


_decoder = msgspec.json.Decoder(_PlainRow)


def read_load_rows(lines: Iterable[bytes], now_s: int) -> Iterator[LoadRow | BadRow]:
    """Yield a row for every line that is not blank.

    Args:
        lines: octets of NDJSON.
        now_s: timestamp of values that state none.
    """
    number = 0
    for line in lines:
        if not line.strip():
            continue
        number += 1
        try:
            handle, octets = _read_plain(line, now_s)
        except (msgspec.DecodeError, UnicodeError, ProtocolError, _NotPlainError):
            yield _read_any(number, line)
        else:
            yield LoadRow(number, handle, octets)


def _read_plain(line: bytes, now_s: int) -> tuple[bytes, bytes]:
    form = _decoder.decode(line)
    handle = form.handle.encode()
    check_handle(handle)
    values = form.values
    if not 0 < len(values) <= VALUES_MAX or len({v.index for v in values}) < len(values):
        raise _NotPlainError
    parts = [_COUNT.pack(len(values))]
    for value in values:
        index, ttl, data = value.index, value.ttl, value.data
        if data.format != "string" or not (0 < index <= I32_MAX and 0 <= ttl <= I32_MAX):
            raise _NotPlainError
        timestamp = _timestamp(value.timestamp) or now_s
        octets = data.value.encode()
        parts += (
            _HEAD.pack(index, timestamp, TTL_RELATIVE, ttl, Permission.DEFAULT),
            _packed_type(value.type),
            _COUNT.pack(len(octets)),
            octets,
            _NO_REFERENCES,
        )
    return handle, b"".join(parts)


@lru_cache(_CACHED_TEXTS)
def _packed_type(text: str) -> bytes:
    type_ = text.encode()
    if type_ in CHECKED_TYPES:
        raise _NotPlainError
    return _COUNT.pack(len(type_)) + type_


@lru_cache(_CACHED_TEXTS)
def _timestamp(text: str) -> int:
    if not text:
        return 0
    form = {"index": 1, "type": "", "data": "", "timestamp": text}
    return value_from_json(form).timestamp


def _read_any(number: int, line: bytes) -> LoadRow | BadRow:
    text = line.removeprefix(_BOM).decode("utf-8", "surrogateescape")
    row = next(read_ndjson_rows([text]), None)
    if row is None:
        return BadRow(number, b"", "the line is blank but for a byte order mark")
    if isinstance(row, BadRow):
        return BadRow(number, row.handle, row.reason)
    return LoadRow(number, row.handle, row.values)
