"""`biaoshi import`: register the rows of a file, with a verdict for each.

As a stream (`import_stream`), or row by row over the Handle protocol (`importing`), which every
node speaks.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from resolver.cli.administration import find_certificates
from resolver.cli.by_row import RefusedFile, import_by_row, new_refused_path, show_tally
from resolver.cli.connect import (
    Where,
    find_target,
)
from resolver.cli.errors import CliError, ExitCode
from resolver.cli.import_rows import RowFile
from resolver.cli.import_stream import (
    RefusedRows,
    import_stream,
    open_client,
    show,
    write_receipt,
)
from resolver.cli.importing import IN_FLIGHT, Existing
from resolver.cli.value_texts import parse_identity, usage_errors
from resolver.cli.where_options import JsonOption, asks
from resolver.client import InvalidRequestError
from resolver.client.sending import check_key
from resolver.client.sources import CSV, CsvColumns, format_of


@asks(rest=True)
def import_rows(
    where: Where,
    file: Annotated[
        Path,
        typer.Argument(
            help="CSV, NDJSON (.ndjson, .jsonl) or .msgpack; also with .gz or .zst.", dir_okay=False
        ),
    ],
    handle: Annotated[
        str, typer.Option("--handle", help="CSV: the handle, such as '{prefix}/{gtin}'.")
    ] = "",
    prefix: Annotated[str, typer.Option(help="CSV: what {prefix} stands for.")] = "",
    column_map: Annotated[
        list[str] | None,
        typer.Option("--map", "-m", help="CSV: COLUMN[,COLUMN...]=TYPE[:INDEX]; repeat for more."),
    ] = None,
    operation: Annotated[
        str, typer.Option(help="CSV: the column that says create, replace or delete.")
    ] = "",
    delimiter: Annotated[str, typer.Option(help="CSV: what separates the cells.")] = ",",
    template: Annotated[
        str, typer.Option(help="CSV: what rows are made from, CODE or CODE@VERSION.")
    ] = "",
    attribute: Annotated[
        list[str] | None,
        typer.Option(
            help="CSV with --template: COLUMN[:NAME]; repeat for more.  "
            "[default: all columns that no other option names]"
        ),
    ] = None,
    owner: Annotated[
        list[str] | None, typer.Option(help="Identity for an HS_ADMIN value of every row.")
    ] = None,
    existing: Annotated[
        Existing, typer.Option(help="What to do with handles that exist with other values.")
    ] = Existing.REFUSE,
    stream: Annotated[
        str,
        typer.Option(
            help="Name of the stream.  [default: made of the file's name, size, start and end, and "
            "of the options that say what is in it: the same command goes on with its stream]",
            show_default=False,
        ),
    ] = "",
    receipt: Annotated[
        Path | None,
        typer.Option(
            help="File for the node's receipt; one that exists is kept and a number added.  "
            "[default: FILE.receipt]"
        ),
    ] = None,
    refused: Annotated[
        Path | None,
        typer.Option(
            help="New file for refused rows, with reasons.  "
            "[default: FILE.refused.ndjson, or .refused.2.ndjson and so on if that exists]"
        ),
    ] = None,
    by_row: Annotated[
        bool,
        typer.Option(
            "--by-row",
            help="Row by row over the Handle protocol: for nodes of another make, or rows for "
            "several nodes. No receipt; after a break add --existing skip.",
        ),
    ] = False,
    in_flight: Annotated[
        int, typer.Option(min=1, max=256, help="--by-row: how many at the same time.")
    ] = IN_FLIGHT,
    as_json: JsonOption = False,
) -> None:
    """Register every row of a file. Exit code 1 when a row was refused.

    Several columns in one --map make a JSON object. An empty cell makes no value.
    After Ctrl-C or a break the same command goes on where the node stands, and no row is
    registered twice. `biaoshi receipt verify` checks the receipt against the file.
    Example: biaoshi import products.csv --handle '{prefix}/{gtin}' --prefix 88.118.5
    -m image=URL -m name=DESC --node enterprise
    """
    target = find_target(where, log_in=True)
    owners = [parse_identity(text) for text in owner or []]
    format_ = _find_format(file, handle)
    if format_ == CSV:
        _check_columns(handle, column_map or [], operation or template, delimiter)
    if by_row and template:
        raise CliError(
            "--by-row makes nothing from a template",
            "leave --by-row out: templates need a node with a REST interface",
            ExitCode.USAGE,
        )
    if operation and (owners or existing is Existing.REPLACE):
        raise CliError(
            "--operation says what becomes of a row, --owner and --existing replace do too",
            "leave one out, or write the rows as NDJSON",
            ExitCode.USAGE,
        )
    columns = None
    if format_ == CSV:
        maps = tuple(column_map or ())
        filled, given = _fill_prefix(handle, prefix), tuple(attribute or ())
        columns = CsvColumns(filled, maps, operation, delimiter, template, given)
    refused_path = new_refused_path(file, refused)
    with usage_errors(), file_errors(file):
        if by_row:
            report = RefusedFile(refused_path)
            tally = import_by_row(
                target, file, format_, columns, owners, existing, in_flight, report
            )
            show_tally(tally, report, as_json=as_json)
            failed = tally.failed
        else:
            rows = RowFile(file, format_, columns, owners, replaces=existing is Existing.REPLACE)
            name = _check_name(stream) if stream else rows.stream_key()
            client = open_client(target, rows, find_certificates(where))
            refused_rows = RefusedRows(refused_path)
            told = import_stream(client, rows, name, existing, refused_rows)
            wanted = receipt or file.with_name(f"{file.name}.receipt")
            show(told, refused_rows, write_receipt(wanted, told), as_json=as_json)
            failed = told.refused
    if failed:
        raise typer.Exit(ExitCode.REFUSED)


def _check_name(stream: str) -> str:
    try:
        check_key(stream)
    except ValueError as error:
        raise CliError(
            f"--stream: {error}", "give a shorter or plainer one", ExitCode.USAGE
        ) from None
    return stream


@contextmanager
def file_errors(file: Path) -> Iterator[None]:
    """Say of a file that cannot be read that it is the one named."""
    try:
        yield
    except OSError as error:
        if error.filename is None or Path(error.filename) != file:
            raise
        raise CliError(f"{file} cannot be read: {error.strerror}", "check the path") from None


def _find_format(file: Path, handle: str) -> str:
    """Return the format that the name says; with --handle any other name is one of CSV."""
    try:
        return format_of(file)
    except InvalidRequestError as error:
        if handle:
            return CSV
        raise CliError(error.words, error.hint, ExitCode.USAGE) from None


def _check_columns(handle: str, maps: list[str], other: str, delimiter: str) -> None:
    if not handle or not (maps or other):
        raise CliError(
            "a CSV file needs to know what its columns are",
            "add --handle '{prefix}/{column}' and --map COLUMN=TYPE, or --template CODE",
            ExitCode.USAGE,
        )
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n':
        raise CliError(f"--delimiter {delimiter!r} is not one ASCII character", "", ExitCode.USAGE)


def _fill_prefix(handle: str, prefix: str) -> str:
    if set(prefix) & set("{}"):
        raise CliError(f"--prefix {prefix!r} has a brace in it", "", ExitCode.USAGE)
    return handle.replace("{prefix}", prefix) if prefix else handle
