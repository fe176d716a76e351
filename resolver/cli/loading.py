"""`biaoshi load`: put the records of a file into a store, the node not running."""

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from registry.offline import LoadedBatch, LoadPolicy, LoadRow, RefusedRow, load_records
from registry.store import Store
from registry.stream_rows import RowKind
from resolver.cli.by_row import RefusedFile, make_progress, new_refused_path
from resolver.cli.connect import find_node
from resolver.cli.errors import CliError, ExitCode
from resolver.cli.importing import RowVerdict, Verdict, refused_line
from resolver.cli.output import print_json
from resolver.cli.where_options import JsonOption
from resolver.config import Config, load_config
from resolver.rows.ndjson import read_load_rows
from resolver.rows.row import BadRow, Row
from resolver.supervisor import take_pid_file

READ_OCTETS = 1 << 20  # read from the file at a time


def load(
    file: Annotated[str, typer.Argument(help="NDJSON as `biaoshi export` writes it; - is stdin.")],
    node: Annotated[
        str, typer.Option(help="Data folder of the node, not running.", envvar="BIAOSHI_NODE")
    ],
    existing: Annotated[
        LoadPolicy, typer.Option(help="What to do with handles stored with other values.")
    ] = LoadPolicy.REFUSE,
    refused: Annotated[
        Path | None,
        typer.Option(
            help="New file for refused rows.  "
            "[default: FILE.refused.ndjson, or .refused.2.ndjson and so on if that exists]"
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Put every record of a file into a node's store: to restore an export, or to begin with many.

    Needs no key but the node's files, and no running node. Timestamps and secrets are kept as they
    are, and what is frozen or revoked stays so, with who did it, when and why. Which prefixes the
    node answers for, and what its prefix office knows, is not in the file and stays as it is. Of a
    refused range or mark the file of refused rows says why under "refusal". After a break
    run it again: what is stored already is passed over. Exit code 1 when a row was refused.
    Example: biaoshi load enterprise.ndjson --node restored
    """
    config = find_registering(node)
    name = "load" if file == "-" else file
    report = RefusedFile(new_refused_path(Path(name), refused))
    begun_s = time.monotonic()
    with _lines(file) as lines, stopped(config, node), report:
        counts = _load(config, lines, existing, report)
    _show(counts, report, time.monotonic() - begun_s, as_json)
    if counts[Verdict.REFUSED]:
        raise typer.Exit(ExitCode.REFUSED)


def find_registering(node: str) -> Config:
    """Return the configuration of a node that holds a store. Raises: CliError, it has none."""
    config = load_config(find_node(node).config)
    if not config.role.registers:
        raise CliError(
            f"a recursive node holds no store: the one in {node} has a cache only",
            "give the folder of a top, secondary or enterprise node",
        )
    return config


@contextlib.contextmanager
def _lines(file: str) -> Iterator[BinaryIO]:
    if file == "-":
        yield sys.stdin.buffer
        return
    try:
        opened = open(file, "rb", READ_OCTETS)  # noqa: SIM115  # closed below
    except OSError as error:
        raise CliError(f"{file} cannot be read: {error.strerror}", "check the path") from None
    with opened:
        yield opened


@contextlib.contextmanager
def stopped(config: Config, node: str) -> Iterator[None]:
    """Hold the lock that a running node holds. Raises: CliError, it runs."""
    config.run_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    pid_file = take_pid_file(config.run_folder / "pid")
    if pid_file is None:
        raise CliError(
            f"the node in {node} is running", "stop it, or use biaoshi import", ExitCode.REFUSED
        )
    with pid_file:
        yield


def _load(
    config: Config, lines: Iterable[bytes], policy: LoadPolicy, report: RefusedFile
) -> dict[Verdict, int]:
    counts = dict.fromkeys((Verdict.REGISTERED, Verdict.EXISTED, Verdict.REFUSED), 0)

    def refuse(verdict: RowVerdict, line: Mapping[str, object] | None = None) -> None:
        counts[Verdict.REFUSED] += 1
        report.write(verdict, line)

    def good_rows() -> Iterator[LoadRow]:
        for row in read_load_rows(lines, int(time.time())):
            if isinstance(row, BadRow):
                refuse(RowVerdict(row, Verdict.REFUSED, 0, row.reason))
            else:
                yield row

    with open_store(config) as store, make_progress() as progress:
        task = progress.add_task("loading", total=None)
        batches = load_records(store, good_rows(), policy=policy, now_s=lambda: int(time.time()))
        for batch in batches:
            counts[Verdict.REGISTERED] += batch.stored
            counts[Verdict.EXISTED] += batch.existed
            for one in batch.refused:
                verdict = verdict_of(one)
                refuse(verdict, line_of(one.row, verdict))
            progress.advance(task, _size(batch))
    return counts


def open_store(config: Config) -> Store:
    """Return a node's store, opened for writing."""
    return Store.open(
        config.store_folder,
        map_octets=config.store.map_octets,
        case_sensitive=config.case_sensitive,
    )


def _size(batch: LoadedBatch) -> int:
    return batch.stored + batch.existed + len(batch.refused)


def verdict_of(refused: RefusedRow) -> RowVerdict:
    """Return a refused row as the file of refused rows has it."""
    loaded = refused.row
    row = Row(loaded.number, loaded.handle, loaded.in_values())
    return RowVerdict(row, Verdict.REFUSED, refused.code, refused.reason)


def line_of(row: LoadRow, verdict: RowVerdict) -> dict[str, object]:
    """Return the line for the file of refused rows, which can be loaded when mended.

    A document has its own `reason`, so why it was refused is said beside it.
    """
    line = refused_line(verdict)
    if row.document:
        del line["values"]
        line["refusal"] = line.pop("reason")
    elif row.kind is RowKind.REPLACE:
        line["operation"] = "replace"
    return line | dict(row.document)


def _show(counts: dict[Verdict, int], report: RefusedFile, seconds: float, as_json: bool) -> None:
    total = sum(counts.values())
    if as_json:
        path = str(report.path) if report.is_written else None
        named = {verdict.value: count for verdict, count in counts.items()}
        print_json({"rows": total, **named, "seconds": round(seconds, 3), "refused_file": path})
        return
    words = ", ".join(f"{count:,} {verdict.value}" for verdict, count in counts.items() if count)
    rate = total / seconds if seconds else 0
    print(f"{total:,} rows in {seconds:.1f} s ({rate:,.0f}/s): {words or 'nothing to do'}")
    for verdict in report.shown:
        handle = verdict.row.handle.decode("utf-8", "backslashreplace")
        print(f"  row {verdict.row.number} {handle}: {verdict.verdict.value}: {verdict.reason}")
    if report.is_written:
        print(f"all {counts[Verdict.REFUSED]:,} with reasons: {report.path}")
