"""What a transaction did to rows and ranges, counted as it is done.

    row written ─┬─ what was there, what is there now  ─>  added, changed, removed, revoked
                 └─ does a range stand behind it?          rows, overrides, revoked, deleted
    dated by the operation that did it  ─>  counters, when the transaction ends

An identifier **is there** when it has a row that answers, or has none and stands in a range. So a
row that overrides an identifier of a range changes it, and one deleted out of a range is removed.
Counting looks at what was stored before and after, never at who asked for what: a replay of the
journal counts the same. `WriteView` calls this; whoever appends to the journal says when the
operation became true, which may have been on another day.

An operation on ranges may put and delete several: what counts is what it comes to, so that a range
that was split has added nothing.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from protocol.handle import PREFIX_HANDLE_START
from registry.counters import (
    EVENTS,
    TOTALS,
    Events,
    Totals,
    add_numbers,
    counted_name,
    events_key,
    find_totals,
    prefix_of,
    sum_name,
    totals_key,
)
from registry.days import day_of
from registry.first_count import Progress, read_progress
from registry.marks import State, is_marked
from registry.range_counts import is_in_range, rows_in, span_of
from registry.range_records import is_active
from registry.tables import Table, Transaction, WritableTable

_AT_EVENT = {name: at for at, name in enumerate(Events._fields)}
_AT_TOTAL = {name: at for at, name in enumerate(Totals._fields)}
ADDED, CHANGED = _AT_EVENT["added"], _AT_EVENT["changed"]
REMOVED, REVOKED = _AT_EVENT["removed"], _AT_EVENT["revoked"]
RANGES_ADDED, IN_RANGES_ADDED = _AT_EVENT["ranges_added"], _AT_EVENT["in_ranges_added"]
IN_RANGES_REMOVED = _AT_EVENT["in_ranges_removed"]
IN_RANGES_REVOKED = _AT_EVENT["in_ranges_revoked"]
ROWS, OVERRIDES = _AT_TOTAL["rows"], _AT_TOTAL["overrides"]
IN_RANGES, RANGES = _AT_TOTAL["in_ranges"], _AT_TOTAL["ranges"]
IN_REVOKED, REVOKED_RANGES = _AT_TOTAL["in_revoked"], _AT_TOTAL["revoked_ranges"]
_TOTAL_OF_STATE: dict[int, int] = {
    State.REVOKED: _AT_TOTAL["revoked"],
    State.DELETED: _AT_TOTAL["deleted"],
}


def total_of_row(row: bytes) -> int:
    """Return the position among the totals at which a row counts."""
    return _TOTAL_OF_STATE.get(row[0] & 0xF, ROWS) if is_marked(row) else ROWS


class RowChanges:
    """The counting of one write transaction.

    Args:
        txn: the transaction.
        databases: the store's, by name.
    """

    def __init__(self, txn: Transaction, databases: Any) -> None:
        self._handles = Table(txn, databases.handles)
        self._ranges = Table(txn, databases.ranges)
        self._counters = WritableTable(txn, databases.statistics)
        self._progress: Progress | None = None
        # Keys of new rows that no range stands behind, written one by one: counted together.
        self.added: list[bytes] = []
        self._events: dict[bytes, list[int]] = {}  # not dated yet
        self._net: dict[bytes, list[int]] = {}  # ranges: identifiers, ranges, whether revoked
        self._dated: dict[tuple[bytes, int], list[int]] = {}
        self._totals: dict[bytes, list[int]] = {}
        self._ranged: dict[bytes, bool] = {}  # prefixes: whether there is any range of theirs

    def has_ranges(self, prefix: bytes) -> bool:
        """Say whether there is any range, be it revoked, under a folded prefix."""
        known = self._ranged.get(prefix)
        if known is None:
            start = prefix + b"/"
            found = self._ranges.at_or_after(start)
            known = self._ranged[prefix] = found is not None and found[0].startswith(start)
        return known

    def stands_in_range(self, key: bytes) -> bool:
        """Say whether an active range is around a handle. Raises: RecordError."""
        return self.has_ranges(prefix_of(key)) and is_in_range(self._ranges, key)

    def add(self, keys: Sequence[bytes], start: bytes) -> None:
        """Count new rows that no range stands behind; all begin with `start`, up to the slash."""
        if start == PREFIX_HANDLE_START or self._read_progress().position is not None:
            self.added += keys
            return
        if not keys:
            return
        name = counted_name(start)
        self._events.setdefault(name, [0] * EVENTS)[ADDED] += len(keys)
        self._totals_of(name)[ROWS] += len(keys)

    def row(self, key: bytes, before: bytes | None, after: bytes | None) -> None:
        """Count a row that was written or deleted."""
        if before is None and after is None:
            return  # deleted what was not there
        covered = (before is None or after is None) and self.stands_in_range(key)
        was = covered if before is None else total_of_row(before) == ROWS
        is_ = covered if after is None else total_of_row(after) == ROWS
        name = counted_name(key)
        if was or is_:
            if was and is_:
                event = CHANGED
            elif is_:
                event = ADDED
            else:
                is_revoked = after is not None and total_of_row(after) == _AT_TOTAL["revoked"]
                event = REVOKED if is_revoked else REMOVED
            self._events.setdefault(name, [0] * EVENTS)[event] += 1
        if self._is_counted(key):
            totals = self._totals_of(name)
            if before is not None:
                totals[total_of_row(before)] -= 1
                totals[OVERRIDES] -= covered
            if after is not None:
                totals[total_of_row(after)] += 1
                totals[OVERRIDES] += covered

    def tombstones_removed(self, keys: Sequence[bytes]) -> None:
        """Count tombstones of one prefix that are not there any more, nor their range."""
        if keys:
            totals = self._totals_of(counted_name(keys[0]))
            totals[_TOTAL_OF_STATE[State.DELETED]] -= sum(map(self._is_counted, keys))

    def new_ranges(self, counts: Mapping[bytes, Sequence[int]]) -> None:
        """Count new ranges that are active and have no rows in them.

        Args:
            counts: by folded prefix, how many ranges there are and how many identifiers in them.
        """
        for prefix, (ranges, identifiers) in counts.items():
            self._ranged[prefix] = True
            name = counted_name(prefix + b"/")
            net = self._net.setdefault(name, [0, 0, 0])
            net[0] += identifiers
            net[1] += ranges
            if self._ranges_counted():
                totals = self._totals_of(name)
                totals[IN_RANGES] += identifiers
                totals[RANGES] += ranges

    def range_(self, key: bytes, before: bytes | None, after: bytes | None) -> None:
        """Count a range that was put or deleted, with the rows in it. Raises: RecordError."""
        self.replaced(key, before, after)
        for record, sign in ((before, -1), (after, 1)):
            if record is not None and is_active(record):
                self.rows_behind(rows_in(self._handles, key, record), sign)

    def rows_behind(self, keys: Sequence[bytes], sign: int) -> None:
        """Count rows of one prefix that active ranges stand behind now (1), or no more (-1)."""
        if not keys:
            return
        name = counted_name(keys[0])
        self._net.setdefault(name, [0, 0, 0])[0] -= sign * len(keys)
        if self._ranges_counted():
            self._totals_of(name)[OVERRIDES] += sign * sum(map(self._is_counted, keys))

    def replaced(self, key: bytes, before: bytes | None, after: bytes | None) -> None:
        """Count a range that was put or deleted, not the rows in it. Raises: RecordError."""
        name = counted_name(key)
        net = self._net.setdefault(name, [0, 0, 0])
        self._ranged[prefix_of(key)] = True
        for record, sign in ((before, -1), (after, 1)):
            if record is None:
                continue
            identifiers = span_of(key, record).size
            if not is_active(record):
                if self._ranges_counted():
                    totals = self._totals_of(name)
                    totals[IN_REVOKED] += sign * identifiers
                    totals[REVOKED_RANGES] += sign
                continue
            net[0] += sign * identifiers
            net[1] += sign
            if self._ranges_counted():
                totals = self._totals_of(name)
                totals[IN_RANGES] += sign * identifiers
                totals[RANGES] += sign
        net[2] |= after is not None and not is_active(after)

    def totals(self, name: bytes) -> Totals:
        """Return what there is under a name, as of now. Raises: StoreError."""
        if self.added:
            self._take_in_added()
        totals = list(find_totals(self._counters, name))
        for changed, more in self._totals.items():
            if name in (changed, sum_name(changed)):
                totals = [a + b for a, b in zip(totals, more, strict=True)]
        return Totals(*totals)

    def date(self, time_s: int) -> None:
        """Say when all that was counted since the last time became true."""
        self._take_in()
        day = day_of(time_s)
        for name, events in self._events.items():
            _add(self._dated, (name, day), events)
        self._events.clear()

    def keep(self) -> None:
        """Write the counters, at the end of the transaction. Raises: StoreError."""
        self._take_in()  # what nobody has dated counts, but on no day
        self._events.clear()
        for (name, day), events in list(self._dated.items()):
            _add(self._dated, (sum_name(name), day), events)
        for name, totals in list(self._totals.items()):
            _add(self._totals, sum_name(name), totals)
        for (name, day), events in self._dated.items():
            add_numbers(self._counters, events_key(name, day), events)
        for name, totals in self._totals.items():
            add_numbers(self._counters, totals_key(name), totals)
        self._dated.clear()
        self._totals.clear()

    def _take_in(self) -> None:
        """Count the new rows and what came of ranges."""
        if self.added:
            self._take_in_added()
        for name, (identifiers, ranges, is_revoked) in self._net.items():
            events = self._events.setdefault(name, [0] * EVENTS)
            if identifiers > 0:
                events[IN_RANGES_ADDED] += identifiers
            else:
                events[IN_RANGES_REVOKED if is_revoked else IN_RANGES_REMOVED] -= identifiers
            events[RANGES_ADDED] += max(ranges, 0)
        self._net.clear()

    def _take_in_added(self) -> None:
        counts = count_names(self.added)
        for name, count in counts.items():
            self._events.setdefault(name, [0] * EVENTS)[ADDED] += count
        if self._read_progress().position is not None:
            counts = count_names([key for key in self.added if self._is_counted(key)])
        for name, count in counts.items():
            self._totals_of(name)[ROWS] += count
        self.added.clear()

    def _totals_of(self, name: bytes) -> list[int]:
        return self._totals.setdefault(name, [0] * TOTALS)

    def _read_progress(self) -> Progress:
        if self._progress is None:
            self._progress = read_progress(self._counters)
        return self._progress

    def _is_counted(self, key: bytes) -> bool:
        """Say whether a key lies where an older store has been counted already."""
        position = self._read_progress().position
        return position is None or key <= position

    def _ranges_counted(self) -> bool:
        return self._read_progress().begun


def count_names(keys: list[bytes]) -> Counter[bytes]:
    """Return how many of these keys are counted under which name."""
    if not keys:
        return Counter()
    # Mostly all are of one prefix, and so is then what lies between the first and the last.
    first, last = min(keys), max(keys)
    start = first[: first.find(b"/") + 1]
    name = counted_name(first)
    if start != PREFIX_HANDLE_START and start and last.startswith(start):
        return Counter({name: len(keys)})
    return Counter(map(counted_name, keys))


def _add(sums: dict[Any, list[int]], key: Any, more: list[int]) -> None:
    known = sums.get(key)
    sums[key] = list(more) if known is None else [a + b for a, b in zip(known, more, strict=True)]
