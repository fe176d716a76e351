"""The ordinary record that a row made from a template stands for.

A lot is prepared once: the octets of every value, with the places where the identifier's tail goes
in. A row that differs in nothing then is those octets joined by its tail; of another one, only the
values it differs in are made.
"""

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgpack

from protocol.codes import Permission
from protocol.value import TTL_DEFAULT_S, TTL_RELATIVE, HandleValue, Reference, read_values
from protocol.wire import Reader
from registry.attribute_types import Attribute, read
from registry.errors import RecordError
from registry.schema import encode_record, record_of_public
from registry.template_rows import (
    DAMAGE,
    FIRST_ATTRIBUTE,
    HEAD_OCTET,
    OTHERS,
    TIME,
    Fields,
    decode_lot,
    lot_key,
    read_lot,
    tail_of,
)
from registry.templates import (
    FIRST_INDEX,
    TEMPLATE_INDEX,
    TEMPLATE_TYPE,
    VERSION_INDEX,
    VERSION_TYPE,
    Template,
    decode_template,
    number_key,
)

_CACHED_LOTS = 256
# Of a lot and its template together; what is larger is prepared every time, so that all that is
# kept stays within some 30 MB. Most are well below 2 KB.
CACHED_OCTETS_MAX = 16_384
_CACHED_LENGTHS = 4  # of tails, of one lot

_HEAD = struct.Struct(">iiBiB")
_NO_REFERENCES = bytes(4)
_pack_i32 = struct.Struct(">i").pack

Get = Callable[[bytes], bytes | None]
# Puts ordinary records in place of rows made from templates: `expand_rows`, of the same arguments.
ExpandRows = Callable[[Get, list[bytes], list[Any]], None]


class Chunk(NamedTuple):
    """One value: what stands before its data, the pieces of these around tails, its references."""

    head: bytes
    pieces: list[bytes]
    end: bytes
    whole: bytes | None  # all of it, where no tail stands in it


class Compiled(NamedTuple):
    """A lot and its template, prepared."""

    template: Template
    fields: Fields
    chunks: list[Chunk | None]  # other values, two that name the template, one per attribute
    heads: list[bytes]  # of the values of attributes, up to the length of their data
    is_public: bool
    # by the length of a tail: the octets around tails of the record of a row that differs in none
    segments: dict[int, list[bytes]]


def expand(get: Get, key: bytes, row: bytes) -> bytes:
    """Return the ordinary record that a row made from a template stands for.

    Args:
        get: finds entries of the database `templates`.
        key: the row's.
        row: `is_template_row`.

    Raises:
        RecordError: the row, its lot or its template is damaged or not there.
    """
    try:
        lot, *differences = msgpack.unpackb(memoryview(row)[1:])
        return _expand(_find_lot(get, lot), differences, tail_of(key))
    except DAMAGE as error:
        raise RecordError(f"a row made from a template does not decode: {error}") from error


def expand_rows(get: Get, keys: Sequence[bytes], rows: list[Any]) -> None:
    """Put ordinary records in place of rows made from templates; damaged ones stay as they are."""
    lots: dict[Any, Compiled] = {}
    for at, row in enumerate(rows):
        if not row or row[0] != HEAD_OCTET:
            continue
        try:
            lot, *differences = msgpack.unpackb(memoryview(row)[1:])
            compiled = lots.get(lot)
            if compiled is None:
                compiled = lots[lot] = _find_lot(get, lot)
            rows[at] = _expand(compiled, differences, tail_of(keys[at]))
        except (RecordError, *DAMAGE):
            continue  # the fast path declines it; the readable path meets it again, and says so


def _expand(compiled: Compiled, differences: list[Any], tail: bytes) -> bytes:
    """Return the record of a row. Raises: one of DAMAGE."""
    if not differences:
        return _expand_same(compiled, tail)
    changes = dict(zip(differences[::2], differences[1::2], strict=True))
    if TIME in changes or OTHERS in changes:
        fields = [changes.get(at, content) for at, content in enumerate(compiled.fields)]
        return _expand_same(prepare(compiled.template, fields), tail)
    return _expand_other(compiled, changes, tail)


def _find_lot(get: Get, number: int) -> Compiled:
    lot_octets = get(lot_key(number))
    if lot_octets is None:
        raise RecordError(f"there is no lot of number {number}")
    lot = decode_lot if len(lot_octets) <= CACHED_OCTETS_MAX else read_lot
    template_octets = get(number_key(lot(lot_octets).number))
    if template_octets is None:
        raise RecordError(f"lot {number} is of a template that is not there")
    if len(template_octets) + len(lot_octets) > CACHED_OCTETS_MAX:
        return prepare(decode_template(template_octets).template, read_lot(lot_octets).fields)
    return _compile(template_octets, lot_octets)


@lru_cache(_CACHED_LOTS)
def _compile(template_octets: bytes, lot_octets: bytes) -> Compiled:
    """Prepare a lot; both entries themselves are what it is known by, so none is ever stale."""
    return prepare(decode_template(template_octets).template, decode_lot(lot_octets).fields)


def prepare(template: Template, fields: Fields) -> Compiled:
    """Prepare the values of a lot with these fields. Raises: one of DAMAGE."""
    if len(fields) != FIRST_ATTRIBUTE + len(template.attributes):
        raise ValueError(f"{len(fields)} fields")
    time_s = fields[TIME]
    chunks: list[Chunk | None] = [_other_chunk(time_s, *each) for each in fields[OTHERS]]
    for index, type_, data in (
        (TEMPLATE_INDEX, TEMPLATE_TYPE, template.name.encode()),
        (VERSION_INDEX, VERSION_TYPE, b"%d" % template.version),
    ):
        chunks.append(_close(_value_head(time_s, index, type_), [data], _NO_REFERENCES))
    heads = [
        _value_head(time_s, FIRST_INDEX + number, attribute.name.encode())
        for number, attribute in enumerate(template.attributes)
    ]
    for attribute, head, content in zip(
        template.attributes, heads, fields[FIRST_ATTRIBUTE:], strict=True
    ):
        given = (
            None if content is None else _close(head, _pieces(attribute, content), _NO_REFERENCES)
        )
        chunks.append(given)
    is_public = all(each[3] & Permission.PUBLIC_READ for each in fields[OTHERS])
    return Compiled(template, fields, chunks, heads, is_public, {})


def _expand_same(compiled: Compiled, tail: bytes) -> bytes:
    segments = compiled.segments.get(len(tail))
    if segments is None:
        segments = _segments(compiled, len(tail))
        if len(compiled.segments) >= _CACHED_LENGTHS:
            compiled.segments.clear()
        compiled.segments[len(tail)] = segments
    return _record(compiled, tail.join(segments))


def _expand_other(compiled: Compiled, changes: dict[Any, Any], tail: bytes) -> bytes:
    attributes = compiled.template.attributes
    parts: list[bytes | None] = [
        _filled(each, tail) if each is not None and each.whole is None else each and each.whole
        for each in compiled.chunks
    ]
    first = len(parts) - len(attributes)
    for field, content in changes.items():
        number = field - FIRST_ATTRIBUTE
        if number < 0:
            raise ValueError(f"field {field}")
        part = None
        if content is not None:
            data = tail.join(_pieces(attributes[number], content))
            part = compiled.heads[number] + _pack_i32(len(data)) + data + _NO_REFERENCES
        parts[first + number] = part
    given = [each for each in parts if each is not None]
    return _record(compiled, _pack_i32(len(given)) + b"".join(given))


def _record(compiled: Compiled, octets: bytes) -> bytes:
    """Return the record of a list of values."""
    if compiled.is_public:
        return record_of_public(octets, b"")
    return encode_record(read_values(Reader(octets)), b"")


def _segments(compiled: Compiled, octets: int) -> list[bytes]:
    """Return what stands between tails of so many octets in the value list."""
    chunks = [each for each in compiled.chunks if each is not None]
    segments: list[bytes] = []
    open_ = _pack_i32(len(chunks))
    for head, pieces, end, _ in chunks:
        length = sum(map(len, pieces)) + octets * (len(pieces) - 1)
        open_ += head + _pack_i32(length) + pieces[0]
        for piece in pieces[1:]:
            segments.append(open_)
            open_ = piece
        open_ += end
    return [*segments, open_]


def _filled(chunk: Chunk, tail: bytes) -> bytes:
    data = tail.join(chunk.pieces)
    return chunk.head + _pack_i32(len(data)) + data + chunk.end


def _other_chunk(
    time_s: int,
    index: int,
    type_: bytes,
    data: bytes | list[bytes],
    permission: int,
    ttl: int,
    ttl_type: int,
    references: list[list[Any]],
) -> Chunk:
    pieces = data if isinstance(data, list) else [data]
    value = HandleValue(
        index, type_, b"", permission, ttl, ttl_type, time_s,
        tuple(Reference(*each) for each in references),
    )  # fmt: skip
    octets = value.encode()
    at = _HEAD.size + 4 + len(type_)  # where the length of the data stands
    return _close(octets[:at], pieces, octets[at + 4 :])


def _pieces(attribute: Attribute, content: Any) -> list[bytes]:
    """Return the data of an attribute's value, in pieces around tails."""
    if attribute.is_text and isinstance(content, list):
        return [each.encode() for each in content]
    return [read(attribute, content).encode()]


def _value_head(time_s: int, index: int, type_: bytes) -> bytes:
    head = _HEAD.pack(index, time_s, TTL_RELATIVE, TTL_DEFAULT_S, Permission.DEFAULT)
    return head + _pack_i32(len(type_)) + type_


def _close(head: bytes, pieces: list[bytes], end: bytes) -> Chunk:
    whole = head + _pack_i32(len(pieces[0])) + pieces[0] + end if len(pieces) == 1 else None
    return Chunk(head, pieces, end, whole)
