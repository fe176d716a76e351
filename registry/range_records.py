"""A range: one record for a run of serials, its identifiers answered as if each had a row.

    88.118.5/870101.M1.20261121.  000001 .. 100000
    stem                          tails, all of one length, in the order of their octets

An identifier's **tail** is all the digits it ends in, with the character after them when that is
no digit (a check character). So every identifier has one stem and one tail, however its owner cut
the digits: of the stem `a/2026` with serials 001 to 250 what is stored is the stem `a/` with tails
2026001 to 2026250. Finding a range is one seek: keys end in the last tail, so the first key at or
after an identifier's own is that of the only range that can hold it.

    key        stem folded, 0x00, u8 octets of a tail, last tail folded
    record     u8   head: format in the upper four bits (1), flags in the lower
                    0x1 READABLE_PATH: more is to be looked at than the fast path does
                    0x2 CHECKED: tails end in check characters, perhaps letters (then also 0x1)
               u8   octets of a tail, then the first tail
               u16  octets of the rest of the head; what the readable path needs (msgpack map)
               u16  count of patches, each: u32 offset in the value list, u8 start, u8 length
               rest i32 count, then that many values: the public value list of every identifier

A **patch** copies `length` octets of the identifier's tail, from `start`, to the offset in the
value list: that is what differs between the identifiers of a range. Tails being of one length, so
are their values. Which map keys the readable path reads is `registry.ranges`'.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgpack

from registry.errors import RecordError
from registry.schema import KEY_OCTETS_MAX
from registry.tables import Transaction

RANGE_FORMAT = 1
READABLE_PATH = 0x1
CHECKED = 0x2

TAIL_OCTETS_MAX = 32  # ours: 18 digits of a serial, those that its stem ends in, two of a check
STEM_OCTETS_MAX = KEY_OCTETS_MAX - 2 - TAIL_OCTETS_MAX
PATCHES_MAX = 1_024  # of one range

PATCH = struct.Struct(">IBB")
_U16 = struct.Struct(">H")
_DIGITS = b"0123456789"
_MARKS = [bytes((0, octets)) for octets in range(TAIL_OCTETS_MAX + 1)]  # between stem and tail
RangeChange = tuple[bytes, bytes]
"""The key of a range, and its record afterwards; empty: it is not there any more."""

# The key and record of the first range at or after where an identifier's own is sought: no other
# can hold it; whether this one does, `find_held` says.
Nearest = tuple[bytes, bytes]
# What a look-up without the views finds of an identifier: its row, else the nearest range.
FoundRow = bytes | Nearest | None
FindNearest = Callable[[Transaction, Any, list[bytes], list[FoundRow]], list[FoundRow]]


class Patch(NamedTuple):
    """Where octets of a tail stand in the value list."""

    offset: int
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class RangeRecord:
    """One stored range.

    Args:
        first: the first tail.
        public: wire octets of the value list, count included; anything where patches fill in.
        patches: in the order of their offsets, none over another.
        details: what the readable path has to look at, msgpack's plain types; mostly nothing.
        checked: whether tails end in check characters.
    """

    first: bytes
    public: bytes
    patches: tuple[Patch, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)
    checked: bool = False


def split_identifier(folded: bytes) -> tuple[bytes, bytes] | None:
    """Return (stem, tail) of a folded handle; None: no range can hold it."""
    octets = len(folded)
    at = len(folded.rstrip(_DIGITS))
    if at == octets:  # perhaps a check character; there have to be digits before it
        at = len(folded[:-1].rstrip(_DIGITS))
        if at >= octets - 1:
            return None
    if at > STEM_OCTETS_MAX or octets - at > TAIL_OCTETS_MAX:
        return None
    return folded[:at], folded[at:]


def range_key(stem: bytes, last: bytes) -> bytes:
    """Return the key of the range whose last tail is `last`; of an identifier, where to seek."""
    return stem + _MARKS[len(last)] + last


def seek_keys(keys: list[bytes]) -> list[bytes]:
    """Return where to seek the range that may hold each folded handle; empty: no range can."""
    split = [split_identifier(key) for key in keys]
    return [b"" if parts is None else range_key(*parts) for parts in split]


def find_nearest(
    txn: Transaction, ranges: Any, keys: list[bytes], rows: list[FoundRow]
) -> list[FoundRow]:
    """Return the rows, and the nearest range where a key has none.

    Where a range holds a key that one is returned, whether found as the nearest or otherwise.

    Args:
        txn: of one state.
        ranges: the database of ranges within it.
        keys: folded handles.
        rows: of these keys; None where there is none.
    """
    cursor = txn.cursor(ranges)
    set_range, item = cursor.set_range, cursor.item
    return [
        row if row is not None else item() if sought and set_range(sought) else None
        for row, sought in zip(rows, seek_keys(keys), strict=True)
    ]


def split_key(key: bytes) -> tuple[bytes, bytes]:
    """Return (stem, last tail) of a key. Raises: RecordError."""
    stem, _, rest = key.partition(b"\0")
    if not rest or rest[0] != len(rest) - 1:
        raise RecordError(f"the key of a range is damaged: {key!r}")
    return stem, rest[1:]


def holds(sought: bytes, tail: bytes, key: bytes, record: bytes) -> bool:
    """Say whether the range found at or after `sought`, an identifier's key, holds its tail."""
    octets = len(tail)
    return (
        len(key) == len(sought)
        and key.startswith(sought[:-octets])
        and len(record) > 1
        and record[1] == octets  # else a stem with 0x00 in it only looks like this one
        and record[2 : 2 + octets] <= tail
        and (bool(record[0] & CHECKED) or tail[-1] in _DIGITS)
    )


def find_held(folded: bytes, nearest: Nearest) -> tuple[bytes, bytes] | None:
    """Return (tail, record) of a folded handle when the range found nearest holds it."""
    parts = split_identifier(folded)
    if parts is None:
        return None
    key, record = nearest
    tail = parts[1]
    return (tail, record) if holds(range_key(*parts), tail, key, record) else None


def encode_range(range_: RangeRecord) -> bytes:
    """Return the record of a range."""
    details = msgpack.packb(range_.details) if range_.details else b""
    head = RANGE_FORMAT << 4
    if details or range_.checked:
        head |= READABLE_PATH | (CHECKED if range_.checked else 0)
    parts = [bytes((head, len(range_.first))), range_.first]
    parts += [_U16.pack(len(details)), details, _U16.pack(len(range_.patches))]
    parts += [PATCH.pack(*patch) for patch in range_.patches]
    return b"".join((*parts, range_.public))


def decode_range(octets: bytes) -> RangeRecord:
    """Take the record of a range apart. Raises: RecordError."""
    try:
        if octets[0] >> 4 != RANGE_FORMAT or octets[0] & 0xF & ~(READABLE_PATH | CHECKED):
            raise RecordError(f"a range begins with 0x{octets[0]:02x}: damaged, or of a newer form")
        at = 2 + octets[1]
        first = octets[2:at]
        end = at + _U16.size + _U16.unpack_from(octets, at)[0]
        details = msgpack.unpackb(octets[at + _U16.size : end]) if end > at + _U16.size else {}
        (count,) = _U16.unpack_from(octets, end)
        at = end + _U16.size
        patches = tuple(
            Patch(*PATCH.unpack_from(octets, at + number * PATCH.size)) for number in range(count)
        )
    except (IndexError, struct.error, ValueError, msgpack.UnpackException) as error:
        raise RecordError(f"the record of a range does not decode: {error}") from error
    if not isinstance(details, dict):
        raise RecordError("the record of a range does not decode: its details are no map")
    public = octets[at + count * PATCH.size :]
    if any(
        start + length > len(first) or offset + length > len(public)
        for offset, start, length in patches
    ):
        raise RecordError("the record of a range does not decode: a patch leads out of it")
    return RangeRecord(first, public, patches, details, bool(octets[0] & CHECKED))


def is_active(record: bytes) -> bool:
    """Say whether a range was not revoked. Raises: RecordError: damaged."""
    return not record[0] & READABLE_PATH or "revoked" not in decode_range(record).details


def fill_in(range_: RangeRecord, tail: bytes) -> bytes:
    """Return the value list of one identifier, wire octets with their count."""
    octets = bytearray(range_.public)
    for offset, start, length in range_.patches:
        octets[offset : offset + length] = tail[start : start + length]
    return bytes(octets)
