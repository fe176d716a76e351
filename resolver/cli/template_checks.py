"""Rows of a file against a template, before a node sees them."""

import time
from pathlib import Path

import msgspec

from protocol.handle import to_text
from registry.stream_rows import PackedRow, RowKind
from registry.template_creations import find_row_faults
from registry.template_requests import join_faults, unpack_request
from registry.templates import Template
from resolver.cli.errors import CliError, ExitCode
from resolver.cli.sent_rows import CSV, find_kind, read_rows
from resolver.cli.value_texts import usage_errors
from resolver.rows.readers import make_reader

SHOWN_MAX = 1_000  # rows named; the others are counted


class FaultyRow(msgspec.Struct, frozen=True):
    """A row that would be refused, counted from 1, and all that is wrong in it."""

    row: int
    handle: str
    message: str


class Checked(msgspec.Struct):
    """How many rows there are, how many would be refused, and the first of these."""

    rows: int
    refused: int
    faulty: list[FaultyRow]


def check_rows(file: Path, template: Template) -> Checked:
    """Return what is wrong with the rows of a file that are to be made from a template.

    Raises:
        CliError: the file cannot be read as rows.
    """
    coding, media_type = find_kind(file)
    if media_type == CSV:
        raise CliError(f"{file} is CSV, and what its columns are is not said", "", ExitCode.USAGE)
    with usage_errors():
        reader = make_reader(media_type, {}, time.time)
    checked = Checked(0, 0, [])
    for rows in read_rows(file, coding, reader):
        for row in rows:
            checked.rows += 1
            message = _find_fault(row, template)
            if not message:
                continue
            checked.refused += 1
            if len(checked.faulty) < SHOWN_MAX:
                checked.faulty.append(FaultyRow(checked.rows, to_text(row[1]), message))
    return checked


def _find_fault(row: PackedRow, template: Template) -> str:
    kind, _, octets, _ = row
    if kind == RowKind.BAD:
        return to_text(octets)
    if kind != RowKind.TEMPLATE:
        return "" if kind == RowKind.DELETE else "it names no template"
    request = unpack_request(octets)
    faults = find_row_faults(template, request)
    if request.template not in (template.name, template.code):
        faults.append(f"it is of another template, {request.template!r}")
    if template.version and request.version not in (0, template.version):
        faults.append(f"it is of another version, {request.version}")
    return join_faults(faults)
