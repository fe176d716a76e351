"""Frames of the journal by their times.

A clock may be set back, so the journal is a row of runs, within each of which times never go down:

    sequence   1   2   3   4 | 5   6   7       | before 5 the clock went back (`history_index`)
    time      10  11  11  14 | 12  13  15

The sequence decides what was so first. The state as of a time is that after the last frame, by
sequence, whose time is not later: as of 12 it is frame 5's. A time may occur in several runs.
"""

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from registry.errors import JournalError
from registry.history_index import jumps
from registry.journal import frame_time
from registry.views import View

_U64 = struct.Struct(">Q")


class Run(NamedTuple):
    """Frames whose times do not go down, first and last included."""

    first: int
    last: int


def first_frame(view: View) -> int:
    """Return the sequence number of the first frame that is kept, 0: there is none."""
    found = view.table("journal").at_or_after(b"")
    return 0 if found is None else int(_U64.unpack(found[0])[0])


def runs(view: View, first: int, last: int) -> Iterator[Run]:
    """Iterate over the runs of these frames, the last one first."""
    for jump in jumps(view.table("histories"), last):
        if jump <= first:
            break
        yield Run(jump, last)
        last = jump - 1
    if first <= last:
        yield Run(first, last)


def last_at(view: View, time_ms: int) -> int:
    """Return the last frame whose time is not after `time_ms`, 0: there is none."""
    for run in runs(view, first_frame(view) or 1, view.head().seq):
        found = _bisect(view, run, lambda time: time > time_ms) - 1
        if found >= run.first:
            return found
    return 0


def first_from(view: View, run: Run, time_ms: int) -> int:
    """Return the first frame of a run whose time is not before `time_ms`; else the one behind."""
    return _bisect(view, run, lambda time: time >= time_ms)


def _bisect(view: View, run: Run, is_beyond: Callable[[int], bool]) -> int:
    low, high = run.first, run.last + 1
    while low < high:
        middle = (low + high) // 2
        if is_beyond(time_of(view, middle)):
            high = middle
        else:
            low = middle + 1
    return low


def time_of(view: View, seq: int) -> int:
    """Return the time of a frame that is kept, in milliseconds since 1970. Raises: JournalError."""
    return frame_time(get_frame(view, seq))


def get_frame(view: View, seq: int) -> bytes:
    """Return a frame that is kept. Raises: JournalError: it is missing."""
    frame = view.find_frame(seq)
    if frame is None:
        raise JournalError(f"frame {seq} of the journal is missing: run biaoshi verify")
    return frame
