"""CSV as it arrives: a header line that names the columns, then a row a line.

What the columns mean is said by the options of `CsvOptions`. Cells are separated and quoted as
Python's csv module has it; a row ends with LF or CR LF outside quotes. Its octets say nothing
without header and options, so its digest is over these too:

     digest   SHA-256(SHA-256(record) || meaning), the record as sent, without CR and LF at its end
     meaning  SHA-256(msgpack of [header, handle, maps, operation, delimiter])
     header   [cell, ...] without quotes: str, or bin with its octets where it is not UTF-8
     maps     [[[column, ...], type, index], ...] in their order, none of the indexes left out

An index is an integer, all else str; `operation` is "" and `delimiter` "," where none is given.
Lists are arrays, and everything in msgpack has its shortest form. With a template, meaning has two
members more: its name as given, and attributes as [[column, name], ...].

Rows are made from a template when the option template names one, with @ and a version if not the
last: `auto-part@2`. Which cells are attributes the option attribute says, `COLUMN` or `COLUMN:NAME`
for each; without it, all columns that no other option names are. Empty cells are not given; a list
is a JSON array.
"""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack

from protocol.types import DECODERS
from protocol.value import HandleValue, encode_values
from registry.schema import VALUES_MAX
from registry.stream_rows import PackedRow, RowKind
from registry.template_requests import Request
from resolver.rows.csv_templates import CsvTemplate, name_attributes, parse_csv_template
from resolver.rows.errors import RowsError
from resolver.rows.held import HeldRow, Opening
from resolver.rows.packed import (
    ROW_OCTETS_MAX,
    bad_row,
    digest_of,
    long_row,
    name_row,
    pack_made,
    pack_values,
    read_operation,
)
from resolver.rows.plain import pack_list, pack_text, packed_type
from resolver.rows.record_ends import RecordEnds
from resolver.rows.tables import (
    ColumnMap,
    check_header,
    fill_template,
    is_utf8,
    needed_columns,
    parse_maps,
    template_fields,
)

COLUMNS_MAX = 1_000  # ours, far above the tables that people keep
OPTIONS = ("handle", "map", "operation", "delimiter", "template", "attribute")

_LINE_END = b"\r\n"


@dataclass(frozen=True, slots=True)
class CsvOptions:
    """What the columns are: the handle's template, the values, the operation's column or ""."""

    handle: str
    maps: tuple[ColumnMap, ...]
    operation: str = ""
    delimiter: str = ","
    template: CsvTemplate | None = None


def parse_csv_options(options: Mapping[str, Sequence[str]]) -> CsvOptions:
    """Return the options of a request: handle, map (may be repeated), operation, delimiter.

    Raises:
        RowsError: one that is missing, given twice or of another form.
    """
    for name in ("handle", "operation", "delimiter", "template"):
        if len(options.get(name, ())) > 1:
            raise RowsError(f"the option {name} is given {len(options[name])} times", "give one")
    handle, operation, delimiter = (
        next(iter(options.get(name, ())), default)
        for name, default in (("handle", ""), ("operation", ""), ("delimiter", ","))
    )
    texts = options.get("map", ())
    template = parse_csv_template(options.get("template", ()), options.get("attribute", ()))
    if not handle or not (texts or operation or template):
        raise RowsError(
            "CSV needs to know what its columns are",
            "give handle, such as PREFIX/{COLUMN}, and map, such as COLUMN=TYPE, or operation, or "
            "template",
        )
    if len(texts) > VALUES_MAX:
        raise RowsError(f"{len(texts)} options map, a handle has at most {VALUES_MAX} values")
    if not is_utf8(handle + operation):
        raise RowsError("the options handle and operation are not UTF-8", "encode them as UTF-8")
    _check_delimiter(delimiter)
    return CsvOptions(handle, parse_maps(texts, "map="), operation, delimiter, template)


def _check_delimiter(delimiter: str) -> None:
    is_shown = delimiter.isascii() and (delimiter.isprintable() or delimiter == "\t")
    if len(delimiter) != 1 or delimiter == '"' or not is_shown:
        raise RowsError(
            f"the delimiter {delimiter[:80]!r} is not one ASCII character, or is a quote",
            "leave it out for a comma, or give ; or a tab (in a URL %09)",
        )


class CsvReader:
    """Rows out of octets of CSV; `now_s` gives the time for plain values.

    `feed` and `end` raise RowsError for what is wrong with the header; so does every later call.
    """

    def __init__(self, options: CsvOptions, now_s: Callable[[], float]) -> None:
        self._options = options
        self._now_s = now_s
        self._opening = Opening()
        self._ends = RecordEnds(ord(options.delimiter))
        self._held = HeldRow(right=_LINE_END)
        self._table: _Table | None = None
        self._fault: RowsError | None = None

    def feed(self, data: bytes) -> list[PackedRow]:
        """Return the rows that end in `data`. Raises: RowsError."""
        return self._guard(self._opening.skip(data))

    def end(self) -> list[PackedRow]:
        """Return the row that ends with the stream. Raises: RowsError."""
        rows = self._guard(self._opening.end())
        if self._ends.is_quoted:
            words = "the stream ends inside a quoted cell"
            if self._table is None:
                raise RowsError(f"{words} of the header", "is it CSV?")
            return [*rows, bad_row(b"", [words], self._table.digest(self._digest_held()))]
        if self._held or self._table is None:
            rows += self._guard(b"\n")
        return rows

    def _digest_held(self) -> bytes:
        if self._held.is_long:
            return self._held.take_digest()
        return digest_of(self._held.take().rstrip(_LINE_END))

    def _guard(self, data: bytes) -> list[PackedRow]:
        if self._fault is not None:
            raise self._fault
        csv.field_size_limit(ROW_OCTETS_MAX)  # of the whole process, so set it every time
        try:
            return self._read(data)
        except RowsError as error:
            self._fault = error
            raise

    def _read(self, data: bytes) -> list[PackedRow]:
        rows: list[PackedRow] = []
        now_s = int(self._now_s())
        start = 0
        while (end := self._ends.find(data, start)) >= 0:
            record = data[start:end]
            start = end + 1
            if self._held or len(record) > ROW_OCTETS_MAX:
                self._held.add(record)
                if self._held.is_long:
                    table = self._table_of_long_row()
                    rows.append(long_row(table.digest(self._held.take_digest())))
                    continue
                record = self._held.take()
            if self._table is None:
                self._table = _Table(self._options, _read_header(record, self._options.delimiter))
            else:
                rows += self._table.read(record, now_s)
        self._held.add(data[start:])
        if self._held.is_long:
            self._table_of_long_row()
        return rows

    def _table_of_long_row(self) -> "_Table":
        if self._table is None:
            raise RowsError(f"the header has more than {ROW_OCTETS_MAX:,} octets", "is it CSV?")
        return self._table


def _read_cells(record: bytes, delimiter: str) -> list[str]:
    """Return the cells, none for a blank line. Raises: csv.Error."""
    text = record.decode("utf-8", "surrogateescape")
    return next(csv.reader((text,), delimiter=delimiter), [])


def _read_header(record: bytes, delimiter: str) -> list[str]:
    try:
        header = _read_cells(record, delimiter)
    except csv.Error as error:
        raise RowsError(f"the first line is not a CSV header: {error}", "is it CSV?") from None
    if len(header) > COLUMNS_MAX:
        raise RowsError(
            f"the header has {len(header):,} columns, at most {COLUMNS_MAX:,} are read",
            "leave out those that no option names",
        )
    return header


class _Table:
    """The header, and what becomes of a row under it."""

    def __init__(self, options: CsvOptions, header: list[str]) -> None:
        needed = needed_columns(options.maps, options.handle)
        needed += [options.operation] if options.operation else []
        self._attributes = name_attributes(options.template, header, needed)
        needed += [column for column, _ in self._attributes]
        check_header(header, needed)
        twice = sorted(name for name in set(needed) if header.count(name) > 1)
        if twice:
            raise RowsError(f"the header names {', '.join(twice)} twice", "give it another name")
        self._options = options
        self._header = header
        self._meaning = _digest_meaning(options, header)
        self._fields = template_fields(options.handle)
        self._packed_types = [
            None if each.type in DECODERS else packed_type(each.type.decode())
            for each in options.maps
        ]

    def digest(self, record_digest: bytes) -> bytes:
        """Return the digest of a row out of that of its record."""
        return digest_of(record_digest + self._meaning)

    def read(self, record: bytes, now_s: int) -> list[PackedRow]:
        """Return the row of a record, or none when it is blank."""
        try:
            cells = _read_cells(record, self._options.delimiter)
        except csv.Error as error:
            return [bad_row(b"", [f"not CSV: {error}"], self._digest_record(record))]
        if not cells:
            return []
        digest = self._digest_record(record)
        if len(cells) != len(self._header):
            fault = f"{len(cells)} cells, the header has {len(self._header)}"
            return [bad_row(b"", [fault], digest)]
        named = dict(zip(self._header, cells, strict=True))
        if not _is_utf8(record):
            return [bad_row(b"", _find_not_utf8(named), digest)]
        return [self._pack(named, digest, now_s)]

    def _digest_record(self, record: bytes) -> bytes:
        return self.digest(digest_of(record.rstrip(_LINE_END)))

    def _pack(self, cells: Mapping[str, str], digest: bytes, now_s: int) -> PackedRow:
        faults = [
            f"column {name[:80]} is empty, and the handle is made from it"
            for name in self._fields
            if not cells[name]
        ]
        if sum(len(cells[name]) for name in self._fields) > ROW_OCTETS_MAX:
            faults.append(f"the handle would have more than {ROW_OCTETS_MAX:,} octets")
        handle = b""
        if not faults:
            handle = name_row(fill_template(self._options.handle, cells).encode(), faults)
        kind = self._find_kind(cells, faults)
        if kind is RowKind.DELETE:
            return pack_values(kind, handle, (), faults, digest)
        if self._options.template is not None:
            return self._pack_made(kind, handle, cells, faults, digest)
        if kind is RowKind.CREATE and not faults:
            plain = self._find_plain(cells, now_s)
            if plain:
                return RowKind.PLAIN.value, handle, pack_list(plain), digest
        return self._pack_any(kind, handle, cells, faults, digest)

    def _find_kind(self, cells: Mapping[str, str], faults: list[str]) -> RowKind:
        name = cells[self._options.operation] if self._options.operation else ""
        return read_operation(name or "create", faults)

    def _find_plain(self, cells: Mapping[str, str], now_s: int) -> list[bytes]:
        """Return the wire octets of every value, none when one of them is not plain."""
        values = []
        octets = 0
        for each, type_ in zip(self._options.maps, self._packed_types, strict=True):
            text = each.find_text(cells)
            if text is None:
                continue
            octets += len(text)
            if type_ is None or octets > ROW_OCTETS_MAX:
                return []
            values.append(pack_text(each.index, type_, text.encode(), now_s))
        return values

    def _pack_any(
        self,
        kind: RowKind,
        handle: bytes,
        cells: Mapping[str, str],
        faults: list[str],
        digest: bytes,
    ) -> PackedRow:
        values = self._find_values(cells, faults)
        if not values and not faults:
            faults.append("no values: all cells are empty")
        return pack_values(kind, handle, values, faults, digest)

    def _pack_made(
        self,
        kind: RowKind,
        handle: bytes,
        cells: Mapping[str, str],
        faults: list[str],
        digest: bytes,
    ) -> PackedRow:
        template = self._options.template
        assert template is not None
        others = encode_values(self._find_values(cells, faults))
        given = {name: cells[column] for column, name in self._attributes if cells[column]}
        request = Request(template.name, template.version, given, others, is_text=True)
        return pack_made(kind, handle, request, faults, digest)

    def _find_values(self, cells: Mapping[str, str], faults: list[str]) -> list[HandleValue]:
        """Return the values that the maps make; everything wrong is added to `faults`."""
        values: list[HandleValue] = []
        octets = 0
        for each in self._options.maps:
            if octets > ROW_OCTETS_MAX:  # one cell may stand in many values
                faults.append(f"the values take more than {ROW_OCTETS_MAX:,} octets")
                break
            try:
                value = each.find_value(cells)
            except RowsError as error:
                faults.append(str(error))
            else:
                values += [] if value is None else [value]
                octets += 0 if value is None else len(value.data)
        return values


def _digest_meaning(options: CsvOptions, header: list[str]) -> bytes:
    """Return the digest of all that says what the cells of a record are."""
    cells = [cell if is_utf8(cell) else cell.encode("utf-8", "surrogateescape") for cell in header]
    maps = [[each.columns, each.type.decode(), each.index] for each in options.maps]
    meaning: list[Any] = [cells, options.handle, maps, options.operation, options.delimiter]
    if options.template is not None:
        meaning += [options.template.text, options.template.attributes]
    return digest_of(msgpack.packb(meaning))


def _is_utf8(octets: bytes) -> bool:
    try:
        octets.decode()
    except UnicodeDecodeError:
        return False
    return True


def _find_not_utf8(cells: Mapping[str, str]) -> list[str]:
    """Return which cells hold octets that are not UTF-8."""
    return [f"column {name[:80]} is not UTF-8" for name, text in cells.items() if not is_utf8(text)]
