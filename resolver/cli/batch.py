"""`biaoshi batch`: run a batch file of Handle.Net against any server."""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from rich.progress import Progress

from protocol.errors import KeyFileError
from protocol.key_files import PrivateKey, is_encrypted
from protocol.types.hs_site import HsSite
from protocol.wire import MESSAGE_OCTETS_MAX
from resolver.batch.admin_digits import AdminDigits
from resolver.batch.place import PlaceError
from resolver.batch.reader import BatchReader
from resolver.batch.runner import BatchRunner, BatchStoppedError, Outcome
from resolver.batch.sections import BatchError, Fault, LogIn, Operation, Section, SessionWish
from resolver.batch.value_lines import find_file
from resolver.cli.batch_runs import STDIN, STDOUT, PreparedRun, prepared_run
from resolver.cli.by_row import make_progress
from resolver.cli.connect import (
    Target,
    Where,
    find_target,
)
from resolver.cli.errors import CliError, ExitCode
from resolver.cli.keys import read_private_key
from resolver.cli.output import print_json
from resolver.cli.where_options import JsonOption, asks
from resolver.client import HandleClient, Identity, SessionOptions

FAULTS_SHOWN_MAX = 100


@asks()
def batch(
    where: Where,
    file: Annotated[str, typer.Argument(help="The batch file; - is stdin.", show_default=False)],
    log: Annotated[
        Path | None,
        typer.Argument(
            help="File for a line per operation; - is stdout, as hdl-genericbatch has it.  "
            "[default: FILE.log, or .2.log ...]"
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read all of it, report every mistake, ask nobody.")
    ] = False,
    stop_on_error: Annotated[
        bool, typer.Option("--stop-on-error", help="End at the first operation that fails.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an interrupted run of FILE stopped.")
    ] = False,
    sessions: Annotated[
        bool,
        typer.Option(
            "--sessions/--no-sessions",
            help="Whether to use encrypted sessions where FILE says nothing about it.",
        ),
    ] = True,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(help="Holds the passphrase of key files that FILE names without one."),
    ] = None,
    admin_digits: Annotated[
        AdminDigits,
        typer.Option(
            help="Order of the permissions of an ADMIN: the manual's, or as Handle.Net 9's tool "
            "takes them. They differ where digits 8 to 11 are not alike."
        ),
    ] = AdminDigits.MANUAL,
    as_json: JsonOption = False,
) -> None:
    """Run a batch file as hdl-genericbatch reads it, against any Handle server.

    Sections are CREATE, ADD, MODIFY, REMOVE, DELETE, HOME, UNHOME, AUTHENTICATE, SESSIONSETUP, one
    after the other. Those that fail are put into FILE.failed, to be mended and run again: it holds
    the log-ins of FILE too, so only you may read it. Ctrl-C ends the run behind the operation under
    way; --resume goes on. A HOME goes to the server it names, all else where the options say.
    Exit code 1 when an operation failed.
    Example: biaoshi batch estate.batch --root bootstrap.json
    """
    if as_json and str(log) == STDOUT:
        raise CliError("--json and the log both go to stdout", "name a file for it", ExitCode.USAGE)
    reads = _Files(file, passphrase_file)
    with reads.opened() as octets:
        reader = BatchReader(octets, reads.read, admin_digits)
        if dry_run:
            _check(reads, reader, as_json=as_json)
            return
        target = find_target(where, log_in=bool(where.node))
        options = SessionOptions() if sessions else None
        with prepared_run(file, log, reader, resume=resume, stop_on_error=stop_on_error) as run:
            _run(run, target, options, reads)
    _show(file, run, as_json=as_json)


def _with_doubts(sections: Iterable[Section], reader: BatchReader) -> Iterator[Section]:
    """Yield sections; say, before the first one that can be read in two ways is used, that it can.

    The manual and the tool differ: `resolver.batch.admin_digits`.
    """
    is_said = False
    for section in sections:
        if reader.doubtful_line and not is_said:
            is_said = True
            _warn(
                f"line {reader.doubtful_line}: these permissions of an ADMIN mean one thing by the "
                "manual and another to Handle.Net 9's tool (digits 8 to 11); --admin-digits says "
                "how they are read, by default as the manual has them"
            )
        yield section


class _Files:
    """The files that a batch consists of."""

    def __init__(self, name: str, passphrase_file: Path | None) -> None:
        self.name = name
        self._folder = Path(name).parent
        self._passphrase: bytes | None = None
        if passphrase_file is not None:
            with _readable(f"the passphrase file {passphrase_file}"):
                self._passphrase = passphrase_file.read_bytes().rstrip(b"\r\n")

    @contextlib.contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        if self.name == STDIN:
            yield sys.stdin.buffer
            return
        with _readable(f"the batch {self.name}"):
            file = open(self.name, "rb")  # noqa: SIM115  # closed below
        with file:
            yield file

    def read(self, path: str) -> bytes:
        """Return the data that a value names. Raises: OSError."""
        with find_file(path, self._folder).open("rb") as file:
            return file.read(MESSAGE_OCTETS_MAX + 1)  # longer ones are refused where they stand

    def read_key(self, path: str, passphrase: bytes | None) -> PrivateKey:
        """Return a private key. Raises: CliError."""
        if passphrase is None:
            passphrase = self._passphrase
        return read_private_key(find_file(path, self._folder), passphrase)


@contextlib.contextmanager
def _readable(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CliError(f"{what} cannot be read: {error.strerror}", "check the path") from None


def _check(files: _Files, reader: BatchReader, *, as_json: bool) -> None:
    """Read all of a batch and report what is wrong with it."""
    operations = faults = 0
    shown = []
    for section in _with_doubts(reader, reader):
        operations += isinstance(section, Operation | Fault)
        for error in _faults_of(section, files):
            faults += 1
            if faults <= FAULTS_SHOWN_MAX:
                shown.append({"line": error.line, "column": error.column, "problem": error.what})
                hint = f"; {error.hint}" if error.hint else ""
                words = f"{files.name}:{error.line}:{error.column}: {error.what}{hint}"
                print(words, file=sys.stderr)
    if as_json:
        print_json({"operations": operations, "wrong": faults, "problems": shown})
    else:
        print(f"{operations:,} operations: {faults:,} wrong" if faults else _all_well(operations))
    if faults:
        raise typer.Exit(ExitCode.REFUSED)


def _faults_of(section: Section, files: _Files) -> Iterator[BatchError]:
    """Yield what is wrong with a section; of key files whether they are there and are any."""
    if isinstance(section, Fault):
        yield section.error
    paths: tuple[str, ...] = ()
    if isinstance(section, LogIn):
        paths = (section.key_path,)
    elif isinstance(section, SessionWish):
        paths = (section.private_key_path,)
    for path in filter(None, paths):
        try:
            is_encrypted(files.read(path))
        except (OSError, KeyFileError) as error:
            words = error.strerror if isinstance(error, OSError) else error
            yield BatchError(section.line, 1, f"the key {path} cannot be used: {words}")


def _all_well(operations: int) -> str:
    return f"{operations:,} operations: all can be read; nobody was asked"


def _run(run: PreparedRun, target: Target, options: SessionOptions | None, files: _Files) -> None:
    def open_client(
        identity: Identity | None, sessions: SessionOptions | None, site: HsSite | None
    ) -> HandleClient:
        one = site or target.site
        roots = () if one is not None else target.roots
        return HandleClient(roots, site=one, identity=identity, sessions=sessions)

    begun_s = time.monotonic()
    with make_progress() as progress:
        progress.add_task("operations", total=None, completed=run.begun.operations)
        runner = BatchRunner(open_client, files.read_key, target.identity, options, _warn)
        try:
            asyncio.run(_run_until_interrupted(run, runner, progress))
        except BatchStoppedError as error:
            run.stopped = error
        except PlaceError as error:
            raise CliError(str(error), "run it from its beginning, without --resume") from None
        except KeyboardInterrupt:
            raise CliError(
                f"interrupted at once behind operation {run.report.operations:,}: the next one "
                "may have been made",
                f"biaoshi batch {files.name} --resume does it again and goes on",
                ExitCode.INTERRUPTED,
            ) from None
        except CliError as error:
            run.stopped = BatchStoppedError(runner.line, error.what, error.hint)
        finally:
            run.seconds = time.monotonic() - begun_s


async def _run_until_interrupted(run: PreparedRun, runner: BatchRunner, progress: Progress) -> None:
    """Run, and end behind the operation under way when Ctrl-C is pressed; twice: at once."""
    loop = asyncio.get_running_loop()
    report = run.report

    def interrupt() -> None:
        report.is_interrupted = True
        loop.remove_signal_handler(signal.SIGINT)
        print("ending behind the operation under way, Ctrl-C again ends at once", file=sys.stderr)

    def take(outcome: Outcome) -> bool:
        progress.advance(progress.task_ids[0])
        return report.take(outcome)

    sections = _with_doubts(run.sections(), run.reader)
    loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        await runner.run(sections, take, run.begun.operations)
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def _warn(words: str) -> None:
    print(f"warning: {words}", file=sys.stderr)


def _show(file: str, run: PreparedRun, *, as_json: bool) -> None:
    report = run.report
    counts = {"succeeded": report.succeeded, "failed": report.failures}
    failed = str(report.failed) if report.failures and report.failed.exists() else None
    if as_json:
        files = {"log": str(run.log), "failed_file": failed}
        print_json({**counts, "complete": run.is_complete, "seconds": run.seconds, **files})
    else:
        done = report.operations - run.begun.operations
        rate = done / run.seconds if run.seconds else 0.0
        lines = [
            f"{report.succeeded:,} of {report.succeeded + report.failures:,} operations succeeded "
            f"({run.seconds:.1f} s, {rate:,.0f}/s); log: {run.log}",
            *(f"  {line}" for line in report.shown),
        ]
        if failed:
            lines.append(f"all {report.failures:,} that failed, to mend and run again: {failed}")
        print("\n".join(lines), file=sys.stderr if str(run.log) == STDOUT else sys.stdout)
    if run.stopped is not None:
        line = f"line {run.stopped.line}: " if run.stopped.line else ""
        resume = "then add --resume" if report.operations else ""
        hint = "; ".join(filter(None, (run.stopped.hint, resume)))
        code = ExitCode.UNREACHABLE if run.stopped.is_unanswered else ExitCode.REFUSED
        raise CliError(f"{line}{run.stopped.what}", hint, code)
    if report.is_interrupted:
        words = f"interrupted behind operation {report.operations:,}"
        raise CliError(words, f"biaoshi batch {file} --resume goes on", ExitCode.INTERRUPTED)
    if report.failures:
        raise typer.Exit(ExitCode.REFUSED)
