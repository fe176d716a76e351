"""What a mirror is sent, in pieces: each a read transaction of its own, of bounded octets and work.

The log says which handles changed, and what is sent of one are all its values as they are now: a
mirror that takes every record has the same in the end, and nobody learns what was removed since.
What a mirror of Handle.Net has no words for becomes what it has:

    frozen                      its values, as for everybody who resolves it
    revoked, deleted in a range DELETE
    made from a template        its values, expanded
    a suspended prefix          UNHOME, and DELETE of its handle; HOME when it is resumed
    a range                     nothing: its identifiers are no handles with values of their own;
                                `left_out` counts them, and who sends says so

In a frame, of several operations on a handle only the last is sent. A dump begins with the id of
the last transaction before it: the log from there has what changed while it was made.

Dates of changes never go down, even where the clock was set back: a mirror of several primaries
takes, of two changes of a handle, the one with the later date. A mirror for which there was nothing
at the end of the log is told so by what it has already, a prefix homed: its place moves on with it.
"""

from collections.abc import Iterator
from typing import NamedTuple

from protocol.replication import (
    FORMAT_ALL_SOURCES,
    FORMAT_ONE_SOURCE,
    Action,
    DumpEnd,
    DumpHandle,
    DumpHead,
    DumpPrefix,
    DumpServer,
    HandleChange,
    LogEnd,
    LogHead,
    LogSource,
    LogSourceDate,
    LogStatus,
    ResumePoint,
)
from registry.errors import JournalError
from registry.frame_times import first_frame, runs, time_of
from registry.journal import FRAME_OPERATIONS_MAX, Kind, frame_time, touched_handles
from registry.marks import answering_row
from registry.mirror_plans import (
    WHOLE_FRAME,
    DumpPlan,
    LogPlan,
    frame_and_place,
    needs_redump,
    transaction_id,
)
from registry.office_replay import changes_row
from registry.schema import decode_record, storage_key
from registry.store import Store
from registry.views import View

PIECE_OCTETS = 65_536  # a piece ends behind the record that reaches this
PIECE_CHANGES = 256  # looked at in one transaction
PIECE_ROWS = 64  # likewise, of a dump
PIECE_PREFIXES = 1_000

Piece = list[bytes]
"""Encoded parts of a stream: its head, or a record each."""

assert 2 * FRAME_OPERATIONS_MAX < WHOLE_FRAME, "places of a frame's operations fit into an id"

_HOMING = frozenset({Kind.HOME, Kind.UNHOME})
_NO_HANDLE = frozenset({Kind.TEMPLATE, Kind.QUOTA, Kind.PERSON})
_CREATING = frozenset({Kind.CREATE, Kind.CREATE_FROM_TEMPLATE})


class _Touched(NamedTuple):
    """One thing to tell of a frame: the state of a handle, or of the homing of a prefix."""

    place: int
    handle: bytes
    is_homing: bool
    is_new: bool
    is_office: bool  # only the prefix office may have changed it


class LogStream:
    """The log for one mirror, up to what it is when this is made.

    Args:
        store: is read.
        plan: where the mirror stands, and its share.
        source: the name of this node's log, for mirrors that follow several.
        now_ms: milliseconds since 1970.
    """

    def __init__(self, store: Store, plan: LogPlan, source: str, now_ms: int) -> None:
        self._store = store
        self._share = plan.share
        self._source = source
        self._is_one_of_many = plan.positions is not None
        self._after = plan.after if plan.positions is None else plan.positions.get(source, 0)
        self._asked_ms = plan.asked_ms
        self._now_ms = now_ms
        self._sent_seq = 0
        self.sent = 0
        self.left_out = 0
        with store.read() as view:
            self.needs_redump = needs_redump(view, self._after)
            self._head = view.head().seq
            self._date_ms = 0 if self.needs_redump else _latest_before(view, self._first_seq)

    @property
    def _first_seq(self) -> int:
        """The first frame to look at."""
        seq, place = frame_and_place(self._after)
        return max(seq + (place == WHOLE_FRAME), 1)

    def pieces(self) -> Iterator[Piece]:
        """Iterate over the stream.

        Raises:
            JournalError: a frame is damaged, or was trimmed meanwhile.
            RecordError: a row is damaged.
        """
        status = LogStatus.NEED_REDUMP if self.needs_redump else LogStatus.SENDING
        format_ = FORMAT_ALL_SOURCES if self._is_one_of_many else FORMAT_ONE_SOURCE
        yield [LogHead(format_, status).encode()]
        if self.needs_redump:
            yield [LogEnd(None if self._is_one_of_many else self._asked_ms).encode()]
            return
        if self._is_one_of_many:
            yield [LogSource(self._source.encode()).encode()]
        asked_seq, place = frame_and_place(self._after)
        for seq in range(self._first_seq, self._head + 1):
            yield from self._frame_pieces(seq, place if seq == asked_seq else 0)
        yield self._end()

    def _end(self) -> Piece:
        parts: Piece = []
        if self._sent_seq < self._head and transaction_id(self._head) > self._after:
            # What came last was not for this mirror: tell it how far it has come all the same.
            parts += self._moving_on()
        if self._is_one_of_many:
            parts += [LogSourceDate(self._now_ms).encode(), LogEnd(None).encode()]
        else:
            parts.append(LogEnd(self._now_ms).encode())
        return parts

    def _moving_on(self) -> Piece:
        """Return a record that changes nothing, as mirrors would log a placeholder as an error."""
        with self._store.read() as view:
            homed = view.list_homed(None, 1).handles
        number = transaction_id(self._head)
        return [HandleChange(number, each, Action.HOME, self._date_ms).encode() for each in homed]

    def _frame_pieces(self, seq: int, after_place: int) -> Iterator[Piece]:
        with self._store.read() as view:
            frame = view.find_frame(seq)
        if frame is None:
            raise JournalError(f"frame {seq} was trimmed while it was to be sent")
        self._date_ms = max(self._date_ms, frame_time(frame))
        waiting = [each for each in self._touched(frame) if each.place > after_place]
        waiting.reverse()
        while waiting:
            piece: Piece = []
            with self._store.read() as view:
                octets = 0
                for _ in range(PIECE_CHANGES):
                    if not waiting or octets >= PIECE_OCTETS:
                        break
                    touched = waiting.pop()
                    change = _change(view, seq, touched, self._date_ms)
                    if change is None:
                        continue
                    piece.append(change.encode())
                    octets += len(piece[-1])
                    self._note_sent(seq, touched)
            yield piece

    def _note_sent(self, seq: int, touched: _Touched) -> None:
        self.sent += 1
        if touched.place == WHOLE_FRAME:
            self._sent_seq = seq

    def _touched(self, frame: bytes) -> list[_Touched]:
        """Return what of a frame is told, in the order of its last operations."""
        operations = touched_handles(frame)
        told: dict[tuple[bytes, bool], _Touched] = {}
        for number, (kind, handle, octets) in enumerate(operations, 1):
            if kind == Kind.RANGES:
                self.left_out += 1
                continue
            if kind in _NO_HANDLE:
                continue
            for is_homing in _tellings(kind, octets):
                if not is_homing and not self._share.holds(handle):
                    continue
                before = told.pop((handle, is_homing), None)
                is_new = kind in _CREATING or (before is not None and before.is_new)
                is_office = kind == Kind.APPLICATION and (before is None or before.is_office)
                place = 2 * number - is_homing
                told[handle, is_homing] = _Touched(place, handle, is_homing, is_new, is_office)
        ordered = list(told.values())
        if ordered:  # nothing that follows in this frame is for this mirror
            ordered[-1] = ordered[-1]._replace(place=WHOLE_FRAME)
        return ordered


def _tellings(kind: Kind, octets: bytes) -> tuple[bool, ...]:
    """Return of what an operation is told: the homing of a prefix (True), the handle (False)."""
    if kind in _HOMING:
        return (True,)
    if kind == Kind.APPLICATION:  # the prefix office: one that suspends or resumes changes both
        return (True, False) if changes_row(octets) else ()
    return (False,)


def _latest_before(view: View, seq: int) -> int:
    """Return the latest time of the frames before one, in ms; 0: none is kept."""
    first = first_frame(view) or seq
    before = runs(view, first, min(seq - 1, view.head().seq))
    return max((time_of(view, run.last) for run in before), default=0)


def _change(view: View, seq: int, touched: _Touched, date_ms: int) -> HandleChange | None:
    """Return what is told of something touched; None: it is no mirror's of this node."""
    number = transaction_id(seq, touched.place)
    if touched.is_homing:
        key = storage_key(touched.handle, case_sensitive=False)
        if touched.is_office and view.table("prefixes").get(key) is None:
            # Of a prefix that lives on another node, which the mirror may follow too.
            return None
        action = Action.HOME if view.is_homed(touched.handle) else Action.UNHOME
        return HandleChange(number, touched.handle, action, date_ms)
    record = view.find_record(touched.handle)
    if record is None:
        return HandleChange(number, touched.handle, Action.DELETE, date_ms)
    action = Action.CREATE if touched.is_new else Action.UPDATE
    return HandleChange(number, touched.handle, action, date_ms, record.values)


class DumpStream:
    """All of the store for one mirror.

    Args:
        store: is read.
        plan: the mirror's share, and where it goes on.
        now_ms: milliseconds since 1970.
    """

    def __init__(self, store: Store, plan: DumpPlan, now_ms: int) -> None:
        self._store = store
        self._plan = plan
        self._share = plan.share
        self._now_ms = now_ms
        self.sent = 0
        with store.read() as view:
            self._head = view.head().seq
            self.left_out = view.counts().in_ranges

    def pieces(self) -> Iterator[Piece]:
        """Iterate over the stream. Raises: RecordError: a row is damaged."""
        yield [DumpHead().encode()]
        plan = self._plan
        if plan.resume_at is None:
            # One that goes on keeps the id it was given first: what changed since then it has not.
            yield [DumpServer(self._now_ms, transaction_id(self._head)).encode()]
        if plan.resume_at is not None and plan.resume_type == ResumePoint.PREFIX:
            yield from self._prefixes(plan.resume_at)
        else:
            # Dates of handles and prefixes, which come before them, are not sent from here.
            is_behind_handle = plan.resume_type == ResumePoint.HANDLE
            yield from self._handles((plan.resume_at or b"") if is_behind_handle else b"")
            yield from self._prefixes(None)
        yield [DumpEnd().encode()]

    def _handles(self, after: bytes) -> Iterator[Piece]:
        key = storage_key(after, self._store.case_sensitive) if after else b""
        while True:
            with self._store.read() as view:
                page = view.table("handles").page(key, PIECE_ROWS)
                piece = [part for row in page for part in self._row_parts(view, *row)]
            if not page:
                return
            self.sent += len(piece)
            yield piece
            key = page[-1][0]

    def _row_parts(self, view: View, key: bytes, stored: bytes) -> Iterator[bytes]:
        """Iterate over the record of a row: none of one that does not answer, or is not shared."""
        row = answering_row(stored)
        if row is None:
            return
        record = decode_record(view.ordinary_row(key, row))
        handle = record.handle or key
        if self._share.holds(handle):
            yield DumpHandle(handle, record.values).encode()

    def _prefixes(self, after: bytes | None) -> Iterator[Piece]:
        key: bytes | None = storage_key(after or b"", case_sensitive=False)
        while key is not None:
            with self._store.read() as view:
                page, key = view.list_homed(key, PIECE_PREFIXES)
            if page:
                yield [DumpPrefix(handle).encode() for handle in page]
                self.sent += len(page)
