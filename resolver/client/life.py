"""The life of identifiers: frozen, thawed, revoked; what they are, and what they were when."""

from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from datetime import datetime

from protocol.errors import InvalidValueError
from protocol.handle import to_text
from protocol.json_forms import values_from_json
from protocol.value import HandleValue
from resolver.client.calls import BlockingCalls, RestCalls
from resolver.client.client import Text, octets_of
from resolver.client.errors import HandleError
from resolver.told.life import LifeEvent, LifeHistory, LifeMoment, LifeState, State

__all__ = ["BlockingLifeCalls", "Event", "HistoryPage", "LifeCalls", "LifeState", "PastState"]

PATH = "/api/life"
PAGE_EVENTS = 100  # fetched at a time


@dataclass(frozen=True, slots=True)
class Event:
    """One change of an identifier.

    Attributes:
        sequence: the frame of the journal that made it.
        time: when, in RFC 3339.
        operation: create, replace, add, remove, modify, delete, replace-key, freeze, thaw, revoke;
            of the range around it register, split, shrink, cut (it is not in it any more).
        by: who did.
        values: all that it had afterwards, of changes of values.
        hidden: how many more there were, that only some may read.
        reason: why it was frozen, thawed or revoked.
        omitted: how many changes of the same frame before it are not told.
        range: the range that this was done to: `88.118.5/870101.M1.000001..100000`; "": none, it
            was done to the identifier itself.
        kept: it had values of its own, which stayed as they were.
    """

    sequence: int
    time: str
    operation: str
    by: str
    values: tuple[HandleValue, ...] = ()
    hidden: int = 0
    reason: str = ""
    omitted: int = 0
    range: str = ""
    kept: bool = False


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Some events of an identifier, as they came.

    Attributes:
        events: what was done.
        is_complete: whether nothing that was done up to the last of them is missing.
        known_after: the frame after which this node knows its history.
    """

    events: tuple[Event, ...]
    is_complete: bool
    known_after: int


@dataclass(frozen=True, slots=True)
class PastState:
    """What an identifier was.

    Attributes:
        state: active, frozen, revoked, deleted or unregistered.
        as_of: the frame of the journal after which it was so.
        values: what resolution would have found; `hidden` counts those only some may read.
        sequence: the frame that made it so, 0 when none is known; with `time`, `by` and `reason`.
        range: the range that it was so with, "" when it was so on its own.
    """

    state: str
    as_of: int
    values: tuple[HandleValue, ...] = ()
    hidden: int = 0
    sequence: int = 0
    time: str = ""
    by: str = ""
    reason: str = ""
    range: str = ""


class LifeCalls(RestCalls):
    """The life of identifiers of a node."""

    async def freeze(self, handle: Text, reason: str = "") -> LifeState:
        """Let nobody change an identifier, until it is thawed. Raises: HandleError."""
        return await self._mark("freeze", handle, reason, "frozen")

    async def thaw(self, handle: Text, reason: str = "") -> LifeState:
        """Let a frozen identifier be changed again. Raises: HandleError."""
        return await self._mark("thaw", handle, reason, "active")

    async def revoke(self, handle: Text, reason: str) -> LifeState:
        """Revoke an identifier for good: it answers "not found" with the reason.

        Raises: HandleError.
        """
        return await self._mark("revoke", handle, reason, "revoked")

    async def life(self, handle: Text) -> LifeState:
        """Return what an identifier is. Raises: HandleError."""
        return await self._read(LifeState, f"{PATH}/state", {"handle": _text(handle)})

    async def history(
        self, handle: Text, *, after: int = 0, page_events: int = PAGE_EVENTS
    ) -> AsyncGenerator[Event, None]:
        """Iterate over the changes of an identifier, as they came.

        Args:
            handle: the identifier.
            after: only those of frames after this one.
            page_events: how many frames are fetched at a time, at most 100.

        Raises:
            HandleError: refused, or nobody answered.
        """
        async for page in self.history_pages(handle, after=after, page_events=page_events):
            for each in page.events:
                yield each

    async def history_pages(
        self, handle: Text, *, after: int = 0, page_events: int = PAGE_EVENTS
    ) -> AsyncGenerator[HistoryPage, None]:
        """Iterate over the same by pages, which say whether all is known. Raises: HandleError."""
        while True:
            query = {"handle": _text(handle), "after": str(after), "limit": str(page_events)}
            page = await self._read(LifeHistory, f"{PATH}/history", query)
            events = tuple(_event(each) for each in page.events)
            yield HistoryPage(events, page.complete, page.known_after)
            if not page.next:
                return
            after = page.next

    async def as_of(self, handle: Text, when: datetime | str | int) -> PastState:
        """Return what an identifier was.

        Args:
            handle: the identifier.
            when: a time with its zone, also as text of RFC 3339, or a frame of the journal.

        Raises:
            HandleError: refused, not known any more, or nobody answered.
        """
        query = {"handle": _text(handle)}
        if isinstance(when, int):
            query["sequence"] = str(when)
        else:
            query["time"] = when if isinstance(when, str) else when.isoformat()
        told = await self._read(LifeMoment, f"{PATH}/as-of", query)
        return PastState(
            told.state,
            told.as_of,
            _values(told),
            told.hidden,
            told.sequence,
            told.time,
            told.by,
            told.reason,
            told.range,
        )

    async def _mark(self, verb: str, handle: Text, reason: str, state: State) -> LifeState:
        """Change a state; one that was not answered is looked at before it is sent again."""

        async def settled() -> LifeState | None:
            found = await self.life(handle)
            is_ours = found.state == "active" or found.reason == reason.strip()
            return found if found.state == state and is_ours else None

        document = {"handle": _text(handle), "reason": reason}
        return await self._change(LifeState, f"{PATH}/{verb}", document, settled=settled)


def _text(handle: Text) -> str:
    return to_text(octets_of(handle))


def _event(told: LifeEvent) -> Event:
    return Event(
        told.sequence,
        told.time,
        told.operation,
        told.by,
        _values(told),
        told.hidden,
        told.reason,
        told.omitted,
        told.range,
        told.kept,
    )


def _values(told: LifeEvent | LifeMoment) -> tuple[HandleValue, ...]:
    try:
        return values_from_json(told.values)
    except InvalidValueError as error:
        words = f"the node told values that this client cannot read: {error}"
        raise HandleError(words, hint="is the node of another version than this client?") from None


class BlockingLifeCalls(BlockingCalls):
    """The life of identifiers, each call waited for: `LifeCalls`."""

    _client: LifeCalls

    def freeze(self, handle: Text, reason: str = "") -> LifeState:
        """Let nobody change an identifier: `LifeCalls.freeze`."""
        return self._wait(self._client.freeze(handle, reason))

    def thaw(self, handle: Text, reason: str = "") -> LifeState:
        """Let a frozen identifier be changed again: `LifeCalls.thaw`."""
        return self._wait(self._client.thaw(handle, reason))

    def revoke(self, handle: Text, reason: str) -> LifeState:
        """Revoke an identifier for good: `LifeCalls.revoke`."""
        return self._wait(self._client.revoke(handle, reason))

    def life(self, handle: Text) -> LifeState:
        """Return what an identifier is: `LifeCalls.life`."""
        return self._wait(self._client.life(handle))

    def history(
        self, handle: Text, *, after: int = 0, page_events: int = PAGE_EVENTS
    ) -> Iterator[Event]:
        """Iterate over the changes of an identifier: `LifeCalls.history`."""
        return self._iterate(self._client.history(handle, after=after, page_events=page_events))

    def history_pages(
        self, handle: Text, *, after: int = 0, page_events: int = PAGE_EVENTS
    ) -> Iterator[HistoryPage]:
        """Iterate over the same by pages: `LifeCalls.history_pages`."""
        pages = self._client.history_pages(handle, after=after, page_events=page_events)
        return self._iterate(pages)

    def as_of(self, handle: Text, when: datetime | str | int) -> PastState:
        """Return what an identifier was: `LifeCalls.as_of`."""
        return self._wait(self._client.as_of(handle, when))
