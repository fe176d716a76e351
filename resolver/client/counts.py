"""Statistics of a node: what was registered and asked, by prefix and day, and who asked most.

Days are those of Shanghai. A number that no 64 bits hold is told as text by the node; here it is a
number like any other.
"""

from collections.abc import AsyncGenerator, Iterator
from datetime import date

import msgspec

from resolver.client.calls import BlockingCalls, Page, RestCalls

PATH = "/api/statistics"

Number = int | str
_MAY_BE_LARGE = frozenset(
    {"in_ranges", "identifiers", "added", "removed", "revoked", "total", "ranges_added"}
)


class _Told(msgspec.Struct, rename="camel", frozen=True):
    """Something that a node tells: large numbers are text."""

    def __post_init__(self) -> None:
        for name in _MAY_BE_LARGE.intersection(self.__struct_fields__):
            told = getattr(self, name)
            if isinstance(told, str):
                msgspec.structs.force_setattr(self, name, int(told))


class Totals(_Told, frozen=True):
    """What there is. `identifiers` are rows and those in ranges, what is both counted once."""

    rows: int = 0
    ranges: int = 0
    in_ranges: Number = 0
    identifiers: Number = 0
    overrides: int = 0
    revoked: int = 0
    deleted: int = 0


class PrefixTotals(_Told, frozen=True):
    """How many prefixes are registered below one."""

    registered: int = 0
    revoked: int = 0


class Changes(_Told, frozen=True):
    """What happened on a day; `total` is what there was at its end."""

    added: Number = 0
    changed: int = 0
    removed: Number = 0
    revoked: Number = 0
    total: Number = 0
    ranges_added: Number = 0


class Queries(_Told, frozen=True):
    """Look-ups of a day; answered are those that got values."""

    received: int = 0
    answered: int = 0


class Day(_Told, frozen=True):
    """One day: identifiers with rows, in ranges and together; prefixes; look-ups."""

    day: str
    rows: Changes
    ranges: Changes
    together: Changes
    prefixes: Changes
    queries: Queries
    prefix_queries: Queries = Queries()
    queries_elsewhere: Queries = Queries()

    @property
    def date(self) -> date:
        """The day as a date."""
        return date.fromisoformat(self.day)


class Statistics(_Told, frozen=True):
    """What happened under a prefix, or everywhere, and what there is now.

    `is_counted` is False while an older store is being counted: until then totals are too low.
    Before `counted_since`, when that is given, days have nothing to tell.
    """

    prefix: str
    identifiers: Totals
    prefixes: PrefixTotals
    days: list[Day]
    is_counted: bool = True
    counted_since: str = ""


class NamedTotals(Totals, frozen=True):
    """What there is under `prefix`, or how many prefixes `registered` below `prefixes_below`."""

    prefix: str = ""
    prefixes_below: str = ""
    registered: int = 0


class TotalsPage(Page, _Told, frozen=True):
    """A page of totals by prefix, and those of all the node."""

    identifiers: Totals
    prefixes: PrefixTotals
    names: list[NamedTotals]


class Source(_Told, frozen=True):
    """An address and how often it asked, which lies between the two; "" is unknown."""

    address: str
    at_least: int
    at_most: int


class Sources(_Told, frozen=True):
    """Who asked most on a day.

    All `at_least` and `rest` together are `total`. `error_max` is the largest difference between
    `at_most` and `at_least`; whoever is not listed asked at most `others_at_most` times.
    """

    day: str
    total: int
    sources: list[Source]
    rest: int
    error_max: int
    others_at_most: int


class StatisticsCalls(RestCalls):
    """Statistics of a node."""

    async def statistics(
        self, prefix: str = "", first: date | None = None, last: date | None = None
    ) -> Statistics:
        """Return what happened on some days under a prefix, without one everywhere.

        Args:
            prefix: such as 88.118.5.
            first: the first day; `last` when not given.
            last: the last day; today when not given.

        Raises:
            HandleError: refused, or nobody answered.
        """
        given = {"from": first, "to": last}
        query = {name: day.isoformat() for name, day in given.items() if day is not None}
        return await self._read(Statistics, PATH, {"prefix": prefix, **query})

    async def totals(self) -> AsyncGenerator[NamedTotals, None]:
        """Iterate over what there is, by prefix. Raises: HandleError."""
        async for page in self._pages(TotalsPage, f"{PATH}/totals", {}):
            for each in page.names:
                yield each

    async def sources(self, day: date | None = None) -> Sources:
        """Return who asked most on a day, today when not given. Raises: HandleError."""
        query = {} if day is None else {"day": day.isoformat()}
        return await self._read(Sources, f"{PATH}/sources", query)


class BlockingStatisticsCalls(BlockingCalls):
    """Statistics of a node, each call waited for: `StatisticsCalls`."""

    _client: StatisticsCalls

    def statistics(
        self, prefix: str = "", first: date | None = None, last: date | None = None
    ) -> Statistics:
        """Return what happened on some days: `StatisticsCalls.statistics`."""
        return self._wait(self._client.statistics(prefix, first, last))

    def totals(self) -> Iterator[NamedTotals]:
        """Iterate over what there is, by prefix: `StatisticsCalls.totals`."""
        return self._iterate(self._client.totals())

    def sources(self, day: date | None = None) -> Sources:
        """Return who asked most on a day: `StatisticsCalls.sources`."""
        return self._wait(self._client.sources(day))
