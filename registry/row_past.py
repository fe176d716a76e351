"""What row of its own a handle had, out of the journal (see `registry.histories`)."""

from collections.abc import Iterator
from typing import NamedTuple

from protocol.value import HandleValue
from registry.frame_times import time_of
from registry.history_frames import Changes, Frames, Sought
from registry.history_index import (
    NOTHING,
    RANGED,
    UNDATED,
    Entry,
    came_to_be,
    last_entry,
    next_entry,
    time_of_first,
)
from registry.journal import JournalOperation, Kind
from registry.mark_changes import ACTIVE, read_mark
from registry.marks import State, answering_row
from registry.range_lookup import Held
from registry.range_steps import RangeStep
from registry.schema import folded_key
from registry.views import View


class Moment(NamedTuple):
    """The state of a handle after a frame.

    `state` is active, frozen, revoked, deleted or unregistered. `change` is the frame that made it
    so, and `operation` or, on the range around it, `step` what it did; None where no frame did, or
    none is known. `values` are those that resolution would have found, `held` the range that gave
    them or, revoked, took them.
    """

    state: str
    values: tuple[HandleValue, ...] = ()
    change: Changes | None = None
    operation: JournalOperation | None = None
    step: RangeStep | None = None
    held: Held | None = None

    @property
    def is_there(self) -> bool:
        """Say whether there was a row, be it revoked, or a range that answered."""
        return self.state not in ("unregistered", "deleted")


UNREGISTERED = Moment("unregistered")


class RowPast:
    """The rows of one handle, for one request.

    Args:
        view: the store.
        frames: the journal.
        handle: as stored.
        first: the first frame that is known.
        head: the last.
    """

    def __init__(self, view: View, frames: Frames, handle: bytes, first: int, head: int) -> None:
        self._view = view
        self._frames = frames
        self._handle = handle
        self._key = folded_key(handle)
        self._entries = view.table("histories")
        self._created: dict[tuple[int, int], int | None] = {}
        self.first = first
        self.head = head
        self.is_whole = True

    def changes(self, after: int) -> Iterator[Changes]:
        """Iterate over what changed the handle's own row after a frame."""
        last = self._last(after)
        position = self.first - 1 if last is None else last.seq
        was_there = last is not None and _is_there(self._frames.read(last.seq).operations)
        while True:
            entry = next_entry(self._entries, self._key, max(after, position))
            own = None if entry is None else self._frames.read(entry.seq)
            if not was_there:
                created = self._find_creation(position, entry, own)
                was_there = self._when(entry) != NOTHING
                if created is None and was_there:
                    self.is_whole = False
                if created is not None and created > after and (own is None or created < own.seq):
                    yield self._frames.read(created)
                is_own = created is not None and own is not None and created == own.seq
                was_there = was_there and not is_own
            if entry is None or own is None:
                return
            yield own._replace(was_there=was_there or entry.before == RANGED)
            was_there = _is_there(own.operations)
            position = own.seq

    def at(self, seq: int) -> Moment | None:
        """Return the state of the handle's own row after a frame; None: it is not known.

        The values are not told where the frame only marked it. Raises: JournalError.
        """
        last = self._last(seq)
        absent = UNREGISTERED
        if last is not None:
            change = self._frames.read(last.seq)
            if _is_there(change.operations):
                return _moment(change)
            if change.operations:
                absent = Moment("deleted", (), change, change.operations[-1])
        following = next_entry(self._entries, self._key, seq)
        if self._when(following) == NOTHING:
            return absent
        own = None if following is None else self._frames.read(following.seq)
        position = self.first - 1 if last is None else last.seq
        created = self._find_creation(position, following, own)
        if created is not None:
            return _moment(self._frames.read(created)) if created <= seq else absent
        return self._ever_since(last, following)

    def _ever_since(self, last: Entry | None, following: Entry | None) -> Moment | None:
        """Return the state of a handle that nothing changed since before the first frame known."""
        row = self._own_row()
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

    def _own_row(self) -> bytes | None:
        """Return the row of the handle's own that answers now. Raises: RecordError."""
        stored = self._view.stored_row(self._key)
        row = None if stored is None else answering_row(stored)
        return None if row is None else self._view.ordinary_row(self._key, row)

    def _when(self, entry: Entry | None) -> int:
        """Return since when the handle had a row of its own, before an entry or now."""
        if entry is not None:
            return NOTHING if entry.before == RANGED else entry.before
        row = self._own_row()
        return NOTHING if row is None else came_to_be(row)

    def _find_creation(self, after: int, entry: Entry | None, own: Changes | None) -> int | None:
        """Return the frame after `after`, at most that of an entry, that created the row."""
        last = self.head if entry is None else entry.seq - 1
        if (after, last) not in self._created:
            self._created[after, last] = self._search_creation(after, last, entry, own)
        return self._created[after, last]

    def _search_creation(
        self, after: int, last: int, entry: Entry | None, own: Changes | None
    ) -> int | None:
        when = self._when(entry)
        if when == NOTHING:
            is_new = entry is not None and entry.before == NOTHING
            return own.seq if is_new and own is not None and _creates(own) else None
        every = range(after + 1, last + 1)
        sought = Sought(_creates, self._handle)
        if when == UNDATED:
            found = self._frames.find_among(every, sought)
        else:
            found = self._frames.find_dated(after + 1, last, when, sought)
        if found is None and own is not None and _made_itself(own, when):
            return own.seq
        if found is None and when != UNDATED:
            return self._frames.find_among(every, sought)
        return found


def _creates(change: Changes) -> bool:
    return bool(change.operations) and change.operations[0].kind == Kind.CREATE


def _made_itself(change: Changes, when: int) -> bool:
    """Say whether a frame seems to have created what it then changed, at a time."""
    if len(change.operations) < 2 or not _creates(change):
        return False
    return time_of_first(change.operations[0].values) == when


def _is_there(operations: tuple[JournalOperation, ...]) -> bool:
    """Say whether a handle is there after operations; what is revoked cannot be created again."""
    return not operations or not deletes(operations[-1])


def deletes(operation: JournalOperation) -> bool:
    """Say whether an operation takes a handle's row away."""
    is_mark = operation.kind == Kind.MARK
    return operation.kind == Kind.DELETE or (is_mark and read_mark(operation)[0] == State.DELETED)


def _moment(change: Changes) -> Moment:
    operation = change.operations[-1] if change.operations else None
    if operation is None or operation.kind != Kind.MARK:
        return Moment("active", () if operation is None else operation.values, change, operation)
    state, _ = read_mark(operation)
    name = "active" if state == ACTIVE else State(state).name.lower()
    return Moment(name, (), change, operation)
