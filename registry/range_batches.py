"""Storing plain ranges many at a time: conflicts found by one look, puts and counts together.

    what was sought last        |-------- no key is in here --------|
                               low                                 next
    a range that lies within          ......|first..last|......   nothing else can be in its way

Ranges that come in lots are mostly in order and lie behind all that is stored, so that the gap
found for one serves for thousands. One is kept among the ranges, one among the rows. A range that
is not surely free is left to `registry.ranges`, which names what is in the way.
"""

from typing import NamedTuple

from protocol.handle import PREFIX_PREFIX
from registry.range_records import RANGE_FORMAT, TAIL_OCTETS_MAX, range_key
from registry.ranges_table import RangesTable
from registry.views import WriteView

IDENTIFIERS_MAX = (1 << 63) - 1  # in the ranges of one prefix: what every reader of numbers takes

_BEHIND_ALL = b"\xff" * 512  # no key of the store is behind it
_PLAIN_HEAD = RANGE_FORMAT << 4
_NO_DETAILS = bytes(2)
_MARK_OCTETS = 2  # between stem and tail


class PlainRange(NamedTuple):
    """A range to be stored, which has no details: its key, its record, and what they say.

    `sought` is where its first identifier is sought among the ranges, `first` and `last` are the
    storage keys of its first and last identifier.
    """

    key: bytes
    octets: bytes
    sought: bytes
    first: bytes
    last: bytes
    prefix: bytes
    size: int

    @property
    def stem(self) -> bytes:
        """What its identifiers begin with, up to their tails."""
        return self.key[: -self.octets[1] - _MARK_OCTETS]

    @property
    def tails(self) -> tuple[bytes, bytes]:
        """The first and the last tail."""
        octets = self.octets[1]
        return self.octets[2 : 2 + octets], self.key[-octets:]


def read_plain_range(key: bytes, octets: bytes) -> PlainRange | None:
    """Return what the key and the record of a range say, its values aside; None: not plain."""
    if len(octets) < 2 or octets[0] != _PLAIN_HEAD:
        return None
    digits = octets[1]
    first, last = octets[2 : 2 + digits], key[-digits:]
    stem = key[: -digits - _MARK_OCTETS]
    prefix, slash, _ = stem.partition(b"/")
    if not (
        slash and prefix != PREFIX_PREFIX and b"\0" not in stem and digits <= TAIL_OCTETS_MAX
        and first.isdigit() and last.isdigit() and first <= last
        and octets[2 + digits : 4 + digits] == _NO_DETAILS and range_key(stem, last) == key
    ):  # fmt: skip
        return None
    sought, size = range_key(stem, first), int(last) - int(first) + 1
    return PlainRange(key, octets, sought, stem + first, stem + last, prefix, size)


class RangeBatch:
    """The plain ranges of one transaction.

    `flush` it before anything else is read or written in the transaction.
    """

    def __init__(self, view: WriteView) -> None:
        self._view = view
        self._left: dict[bytes, int] = {}  # of IDENTIFIERS_MAX, by prefix
        self._start()

    def _start(self) -> None:
        """Know nothing of the store: it may have been changed."""
        self._pending: list[tuple[bytes, bytes]] = []
        self._stored: list[tuple[bytes, bytes]] = []
        self._counts: dict[bytes, list[int]] = {}
        self._left.clear()
        self._low, self._next = _BEHIND_ALL, (b"", b"")
        self._row_low, self._row_next = _BEHIND_ALL, b""

    def store(self, new: PlainRange) -> bool:
        """Store a range if it is surely free; say whether it was stored."""
        if not (self._low <= new.sought and new.key < self._next[0]):
            self._seek_ranges(new.sought)
        if new.key >= self._next[0] or self._reaches_into_next(new):
            return False
        if not (self._row_low <= new.first and new.last < self._row_next):
            found = self._view.table("handles").at_or_after(new.first)
            self._row_low, self._row_next = new.first, _BEHIND_ALL if found is None else found[0]
            if new.last >= self._row_next:
                return False
        if not self._count(new.prefix, new.size):
            return False
        self._pending.append((new.key, new.octets))
        self._low = new.key + b"\0"
        return True

    def _seek_ranges(self, sought: bytes) -> None:
        """Find the gap among the ranges that begins at a key."""
        self._put()
        found = self._view.table("ranges").at_or_after(sought)
        self._low, self._next = sought, (_BEHIND_ALL, b"") if found is None else found

    def _reaches_into_next(self, new: PlainRange) -> bool:
        """Say whether the range behind the gap has identifiers of a new one."""
        key, octets = self._next
        tail = new.octets[1]
        return (
            len(key) == len(new.key)
            and key.startswith(new.key[:-tail])
            and octets[2 : 2 + tail] <= new.key[-tail:]
        )

    def _count(self, prefix: bytes, size: int) -> bool:
        """Count a range; False: there would be too many identifiers."""
        counts = self._counts.get(prefix)
        if counts is None:
            known = self._view.counts(prefix)
            self._left[prefix] = IDENTIFIERS_MAX - known.in_ranges - known.in_revoked
            counts = self._counts[prefix] = [0, 0]
        if counts[1] + size > self._left[prefix]:
            return False
        counts[0] += 1
        counts[1] += size
        return True

    def flush(self) -> list[tuple[bytes, bytes]]:
        """Have all in the store that was taken; return key and record of each since the last time.

        Whoever calls puts them into the journal.
        """
        stored, counts = self._put(), self._counts
        if stored:
            self._view.changes.new_ranges(counts)
            self._view.unjournaled = True
        self._start()
        return stored

    def _put(self) -> list[tuple[bytes, bytes]]:
        """Put what is pending; return all that was put since the last flush."""
        if self._pending:
            table = self._view.writable("ranges")
            assert isinstance(table, RangesTable)
            table.put_new(self._pending)
            self._stored += self._pending
            self._pending = []
        return self._stored
