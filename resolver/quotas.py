"""Quotas in the registrar: requests are counted, what is nearly used up is told.

Requests to register, change or delete a handle are counted against the quota of its prefix, once
they are known to be somebody's who may: what a stranger is refused uses up nobody's quota. Counts
are held in memory and kept in the store every second, so a crash forgets a second of them;
identifiers are counted in the transaction that creates them (`registry.quotas`).
"""

import logging
import time
from collections.abc import Callable, Iterable
from itertools import product
from typing import NamedTuple

from protocol.codes import ResponseCode
from protocol.handle import PREFIX_HANDLE_START, prefix_handle, to_text
from registry.offices import IDENTIFIERS, OFFICES, QUOTA, REQUESTS
from registry.operations import Outcome
from registry.outcomes import Refusal
from registry.quotas import (
    NAMES,
    NEAR,
    NO_LIMIT,
    Quota,
    day_of,
    decode_quota,
    put_used,
    refusal_of,
    resets_s,
    used_today,
)
from registry.store import Store
from registry.views import View, WriteView
from resolver.group_commit import GroupCommit
from resolver.metrics import QUOTAS_NEAR

# Refusals for who asks: nobody of the prefix, or not shown to be.
_NOT_THEIRS = frozenset(
    {
        ResponseCode.INVALID_ADMIN,
        ResponseCode.AUTHENTICATION_NEEDED,
        ResponseCode.AUTHENTICATION_FAILED,
        ResponseCode.INVALID_CREDENTIAL,
        ResponseCode.AUTHENTICATION_TIMEOUT,
        ResponseCode.AUTHENTICATION_ERROR,
        ResponseCode.SERVER_NOT_RESPONSIBLE,
        ResponseCode.SERVER_BACKUP,
        ResponseCode.SERVER_TOO_BUSY,
    }
)

PREFIXES_TOLD_MAX = 64  # of the rows of one batch: 1 ms

_log = logging.getLogger(__name__)


class Left(NamedTuple):
    """What is left of a day's quota: limit, how many more, seconds until it begins anew."""

    limit: int
    remaining: int
    reset_s: int


class Quotas:
    """The quotas of one node; use from the registrar's loop.

    Args:
        store: read here.
        commit: writes the counts.
        now_s: the time since 1970.
    """

    def __init__(
        self, store: Store, commit: GroupCommit, *, now_s: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._commit = commit
        self._now_s = now_s
        self._quotas: dict[bytes, Quota] = {}
        self._day = 0
        self._requests: dict[bytes, int] = {}
        self._changed: set[bytes] = set()
        self._told: set[tuple[int, bytes, bytes]] = set()
        self.load()

    def load(self) -> None:
        """Read which prefixes have quotas: at the start, and when one was changed."""
        with self._store.read() as view:
            entries = view.table(OFFICES).items(prefix=QUOTA)
            self._quotas = {key[1:]: decode_quota(value) for key, value in entries}
            self._turn_day()
            for handle in self._quotas:
                if handle not in self._requests:
                    used = used_today(view, REQUESTS, handle, int(self._now_s()))
                    self._requests[handle] = used

    @property
    def are_there(self) -> bool:
        """Whether any prefix has a quota."""
        return bool(self._quotas)

    def is_limited(self, handle: bytes) -> bool:
        """Say whether the prefix of a handle has quotas."""
        return bool(self._quotas) and prefix_handle(handle) in self._quotas

    def begin(self, handle: bytes) -> Refusal | None:
        """Count a request about a handle; return why it is one too many, or None."""
        if not self._quotas:
            return None
        prefix = prefix_handle(handle)
        quota = self._quotas.get(prefix)
        if quota is None or quota.requests == NO_LIMIT:
            return None
        self._turn_day()
        used = self._requests.get(prefix, 0)
        if used >= quota.requests:
            return refusal_of(prefix, REQUESTS, used, quota.requests, int(self._now_s()))
        self._requests[prefix] = used + 1
        self._changed.add(prefix)
        return None

    def end(self, handle: bytes, outcome: Outcome) -> None:
        """Take a request back that turned out to be of somebody who may not ask."""
        if not self._quotas or not isinstance(outcome, Refusal):
            return
        prefix = prefix_handle(handle)
        if outcome.response_code in _NOT_THEIRS and self._requests.get(prefix, 0):
            self._requests[prefix] -= 1

    def find_left(self, handle: bytes) -> Left | None:
        """Return what is left for the prefix of a handle, of the quota that will bite first."""
        found = self.find_all_left([prefix_handle(handle)])
        return min(found.values(), key=lambda left: left.remaining, default=None)

    def find_all_left(self, prefix_handles: Iterable[bytes]) -> dict[str, Left]:
        """Return what is left of each kind of quota, of the prefix that has least left.

        Looks at PREFIXES_TOLD_MAX of these prefixes that have quotas.
        """
        limited = [each for each in prefix_handles if each in self._quotas]
        if not limited:
            return {}
        now_s = int(self._now_s())
        found: dict[str, Left] = {}
        with self._store.read() as view:
            for prefix, (kind, name) in product(limited[:PREFIXES_TOLD_MAX], NAMES.items()):
                limit = self._quotas[prefix].limit(kind)
                if limit == NO_LIMIT:
                    continue
                remaining = max(0, limit - self._used(view, kind, prefix, now_s))
                if name not in found or remaining < found[name].remaining:
                    found[name] = Left(limit, remaining, resets_s(now_s) - now_s)
        return found

    async def keep(self) -> None:
        """Keep the counts that have changed. Raises: NotWritingError, StoreError."""
        if not self._changed:
            return
        changed, self._changed = self._changed, set()
        now_s = int(self._now_s())
        counts = {handle: self._requests.get(handle, 0) for handle in changed}

        def work(view: WriteView) -> None:
            for handle, used in counts.items():
                put_used(view, REQUESTS, handle, used, now_s)

        try:
            await self._commit.transact(work, own=True)
        except Exception:
            self._changed |= changed
            raise

    def watch(self) -> None:
        """Tell of prefixes that have nearly used up a quota: each once a day, and how many."""
        now_s = int(self._now_s())
        near = dict.fromkeys(NAMES, 0)
        with self._store.read() as view:
            for handle, quota in self._quotas.items():
                for kind, name in NAMES.items():
                    limit = quota.limit(kind)
                    used = self._used(view, kind, handle, now_s) if limit != NO_LIMIT else 0
                    if limit == NO_LIMIT or used < NEAR * limit:
                        continue
                    near[kind] += 1
                    self._tell(kind, name, handle, used, limit, now_s)
        for kind, name in NAMES.items():
            QUOTAS_NEAR.labels(name).set(near[kind])

    def _tell(
        self, kind: bytes, name: str, handle: bytes, used: int, limit: int, now_s: int
    ) -> None:
        day = day_of(now_s)
        if (day, kind, handle) in self._told:
            return
        self._told = {each for each in self._told if each[0] == day} | {(day, kind, handle)}
        prefix = to_text(handle[len(PREFIX_HANDLE_START) :])
        _log.warning("%s has used %d of %d %s of today's quota", prefix, used, limit, name)

    def _used(self, view: View, kind: bytes, handle: bytes, now_s: int) -> int:
        if kind == IDENTIFIERS:
            return used_today(view, IDENTIFIERS, handle, now_s)
        # Also asked by another thread: turning the day is the loop's.
        return self._requests.get(handle, 0) if self._day == day_of(now_s) else 0

    def _turn_day(self) -> None:
        day = day_of(int(self._now_s()))
        if day != self._day:
            self._day = day
            self._requests.clear()
            self._changed.clear()
