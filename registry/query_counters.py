"""Queries of a day in the table `statistics`: how many under which name, and from whom.

They are no registrations, so they are not in the journal, and a transaction that adds them changes
no row. Only what is homed here is counted by name, and prefixes below one that is known here:
strangers can ask for any prefix there could be.

Who asked is kept for all of the node and for each name. However many names there are, all lists of
a day together have `sources_max` addresses, and FEW more for each name: beyond that lists do not
grow, and their floors say what they miss.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from protocol.handle import PREFIX_HANDLE_START
from registry.counters import (
    ALL_QUERIES,
    ELSEWHERE,
    QUERY_DAYS_KEPT,
    TABLE,
    add_numbers,
    queries_key,
    read_numbers,
    sources_key,
)
from registry.name_sources import NameSources
from registry.prefixes import is_responsible, prefix_marker
from registry.schema import folded_key
from registry.space_saving import SpaceSaving
from registry.tables import Table, WritableTable
from registry.views import View, WriteView

FEW = 16  # addresses that every name may list, whatever others have taken
WORK_MAX = 50_000  # names and addresses in one transaction: some 50 ms

_DAY_START = 1  # in a key, behind its letter
_DAY_OCTETS = 4


@dataclass(slots=True)
class DayQueries:
    """Queries of one day that are to be added: by name, by source, and by both."""

    names: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    sources: SpaceSaving = field(default_factory=SpaceSaving)
    by_name: NameSources = field(default_factory=NameSources)

    def add(self, name: bytes, received: int, answered: int) -> None:
        """Count queries under a name."""
        before = self.names.get(name, (0, 0))
        self.names[name] = (before[0] + received, before[1] + answered)


def add_queries(
    view: WriteView,
    days: Mapping[int, DayQueries],
    *,
    sources_max: int,
    work_max: int = WORK_MAX,
) -> dict[int, DayQueries]:
    """Add queries to the counters, as many as is not too much work for one transaction.

    Args:
        view: of the transaction.
        days: what was counted; it is left as it is.
        sources_max: addresses that are listed of all names of a day together.
        work_max: names and addresses that are gone through.

    Returns:
        What is still to be added, nothing in the end.

    Raises:
        StoreError: what is there is damaged.
    """
    left: dict[int, DayQueries] = {}
    for day, queries in days.items():
        if work_max > 0:
            adding = _Adding(view.writable(TABLE), day, sources_max)
            rest = adding.add(view, queries, work_max)
            work_max -= adding.work
        else:
            rest = queries
        if rest is not None:
            left[day] = rest
    return left


class _Adding:
    """What is added of one day in one transaction."""

    def __init__(self, table: WritableTable, day: int, sources_max: int) -> None:
        self.work = 0
        self._table = table
        self._day = day
        self._sources_max = sources_max
        self._numbers: dict[bytes, tuple[int, int]] = {}
        self._listed_before = self._listed = find_listed(table, day)

    def add(self, view: WriteView, queries: DayQueries, work_max: int) -> DayQueries | None:
        """Add up to so much; return what is left of it."""
        names = iter(queries.names.items())
        for name, numbers in names:
            counted = name if is_counted(view, name) else ELSEWHERE
            for each in (counted, ALL_QUERIES):
                received, answered = self._numbers.get(each, (0, 0))
                self._numbers[each] = (received + numbers[0], answered + numbers[1])
            more = queries.by_name.find(name)
            if more is not None and counted != ELSEWHERE:
                self._add_sources(name, more)
            self.work += 1
            if self.work >= work_max:
                break
        self._put(queries.sources)
        rest = DayQueries(dict(names))
        for name in rest.names:
            more = queries.by_name.find(name)
            if more is not None:
                rest.by_name.merge(name, more)
        return rest if rest.names else None

    def _add_sources(self, name: bytes, more: SpaceSaving) -> None:
        sources = find_sources(self._table, self._day, name)
        before = len(sources)
        room = max(self._sources_max - self._listed, 0)
        sources.capacity = min(sources.capacity, max(before + room, FEW))
        sources.merge(more)
        self._table.put(sources_key(self._day, name), sources.encode())
        self._listed += len(sources) - before
        self.work += before + len(more)

    def _put(self, sources: SpaceSaving) -> None:
        for name, numbers in self._numbers.items():
            add_numbers(self._table, queries_key(self._day, name), list(numbers))
        if sources.total:
            kept = find_sources(self._table, self._day)
            kept.merge(sources)
            self._table.put(sources_key(self._day), kept.encode())
        if self._listed != self._listed_before:
            more = self._listed - self._listed_before
            add_numbers(self._table, sources_key(self._day, ELSEWHERE), [more])


def is_counted(view: View, name: bytes) -> bool:
    """Say whether queries under a name are counted by it: what is below it is homed here."""
    if name in (ALL_QUERIES, ELSEWHERE):
        return False
    if name.startswith(PREFIX_HANDLE_START):
        # Any prefix derived from it would be answered here. It has to be there, or names that
        # somebody made up would fill the store.
        return is_responsible(view, name + b".0") and _is_known(view, name)
    return view.is_homed(PREFIX_HANDLE_START + name)


def _is_known(view: View, prefix_handle: bytes) -> bool:
    """Say whether a prefix is registered or homed here, or all that is derived from it."""
    if view.is_homed(prefix_handle) or view.is_homed(prefix_marker(prefix_handle)):
        return True
    return view.stored_row(folded_key(prefix_handle)) is not None


def find_sources(table: Table, day: int, name: bytes = ALL_QUERIES) -> SpaceSaving:
    """Return who asked on a day, for anything or under a name. Raises: StoreError: damaged."""
    octets = table.get(sources_key(day, name))
    return SpaceSaving() if octets is None else SpaceSaving.decode(octets)


def find_listed(table: Table, day: int) -> int:
    """Return how many addresses are listed of all names of a day. Raises: StoreError: damaged."""
    (listed,) = read_numbers(table, sources_key(day, ELSEWHERE), 1)
    return listed


def purge_queries(view: WriteView, today: int, entries_max: int) -> int:
    """Forget queries of days that are kept no longer; return how many entries, 0: all are gone."""
    table = view.writable(TABLE)
    oldest = max(today - QUERY_DAYS_KEPT, 0).to_bytes(_DAY_OCTETS, "big")
    doomed: list[bytes] = []
    for letter in (b"Q", b"S"):
        for key, _ in table.items(prefix=letter):
            if key[_DAY_START : _DAY_START + _DAY_OCTETS] >= oldest or len(doomed) == entries_max:
                break
            doomed.append(key)
    for key in doomed:
        table.delete(key)
    return len(doomed)
