"""Doing what a `recursion.Walk` asks for: the one loop that client, keeper and registrar share."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable

from protocol.bodies import ErrorAnswer, ReferralAnswer, ResolutionRequest, ValuesRequest
from protocol.codes import MessageFlag, OpCode, ResponseCode
from protocol.errors import ProtocolError
from protocol.handle import fold_handle
from resolver.asking import Answer, Hop, Request
from resolver.exchanges import ExchangeError
from resolver.recursion import LOOKUP_TYPES, Ask, Done, Reply, Walk, ttl_of
from resolver.upstream import TRANSPORTS, Upstream

Asker = Callable[[Ask], Awaitable[Reply]]


async def follow(walk: Walk, ask: Asker) -> Done:
    """Go a walk to its end, putting every question to `ask`."""
    while True:
        step = walk.next()
        if isinstance(step, Done):
            return step
        walk.receive(await ask(step))


def reply_from(answer: Answer) -> Reply:
    """Return what a walk needs to know of an answer."""
    body = answer.body
    authoritative = answer.message.header.has(MessageFlag.AUTHORITATIVE)
    if isinstance(body, ReferralAnswer):
        return Reply(
            answer.response_code, body.values or (), body.handle, authoritative=authoritative
        )
    values = body.values if isinstance(body, ValuesRequest) else ()
    return Reply(answer.response_code, values, b"", words_of(answer), authoritative)


def words_of(answer: Answer) -> str:
    """Return the words of an error answer, empty when it has none."""
    if isinstance(answer.body, ErrorAnswer) and answer.body.message:
        return answer.body.message.decode("utf-8", "replace")
    return ""


class ReplyMemory:
    """Replies to look-ups, kept in memory until their ttl ends; the longest unused goes first.

    Args:
        entries_max: replies kept.
        clock: seconds since 1970, as an absolute ttl needs.
        ttl_max_s: kept no longer than this.
    """

    def __init__(self, entries_max: int, clock: Callable[[], float], ttl_max_s: int) -> None:
        self._entries_max = entries_max
        self._clock = clock
        self._ttl_max_s = ttl_max_s
        self._entries: OrderedDict[bytes, tuple[float, Reply]] = OrderedDict()

    def find(self, handle: bytes) -> Reply | None:
        """Return a reply that still holds, or None."""
        key = fold_handle(handle, case_sensitive=True)
        expires_s, reply = self._entries.get(key, (0.0, None))
        if reply is None or self._clock() >= expires_s:
            self._entries.pop(key, None)
            return None
        self._entries.move_to_end(key)
        return reply

    def keep(self, handle: bytes, reply: Reply) -> None:
        """Keep a success; anything else is asked again."""
        if reply.response_code != ResponseCode.SUCCESS:
            return
        now_s = self._clock()
        ttl_s = ttl_of(reply.values, int(now_s), self._ttl_max_s)
        if ttl_s:
            key = fold_handle(handle, case_sensitive=True)
            self._entries[key] = (now_s + ttl_s, reply)
            self._entries.move_to_end(key)
            if len(self._entries) > self._entries_max:
                self._entries.popitem(last=False)


class Lookups:
    """Asks for the values of handles as a walk's look-ups do.

    Args:
        upstream: how nodes are asked.
        certify: have every answer signed and check it against the sites' keys.
        timeout_s: seconds for each question.
        trace: gets a Hop for every attempt.
        recursion_count: of the request this is done for, plus one.
        transports: those allowed, in order of preference.
        memory: keeps what `services` learns, when given.
    """

    def __init__(
        self,
        upstream: Upstream,
        *,
        certify: bool = False,
        timeout_s: float | None = None,
        trace: list[Hop] | None = None,
        recursion_count: int = 0,
        transports: tuple[int, ...] = TRANSPORTS,
        memory: ReplyMemory | None = None,
    ) -> None:
        self._upstream = upstream
        self._memory = memory
        self._certify = certify
        self._timeout_s = timeout_s
        self._trace = trace
        self._recursion_count = recursion_count
        self._transports = transports

    async def services(self, ask: Ask) -> Reply:
        """Ask for what a walk needs of a prefix or service handle."""
        known = (
            self._memory.find(ask.handle)
            if self._memory is not None and not ask.authoritative
            else None
        )
        if known is not None:
            return known
        reply = await self.values(ask, LOOKUP_TYPES)
        if self._memory is not None:
            self._memory.keep(ask.handle, reply)
        return reply

    async def values(self, ask: Ask, types: tuple[bytes, ...] = ()) -> Reply:
        """Ask for a handle's public values of some types, or all."""
        flags = MessageFlag.PUBLIC_ONLY | MessageFlag.CACHE_CERTIFY
        if ask.authoritative:
            flags |= MessageFlag.AUTHORITATIVE
        request = Request(
            ask.handle,
            OpCode.RESOLUTION,
            ResolutionRequest(ask.handle, types=types),
            flags,
            recursion_count=self._recursion_count,
        )
        try:
            answer = await self._upstream.exchange(
                request,
                ask.sites,
                transports=self._transports,
                certify=self._certify,
                timeout_s=self._timeout_s,
                trace=self._trace,
            )
        except (ExchangeError, ProtocolError) as error:
            return Reply(None, problem=str(error), unbelieved=isinstance(error, ProtocolError))
        return reply_from(answer)
