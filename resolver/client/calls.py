"""Calls of a node's REST interface, which the parts of `AdministrationClient` are made of.

    read     changes nothing: when nobody answers, or the node says "not now", it is sent again
             after a pause, a few times
    change   is sent once: of one that was not answered nobody knows whether it was made. Who can
             find out by reading gives `settled`; then it is sent again where it was not made

A part is a mixin over `RestCalls` with typed methods and, for programs without asyncio, one over
`BlockingCalls` with the same methods (`resolver.client.ranges` shows both). Refusals are raised as
the kinds of `HandleError`.
"""

import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from resolver.client.blocking import Blocking
from resolver.client.client import Text, octets_of
from resolver.client.errors import (
    AlreadyExistsError,
    HandleError,
    ServiceUnavailableError,
    UnreachableError,
    UntrustedNodeError,
)
from resolver.client.rest import Query, refusal_of
from resolver.client.rest_client import RestClient
from resolver.told.forms import Page

TRIES_MAX = 5  # of one call: with the pauses some eight seconds
PAUSE_S = 0.5  # before the second try; twice as long before each after that
_JSON = {"Content-Type": "application/json"}
_UNKNOWN = "the change was sent and not answered: look whether it was made before sending it again"

Answer = TypeVar("Answer")
Settled = Callable[[], Awaitable[Answer | None]]


PageOf = TypeVar("PageOf", bound=Page)


class RestCalls(RestClient):
    """Calls of one node as one identity."""

    async def _read(self, answer: type[Answer], path: str, query: Query | None = None) -> Answer:
        """Return what a GET answers, as `answer` says; tried again while nobody answers.

        Raises:
            HandleError: refused, or nobody answered.
        """
        tries = 0
        while True:
            try:
                return await self._call(answer, "GET", path, query=query)
            except (UnreachableError, ServiceUnavailableError) as error:
                tries += 1
                await self._pause(tries, error)

    async def _pages(
        self, page: type[PageOf], path: str, query: Mapping[str, str]
    ) -> AsyncGenerator[PageOf, None]:
        """Iterate over the pages of a listing, from `query["after"]` on. Raises: as `_read`."""
        asked = dict(query)
        while True:
            found = await self._read(page, path, asked)
            yield found
            if not found.next:
                return
            asked["after"] = found.next

    async def _change(
        self,
        answer: type[Answer],
        path: str,
        document: Mapping[str, Any],
        *,
        method: str = "POST",
        query: Query | None = None,
        settled: Settled[Answer] | None = None,
        may_be_made: bool = False,
    ) -> Answer:
        """Ask for a change and return what is answered, as `answer` says.

        Args:
            answer: what msgspec is to make of the answer.
            path: begins with a slash.
            document: the body.
            method: of HTTP.
            query: behind the path.
            settled: reads whether the change was made, and returns what would have been answered;
                None: it was not made. With it, a change that was not answered is tried again.
            may_be_made: it may have been made before this call, so a conflict is looked into too.

        Raises:
            HandleError: refused, or nobody answered.
        """
        tries = 0
        while True:
            try:
                return await self._call(answer, method, path, query=query, document=document)
            except AlreadyExistsError:
                made = await settled() if settled is not None and (tries or may_be_made) else None
                if made is None:
                    raise
                return made
            except (UnreachableError, ServiceUnavailableError) as error:
                if settled is None:
                    error.hint = f"{error.hint}; {_UNKNOWN}" if error.hint else _UNKNOWN
                    raise
                tries += 1
                await self._pause(tries, error)
                if (made := await settled()) is not None:
                    return made

    async def _call(
        self,
        answer: type[Answer],
        method: str,
        path: str,
        *,
        query: Query | None = None,
        document: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Send one request, once. Raises: HandleError."""
        body = None if document is None else msgspec.json.encode(document)
        headers = None if body is None else _JSON
        told = await self._rest.request(method, path, query=query, headers=headers, body=body)
        if not told.is_success:
            raise refusal_of(told)
        try:
            return msgspec.json.decode(told.content, type=answer)
        except msgspec.MsgspecError as error:
            words = f"{self._rest.url}{path} answered what this client cannot read: {error}"
            hint = "is the node of another version than this client?"
            raise HandleError(words, hint=hint) from None

    async def _pause(self, tries: int, error: HandleError) -> None:
        """Wait, each time longer. Raises: the error, when it has been tried often enough."""
        if tries >= TRIES_MAX or isinstance(error, UntrustedNodeError):
            raise error
        await self._sleep(PAUSE_S * 2.0 ** (tries - 1) * random.uniform(0.7, 1.3))


class BlockingCalls(Blocking):
    """The calls of a client, each waited for. Use from one thread, in `with` or with `close`.

    A part declares `_client` as its own mixin over `RestCalls`.
    """

    def __init__(self, client: RestCalls) -> None:
        super().__init__()
        self._client = client

    def close(self) -> None:
        """Close the connections and end the event loop."""
        if not self._closed:
            self._wait(self._client.close())
        super().close()


def in_path(text: Text) -> str:
    """Return a handle or a name as one segment of a path."""
    return quote(octets_of(text), safe="")
