"""What a handle has been: every change of it, and its state as of a frame, out of the journal.

    entries of `history_index`     4         9         12        one for each frame that changed it
    the journal              ──c───┼─────────┼─────x───┼──────>  c, x: creations without an entry
    so that it was             new   changed   deleted

Between two entries nothing changed, except that a handle that had no row may have been created:
that frame is looked for by the time its values carry (`history_frames`). Only frames that are in
the journal, and that came after the entries began to be kept, are known.

What the ranges around it were is a past of its own (`range_past`), and both are told as one:

    row of its own     ......c=====d.........c==      what it has answers, whatever the range says
    in a range         ..r=====s=====s===x..r=====    a deleted one stays so until the range is gone
"""

from collections.abc import Iterator
from heapq import merge
from typing import NamedTuple

from protocol.value import HandleValue
from registry.errors import RangeError
from registry.frame_times import first_frame
from registry.history_frames import Changes, Frames
from registry.journal import Kind
from registry.range_changes import REGISTER, REVOKE
from registry.range_past import Around, RangePast, find_place
from registry.range_records import is_active
from registry.range_steps import RangeStep, values_in
from registry.row_past import Moment, RowPast, deletes
from registry.views import View

CHANGES_MAX = 1_000  # of the range around an identifier that was deleted; each is a frame to read
MARKS_MAX = 64  # frames in a row that only mark a handle, through which its values are sought


class _Standing(NamedTuple):
    """Whether a handle has a row of its own, is in a range that answers, was deleted out of it."""

    has_row: bool
    is_around: bool
    is_deleted: bool

    @property
    def answers(self) -> bool:
        return self.has_row or (self.is_around and not self.is_deleted)


class History:
    """The past of one handle, for one request.

    Args:
        view: the store.
        handle: as asked.
    """

    def __init__(self, view: View, handle: bytes) -> None:
        self._view = view
        self._handle = view.fold(handle)
        place = find_place(view, self._handle)
        known_after = view.histories_after()
        if place is not None:
            known_after = max(known_after, view.range_histories_after())
        self.head = view.head().seq
        self.first = max(first_frame(view) or self.head + 1, known_after + 1)
        self._frames = Frames(view, self._handle, place)
        self._rows = RowPast(view, self._frames, self._handle, self.first, self.head)
        self._ranges = (
            None if place is None else RangePast(view, self._frames, place, self.first, self.head)
        )

    @property
    def is_whole(self) -> bool:
        """Say whether every creation and registration was found, as far as was asked."""
        return self._rows.is_whole and (self._ranges is None or self._ranges.is_whole)

    @property
    def octets_read(self) -> int:
        """Of frames, in clear."""
        return self._frames.octets_read

    def changes(self, after: int) -> Iterator[Changes]:
        """Iterate over what changed the handle after a frame, in order.

        `is_whole` turns False when a creation was not found.

        Raises:
            JournalError: a frame is damaged.
            RangeError: the ranges around it changed too often to be looked through.
        """
        if self._ranges is None:
            yield from self._rows.changes(after)
            return
        standing = self._standing(after)
        seq = 0
        for change in merge(
            self._rows.changes(after), self._ranges.changes(after), key=lambda each: each.seq
        ):
            if change.seq == seq:
                continue  # both pasts tell of it
            seq = change.seq
            told, standing = _walk(change, standing)
            if told.operations or told.steps:
                yield told

    def range_changes(self, after: int) -> Iterator[Changes]:
        """Iterate over what changed the range around the handle after a frame, in order.

        Raises: as `changes`.
        """
        return iter(()) if self._ranges is None else self._ranges.changes(after)

    def at(self, seq: int) -> Moment | None:
        """Return the state after a frame; None: it is not known. Raises: as `changes`."""
        own = self._rows.at(seq)
        if own is None or (own.change is None and own.is_there):
            return own
        if not own.is_there:
            return self._without_row(seq, own)
        if own.operation is None:
            return None  # changed in a way that this does not read
        if own.operation.kind != Kind.MARK or own.state == "revoked":
            return own
        assert own.change is not None, "an operation is one of a frame"
        values = self._values_under(own.change)
        return None if values is None else own._replace(values=values)

    def _values_under(self, change: Changes) -> tuple[HandleValue, ...] | None:
        """Return the values that a frame marked, or only frames before it: those they had then."""
        for _ in range(MARKS_MAX):
            values, ranged = _values_left(change)
            if values is not None:
                return values
            seq = change.seq - 1
            before = self._rows.at(seq)
            if before is not None and not before.is_there:
                if ranged is not None:
                    return ranged
                before = self._without_row(seq, before)
            if before is None:
                return None
            if before.change is None or before.step is not None:
                return before.values
            if before.operation is None:
                return None  # changed in a way that this does not read
            if before.operation.kind != Kind.MARK:
                return before.values
            change = before.change
        return None

    def _without_row(self, seq: int, own: Moment) -> Moment | None:
        """Return the state of a handle that has no row of its own after a frame."""
        around = Around(None) if self._ranges is None else self._ranges.at(seq)
        if around is None:
            return None
        if around.held is None:
            return own if around.change is None else self._cut_off(own, around.change, around)
        if not is_active(around.held.octets):
            return _by_range("revoked", around)
        if own.change is not None and not self._is_registered_since(own.change, seq):
            return own
        return _by_range("active", around)._replace(values=values_in(around.held))

    def _cut_off(self, own: Moment, change: Changes, around: Around) -> Moment:
        """Return the state of a handle whose range was shrunk, unless it was deleted before."""
        step = around.step
        assert step is not None, "a frame changed it"
        if own.change is not None:
            is_later = _last_own(own.change) >= (change.seq, step.position)
            if is_later or not self._is_registered_since(own.change, change.seq):
                return own
        return _by_range("deleted", around)

    def _is_registered_since(self, deletion: Changes, seq: int) -> bool:
        """Say whether a range was registered around the handle after it was deleted, up to a frame.

        Until then it stays deleted out of the range that was there. Raises: RangeError: the range
        around it changed too often to be looked through.
        """
        for looked_at, change in enumerate(self.range_changes(deletion.seq - 1)):
            if looked_at == CHANGES_MAX:
                raise RangeError(
                    f"the range around the identifier changed more than {CHANGES_MAX:,} times "
                    "after it was deleted: its history cannot be told, but that nearer to then "
                    "(sequence)"
                )
            if change.seq > seq:
                break
            for step in change.steps:
                if step.verb == REGISTER and (change.seq, step.position) > _last_own(deletion):
                    return True
        return False

    def _standing(self, seq: int) -> _Standing:
        """Return how the handle stood after a frame, as far as that is known."""
        own = self._rows.at(seq)
        around = None if self._ranges is None else self._ranges.at(seq)
        is_around = around is not None and around.held is not None and is_active(around.held.octets)
        if own is None or own.is_there:
            return _Standing(own is not None, is_around, is_deleted=False)
        is_deleted = (
            is_around and own.change is not None and not self._is_registered_since(own.change, seq)
        )
        return _Standing(has_row=False, is_around=is_around, is_deleted=is_deleted)


def _walk(change: Changes, standing: _Standing) -> tuple[Changes, _Standing]:
    """Return what is told of a frame, and how the handle stands after it.

    What is done to the range out of which a handle was deleted is not done to the handle.
    """
    has_row, is_around, is_deleted = standing
    begins = (
        bool(change.steps) and change.steps[0].verb == REGISTER and not change.steps[0].position
    )
    was_there = standing.answers or (change.was_there and not begins)
    steps = []
    for deed in change.deeds():
        if isinstance(deed, RangeStep):
            if not is_deleted or deed.verb == REVOKE:
                steps.append(deed._replace(kept=has_row))
            is_around = deed.answers
            is_deleted = is_deleted and is_around
        elif deletes(deed):
            has_row, is_deleted = False, is_around
        else:
            has_row, is_deleted = True, False
    told = change._replace(steps=tuple(steps), was_there=was_there)
    return told, _Standing(has_row, is_around, is_deleted)


def _by_range(state: str, around: Around) -> Moment:
    return Moment(state, (), around.change, None, around.step, around.held)


def _last_own(change: Changes) -> tuple[int, int]:
    """Return where the last operation of a frame on the handle itself stands, as steps do."""
    return change.seq, len(change.operations) - 1


def _values_left(
    change: Changes,
) -> tuple[tuple[HandleValue, ...] | None, tuple[HandleValue, ...] | None]:
    """Return the values that a frame left under its marks, and those of the range around it.

    The former are None when the frame only marked the handle; the latter are what it then had, if
    it had no row before the frame.
    """
    values: tuple[HandleValue, ...] | None = None
    ranged: tuple[HandleValue, ...] | None = None
    is_marked = was_deleted = False
    for deed in change.deeds():
        if isinstance(deed, RangeStep):
            if not is_marked:
                ranged = None if deed.held is None else values_in(deed.held)
        elif deletes(deed):
            values, is_marked, was_deleted = None, False, True
        elif deed.kind == Kind.MARK:
            values = ranged if was_deleted and values is None else values
            is_marked = True
        else:
            values, is_marked = deed.values, True
    return values, ranged
