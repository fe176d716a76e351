"""What became of a stream's rows, as lines of NDJSON, and the answer that is made of such lines."""

import asyncio
from bisect import bisect_left
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from protocol.codes import ResponseCode
from protocol.handle import to_text
from registry.errors import StoreError
from registry.streams import Batch, Run, Verdict
from resolver.api.answers import JSON_HEADERS
from resolver.api.context import Context

NDJSON = "application/x-ndjson"
Rows = tuple[int, int]
"""Numbers of a first and a last row."""

_CHANGED = Run(
    1,
    Verdict.REFUSED,
    ResponseCode.ERROR,
    b"another row was sent under this number before; what became of that one stands",
)


class LinesResponse(Response):
    """Lines as they are made; the next ones are made when the client has read those before."""

    def __init__(
        self, lines: AsyncIterator[bytes], headers: Mapping[str, str] | None = None
    ) -> None:
        self._lines = lines
        self._more_headers = headers or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request."""
        headers = [(b"content-type", NDJSON.encode())]
        more = {**JSON_HEADERS, **self._more_headers}
        headers += [(name.encode(), value.encode()) for name, value in more.items()]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        async for octets in self._lines:
            await send({"type": "http.response.body", "body": octets, "more_body": True})
            await asyncio.sleep(0)  # a send that need not wait gives nobody else a turn
        await send({"type": "http.response.body", "body": b""})


async def verdict_lines(
    context: Context,
    name: bytes,
    first: int,
    last: int,
    *,
    only_refused: bool,
    changed: Sequence[Rows] = (),
) -> AsyncIterator[bytes]:
    """Yield the lines of some rows, those of a batch at a time.

    Args:
        context: of the worker.
        name: the stream's.
        first: number of the first row.
        last: of the last.
        only_refused: leave out what was not refused.
        changed: rows that came under these numbers now and are not those of before; they rise.

    Raises:
        StoreError: what became of the rows is not known any more.
    """
    while first <= last:
        batch = context.operations.find_verdicts(name, first, last)
        if batch is None:
            raise StoreError("the verdicts of this stream are not kept any more")
        runs = _refuse_changed(batch, changed)
        yield b"".join(_lines_of(runs, batch, only_refused=only_refused))
        first = batch.first + batch.rows


def line_of(form: dict[str, Any]) -> bytes:
    """Return an object as a line of NDJSON."""
    return msgspec.json.encode(form) + b"\n"


def _refuse_changed(batch: Batch, changed: Sequence[Rows]) -> Iterator[Run]:
    """Yield the runs of a batch, those of rows that were changed refused."""
    at, end = batch.first, batch.first + batch.rows
    nearest = bisect_left(changed, at, key=lambda rows: rows[1])
    for run in batch.runs:
        stop = at + run.rows
        while at < stop:
            first, last = changed[nearest] if nearest < len(changed) else (end, end)
            cut = min(stop, last + 1 if first <= at else first)
            yield (_CHANGED if first <= at else run)._replace(rows=cut - at)
            at = cut
            nearest += at > last


def _lines_of(runs: Iterable[Run], batch: Batch, *, only_refused: bool) -> Iterator[bytes]:
    row = batch.first
    for run in runs:
        refused = run.verdict == Verdict.REFUSED
        if refused or not only_refused:
            form: dict[str, Any] = {"row": row}
            if run.rows > 1:
                form["through"] = row + run.rows - 1
            form["verdict"] = Verdict(run.verdict).name.lower()
            if refused:
                form |= {"responseCode": run.code, "message": to_text(run.words)}
            elif batch.sequence:
                form["sequence"] = batch.sequence
            yield line_of(form)
        row += run.rows
