"""Asking other nodes: which server, over what, and whether its answer may be believed.

    Request ──► candidates ──► attempts, one after the other or overlapping ──► Answer
                   │                       └─ `exchanges` moves the octets, the answer is checked
                   └─ for each transport UDP, TCP, HTTP, HTTPS; in it each site, fastest first
                      (`latency`); of a site the one server the handle hashes to

A query that stays unanswered for a head start is sent to the next candidate as well, and the first
good answer counts: one dead site costs its head start, not its time-outs. What changes something
is never sent twice: only when no connection was made is the next candidate tried.

An answer is believed when its request id is ours, its request digest (if any) is that of what was
sent, and, certified, it is signed with the key the site's record names for that server.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncGenerator, Callable, Sequence

from protocol.codes import OpCode
from protocol.errors import ProtocolError
from protocol.types.hs_site import (
    TRANSPORT_HTTP,
    TRANSPORT_HTTPS,
    TRANSPORT_TCP,
    TRANSPORT_UDP,
    HsSite,
)
from resolver.asking import (
    Answer,
    Candidate,
    Hop,
    Request,
    build_message,
    check_answer,
    choose_server,
    encode_request,
    interfaces_of,
)
from resolver.exchanges import (
    Endpoint,
    ExchangeError,
    ExchangeLimits,
    NotSentError,
    exchange_udp,
    stream_tcp,
)
from resolver.http_tunnel import stream_http
from resolver.latency import Latencies
from resolver.racing import NoAnswerError, race
from resolver.upstream_settings import UpstreamSettings

TRANSPORTS = (TRANSPORT_UDP, TRANSPORT_TCP, TRANSPORT_HTTP, TRANSPORT_HTTPS)
STREAM_TRANSPORTS = TRANSPORTS[1:]
STREAM_OCTETS_MAX = 1 << 30  # 20 million handles of 50 octets; more is asked for by prefix
CHANGE_UNKNOWN = "whether the change was made is not known: look it up"
_LIST_OPCODES = frozenset({OpCode.LIST_HANDLES, OpCode.LIST_HOMED_NAS})

Mover = Callable[[bytes, Endpoint, ExchangeLimits, bytes], AsyncGenerator[bytes, None]]


class Upstream:
    """Asks other nodes and remembers how fast they are. Use from one event loop.

    Args:
        settings: time-outs and bounds.
        clock: seconds, monotonic.
        wall_clock: seconds since 1970, for the expiry that requests carry.
        chance: noise for the order of sites.
        mover: moves octets there and back; tests put a network of their own here.
    """

    def __init__(
        self,
        settings: UpstreamSettings | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        chance: random.Random | None = None,
        mover: Mover | None = None,
    ) -> None:
        self.settings = settings or UpstreamSettings()
        self.latencies = Latencies(chance)
        self._clock = clock
        self._wall_clock = wall_clock
        self._mover = mover or move
        self._turns = asyncio.Semaphore(self.settings.in_flight_max)

    async def exchange(
        self,
        request: Request,
        sites: Sequence[HsSite],
        *,
        transports: Sequence[int] = TRANSPORTS,
        certify: bool = False,
        timeout_s: float | None = None,
        trace: list[Hop] | None = None,
    ) -> Answer:
        """Ask until somebody answers; the answer's first message is returned.

        Args:
            request: what to ask.
            sites: who may be asked; a request that needs a primary site passes over the others.
            transports: those allowed, in order of preference.
            certify: have the answer signed and check it.
            timeout_s: seconds for all attempts together.
            trace: gets a Hop for every attempt that ended.

        Raises:
            NoAnswerError: nobody answered, or nobody can be asked.
            SecurityError: answers came, but none that may be believed.
        """
        candidates = self.candidates(request, sites, transports)
        if not candidates:
            raise NoAnswerError([_nobody(request, sites)])
        hops = trace if trace is not None else []
        try:
            async with asyncio.timeout(timeout_s or self.settings.timeout_s):
                if request.is_query:
                    return await race(
                        candidates,
                        lambda candidate: self.attempt(request, candidate, certify, hops),
                        self.settings.head_start_s,
                    )
                return await self._in_turn(request, candidates, certify, hops)
        except TimeoutError:
            waited_s = timeout_s or self.settings.timeout_s
            problems = [hop.problem for hop in hops if hop.problem]
            raise NoAnswerError([*problems, f"no answer within {waited_s:g} s"]) from None

    async def stream(
        self, request: Request, candidate: Candidate, *, certify: bool = False
    ) -> AsyncGenerator[Answer, None]:
        """Ask one candidate and yield every message of its answer, as lists have many.

        Raises:
            ExchangeError: no answer, not all of it, or more than 1 GiB.
            ProtocolError: an answer that breaks the protocol or may not be believed.
        """
        sent = build_message(request, candidate.site, certify=certify, now_s=self._wall_clock())
        endpoint, limits = candidate.endpoint, self.settings.limits
        octets = 0
        started_s = self._clock()
        octets_sent = encode_request(request, sent)
        messages = self._mover(octets_sent, endpoint, limits, request.handle)
        async with self._turns, contextlib.aclosing(messages) as moved:
            async for received in moved:
                octets += len(received)
                if octets > STREAM_OCTETS_MAX:
                    raise ExchangeError(f"{endpoint}: over {STREAM_OCTETS_MAX} octets")
                elapsed_ms = (self._clock() - started_s) * 1e3
                yield check_answer(
                    request, sent, received, candidate, certify=certify, elapsed_ms=elapsed_ms
                )

    def candidates(
        self, request: Request, sites: Sequence[HsSite], transports: Sequence[int] = TRANSPORTS
    ) -> list[Candidate]:
        """Return whom a request may go to, best first."""
        if request.needs_primary:
            sites = [site for site in sites if site.is_primary]
        if request.opcode in _LIST_OPCODES:
            transports = [each for each in transports if each in STREAM_TRANSPORTS]
        now_s = self._clock()
        chosen = [(site, choose_server(site, request.handle)) for site in sites if site.servers]
        chosen.sort(key=lambda pair: self.latencies.cost_ms(str(pair[1].ip)))
        found = [
            candidate
            for transport in transports
            for site, server in chosen
            for candidate in interfaces_of(site, server, transport, admin=not request.is_query)
        ]
        # What just failed comes last: of a server whose UDP is cut off, TCP still comes early.
        found.sort(key=lambda each: self.latencies.is_paused(str(each.endpoint), now_s))
        return found

    async def _in_turn(
        self, request: Request, candidates: list[Candidate], certify: bool, hops: list[Hop]
    ) -> Answer:
        problems = []
        for candidate in candidates:
            try:
                return await self.attempt(request, candidate, certify, hops)
            except NotSentError as error:
                problems.append(str(error))
            except ExchangeError as error:
                raise NoAnswerError([*problems, f"{error}; {CHANGE_UNKNOWN}"]) from None
        raise NoAnswerError(problems)

    async def attempt(
        self, request: Request, candidate: Candidate, certify: bool, hops: list[Hop]
    ) -> Answer:
        """Ask one candidate once and return its answer's first message, noting the attempt.

        Raises:
            ExchangeError: no answer.
            ProtocolError: an answer that breaks the protocol or may not be believed.
        """
        endpoint = candidate.endpoint
        started_s = self._clock()
        code, problem = 0, ""
        try:
            answer = await self._first(request, candidate, certify)
        except ProtocolError as error:
            problem = f"{endpoint}: {error}"
            raise
        except ExchangeError as error:
            problem = str(error)
            self.latencies.fail(str(endpoint), self._clock())
            raise
        except asyncio.CancelledError:
            problem = f"{endpoint}: not waited for any longer"
            if self._clock() - started_s >= self.settings.head_start_s:
                self.latencies.fail(str(endpoint), self._clock())
            raise
        else:
            code = answer.response_code
            for name in (endpoint.address, str(endpoint)):
                self.latencies.observe(name, answer.elapsed_ms)
            return answer
        finally:
            elapsed_ms = (self._clock() - started_s) * 1e3
            hops.append(Hop(endpoint, request.handle, request.opcode, code, elapsed_ms, problem))

    async def _first(self, request: Request, candidate: Candidate, certify: bool) -> Answer:
        async with contextlib.aclosing(self.stream(request, candidate, certify=certify)) as answers:
            async for answer in answers:
                return answer
        raise ExchangeError(f"{candidate.endpoint}: empty answer")


async def move(
    octets: bytes, endpoint: Endpoint, limits: ExchangeLimits, handle: bytes
) -> AsyncGenerator[bytes, None]:
    """Send a request over the endpoint's transport and yield each message of the answer.

    Raises:
        ExchangeError: no answer, or not all of it.
        ProtocolError: octets that are no answer to this request.
    """
    if endpoint.transport == TRANSPORT_UDP:
        yield await exchange_udp(octets, endpoint, limits)
        return
    if endpoint.transport == TRANSPORT_TCP:
        messages = stream_tcp(octets, endpoint, limits)
    else:
        messages = stream_http(octets, endpoint, limits, handle)
    async with contextlib.aclosing(messages) as moved:
        async for message in moved:
            yield message


def _nobody(request: Request, sites: Sequence[HsSite]) -> str:
    what = "administration" if not request.is_query else "queries"
    if request.needs_primary and not any(site.is_primary for site in sites):
        return f"none of {len(sites)} sites is a primary one, which {what} needs here"
    return f"none of {len(sites)} sites has an interface for {what} over the transports allowed"
