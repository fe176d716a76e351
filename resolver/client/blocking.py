"""The client for programs that do not use asyncio: the same calls, each waiting for its result."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from protocol.types.hs_site import HsSite
from protocol.value import HandleValue
from resolver.client.client import HandleClient, Text
from resolver.client.results import Resolution

Result = TypeVar("Result")
Item = TypeVar("Item")


class Blocking:
    """An event loop of its own, in which one call after another is waited for."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._iterated: set[AsyncGenerator[Any, None]] = set()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the event loop."""
        self._closed = True
        for items in list(self._iterated):
            self._leave(items)
        self._runner.close()

    def _wait(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        return self._runner.run(coroutine)

    def _iterate(self, items: AsyncGenerator[Item, None]) -> Iterator[Item]:
        async def take() -> Item | None:
            return await anext(items, None)

        self._iterated.add(items)
        try:
            while (item := self._wait(take())) is not None:
                yield item
        finally:
            self._leave(items)

    def _leave(self, items: AsyncGenerator[Any, None]) -> None:
        """Close what is iterated over no more; that may be after this client was closed."""
        if items in self._iterated:
            self._iterated.remove(items)
            self._wait(items.aclose())


class BlockingClient(Blocking):
    """A HandleClient that blocks. Use from one thread, in a `with` block or with `close`.

        with BlockingClient(HandleClient(read_bootstrap(path))) as client:
            client.resolve("88.118.5/870101")

    Every call raises what the HandleClient's does.
    """

    def __init__(self, client: HandleClient) -> None:
        super().__init__()
        self._client = client

    def resolve(
        self,
        handle: Text,
        types: Iterable[Text] = (),
        indexes: Iterable[int] = (),
        *,
        private: bool = False,
        authoritative: bool = False,
        transport: int | None = None,
    ) -> Resolution:
        """Return a handle's values: `HandleClient.resolve`."""
        return self._wait(
            self._client.resolve(
                handle,
                types,
                indexes,
                private=private,
                authoritative=authoritative,
                transport=transport,
            )
        )

    def create(
        self,
        handle: Text,
        values: Iterable[HandleValue],
        *,
        overwrite: bool = False,
        mint: bool = False,
    ) -> bytes:
        """Register a handle and return it: `HandleClient.create`."""
        return self._wait(self._client.create(handle, values, overwrite=overwrite, mint=mint))

    def add(self, handle: Text, values: Iterable[HandleValue], *, overwrite: bool = False) -> None:
        """Add values: `HandleClient.add`."""
        self._wait(self._client.add(handle, values, overwrite=overwrite))

    def modify(self, handle: Text, values: Iterable[HandleValue]) -> None:
        """Replace values: `HandleClient.modify`."""
        self._wait(self._client.modify(handle, values))

    def remove(self, handle: Text, indexes: Iterable[int]) -> None:
        """Remove values: `HandleClient.remove`."""
        self._wait(self._client.remove(handle, indexes))

    def delete(self, handle: Text) -> None:
        """Delete a handle: `HandleClient.delete`."""
        self._wait(self._client.delete(handle))

    def home(self, prefix: Text) -> None:
        """Home a prefix at the asked site: `HandleClient.home`."""
        self._wait(self._client.home(prefix))

    def unhome(self, prefix: Text) -> None:
        """Give a prefix up at the asked site: `HandleClient.unhome`."""
        self._wait(self._client.unhome(prefix))

    def list_handles(self, prefix: Text) -> Iterator[bytes]:
        """Iterate over the handles under a prefix: `HandleClient.list_handles`."""
        return self._iterate(self._client.list_handles(prefix))

    def list_homed(self) -> Iterator[bytes]:
        """Iterate over the homed prefixes: `HandleClient.list_homed`."""
        return self._iterate(self._client.list_homed())

    def site_info(self) -> HsSite:
        """Return the asked site's record: `HandleClient.site_info`."""
        return self._wait(self._client.site_info())

    def find_site(self, handle: Text) -> HsSite:
        """Return the site responsible for a handle: `HandleClient.find_site`."""
        return self._wait(self._client.find_site(handle))
