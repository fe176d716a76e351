"""`biaoshi import --by-row`: every row a request over the Handle protocol."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

import msgspec
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from protocol.value import Reference
from resolver.cli.connect import Target
from resolver.cli.errors import CliError, ExitCode
from resolver.cli.importing import (
    LOST_MAX,
    Existing,
    RowVerdict,
    Tally,
    Verdict,
    refused_line,
    register_rows,
)
from resolver.cli.output import make_console, print_json
from resolver.client.sources import CSV, NDJSON, CsvColumns, coding_of
from resolver.rows.ndjson import count_ndjson_rows, read_ndjson_rows
from resolver.rows.row import BadRow, Row, add_owners, open_rows
from resolver.rows.tables import count_csv_rows, parse_maps, read_csv_rows

COUNTED_OCTETS_MAX = 1 << 28  # larger files are not read twice for a progress bar
SHOWN_MAX = 5  # refused rows shown on the screen; all of them are in the file


def import_by_row(
    target: Target,
    file: Path,
    format_: str,
    columns: CsvColumns | None,
    owners: Sequence[Reference],
    existing: Existing,
    in_flight: int,
    report: "RefusedFile",
) -> Tally:
    """Register all rows of a file. Raises: CliError, OSError."""
    if format_ not in (CSV, NDJSON) or coding_of(file) or (columns and columns.operation):
        raise CliError(
            "--by-row reads CSV and NDJSON that create, not compressed",
            "leave --by-row out, or write the rows so",
            ExitCode.USAGE,
        )
    with open_rows(file) as lines, report:
        rows = add_owners(_read(lines, columns), owners)
        total = _count_rows(file, columns)
        return _run(target, rows, total, existing, in_flight, report)


def _read(lines: TextIO, columns: CsvColumns | None) -> Iterator[Row | BadRow]:
    if columns is None:
        return read_ndjson_rows(lines)
    maps = parse_maps(columns.maps)
    return read_csv_rows(lines, maps, columns.handle, {}, delimiter=columns.delimiter)


class RefusedFile:
    """The file of rows that were not registered; made when the first one comes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shown: list[RowVerdict] = []
        self._file: TextIO | None = None

    def __enter__(self) -> "RefusedFile":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    @property
    def is_written(self) -> bool:
        """Say whether there is a file."""
        return self._file is not None

    def write(self, verdict: RowVerdict, line: Mapping[str, object] | None = None) -> None:
        """Add a row, as `line` if given."""
        if self._file is None:
            self._file = self.path.open("x", encoding="utf-8")
        self._file.write(msgspec.json.encode(line or refused_line(verdict)).decode() + "\n")
        if len(self.shown) < SHOWN_MAX:
            self.shown.append(verdict)


def new_refused_path(file: Path, wanted: Path | None) -> Path:
    """Return a path that no file has: what an earlier run refused is not lost. Raises: CliError."""
    if wanted is not None:
        if wanted.exists():
            words = f"--refused {wanted} exists and is not overwritten"
            raise CliError(words, "give another name, or remove it", ExitCode.USAGE)
        return wanted
    path, number = file.with_name(f"{file.name}.refused.ndjson"), 1
    while path.exists():
        number += 1
        path = file.with_name(f"{file.name}.refused.{number}.ndjson")
    return path


def _count_rows(file: Path, columns: CsvColumns | None) -> int | None:
    """Return how many rows there are in a file small enough to be read once more."""
    if file.stat().st_size > COUNTED_OCTETS_MAX:
        return None
    with open_rows(file) as lines:
        if columns is None:
            return count_ndjson_rows(lines)
        return count_csv_rows(lines, columns.delimiter)


def _run(
    target: Target,
    rows: Iterator[Row | BadRow],
    total: int | None,
    existing: Existing,
    in_flight: int,
    report: RefusedFile,
) -> Tally:
    with make_progress() as progress:
        task = progress.add_task("registering", total=total)

        def on_verdict(verdict: RowVerdict) -> None:
            progress.advance(task)
            if verdict.verdict in (Verdict.REFUSED, Verdict.UNKNOWN):
                report.write(verdict)

        try:
            tally = asyncio.run(
                register_rows(
                    target.open_async(), rows, on_verdict, existing=existing, in_flight=in_flight
                )
            )
        except KeyboardInterrupt:
            raise CliError(
                f"interrupted: {progress.tasks[0].completed:,.0f} rows were decided, "
                f"up to {in_flight} more may be registered",
                "run it again with --by-row --existing skip to go on",
                ExitCode.INTERRUPTED,
            ) from None
        progress.update(task, total=tally.total)
    return tally


def make_progress() -> Progress:
    """Return a progress bar on standard error, silent where that is no terminal."""
    console = make_console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def show_tally(tally: Tally, report: RefusedFile, *, as_json: bool) -> None:
    """Print what became of the rows."""
    counts = {verdict.value: tally.counts[verdict] for verdict in Verdict}
    if as_json:
        path = str(report.path) if report.is_written else None
        print_json({"rows": tally.total, **counts, "refused_file": path})
        return
    words = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    print(f"{tally.total:,} rows: {words or 'nothing to do'}")
    for verdict in report.shown:
        handle = verdict.row.handle.decode("utf-8", "backslashreplace")
        print(f"  row {verdict.row.number} {handle}: {verdict.verdict.value}: {verdict.reason}")
    if report.is_written:
        print(f"all {tally.failed:,} with reasons: {report.path}")
    if tally.lost_in_a_row >= LOST_MAX:
        print(
            f"stopped: {LOST_MAX} rows in a row had no answer, "
            "run again with --by-row --existing skip"
        )
