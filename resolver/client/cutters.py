"""Where one row of a file ends and the next begins, exactly as a node's readers find it.

A node counts rows, and tells them from others, by their octets alone; so rows are cut here as
`resolver.rows` cuts them, and not looked into. Blank ones are none.
"""

import time
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import msgpack

from registry.stream_rows import PackedRow
from resolver.rows.csv_stream import CsvOptions, CsvReader
from resolver.rows.errors import RowsError
from resolver.rows.held import Opening
from resolver.rows.packed import digest_of
from resolver.rows.record_ends import RecordEnds

ROW_OCTETS_MAX = 67_108_864  # longer ones mean that this is no such file; nodes refuse 1 MiB
_LINE_END = b"\r\n"


class Cutter(Protocol):
    """Cuts octets into rows, and joins rows again."""

    def feed(self, data: bytes) -> Iterable[bytes]:
        """Return the rows that end in `data`. Raises: RowsError."""
        ...

    def end(self) -> Iterable[bytes]:
        """Return the row that ends with the source."""
        ...

    def join(self, rows: Sequence[bytes]) -> bytes:
        """Return the rows as one body."""
        ...

    def digests(self, rows: Sequence[bytes]) -> Iterable[bytes]:
        """Return the digest of each row; rows in their order, each once. Raises: RowsError."""
        ...


class LineCutter:
    """NDJSON: a row stands between line feeds, without the white space around it."""

    def __init__(self) -> None:
        self._opening = Opening()
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the rows that end in `data`. Raises: RowsError."""
        lines = self._opening.skip(data).split(b"\n")
        lines[0] = self._rest + lines[0]
        self._rest = _checked(lines.pop())
        return [row for line in lines if (row := line.strip())]

    def end(self) -> list[bytes]:
        """Return the row without a line feed."""
        row = (self._rest + self._opening.end()).strip()
        return [row] if row else []

    def join(self, rows: Sequence[bytes]) -> bytes:
        """Return lines."""
        return _marked(b"\n".join([*rows, b""]))

    def digests(self, rows: Sequence[bytes]) -> Iterator[bytes]:
        """Yield the digest of each row."""
        return map(digest_of, rows)


class RecordCutter:
    """CSV: a row ends with a line feed outside quotes; the header stands before every body."""

    def __init__(self, options: CsvOptions) -> None:
        self._options = options
        self._reader: CsvReader | None = None
        self._opening = Opening()
        self._ends = RecordEnds(ord(options.delimiter))
        self._rest = b""
        self.header: bytes | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the rows that end in `data`. Raises: RowsError."""
        data, start = self._opening.skip(data), 0
        while (end := self._ends.find(data, start)) >= 0:
            record, self._rest = self._rest + data[start:end], b""
            yield from self._take(record)
            start = end + 1
        self._rest = _checked(self._rest + data[start:])

    def end(self) -> Iterator[bytes]:
        """Yield the row without a line feed."""
        yield from self.feed(self._opening.end())
        if self._rest:
            yield from self._take(self._rest)

    def _take(self, record: bytes) -> Iterator[bytes]:
        record = record.rstrip(_LINE_END)
        if self.header is None:
            self.header = record
        elif record:
            yield record

    def join(self, rows: Sequence[bytes]) -> bytes:
        """Return the header and the records."""
        return b"" if self.header is None else _marked(b"\n".join([self.header, *rows, b""]))

    def digests(self, rows: Sequence[bytes]) -> Iterator[bytes]:
        """Yield the digest of each row, which is over what the columns are too."""
        read: list[PackedRow] = []
        if self._reader is None:
            self._reader = CsvReader(self._options, time.time)
            read += self._reader.feed(_marked((self.header or b"") + b"\n"))
        read += self._reader.feed(b"".join([row + b"\n" for row in rows]))
        if len(read) < len(rows):  # the last one ends inside quotes
            read += self._reader.end()
        assert len(read) == len(rows), f"{len(rows)} rows were cut, {len(read)} are read"
        return (digest for _, _, _, digest in read)


class ObjectCutter:
    """msgpack: every object is a row."""

    def __init__(self) -> None:
        self._unpacker = msgpack.Unpacker(raw=True, max_buffer_size=ROW_OCTETS_MAX)
        self._rest = bytearray()
        self._passed = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the rows that end in `data`. Raises: RowsError."""
        self._rest += data
        try:
            self._unpacker.feed(data)
            start = 0
            while True:
                end = self._find_end()
                if end is None:
                    break
                yield bytes(self._rest[start:end])
                start = end
        except (ValueError, msgpack.UnpackException) as error:
            words = str(error) or type(error).__name__
            raise RowsError(f"this is not msgpack: {words}", "write every row as a map") from None
        del self._rest[:start]
        self._passed += start

    def _find_end(self) -> int | None:
        try:
            self._unpacker.skip()
        except msgpack.OutOfData:
            return None
        return self._unpacker.tell() - self._passed

    def end(self) -> list[bytes]:
        """Return the row that is cut off."""
        return [bytes(self._rest)] if self._rest else []

    def join(self, rows: Sequence[bytes]) -> bytes:
        """Return the objects."""
        return b"".join(rows)

    def digests(self, rows: Sequence[bytes]) -> Iterator[bytes]:
        """Yield the digest of each row."""
        return map(digest_of, rows)


def _marked(body: bytes) -> bytes:
    """Return a body whose first octets are not taken for a byte order mark of the body's own."""
    return BOM_UTF8 + body if body.startswith(BOM_UTF8) else body


def _checked(rest: bytes) -> bytes:
    if len(rest) > ROW_OCTETS_MAX:
        raise RowsError(
            f"a row of more than {ROW_OCTETS_MAX:,} octets", "is this the format that was named?"
        )
    return rest
