"""Queries of a day in the table `statistics`: how many under which name, and from whom.

They are no registrations, so they are not in the journal, and a transaction that adds them changes
no row. Only what is homed here is counted by name, and prefixes below one that is known here:
strangers can ask for any prefix there could be.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from protocol.handle import PREFIX_HANDLE_START
from registry.counters import (
    ALL_QUERIES,
    ELSEWHERE,
    QUERY_DAYS_KEPT,
    TABLE,
    add_numbers,
    queries_key,
    sources_key,
)
from registry.prefixes import is_responsible, prefix_marker
from registry.schema import folded_key
from registry.space_saving import SpaceSaving
from registry.tables import Table
from registry.views import View, WriteView

_DAY_START = 1  # in a key, behind its letter
_DAY_OCTETS = 4


@dataclass(slots=True)
class DayQueries:
    """Queries of one day that are to be added: by name, and by source."""

    names: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    sources: SpaceSaving = field(default_factory=SpaceSaving)

    def add(self, name: bytes, received: int, answered: int) -> None:
        """Count queries under a name."""
        before = self.names.get(name, (0, 0))
        self.names[name] = (before[0] + received, before[1] + answered)


def cut_queries(days: Mapping[int, DayQueries], names_max: int) -> Iterator[dict[int, DayQueries]]:
    """Cut queries into parts of so many names, each for a transaction of its own."""
    for day, queries in days.items():
        sources = queries.sources
        names = iter(queries.names.items())
        while part := dict(islice(names, names_max)):
            yield {day: DayQueries(part, sources)}
            sources = SpaceSaving()  # who asked is told once
        if sources is queries.sources:
            yield {day: DayQueries({}, sources)}


def add_queries(view: WriteView, days: Mapping[int, DayQueries]) -> None:
    """Add queries to the counters. Raises: StoreError: what is there is damaged."""
    table = view.writable(TABLE)
    for day, queries in days.items():
        found = DayQueries()
        for name, (received, answered) in queries.names.items():
            found.add(name if is_counted(view, name) else ELSEWHERE, received, answered)
            found.add(ALL_QUERIES, received, answered)
        for name, numbers in found.names.items():
            add_numbers(table, queries_key(day, name), list(numbers))
        if queries.sources.total:
            sources = find_sources(table, day)
            sources.merge(queries.sources)
            table.put(sources_key(day), sources.encode())


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


def find_sources(table: Table, day: int) -> SpaceSaving:
    """Return who asked on a day. Raises: StoreError: damaged."""
    octets = table.get(sources_key(day))
    return SpaceSaving() if octets is None else SpaceSaving.decode(octets)


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
