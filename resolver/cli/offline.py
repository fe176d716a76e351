"""`biaoshi verify` and `biaoshi export`: reading a node's store, running or not."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from registry.errors import StoreError
from registry.export import count_left_out, export_forms
from registry.store import Store
from registry.verify import verify as verify_store
from resolver.cli.connect import find_node
from resolver.cli.errors import CliError, ExitCode
from resolver.cli.output import print_json
from resolver.cli.where_options import JsonOption
from resolver.config import load_config
from resolver.node_files import SECRET_MODE

NodeArgument = Annotated[
    str, typer.Argument(help="Data folder of the node.", show_default=False, envvar="BIAOSHI_NODE")
]


def verify(node: NodeArgument, as_json: JsonOption = False) -> None:
    """Check that every record decodes, the journal's chain holds, and a replay gives the same.

    Exit code 1 when something is wrong.
    """
    with _hinting(node):
        report = verify_store(_find_store(node))
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


def export(
    node: NodeArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write.  [default: the screen]")
    ] = None,
) -> None:
    """Write all records and ranges, and what is frozen or revoked, as NDJSON for `biaoshi load`.

    `biaoshi import` reads it too, but refuses what is revoked, and freezes nothing. What was made
    from a template comes out as ordinary values. Not in it: templates, history, statistics, which
    prefixes the node answers for, and what the prefix office knows (applications, quotas, people,
    which prefixes are suspended: their handles are in it, and answer where they are loaded).
    Restricted values, secrets among them, are in it: keep the file safe.
    """
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


def _write(output: Path, rows: Iterator[dict[str, Any]]) -> int:
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, SECRET_MODE)
    except FileExistsError:
        raise CliError(f"{output} exists and is not overwritten", "give another name") from None
    count = 0
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        for row in rows:
            file.write(_line(row) + "\n")
            count += 1
    return count


def _find_store(node: str) -> Path:
    config = load_config(find_node(node).config)
    if not config.role.registers:
        raise CliError(
            f"a recursive node holds no store: the one in {node} has a cache only",
            "give the folder of a top, secondary or enterprise node",
        )
    return config.store_folder


def _line(row: dict[str, Any]) -> str:
    return msgspec.json.encode(row).decode()
