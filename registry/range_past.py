"""Which ranges an identifier was in, out of the journal.

    entries of `range_history_index`     5           9            one for each change of its range
    the journal                    ──r───┼───────────┼──────r──>  r: registrations without an entry
    the identifier is          in none   in one      cut off   in one

Between two entries at most one thing happened: a range was registered around an identifier that was
in none. The entry that follows says when, or the range that is there now.
"""

from collections.abc import Iterator
from typing import NamedTuple

from registry.frame_times import time_of
from registry.history_frames import Changes, Frames, Sought
from registry.range_changes import REGISTER
from registry.range_history_index import (
    RUNS_MAX,
    Before,
    Place,
    RangeEntry,
    has_entries,
    last_range_entry,
    next_range_entry,
    too_many_runs,
)
from registry.range_lookup import Held
from registry.range_records import decode_range, range_key, split_identifier, split_key
from registry.range_steps import RangeStep
from registry.range_values import registered_s
from registry.views import View


class Around(NamedTuple):
    """The range around an identifier after a frame.

    `step` is what made it so, in `change`; without one it has been so since before the first frame
    known. `held` is None where there is no range: it was cut off, or was never in one.
    """

    held: Held | None
    change: Changes | None = None
    step: RangeStep | None = None


IN_NONE = Around(None)


def find_place(view: View, folded: bytes) -> Place | None:
    """Return where a handle stands among ranges, None where its stem has none and had none."""
    split = split_identifier(folded)
    if split is None:
        return None
    start = split[0] + b"\0"
    found = view.table("ranges").at_or_after(start)
    is_there = found is not None and found[0].startswith(start)
    if is_there or has_entries(view.table("histories"), split[0]):
        return Place(*split)
    return None


class RangePast:
    """The ranges around one identifier, for one request.

    Args:
        view: the store.
        frames: the journal.
        place: where the identifier stands.
        first: the first frame that is known.
        head: the last.
    """

    def __init__(self, view: View, frames: Frames, place: Place, first: int, head: int) -> None:
        self._view = view
        self._frames = frames
        self._place = place
        self._first = first
        self._head = head
        self._entries = view.table("histories")
        self._found: dict[tuple[int, int], int | None] = {}
        self.is_whole = True

    def changes(self, after: int) -> Iterator[Changes]:
        """Iterate over the frames after one that changed the range around the identifier.

        `is_whole` turns False when a registration was not found. Raises: JournalError, RangeError.
        """
        last = self._last(after)
        position = after
        is_in = last is not None and last.steps[-1].held is not None
        start = self._first - 1 if last is None else last.seq
        while True:
            entry, own = self._next(position)
            if not is_in and not _begins(own):
                registered = self._find_registration(start, entry)
                if registered is not None and registered > after:
                    yield self._frames.read(registered)
            if own is None:
                return
            yield own
            is_in = own.steps[-1].held is not None
            start = position = own.seq

    def at(self, seq: int) -> Around | None:
        """Return the range after a frame; None: it is not known. Raises: as `changes`."""
        last = self._last(seq)
        if last is not None and last.steps[-1].held is not None:
            return _around(last)
        absent = IN_NONE if last is None else _around(last)
        entry, own = self._next(seq)
        if _begins(own) or self._registered(entry) is None:
            return absent
        start = self._first - 1 if last is None else last.seq
        registered = self._find_registration(start, entry)
        if registered is not None:
            return _around(self._frames.read(registered)) if registered <= seq else absent
        return self._ever_since() if last is None and entry is None else None

    def _ever_since(self) -> Around | None:
        """Return the range that nothing changed since before the first frame known."""
        if self._first == 1:
            return None
        held = self._view.find_range(self._place.stem + self._place.tail)
        assert held is not None, "its time is known"
        begun_ms = registered_s(decode_range(held.octets)) * 1_000
        if self._first <= self._head and begun_ms >= time_of(self._view, self._first):
            return None
        return Around(held)

    def _last(self, through: int) -> Changes | None:
        """Return the last frame up to one that the index names."""
        for _ in range(RUNS_MAX):
            entry = last_range_entry(self._entries, self._place, through)
            if entry is None or entry.seq < self._first:
                return None
            change = self._frames.read(entry.seq)
            if change.steps:
                return change
            through = entry.seq - 1  # of a range whose check characters are others
        raise too_many_runs()

    def _next(self, after: int) -> tuple[RangeEntry | None, Changes | None]:
        """Return the first frame after one that the index names."""
        position = max(after, self._first - 1)
        for _ in range(RUNS_MAX):
            entry = next_range_entry(self._entries, self._place, position)
            if entry is None:
                return None, None
            change = self._frames.read(entry.seq)
            if change.steps:
                return entry, change
            position = entry.seq
        raise too_many_runs()

    def _registered(self, entry: RangeEntry | None) -> Before | None:
        """Return the range as it was registered that an entry changes, or that is there now."""
        if entry is not None:
            return entry.before
        held = self._view.find_range(self._place.stem + self._place.tail)
        if held is None:
            return None
        record = decode_range(held.octets)
        return Before(registered_s(record), record.first, split_key(held.key)[1])

    def _find_registration(self, start: int, entry: RangeEntry | None) -> int | None:
        """Return the frame after `start`, before an entry, that registered a range around it."""
        last = self._head if entry is None else entry.seq - 1
        if (start, last) not in self._found:
            self._found[start, last] = self._search(start + 1, last, self._registered(entry))
        return self._found[start, last]

    def _search(self, first: int, last: int, range_: Before | None) -> int | None:
        if range_ is None:
            return None
        stem = self._place.stem
        sought = Sought(_registers, stem, range_key(stem, range_.last))
        found = self._frames.find_dated(first, last, range_.registered_s, sought)
        if found is None:
            self.is_whole = False
        return found


def _registers(change: Changes) -> bool:
    return bool(change.steps) and change.steps[-1].verb == REGISTER


def _begins(change: Changes | None) -> bool:
    """Say whether a frame registered the range that it then perhaps changed."""
    return change is not None and change.steps[0].verb == REGISTER


def _around(change: Changes) -> Around:
    step = change.steps[-1]
    return Around(step.held, change, step)
