"""Rows on their way into requests: where each ends, and the digest of all up to it.

    a file   NDJSON, CSV or msgpack, perhaps inside gzip or zstd ┐
    rows     mappings, or lines of NDJSON                        ┴─> parts, one request each

A node counts rows, and tells them from others, by their octets alone; they are cut here as its
readers (`resolver.rows`) cut them, and not looked into. The digests are the chain of a receipt
(`registry.receipts`), so that both sides can compare how far they are.
"""

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec
import zstandard

from registry.receipts import START
from resolver.client.cutters import Cutter, LineCutter, ObjectCutter, RecordCutter
from resolver.client.errors import InvalidRequestError
from resolver.rows.content_coding import make_decoder
from resolver.rows.csv_stream import CsvOptions, parse_csv_options
from resolver.rows.errors import RowsError

PART_ROWS_MAX = 50_000
PART_OCTETS_MAX = 8_388_608  # kept until the node says that it has them
READ_OCTETS = 262_144

NDJSON, CSV, MSGPACK = "ndjson", "csv", "msgpack"
MEDIA_TYPES = {NDJSON: "application/x-ndjson", CSV: "text/csv", MSGPACK: "application/msgpack"}
_FORMATS = {".ndjson": NDJSON, ".jsonl": NDJSON, ".csv": CSV, ".msgpack": MSGPACK}
_CODINGS = {".gz": "gzip", ".zst": "zstd"}
_GZIP_BITS = 16 + zlib.MAX_WBITS

Line = Mapping[str, Any] | bytes
"""A row: an object as NDJSON has it, or one line of NDJSON."""


@dataclass(frozen=True, slots=True)
class CsvColumns:
    """What the columns of CSV are.

    Attributes:
        handle: the handle's template, such as `88.118.5/{gtin}`.
        maps: `COLUMN[,COLUMN...]=TYPE[:INDEX]` each.
        operation: the column that says create, replace or delete; "": none.
        delimiter: what separates the cells.
        template: what rows are made from, `CODE` or `CODE@VERSION`; "": no template.
        attributes: `COLUMN[:NAME]` each; of none, all columns not named otherwise are attributes.
    """

    handle: str
    maps: Sequence[str] = ()
    operation: str = ""
    delimiter: str = ","
    template: str = ""
    attributes: Sequence[str] = ()

    def query(self) -> dict[str, str | list[str]]:
        """Return the parameters of a request."""
        named: dict[str, str | list[str]] = {"handle": self.handle, "map": list(self.maps)}
        named |= {"operation": self.operation} if self.operation else {}
        named |= {"template": self.template} if self.template else {}
        named |= {"attribute": list(self.attributes)} if self.attributes else {}
        return named | {"delimiter": self.delimiter}

    def options(self) -> CsvOptions:
        """Return what a node makes of them. Raises: RowsError."""
        named = self.query().items()
        return parse_csv_options({name: [v] if isinstance(v, str) else v for name, v in named})


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows, one after another.

    Attributes:
        rows: their octets.
        digests: of all rows of the source up to and with each.
        is_last: none follow.
        octets_read: of the source so far, as they lie in the file.
    """

    rows: list[bytes]
    digests: list[bytes]
    is_last: bool
    octets_read: int


class RowSource:
    """Rows in parts; `parts` can be iterated once.

    Args:
        media_type: of the requests.
        query: their parameters.
        coding: their content coding, "" for none.
        cutter: cuts `pieces` into rows; what joins them again.
        pieces: octets, with how many of the source have been read.
        octets_total: of the source, None when nobody knows.
        is_file: only a file is read, so that may be done in a thread.
    """

    def __init__(
        self,
        media_type: str,
        cutter: Cutter,
        pieces: Iterable[tuple[int, bytes]],
        *,
        query: Mapping[str, str | list[str]] | None = None,
        coding: str = "",
        octets_total: int | None = None,
        is_file: bool = False,
    ) -> None:
        self.media_type = media_type
        self.query = dict(query or {})
        self.coding = coding
        self.octets_total = octets_total
        self.is_file = is_file
        self._cutter = cutter
        self._pieces = pieces
        self._octets_read = 0

    def parts(self) -> Iterator[Part]:
        """Yield all rows; the last part may be empty.

        Raises:
            InvalidRequestError: octets in which no rows can be found.
            OSError: the file cannot be read.
        """
        rows: list[bytes] = []
        octets, digest = 0, START
        for row in self._rows():
            rows.append(row)
            octets += len(row)
            if len(rows) >= PART_ROWS_MAX or octets >= PART_OCTETS_MAX:
                part = self._make_part(rows, digest, is_last=False)
                digest = part.digests[-1]
                yield part
                rows, octets = [], 0
        yield self._make_part(rows, digest, is_last=True)

    def _make_part(self, rows: list[bytes], digest: bytes, *, is_last: bool) -> Part:
        digests, sha256 = [], hashlib.sha256
        try:
            for each in self._cutter.digests(rows):
                digest = sha256(digest + each).digest()
                digests.append(digest)
        except RowsError as error:
            raise InvalidRequestError(error.what, hint=error.hint) from None
        return Part(rows, digests, is_last, self._octets_read)

    def body(self, rows: Sequence[bytes]) -> bytes:
        """Return the body of a request with these rows, coded as `coding` says."""
        body = self._cutter.join(rows)
        if self.coding == "gzip":
            packer = zlib.compressobj(level=1, wbits=_GZIP_BITS)
            return packer.compress(body) + packer.flush()
        if self.coding == "zstd":  # which has a checksum only when asked for
            return zstandard.ZstdCompressor(write_checksum=True).compress(body)
        return body

    def _rows(self) -> Iterator[bytes]:
        try:
            for octets_read, piece in self._pieces:
                self._octets_read = octets_read
                yield from self._cutter.feed(piece)
            yield from self._cutter.end()
        except RowsError as error:
            raise InvalidRequestError(error.what, hint=error.hint) from None


def open_source(
    source: Path | str | BinaryIO | Iterable[Line],
    format_: str = "",
    columns: CsvColumns | None = None,
) -> RowSource:
    """Return a source of rows.

    Args:
        source: a file, by its path or open for octets, or rows one by one.
        format_: of a file: ndjson, csv or msgpack; "": as its name says.
        columns: what the columns of CSV are.

    Raises:
        InvalidRequestError: a format that is not known, CSV without columns.
        OSError: the file cannot be read.
    """
    if isinstance(source, Path | str):
        path = Path(source)
        format_, coding = format_ or format_of(path), coding_of(path)
        cutter, query = _make_cutter(format_, columns)
        return RowSource(
            MEDIA_TYPES[format_],
            cutter,
            _read_file(path, coding),
            query=query,
            coding=coding,
            octets_total=path.stat().st_size,
            is_file=True,
        )
    if hasattr(source, "read"):
        cutter, query = _make_cutter(format_ or NDJSON, columns)
        media_type = MEDIA_TYPES[format_ or NDJSON]
        return RowSource(media_type, cutter, _read(cast(BinaryIO, source), ""), query=query)
    return RowSource(MEDIA_TYPES[NDJSON], LineCutter(), _encode(source))


def format_of(path: Path) -> str:
    """Return the format that a file's name says. Raises: InvalidRequestError."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _CODINGS:
        suffixes.pop()
    format_ = _FORMATS.get(suffixes[-1] if suffixes else "")
    if format_ is None:
        raise InvalidRequestError(
            f"the name of {path} does not say how its rows are written",
            hint=f"let it end in {', '.join(_FORMATS)}, or one of these with .gz or .zst",
        )
    return format_


def coding_of(path: Path) -> str:
    """Return the content coding that a file's name says, "" for none."""
    return _CODINGS.get(path.suffix.lower(), "")


def cut_rows(path: Path, format_: str, columns: CsvColumns | None) -> Iterator[tuple[int, bytes]]:
    """Yield every row of a file, with how many octets of the file have been read.

    Raises:
        InvalidRequestError: octets in which no rows can be found.
        OSError: the file cannot be read.
    """
    cutter, _ = _make_cutter(format_, columns)
    octets = 0
    try:
        for octets, piece in _read_file(path, coding_of(path)):
            for row in cutter.feed(piece):
                yield octets, row
        for row in cutter.end():
            yield octets, row
    except RowsError as error:
        raise InvalidRequestError(f"{path}: {error.what}", hint=error.hint) from None


def read_header(path: Path, columns: CsvColumns) -> bytes:
    """Return the header of a file of CSV, b"" when there is none. Raises: as `cut_rows`."""
    try:
        cutter = RecordCutter(columns.options())
        for _, piece in _read_file(path, coding_of(path)):
            for _ in cutter.feed(piece):
                break
            if cutter.header is not None:
                return cutter.header
        list(cutter.end())
    except RowsError as error:
        raise InvalidRequestError(f"{path}: {error.what}", hint=error.hint) from None
    return cutter.header or b""


def _make_cutter(
    format_: str, columns: CsvColumns | None
) -> tuple[Cutter, dict[str, str | list[str]]]:
    if format_ not in MEDIA_TYPES:
        raise InvalidRequestError(
            f"rows are not read as {format_!r}", hint=f"write {', '.join(MEDIA_TYPES)}"
        )
    if format_ != CSV:
        return _CUTTERS[format_](), {}
    if columns is None:
        raise InvalidRequestError(
            "CSV needs to know what its columns are",
            hint="give CsvColumns with the handle's template and maps",
        )
    try:
        return RecordCutter(columns.options()), columns.query()
    except RowsError as error:
        raise InvalidRequestError(error.what, hint=error.hint) from None


_CUTTERS: dict[str, Callable[[], Cutter]] = {NDJSON: LineCutter, MSGPACK: ObjectCutter}


def _read_file(path: Path, coding: str) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        yield from _read(file, coding)


def _read(file: BinaryIO, coding: str) -> Iterator[tuple[int, bytes]]:
    decoder, octets = make_decoder(coding), 0
    for data in iter(partial(file.read, READ_OCTETS), b""):
        octets += len(data)
        for piece in decoder.decode(data):
            yield octets, piece
    decoder.end()


def _encode(rows: Iterable[Line]) -> Iterator[tuple[int, bytes]]:
    encode = msgspec.json.Encoder().encode
    for row in rows:
        yield 0, (row if isinstance(row, bytes) else encode(row)) + b"\n"
