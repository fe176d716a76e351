"""The walk from the root to the node that holds a handle, without I/O.

    Walk.next() ──► Ask(handle, sites, lookup?) ──► the caller asks, or finds it in a cache
         ▲                                              │
         └───────────── Walk.receive(Reply) ◄───────────┘       until next() is Done

1. A handle that begins with "0." or "0/", or has no slash, is asked at the root's sites.
2. For any other, the root is asked for the prefix's handle `0.NA/<PREFIX>`: its HS_SITE and
   HS_SITE.6 values are the sites; each HS_SERV names a handle whose own values are looked up in
   turn, to a depth, each handle once. When a mirror knew nothing, a primary site is asked.
3. Whoever is asked may refer on: 303 with the sites of a prefix nearer to the handle, 302 with
   sites or a handle to look up. The same question is never put to the same sites twice, and after
   `hops_max` questions the walk is over.

The walk is the same for look-ups and for administration: what is asked in the end is the caller's.
"""

from collections.abc import Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from protocol.codes import REFERRALS, ResponseCode
from protocol.errors import ProtocolError
from protocol.handle import ROOT_HANDLE, fold_handle, prefix_handle, to_text
from protocol.types.hs_serv import decode_hs_serv
from protocol.types.hs_site import HsSite, decode_hs_site
from protocol.value import TTL_ABSOLUTE, HandleValue

HOPS_MAX = 40  # existing clients' limit
DEPTH_MAX = 20  # existing clients' limit on HS_SERV naming a handle with HS_SERV
SITES_MAX = 64  # of one service; ours, many times what any prefix publishes
SITE_TYPES = (b"HS_SITE", b"HS_SITE.6")
SERVICE_TYPES = (*SITE_TYPES, b"HS_SERV")
LOOKUP_TYPES = (*SERVICE_TYPES, b"HS_NAMESPACE")  # what existing clients ask for
# A prefix's own sites, and those of the prefixes derived from it, which only a referral may use.
_SERVING = frozenset(SERVICE_TYPES)
_REFERRED = _SERVING | {b"HS_SITE.PREFIX", b"HS_NA_DELEGATE", b"HS_SERV.PREFIX"}
_SERVICES = frozenset({b"HS_SERV", b"HS_SERV.PREFIX"})
_SITE_OCTETS_KEPT_MAX = 4_096  # decoded sites kept: 1,024 of at most this, 4 MiB
_FOUND = frozenset({ResponseCode.SUCCESS, ResponseCode.VALUES_NOT_FOUND})


class Failure(Enum):
    """Why a walk ended without an answer from the node it looked for."""

    PREFIX_UNKNOWN = "prefix unknown"
    NO_SERVICE = "no service"
    NO_ANSWER = "no answer"
    UNBELIEVED = "unbelieved"
    REFUSED = "refused"
    LOOP = "loop"
    TOO_FAR = "too far"
    EMPTY_REFERRAL = "empty referral"


@dataclass(frozen=True, slots=True)
class Ask:
    """What to ask next. A look-up is a resolution for LOOKUP_TYPES and may come from a cache."""

    handle: bytes
    sites: tuple[HsSite, ...]
    is_lookup: bool
    authoritative: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of asking; code None: nobody answered, for the reason in `problem`.

    `referred` is the handle that a referral without sites names; `authoritative` says that a
    primary site answered; `unbelieved` that there was an answer, which may not be believed.
    """

    response_code: int | None
    values: tuple[HandleValue, ...] = ()
    referred: bytes = b""
    problem: str = ""
    authoritative: bool = False
    unbelieved: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """The end: the last reply and who gave it, or the failure and its words."""

    reply: Reply | None
    sites: tuple[HsSite, ...] = ()
    failure: Failure | None = None
    words: str = ""

    @property
    def response_code(self) -> int:
        """The code to answer a client with."""
        if self.reply is not None and self.reply.response_code is not None:
            return self.reply.response_code
        if self.failure is Failure.PREFIX_UNKNOWN:
            return ResponseCode.HANDLE_NOT_FOUND
        if self.failure is Failure.NO_SERVICE:
            return ResponseCode.SERVER_NOT_RESPONSIBLE
        if self.failure is Failure.REFUSED:
            return ResponseCode.INSUFFICIENT_PERMISSIONS
        return ResponseCode.ERROR


class _Stopped(Exception):  # noqa: N818 - it ends a walk, that is no error
    """Carries a failure out of the nested generators."""

    def __init__(self, failure: Failure, words: str) -> None:
        super().__init__(words)
        self.done = Done(None, failure=failure, words=words)


Steps = Generator[Ask, Reply, Reply]


class Walk:
    """One walk. Call `next`, ask, `receive`, and so on until `next` returns Done.

    Args:
        handle: what is to be asked about in the end.
        roots: the sites of the root, from the bootstrap file.
        start: ask these instead of looking the prefix up.
        refer: follow referrals; otherwise a referral is the answer.
        hops_max: questions at most.
        depth_max: HS_SERV values followed one after the other at most.
    """

    def __init__(
        self,
        handle: bytes,
        roots: tuple[HsSite, ...],
        *,
        start: tuple[HsSite, ...] = (),
        refer: bool = True,
        hops_max: int = HOPS_MAX,
        depth_max: int = DEPTH_MAX,
    ) -> None:
        self._handle = handle
        self._roots = roots
        self._start = start
        self._refer = refer
        self._hops_left = hops_max
        self._hops_max = hops_max
        self._depth_max = depth_max
        self._asked: set[tuple[bytes, bool, frozenset[HsSite], bool]] = set()
        self._sites: tuple[HsSite, ...] = ()
        self._steps = self._walk()
        self._now: Ask | Done = self._advance(None)

    def next(self) -> Ask | Done:
        """Return what to ask now, or that the walk is over. Calling it again changes nothing."""
        return self._now

    def receive(self, reply: Reply) -> None:
        """Take in what came of the last Ask."""
        assert isinstance(self._now, Ask), "the walk is over"
        self._now = self._advance(reply)

    def _advance(self, reply: Reply | None) -> Ask | Done:
        try:
            return next(self._steps) if reply is None else self._steps.send(reply)
        except StopIteration as end:
            return Done(end.value, self._sites)
        except _Stopped as stopped:
            return stopped.done

    def _walk(self) -> Steps:
        sites = self._start or (self._roots if asked_at_root(self._handle) else ())
        if not sites:
            sites = yield from self._find_service()
        return (yield from self._ask_along(self._handle, sites, is_lookup=False))

    def _find_service(self) -> Generator[Ask, Reply, tuple[HsSite, ...]]:
        """Return the sites that serve the handle's prefix."""
        prefix = prefix_handle(self._handle)
        for authoritative in (False, True):
            reply = yield from self._ask_along(
                prefix, self._roots, is_lookup=True, authoritative=authoritative
            )
            if reply.response_code is None:
                failure = Failure.UNBELIEVED if reply.unbelieved else Failure.NO_ANSWER
                raise _Stopped(failure, reply.problem)
            seen = {fold_handle(prefix)}
            sites = yield from self._sites_from(reply.values, seen, 0)
            if sites:
                return sites
            if reply.authoritative:
                break
        name = to_text(prefix)
        if reply.response_code == ResponseCode.HANDLE_NOT_FOUND:
            raise _Stopped(Failure.PREFIX_UNKNOWN, f"the prefix {name} is not registered")
        if reply.response_code in _FOUND:
            raise _Stopped(Failure.NO_SERVICE, f"{name} exists and names no site that serves it")
        if reply.response_code == ResponseCode.INSUFFICIENT_PERMISSIONS:
            raise _Stopped(Failure.REFUSED, reply.problem or f"nobody may look {name} up")
        raise _Stopped(
            Failure.NO_ANSWER, f"the look-up of {name} ended with code {reply.response_code}"
        )

    def _ask_along(
        self,
        handle: bytes,
        sites: tuple[HsSite, ...],
        *,
        is_lookup: bool,
        authoritative: bool = False,
    ) -> Steps:
        """Ask sites and those they refer to; return the reply that is no referral."""
        while True:
            reply = yield self._ask(handle, sites, is_lookup, authoritative)
            if not is_lookup:
                self._sites = sites
            if reply.response_code not in REFERRALS or not (self._refer or is_lookup):
                return reply
            seen = {fold_handle(handle)}
            sites = yield from self._sites_from(reply.values, seen, 0, _REFERRED)
            if not sites and reply.referred:
                sites = yield from self._sites_of(reply.referred, seen, 0)
            if not sites:
                raise _Stopped(
                    Failure.EMPTY_REFERRAL,
                    f"{to_text(handle)} was referred to a place that names no site",
                )

    def _ask(
        self, handle: bytes, sites: tuple[HsSite, ...], is_lookup: bool, authoritative: bool
    ) -> Ask:
        question = (fold_handle(handle), is_lookup, frozenset(sites), authoritative)
        if question in self._asked:
            raise _Stopped(Failure.LOOP, f"the referrals for {to_text(handle)} go in a circle")
        if not self._hops_left:
            raise _Stopped(
                Failure.TOO_FAR, f"no answer after {self._hops_max} steps; referrals lead too far"
            )
        self._asked.add(question)
        self._hops_left -= 1
        return Ask(handle, sites, is_lookup, authoritative)

    def _sites_from(
        self,
        values: Iterable[HandleValue],
        seen: set[bytes],
        depth: int,
        types: frozenset[bytes] = _SERVING,
    ) -> Generator[Ask, Reply, tuple[HsSite, ...]]:
        """Return the sites in values and those of the services they name."""
        values = tuple(value for value in values if value.type in types)
        sites = list(sites_in(values))
        for service in services_in(values):
            sites += yield from self._sites_of(service, seen, depth + 1)
        return tuple(dict.fromkeys(sites))[:SITES_MAX]

    def _sites_of(
        self, service: bytes, seen: set[bytes], depth: int
    ) -> Generator[Ask, Reply, tuple[HsSite, ...]]:
        """Return the sites of a service handle; nothing beyond the depth or the second time."""
        folded = fold_handle(service)
        if folded == ROOT_HANDLE:
            return self._roots
        if folded in seen or depth > self._depth_max:
            return ()
        seen.add(folded)
        sites = self._roots
        if not asked_at_root(service):
            reply = yield from self._ask_along(prefix_handle(service), self._roots, is_lookup=True)
            sites = yield from self._sites_from(reply.values, seen, depth)
        if not sites:
            return ()
        reply = yield from self._ask_along(service, sites, is_lookup=True)
        return (yield from self._sites_from(reply.values, seen, depth))


def asked_at_root(handle: bytes) -> bool:
    """Say whether a handle is asked at the root's sites without looking its prefix up."""
    return handle.startswith((b"0.", b"0/")) or b"/" not in handle


def sites_in(values: Iterable[HandleValue]) -> tuple[HsSite, ...]:
    """Return the sites among values; those that do not decode serve nobody and are left out."""
    found = (_decode_site(value.data) for value in values if value.type in _REFERRED - _SERVICES)
    return tuple(site for site in found if site is not None)


def services_in(values: Iterable[HandleValue]) -> tuple[bytes, ...]:
    """Return the service handles among values."""
    services = []
    for value in values:
        if value.type in _SERVICES:
            with suppress(ProtocolError):
                services.append(decode_hs_serv(value.data).handle)
    return tuple(services)


def _decode_site(data: bytes) -> HsSite | None:
    if len(data) > _SITE_OCTETS_KEPT_MAX:
        return _decode_site_anew.__wrapped__(data)
    return _decode_site_anew(data)


@lru_cache(maxsize=1_024)
def _decode_site_anew(data: bytes) -> HsSite | None:
    """Decode a site; the same few are met again in every walk."""
    try:
        return decode_hs_site(data)
    except ProtocolError:
        return None


def ttl_of(values: Iterable[HandleValue], now_s: int, ttl_max_s: int) -> int:
    """Return for how many seconds values may be kept: as long as the shortest-lived of them.

    An absolute ttl is the second it ends at. No values: `ttl_max_s`.
    """
    shortest_s = ttl_max_s
    for value in values:
        ttl_s = value.ttl - now_s if value.ttl_type == TTL_ABSOLUTE else value.ttl
        shortest_s = min(shortest_s, ttl_s)
    return max(0, shortest_s)
