"""Reading the frames of the journal for what they did to one handle, within bounds.

A frame is read when the index names it, or searched for a creation or a registration that the index
does not name. What is searched for one request is bounded; what is not found so is said to be
unknown, never guessed.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from protocol.value import HandleValue
from registry.frame_times import first_from, get_frame, runs
from registry.journal import JournalOperation, Kind, frame_time, operations_on
from registry.marks import kept_row
from registry.office_replay import row_after
from registry.range_history_index import Place, ranges_before
from registry.range_steps import RangeStep, find_steps
from registry.schema import decode_record
from registry.template_lots import creation_values
from registry.views import View

# For each request, of frames that are searched for creations. Octets are those in clear: what a
# node writes in two busy seconds, which takes some 0.1 s to look through.
SEARCHED_FRAMES_MAX = 2_048
SEARCHED_OCTETS_MAX = 128 * 1_048_576
CREATED_WITHIN_S = 120  # from the time of a value to that of the frame that stored it

KINDS = frozenset(
    {Kind.CREATE, Kind.DELETE, Kind.ADD, Kind.REMOVE, Kind.MODIFY, Kind.REPLACE_KEY, Kind.MARK}
)

Deed = JournalOperation | RangeStep


class Changes(NamedTuple):
    """What one frame did to a handle, in order; `was_there` before that.

    `operations` are those on the handle itself, `steps` those on the ranges around it. A creation
    from a template is told as one with its values. Of a prefix's handle, what the prefix office did
    to it is told as a creation or, when it was put aside, as a deletion.
    """

    seq: int
    time_ms: int
    operations: tuple[JournalOperation, ...]
    was_there: bool
    steps: tuple[RangeStep, ...] = ()

    def deeds(self) -> list[Deed]:
        """Return operations and steps in their order."""
        deeds: list[Deed] = list(self.operations)
        for step in reversed(self.steps):
            deeds.insert(step.position, step)
        return deeds


class Frames:
    """The frames of the journal, for one handle and one request.

    Args:
        view: the store.
        handle: as stored.
        place: where the handle stands among ranges; None: there is nothing to be known of any.
    """

    def __init__(self, view: View, handle: bytes, place: Place | None) -> None:
        self._view = view
        self._handle = handle
        self._place = place
        self._frames_left = SEARCHED_FRAMES_MAX
        self._octets_left = SEARCHED_OCTETS_MAX
        self._last_read: Changes | None = None
        self.octets_read = 0  # of frames, in clear

    def read(self, seq: int) -> Changes:
        """Return what a frame did to the handle. Raises: JournalError."""
        if self._last_read is None or self._last_read.seq != seq:
            stem = set() if self._place is None else {self._place.stem}
            self._last_read, _ = self._look_into(seq, {self._handle} | stem)
        return self._last_read

    def _look_into(self, seq: int, handles: set[bytes], part: bytes = b"") -> tuple[Changes, int]:
        """Return what a frame did to the handle, and its octets in clear.

        Args:
            seq: of the frame.
            handles: of what is looked at in it.
            part: only of operations that have these octets in them.
        """
        frame = get_frame(self._view, seq)
        found, octets = operations_on(frame, handles, part)
        self.octets_read += octets
        operations: list[JournalOperation] = []
        ranged: list[tuple[int, JournalOperation]] = []
        for each in found:
            if each.kind == Kind.RANGES:
                ranged.append((len(operations), each))
            elif each.handle == self._handle and (plain := self._plain(each)) is not None:
                operations.append(plain)
        steps: tuple[RangeStep, ...] = ()
        if ranged and self._place is not None:
            table = self._view.table("histories")
            steps = find_steps(ranged, self._place, partial(ranges_before, table, self._place, seq))
        return Changes(seq, frame_time(frame), tuple(operations), False, steps), octets

    def _plain(self, operation: JournalOperation) -> JournalOperation | None:
        """Return an operation as one on the values of the handle, None when it is none."""
        if operation.kind in KINDS:
            return operation
        if operation.kind == Kind.CREATE_FROM_TEMPLATE:
            values: tuple[HandleValue, ...] = creation_values(self._view, operation)
        elif operation.kind == Kind.APPLICATION:
            row = row_after(operation)
            if row is None:
                return None
            if not row:
                return replace(operation, kind=Kind.DELETE, payload=b"")
            values = decode_record(kept_row(row)).values
        else:
            return None
        return replace(operation, kind=Kind.CREATE, values=values, payload=b"")

    def find_dated(self, first: int, last: int, when_s: int, sought: "Sought") -> int | None:
        """Return the frame of a time that is sought; should the clock have jumped, a run's first.

        Args:
            first: the first frame to look at.
            last: the last.
            when_s: since 1970; frames of the CREATED_WITHIN_S after it are looked at.
            sought: says which frame is looked for.
        """
        for run in runs(self._view, first, last):
            start = first_from(self._view, run, when_s * 1_000)
            end = first_from(self._view, run, (when_s + CREATED_WITHIN_S) * 1_000)
            found = self.find_among((*range(start, end), run.first), sought)
            if found is not None:
                return found
        return None

    def find_among(self, sequence: Iterable[int], sought: "Sought") -> int | None:
        """Return the first of these frames that is sought, as far as the bounds allow to look."""
        for seq in sequence:
            if self._frames_left <= 0 or self._octets_left <= 0:
                return None
            change, octets = self._look_into(seq, {sought.handle}, sought.part)
            self._frames_left -= 1
            self._octets_left -= octets
            if sought.is_it(change):
                return seq
        return None


class Sought(NamedTuple):
    """A frame that is looked for: by what it did to a handle or stem.

    `part` are octets that the operation has in it: of thousands on one stem only such are decoded.
    """

    is_it: Callable[[Changes], bool]
    handle: bytes
    part: bytes = b""
