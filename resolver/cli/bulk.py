"""`biaoshi import`: register the rows of a CSV or NDJSON file, with a verdict for each."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, TextIO

import msgspec
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from resolver.cli.connect import (
    AdminOption,
    JsonOption,
    KeyOption,
    NodeOption,
    RootOption,
    SecretOption,
    ServerOption,
    Target,
    Where,
    find_target,
)
from resolver.cli.errors import CliError, ExitCode
from resolver.cli.importing import (
    IN_FLIGHT,
    LOST_MAX,
    Existing,
    RowVerdict,
    Tally,
    Verdict,
    refused_line,
    register_rows,
)
from resolver.cli.output import make_console, print_json
from resolver.cli.rows import (
    BadRow,
    Row,
    add_owners,
    count_rows,
    open_rows,
    parse_maps,
    read_csv_rows,
    read_ndjson_rows,
)
from resolver.cli.value_texts import parse_identity

NDJSON_SUFFIXES = frozenset({".ndjson", ".jsonl"})
COUNTED_OCTETS_MAX = 1 << 28  # larger files are not read twice for a progress bar
SHOWN_MAX = 5  # refused rows shown on the screen; all of them are in the file


def import_rows(
    file: Annotated[Path, typer.Argument(help="CSV, or NDJSON (.ndjson, .jsonl).", dir_okay=False)],
    handle: Annotated[
        str, typer.Option("--handle", help="CSV: the handle, such as '{prefix}/{gtin}'.")
    ] = "",
    prefix: Annotated[str, typer.Option(help="CSV: what {prefix} stands for.")] = "",
    column_map: Annotated[
        list[str] | None,
        typer.Option("--map", "-m", help="CSV: COLUMN[,COLUMN...]=TYPE[:INDEX]; repeat for more."),
    ] = None,
    delimiter: Annotated[str, typer.Option(help="CSV: what separates the cells.")] = ",",
    owner: Annotated[
        list[str] | None, typer.Option(help="Identity for an HS_ADMIN value of every row.")
    ] = None,
    existing: Annotated[
        Existing, typer.Option(help="What to do with handles that exist.")
    ] = Existing.REFUSE,
    in_flight: Annotated[
        int, typer.Option(min=1, max=256, help="Registrations under way at the same time.")
    ] = IN_FLIGHT,
    refused: Annotated[
        Path | None,
        typer.Option(
            help="New file for refused rows, with reasons.  "
            "[default: FILE.refused.ndjson, or .refused.2.ndjson and so on if that exists]"
        ),
    ] = None,
    node: NodeOption = "",
    server: ServerOption = "",
    root: RootOption = "",
    key: KeyOption = None,
    secret: SecretOption = None,
    admin: AdminOption = "",
    as_json: JsonOption = False,
) -> None:
    """Register every row of a file. Exit code 1 when a row was refused.

    Several columns in one --map make a JSON object. An empty cell makes no value.
    After a break run it again with --existing skip.
    Example: biaoshi import products.csv --handle '{prefix}/{gtin}' --prefix 88.118.5
    -m image=URL -m name=DESC --node enterprise
    """
    target = find_target(Where(node, server, root, key, secret, admin), log_in=True)
    owners = [parse_identity(text) for text in owner or []]
    is_ndjson = file.suffix.lower() in NDJSON_SUFFIXES
    with open_rows(file) as lines:
        if is_ndjson:
            rows = read_ndjson_rows(lines)
        else:
            rows = _csv_rows(lines, handle, prefix, column_map or [], delimiter)
        rows = add_owners(rows, owners)
        report = RefusedFile(new_refused_path(file, refused))
        total = _count_rows(file, None if is_ndjson else delimiter)
        with report:
            tally = _run(target, rows, total, existing, in_flight, report)
    _show(tally, report, as_json)
    if tally.failed:
        raise typer.Exit(ExitCode.REFUSED)


def _csv_rows(
    lines: TextIO, handle: str, prefix: str, maps: list[str], delimiter: str
) -> Iterator[Row | BadRow]:
    if not handle or not maps:
        raise CliError(
            "a CSV file needs to know what its columns are",
            "add --handle '{prefix}/{column}' and --map COLUMN=TYPE",
            ExitCode.USAGE,
        )
    if len(delimiter) != 1:
        raise CliError(f"--delimiter {delimiter!r} is not one character", "", ExitCode.USAGE)
    constants = {"prefix": prefix} if prefix else {}
    return read_csv_rows(lines, parse_maps(maps), handle, constants, delimiter=delimiter)


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

    def write(self, verdict: RowVerdict) -> None:
        """Add a row."""
        if self._file is None:
            self._file = self.path.open("x", encoding="utf-8")
        self._file.write(msgspec.json.encode(refused_line(verdict)).decode() + "\n")
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


def _count_rows(file: Path, delimiter: str | None) -> int | None:
    """Return how many rows there are in a file small enough to be read once more."""
    if file.stat().st_size > COUNTED_OCTETS_MAX:
        return None
    with open_rows(file) as lines:
        return count_rows(lines, delimiter)


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
                "run it again with --existing skip to go on",
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


def _show(tally: Tally, report: RefusedFile, as_json: bool) -> None:
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
        print(f"stopped: {LOST_MAX} rows in a row had no answer; run again with --existing skip")
