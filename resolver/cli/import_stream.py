"""`biaoshi import` as a stream: one key, verdicts for all rows, a receipt.

The same command after a break goes on where the node stands; after the end it only says again
what became of the rows.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from protocol.codes import ResponseCode
from registry.template_requests import TEMPLATE_MEMBERS
from resolver.cli.connect import Target
from resolver.cli.errors import CliError, ExitCode
from resolver.cli.explain import explain_handle_error
from resolver.cli.import_rows import FAULT, RowFile, handle_of
from resolver.cli.importing import Existing
from resolver.cli.output import make_console, print_json
from resolver.client import ServiceUnavailableError, UnreachableError
from resolver.client import registrations as streams
from resolver.client.registrations import (
    BlockingRegistrationClient,
    RegistrationClient,
    RowVerdict,
    StreamState,
)
from resolver.rows.packed import RANGE_MEMBERS

TEXT_CHARACTERS_MAX = 4_096  # of a row that cannot be read as an object
SHOWN_MAX = 5  # refused rows shown on the screen; all of them are in the file
# Of a row, which a file of refused rows has again.
MEMBERS = ("operation", "state", "time", "by", *RANGE_MEMBERS, *TEMPLATE_MEMBERS)
GO_ON = "the same command goes on from there"


@dataclass(slots=True)
class Told:
    """What became of the rows: the stream, and what is only known here."""

    state: StreamState
    was_ended: bool
    existed: int = 0
    refused: int = 0


class RefusedRows:
    """The file of rows that were not registered; made when the first one comes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shown: list[dict[str, Any]] = []
        self.count = 0

    def write(self, lines: Iterator[dict[str, Any]]) -> None:
        """Write all of them."""
        first = next(lines, None)
        if first is None:
            return
        with self.path.open("xb") as file:
            while first is not None:
                file.write(msgspec.json.encode(first) + b"\n")
                self.count += 1
                if len(self.shown) < SHOWN_MAX:
                    self.shown.append(first)
                first = next(lines, None)


def open_client(target: Target, rows: RowFile, certificates: Path | None) -> RegistrationClient:
    """Return a client of the node that takes these rows. Raises: CliError, HandleError."""
    assert target.identity is not None, "find_target asked for one"
    site = target.site
    if site is None:
        site = asyncio.run(target.open_async().find_site(rows.first_handle()))
    return RegistrationClient.at(site, target.identity, certificates=certificates)


def import_stream(
    client: RegistrationClient,
    rows: RowFile,
    key: str,
    existing: Existing,
    refused: RefusedRows,
) -> Told:
    """Send all rows and write down those refused. Raises: CliError, HandleError, OSError."""
    bar = ImportBar()
    try:
        with BlockingRegistrationClient(client) as blocking:
            before = blocking.state(key)
            told_before = before is not None and before.ended is not None
            with bar:
                state = blocking.register(rows.source(), key, progress=bar.show)
            told = Told(state, told_before)
            if state.refused:
                found = blocking.verdicts(key, refused_only=True)
                refused.write(_refused_lines(rows, _tally(found, told, existing)))
            return told
    except KeyboardInterrupt:
        raise CliError(f"interrupted: {bar.words(key)}", GO_ON, ExitCode.INTERRUPTED) from None
    except (UnreachableError, ServiceUnavailableError) as error:
        known = explain_handle_error(error)
        words = f"{known.what}; {bar.words(key)}" if bar.rows else known.what
        raise CliError(words, f"{known.hint}; {GO_ON}", known.code) from None


def _tally(found: Iterator[RowVerdict], told: Told, existing: Existing) -> Iterator[RowVerdict]:
    """Yield the verdicts that are refusals, and count them and those that are not."""
    for verdict in found:
        count = verdict.last_row - verdict.row + 1
        exists = verdict.response_code == ResponseCode.HANDLE_ALREADY_EXISTS
        if exists and existing is Existing.SKIP:
            told.existed += count
        else:
            told.refused += count
            yield verdict


def _refused_lines(rows: RowFile, verdicts: Iterator[RowVerdict]) -> Iterator[dict[str, Any]]:
    """Yield the lines for the file of refused rows; `import` can read them back when mended."""
    current: RowVerdict | None = None

    def ranges() -> Iterator[range]:
        nonlocal current
        for current in verdicts:
            yield range(current.row, current.last_row + 1)

    for number, form, text in rows.numbered(ranges()):
        assert current is not None, "the row is in a range"
        line = {
            "row": number,
            "handle": handle_of(form),
            "verdict": current.verdict,
            "code": current.response_code,
            "reason": current.message
            if rows.is_sent_as_it_is
            else form.get(FAULT, current.message),
        }
        members = {name: form[name] for name in MEMBERS if name in form}
        yield line | (members or {"text": text[:TEXT_CHARACTERS_MAX]})


class ImportBar:
    """A progress bar on standard error, silent where that is no terminal."""

    def __init__(self) -> None:
        console = make_console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[rows]:,} rows"),
            TextColumn("{task.fields[rate]:,.0f}/s"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._rows_before = 0
        self.rows = 0

    def __enter__(self) -> "ImportBar":
        """Show it."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave it as it is."""
        self._progress.stop()

    def words(self, key: str) -> str:
        """Return how far it came."""
        return f"{self.rows:,} rows of the stream {key} have their verdicts"

    def show(self, told: streams.Progress) -> None:
        """Take notice of what the client tells."""
        self.rows = told.state.rows
        if self._task is None:
            self._rows_before = self.rows
            self._task = self._progress.add_task("registering", rows=0, rate=0.0)
        task = self._progress.tasks[0]
        elapsed_s = task.elapsed or 0.0
        rate = (self.rows - self._rows_before) / elapsed_s if elapsed_s else 0.0
        words = f"waiting: {told.trouble}" if told.trouble else "registering"
        self._progress.update(
            self._task,
            description=words,
            total=told.octets_total,
            completed=told.octets_done,
            rows=self.rows,
            rate=rate,
        )


def show(told: Told, refused: RefusedRows, receipt: Path, *, as_json: bool) -> None:
    """Print what became of the rows."""
    state = told.state
    counts = {
        "created": state.created,
        "replaced": state.replaced,
        "deleted": state.deleted,
        "unchanged": state.unchanged,
        "existed": told.existed,
        "refused": told.refused,
    }
    if as_json:
        path = str(refused.path) if refused.count else None
        files = {"refused_file": path, "stream": state.key, "receipt_file": str(receipt)}
        print_json({"rows": state.rows, **counts, **files})
        return
    words = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    print(f"{state.rows:,} rows: {words or 'nothing to do'}")
    for line in refused.shown:
        print(f"  row {line['row']} {line['handle']}: refused: {line['reason']}")
    if refused.count:
        print(f"all {refused.count:,} with reasons: {refused.path}")
    print(f"receipt: {receipt}")
    if told.was_ended:
        print(
            f"these rows were imported before, the stream {state.key} ended at {state.ended}: "
            "nothing was sent; --stream NAME sends them again under another name"
        )


def write_receipt(path: Path, told: Told) -> Path:
    """Write a receipt where no other is, and return where: `path`, or with a number in it."""
    assert told.state.receipt is not None, "the stream has ended"
    octets, chosen, number = told.state.receipt.encode() + b"\n", path, 1
    while chosen.exists() and chosen.read_bytes() != octets:
        number += 1
        chosen = path.with_name(f"{path.stem}.{number}{path.suffix}")
    if not chosen.exists():
        try:
            chosen.write_bytes(octets)
        except OSError as error:
            raise CliError(
                f"all rows have their verdicts, but {chosen} cannot be written: {error.strerror}",
                "give --receipt FILE and the same command again: it only fetches the receipt",
            ) from None
    return chosen
