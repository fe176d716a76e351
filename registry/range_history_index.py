"""Which frames of the journal changed the range around an identifier: in the table `histories`.

    0xfe, stem, 0x00, u8 octets of a tail,      u64 run, then one or more of: u32 when it was
    u8 level, block, u64 sequence number        registered, first tail, last tail - before

A change of a range writes one entry, however many identifiers it has; registering one writes none:
it is found by the time that its record, and every entry after it, says it was registered at. Only
one that was loaded, and says another time than that of its frame, has an entry.

An entry stands at the smallest **block** that holds its whole range:

    level 3    0 . . . . . . . . . . . . . . . 15     tails as numbers, cut in halves
    level 2    0 . . . . . . 7   8 . . . . . . 15     block = number >> level + 1
    level 1    0 . . 3   4 . . 7 8 . . 11  12. 15
                     ^^^^^^^^^^                       2 .. 5 stands at level 2, block 0

So an identifier's entries are at the few dozen blocks that hold it, whatever other ranges its stem
has or had; and since ranges lie apart, only one at a time lies across the middle of a block. It
only ever becomes less, so the entries of a block make **runs**, each within the one before: an
identifier is in the first few of a run, how many is found by halving. Another run begins where
another range was registered; its entries say the sequence number of its first.

`meta` says b"range_histories" (u64): the frame after which there are entries.
"""

import struct
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from registry.errors import RangeError, RecordError
from registry.history_index import SEQUENCE_MAX
from registry.tables import Table, WritableTable

MARK = b"\xfe"  # no handle begins so: they are UTF-8
RUNS_MAX = 1_024  # of one block that are looked at for one step through a past; ours
_U64 = struct.Struct(">Q")
_U32 = struct.Struct(">I")


class Place(NamedTuple):
    """Where an identifier stands: its stem and tail, folded."""

    stem: bytes
    tail: bytes


class Before(NamedTuple):
    """A range as it was before a change: when it was registered, its first and last tail."""

    registered_s: int
    first: bytes
    last: bytes


class RangeEntry(NamedTuple):
    """A frame that changed the range around an identifier, and that range as it was before it."""

    seq: int
    before: Before


def _number(tail: bytes) -> int:
    """Return a tail as a number; tails of one length keep their order. The last may be a letter."""
    return int(tail[:-1] or b"0") << 8 | tail[-1]


def _levels(octets: int) -> int:
    return int(10 ** (octets - 1)).bit_length() + 8


def note_range(table: WritableTable, stem: bytes, seq: int, before: Before) -> None:
    """Write that a frame changes a range; of several at one block all are kept."""
    low, high = _number(before.first), _number(before.last)
    level = max((low ^ high).bit_length() - 1, 0)
    block = _Block(table, stem, len(before.first), level, low)
    last = block.last(seq)
    present = () if last is None or last.seq != seq else last.before
    if before in present:
        return
    goes_on = last is not None and any(_is_within(before, each) for each in last.before)
    run = last.run if last is not None and goes_on else seq
    pieces = (_U32.pack(at) + first + end for at, first, end in (*present, before))
    table.put(block.key(seq), b"".join((_U64.pack(run), *pieces)))


def _is_within(inner: Before, outer: Before) -> bool:
    return outer.first <= inner.first and inner.last <= outer.last


def has_entries(table: Table, stem: bytes) -> bool:
    """Say whether a range of a stem was ever changed."""
    start = MARK + stem + b"\0"
    found = table.at_or_after(start)
    return found is not None and found[0].startswith(start)


def next_range_entry(table: Table, place: Place, after: int) -> RangeEntry | None:
    """Return the first entry of an identifier after a frame.

    Raises:
        RangeError: more changes of ranges beside it are in the way than may be looked at.
        RecordError: an entry is damaged.
    """
    found = (block.first_with(place.tail, after) for block in _blocks(table, place))
    seqs = [entry.seq for entry in found if entry is not None]
    return _entry(table, place, min(seqs)) if seqs else None


def last_range_entry(table: Table, place: Place, through: int) -> RangeEntry | None:
    """Return the last entry of an identifier up to and with a frame. Raises: as the next."""
    found = (block.last_with(place.tail, through) for block in _blocks(table, place))
    seqs = [entry.seq for entry in found if entry is not None]
    return _entry(table, place, max(seqs)) if seqs else None


def ranges_before(table: Table, place: Place, seq: int) -> list[Before]:
    """Return the ranges around an identifier that a frame changed, as they were before."""
    entries = (block.last(seq) for block in _blocks(table, place))
    changed = (each.before for each in entries if each is not None and each.seq == seq)
    return [each for some in changed for each in some if each.first <= place.tail <= each.last]


def _entry(table: Table, place: Place, seq: int) -> RangeEntry:
    # What the frame itself made, and changed again, is within that which was there before it.
    changed = ranges_before(table, place, seq)
    return RangeEntry(seq, max(changed, key=lambda each: _number(each.last) - _number(each.first)))


def _blocks(table: Table, place: Place) -> list["_Block"]:
    """Return the blocks that hold an identifier."""
    octets, number = len(place.tail), _number(place.tail)
    return [_Block(table, place.stem, octets, level, number) for level in range(_levels(octets))]


class _Entry(NamedTuple):
    """One entry of a block."""

    seq: int
    run: int
    before: tuple[Before, ...]

    def holds(self, tail: bytes) -> bool:
        """Say whether a tail was in a range that was changed."""
        return any(each.first <= tail <= each.last for each in self.before)


class _Block:
    """The entries of one block, in the order of their frames."""

    def __init__(self, table: Table, stem: bytes, octets: int, level: int, number: int) -> None:
        self._table = table
        self._octets = octets
        block = (number >> level + 1).to_bytes((_levels(octets) + 7) // 8, "big")
        self._start = b"%b%b\0%c%c%b" % (MARK, stem, octets, level, block)

    def key(self, seq: int) -> bytes:
        """Return the key of the entry of a frame."""
        return self._start + _U64.pack(seq)

    def first(self, seq: int) -> _Entry | None:
        """Return the first entry from a frame on."""
        return self._read(self._table.at_or_after(self.key(seq)))

    def last(self, seq: int) -> _Entry | None:
        """Return the last entry up to and with a frame."""
        return self._read(self._table.before(self.key(seq + 1)))

    def first_with(self, tail: bytes, after: int) -> _Entry | None:
        """Return the first entry after a frame with a tail. Raises: RangeError."""
        entry, end = self.first(after + 1), self.last(SEQUENCE_MAX)
        for _ in range(RUNS_MAX):
            if entry is None or end is None or entry.holds(tail):
                return entry
            if end.run == entry.run:
                return None  # what does not hold it is followed by less
            entry = self._halve(entry, end, partial(_is_beyond, entry.run))
        raise too_many_runs()

    def last_with(self, tail: bytes, through: int) -> _Entry | None:
        """Return the last entry up to and with a frame with a tail. Raises: RangeError."""
        entry = self.last(through)
        for _ in range(RUNS_MAX):
            if entry is None or entry.holds(tail):
                return entry
            begin = self.first(entry.run)
            if begin is not None and begin.holds(tail):
                lost = self._halve(begin, entry, lambda each: not each.holds(tail))
                return self.last(lost.seq - 1)
            entry = self.last(entry.run - 1)
        raise too_many_runs()

    def _halve(self, low: _Entry, high: _Entry, is_so: Callable[[_Entry], bool]) -> _Entry:
        """Return the first entry beyond `low` of which something is so, as of all up to `high`."""
        first, last, found = low.seq + 1, high.seq, high
        while first < last:
            middle = (first + last) // 2
            entry = self.first(middle)
            assert entry is not None, "there is one at the end"
            if is_so(entry):
                last, found = middle, entry
            else:
                first = entry.seq + 1
        return found

    def _read(self, found: tuple[bytes, bytes] | None) -> _Entry | None:
        if found is None or not found[0].startswith(self._start):
            return None
        key, octets = found
        size = _U32.size + 2 * self._octets
        if (len(octets) - _U64.size) % size:
            raise RecordError(f"the history of ranges is damaged at {key!r}: run biaoshi verify")
        pieces = (octets[at : at + size] for at in range(_U64.size, len(octets), size))
        before = (
            Before(_U32.unpack_from(each)[0], each[4 : 4 + self._octets], each[4 + self._octets :])
            for each in pieces
        )
        seq, run = _U64.unpack(key[-_U64.size :])[0], _U64.unpack_from(octets)[0]
        return _Entry(seq, run, tuple(before))


def _is_beyond(run: int, entry: _Entry) -> bool:
    return entry.run > run


def too_many_runs() -> RangeError:
    """Return the refusal of a past that is too long to be gone through."""
    return RangeError(
        f"more than {RUNS_MAX:,} ranges were registered beside the identifier one after the other: "
        "its history cannot be told, but that nearer to now (after, sequence)"
    )
