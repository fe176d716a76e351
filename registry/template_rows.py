"""Rows made from a template: what an identifier has of its own, and a lot that has the rest.

Identifiers come in lots: one template, one moment, most attributes alike. What the first of them
has is kept once, as a lot, and each row says in what it differs from it:

    row   u8 head: format in the upper four bits (3), the lower zero
          msgpack [number of the lot, field, its content, field, its content, ...]
    lot   msgpack [format 1, number of the template's version, contents of all fields]

    field 0       when it was made, seconds since 1970
    field 1       other values: [[index, type, data, permission, ttl, ttl type,
                  [[handle, index], ...]], ...]
    field 2 + n   attribute n of the template, as `registry.attribute_types` keeps it; nil: none

Serials repeat in the text of attributes and in the data of other values. So wherever such octets
hold the identifier's **tail** (the digits its key ends in, or what follows its last separator),
they are kept as a list of the pieces around it. A serial and the address of its page then are the
same for a whole lot, and a row is its key and some five octets.

A lot never changes, nor does a template; `registry.template_expansion` gives the ordinary record
that a row stands for. A handle too long for a key gets an ordinary record in the first place.
"""

import re
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgpack

from protocol.value import HandleValue
from registry.errors import RecordError
from registry.templates import Template

ROW_FORMAT = 3
HEAD_OCTET = ROW_FORMAT << 4
ROW_HEAD = bytes([HEAD_OCTET])
LOT_FORMAT = 1
TIME, OTHERS, FIRST_ATTRIBUTE = 0, 1, 2  # fields
TAIL_OCTETS_MIN = 3  # what is shorter stands in too many texts by chance
TAIL_OCTETS_MAX = 64

_LOTS = b"\x81"
LOTS_END = b"\x82"  # the first key behind those of lots
_CACHED_LOTS = 256  # see `registry.template_expansion.CACHED_OCTETS_MAX`

_DIGITS = re.compile(rb"[0-9]+\Z")
_LAST_PART = re.compile(rb"[^./:_-]+\Z")
_U64 = struct.Struct(">Q")
DAMAGE = (
    ValueError,
    TypeError,
    IndexError,
    AttributeError,
    OverflowError,
    struct.error,
    msgpack.UnpackException,
)

Fields = list[Any]


class Lot(NamedTuple):
    """What is kept once: the number of a template's version, what its first identifier has."""

    number: int
    fields: Fields


def is_template_row(row: bytes) -> bool:
    """Say whether a row was made from a template."""
    return row[:1] == ROW_HEAD


def lot_key(number: int) -> bytes:
    """Return the key of a lot."""
    return _LOTS + _U64.pack(number)


def lot_number(key: bytes) -> int:
    """Return the number in a lot's key."""
    return int(_U64.unpack_from(key, 1)[0])


def tail_of(key: bytes) -> bytes:
    """Return what serials and texts of the identifier with this key may share; empty: nothing."""
    for pattern in (_DIGITS, _LAST_PART):
        found = pattern.search(key)
        if found and TAIL_OCTETS_MIN <= found.end() - found.start() <= TAIL_OCTETS_MAX:
            return found[0]
    return b""


def fields_of(
    template: Template,
    kept: Sequence[Any],
    others: Sequence[HandleValue],
    time_s: int,
    tail: bytes,
) -> Fields:
    """Return what is kept of an identifier.

    Args:
        template: what it is made from.
        kept: of every attribute, None where it has none.
        others: its other values; their timestamps are not looked at.
        time_s: when it was made.
        tail: of its key.
    """
    fields: Fields = [time_s, [_keep_other(value, tail) for value in others]]
    if not tail:
        return fields + list(kept)
    text = tail.decode()
    for attribute, each in zip(template.attributes, kept, strict=True):
        if attribute.is_text and each is not None and text in each:
            each = each.split(text)
        fields.append(each)
    return fields


def _keep_other(value: HandleValue, tail: bytes) -> list[Any]:
    data: bytes | list[bytes] = value.data
    if tail and tail in value.data:
        data = value.data.split(tail)
    references = [list(each) for each in value.references]
    return [
        value.index, value.type, data, value.permission, value.ttl, value.ttl_type, references
    ]  # fmt: skip


def encode_lot(number: int, fields: Fields) -> bytes:
    """Return the lot of a template's version that begins with these fields."""
    octets: bytes = msgpack.packb([LOT_FORMAT, number, fields])
    return octets


@lru_cache(_CACHED_LOTS)
def decode_lot(octets: bytes) -> Lot:
    """Take a lot apart; its fields are shared, so do not change them. Raises: RecordError."""
    return read_lot(octets)


def read_lot(octets: bytes) -> Lot:
    """Take a lot apart that is too large to be remembered. Raises: RecordError."""
    try:
        format_, number, fields = msgpack.unpackb(octets)
        if format_ != LOT_FORMAT or not isinstance(fields, list):
            raise ValueError(f"format {format_}")
    except DAMAGE as error:
        raise RecordError(f"a lot does not decode: {error}") from error
    return Lot(number, fields)


def encode_row(lot: int, differences: Sequence[Any]) -> bytes:
    """Return the row of an identifier that differs so from its lot: field, content, ..."""
    octets: bytes = msgpack.packb([lot, *differences])
    return ROW_HEAD + octets
