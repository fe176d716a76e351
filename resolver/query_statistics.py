"""Queries in the registrar: what the workers counted is added up and kept in the store.

    count  {days: [[day, [[name, received, answered], ...], sources], ...]}   every worker, a second

They are written every WRITE_S seconds, when there were any, in a transaction of their own. A
registrar that is killed loses so many seconds of them; one that is read-only keeps them in memory.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from registry.days import day_of
from registry.errors import StoreError
from registry.query_counters import add_queries, cut_queries, purge_queries
from registry.recount import count_page
from registry.views import WriteView
from resolver.group_commit import GroupCommit, NotWritingError
from resolver.query_counts import QueryCounts, unpack_days

WRITE_S = 5  # seconds of queries that a crash may lose
WRITTEN_NAMES_MAX = 2_000  # written in one transaction; strangers can make up as many names as fit
PURGED_MAX = 10_000  # entries forgotten in one transaction

_log = logging.getLogger(__name__)


class QueryStatistics:
    """Adds up queries and keeps them; use from the registrar's loop.

    Args:
        commit: writes.
        now_s: the time since 1970.
    """

    def __init__(self, commit: GroupCommit, *, now_s: Callable[[], float]) -> None:
        self._commit = commit
        self._now_s = now_s
        self.counts = QueryCounts(now_s)

    async def count(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Add what a worker has counted."""
        self.counts.merge(unpack_days(payload))
        return {}

    async def write(self) -> None:
        """Keep what was counted since the last time, some names at a time."""
        for part in cut_queries(self.counts.take(), WRITTEN_NAMES_MAX):
            try:
                await self._commit.transact(partial(add_queries, days=part), own=True)
            except NotWritingError:
                self.counts.merge(part)
            except StoreError as error:
                _log.error("queries could not be counted: %s", error)

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
