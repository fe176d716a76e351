"""Rows of a file for `biaoshi import`: sent as they are, or made anew with what options add.

As they are, the receipt's digest is that of the file's rows. With --owner or --existing replace
every row is sent as NDJSON with an HS_ADMIN value or an operation more; what cannot be understood
is sent as it is, and the node says why it is refused.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import msgpack
import msgspec

from protocol.handle import to_text
from protocol.json_forms import value_to_json
from protocol.value import Reference
from resolver.cli.csv_templates import CsvTemplateForms
from resolver.cli.errors import CliError
from resolver.client.cutters import LineCutter
from resolver.client.sources import (
    CSV,
    MEDIA_TYPES,
    MSGPACK,
    NDJSON,
    CsvColumns,
    RowSource,
    cut_rows,
    open_source,
    read_header,
)
from resolver.rows.packed import RANGE_OPERATION
from resolver.rows.row import BadRow, Row
from resolver.rows.tables import parse_maps, read_csv_rows
from resolver.rows.value_texts import FIRST_ADMIN_INDEX, make_admin_value

DIGESTED_OCTETS = 65_536  # of a file's start and end, for the name of its stream
NAME_CHARACTERS_MAX = 64


FAULT = "fault"  # member of the object for a row of CSV that cannot be read: why


class RowFile:
    """A file of rows, and what is made of them.

    Args:
        path: the file.
        format_: ndjson, csv or msgpack.
        columns: those of CSV.
        owners: of every handle.
        replaces: handles that exist get the row's values.

    Raises:
        RowsError: columns that the file has not, or maps that are none.
        InvalidRequestError: octets in which no rows can be found.
        OSError: the file cannot be read.
    """

    def __init__(
        self,
        path: Path,
        format_: str,
        columns: CsvColumns | None,
        owners: Sequence[Reference] = (),
        *,
        replaces: bool = False,
    ) -> None:
        self.path = path
        self._format = format_
        self._columns = columns
        self._owners = tuple(owners)
        self._replaces = replaces
        self._records: CsvForms | CsvTemplateForms | None = None
        if format_ == CSV and columns is not None:
            parse_maps(columns.maps)
            header = read_header(path, columns)
            if columns.template:
                self._records = CsvTemplateForms(header, columns, FAULT)
            else:
                self._records = CsvForms(header, columns)

    @property
    def is_sent_as_it_is(self) -> bool:
        """Say whether the rows sent are those of the file, octet for octet."""
        return not (self._owners or self._replaces)

    def stream_key(self) -> str:
        """Return the name of the stream of these rows: the same for the same command."""
        size = self.path.stat().st_size
        made_of = (size, self._columns, self._owners, self._replaces)
        digest = hashlib.sha256(repr(made_of).encode("utf-8", "backslashreplace"))
        with self.path.open("rb") as file:
            digest.update(file.read(DIGESTED_OCTETS))
            file.seek(max(0, size - DIGESTED_OCTETS))
            digest.update(file.read(DIGESTED_OCTETS))
        name = re.sub(r"[^A-Za-z0-9._-]+", "_", self.path.name)[:NAME_CHARACTERS_MAX]
        return f"{name}-{digest.hexdigest()[:16]}"

    def source(self) -> RowSource:
        """Return the rows to send. Raises: HandleError, OSError."""
        if self.is_sent_as_it_is:
            return open_source(self.path, self._format, self._columns)
        return RowSource(
            MEDIA_TYPES[NDJSON],
            LineCutter(),
            ((octets, self._make_line(row)) for octets, row in self._rows()),
            octets_total=self.path.stat().st_size,
            is_file=True,
        )

    def first_handle(self) -> bytes:
        """Return the handle of the first row that has one. Raises: CliError."""
        for _, row in self._rows():
            if handle := handle_of(self.read_form(row)):
                return handle.encode()
        raise CliError(f"{self.path} has no row with a handle", "is it empty?")

    def numbered(self, wanted: Iterator[range]) -> Iterator[tuple[int, dict[str, Any], str]]:
        """Yield (number, object, text as in the file) of the rows in some ranges, which rise."""
        numbers = next(wanted, None)
        for number, (_, row) in enumerate(self._rows(), 1):
            while numbers is not None and number >= numbers.stop:
                numbers = next(wanted, None)
            if numbers is None:
                return
            if number in numbers:
                yield number, self.read_form(row), row.decode("utf-8", "backslashreplace")

    def read_form(self, row: bytes) -> dict[str, Any]:
        """Return a row as an object of NDJSON, as far as it can be read; {} when it cannot."""
        try:
            if self._records is not None:
                return self._records.read(row)
            if self._format == MSGPACK:
                row = msgspec.json.encode(msgpack.unpackb(row, raw=False, strict_map_key=False))
            form = msgspec.json.decode(row)
        except (ValueError, TypeError, OverflowError, RecursionError):
            return {}
        return form if isinstance(form, dict) else {}

    def _rows(self) -> Iterator[tuple[int, bytes]]:
        return cut_rows(self.path, self._format, self._columns)

    def _make_line(self, row: bytes) -> bytes:
        form = self.read_form(row)
        if not form:
            return (row if self._format == NDJSON else msgspec.json.encode(to_text(row))) + b"\n"
        values = form.get("values", [] if "template" in form else None)
        if isinstance(values, list) and form.get("operation", RANGE_OPERATION) == RANGE_OPERATION:
            form["values"] = values + self._owner_forms(values)
            if self._replaces and "operation" not in form:
                form["operation"] = "replace"
        return msgspec.json.encode(form) + b"\n"

    def _owner_forms(self, values: Sequence[Any]) -> list[dict[str, Any]]:
        used = {value.get("index") for value in values if isinstance(value, dict)}
        free = (index for index in count(FIRST_ADMIN_INDEX) if index not in used)
        return [value_to_json(make_admin_value(owner, next(free))) for owner in self._owners]


def handle_of(form: dict[str, Any]) -> str:
    """Return the handle of a row, of one that registers a range its first, without check; or ""."""
    if form.get("operation") == RANGE_OPERATION:
        parts = [form.get("stem"), form.get("first")]
    else:
        parts = [form.get("handle")]
    return "".join(part for part in parts if isinstance(part, str))


class CsvForms:
    """Makes objects of CSV records. Raises: RowsError: columns or maps that are none."""

    def __init__(self, header: bytes, columns: CsvColumns) -> None:
        self._header = header
        self._columns = columns
        self._maps = parse_maps(columns.maps)
        self._rows = self._start()

    def _start(self) -> Iterator[Row | BadRow]:
        self._record: bytes | None = self._header
        handle, delimiter = self._columns.handle, self._columns.delimiter
        return read_csv_rows(self._feed(), self._maps, handle, {}, delimiter=delimiter)

    def _feed(self) -> Iterator[str]:
        while self._record is not None:
            record, self._record = self._record, None
            yield record.decode("utf-8", "surrogateescape") + "\n"

    def read(self, record: bytes) -> dict[str, Any]:
        """Return the object; of a record that cannot be read FAULT says why."""
        self._record = record
        row = next(self._rows, None)
        if row is None:  # the one before ended inside quotes, so it was the file's last
            self._rows, self._record = self._start(), record
            row = next(self._rows)
        if isinstance(row, BadRow):
            return {"handle": to_text(row.handle), FAULT: row.reason}
        return {
            "handle": to_text(row.handle),
            "values": [value_to_json(each) for each in row.values],
        }
