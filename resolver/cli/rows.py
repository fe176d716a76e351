"""Rows to register, read from CSV or NDJSON files of any length.

One row becomes one handle with its values. A row that cannot be understood becomes a `BadRow`
that says why, and reading goes on: one broken line does not stop an import of a million.

CSV: the first line names the columns. A `ColumnMap` says which columns make which value: one
column gives its text, several give one JSON object with a member for every filled cell. An empty
cell gives no value.
NDJSON: one object a line, `{"handle": ..., "values": [...]}`, values as in the REST interface;
this is what `biaoshi export` writes.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TextIO

import msgspec

from protocol.errors import ProtocolError
from protocol.handle import check_handle
from protocol.json_forms import values_from_json
from protocol.value import HandleValue, Reference
from resolver.cli.errors import CliError, ExitCode
from resolver.cli.value_texts import FIRST_ADMIN_INDEX, encode_data, make_admin_value

# A message holds at most 262,144 octets, so no cell can be longer than that.
CELL_CHARACTERS_MAX = 262_144

_FIELD = re.compile(r"\{([^{}]*)\}")
_JSON_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_MAP = re.compile(r"(?P<columns>[^=]+)=(?P<type>[^=:]+)(?::(?P<index>[0-9]{1,10}))?")


@dataclass(frozen=True, slots=True)
class Row:
    """One handle to register; `number` counts rows from 1, header not counted."""

    number: int
    handle: bytes
    values: tuple[HandleValue, ...]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be sent, and why."""

    number: int
    handle: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """Which columns make the value at `index`."""

    columns: tuple[str, ...]
    type: bytes
    index: int

    def find_value(self, cells: Mapping[str, str]) -> HandleValue | None:
        """Return the value these cells make, or None when all of them are empty."""
        filled = {column: cells[column] for column in self.columns if cells[column]}
        if not filled and len(self.columns) == 1:
            return None
        text = filled[self.columns[0]] if len(self.columns) == 1 else to_json_object(filled)
        return HandleValue(self.index, self.type, encode_data(self.type, text))


def to_json_object(cells: Mapping[str, str]) -> str:
    """Return cells as one JSON object; text that is a JSON number stays one, digit for digit."""
    members = (
        f"{json.dumps(name, ensure_ascii=False)}:"
        + (text if _JSON_NUMBER.fullmatch(text) else json.dumps(text, ensure_ascii=False))
        for name, text in cells.items()
    )
    return "{" + ",".join(members) + "}"


def parse_maps(texts: Sequence[str]) -> tuple[ColumnMap, ...]:
    """Return the maps written as `COLUMN[,COLUMN...]=TYPE[:INDEX]`.

    Indexes left out are those of the position, from 1.

    Raises:
        CliError: a text of another form, or an index used twice.
    """
    maps = []
    for position, text in enumerate(texts, 1):
        match = _MAP.fullmatch(text)
        if match is None:
            raise CliError(
                f"{text!r} does not map a column",
                "write COLUMN=TYPE or COLUMN=TYPE:INDEX, such as --map image=URL:1",
                ExitCode.USAGE,
            )
        columns = tuple(match["columns"].split(","))
        maps.append(ColumnMap(columns, match["type"].encode(), int(match["index"] or position)))
    indexes = [column_map.index for column_map in maps]
    if len(set(indexes)) < len(indexes):
        raise CliError(
            f"--map uses the indexes {indexes}, one of them twice",
            "give every value its own index: COLUMN=TYPE:INDEX",
            ExitCode.USAGE,
        )
    return tuple(maps)


def fill_template(template: str, cells: Mapping[str, str]) -> str:
    """Return `template` with every `{column}` replaced. Raises: KeyError."""
    return _FIELD.sub(lambda field: cells[field[1]], template)


def template_fields(template: str) -> list[str]:
    """Return the names in braces."""
    return _FIELD.findall(template)


def open_rows(path: Path) -> TextIO:
    """Open a file of rows; octets that are not UTF-8 are found row by row. Raises: CliError."""
    try:
        return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")
    except OSError as error:
        raise CliError(f"{path} cannot be read: {error.strerror}", "check the path") from None


def read_csv_rows(
    file: Iterable[str],
    maps: Sequence[ColumnMap],
    template: str,
    constants: Mapping[str, str],
    *,
    delimiter: str = ",",
) -> Iterator[Row | BadRow]:
    """Read the header now; return an iterator with a row for every line after it.

    Args:
        file: lines of text, line ends kept (a quoted cell may hold some).
        maps: the values of each handle.
        template: the handle, `{prefix}/{gtin}`.
        constants: what the template may name beside the columns.
        delimiter: one character.

    Raises:
        CliError: no header, or one without the columns that maps and template name.
    """
    csv.field_size_limit(CELL_CHARACTERS_MAX)
    lines = csv.reader(file, delimiter=delimiter)
    try:
        header = next(lines, [])
    except csv.Error as error:
        raise CliError(
            f"the first line is not a CSV header: {error}", "is it CSV?", ExitCode.USAGE
        ) from None
    # Now, not at the first row: a generator would raise it where rows are already under way.
    _check_header(header, maps, template, constants)
    return _read_csv_lines(lines, header, maps, template, constants)


def _read_csv_lines(
    lines: Iterator[list[str]],
    header: Sequence[str],
    maps: Sequence[ColumnMap],
    template: str,
    constants: Mapping[str, str],
) -> Iterator[Row | BadRow]:
    number = 0
    while True:
        number += 1
        try:
            cells = next(lines)
        except StopIteration:
            return
        except csv.Error as error:
            yield BadRow(number, b"", f"not CSV: {error}")
            continue
        if cells:
            yield _make_csv_row(number, header, cells, maps, template, constants)


def _check_header(
    header: Sequence[str],
    maps: Sequence[ColumnMap],
    template: str,
    constants: Mapping[str, str],
) -> None:
    needed = [column for column_map in maps for column in column_map.columns]
    needed += [name for name in template_fields(template) if name not in constants]
    missing = sorted(set(needed) - set(header))
    if missing:
        raise CliError(
            f"the file has no column {', '.join(missing)}",
            f"its columns are {', '.join(header) or 'none: it is empty'}",
            ExitCode.USAGE,
        )


def _make_csv_row(
    number: int,
    header: Sequence[str],
    cells: Sequence[str],
    maps: Sequence[ColumnMap],
    template: str,
    constants: Mapping[str, str],
) -> Row | BadRow:
    if len(cells) != len(header):
        return BadRow(number, b"", f"{len(cells)} cells, the header has {len(header)}")
    named = dict(zip(header, cells, strict=True)) | dict(constants)
    handle = b""
    try:
        for column, text in named.items():
            _check_utf8(column, text)
        for column in template_fields(template):
            _check_given(column, named[column])
        handle = fill_template(template, named).encode()
        check_handle(handle)
        values = [column_map.find_value(named) for column_map in maps]
    except (ProtocolError, CliError, ValueError) as error:
        return BadRow(number, handle, str(error))
    return _check_filled(Row(number, handle, tuple(value for value in values if value)))


def _check_utf8(column: str, text: str) -> None:
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError(f"column {column} is not UTF-8")


def _check_given(column: str, text: str) -> None:
    if not text:
        raise ValueError(f"column {column} is empty, and the handle is made from it")


def _check_filled(row: Row) -> Row | BadRow:
    return row if row.values else BadRow(row.number, row.handle, "no values: all cells are empty")


def read_ndjson_rows(file: Iterable[str]) -> Iterator[Row | BadRow]:
    """Yield a row for every line that is not blank."""
    number = 0
    for line in file:
        if line.strip():
            number += 1
            yield _make_ndjson_row(number, line)


def count_rows(lines: Iterable[str], delimiter: str | None) -> int:
    """Return how many rows the readers above will make.

    Args:
        lines: what they read.
        delimiter: None for NDJSON.
    """
    if delimiter is None:
        return sum(1 for line in lines if line.strip())
    reader = csv.reader(lines, delimiter=delimiter)
    count, is_header = 0, True
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return count
        except csv.Error:
            cells = ["a row that will be refused"]
        count += bool(cells) and not is_header
        is_header = False


class _NdjsonRow(msgspec.Struct):
    handle: str
    values: list[dict[str, object]]


def _make_ndjson_row(number: int, line: str) -> Row | BadRow:
    handle = b""
    try:
        form = msgspec.json.decode(line.encode("utf-8", "surrogateescape"), type=_NdjsonRow)
        handle = form.handle.encode()
        check_handle(handle)
        values = values_from_json(form.values)
    except (msgspec.DecodeError, UnicodeError, ProtocolError) as error:
        return BadRow(number, handle, str(error))
    return _check_filled(Row(number, handle, tuple(values)))


def add_owners(rows: Iterable[Row | BadRow], owners: Sequence[Reference]) -> Iterator[Row | BadRow]:
    """Yield the rows, each with an HS_ADMIN value for every owner, from index 100 on."""
    for row in rows:
        if isinstance(row, Row) and owners:
            used = {value.index for value in row.values}
            free = (index for index in count(FIRST_ADMIN_INDEX) if index not in used)
            extra = tuple(make_admin_value(owner, next(free)) for owner in owners)
            yield Row(row.number, row.handle, row.values + extra)
        else:
            yield row
