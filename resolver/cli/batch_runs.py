"""One run of a batch: the place it begins at, its log, its file of failed operations."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from resolver.batch.place import Place, PlaceError, PlaceFile, check_place
from resolver.batch.reader import BatchReader
from resolver.batch.runner import BatchStoppedError
from resolver.batch.sections import LogIn, Section, SessionWish
from resolver.cli.batch_reports import BatchReport
from resolver.cli.errors import CliError, ExitCode

STDIN = STDOUT = "-"


class PreparedRun:
    """A run, ready to begin: what it reads, and where what comes of it goes."""

    def __init__(self, reader: BatchReader, report: BatchReport, begun: Place, log: Path) -> None:
        self.reader = reader
        self.report = report
        self.begun = begun
        self.log = log
        self.seconds = 0.0
        self.stopped: BatchStoppedError | None = None

    @property
    def is_complete(self) -> bool:
        """Say whether the batch was run to its end."""
        report = self.report
        return not (report.is_interrupted or report.is_stopped or self.stopped)

    def sections(self) -> Iterator[Section]:
        """Yield the sections, those that an earlier run did among them. Raises: PlaceError."""
        for section in check_place(self.reader, self.begun):
            if isinstance(section, LogIn | SessionWish):
                self.report.note(section)
            yield section


@contextlib.contextmanager
def prepared_run(
    file: str, log: Path | None, reader: BatchReader, *, resume: bool, stop_on_error: bool
) -> Iterator[PreparedRun]:
    """Open what a run writes, or go on with what an earlier one wrote. Raises: CliError."""
    place_file = None if file == STDIN else PlaceFile(Path(f"{file}.place.json"))
    begun = _find_place(file, place_file, resume=resume)
    log_path = Path(begun.log) if begun.log else log or _new_path(file, "log")
    failed = Path(begun.failed) if begun.failed else _new_path(file, "failed")
    with _open_log(log_path) as lines:
        report = BatchReport(
            reader,
            lines,
            failed,
            place_file,
            begun,
            log_path=str(log_path),
            stop_on_error=stop_on_error,
        )
        run = PreparedRun(reader, report, begun, log_path)
        is_done = False
        report.begin()
        try:
            yield run
            is_done = run.is_complete
        finally:
            report.end(run.stopped, run.seconds)
            report.close()
            if place_file is not None:
                place_file.close(is_done=is_done)


def _find_place(file: str, place_file: PlaceFile | None, *, resume: bool) -> Place:
    if place_file is None:
        if resume:
            raise CliError("what comes from stdin cannot be resumed", "give a file", ExitCode.USAGE)
        return Place()
    try:
        place = place_file.read()
    except PlaceError as error:
        raise CliError(str(error), "remove it to run the batch from its beginning") from None
    if place is None and resume:
        raise CliError(f"no run of {file} was interrupted", "leave --resume out", ExitCode.USAGE)
    if place is not None and not resume:
        raise CliError(
            f"a run of {file} stopped behind line {place.line}, {place.operations:,} operations",
            f"add --resume to go on, or remove {place_file.path} to run it from its beginning",
            ExitCode.USAGE,
        )
    return place or Place()


def _new_path(file: str, ending: str) -> Path:
    """Return a name beside the batch that no file has."""
    name = "batch" if file == STDIN else file
    path, number = Path(f"{name}.{ending}"), 1
    while path.exists():
        number += 1
        path = Path(f"{name}.{number}.{ending}")
    return path


@contextlib.contextmanager
def _open_log(path: Path) -> Iterator[TextIO]:
    if str(path) == STDOUT:
        yield sys.stdout
        return
    try:
        log = path.open("a", encoding="utf-8")
    except OSError as error:
        raise CliError(f"the log {path} cannot be written: {error.strerror}") from None
    with log:
        yield log
