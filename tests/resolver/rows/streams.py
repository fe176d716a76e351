"""Readers fed in pieces: what the tests of every format have in common."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from unittest import mock

from hypothesis import strategies as st

from registry.stream_rows import PackedRow
from resolver.rows import csv_stream, held, msgpack_stream, ndjson_stream
from resolver.rows.errors import RowsError
from resolver.rows.readers import make_reader

NOW_S = 1_795_219_200
NDJSON, CSV, MSGPACK = "application/x-ndjson", "text/csv", "application/msgpack"


def read(
    media_type: str,
    *pieces: bytes,
    options: Mapping[str, Sequence[str]] | None = None,
) -> list[PackedRow]:
    """Return all rows of a stream that arrives in these pieces."""
    reader = make_reader(media_type, options or {}, lambda: NOW_S + 0.5)
    rows = [row for piece in pieces for row in reader.feed(piece)]
    return rows + reader.end()


def read_until_error(
    media_type: str,
    pieces: Sequence[bytes],
    options: Mapping[str, Sequence[str]] | None = None,
) -> list[PackedRow]:
    """Return the rows up to a RowsError."""
    reader = make_reader(media_type, options or {}, lambda: NOW_S)
    rows: list[PackedRow] = []
    try:
        for piece in pieces:
            rows += reader.feed(piece)
        rows += reader.end()
    except RowsError:
        pass
    return rows


def cut(data: bytes, step: int) -> list[bytes]:
    """Return the data in pieces of `step` octets."""
    return [data[start : start + step] for start in range(0, len(data), step)]


@st.composite
def pieces_of(draw: st.DrawFn, tokens: Sequence[bytes]) -> list[bytes]:
    """Draw a stream of tokens and any octets, and where it is cut."""
    parts = draw(st.lists(st.one_of(st.sampled_from(tokens), st.binary(max_size=6)), max_size=30))
    data = b"".join(parts)
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@contextmanager
def small_rows(octets: int) -> Iterator[None]:
    """Bound rows to so few octets that short examples are too long."""
    with (
        mock.patch.object(held, "ROW_OCTETS_MAX", octets),
        mock.patch.object(ndjson_stream, "ROW_OCTETS_MAX", octets),
        mock.patch.object(csv_stream, "ROW_OCTETS_MAX", octets),
        mock.patch.object(msgpack_stream, "ROW_OCTETS_MAX", octets),
        mock.patch.object(msgpack_stream, "SLICE_OCTETS", 7),
    ):
        yield
