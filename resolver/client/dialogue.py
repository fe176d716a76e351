"""From a request to its answer: the walk to the right node, challenges on the way, lists.

`HandleClient` says what is wanted; here it is asked for. A request goes to the sites a walk finds;
when one of them challenges it, the same server gets the proof of identity and so the answer.
"""

import contextlib
from collections.abc import AsyncGenerator, Sequence

from protocol.bodies import HandleListAnswer
from protocol.codes import ResponseCode
from protocol.errors import ProtocolError
from protocol.types.hs_site import HsSite
from resolver.asking import Answer, Candidate, Hop, Request, UnsendableError, interfaces_of
from resolver.client.challenges import CHALLENGES_MAX, answer_challenge, is_challenge
from resolver.client.errors import (
    HandleError,
    ServiceUnavailableError,
    error_for,
    unbelieved,
    unreachable,
    unsendable,
)
from resolver.client.identities import Identity
from resolver.client.sessions import SessionBook, SessionEndedError, SessionRefusedError
from resolver.exchanges import ExchangeError, NotSentError
from resolver.racing import NoAnswerError
from resolver.recursion import Ask, Done, Failure, Reply, Walk
from resolver.upstream import CHANGE_UNKNOWN, STREAM_TRANSPORTS, Upstream
from resolver.walker import Lookups, ReplyMemory, follow, reply_from, words_of


class Dialogue:
    """Puts requests to the nodes that hold their handles.

    Args:
        upstream: how nodes are asked.
        memory: services of prefixes looked up before.
        roots: where a walk starts; `start`, when not empty, is asked instead.
        identity: answers challenges.
        certify: have every answer signed.
        sessions: in which changes are asked for; None: each change is challenged.
    """

    def __init__(
        self,
        upstream: Upstream,
        memory: ReplyMemory,
        *,
        roots: tuple[HsSite, ...],
        start: tuple[HsSite, ...],
        identity: Identity | None,
        certify: bool,
        sessions: SessionBook | None = None,
    ) -> None:
        self._upstream = upstream
        self._memory = memory
        self._roots = roots
        self._start = start
        self._identity = identity
        self._certify = certify
        self._sessions = sessions

    @property
    def asks_one_site(self) -> bool:
        """Say whether every question goes to one site, which may have to recurse for us."""
        return bool(self._start)

    async def perform(
        self, request: Request, transports: Sequence[int]
    ) -> tuple[Answer, tuple[Hop, ...]]:
        """Walk to whoever is responsible and return a successful answer and the way to it.

        Raises:
            HandleError: refused, or nobody answered.
        """
        hops: list[Hop] = []
        answers: list[Answer] = []
        lookups = self._lookups(hops)

        async def ask(step: Ask) -> Reply:
            if step.is_lookup:
                return await lookups.services(step)
            try:
                answers.append(await self._question(request, step.sites, transports, hops))
            except (ExchangeError, ProtocolError) as error:
                raise _failure(error, hops) from None
            return reply_from(answers[-1])

        walk = Walk(request.handle, self._roots, start=self._start)
        done = await follow(walk, ask)
        if done.reply is None or done.reply.response_code is None:
            raise _error_of(done, hops)
        if done.reply.response_code != ResponseCode.SUCCESS:
            raise error_for(done.reply.response_code, words_of(answers[-1]), hops)
        return answers[-1], tuple(hops)

    async def ask_directly(self, request: Request, transports: Sequence[int]) -> Answer:
        """Ask the one site, or the root's, and return a successful answer.

        Raises:
            HandleError: refused, or nobody answered.
        """
        hops: list[Hop] = []
        sites = self._start or self._roots
        try:
            answer = await self._question(request, sites, transports, hops)
        except (ExchangeError, ProtocolError) as error:
            raise _failure(error, hops) from None
        if answer.response_code != ResponseCode.SUCCESS:
            raise error_for(answer.response_code, words_of(answer), hops)
        return answer

    async def list_all(
        self, request: Request, locate: bytes, transports: Sequence[int]
    ) -> AsyncGenerator[bytes, None]:
        """Yield the handles of a list from every server of the site that has `locate`.

        Raises:
            HandleError: refused, nobody answered, or the list broke off.
        """
        hops: list[Hop] = []
        sites = self._start or await self.locate(locate, hops)
        found = self._upstream.candidates(request, sites, transports)
        if not found:
            raise unreachable("no primary site takes administration over TCP or HTTP", hops)
        site = found[0].site
        for server in site.servers:
            candidates = [
                candidate
                for transport in transports
                if transport in STREAM_TRANSPORTS
                for candidate in interfaces_of(site, server, transport, admin=True)
            ]
            async with contextlib.aclosing(self._list_one(request, candidates)) as handles:
                async for handle in handles:
                    yield handle

    async def locate(self, handle: bytes, hops: list[Hop]) -> tuple[HsSite, ...]:
        """Return the sites that a handle would be asked at; note the way in `hops`.

        Raises:
            HandleError: its prefix is not known, or nobody answered.
        """
        walk = Walk(handle, self._roots)
        lookups = self._lookups(hops)
        while True:
            step = walk.next()
            if isinstance(step, Done):
                raise _error_of(step, hops)
            if not step.is_lookup:
                return step.sites
            walk.receive(await lookups.services(step))

    async def _list_one(
        self, request: Request, candidates: list[Candidate]
    ) -> AsyncGenerator[bytes, None]:
        problems = []
        for candidate in candidates:
            try:
                async for answer in self._messages(request, candidate):
                    if answer.response_code != ResponseCode.SUCCESS:
                        raise error_for(answer.response_code, words_of(answer))
                    assert isinstance(answer.body, HandleListAnswer), "the body of a list"
                    for handle in answer.body.handles:
                        yield handle
                return
            except NotSentError as error:
                problems.append(str(error))
            except (ExchangeError, ProtocolError) as error:
                raise _failure(error, (), "the list broke off: ") from None
        raise unreachable("; ".join(problems) or "no interface for administration")

    async def _messages(
        self, request: Request, candidate: Candidate
    ) -> AsyncGenerator[Answer, None]:
        """Yield the messages of an answer; a challenge is answered, not yielded."""
        for challenges_left in reversed(range(CHALLENGES_MAX + 1)):
            challenge: Answer | None = None
            stream = self._upstream.stream(request, candidate, certify=self._certify)
            async with contextlib.aclosing(stream) as answers:
                async for answer in answers:
                    if is_challenge(answer) and self._identity and challenges_left:
                        challenge = answer
                        break
                    yield answer
            if challenge is None or self._identity is None:
                return
            request = await answer_challenge(challenge, request, self._identity)

    async def _question(
        self,
        request: Request,
        sites: Sequence[HsSite],
        transports: Sequence[int],
        hops: list[Hop],
    ) -> Answer:
        if self._sessions is not None and not request.is_query:
            in_session = await self._in_session(self._sessions, request, sites, transports, hops)
            if in_session is not None:
                return in_session
        answer = await self._upstream.exchange(
            request, sites, transports=transports, certify=self._certify, trace=hops
        )
        for _ in range(CHALLENGES_MAX):
            if not is_challenge(answer) or self._identity is None:
                break
            request = await answer_challenge(answer, request, self._identity)
            candidate = self._by_stream(answer.candidate, transports)
            answer = await self._upstream.attempt(request, candidate, self._certify, hops)
        return answer

    async def _in_session(
        self,
        sessions: SessionBook,
        request: Request,
        sites: Sequence[HsSite],
        transports: Sequence[int],
        hops: list[Hop],
    ) -> Answer | None:
        """Ask for a change in a session; None: the server does none and may be asked without."""
        streams = [each for each in transports if each in STREAM_TRANSPORTS]
        problems = []
        for candidate in self._upstream.candidates(request, sites, streams):
            try:
                return await sessions.ask(request, candidate, hops)
            except NotSentError as error:
                problems.append(str(error))
            except ExchangeError as error:
                raise NoAnswerError([*problems, f"{error}; {CHANGE_UNKNOWN}"]) from None
        if problems:
            raise NoAnswerError(problems)
        return None

    def _by_stream(self, candidate: Candidate, transports: Sequence[int]) -> Candidate:
        """Return the same server over TCP where it can be: a proof sent twice is refused."""
        for transport in STREAM_TRANSPORTS:
            if transport in transports:
                for other in interfaces_of(
                    candidate.site, candidate.server, transport, admin=False
                ):
                    if other.endpoint.address == candidate.endpoint.address:
                        return other
        return candidate

    def _lookups(self, hops: list[Hop]) -> Lookups:
        return Lookups(self._upstream, certify=self._certify, trace=hops, memory=self._memory)


def _error_of(done: Done, hops: Sequence[Hop]) -> HandleError:
    """Return the error for a walk that ended without an answer."""
    words = done.words or (done.reply.problem if done.reply is not None else "")
    if done.failure in (Failure.PREFIX_UNKNOWN, Failure.NO_SERVICE):
        return error_for(done.response_code, words, hops)
    if done.failure is Failure.UNBELIEVED:
        return unbelieved(words, hops)
    return unreachable(words, hops)


def _failure(
    error: ExchangeError | ProtocolError, hops: Sequence[Hop], what: str = ""
) -> HandleError:
    """Return the error that says why there is no answer to go by: nobody's, or not a good one."""
    words = f"{what}{error}"
    if isinstance(error, UnsendableError):
        return unsendable(words)
    if isinstance(error, SessionRefusedError | SessionEndedError):
        return ServiceUnavailableError(words, hint="try it without sessions", hops=hops)
    if isinstance(error, ProtocolError):
        return unbelieved(words, hops)
    return unreachable(words, hops)
