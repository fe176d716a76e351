"""What a handle has been: every change of it, and its state as of a frame, out of the journal.

    entries of `history_index`     4         9         12        one for each frame that changed it
    the journal              ──c───┼─────────┼─────x───┼──────>  c, x: creations without an entry
    so that it was             new   changed   deleted

Between two entries nothing changed, except that a handle that was not there may have been created:
that frame is looked for by the time its values carry. What that takes is bounded for each request;
a creation that is not found is said to be unknown, never guessed.

Only frames that are in the journal, and that came after the entries began to be kept, are known.
What identifiers were that stand or stood in a range is known as far as they had rows of their own:
registering, cutting and revoking ranges leaves no trace with each of their identifiers.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from protocol.value import HandleValue
from registry.frame_times import first_frame, first_from, get_frame, runs, time_of
from registry.history_index import (
    NOTHING,
    UNDATED,
    Entry,
    came_to_be,
    last_entry,
    next_entry,
    time_of_first,
)
from registry.journal import JournalOperation, Kind, frame_time, operations_on
from registry.mark_changes import ACTIVE, read_mark
from registry.marks import State, kept_row
from registry.office_replay import row_after
from registry.range_records import split_identifier
from registry.schema import decode_record, folded_key
from registry.template_lots import creation_values
from registry.views import View

# For each request, of frames that are searched for creations. Octets are those in clear: what a
# node writes in two busy seconds, which takes some 0.1 s to look through.
SEARCHED_FRAMES_MAX = 2_048
SEARCHED_OCTETS_MAX = 128 * 1_048_576
CREATED_WITHIN_S = 120  # from the time of a value to that of the frame that stored it
MARKS_MAX = 64  # frames in a row that only mark a handle, through which its values are sought

KINDS = frozenset(
    {Kind.CREATE, Kind.DELETE, Kind.ADD, Kind.REMOVE, Kind.MODIFY, Kind.REPLACE_KEY, Kind.MARK}
)


class Changes(NamedTuple):
    """What one frame did to a handle, in order; `was_there` before that.

    A creation from a template is told as one with its values. Of a prefix's handle, what the prefix
    office did to it is told as a creation or, when it was put aside, as a deletion.
    """

    seq: int
    time_ms: int
    operations: tuple[JournalOperation, ...]
    was_there: bool


class Moment(NamedTuple):
    """The state of a handle after a frame.

    `state` is active, frozen, revoked, deleted or unregistered. `change` is the frame that made it
    so, and `operation` what it did; None where no frame did, or none is known. `values` are those
    that resolution would have found.
    """

    state: str
    values: tuple[HandleValue, ...] = ()
    change: Changes | None = None
    operation: JournalOperation | None = None


UNREGISTERED = Moment("unregistered")


class History:
    """The past of one handle, for one request.

    Args:
        view: the store.
        handle: as asked.
    """

    def __init__(self, view: View, handle: bytes) -> None:
        self._view = view
        self._handle = view.fold(handle)
        self._key = folded_key(self._handle)
        self._entries = view.table("histories")
        self._frames_left = SEARCHED_FRAMES_MAX
        self._octets_left = SEARCHED_OCTETS_MAX
        self.octets_read = 0  # of frames, in clear
        self.head = view.head().seq
        self.first = max(first_frame(view) or self.head + 1, view.histories_after() + 1)
        self.is_whole = True
        self.is_ranged = _has_ranges_beside(view, self._handle)

    def changes(self, after: int) -> Iterator[Changes]:
        """Iterate over what changed the handle after a frame, in order.

        `is_whole` turns False when a creation was not found. Raises: JournalError.
        """
        last = self._last(after)
        position = self.first - 1 if last is None else last.seq
        was_there = last is not None and _is_there(self._read(last.seq).operations)
        while True:
            entry = next_entry(self._entries, self._key, max(after, position))
            own = None if entry is None else self._read(entry.seq)
            if not was_there:
                created = self._find_creation(position, entry, own)
                was_there = self._was_made(entry, created)
                if created is not None and created > after and (own is None or created < own.seq):
                    yield self._read(created)
                is_own = created is not None and own is not None and created == own.seq
                was_there = was_there and not is_own
            if own is None:
                return
            yield own._replace(was_there=was_there)
            was_there = _is_there(own.operations)
            position = own.seq

    def _was_made(self, entry: Entry | None, created: int | None) -> bool:
        """Say whether the handle was there before an entry; note a creation that is not known."""
        was_made = self._when(entry) != NOTHING
        if created is None and (was_made or self.is_ranged):
            self.is_whole = False
        return was_made

    def at(self, seq: int) -> Moment | None:
        """Return the state after a frame; None: it is not known. Raises: JournalError."""
        state = ""
        marking: tuple[Changes, JournalOperation] | None = None
        for _ in range(MARKS_MAX):
            moment = self._at(seq)
            if moment is None:
                return None
            if moment.change is None:
                return moment if marking is None else Moment(state, moment.values, *marking)
            if moment.operation is None:
                return None  # changed in a way that this does not read
            if marking is None:
                state, marking = moment.state, (moment.change, moment.operation)
            if moment.operation.kind != Kind.MARK or moment.state == "revoked":
                return Moment(state, moment.values, *marking)
            values = _values_before_marks(moment.change.operations)
            if values is not None:
                return Moment(state, values, *marking)
            seq = moment.change.seq - 1
        return None

    def _at(self, seq: int) -> Moment | None:
        """Return the state after a frame, without the values when the frame only marked it."""
        last = self._last(seq)
        absent = UNREGISTERED
        if last is not None:
            change = self._read(last.seq)
            if _is_there(change.operations):
                return _moment(change)
            if change.operations:
                absent = Moment("deleted", (), change, change.operations[-1])
        following = next_entry(self._entries, self._key, seq)
        if self._when(following) == NOTHING:
            return None if self.is_ranged and last is None else absent
        own = None if following is None else self._read(following.seq)
        position = self.first - 1 if last is None else last.seq
        created = self._find_creation(position, following, own)
        if created is not None:
            return _moment(self._read(created)) if created <= seq else absent
        return self._ever_since(last, following)

    def _ever_since(self, last: Entry | None, following: Entry | None) -> Moment | None:
        """Return the state of a handle that nothing changed since before the first frame known."""
        row = self._view.find_row(self._key)
        if last is not None or following is not None or row is None or self.first == 1:
            return None
        when = came_to_be(row)
        if self.first > self.head or when * 1_000 >= time_of(self._view, self.first):
            return None
        record = self._view.find_record(self._handle)
        return None if record is None else Moment("active", record.values)

    def _last(self, through: int) -> Entry | None:
        entry = last_entry(self._entries, self._key, through)
        return entry if entry is not None and entry.seq >= self.first else None

    def _when(self, entry: Entry | None) -> int:
        """Return since when the handle was there, before an entry or now."""
        if entry is not None:
            return entry.before
        row = self._view.find_row(self._key)
        return NOTHING if row is None else came_to_be(row)

    def _read(self, seq: int) -> Changes:
        return self._look_into(seq)[0]

    def _look_into(self, seq: int) -> tuple[Changes, int]:
        """Return what a frame did to the handle, and its octets in clear."""
        frame = get_frame(self._view, seq)
        found, octets = operations_on(frame, self._handle)
        self.octets_read += octets
        operations = tuple(plain for each in found if (plain := self._plain(each)) is not None)
        return Changes(seq, frame_time(frame), operations, was_there=False), octets

    def _plain(self, operation: JournalOperation) -> JournalOperation | None:
        """Return an operation as one on the values of the handle, None when it is none."""
        if operation.kind in KINDS:
            return operation
        if operation.kind == Kind.CREATE_FROM_TEMPLATE:
            values = creation_values(self._view, operation)
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

    def _find_creation(self, after: int, entry: Entry | None, own: Changes | None) -> int | None:
        """Return the frame after `after`, at most that of an entry, that created the handle."""
        when = self._when(entry)
        if when == NOTHING:
            return own.seq if own is not None and _creates(own.operations) else None
        last = self.head if entry is None else entry.seq - 1
        if when == UNDATED:
            found = self._find_among(range(after + 1, last + 1))
            return own.seq if found is None and own and _made_itself(own, when) else found
        found = self._find_dated(after + 1, last, when)
        if found is None and own is not None and _made_itself(own, when):
            return own.seq
        if found is not None or self.is_ranged:
            return found  # without a creation of its own it came with a range
        return self._find_among(range(after + 1, last + 1))

    def _find_dated(self, first: int, last: int, when: int) -> int | None:
        """Look through the frames of a time; and, should the clock have jumped, the run's first."""
        for run in runs(self._view, first, last):
            start = first_from(self._view, run, when * 1_000)
            end = first_from(self._view, run, (when + CREATED_WITHIN_S) * 1_000)
            found = self._find_among((*range(start, end), run.first))
            if found is not None:
                return found
        return None

    def _find_among(self, sequence: range | tuple[int, ...]) -> int | None:
        for seq in sequence:
            if self._frames_left <= 0 or self._octets_left <= 0:
                return None
            change, octets = self._look_into(seq)
            self._frames_left -= 1
            self._octets_left -= octets
            if _creates(change.operations):
                return seq
        return None


def _has_ranges_beside(view: View, folded: bytes) -> bool:
    """Say whether there are ranges of a handle's stem, one of which may hold or have held it."""
    split = split_identifier(folded)
    if split is None:
        return False
    start = split[0] + b"\0"
    found = view.table("ranges").at_or_after(start)
    return found is not None and found[0].startswith(start)


def _creates(operations: tuple[JournalOperation, ...]) -> bool:
    return bool(operations) and operations[0].kind == Kind.CREATE


def _made_itself(change: Changes, when: int) -> bool:
    """Say whether a frame seems to have created what it then changed, at a time."""
    if len(change.operations) < 2 or not _creates(change.operations):
        return False
    return time_of_first(change.operations[0].values) == when


def _is_there(operations: tuple[JournalOperation, ...]) -> bool:
    """Say whether a handle is there after operations; what is revoked cannot be created again."""
    return not operations or operations[-1].kind != Kind.DELETE


def _moment(change: Changes) -> Moment:
    operation = change.operations[-1] if change.operations else None
    if operation is None or operation.kind != Kind.MARK:
        return Moment("active", () if operation is None else operation.values, change, operation)
    state, _ = read_mark(operation)
    name = "active" if state == ACTIVE else State(state).name.lower()
    return Moment(name, (), change, operation)


def _values_before_marks(
    operations: tuple[JournalOperation, ...],
) -> tuple[HandleValue, ...] | None:
    """Return the values that a frame left, None when it only marked the handle."""
    for operation in reversed(operations):
        if operation.kind != Kind.MARK:
            return operation.values
    return None
