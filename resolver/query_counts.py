"""Counting queries in one process: by what was asked for and by who asked for it, per day.

    UDP, TCP in batches  added up in the batch  ─┐
    single answers       ────────────────────────┴─> QueryCounts ─> once a second ─> the registrar

A query is a resolution request that could be read; it is answered when it got values. What was
counted and not sent on when a process is killed is lost: the queries of a second, in the registrar
of WRITE_S seconds. Nothing is counted twice: what was sent and not confirmed is not sent again.

All of it is bounded: NAMES_MAX names a day, beyond them those of strangers' invention and of
everybody else go to `ELSEWHERE`, as do those beyond MERGED_NAMES_MAX of what several processes
counted. Pairs of name and source are counted exactly up to EXACT_PAIRS_MAX and then put together:
for all of the process in a `SpaceSaving`, by name in `NameSources`.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from protocol.handle import fold_handle
from registry.counters import ELSEWHERE, counted_name
from registry.days import day_of, start_of
from registry.query_counters import DayQueries
from registry.space_saving import SpaceSaving, packed_source
from resolver.batch_counts import Taken
from resolver.link import Link, LinkBusy, LinkDown, LinkLost

NAMES_MAX = 10_000  # of one day, between two times that they are sent on
MERGED_NAMES_MAX = 100_000  # of one day, while they wait: some 20 MB in a node that is read-only
ALIKE_MAX = 1_024  # different queries that are gathered before they are told apart
EXACT_PAIRS_MAX = 4_096  # names and sources counted one by one before they are put together
PART_OCTETS = 1_048_576  # sent at once, well below what a frame of the link may have
DAYS_MAX = 8  # kept while nobody takes them; a clock that jumps may make many
SEND_S = 1.0
SEND_TIMEOUT_S = 10.0
KNOWN_ADDRESSES_MAX = 4_096  # whose octets are remembered

# Returns {name: (answered, {source: queries})}, and begins anew.
TakeCounts = Callable[[], Taken]

_log = logging.getLogger(__name__)


class QueryCounts:
    """The queries of a process since they were last taken. Use from one event loop.

    Args:
        now_s: the time since 1970.
    """

    def __init__(self, now_s: Callable[[], float] = time.time) -> None:
        self._now_s = now_s
        self._days: dict[int, DayQueries] = {}
        self._exact: dict[bytes, dict[bytes, int]] = {}  # of each name, by source
        self._pairs = 0  # how many that are
        self._packed: dict[str, bytes] = {}
        self._day = -1
        self.begins_s = self.ends_s = 0  # the day that is counted for, since 1970
        self._parts: list[TakeCounts] = []
        # Queries that differ in nothing that is counted are told apart once a second only.
        self._alike: dict[tuple[bytes, str, bool, bool], int] = {}
        self._found: dict[tuple[bytes, str], int] = {}

    def add_part(self, take: TakeCounts) -> None:
        """Take in what a batch has added up, whenever counts are taken and a day ends."""
        self._parts.append(take)

    def turn(self, now_s: float) -> None:
        """Count for the day of this time from now on."""
        self._take_parts()
        self._put_sources()
        self._day = day_of(now_s)
        self.begins_s, self.ends_s = start_of(self._day), start_of(self._day + 1)

    def add(self, handle: bytes, address: str, *, answered: bool, received: bool = True) -> None:
        """Count a query for a handle.

        Args:
            handle: as asked.
            address: of who asked.
            answered: it got values.
            received: it is a new one, not one that was counted when it was challenged.
        """
        now_s = self._now_s()
        if not self.begins_s <= now_s < self.ends_s:
            self.turn(now_s)
        start = handle[: handle.find(b"/") + 1]
        if not start or start.startswith(b"0."):
            start = handle  # of a prefix: its parent is what counts
        query = (start, address, answered, received)
        try:
            self._alike[query] += 1
        except KeyError:
            self._alike[query] = 1
            if len(self._alike) >= ALIKE_MAX:
                self._take_alike()

    def add_found(self, prefix: bytes, address: str) -> None:
        """Count a query that got values, for less time than `add` takes.

        Args:
            prefix: of the handle, folded; of a handle of a prefix all of it.
            address: of who asked.
        """
        if not self.begins_s <= (now_s := self._now_s()) < self.ends_s:
            self.turn(now_s)
        query = (prefix, address)
        try:
            self._found[query] += 1
        except KeyError:
            self._found[query] = 1
            if len(self._found) >= ALIKE_MAX:
                self._take_alike()

    def octets_of(self, address: str) -> bytes:
        """Return an address as it is counted: `registry.space_saving.packed_source`."""
        octets = self._packed.get(address)
        if octets is None:
            if len(self._packed) >= KNOWN_ADDRESSES_MAX:
                self._packed.clear()
            octets = self._packed[address] = packed_source(address)
        return octets

    def take(self) -> dict[int, DayQueries]:
        """Return what was counted, by day, and begin anew."""
        self._take_parts()
        self._put_sources()
        days, self._days = self._days, {}
        return days

    def merge(self, days: Mapping[int, DayQueries]) -> None:
        """Add what others have counted, or what was taken and nobody took over."""
        for day, queries in days.items():
            kept = self._of_day(day)
            for name, (received, answered) in queries.names.items():
                is_named = _add_name(kept, name, received, answered, MERGED_NAMES_MAX) == name
                sources = queries.by_name.find(name)
                if sources is not None and is_named:
                    kept.by_name.merge(name, sources)
            kept.sources.merge(queries.sources)

    def _take_alike(self) -> None:
        alike, self._alike = self._alike, {}
        for (start, address, answered, received), count in alike.items():
            # Names are of prefixes, which have no case, whatever suffixes have.
            name = counted_name(fold_handle(start))
            asked = {self.octets_of(address): count} if received else {}
            self._add(name, count * answered, asked)
        found, self._found = self._found, {}
        for (prefix, address), count in found.items():
            name = counted_name(prefix if b"/" in prefix else prefix + b"/")
            self._add(name, count, {self.octets_of(address): count})

    def _take_parts(self) -> None:
        self._take_alike()
        for take in self._parts:
            for name, (answered, sources) in take().items():
                self._add(name, answered, sources)

    def _add(self, name: bytes, answered: int, sources: Mapping[bytes, int]) -> None:
        """Count what sources received, and how much of all of it was answered."""
        received = sum(sources.values())
        name = _add_name(self._of_day(self._day), name, received, answered, NAMES_MAX)
        kept = self._exact.setdefault(name, {})
        self._pairs -= len(kept)
        for source, queries in sources.items():
            kept[source] = kept.get(source, 0) + queries
        self._pairs += len(kept)
        if self._pairs >= EXACT_PAIRS_MAX:
            self._put_sources()

    def _put_sources(self) -> None:
        exact, self._exact, self._pairs = self._exact, {}, 0
        whole: dict[bytes, int] = {}
        for name, sources in exact.items():
            if not sources:
                continue
            for source, queries in sources.items():
                whole[source] = whole.get(source, 0) + queries
            if name != ELSEWHERE:
                self._of_day(self._day).by_name.add(name, sources)
        if whole:
            self._of_day(self._day).sources.add(whole)

    def _of_day(self, day: int) -> DayQueries:
        queries = self._days.get(day)
        if queries is None:
            queries = self._days[day] = DayQueries()
            if len(self._days) > DAYS_MAX:
                oldest = min(self._days)
                del self._days[oldest]
                _log.warning("queries of %d days wait, those of the oldest are dropped", DAYS_MAX)
                if oldest == day:
                    return DayQueries()
        return queries


def _add_name(
    queries: DayQueries, name: bytes, received: int, answered: int, names_max: int
) -> bytes:
    """Count under a name; return it, or `ELSEWHERE` when there are too many."""
    if len(queries.names) >= names_max and name not in queries.names:
        name = ELSEWHERE
    queries.add(name, received, answered)
    return name


def pack_days(days: Mapping[int, DayQueries]) -> Iterator[dict[str, Any]]:
    """Return what goes over the link, in parts that fit into a frame."""
    for day, queries in days.items():
        names: list[list[Any]] = []
        octets, sources = 0, queries.sources
        for name, numbers in queries.names.items():
            by_name = queries.by_name.find(name)
            names.append([name, *numbers, b"" if by_name is None else by_name.encode()])
            octets += len(name) + len(names[-1][-1])
            if octets >= PART_OCTETS:
                yield {"days": [[day, names, sources.encode()]]}
                names, octets, sources = [], 0, SpaceSaving()
        if names:
            yield {"days": [[day, names, sources.encode()]]}


def unpack_days(payload: Mapping[str, Any]) -> dict[int, DayQueries]:
    """Take apart what `pack_days` made."""
    days = {}
    for day, names, sources in payload["days"]:
        queries = days[day] = DayQueries(sources=SpaceSaving.decode(sources))
        for name, received, answered, by_name in names:
            queries.names[name] = (received, answered)
            if by_name:
                queries.by_name.merge(name, SpaceSaving.decode(by_name))
    return days


class CountSender:
    """Sends a worker's counts to the registrar, once a second.

    Args:
        counts: the worker's.
        link: to the registrar.
    """

    def __init__(self, counts: QueryCounts, link: Link) -> None:
        self._counts = counts
        self._link = link
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; call it on the loop of the link."""
        self._task = asyncio.create_task(self._send_on())

    async def stop(self) -> None:
        """Send the last counts and end."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self.send()

    async def send(self) -> None:
        """Send what was counted; while the registrar cannot be reached it is kept."""
        is_lost = False
        for payload in pack_days(self._counts.take()):
            if not is_lost:
                try:
                    await self._link.call("count", payload, SEND_TIMEOUT_S)
                except LinkLost as error:
                    # Perhaps they were counted: what is shown must not be more than was asked.
                    _log.warning("queries of a second may not have been counted: %s", error)
                except (LinkDown, LinkBusy):
                    is_lost = True
            if is_lost:
                self._counts.merge(unpack_days(payload))

    async def _send_on(self) -> None:
        while True:
            await asyncio.sleep(SEND_S)
            await self.send()
