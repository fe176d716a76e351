"""Records of other nodes, for deciding here: an administrator's key or group may live elsewhere.

A record is walked for from the bootstrap's root, every step certified: the root's keys stand in the
bootstrap file, each site's in the certified answer that named it. Where a record comes from:

    memory, for its ttl  ──►  the other node, within the time-out  ──►  the store's copy
                                                                        └─ of the last log-in

The copy is only for when the other node cannot be reached, and not for longer than KEPT_MAX_S: a
key that was revoked meanwhile would still open the door. What a node that answers says, "no such
handle" included, is believed over any copy.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from protocol.bodies import VerificationAnswer, VerifyChallengeRequest
from protocol.codes import OpCode, ResponseCode
from protocol.digests import RequestDigest
from protocol.errors import ProtocolError
from protocol.handle import to_text
from protocol.types.hs_site import HsSite
from protocol.value import HandleValue, Reference
from registry.outcomes import Foreign, OldRecord, Unavailable, foreign_key
from registry.schema import Record
from registry.views import ForeignRecord
from resolver.asking import Answer, Request
from resolver.exchanges import ExchangeError
from resolver.recursion import Ask, Done, Failure, Reply, Walk, ttl_of
from resolver.upstream import Upstream
from resolver.walker import Asker, Lookups, ReplyMemory, follow, reply_from

KEPT_MAX_S = 30 * 86_400  # an outage longer than a month needs an operator, not a copy
KEPT_AGAIN_S = 3_600  # a copy this fresh is not written again at every log-in
REFRESH_AFTER_S = 1  # a refusal may rest on what changed since; strangers cost no more than this
UNAVAILABLE_TTL_S = 10  # while a node is down each log-in would wait for the time-out otherwise
SERVICES_KEPT_MAX = 256  # prefixes whose sites are remembered

# The node that would know says that nothing can have been made with such a key.
_NO_SUCH_KEY = frozenset(
    {
        ResponseCode.HANDLE_NOT_FOUND,
        ResponseCode.VALUES_NOT_FOUND,
        ResponseCode.INVALID_ADMIN,
        ResponseCode.AUTHENTICATION_FAILED,
    }
)

FindKept = Callable[[bytes], ForeignRecord | None]
Keep = Callable[[bytes, Sequence[HandleValue], int], None]


@dataclass(frozen=True, slots=True)
class ForeignSettings:
    """What fetching may cost."""

    timeout_s: float = 3.0
    """Seconds for one record, all steps of its walk together."""
    ttl_s: int = 300
    """Seconds a record is kept in memory at most."""
    entries_max: int = 4_096
    """Records kept in memory."""
    fetches_max: int = 256
    """Records fetched at once; more are unavailable rather than waited for."""


class _Remembered(NamedTuple):
    fetched_s: float
    expires_s: float
    known: Record | Unavailable | None


class ForeignRecords:
    """Fetches and remembers records of other nodes. Use from one event loop.

    Args:
        upstream: how nodes are asked.
        roots: the root's sites; none: everything is unavailable.
        settings: time-outs and bounds.
        find_kept: reads the store's copy of a handle, if there is one.
        keep: has the one writer of the store keep a copy: (handle, values, seconds since 1970).
        now_s: the time since 1970.
    """

    def __init__(
        self,
        upstream: Upstream,
        roots: Sequence[HsSite],
        settings: ForeignSettings | None = None,
        *,
        find_kept: FindKept,
        keep: Keep,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._upstream = upstream
        self._roots = tuple(roots)
        self._settings = settings or ForeignSettings()
        self._find_kept = find_kept
        self._keep = keep
        self._now_s = now_s
        self._memory: OrderedDict[bytes, _Remembered] = OrderedDict()
        self._services = ReplyMemory(SERVICES_KEPT_MAX, now_s, self._settings.ttl_s)
        self._fetching: dict[bytes, asyncio.Task[Record | Unavailable | None]] = {}

    async def fetch(self, handles: Collection[bytes]) -> dict[bytes, Record | Unavailable | None]:
        """Return what is known of each handle, by `foreign_key`; None: there is no such handle."""
        keys = [foreign_key(handle) for handle in handles]
        return dict(zip(keys, await asyncio.gather(*map(self._find, keys)), strict=True))

    def recall(self, handles: Collection[bytes]) -> Foreign | None:
        """Return what `fetch` would have without asking anybody, by `foreign_key`; else None."""
        now_s = self._now_s()
        recalled: dict[bytes, Record | Unavailable | None] = {}
        for key in map(foreign_key, handles):
            remembered = self._memory.get(key)
            if remembered is None or now_s >= remembered.expires_s:
                return None
            if isinstance(remembered.known, Unavailable):
                return None
            self._memory.move_to_end(key)
            recalled[key] = remembered.known
        return recalled

    async def refresh(
        self, handles: Collection[bytes], *, at_once: bool = False
    ) -> dict[bytes, Record | None]:
        """Fetch again what memory had of these handles; return what is known anew.

        For refusals: an administrator or key may have been added where the record lives.

        Args:
            handles: that a refusal rests on.
            at_once: also what was fetched a moment ago.
        """
        now_s = self._now_s()
        remembered = {key: self._memory.get(key) for key in map(foreign_key, handles)}
        old = [
            key
            for key, entry in remembered.items()
            if entry and (at_once or now_s - entry.fetched_s >= REFRESH_AFTER_S)
        ]
        fetched = await asyncio.gather(*map(self._fetch_once, old))
        pairs = zip(old, fetched, strict=True)
        return {key: known for key, known in pairs if not isinstance(known, Unavailable)}

    async def look_again(self, handle: bytes) -> Record | Unavailable | None:
        """Return what the other node has now, never the store's copy; None: no such handle.

        What memory has is enough as long as its ttl lasts.
        """
        key = foreign_key(handle)
        remembered = self._memory.get(key)
        if remembered is not None and self._now_s() < remembered.expires_s:
            return remembered.known
        return await self._fetch_once(key)

    async def verify_secret(
        self, user: Reference, nonce: bytes, digest: RequestDigest, answer: bytes
    ) -> bool | Unavailable:
        """Have the node that holds a secret key say whether an answer was made with it."""
        body = VerifyChallengeRequest(user.handle, user.index, nonce, digest, True, answer)
        request = Request(user.handle, OpCode.VERIFY_CHALLENGE, body)
        verdicts: list[Answer] = []

        async def ask(step: Ask) -> Reply:
            if step.is_lookup:
                return await self._lookups().services(step)
            try:
                verdicts.append(await self._upstream.exchange(request, step.sites, certify=True))
            except (ExchangeError, ProtocolError) as error:
                return Reply(None, problem=str(error))
            return reply_from(verdicts[-1])

        done = await self._walk(user.handle, ask)
        if isinstance(done, Unavailable):
            return done
        if done.response_code == ResponseCode.SUCCESS:
            verdict = verdicts[-1].body
            return isinstance(verdict, VerificationAnswer) and bool(verdict.result & 1)
        return False if done.response_code in _NO_SUCH_KEY else _unavailable(user.handle, done)

    def proven(self, user: Reference, foreign: Foreign, now_s: float) -> None:
        """Keep in the store what a successful log-in relied on."""
        for handle, known in foreign.items():
            if not isinstance(known, Record):
                continue
            kept = self._find_kept(handle)
            if kept is not None and kept.record.values == known.values:
                remembered = self._memory.get(handle)
                if remembered is None or now_s - kept.fetched_s < KEPT_AGAIN_S:
                    continue
                if isinstance(remembered.known, Unavailable):
                    continue  # it came from this very copy, which is no younger for that
            self._keep(handle, known.values, int(now_s))

    async def _find(self, key: bytes) -> Record | Unavailable | None:
        """Return what memory, the other node or the store's copy has."""
        now_s = self._now_s()
        remembered = self._memory.get(key)
        if remembered is not None and now_s < remembered.expires_s:
            self._memory.move_to_end(key)
            known = remembered.known
        else:
            known = await self._fetch_once(key)
        return self._copy_of(key, known) if isinstance(known, Unavailable) else known

    async def _fetch_once(self, key: bytes) -> Record | Unavailable | None:
        """Fetch a record; whoever asks for the same meanwhile waits for the same fetch."""
        task = self._fetching.get(key)
        if task is None:
            if len(self._fetching) >= self._settings.fetches_max:
                return Unavailable(f"{len(self._fetching)} records are being fetched, try again")
            task = self._fetching[key] = asyncio.create_task(self._fetch(key))
            task.add_done_callback(lambda _: self._fetching.pop(key, None))
        return await asyncio.shield(task)

    async def _fetch(self, key: bytes) -> Record | Unavailable | None:
        lookups = self._lookups()

        async def ask(step: Ask) -> Reply:
            return await (lookups.services(step) if step.is_lookup else lookups.values(step))

        done = await self._walk(key, ask)
        now_s = int(self._now_s())
        known: Record | Unavailable | None
        ttl_s = self._settings.ttl_s
        if isinstance(done, Unavailable):
            known, ttl_s = done, UNAVAILABLE_TTL_S
        elif done.response_code == ResponseCode.SUCCESS and done.reply is not None:
            known = Record(done.reply.values)
            ttl_s = ttl_of(known.values, now_s, ttl_s)
        elif done.response_code == ResponseCode.VALUES_NOT_FOUND:
            known = Record(())
        elif done.response_code == ResponseCode.HANDLE_NOT_FOUND:
            # Somebody may be about to register it: not believed for longer than a failure.
            known, ttl_s = None, UNAVAILABLE_TTL_S
        else:
            known, ttl_s = _unavailable(key, done), UNAVAILABLE_TTL_S
        self._remember(key, known, now_s + ttl_s)
        return known

    async def _walk(self, handle: bytes, ask: Asker) -> Done | Unavailable:
        """Go a walk within the time-out."""
        if not self._roots:
            return Unavailable(
                f"{to_text(handle)} could not be fetched: bootstrap.json names no root"
            )
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                return await follow(Walk(handle, self._roots), ask)
        except TimeoutError:
            return Unavailable(
                f"{to_text(handle)} could not be fetched within {self._settings.timeout_s:g} s"
            )

    def _lookups(self) -> Lookups:
        return Lookups(
            self._upstream,
            certify=True,
            timeout_s=self._settings.timeout_s,
            memory=self._services,
        )

    def _remember(self, key: bytes, known: Record | Unavailable | None, expires_s: float) -> None:
        self._memory[key] = _Remembered(self._now_s(), expires_s, known)
        self._memory.move_to_end(key)
        if len(self._memory) > self._settings.entries_max:
            self._memory.popitem(last=False)

    def _copy_of(self, key: bytes, unavailable: Unavailable) -> Record | Unavailable:
        """Return the store's copy of a record that is unavailable, if it is not too old."""
        kept = self._find_kept(key)
        if kept is None:
            return unavailable
        age_s = int(self._now_s()) - kept.fetched_s
        if age_s > KEPT_MAX_S:
            days = age_s // 86_400
            return Unavailable(f"{unavailable.reason}; the copy here is {days} days old, too old")
        return OldRecord(kept.record.values, kept.record.handle, unavailable.reason)


def _unavailable(handle: bytes, done: Done) -> Unavailable:
    words = done.words
    if done.reply is not None:
        words = done.reply.problem or f"response code {done.reply.response_code}"
    if done.failure is Failure.NO_SERVICE:
        words = f"its prefix names no site ({words})"
    return Unavailable(f"{to_text(handle)} could not be fetched: {words}")
