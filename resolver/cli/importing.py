"""Registering many rows over one client: several in flight, one verdict for each.

A verdict says what is true at the node, not what we hope: when an answer was lost, the row is
sent again, and if the node then says that the handle exists, what it holds is compared with what
was sent. A row whose fate stays unknown is reported as such.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from weakref import WeakValueDictionary

from protocol.codes import ResponseCode
from protocol.handle import fold_case, to_text
from protocol.json_forms import value_to_json
from protocol.value import HandleValue
from resolver.client import HandleClient, HandleError
from resolver.rows.row import BadRow, Row

IN_FLIGHT = 16  # keeps a loopback node busy; a far one gains from more
TRIES_MAX = 3
RETRY_WAIT_S = 0.5
# Nobody answered (None), or the node was too busy or read-only for a moment.
RETRIED = frozenset({None, ResponseCode.SERVER_TOO_BUSY, ResponseCode.SERVER_BACKUP})
LOST_MAX = 32  # rows in a row without any answer: the node is gone, more would be noise


class Existing(StrEnum):
    """What to do with a row whose handle exists already."""

    REFUSE = "refuse"
    SKIP = "skip"
    REPLACE = "replace"


class Verdict(StrEnum):
    """What became of a row."""

    REGISTERED = "registered"
    EXISTED = "existed"  # skipped, or it held exactly these values
    REFUSED = "refused"
    UNKNOWN = "unknown"  # no answer: it may or may not be registered


@dataclass(frozen=True, slots=True)
class RowVerdict:
    """A row's fate; `code` is the node's response code, 0 when it was never asked."""

    row: Row | BadRow
    verdict: Verdict
    code: int = 0
    reason: str = ""


@dataclass(slots=True)
class Tally:
    """How many rows met which fate."""

    counts: dict[Verdict, int] = field(default_factory=lambda: dict.fromkeys(Verdict, 0))
    lost_in_a_row: int = 0

    @property
    def total(self) -> int:
        """All rows with a verdict."""
        return sum(self.counts.values())

    @property
    def failed(self) -> int:
        """Rows that are not certain to be at the node."""
        return self.counts[Verdict.REFUSED] + self.counts[Verdict.UNKNOWN]

    def count(self, verdict: Verdict) -> None:
        """Count one more row."""
        self.counts[verdict] += 1
        lost = verdict is Verdict.UNKNOWN
        self.lost_in_a_row = self.lost_in_a_row + 1 if lost else 0


async def register_rows(
    client: HandleClient,
    rows: Iterator[Row | BadRow],
    on_verdict: Callable[[RowVerdict], None],
    *,
    existing: Existing = Existing.REFUSE,
    in_flight: int = IN_FLIGHT,
) -> Tally:
    """Register every row; `on_verdict` hears of each as it is decided.

    Rows with the same handle take turns, so that the first of them is the one registered. Stops
    early, rows left unread, when LOST_MAX rows in a row had no answer.
    """
    tally = Tally()
    turns: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()

    async def work() -> None:
        for row in rows:
            if tally.lost_in_a_row >= LOST_MAX:
                return
            turn = turns.setdefault(fold_case(row.handle), asyncio.Lock())
            async with turn:
                verdict = await register_row(client, row, existing)
            tally.count(verdict.verdict)
            on_verdict(verdict)

    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(work())
    return tally


async def register_row(client: HandleClient, row: Row | BadRow, existing: Existing) -> RowVerdict:
    """Register one row, again when its answer was lost."""
    if isinstance(row, BadRow):
        return RowVerdict(row, Verdict.REFUSED, 0, row.reason)
    for attempt in range(1, TRIES_MAX + 1):
        try:
            await client.create(row.handle, row.values, overwrite=existing is Existing.REPLACE)
        except HandleError as error:
            if error.response_code not in RETRIED:
                return await _explain_refusal(client, row, existing, error, attempt > 1)
            reason, code = error.words, error.response_code
        else:
            return RowVerdict(row, Verdict.REGISTERED, ResponseCode.SUCCESS)
        if attempt < TRIES_MAX:
            await asyncio.sleep(RETRY_WAIT_S * attempt)
    if code is None:
        return RowVerdict(row, Verdict.UNKNOWN, 0, reason)
    return RowVerdict(row, Verdict.REFUSED, code, reason)


async def _explain_refusal(
    client: HandleClient, row: Row, existing: Existing, error: HandleError, repeated: bool
) -> RowVerdict:
    code = error.response_code or 0
    exists = code == ResponseCode.HANDLE_ALREADY_EXISTS
    if exists and existing is Existing.SKIP:
        return RowVerdict(row, Verdict.EXISTED, code)
    if exists and repeated and await _holds(client, row):
        return RowVerdict(row, Verdict.REGISTERED, ResponseCode.SUCCESS)
    return RowVerdict(row, Verdict.REFUSED, code, error.words)


async def _holds(client: HandleClient, row: Row) -> bool:
    try:
        resolution = await client.resolve(row.handle, authoritative=True)
    except HandleError:
        return False
    return _content(resolution.values) == _content(row.values)


def _content(values: tuple[HandleValue, ...]) -> list[tuple[int, bytes, bytes]]:
    return sorted((value.index, value.type, value.data) for value in values)


def refused_line(verdict: RowVerdict) -> dict[str, object]:
    """Return the line for the file of refused rows; `import` can read it back when mended."""
    row = verdict.row
    line: dict[str, object] = {
        "row": row.number,
        "handle": to_text(row.handle),
        "verdict": verdict.verdict.value,
        "code": verdict.code,
        "reason": verdict.reason,
    }
    if isinstance(row, Row):
        line["values"] = [value_to_json(value) for value in row.values]
    return line
