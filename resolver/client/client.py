"""A client for programs that resolve and register identifiers, on asyncio.

A HandleClient holds no connection between calls, only what it has learnt about prefixes and about
how fast nodes answer: use one for each program and identity. Given the root's sites it finds the
node that holds a handle by itself (`resolver.recursion`); given one site it asks that one, a
recursive node for example, and follows its referrals.
"""

import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence

from protocol.bodies import (
    Body,
    CreatedAnswer,
    HandleRequest,
    RemoveValuesRequest,
    ResolutionRequest,
    SiteInfoAnswer,
    ValuesRequest,
)
from protocol.codes import MessageFlag, OpCode
from protocol.handle import PREFIX_HANDLE_START, ROOT_HANDLE, fold_handle
from protocol.types.hs_site import HsSite, decode_hs_site
from protocol.value import HandleValue
from resolver.asking import Answer, Request
from resolver.client.dialogue import Dialogue
from resolver.client.identities import Identity
from resolver.client.results import Resolution
from resolver.client.sessions import SessionBook, SessionOptions
from resolver.upstream import TRANSPORTS, Upstream
from resolver.walker import ReplyMemory

PREFIXES_KEPT_MAX = 1_024  # services of prefixes remembered; a program uses a handful
SERVICE_TTL_MAX_S = 300  # a service that moved is found again within five minutes

Text = str | bytes


def octets_of(text: Text) -> bytes:
    """Return text as the octets that are sent."""
    return text.encode() if isinstance(text, str) else text


class HandleClient:
    """Resolves and registers handles. Use from one event loop.

    Args:
        roots: the root's sites, from `read_bootstrap`; or
        site: one site to ask for everything, from `fetch_site` or `read_site`.
        identity: proves who is asking when a node wants to know.
        certify: have every answer signed and check it with the keys in the sites' records.
        transports: those allowed, in order of preference.
        sessions: make changes in sessions like these; None: every change is challenged.
        upstream: asks and keeps time; give `Upstream(UpstreamSettings(...))` for other time-outs.
        wall_clock: seconds since 1970.
    """

    def __init__(
        self,
        roots: Sequence[HsSite] = (),
        *,
        site: HsSite | None = None,
        identity: Identity | None = None,
        certify: bool = False,
        transports: Sequence[int] = TRANSPORTS,
        sessions: SessionOptions | None = None,
        upstream: Upstream | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        if not roots and site is None:
            raise ValueError("give the root's sites, or one site to ask")
        start = () if site is None else (site,)
        self._certify = certify
        self._transports = tuple(transports)
        upstream = upstream or Upstream(wall_clock=wall_clock)
        self._sessions = SessionBook(upstream, identity, sessions) if sessions else None
        self._dialogue = Dialogue(
            upstream,
            ReplyMemory(PREFIXES_KEPT_MAX, wall_clock, SERVICE_TTL_MAX_S),
            roots=tuple(roots) or start,
            start=start,
            identity=identity,
            certify=certify,
            sessions=self._sessions,
        )

    @property
    def session_refusals(self) -> tuple[str, ...]:
        """What servers said that do no sessions and are asked without."""
        return self._sessions.refusals if self._sessions is not None else ()

    async def end_sessions(self) -> None:
        """End the sessions that were set up; the next change sets up a new one."""
        if self._sessions is not None:
            await self._sessions.end()

    async def resolve(
        self,
        handle: Text,
        types: Iterable[Text] = (),
        indexes: Iterable[int] = (),
        *,
        private: bool = False,
        authoritative: bool = False,
        transport: int | None = None,
    ) -> Resolution:
        """Return a handle's values.

        Args:
            handle: what to resolve.
            types: only values of these types or ...
            indexes: ... at these indexes; both empty: all.
            private: also values that not everybody may read; needs an identity.
            authoritative: ask primary sites only, and let no cache answer.
            transport: TRANSPORT_UDP, _TCP, _HTTP or _HTTPS for the last question; None: any.

        Raises:
            HandleNotFoundError: it is not registered.
            ValuesNotFoundError: it has no such values.
            HandleError: any other refusal, or nobody answered.
        """
        octets = octets_of(handle)
        body = ResolutionRequest(octets, tuple(indexes), tuple(map(octets_of, types)))
        flags = MessageFlag.CACHE_CERTIFY
        flags |= MessageFlag.RECURSIVE if self._dialogue.asks_one_site else 0
        flags |= 0 if private else MessageFlag.PUBLIC_ONLY
        flags |= MessageFlag.AUTHORITATIVE if authoritative else 0
        started_s = time.monotonic()
        transports = self._transports if transport is None else (transport,)
        request = Request(octets, OpCode.RESOLUTION, body, flags)
        answer, hops = await self._dialogue.perform(request, transports)
        assert isinstance(answer.body, ValuesRequest), "the body of a successful resolution"
        return Resolution(
            handle=answer.body.handle,
            values=answer.body.values,
            is_authoritative=answer.message.header.has(MessageFlag.AUTHORITATIVE),
            is_certified=self._certify,
            elapsed_ms=(time.monotonic() - started_s) * 1e3,
            hops=hops,
        )

    async def create(
        self,
        handle: Text,
        values: Iterable[HandleValue],
        *,
        overwrite: bool = False,
        mint: bool = False,
    ) -> bytes:
        """Register a handle and return it; with `mint` the node completes its suffix.

        Raises:
            AlreadyExistsError: it exists and `overwrite` is not given.
            HandleError: any other refusal; nothing was registered.
        """
        flags = _overwrite(overwrite) | (MessageFlag.MINT_SUFFIX if mint else 0)
        body = ValuesRequest(octets_of(handle), tuple(values))
        answer = await self._administer(OpCode.CREATE_HANDLE, body.handle, body, flags)
        created = answer.body.handle if isinstance(answer.body, CreatedAnswer) else None
        return body.handle if created is None else created

    async def add(
        self, handle: Text, values: Iterable[HandleValue], *, overwrite: bool = False
    ) -> None:
        """Add values at free indexes; with `overwrite` at any. Raises: HandleError."""
        body = ValuesRequest(octets_of(handle), tuple(values))
        await self._administer(OpCode.ADD_VALUE, body.handle, body, _overwrite(overwrite))

    async def modify(self, handle: Text, values: Iterable[HandleValue]) -> None:
        """Replace the values at their indexes, which must exist. Raises: HandleError."""
        body = ValuesRequest(octets_of(handle), tuple(values))
        await self._administer(OpCode.MODIFY_VALUE, body.handle, body)

    async def remove(self, handle: Text, indexes: Iterable[int]) -> None:
        """Remove the values at these indexes. Raises: HandleError."""
        body = RemoveValuesRequest(octets_of(handle), tuple(indexes))
        await self._administer(OpCode.REMOVE_VALUE, body.handle, body)

    async def delete(self, handle: Text) -> None:
        """Delete a handle. Raises: HandleError."""
        octets = octets_of(handle)
        await self._administer(OpCode.DELETE_HANDLE, octets, HandleRequest(octets))

    async def home(self, prefix: Text) -> None:
        """Have the asked site hold itself responsible for a prefix. Raises: HandleError."""
        await self._home(OpCode.HOME_NA, prefix)

    async def unhome(self, prefix: Text) -> None:
        """Have the asked site give a prefix up. Raises: HandleError."""
        await self._home(OpCode.UNHOME_NA, prefix)

    async def list_handles(self, prefix: Text) -> AsyncGenerator[bytes, None]:
        """Iterate over the handles under a prefix, `88.118` or `0.NA/88.118`.

        Raises:
            HandleError: refused, or the list broke off.
        """
        handle = prefix_to_handle(prefix)
        locate = handle[len(PREFIX_HANDLE_START) :] + b"/"
        request = Request(handle, OpCode.LIST_HANDLES, HandleRequest(handle))
        listed = self._dialogue.list_all(request, locate, self._transports)
        async with contextlib.aclosing(listed) as handles:
            async for each in handles:
                yield each

    async def list_homed(self) -> AsyncGenerator[bytes, None]:
        """Iterate over the prefix handles the asked site is responsible for.

        Raises:
            HandleError: refused, or the list broke off.
        """
        request = Request(ROOT_HANDLE, OpCode.LIST_HOMED_NAS, HandleRequest(ROOT_HANDLE))
        listed = self._dialogue.list_all(request, ROOT_HANDLE, self._transports)
        async with contextlib.aclosing(listed) as handles:
            async for each in handles:
                yield each

    async def site_info(self) -> HsSite:
        """Return the site record that the asked site gives of itself. Raises: HandleError."""
        request = Request(b"/", OpCode.GET_SITE_INFO, HandleRequest(b"/"))
        answer = await self._dialogue.ask_directly(request, self._transports)
        assert isinstance(answer.body, SiteInfoAnswer), "the body of a successful GET_SITE_INFO"
        return decode_hs_site(answer.body.site)

    async def find_site(self, handle: Text) -> HsSite:
        """Return the primary site that is responsible for a handle. Raises: HandleError."""
        sites = await self._dialogue.locate(octets_of(handle), [])
        return next((site for site in sites if site.is_primary), sites[0])

    async def _home(self, opcode: OpCode, prefix: Text) -> None:
        handle = prefix_to_handle(prefix)
        await self._administer(opcode, handle, HandleRequest(handle))

    async def _administer(
        self, opcode: OpCode, handle: bytes, body: Body, flags: int = 0
    ) -> Answer:
        request = Request(handle, opcode, body, flags)
        answer, _ = await self._dialogue.perform(request, self._transports)
        return answer


def prefix_to_handle(prefix: Text) -> bytes:
    """Return the prefix handle of `88.118` or `0.NA/88.118`: `0.NA/88.118`."""
    return fold_handle(octets_of(prefix))


def _overwrite(overwrite: bool) -> int:
    return MessageFlag.OVERWRITE if overwrite else 0
