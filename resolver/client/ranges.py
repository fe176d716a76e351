"""Ranges: a run of serials as one record, its identifiers answered as if each had a row.

What textual data of a range's values may hold: {serial} as written, {number} without leading
zeros, {prefix}, {suffix}, {handle}, {check}; {{ and }} are braces.
"""

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

from protocol.handle import to_text
from protocol.json_forms import value_to_json
from protocol.value import HandleValue
from resolver.client.calls import Answer, BlockingCalls, RestCalls, Settled, in_path
from resolver.client.client import Text, octets_of
from resolver.client.errors import (
    AlreadyExistsError,
    HandleError,
    HandleNotFoundError,
    InvalidRequestError,
)
from resolver.client.range_forms import (
    AskedRange,
    Range,
    begins_with,
    identifier_before,
    identifier_of,
    read_range,
)
from resolver.told.ranges import (
    ManyRanges,
    OneRange,
    RangeCounts,
    RangeEvent,
    RangeEvents,
    RangePage,
)

__all__ = ["BlockingRangeCalls", "Existing", "Range", "RangeCalls", "RangeCounts", "RangeEvent"]

PATH = "/api/ranges"
PAGE_RANGES = 100  # fetched at a time
PAGE_EVENTS = 100
_HINTS: dict[type[HandleError], str] = {
    AlreadyExistsError: "choose serials beside what the message names; existing='keep' "
    "(--existing keep) leaves single identifiers inside as they are",
    HandleNotFoundError: "list_ranges (biaoshi range list PREFIX) shows the ranges there are; an "
    "identifier is written with its check characters",
    InvalidRequestError: "mend what the message names",
}

Existing = Literal["refuse", "keep"]


class RangeCalls(RestCalls):
    """Ranges of a node. An identifier in a range stands for the range."""

    async def register_range(
        self,
        stem: str,
        first: str,
        last: str,
        values: Iterable[HandleValue],
        *,
        check: str = "",
        existing: Existing = "refuse",
        again: bool = False,
    ) -> Range:
        """Register all serials from `first` to `last` as one range.

        A call that was not answered is tried again, and registers nothing twice: the range that
        is there is compared with this one.

        Args:
            stem: what the identifiers begin with: `88.118.5/870101.M1.20261121.`.
            first: the first serial with all its digits: `000001`; last has as many, at most 18.
            last: the last serial.
            values: of every identifier; their textual data may have placeholders.
            check: the scheme of a check character after each serial: `gs1`, `iso7064-mod11-2`,
                `iso7064-mod11-10`, `iso7064-mod37-2`, `iso7064-mod37-36`, `iso7064-mod97-10`.
            existing: `keep`: identifiers inside that are registered keep their own values.
            again: an earlier run of this program may have registered it: the same range that is
                there already is the answer then, and no conflict.

        Raises:
            AlreadyExistsError: another range or identifier is in the way; the words name it.
            InvalidRequestError: the serials, a value or a placeholder is wrong.
            PermissionRefusedError, AuthenticationRefusedError: not as this identity.
            UnreachableError, ServiceUnavailableError: tried often enough; call it again later,
                with `again`.
            HandleError: any other refusal.
        """
        document: dict[str, Any] = {"stem": stem, "first": first, "last": last}
        if check:
            document["check"] = check
        if existing != "refuse":
            document["existing"] = existing
        asked = AskedRange(stem, first, last, check, tuple(values))
        document["values"] = [value_to_json(value) for value in asked.values]

        async def settled() -> OneRange | None:
            found = await self._find(identifier_of(stem, first, check))
            return found if found is not None and asked.is_it(read_range(found.range)) else None

        try:
            answer = await self._change(
                OneRange, PATH, document, settled=settled, may_be_made=again
            )
        except (AlreadyExistsError, InvalidRequestError) as error:
            error.hint = _HINTS[type(error)]
            raise
        return read_range(answer.range)

    async def find_range(self, identifier: Text) -> Range | None:
        """Return the range that holds an identifier, None when none does. Raises: HandleError."""
        found = await self._find(identifier)
        return None if found is None else read_range(found.range)

    async def list_ranges(
        self, prefix: str, *, stem: str = "", page_ranges: int = PAGE_RANGES
    ) -> AsyncGenerator[Range, None]:
        """Iterate over the ranges under a prefix, by stem and serial.

        Args:
            prefix: such as `88.118.5`.
            stem: only of stems that begin so.
            page_ranges: how many are fetched at a time, at most 1,000.

        Raises:
            HandleError: refused, or nobody answered.
        """
        query = {"prefix": prefix, "limit": str(page_ranges)}
        if stem:
            query["stem"] = stem
        async for page in self._pages(RangePage, PATH, query):
            for each in page.ranges:
                yield read_range(each)

    async def count(self, prefix: str) -> RangeCounts:
        """Return how many identifiers there are under a prefix. Raises: HandleError."""
        return await self._read(RangeCounts, f"{PATH}/count", {"prefix": prefix})

    async def range_history(
        self, identifier: Text, *, after: int = 0, page_events: int = PAGE_EVENTS
    ) -> AsyncGenerator[RangeEvent, None]:
        """Iterate over what was done to the ranges that held an identifier, as it came.

        Args:
            identifier: any that is or was in the range, such as its first.
            after: only what frames after this one did.
            page_events: how many frames are fetched at a time, at most 100.

        Raises:
            HandleError: refused, or nobody answered.
        """
        about = _about(identifier)
        while True:
            query = {**about, "after": str(after), "limit": str(page_events)}
            page = await self._read(RangeEvents, f"{PATH}/history", query)
            for each in page.events:
                yield each
            if not page.next:
                return
            after = page.next

    async def shrink_range(
        self, identifier: Text, first: str, last: str, *, existing: Existing = "refuse"
    ) -> Range:
        """Give the range that holds an identifier new ends, inside the old ones.

        What is cut off is registered no more; single identifiers of it that have a row of their own
        are in the way, or kept as they are. Raises: HandleError.
        """
        document = {**_about(identifier, existing), "first": first, "last": last}
        return await self._settle(
            "shrink", document, lambda it: (it.first, it.last) == (first, last)
        )

    async def split_range(self, identifier: Text) -> tuple[Range, Range]:
        """Make two ranges of one, the second beginning with `identifier`. Raises: HandleError."""

        async def settled() -> ManyRanges | None:
            second = await self._find(identifier)
            if second is None or not begins_with(second.range, identifier):
                return None
            first = await self._find(identifier_before(second.range))
            return ManyRanges([first.range, second.range]) if first not in (None, second) else None

        document = _about(identifier)
        answer = await self._alter(ManyRanges, f"{PATH}/split", document, settled)
        first, second = answer.ranges
        return read_range(first), read_range(second)

    async def revoke_range(
        self, identifier: Text, reason: str, *, existing: Existing = "refuse"
    ) -> Range:
        """Revoke the range that holds an identifier, for good.

        All its identifiers are answered with "not found" and the reason from then on, and cannot
        be registered again; single ones that have a row of their own are in the way, or kept as
        they are. Raises: HandleError.
        """
        document = {**_about(identifier, existing), "reason": reason}
        return await self._settle("revoke", document, lambda it: it.is_revoked)

    async def _find(self, identifier: Text) -> OneRange | None:
        try:
            return await self._read(OneRange, f"{PATH}/of/{in_path(identifier)}")
        except HandleNotFoundError:
            return None

    async def _settle(
        self, verb: str, document: Mapping[str, Any], is_made: Callable[[Range], bool]
    ) -> Range:
        """Change a range; `is_made` says of one whether the change has been made."""

        async def settled() -> OneRange | None:
            found = await self._find(document["identifier"])
            return found if found is not None and is_made(read_range(found.range)) else None

        answer = await self._alter(OneRange, f"{PATH}/{verb}", document, settled)
        return read_range(answer.range)

    async def _alter(
        self,
        answer: type[Answer],
        path: str,
        document: Mapping[str, Any],
        settled: Settled[Answer],
        *,
        may_be_made: bool = False,
    ) -> Answer:
        """Make a change; a refusal says what to do about ranges."""
        try:
            return await self._change(
                answer, path, document, settled=settled, may_be_made=may_be_made
            )
        except HandleError as error:
            error.hint = _HINTS.get(type(error), error.hint)
            raise


def _about(identifier: Text, existing: Existing = "refuse") -> dict[str, str]:
    document = {"identifier": to_text(octets_of(identifier))}
    return document if existing == "refuse" else {**document, "existing": existing}


class BlockingRangeCalls(BlockingCalls):
    """Ranges of a node, each call waited for: `RangeCalls`."""

    _client: RangeCalls

    def register_range(
        self,
        stem: str,
        first: str,
        last: str,
        values: Iterable[HandleValue],
        *,
        check: str = "",
        existing: Existing = "refuse",
        again: bool = False,
    ) -> Range:
        """Register all serials from `first` to `last`: `RangeCalls.register_range`."""
        return self._wait(
            self._client.register_range(
                stem, first, last, values, check=check, existing=existing, again=again
            )
        )

    def find_range(self, identifier: Text) -> Range | None:
        """Return the range that holds an identifier: `RangeCalls.find_range`."""
        return self._wait(self._client.find_range(identifier))

    def list_ranges(
        self, prefix: str, *, stem: str = "", page_ranges: int = PAGE_RANGES
    ) -> Iterator[Range]:
        """Iterate over the ranges under a prefix: `RangeCalls.list_ranges`."""
        return self._iterate(self._client.list_ranges(prefix, stem=stem, page_ranges=page_ranges))

    def count(self, prefix: str) -> RangeCounts:
        """Return how many identifiers there are under a prefix: `RangeCalls.count`."""
        return self._wait(self._client.count(prefix))

    def range_history(
        self, identifier: Text, *, after: int = 0, page_events: int = PAGE_EVENTS
    ) -> Iterator[RangeEvent]:
        """Iterate over what was done to ranges: `RangeCalls.range_history`."""
        events = self._client.range_history(identifier, after=after, page_events=page_events)
        return self._iterate(events)

    def shrink_range(
        self, identifier: Text, first: str, last: str, *, existing: Existing = "refuse"
    ) -> Range:
        """Give a range new ends inside the old ones: `RangeCalls.shrink_range`."""
        return self._wait(self._client.shrink_range(identifier, first, last, existing=existing))

    def split_range(self, identifier: Text) -> tuple[Range, Range]:
        """Make two ranges of one: `RangeCalls.split_range`."""
        return self._wait(self._client.split_range(identifier))

    def revoke_range(
        self, identifier: Text, reason: str, *, existing: Existing = "refuse"
    ) -> Range:
        """Revoke a range, for good: `RangeCalls.revoke_range`."""
        return self._wait(self._client.revoke_range(identifier, reason, existing=existing))
