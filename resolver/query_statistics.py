"""Queries in the registrar: what the workers counted is added up and kept in the store.

    count  {days: [[day, [[name, received, answered, its sources], ...], sources]]}
                                                                   every worker, a second

They are written every WRITE_S seconds, when there were any, in transactions of their own, each of
bounded work, so that no registration waits long behind them. A registrar that is killed loses so
many seconds of them; one that is read-only keeps them in memory.
"""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from registry.days import day_of
from registry.errors import StoreError
from registry.query_counters import DayQueries, add_queries, purge_queries
from registry.recount import count_page
from registry.views import WriteView
from resolver.group_commit import GroupCommit, NotWritingError
from resolver.query_counts import QueryCounts, unpack_days

WRITE_S = 5  # seconds of queries that a crash may lose
PURGED_MAX = 10_000  # entries forgotten in one transaction

_log = logging.getLogger(__name__)


class QueryStatistics:
    """Adds up queries and keeps them; use from the registrar's loop.

    Args:
        commit: writes.
        sources_max: addresses of a day that are listed, of all prefixes together.
        now_s: the time since 1970.
    """

    def __init__(
        self, commit: GroupCommit, sources_max: int, *, now_s: Callable[[], float]
    ) -> None:
        self._commit = commit
        self._sources_max = sources_max
        self._now_s = now_s
        self.counts = QueryCounts(now_s)

    async def count(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Add what a worker has counted."""
        self.counts.merge(unpack_days(payload))
        return {}

    async def write(self) -> None:
        """Keep what was counted since the last time."""
        days = self.counts.take()
        try:
            while days:
                days = await self._commit.transact(partial(self._add, days), own=True)
        except NotWritingError:
            self.counts.merge(days)
        except StoreError as error:
            _log.error("queries could not be counted: %s", error)

    def _add(self, days: Mapping[int, DayQueries], view: WriteView) -> dict[int, DayQueries]:
        return add_queries(view, days, sources_max=self._sources_max)

    async def purge(self) -> None:
        """Forget the queries of days that are kept no longer."""
        today = day_of(self._now_s())

        def purge(view: WriteView) -> int:
            return purge_queries(view, today, PURGED_MAX)

        while await self._commit.transact(purge, own=True):
            pass

    async def count_store(self) -> bool:
        """Count a page of an older store; False: all of it is counted."""

        def count(view: WriteView) -> bool:
            return count_page(view, int(self._now_s()))

        return await self._commit.transact(count, own=True)
