"""Registering many rows of a stream in one transaction: each gets a verdict, none stops the others.

    row seen before ──> compared with its digest: the same ─> its verdict stands
    (by its number)                                other    ─> refused, its verdict stands
    plain creation  ──> prefix permitted? (asked once a batch) ─> stored if it is new,
                        with all those that stand beside it
    range           ──> `range_registration`, as the act does it
    from a template ──> every attribute as the template has it? permitted, new ─> a compact row
    anything else   ──> `admin.decide`, `admin.apply`, as every single request

A refused row changes nothing. All that was changed is one frame of the journal; the verdicts and
how far the stream has come are kept in the same transaction. Some rows take a hundred times as long
as others, ranges as long as the rows in them do: whoever calls says when it is over, and gives what
is left to another transaction, so that others have theirs between.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import compress, groupby
from typing import Any, NamedTuple

from protocol.bodies import HandleRequest, ValuesRequest
from protocol.codes import OpCode, ResponseCode
from protocol.handle import fold_handles, to_text
from protocol.value import HandleValue, Reference, encode_values, read_values
from protocol.wire import Reader
from registry import quotas
from registry.admin import apply, decide
from registry.authorization import Authorization, Counted, Permitted, Policy
from registry.creation_rights import CreationRights
from registry.errors import RecordError, StoreError
from registry.journal import FRAME_OPERATIONS_MAX, Kind, pack_change
from registry.log import LocalLog
from registry.operations import Change, Operation
from registry.outcomes import Foreign, Need, Refusal, refuse
from registry.range_registration import RangeRows
from registry.receipts import chain
from registry.schema import RECORD_OCTETS_MAX, decode_record, folded_key, public_rows
from registry.stream_rows import ROWS_MAX, PackedRow, Row, RowKind
from registry.streams import (
    ROW_DIGEST_OCTETS,
    Batch,
    Run,
    RunList,
    Stream,
    Verdict,
    find_changed,
    put_batch,
    put_stream,
)
from registry.template_creations import Made, TemplateCreations, is_free
from registry.template_lots import put_new_row
from registry.template_requests import unpack_request
from registry.views import WriteView

_CREATED = Run(1, Verdict.CREATED)
PLAIN_ROWS_MAX = 1_024  # plain rows between two looks at whether it is over; ours: 5 ms, or 0.1 s
assert ROWS_MAX <= FRAME_OPERATIONS_MAX, "the rows of one transaction are one frame"


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
    """How far the stream has come.

    `changed` are the numbers of rows that were sent before with other content, `lacking` the first
    row that was refused because its sender has not the rights.
    """

    stream: Stream
    changed: tuple[int, ...]
    lacking: PackedRow | None = None


def register_rows(
    view: WriteView,
    stream: Stream,
    first: int,
    rows: Sequence[PackedRow],
    *,
    foreign: Foreign,
    policy: Policy,
    now_ms: int,
    is_over: Callable[[], bool] = lambda: False,
) -> Registered:
    """Decide on rows, make their changes, keep their verdicts.

    How far it came is `rows` of the stream that is returned: one row further at least.

    Args:
        view: of the transaction that is committed afterwards.
        stream: as it is in this transaction; its identity asks.
        first: the number of the first row.
        rows: at most ROWS_MAX, the octets of each at most RECORD_OCTETS_MAX or it is refused.
        foreign: what was fetched of other nodes' handles.
        policy: the node's own administrators.
        now_ms: time since 1970.
        is_over: says when this transaction has taken long enough.

    Raises:
        StreamError: rows before `first` are missing, or the stream has ended before these.
        NeedError: fetch these and begin anew, with a new transaction.
    """
    assert len(rows) <= ROWS_MAX, f"{len(rows)} rows, {ROWS_MAX} are a batch"
    expected = stream.rows + 1
    if first > expected:
        raise StreamError(f"row {first} cannot follow row {stream.rows}", expected)
    known = min(expected - first, len(rows))
    changed = find_changed(view, stream.name, first, _cut_digests(rows[:known]))
    if stream.damaged_last and known:
        stream = stream.sent_again(first, known)
        put_stream(view, stream)
    new = rows[known:]
    if not new:
        return Registered(stream, changed)
    if stream.ended_ms:
        raise StreamError(f"the stream has ended with row {stream.rows}", expected)
    registration = _Registration(view, stream.identity, foreign, policy, now_ms // 1000, is_over)
    runs = registration.run(new)
    new = new[: sum(run.rows for run in runs)]
    sequence = 0
    if registration.items:
        sequence = LocalLog(view).append_packed(registration.items, now_ms).seq
    put_batch(view, stream.name, Batch(expected, sequence, now_ms, _cut_digests(new), runs))
    stream = replace(
        stream.counted(runs),
        digest=chain(stream.digest, [digest for _, _, _, digest in new]),
        first_sequence=stream.first_sequence or sequence,
        last_sequence=sequence or stream.last_sequence,
    )
    put_stream(view, stream)
    return Registered(stream, changed, _find_lacking(new, runs))


class _Registration:
    """One batch under way."""

    def __init__(
        self,
        view: WriteView,
        identity: Reference,
        foreign: Foreign,
        policy: Policy,
        now_s: int,
        is_over: Callable[[], bool],
    ) -> None:
        self._view = view
        self._identity = identity
        self._foreign = foreign
        self._policy = policy
        self._now_s = now_s
        self._is_over = is_over
        self._actor = (identity.handle, identity.index)
        self._rights = CreationRights(view, identity, foreign, policy, now_s)
        self._ranges = RangeRows(view, identity, self._rights, now_s)
        self._templates = TemplateCreations(view, now_s)
        self._missing: set[bytes] = set()
        self._counted: set[bytes] = set()  # prefixes that have a quota
        self.items: list[list[Any]] = []

    def run(self, rows: Sequence[PackedRow]) -> tuple[Run, ...]:
        """Decide on rows, in order, until it is over; return the verdicts."""
        runs = RunList()
        for is_plain, some in _by_plainness(rows):
            if is_plain:
                self._create_all(some, runs)
                ends = self._is_over()
            else:
                ends = self._take_each(some, runs)
            if ends:
                break
        if self._missing:
            raise NeedError(Need(frozenset(self._missing)))
        return runs.close()

    def _take_each(self, rows: Sequence[PackedRow], runs: RunList) -> bool:
        """Decide on rows one by one until it is over; say whether it is."""
        ends = False
        for row in rows:
            if row[0] != RowKind.RANGE:
                self.items += self._ranges.take_items()
            self._add_verdict(row, runs)
            ends = self._is_over()
            if ends:
                break
        self.items += self._ranges.take_items()
        return ends

    def _add_verdict(self, row: PackedRow, runs: RunList) -> None:
        try:
            runs.add(self._any(Row(*row)))
        except NeedError as need:
            self._missing |= need.handles

    def _create_all(self, rows: Sequence[PackedRow], runs: RunList) -> None:
        """Create handles whose values are plain; for the others find out why not."""
        _, handles, octets, _ = zip(*rows, strict=True)
        folded = fold_handles(handles, case_sensitive=self._view.case_sensitive)
        fit = self._find_fit(handles, folded, octets)
        if not all(fit):
            folded, octets = list(compress(folded, fit)), tuple(compress(octets, fit))
        added = self._add(folded, octets)
        if all(added) and len(added) == len(rows):
            runs.add(_CREATED, len(rows))
            return
        are_new = iter(added)
        for row, is_fit in zip(rows, fit, strict=True):
            if is_fit and next(are_new):
                runs.add(_CREATED)
            else:
                self._add_verdict(row, runs)

    def _find_fit(
        self, handles: Sequence[bytes], folded: Sequence[bytes], octets: Sequence[bytes]
    ) -> list[bool]:
        """Say of each whether it may be created and its values fit into a record."""
        prefixes = [each.partition(b"/")[0] for each in folded]
        examples = dict(zip(prefixes, zip(handles, folded, strict=True), strict=True))
        rights = {prefix: self._right_or_none(*names) for prefix, names in examples.items()}
        permitted = {prefix for prefix, right in rights.items() if isinstance(right, Permitted)}
        self._counted = {prefix for prefix in permitted if type(rights[prefix]) is Counted}
        fit = [
            prefix in permitted and len(each) <= RECORD_OCTETS_MAX
            for prefix, each in zip(prefixes, octets, strict=True)
        ]
        if self._counted:
            left = {each: quotas.left_of(self._view, each, self._now_s) for each in self._counted}
            quotas.keep_within(fit, prefixes, left)
        return fit

    def _right_or_none(self, handle: bytes, folded: bytes) -> Authorization | None:
        try:
            return self._find_right(handle, folded)
        except NeedError as need:
            self._missing |= need.handles
            return None

    def _add(self, folded: Sequence[bytes], octets: Sequence[bytes]) -> list[bool]:
        """Store values under the names that are free; say of each whether it was."""
        added = self._view.add_rows(*public_rows(folded, octets))
        kind, (actor, index), time_s = int(Kind.CREATE), self._actor, self._now_s
        self.items += [
            [kind, name, each, actor, index, time_s]
            for name, each, is_new in zip(folded, octets, added, strict=True)
            if is_new
        ]
        if self._counted:
            names = list(compress(folded, added))
            quotas.count_names(self._view, names, self._counted, self._now_s)
        return added

    def _find_right(self, handle: bytes, folded: bytes) -> Authorization:
        right = self._rights.find(handle, folded)
        if isinstance(right, Need):
            raise NeedError(right)
        return right

    def _any(self, row: Row) -> Run:
        """Do what a row asks for as if it were a request of its own; return its verdict."""
        if row.kind == RowKind.BAD:
            return Run(1, Verdict.REFUSED, ResponseCode.INVALID_VALUE, row.octets)
        try:
            if row.kind == RowKind.RANGE:
                return self._register_range(row)
            return self._make(row) if row.kind == RowKind.TEMPLATE else self._carry_out(row)
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
        return Run(1, Verdict.CREATED if outcome else Verdict.UNCHANGED)

    def _make(self, row: Row) -> Run:
        """Create a handle from a template, by the short way when it is new and permitted."""
        try:
            request = unpack_request(row.octets)
        except ValueError as error:
            return Run(1, Verdict.REFUSED, ResponseCode.INVALID_VALUE, str(error).encode())
        made = self._templates.make(row.handle, request)
        if isinstance(made, Refusal):
            return Run(1, Verdict.REFUSED, made.response_code, made.message)
        if not request.replaces and self._create_made(row.handle, made):
            return Run(1, Verdict.CREATED)
        kind = RowKind.REPLACE if request.replaces else RowKind.CREATE
        return self._carry_out(
            row._replace(kind=kind, octets=encode_values(made.values(self._now_s)))
        )

    def _create_made(self, handle: bytes, made: Made) -> bool:
        """Create a handle as a row of its template; False: another way has to find out why not."""
        folded = self._view.fold(handle)
        key = folded_key(folded)
        right = self._find_right(handle, folded)
        if not isinstance(right, Permitted) or not is_free(self._view, key):
            return False
        is_counted = type(right) is Counted
        if is_counted and quotas.refuse_beyond(self._view, handle, 1, self._now_s) is not None:
            return False
        new = self._templates.row(key, made)
        if new is None:
            return False
        put_new_row(self._view, key, new)
        if is_counted:
            quotas.count_created(self._view, handle, 1, self._now_s)
        kind, payload = Kind.CREATE_FROM_TEMPLATE, new.payload()
        self.items.append(pack_change(kind, folded, payload, self._identity, self._now_s))
        return True

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
        if stored is None or not isinstance(self._find_right(row.handle, folded), Permitted):
            return False
        values = decode_record(stored).values
        # That a guess at a hidden value is right would tell it.
        return all(each.is_public for each in values) and _timeless(values) == _timeless(
            _values(row)
        )


def _find_lacking(rows: Sequence[PackedRow], runs: Sequence[Run]) -> PackedRow | None:
    """Return the first row that was refused because its sender has not the rights."""
    at = 0
    for run in runs:
        if run.code == ResponseCode.INVALID_ADMIN and run.verdict == Verdict.REFUSED:
            return rows[at]
        at += run.rows
    return None


def _cut_digests(rows: Sequence[PackedRow]) -> bytes:
    """Return what is kept of the digests of rows."""
    return b"".join([digest[:ROW_DIGEST_OCTETS] for _, _, _, digest in rows])


def _by_plainness(rows: Sequence[PackedRow]) -> Iterator[tuple[bool, Sequence[PackedRow]]]:
    """Cut rows into pieces, in order, that are all plain or none of them; say which."""
    if [row[0] for row in rows].count(RowKind.PLAIN) == len(rows):
        pieces: Iterable[tuple[bool, Sequence[PackedRow]]] = ((True, rows),)
    else:
        groups = groupby(rows, key=lambda row: row[0] == RowKind.PLAIN)
        pieces = ((is_plain, list(some)) for is_plain, some in groups)
    for is_plain, some in pieces:
        for start in range(0, len(some), PLAIN_ROWS_MAX):
            yield is_plain, some[start : start + PLAIN_ROWS_MAX]


def _operation(row: Row) -> Operation:
    if row.kind == RowKind.DELETE:
        return Operation(OpCode.DELETE_HANDLE, HandleRequest(row.handle))
    body = ValuesRequest(row.handle, _values(row))
    return Operation(OpCode.CREATE_HANDLE, body, overwrite=row.kind == RowKind.REPLACE)


def _values(row: Row) -> tuple[HandleValue, ...]:
    return read_values(Reader(row.octets))


def _timeless(values: Sequence[HandleValue]) -> list[HandleValue]:
    return [replace(value, timestamp=0) for value in values]
