"""Which frames of the journal changed a handle that was there: the table `histories`.

    storage key, 0xff, u64 sequence number   u32 when it came to be, see below

An entry is written with the change itself, one for each frame, whatever it changed: values, the
whole handle, its mark. A creation of a handle that is not there needs none, which is most of what
a node writes. It is found by its time: the entry of the change that follows it, or the row itself
while nothing follows, says the timestamp of the handle's first value before that change,

    0            there was nothing before: this frame created the handle
    0x80000000   a range answered, and it had no row of its own (`registry.range_past`)
    0xffffffff   the handle was there, with no value that has a time

and `registry.frame_times` the frames of that time. A storage key of more than 502 octets leaves
LMDB no room for the rest and is shortened as `registry.schema` shortens handles.

    0xff, u64 sequence number                nothing: the clock went back before this frame

    0xfe, ...                                changes of ranges: `registry.range_history_index`

Times of frames never go down between two such notes. An entry's frame may have been trimmed away.
`meta` says b"histories" (u64), the frame after which there are entries, in stores that were made
before there were any; b"time" (i64) is the time of the last frame.
"""

import hashlib
import struct
from collections.abc import Sequence
from typing import NamedTuple

from protocol.value import HandleValue
from registry.schema import RECORD_FORMAT, decode_record
from registry.tables import Table, WritableTable

KEY_OCTETS_MAX = 502
KEY_HEAD_OCTETS = KEY_OCTETS_MAX - 33
JUMPS_MAX = 1_024  # notes of the clock that are read, the last ones; ours
EVENTS_MAX = 100  # frames that one answer tells of
SEQUENCE_MAX = 2**63 - 1
NOTHING = 0
UNDATED = 0xFFFFFFFF
RANGED = 0x80000000  # timestamps have 31 bits

_U64 = struct.Struct(">Q")
_U32 = struct.Struct(">I")
_PLAIN_HEAD = RECORD_FORMAT << 4
_FIRST_TIMESTAMP = struct.Struct(">Biii")  # head, count, index, timestamp


class Entry(NamedTuple):
    """A frame that changed a handle, and when what it changed had come to be."""

    seq: int
    before: int


def entry_key(key: bytes, seq: int) -> bytes:
    """Return the key of the entry for a storage key and a frame."""
    return _start(key) + _U64.pack(seq)


def _start(key: bytes) -> bytes:
    if len(key) > KEY_OCTETS_MAX:
        key = key[:KEY_HEAD_OCTETS] + b"\xff" + hashlib.sha256(key).digest()
    return key + b"\xff"


def came_to_be(row: bytes) -> int:
    """Return what an entry says of the record before a change. Raises: RecordError."""
    if row[0] == _PLAIN_HEAD and len(row) >= _FIRST_TIMESTAMP.size:
        _, count, _, timestamp = _FIRST_TIMESTAMP.unpack_from(row)
        return timestamp if count > 0 and timestamp > 0 else UNDATED
    return time_of_first(decode_record(row).values)


def time_of_first(values: Sequence[HandleValue]) -> int:
    """Return the time of the first value as an entry says it."""
    return values[0].timestamp if values and values[0].timestamp > 0 else UNDATED


def note_change(table: WritableTable, key: bytes, seq: int, before: int) -> None:
    """Write that a frame changes a handle; its first change in a frame counts."""
    entry = entry_key(key, seq)
    if table.get(entry) is None:
        table.put(entry, _U32.pack(before))


def note_jump(table: WritableTable, seq: int) -> None:
    """Write that the clock went back before a frame."""
    table.put(b"\xff" + _U64.pack(seq), b"")


def next_entry(table: Table, key: bytes, after: int) -> Entry | None:
    """Return the first entry of a storage key after a sequence number."""
    start = _start(key)
    found = table.at_or_after(start + _U64.pack(after + 1))
    return _read(found, start)


def last_entry(table: Table, key: bytes, through: int) -> Entry | None:
    """Return the last entry of a storage key up to and with a sequence number."""
    start = _start(key)
    found = table.before(start + _U64.pack(through + 1))
    return _read(found, start)


def _read(found: tuple[bytes, bytes] | None, start: bytes) -> Entry | None:
    # Keys of others can lie between only if they are shortened; their length tells.
    if found is None or not found[0].startswith(start) or len(found[0]) != len(start) + 8:
        return None
    return Entry(_U64.unpack(found[0][-8:])[0], _U32.unpack(found[1])[0])


def jumps(table: Table, through: int) -> list[int]:
    """Return the frames before which the clock went back, the last ones first."""
    found: list[int] = []
    entry = table.before(b"\xff" + _U64.pack(through + 1))
    while entry is not None and entry[0][:1] == b"\xff" and len(found) < JUMPS_MAX:
        found.append(_U64.unpack(entry[0][1:])[0])
        entry = table.before(entry[0])
    return found
