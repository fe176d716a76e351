"""Registering many rows of a stream in one transaction: each gets a verdict, none stops the others.

    row seen before ──> compared with its digest: the same ─> its verdict stands
    (by its number)                                other    ─> refused, its verdict stands
    plain creation  ──> prefix permitted? (asked once a batch) ─> stored if it is new
    range           ──> `range_registration`, as the act does it
    anything else   ──> `admin.decide`, `admin.apply`, as every single request

A refused row changes nothing. All that was changed is one frame of the journal; the verdicts and
how far the stream has come are kept in the same transaction.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from protocol.bodies import HandleRequest, ValuesRequest
from protocol.codes import OpCode, ResponseCode
from protocol.handle import to_text
from protocol.value import HandleValue, Reference, read_values
from protocol.wire import Reader
from registry.admin import apply, decide
from registry.authorization import Permitted, Policy
from registry.creation_rights import CreationRights
from registry.errors import RecordError, StoreError
from registry.journal import FRAME_OPERATIONS_MAX, Kind, pack_change
from registry.log import LocalLog
from registry.operations import Change, Operation
from registry.outcomes import Foreign, Need, Refusal, refuse
from registry.range_registration import RangeRows
from registry.receipts import chain
from registry.schema import RECORD_OCTETS_MAX, decode_record, folded_key, record_of_public
from registry.stream_rows import PackedRow, Row, RowKind
from registry.streams import (
    ROW_DIGEST_OCTETS,
    Batch,
    Run,
    Stream,
    Verdict,
    batches,
    cut,
    put_batch,
    put_stream,
)
from registry.views import WriteView

ROWS_MAX = FRAME_OPERATIONS_MAX  # of one transaction: they are one frame


class StreamError(StoreError):
    """Rows that a stream cannot take; `next_row` is the one it waits for."""

    def __init__(self, words: str, next_row: int) -> None:
        super().__init__(words)
        self.next_row = next_row


class NeedError(Exception):
    """Handles of other nodes have to be fetched before a row can be decided on."""

    def __init__(self, need: Need) -> None:
        super().__init__("handles of other nodes are needed")
        self.handles = need.handles


class Registered(NamedTuple):
    """How far the stream has come, and which rows were sent before with other content."""

    stream: Stream
    changed: tuple[int, ...]


def register_rows(
    view: WriteView,
    stream: Stream,
    first: int,
    rows: Sequence[PackedRow],
    *,
    foreign: Foreign,
    policy: Policy,
    now_ms: int,
) -> Registered:
    """Decide on rows, make their changes, keep their verdicts.

    Args:
        view: of the transaction that is committed afterwards.
        stream: as it is in this transaction; its identity asks.
        first: the number of the first row.
        rows: at most ROWS_MAX, the octets of each at most RECORD_OCTETS_MAX or it is refused.
        foreign: what was fetched of other nodes' handles.
        policy: the node's own administrators.
        now_ms: time since 1970.

    Raises:
        StreamError: rows before `first` are missing, or the stream has ended before these.
        NeedError: fetch these and begin anew, with a new transaction.
    """
    assert len(rows) <= ROWS_MAX, f"{len(rows)} rows, {ROWS_MAX} are a batch"
    expected = stream.rows + 1
    if first > expected:
        raise StreamError(f"row {first} cannot follow row {stream.rows}", expected)
    known = min(expected - first, len(rows))
    changed = _find_changed(view, stream, first, rows[:known])
    new = rows[known:]
    if not new:
        return Registered(stream, changed)
    if stream.ended_ms:
        raise StreamError(f"the stream has ended with row {stream.rows}", expected)
    registration = _Registration(view, stream.identity, foreign, policy, now_ms // 1000)
    runs = registration.run(new)
    sequence = 0
    if registration.items:
        sequence = LocalLog(view).append_packed(registration.items, now_ms).seq
    digests = b"".join([digest[:ROW_DIGEST_OCTETS] for _, _, _, digest in new])
    put_batch(view, stream.name, Batch(expected, sequence, now_ms, digests, runs))
    stream = replace(
        stream.counted(runs),
        digest=chain(stream.digest, [digest for _, _, _, digest in new]),
        first_sequence=stream.first_sequence or sequence,
        last_sequence=sequence or stream.last_sequence,
    )
    put_stream(view, stream)
    return Registered(stream, changed)


def _find_changed(
    view: WriteView, stream: Stream, first: int, rows: Sequence[PackedRow]
) -> tuple[int, ...]:
    """Return the numbers of rows that are not what was sent under their numbers before."""
    if not rows:
        return ()
    last = first + len(rows) - 1
    before = bytearray()
    for batch in batches(view, stream.name, first):
        if batch.first > first + len(before) // ROW_DIGEST_OCTETS:
            break
        before += cut(
            batch, max(first, batch.first), min(last, batch.first + batch.rows - 1)
        ).digests
        if batch.first + batch.rows > last:
            break
    if len(before) != len(rows) * ROW_DIGEST_OCTETS:
        raise StoreError("what was kept of these rows is not there any more: begin a new stream")
    now = b"".join([digest[:ROW_DIGEST_OCTETS] for _, _, _, digest in rows])
    if now == before:
        return ()
    return tuple(
        first + at // ROW_DIGEST_OCTETS
        for at in range(0, len(now), ROW_DIGEST_OCTETS)
        if now[at : at + ROW_DIGEST_OCTETS] != before[at : at + ROW_DIGEST_OCTETS]
    )


class _Registration:
    """One batch under way."""

    def __init__(
        self, view: WriteView, identity: Reference, foreign: Foreign, policy: Policy, now_s: int
    ) -> None:
        self._view = view
        self._identity = identity
        self._foreign = foreign
        self._policy = policy
        self._now_s = now_s
        self._rights = CreationRights(view, identity, foreign, policy, now_s)
        self._ranges = RangeRows(view, identity, self._rights, now_s)
        self._missing: set[bytes] = set()
        self.items: list[list[Any]] = []

    def run(self, rows: Sequence[PackedRow]) -> tuple[Run, ...]:
        """Decide on every row; return the verdicts."""
        created = Run(1, Verdict.CREATED)
        runs: list[Run] = []
        count, last = 0, created
        for row in rows:
            try:
                is_plain = row[0] == RowKind.PLAIN and self._create_plain(row)
                run = created if is_plain else self._any(Row(*row))
            except NeedError as need:
                self._missing |= need.handles
                continue
            if run is last or run == last:
                count += 1
                continue
            if count:
                runs.append(last._replace(rows=count))
            count, last = 1, run
        if self._missing:
            raise NeedError(Need(frozenset(self._missing)))
        runs.append(last._replace(rows=count))
        return tuple(runs)

    def _create_plain(self, row: PackedRow) -> bool:
        """Create a handle whose values are plain; False: another way has to find out why not."""
        _, handle, octets, _ = row
        folded = self._view.fold(handle)
        if not self._may_create(handle, folded) or len(octets) > RECORD_OCTETS_MAX:
            return False
        if not self._view.add_row(folded_key(folded), record_of_public(octets, folded)):
            return False
        actor = self._identity
        self.items.append(pack_change(Kind.CREATE, folded, octets, actor, self._now_s))
        return True

    def _may_create(self, handle: bytes, folded: bytes) -> bool:
        right = self._rights.find(handle, folded)
        if isinstance(right, Need):
            raise NeedError(right)
        return isinstance(right, Permitted)

    def _any(self, row: Row) -> Run:
        """Do what a row asks for as if it were a request of its own; return its verdict."""
        if row.kind == RowKind.BAD:
            return Run(1, Verdict.REFUSED, ResponseCode.INVALID_VALUE, row.octets)
        try:
            return self._register_range(row) if row.kind == RowKind.RANGE else self._carry_out(row)
        except RecordError as error:
            words = f"{to_text(row.handle)} is stored damaged: {error}"
            return Run(1, Verdict.REFUSED, ResponseCode.ERROR, words.encode())

    def _register_range(self, row: Row) -> Run:
        """Register a range as the act does; return its verdict."""
        outcome = self._ranges.register(row.octets)
        if isinstance(outcome, Need):
            raise NeedError(outcome)
        if isinstance(outcome, Refusal):
            return Run(1, Verdict.REFUSED, outcome.response_code, outcome.message)
        if outcome is None:
            return Run(1, Verdict.UNCHANGED)
        self.items.append(outcome)
        return Run(1, Verdict.CREATED)

    def _carry_out(self, row: Row) -> Run:
        operation = _operation(row)
        outcome = decide(
            self._view, operation, self._identity, self._foreign, self._policy, self._now_s
        )
        if isinstance(outcome, Need):
            raise NeedError(outcome)
        if isinstance(outcome, Change):
            for entry in apply(self._view, outcome, self._identity, self._now_s):
                self.items.append(entry.packed())
            self._rights.forget()  # what it changed may be who may do what
            if row.kind == RowKind.DELETE:
                return Run(1, Verdict.DELETED)
            if not outcome.operations:
                return Run(1, Verdict.UNCHANGED)
            return Run(1, Verdict.REPLACED if outcome.overwrote else Verdict.CREATED)
        if not isinstance(outcome, Refusal):
            outcome = refuse(
                ResponseCode.SERVER_NOT_RESPONSIBLE,
                f"the prefix of {to_text(row.handle)} is not homed on this node",
            )
        if outcome.response_code == ResponseCode.HANDLE_ALREADY_EXISTS and self._is_same(row):
            return Run(1, Verdict.UNCHANGED)
        return Run(1, Verdict.REFUSED, outcome.response_code, outcome.message)

    def _is_same(self, row: Row) -> bool:
        """Say whether a handle exists with these values, whatever their times."""
        folded = self._view.fold(row.handle)
        stored = self._view.find_row(folded_key(folded))
        if stored is None or not self._may_create(row.handle, folded):
            return False
        values = decode_record(stored).values
        # That a guess at a hidden value is right would tell it.
        return all(each.is_public for each in values) and _timeless(values) == _timeless(
            _values(row)
        )


def _operation(row: Row) -> Operation:
    if row.kind == RowKind.DELETE:
        return Operation(OpCode.DELETE_HANDLE, HandleRequest(row.handle))
    body = ValuesRequest(row.handle, _values(row))
    return Operation(OpCode.CREATE_HANDLE, body, overwrite=row.kind == RowKind.REPLACE)


def _values(row: Row) -> tuple[HandleValue, ...]:
    return read_values(Reader(row.octets))


def _timeless(values: Sequence[HandleValue]) -> list[HandleValue]:
    return [replace(value, timestamp=0) for value in values]
