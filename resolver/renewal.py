"""Children that come back with a new server key, one after the other, while the others serve.

The writer goes first: it then signs with the key before for who knows the site before, so it agrees
with the workers that still have that site, as with those that have the new one.
"""

import logging
import os
import signal
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

_log = logging.getLogger(__name__)


class Renewable(Protocol):
    """A child, as the supervisor keeps it."""

    name: str
    pid: int
    is_ready: bool
    is_renewed: bool


class Renewal:
    """Ends children so that they are started anew, when the node's server keys have changed.

    Args:
        files: the node's site.json, and the folder of earlier keys, as they are when the children
            are first started.
        children: in the order in which they are renewed.
        timeout_s: what a child may take to end before it is killed.
    """

    def __init__(
        self, files: Sequence[Path], children: Sequence[Renewable], timeout_s: float
    ) -> None:
        self._files = files
        self._children = children
        self._timeout_s = timeout_s
        self._stamps = self._read_stamps()
        self._waiting: deque[Renewable] = deque()
        self._ended_pid = 0
        self._deadline_s = 0.0

    def begin_if_changed(self) -> bool:
        """Begin when the files are others than the children have."""
        stamps = self._read_stamps()
        if stamps == self._stamps:
            return False
        self._stamps = stamps
        self._waiting = deque(self._children)
        self._ended_pid = 0
        _log.info("the server keys have changed: every process is started anew, one by one")
        return True

    @property
    def is_under_way(self) -> bool:
        """Say whether children are still to be renewed."""
        return bool(self._waiting)

    def step(self, clock_s: float) -> None:
        """Go on: end the next child once the one before answers again."""
        if not self._waiting:
            return
        child = self._waiting[0]
        if not self._ended_pid:
            self._end(child, clock_s)
        elif child.pid == self._ended_pid:
            if clock_s > self._deadline_s:
                os.kill(child.pid, signal.SIGKILL)
        elif child.pid and child.is_ready:
            self._waiting.popleft()
            self._ended_pid = 0

    def _read_stamps(self) -> list[tuple[int, int] | None]:
        return [_stamp(path) for path in self._files]

    def _end(self, child: Renewable, clock_s: float) -> None:
        if not child.pid or not child.is_ready:
            return  # it is coming back by itself; when it is there, it is renewed all the same
        self._ended_pid, child.is_ready, child.is_renewed = child.pid, False, True
        self._deadline_s = clock_s + self._timeout_s
        os.kill(child.pid, signal.SIGTERM)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino
