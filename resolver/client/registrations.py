"""Streams of registrations: any number of rows under one key, each registered once.

A key names a stream of one identity. After a break of the connection, of this program or of the
node, `register` with the same rows and key goes on where the node stands (`sending`).
"""

import secrets
from collections.abc import AsyncGenerator, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import httpx
import msgspec

from resolver.client.blocking import Blocking
from resolver.client.errors import StreamError, UnreachableError
from resolver.client.rest import refusal_of
from resolver.client.rest_client import RestClient
from resolver.client.sending import PATH, TRIES_MAX, Sending, check_key, find_state
from resolver.client.sources import CsvColumns, Line, RowSource, open_source
from resolver.client.stream_states import OnProgress, Progress, RowVerdict
from resolver.told.streams import StreamState

__all__ = [
    "BlockingRegistrationClient",
    "CsvColumns",
    "Progress",
    "RegistrationClient",
    "RowVerdict",
    "StreamState",
    "new_key",
]


def new_key() -> str:
    """Return a key that no stream has."""
    return secrets.token_urlsafe(16)


class RegistrationClient(RestClient):
    """Streams of registrations at one node, as one identity.

    async with RegistrationClient("https://10.0.0.3:8000", identity) as client:
        state = await client.register(rows, key="lot 4711")
    """

    async def register(
        self,
        source: Path | str | BinaryIO | Iterable[Line] | RowSource,
        key: str,
        *,
        format_: str = "",
        columns: CsvColumns | None = None,
        end: bool = True,
        progress: OnProgress | None = None,
        tries_max: int = TRIES_MAX,
    ) -> StreamState:
        """Send rows, from the one that the node waits for on, and return what became of them.

        To be called again with the same rows and key after a break of any kind, until it returns.
        A stream that has ended already with these rows is only looked at.

        Args:
            source: rows as mappings ({"handle", "values"} and perhaps "operation") or lines of
                NDJSON; or a file, all from its first row on. Its rows are read once, a path's in a
                thread, up to two parts of 8 MiB at a time.
            key: names the stream, 1 to 128 printable ASCII characters, no slash; see `new_key`.
            format_: of a file: ndjson, csv or msgpack; "": as its name says, of an open one NDJSON.
            columns: what the columns of CSV are.
            end: end the stream and have a receipt; otherwise more rows may follow.
            progress: is called after every part and before every pause.
            tries_max: after so many in a row that brought the stream no further, it raises.

        Raises:
            StreamChangedError: the stream has other rows than these.
            StreamEndedError: the stream has ended, and these are more rows.
            InvalidRequestError: the source cannot be read as what it is said to be.
            AuthenticationRefusedError, PermissionRefusedError: not as this identity.
            UnreachableError, ServiceUnavailableError: `tries_max` times; go on later.
            HandleError: any other refusal.
            OSError: the file cannot be read.
            ValueError: not a key.
        """
        check_key(key)
        if not isinstance(source, RowSource):
            source = open_source(source, format_, columns)
        sending = Sending(self._rest, self._sleep, source, key, end, progress, tries_max)
        return await sending.run()

    async def state(self, key: str) -> StreamState | None:
        """Return how far a stream of this identity has come, None when there is none.

        Raises:
            HandleError: refused, or nobody answered.
        """
        return await find_state(self._rest, key)

    async def receipt(self, key: str) -> str:
        """Return the receipt of a stream that has ended.

        Raises:
            StreamError: there is no such stream, or it has not ended.
            HandleError: refused, or nobody answered.
        """
        state = await self.state(key)
        if state is None or state.receipt is None:
            words = (
                "does not exist" if state is None else f"has {state.rows} rows and has not ended"
            )
            raise StreamError(f"the stream {key} {words}", hint="register with end=True ends it")
        return state.receipt

    async def verdicts(
        self, key: str, *, from_row: int = 1, refused_only: bool = False
    ) -> AsyncGenerator[RowVerdict, None]:
        """Iterate over what became of a stream's rows; equal ones, one after another, are one.

        Raises:
            HandleError: refused, or nobody answered; go on with `from_row`.
        """
        query = {"from": str(from_row), "refused": "true" if refused_only else "false"}
        path = f"{PATH}/{quote(key, safe='')}/verdicts"
        async with self._rest.stream("GET", path, query=query) as answer:
            try:
                if not answer.is_success:
                    await answer.aread()
                    raise refusal_of(answer)
                async for line in answer.aiter_lines():
                    yield msgspec.json.decode(line, type=RowVerdict)
            except httpx.TransportError as error:
                await self._rest.close()
                words = f"the verdicts broke off: {error or type(error).__name__}"
                raise UnreachableError(words, hint="fetch them again") from None


class BlockingRegistrationClient(Blocking):
    """A RegistrationClient that blocks. Use from one thread, in a `with` block or with `close`.

        with BlockingRegistrationClient(RegistrationClient(url, identity)) as client:
            client.register(rows, key="lot 4711")

    Every call raises what the RegistrationClient's does.
    """

    def __init__(self, client: RegistrationClient) -> None:
        super().__init__()
        self._client = client

    def close(self) -> None:
        """Close the connections and end the event loop."""
        if not self._closed:
            self._wait(self._client.close())
        super().close()

    def register(
        self,
        source: Path | str | BinaryIO | Iterable[Line] | RowSource,
        key: str,
        *,
        format_: str = "",
        columns: CsvColumns | None = None,
        end: bool = True,
        progress: OnProgress | None = None,
        tries_max: int = TRIES_MAX,
    ) -> StreamState:
        """Send rows and return what became of them: `RegistrationClient.register`."""
        return self._wait(
            self._client.register(
                source,
                key,
                format_=format_,
                columns=columns,
                end=end,
                progress=progress,
                tries_max=tries_max,
            )
        )

    def state(self, key: str) -> StreamState | None:
        """Return how far a stream has come: `RegistrationClient.state`."""
        return self._wait(self._client.state(key))

    def receipt(self, key: str) -> str:
        """Return a stream's receipt: `RegistrationClient.receipt`."""
        return self._wait(self._client.receipt(key))

    def verdicts(
        self, key: str, *, from_row: int = 1, refused_only: bool = False
    ) -> Iterator[RowVerdict]:
        """Iterate over what became of a stream's rows: `RegistrationClient.verdicts`."""
        return self._iterate(
            self._client.verdicts(key, from_row=from_row, refused_only=refused_only)
        )
