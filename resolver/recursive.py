"""Resolving for others: from the cache, or by a walk through the tiers that fills it.

    question ──► fresh entry? ──► the same question under way? ──► a walk
                     │                     │                      │
                     └─────────────────────┴──── reply ◄── entry ─┘ ──► cache

One cold handle is walked for once, however many ask for it; prefixes looked up on the way are
cached under their own handles and looked up once at a time too. Only so many walks are under way:
beyond that the answer is "too busy". When nobody can be reached an older entry answers, marked
stale, and is held for a few seconds so that the failing upstreams are not asked for every question.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from protocol.codes import REFERRALS, ResponseCode
from protocol.types.hs_site import HsSite
from resolver.asking import Hop
from resolver.cache import Cache, CacheEntry, CacheSettings, cache_key, entry_from_reply
from resolver.metrics import CACHE_LOOKUPS
from resolver.recursion import DEPTH_MAX, HOPS_MAX, Ask, Done, Reply, Walk
from resolver.upstream import Upstream
from resolver.walker import Lookups, follow

RECURSIONS_MAX = 8  # recursive nodes that ask one another; a chain of more is a circle
FLUSH_AFTER_S = 0.002  # rows of two milliseconds are one transaction
_log = logging.getLogger(__name__)

LookupKey = tuple[bytes, tuple[HsSite, ...], bool]


@dataclass(frozen=True, slots=True)
class RecursiveSettings:
    """What walking may cost."""

    hops_max: int = HOPS_MAX
    depth_max: int = DEPTH_MAX
    walks_max: int = 4_096
    """Walks under way at once."""
    walk_timeout_s: float = 10.0
    """Seconds for one walk; clients give up after a few."""
    cache: CacheSettings = field(default_factory=CacheSettings)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a question: an entry, the time, and the attempts made for it just now."""

    entry: CacheEntry
    now_s: float
    hops: tuple[Hop, ...] = ()


class RecursiveResolver:
    """Answers questions from the cache or by a walk. Use from one event loop.

    Args:
        upstream: how nodes are asked.
        roots: the root's sites.
        cache: what is known already.
        settings: bounds and times.
        now_s: the time since 1970.
    """

    def __init__(
        self,
        upstream: Upstream,
        roots: Sequence[HsSite],
        cache: Cache,
        settings: RecursiveSettings | None = None,
        *,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._upstream = upstream
        self._roots = tuple(roots)
        self._cache = cache
        self._settings = settings or RecursiveSettings()
        self._now_s = now_s
        self._walks: dict[tuple[bytes, bool], asyncio.Task[Outcome]] = {}
        self._lookups: dict[LookupKey, asyncio.Task[Reply]] = {}
        self._flush_due: asyncio.TimerHandle | None = None

    @property
    def walks_under_way(self) -> int:
        """The number of walks under way."""
        return len(self._walks)

    async def resolve(
        self, handle: bytes, *, authoritative: bool = False, recursion_count: int = 0
    ) -> Outcome:
        """Return what is known or can be found out of a handle, all its public values.

        Args:
            handle: as asked.
            authoritative: let no cache answer, ask primary sites only.
            recursion_count: how many recursive nodes the question came through.
        """
        if recursion_count >= RECURSIONS_MAX:
            words = f"the question came through {recursion_count} recursive nodes"
            return self._error(ResponseCode.RECURSION_COUNT_TOO_HIGH, words)
        entry = None if authoritative else self._cache.find(handle)
        if entry is not None and entry.is_fresh(self._now_s()):
            CACHE_LOOKUPS.labels("stale" if entry.is_stale else "hit").inc()
            return Outcome(entry, self._now_s())
        CACHE_LOOKUPS.labels("miss").inc()
        key = (cache_key(handle), authoritative)
        walk = self._walks.get(key)
        if walk is None:
            if len(self._walks) >= self._settings.walks_max:
                words = f"{len(self._walks)} identifiers are being looked for, try again"
                return self._error(ResponseCode.SERVER_TOO_BUSY, words)
            walk = asyncio.create_task(self._walk(handle, authoritative, recursion_count + 1))
            self._walks[key] = walk
            walk.add_done_callback(lambda _: self._walks.pop(key, None))
        # A client that goes away must not end the walk others wait for.
        return await asyncio.shield(walk)

    async def _walk(self, handle: bytes, authoritative: bool, recursion_count: int) -> Outcome:
        hops: list[Hop] = []
        lookups = Lookups(
            self._upstream,
            timeout_s=self._settings.walk_timeout_s,
            trace=hops,
            recursion_count=recursion_count,
        )

        async def ask(step: Ask) -> Reply:
            if step.is_lookup:
                return await self._look_up(step, lookups, authoritative)
            return await lookups.values(
                Ask(step.handle, step.sites, is_lookup=False, authoritative=authoritative)
            )

        walk = Walk(
            handle,
            self._roots,
            hops_max=self._settings.hops_max,
            depth_max=self._settings.depth_max,
        )
        try:
            async with asyncio.timeout(self._settings.walk_timeout_s):
                done = await follow(walk, ask)
        except TimeoutError:
            words = f"no answer within {self._settings.walk_timeout_s:g} s"
            done = Done(Reply(None, problem=words))
        return self._conclude(handle, done, tuple(hops))

    def _conclude(self, handle: bytes, done: Done, hops: tuple[Hop, ...]) -> Outcome:
        """Keep what a walk found; without an answer, fall back on what is known from before."""
        words = done.words
        if done.reply is not None:
            words = words or done.reply.problem
        reply = done.reply
        if reply is None and done.response_code != ResponseCode.ERROR:
            reply = Reply(done.response_code)
        if reply is not None:
            entry = entry_from_reply(reply, self._now_s(), self._settings.cache, words=words)
            if entry is not None:
                self._keep(handle, entry)
                return Outcome(entry, self._now_s(), hops)
        stale = self._hold_stale(handle)
        if stale is not None:
            return Outcome(stale, self._now_s(), hops)
        _log.warning("no answer: %s", words)
        return self._error(done.response_code, words, hops)

    async def _look_up(self, step: Ask, lookups: Lookups, authoritative: bool) -> Reply:
        """Answer a walk's look-up from the cache, or ask; equal ones under way are one."""
        fresh = not (authoritative or step.authoritative)
        entry = self._cache.find(step.handle) if fresh else None
        if entry is not None and entry.is_fresh(self._now_s()):
            return _reply_of(entry)
        key = (cache_key(step.handle), step.sites, step.authoritative)
        task = self._lookups.get(key)
        if task is None:
            task = asyncio.create_task(self._ask_up(step, lookups))
            self._lookups[key] = task
            task.add_done_callback(lambda _: self._lookups.pop(key, None))
        return await asyncio.shield(task)

    async def _ask_up(self, step: Ask, lookups: Lookups) -> Reply:
        # All public values, not only those a walk needs: the same row answers clients.
        reply = await lookups.values(step)
        entry = entry_from_reply(reply, self._now_s(), self._settings.cache)
        if entry is not None:
            self._keep(step.handle, entry)
        elif reply.response_code not in REFERRALS:
            stale = self._hold_stale(step.handle)
            if stale is not None:
                return _reply_of(stale)
        return reply

    def _hold_stale(self, handle: bytes) -> CacheEntry | None:
        known = self._cache.find(handle)
        stale = known and known.held_stale(self._now_s(), self._settings.cache)
        if stale:
            CACHE_LOOKUPS.labels("stale").inc()
            self._keep(handle, stale)
        return stale

    def _keep(self, handle: bytes, entry: CacheEntry) -> None:
        if entry.expires_s <= entry.fetched_s:
            return  # a ttl of 0 asks not to be cached
        self._cache.put(handle, entry)
        if self._flush_due is None:
            loop = asyncio.get_running_loop()
            self._flush_due = loop.call_later(FLUSH_AFTER_S, self.flush)

    def flush(self) -> None:
        """Write what was learnt where the workers see it."""
        if self._flush_due is not None:
            self._flush_due.cancel()
            self._flush_due = None
        self._cache.flush()

    def _error(self, code: int, words: str, hops: tuple[Hop, ...] = ()) -> Outcome:
        now_s = self._now_s()
        entry = CacheEntry(code, int(now_s), int(now_s), words=words.encode())
        return Outcome(entry, now_s, hops)


def _reply_of(entry: CacheEntry) -> Reply:
    return Reply(
        entry.response_code,
        entry.decode_values(),
        problem=entry.words.decode("utf-8", "replace"),
        authoritative=entry.is_authoritative,
    )
