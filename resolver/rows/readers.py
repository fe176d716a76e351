"""From the media type of a request to the reader of its rows.

    application/x-ndjson   also application/ndjson, application/jsonl          `NdjsonReader`
    text/csv               options handle, map, operation, delimiter           `CsvReader`
    application/msgpack    also application/x-msgpack, application/vnd.msgpack  `MsgpackReader`

A reader holds at most one row of ROW_OCTETS_MAX octets, twice while that row is read. It gives the
same rows however the octets were cut.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from registry.stream_rows import PackedRow
from resolver.rows import csv_stream
from resolver.rows.csv_stream import CsvReader, parse_csv_options
from resolver.rows.errors import RowsError
from resolver.rows.msgpack_stream import MsgpackReader
from resolver.rows.ndjson_stream import NdjsonReader
from resolver.rows.pieces import Piece, pack_rows
from resolver.rows.tables import show_names

NDJSON_TYPES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})
CSV_TYPES = frozenset({"text/csv"})
MSGPACK_TYPES = frozenset(
    {"application/msgpack", "application/x-msgpack", "application/vnd.msgpack"}
)


class Reader(Protocol):
    """Rows out of octets as they arrive."""

    def feed(self, data: bytes) -> list[PackedRow]:
        """Return the rows that end in `data`, in order.

        Raises:
            RowsError: no more rows can be read from this stream, now or later.
        """
        ...

    def end(self) -> list[PackedRow]:
        """Return the row that ends with the stream, good or cut off. Raises: RowsError."""
        ...


def feed_packed(reader: Reader, data: bytes) -> Iterator[Piece]:
    """Yield the rows that end in `data`, packed; take them all before more is fed.

    Raises:
        RowsError: no more rows can be read from this stream, now or later.
    """
    if isinstance(reader, NdjsonReader):
        return reader.feed_packed(data)
    return pack_rows(reader.feed(data))


def make_reader(
    media_type: str, options: Mapping[str, Sequence[str]], now_s: Callable[[], float]
) -> Reader:
    """Return a reader of rows.

    Args:
        media_type: with its parameters, of which only charset is looked at.
        options: those of the format, each with all its texts; none but CSV has any.
        now_s: seconds since 1970, the timestamp of every value of a row that is plain.

    Raises:
        RowsError: a media type that is not read, or options that it does not have.
    """
    name = _check_charset(media_type)
    if name in CSV_TYPES:
        _check_names(name, options, csv_stream.OPTIONS)
        return CsvReader(parse_csv_options(options), now_s)
    if name not in NDJSON_TYPES | MSGPACK_TYPES:
        raise RowsError(
            f"rows are not read as {name[:80]!r}",
            "send application/x-ndjson, text/csv or application/msgpack",
        )
    _check_names(name, options, ())
    return NdjsonReader(now_s) if name in NDJSON_TYPES else MsgpackReader(now_s)


def _check_charset(media_type: str) -> str:
    """Return the media type alone, in lower case. Raises: RowsError: not in UTF-8."""
    name, _, parameters = media_type.partition(";")
    for each in parameters.split(";"):
        key, _, text = each.partition("=")
        charset = text.strip().strip('"').lower()
        if key.strip().lower() == "charset" and charset not in ("utf-8", "utf8", "us-ascii"):
            raise RowsError(f"rows are not read in {charset[:80]!r}", "send them in UTF-8")
    return name.strip().lower()


def _check_names(
    media_type: str, options: Mapping[str, Sequence[str]], known: Sequence[str]
) -> None:
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise RowsError(
            f"{media_type} has no option {show_names(unknown)}",
            f"its options are {', '.join(known) or 'none'}",
        )
