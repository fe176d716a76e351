"""What a batch leaves behind: its log, the operations that failed, and how far it came.

The log begins and ends as the stock tool's does, whose totals scripts read:

    Start Time: Sun Nov 22 01:20:03 UTC 2026
    ==>SUCCESS[4]: create:88.118/a
    Successes/Total Entries: 1/1
    Batch File Lines: 6
    Finish Time: Sun Nov 22 01:20:04 UTC 2026
    This batch took 1 seconds to complete at an average speed of 0.9 operations/second

The number in brackets is that of the line where the operation begins, as an editor counts.
"""

import os
import time
from collections import Counter
from pathlib import Path
from typing import TextIO

from resolver.batch.place import Place, PlaceFile
from resolver.batch.reader import BatchReader
from resolver.batch.runner import BatchStoppedError, Outcome
from resolver.batch.sections import LogIn, SessionWish
from resolver.node_files import SECRET_MODE

_TIME_FORM = "%a %b %d %H:%M:%S %Z %Y"
SHOWN_MAX = 5  # failures shown on the screen; all of them are in the log


class BatchReport:
    """Takes outcomes in and writes them down, each before the next operation is begun.

    Args:
        reader: says how far the file was read.
        log: a line for every operation.
        failed: where the sections that failed go, with the log-ins they need: it can be run again.
            It may hold secrets, so only its owner may read it.
        place: how far the run came; None: it is not kept.
        begun: where an earlier run stopped.
        stop_on_error: end the run at the first failure, which then does not count as done.
    """

    def __init__(
        self,
        reader: BatchReader,
        log: TextIO,
        failed: Path,
        place: PlaceFile | None,
        begun: Place,
        *,
        log_path: str,
        stop_on_error: bool,
    ) -> None:
        self.succeeded = begun.succeeded
        self.operations = begun.operations
        self.shown: list[str] = []
        self.failed = failed
        self.is_interrupted = False
        self.is_stopped = False
        self.counts: Counter[str] = Counter()
        self._begun = begun
        self._reader = reader
        self._log = log
        self._log_path = log_path
        self._place_file = place
        self._stop_on_error = stop_on_error
        self._context: dict[type, str] = {}
        self._written_context: dict[type, str] = {}
        self._file: TextIO | None = None

    @property
    def failures(self) -> int:
        """How many operations failed, those of earlier runs included."""
        return self.operations - self.succeeded + self.is_stopped

    def begin(self) -> None:
        """Write what the log of a run begins with."""
        self._log.write(f"Start Time: {time.strftime(_TIME_FORM)}\n")
        self._log.flush()

    def end(self, stopped: BatchStoppedError | None, seconds: float) -> None:
        """Write why the run stopped, if it did, and what it came to."""
        if stopped is not None:
            self._log.write(f"==>INVALID[{stopped.line}]: {stopped.what}\n")
        total = self.succeeded + self.failures
        rate = (self.operations - self._begun.operations) / seconds if seconds else 0.0
        self._log.write(
            f"Successes/Total Entries: {self.succeeded}/{total}\n"
            f"Batch File Lines: {self._reader.lines_read}\n"
            f"Finish Time: {time.strftime(_TIME_FORM)}\n"
            f"This batch took {int(seconds)} seconds to complete at an average speed of "
            f"{rate:.1f} operations/second\n"
        )
        self._log.flush()

    def note(self, section: LogIn | SessionWish) -> None:
        """Note who is logged in from here on, and in what sessions."""
        self._context[type(section)] = section.text

    def take(self, outcome: Outcome) -> bool:
        """Write an outcome down; say whether to go on."""
        line = outcome.log_line()
        self._log.write(line + "\n")
        self._log.flush()
        if outcome.problem:
            self._keep_failed(outcome)
            if len(self.shown) < SHOWN_MAX:
                self.shown.append(line)
            if self._stop_on_error:
                self.is_stopped = True
                return False
        else:
            self.succeeded += 1
        self.operations += 1
        if self._place_file is not None:
            self._place_file.write(self._place(outcome.section.line))
        return not self.is_interrupted

    def _place(self, line: int) -> Place:
        reader = self._reader
        failed = str(self.failed) if self._file is not None or self.failed.exists() else ""
        return Place(
            self.operations,
            line,
            reader.offset,
            reader.digest,
            self.succeeded,
            self._log_path,
            failed,
        )

    def _keep_failed(self, outcome: Outcome) -> None:
        if self._file is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            descriptor = os.open(self.failed, flags, SECRET_MODE)
            self._file = os.fdopen(descriptor, "w", encoding="utf-8")
        for kind, text in self._context.items():
            if self._written_context.get(kind) != text:
                self._file.write(text)
                self._written_context[kind] = text
        self._file.write(outcome.section.text)
        self._file.flush()

    def close(self) -> None:
        """Close the file of failed operations."""
        if self._file is not None:
            self._file.close()
