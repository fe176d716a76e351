"""`biaoshi verify` and `biaoshi export`: reading a node's store, running or not."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TextIO

import msgspec
import typer

from registry.errors import StoreError, StoreFullError
from registry.export import count_left_out, export_answers, export_forms
from registry.store import Store
from registry.verify import verify as verify_store
from resolver.batch.reader import read_server
from resolver.batch.sections import BatchError
from resolver.batch.value_lines import Line
from resolver.batch.writer import BatchWriter
from resolver.cli.by_row import make_progress
from resolver.cli.connect import find_node
from resolver.cli.errors import CliError, ExitCode
from resolver.cli.loading import find_registering
from resolver.cli.output import print_json
from resolver.cli.where_options import JsonOption
from resolver.node_files import SECRET_MODE
from resolver.rows.dumps import write_storage

NodeArgument = Annotated[
    str, typer.Argument(help="Data folder of the node.", show_default=False, envvar="BIAOSHI_NODE")
]


def verify(
    node: NodeArgument,
    scratch: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the store that the replay makes, as large as the node's without its "
            "journal, and deletes.  [default: the system's for such files]"
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check that every record decodes, the journal's chain holds, and a replay gives the same.

    Exit code 1 when something is wrong.
    """
    if scratch is not None and not scratch.is_dir():
        raise CliError(f"there is no folder {scratch}", "make it, or give another --scratch")
    with _hinting(node), make_progress() as progress:
        task = progress.add_task("verifying", total=None)

        def tell(stage: str, done: int) -> None:
            progress.update(task, description=stage, completed=done)

        try:
            report = verify_store(_find_store(node), scratch=scratch, tell=tell)
        except StoreFullError as error:
            hint = "the replay makes a second store: give --scratch a folder with more room"
            raise CliError(str(error), hint) from error
    if as_json:
        print_json(
            {
                "records": report.records,
                "ranges": report.ranges,
                "frames": report.frames,
                "problems": report.problems,
            }
        )
    else:
        for problem in report.problems:
            print(f"problem: {problem}", file=sys.stderr)
        verdict = f"{len(report.problems)} problems" if report.problems else "all is well"
        ranges = f"ranges {report.ranges:,}, " if report.ranges else ""
        frames = f"journal frames {report.frames:,}"
        print(f"records {report.records:,}, {ranges}{frames}: {verdict}")
    if report.problems:
        raise typer.Exit(ExitCode.REFUSED)


class ExportFormat(StrEnum):
    """What an export is written as."""

    NDJSON = "ndjson"
    BATCH = "batch"
    STORAGE = "storage"


def export(
    node: NodeArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write.  [default: the screen]")
    ] = None,
    format_: Annotated[
        ExportFormat,
        typer.Option(
            "--format",
            help="ndjson for biaoshi load; for a Handle.Net server batch, or storage, which its "
            "LoadHandlesIntoStorageFromJson reads.",
        ),
    ] = ExportFormat.NDJSON,
    home: Annotated[
        str,
        typer.Option(help="batch: begin with a HOME of all prefixes at ADDRESS:PORT:TCP."),
    ] = "",
) -> None:
    """Write all records and ranges, and what is frozen or revoked, as NDJSON for `biaoshi load`.

    As a batch: a CREATE for everything that answers, identifiers in ranges one by one. What is no
    line of text, keys and sites among it, goes to files in OUTPUT.files: take them along, and run
    the batch from the folder that both are in. That form has no timestamps, references, absolute
    times to live, marks and history; what was lost is counted. Exit code 1 when a handle or type
    cannot be written in it at all. As storage: the same identifiers, with timestamps, references
    and expiry, and the homed prefixes, as a dump of Handle.Net's own storage; no marks, no history.

    `biaoshi import` reads it too, but refuses what is revoked, and freezes nothing. What was made
    from a template comes out as ordinary values. Not in it: templates, history, statistics, which
    prefixes the node answers for, and what the prefix office knows (applications, quotas, people,
    which prefixes are suspended: their handles are in it, and answer where they are loaded).
    Restricted values, secrets among them, are in it: keep the file safe.
    """
    if format_ is ExportFormat.BATCH:
        with _hinting(node):
            _export_batch(_find_store(node), output, home)
        return
    if format_ is ExportFormat.STORAGE and not home:
        with _hinting(node):
            _export_storage(_find_store(node), output)
        return
    if home:
        raise CliError("--home is for --format batch", "leave it out", ExitCode.USAGE)
    with (
        _hinting(node),
        Store.open(_find_store(node), readonly=True, case_sensitive=None) as store,
    ):
        rows = export_forms(store)  # a running node is not held up by one long look
        if output is None:
            for row in rows:
                print(_line(row))
        else:
            print(f"{_write(output, rows):,} rows in {output}")
        entries, suspended = count_left_out(store)
    if entries:
        print(_left_out(suspended), file=sys.stderr)


def _export_batch(folder: Path, output: Path | None, home: str) -> None:
    if output is None:
        words = "a batch needs --output: data that are no text go to files beside it"
        raise CliError(words, "add --output estate.batch", ExitCode.USAGE)
    if home:
        _check_server(home)
    with (
        Store.open(folder, readonly=True, case_sensitive=None) as store,
        _new_file(output) as file,
    ):
        writer = BatchWriter(file, output.with_name(output.name + ".files"), int(time.time()))
        if home:
            with store.read() as view:
                writer.write_homes(home, view.homed())
        for handle, values in export_answers(store):
            writer.write(handle, values)
    print(f"{writer.handles:,} handles in {output}, {writer.files:,} files beside it")
    for words in writer.losses():
        print(f"not in it: {words}", file=sys.stderr)
    if writer.left_out:
        raise typer.Exit(ExitCode.REFUSED)


def _export_storage(folder: Path, output: Path | None) -> None:
    with Store.open(folder, readonly=True, case_sensitive=None) as store:
        with store.read() as view:
            homes = list(view.homed())
        answers = export_answers(store)
        if output is None:
            write_storage(sys.stdout, homes, answers)
            return
        with _new_file(output) as file:
            print(f"{write_storage(file, homes, answers):,} handles in {output}")


def _check_server(home: str) -> None:
    try:
        read_server(Line(1, home), 0, home)
    except BatchError as error:
        raise CliError(f"--home: {error.what}", error.hint, ExitCode.USAGE) from None


def _left_out(suspended: int) -> str:
    words = "not in it: what the prefix office knows (applications, quotas, people, suspensions)"
    if not suspended:
        return words
    handles = f"the handles of suspended prefixes are ({suspended:,})"
    return f"{words}; {handles}, and answer where they are loaded"


@contextmanager
def _hinting(node: str) -> Iterator[None]:
    """Name the folder in the hint of what is wrong with its store."""
    try:
        yield
    except StoreError as error:
        raise CliError(str(error), f"biaoshi doctor {find_node(node).path} tells more") from error


@contextmanager
def _new_file(output: Path) -> Iterator[TextIO]:
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, SECRET_MODE)
    except FileExistsError:
        raise CliError(f"{output} exists and is not overwritten", "give another name") from None
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
        yield file


def _write(output: Path, rows: Iterator[dict[str, Any]]) -> int:
    count = 0
    with _new_file(output) as file:
        for row in rows:
            file.write(_line(row) + "\n")
            count += 1
    return count


def _find_store(node: str) -> Path:
    return find_registering(node).store_folder


def _line(row: dict[str, Any]) -> str:
    return msgspec.json.encode(row).decode()
