"""CSV files: rows of cells, and which columns make which value.

The first line names the columns. A `ColumnMap` says which columns make which value: one column
gives its text, several give one JSON object with a member for every filled cell. An empty cell
gives no value. A row that cannot be understood becomes a `BadRow` that says why, and reading goes
on: one broken line does not stop an import of a million.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from protocol.errors import ProtocolError
from protocol.handle import check_handle
from protocol.value import HandleValue
from resolver.rows.errors import RowsError
from resolver.rows.row import BadRow, Row, check_filled
from resolver.rows.value_texts import INDEX_MAX, encode_data, usual_permission

# A message holds at most 262,144 octets, so no cell can be longer than that.
CELL_CHARACTERS_MAX = 262_144
NAMES_SHOWN_MAX = 20  # columns named in an error message

_FIELD = re.compile(r"\{([^{}]*)\}")
_JSON_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_to_json = json.JSONEncoder(ensure_ascii=False).encode
_MAP = re.compile(r"(?P<columns>[^=]+)=(?P<type>[^=:]+)(?::(?P<index>[0-9]{1,10}))?")


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """Which columns make the value at `index`."""

    columns: tuple[str, ...]
    type: bytes
    index: int

    def find_text(self, cells: Mapping[str, str]) -> str | None:
        """Return what these cells say, or None when nothing."""
        if len(self.columns) == 1:
            return cells[self.columns[0]] or None
        return to_json_object({each: cells[each] for each in self.columns if cells[each]})

    def find_value(self, cells: Mapping[str, str]) -> HandleValue | None:
        """Return the value these cells make, or None when the only one is empty.

        Raises:
            RowsError: not the form that the type asks for.
        """
        text = self.find_text(cells)
        if text is None:
            return None
        data = encode_data(self.type, text)
        return HandleValue(self.index, self.type, data, usual_permission(self.type))


def to_json_object(cells: Mapping[str, str]) -> str:
    """Return cells as one JSON object; text that is a JSON number stays one, digit for digit."""
    members = (
        f"{_to_json(name)}:{text if _JSON_NUMBER.fullmatch(text) else _to_json(text)}"
        for name, text in cells.items()
    )
    return "{" + ",".join(members) + "}"


def parse_maps(texts: Sequence[str], option: str = "--map ") -> tuple[ColumnMap, ...]:
    """Return the maps written as `COLUMN[,COLUMN...]=TYPE[:INDEX]`.

    Indexes left out are those of the position, from 1.

    Args:
        texts: the maps.
        option: how whoever wrote them begins one, for error messages.

    Raises:
        RowsError: a text of another form, or an index used twice.
    """
    maps = [_parse_map(text, position, option) for position, text in enumerate(texts, 1)]
    indexes = [column_map.index for column_map in maps]
    if len(set(indexes)) < len(indexes):
        raise RowsError(
            f"{option.rstrip(' =')} uses the indexes {indexes}, one of them twice",
            "give every value its own index: COLUMN=TYPE:INDEX",
        )
    return tuple(maps)


def _parse_map(text: str, position: int, option: str) -> ColumnMap:
    match = _MAP.fullmatch(text)
    index = int(match["index"] or position) if match else 0
    if match is None or not 0 < index <= INDEX_MAX or not is_utf8(text):
        raise RowsError(
            f"{text[:200]!r} does not map a column",
            f"write COLUMN=TYPE or COLUMN=TYPE:INDEX, such as {option}image=URL:1",
        )
    return ColumnMap(tuple(match["columns"].split(",")), match["type"].encode(), index)


def fill_template(template: str, cells: Mapping[str, str]) -> str:
    """Return `template` with every `{column}` replaced. Raises: KeyError."""
    return _FIELD.sub(lambda field: cells[field[1]], template)


def template_fields(template: str) -> list[str]:
    """Return the names in braces."""
    return _FIELD.findall(template)


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
        RowsError: no header, or one without the columns that maps and template name.
    """
    csv.field_size_limit(CELL_CHARACTERS_MAX)
    lines = csv.reader(file, delimiter=delimiter)
    try:
        header = next(lines, [])
    except csv.Error as error:
        raise RowsError(f"the first line is not a CSV header: {error}", "is it CSV?") from None
    # Now, not at the first row: a generator would raise it where rows are already under way.
    needed = needed_columns(maps, template)
    check_header(header, [name for name in needed if name not in constants])
    return _read_csv_lines(lines, header, maps, template, constants)


def needed_columns(maps: Sequence[ColumnMap], template: str) -> list[str]:
    """Return the columns that maps and template name."""
    return [name for each in maps for name in each.columns] + template_fields(template)


def check_header(header: Sequence[str], needed: Iterable[str]) -> None:
    """Check that all columns needed are there. Raises: RowsError."""
    missing = sorted(set(needed) - set(header))
    if missing:
        raise RowsError(
            f"the file has no column {', '.join(missing)}",
            f"its columns are {show_names(header) or 'none: it is empty'}",
        )


def show_names(names: Sequence[str]) -> str:
    """Return the names of columns for a message, as many as a person reads."""
    more = len(names) - NAMES_SHOWN_MAX
    shown = ", ".join(name[:80] for name in names[:NAMES_SHOWN_MAX])
    shown = shown.encode("utf-8", "backslashreplace").decode()
    return f"{shown} and {more} more" if more > 0 else shown


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
    except (ProtocolError, RowsError, ValueError) as error:
        return BadRow(number, handle, str(error))
    return check_filled(Row(number, handle, tuple(value for value in values if value)))


def is_utf8(text: str) -> bool:
    """Say whether UTF-8 can hold a text: not one from octets that were not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_utf8(column: str, text: str) -> None:
    if not is_utf8(text):
        raise ValueError(f"column {column} is not UTF-8")


def _check_given(column: str, text: str) -> None:
    if not text:
        raise ValueError(f"column {column} is empty, and the handle is made from it")


def count_csv_rows(lines: Iterable[str], delimiter: str) -> int:
    """Return how many rows `read_csv_rows` will make of these lines, header included."""
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
