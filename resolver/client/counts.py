"""Statistics of a node: what was registered and asked, by prefix and day, and who asked most.

Days are those of Shanghai. A number that no 64 bits hold is told as text by the node; here it is a
number like any other.
"""

from collections.abc import AsyncGenerator, Iterator
from datetime import date

from resolver.client.calls import BlockingCalls, RestCalls
from resolver.told.counts import NamedTotals, Sources, Statistics, TotalsPage

PATH = "/api/statistics"


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

    async def sources(self, day: date | None = None, prefix: str = "") -> Sources:
        """Return who asked most on a day.

        Args:
            day: today when not given.
            prefix: such as 88.118.5; without one of all the node.

        Raises:
            HandleError: refused, or nobody answered.
        """
        query = {} if day is None else {"day": day.isoformat()}
        return await self._read(Sources, f"{PATH}/sources", {"prefix": prefix, **query})


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

    def sources(self, day: date | None = None, prefix: str = "") -> Sources:
        """Return who asked most on a day: `StatisticsCalls.sources`."""
        return self._wait(self._client.sources(day, prefix))
