"""Sending the rows of a stream, from the one that the node waits for on, until it has them all.

    parts ─> POST, end=false ─┬─> how far the node is, durably ─> the next part
             (the last: true) └─> nothing, or "not now" ─> wait ─> GET: how far? ─> go on there

The node's digest of the rows it has is compared with ours before any more are sent, so that other
rows under an old key are found out.
"""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from protocol.codes import ResponseCode
from registry.receipts import START
from resolver.client.errors import (
    HandleError,
    ServiceUnavailableError,
    StreamChangedError,
    StreamEndedError,
    UnreachableError,
    UntrustedNodeError,
)
from resolver.client.rest import Query, RestConnection, refusal_of
from resolver.client.rest_client import Sleep
from resolver.client.sources import Part, RowSource
from resolver.client.stream_states import OnProgress, Progress
from resolver.told.streams import StreamState

PATH = "/api/registrations"
KEY_OCTETS_MAX = 128
TRIES_MAX = 10  # in a row that bring the stream no further: with the pauses two to three minutes
PAUSE_S, PAUSE_MAX_S = 0.5, 30.0
_NOT_FOUND, _CONFLICT, _FAULTS_FROM, _NOT_DONE_HERE = 404, 409, 500, 501


_EMPTY = StreamState("", "", 0, 0, 0, 0, 0, 0, 0, 0, START.hex(), "")


class Sending:
    """One call of `register`."""

    def __init__(
        self,
        rest: RestConnection,
        sleep: Sleep,
        source: RowSource,
        key: str,
        end: bool,
        progress: OnProgress | None,
        tries_max: int,
    ) -> None:
        self._rest = rest
        self._sleep = sleep
        self._source = source
        self._key = key
        self._end = end
        self._on_progress = progress or (lambda _: None)
        self._tries_max = tries_max
        self._tries = 0
        self._octets_done = 0
        self._state = _EMPTY

    async def run(self) -> StreamState:
        """Send all rows. Raises: as `RegistrationClient.register`."""
        await self._ask()
        before, digest = 0, START.hex()
        async with aclosing(self._parts()) as parts:
            async for part in parts:
                await self._deliver(part, before, digest)
                self._octets_done = part.octets_read
                self._tell()
                before += len(part.rows)
                digest = part.digests[-1].hex() if part.digests else digest
        return self._state

    async def _parts(self) -> AsyncGenerator[Part, None]:
        """Yield the parts, of a file the next one while the one before is sent."""
        parts = self._source.parts()
        if not self._source.is_file:
            for part in parts:
                yield part
            return
        following = asyncio.create_task(asyncio.to_thread(next, parts, None))
        try:
            while (read := await following) is not None:
                following = asyncio.create_task(asyncio.to_thread(next, parts, None))
                yield read
        finally:
            await asyncio.wait([following])  # the thread has the file open
            following.exception()

    async def _deliver(self, part: Part, before: int, digest: str) -> None:
        """Have the node take a part, or those of its rows that it has not."""
        ends = self._end and part.is_last
        while True:
            known = find_known(self._state, part, before, digest)
            has_all = known == len(part.rows)
            if has_all and (not ends or self._state.ended):
                return
            if self._state.ended and not has_all:
                raise StreamEndedError(
                    f"the stream {self._key} has ended with row {self._state.rows}, and there are "
                    "more rows here",
                    hint="send them under another key",
                )
            try:
                await self._send(part.rows[known:], before + known + 1, ends)
            except _Again as again:
                await self._pause(again.error)
                await self._ask()

    async def _send(self, rows: list[bytes], first: int, ends: bool) -> None:
        """Send rows once. Raises: _Again, HandleError."""
        query: dict[str, Any] = {
            **self._source.query,
            "from": str(first),
            "end": "true" if ends else "false",
            "verdicts": "none",
        }
        headers = {"Idempotency-Key": self._key, "Content-Type": self._source.media_type}
        if self._source.coding:
            headers["Content-Encoding"] = self._source.coding
        answer = await self._request("POST", PATH, query, headers, self._source.body(rows))
        try:
            state = msgspec.json.decode(answer.content.splitlines()[-1], type=StreamState)
        except (msgspec.DecodeError, IndexError):
            raise _Again(refusal_of(answer)) from None
        if rows and state.rows < first:
            words = f"the node took none of {len(rows)} rows of the stream {self._key}"
            raise _Again(HandleError(words, hint="report this, with the first of these rows"))
        self._note(state)

    async def _ask(self) -> None:
        """Ask how far the stream is, until somebody answers."""
        while True:
            try:
                self._note(await find_state(self._rest, self._key) or _EMPTY)
                return
            except (UnreachableError, ServiceUnavailableError) as error:
                await self._pause(error)

    async def _request(
        self, method: str, path: str, query: Query, headers: dict[str, str], body: bytes
    ) -> httpx.Response:
        try:
            answer = await self._rest.request(method, path, query=query, headers=headers, body=body)
        except (UnreachableError, ServiceUnavailableError) as error:
            raise _Again(error) from None
        if answer.is_success:
            return answer
        refusal = refusal_of(answer)
        # 409: it waits for another row than the one sent. 5xx: not now, or a program that goes on
        # with this stream too, or the node was started anew; asking tells.
        is_passing = isinstance(refusal, ServiceUnavailableError) or _passes(answer.status_code)
        if answer.status_code == _CONFLICT or is_passing:
            raise _Again(refusal)
        raise refusal

    def _note(self, state: StreamState) -> None:
        if state.rows > self._state.rows or (state.ended and not self._state.ended):
            self._tries = 0
        self._state = state

    async def _pause(self, error: HandleError) -> None:
        """Wait, each time longer. Raises: the error, when it has been tried often enough."""
        self._tries += 1
        if self._tries >= self._tries_max or isinstance(error, UntrustedNodeError):
            raise error
        pause_s = min(PAUSE_MAX_S, PAUSE_S * 2 ** (self._tries - 1)) * random.uniform(0.7, 1.3)
        self._tell(error.words, pause_s)
        await self._sleep(pause_s)

    def _tell(self, trouble: str = "", pause_s: float = 0.0) -> None:
        octets_total = self._source.octets_total
        self._on_progress(Progress(self._state, self._octets_done, octets_total, trouble, pause_s))


class _Again(Exception):  # noqa: N818  # not an error yet
    """What was sent may not have been taken: ask, and go on from there."""

    def __init__(self, error: HandleError) -> None:
        super().__init__(error.words)
        self.error = error


def check_key(key: str) -> None:
    """Raise ValueError unless a stream can have this key and be asked for by it."""
    is_text = key.isascii() and key.isprintable() and key == key.strip()
    if not (is_text and 0 < len(key) <= KEY_OCTETS_MAX and key.strip(".") and "/" not in key):
        raise ValueError(
            f"a key has 1 to {KEY_OCTETS_MAX} printable ASCII characters, no slash: {key[:140]!r}"
        )


def _passes(status: int) -> bool:
    """Say whether the same request may succeed later."""
    return status >= _FAULTS_FROM and status != _NOT_DONE_HERE


def find_known(state: StreamState, part: Part, before: int, digest: str) -> int:
    """Return how many rows of a part the node has.

    Args:
        state: of the stream at the node.
        part: of the source.
        before: how many rows of the source stand before it.
        digest: of those.

    Raises:
        StreamChangedError: the node has other rows, more, or fewer than it had acknowledged.
    """
    known = state.rows - before
    count = len(part.rows)
    if known < 0:
        raise StreamChangedError(
            f"the node has {state.rows} rows of the stream, and had acknowledged {before}",
            hint="was it restored from a backup? send all rows again under this key",
        )
    if known > count:
        if part.is_last:
            raise StreamChangedError(
                f"the stream {state.key} has {state.rows} rows already, here are only "
                f"{before + count}",
                hint="use a new key for other rows",
            )
        return count
    if state.digest != (part.digests[known - 1].hex() if known else digest):
        raise StreamChangedError(
            f"the first {state.rows} rows are not those sent under the key {state.key} before",
            hint="send the same rows, in the same order, or use a new key",
        )
    return known


async def find_state(rest: RestConnection, key: str) -> StreamState | None:
    """Return how far a stream has come, None when there is none. Raises: HandleError."""
    answer = await rest.request("GET", f"{PATH}/{quote(key, safe='')}")
    if answer.is_success:
        return msgspec.json.decode(answer.content, type=StreamState)
    error = refusal_of(answer)
    if error.response_code == ResponseCode.HANDLE_NOT_FOUND:
        return None
    if isinstance(error, ServiceUnavailableError):
        raise error
    if _passes(answer.status_code):
        raise ServiceUnavailableError(
            error.words, response_code=error.response_code, hint=error.hint
        )
    if error.response_code is None or answer.status_code in (_NOT_FOUND, _NOT_DONE_HERE):
        raise HandleError(
            f"{rest.url} takes no streams of registrations: {error.words}",
            response_code=error.response_code,
            hint="register row by row over the Handle protocol: HandleClient, import --by-row",
        )
    raise error
