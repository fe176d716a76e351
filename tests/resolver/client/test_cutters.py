"""Rows are cut as a node's readers cut them, however the octets come."""

import json
from collections.abc import Iterable

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.client.cutters import Cutter, LineCutter, ObjectCutter, RecordCutter
from resolver.client.sources import CsvColumns
from resolver.rows.errors import RowsError
from resolver.rows.readers import make_reader

COLUMNS = CsvColumns("88/{id}", ("name=DESC",))
PIECES = st.lists(st.integers(1, 40), min_size=1, max_size=8)
TEXTS = st.text(st.sampled_from('ab1 \t\r\n",;{}é\ufeff\v\f\x85')).map(str.encode)


def cut(octets: bytes, sizes: list[int]) -> Iterable[bytes]:
    start = 0
    while start < len(octets):
        for size in sizes:
            yield octets[start : start + size]
            start += size


def rows_of(cutter: Cutter, pieces: Iterable[bytes]) -> list[bytes]:
    rows = [row for piece in pieces for row in cutter.feed(piece)]
    return [*rows, *cutter.end()]


def node_digests(media_type: str, octets: bytes) -> list[bytes]:
    options = {"handle": [COLUMNS.handle], "map": list(COLUMNS.maps)}
    reader = make_reader(media_type, options if media_type == "text/csv" else {}, lambda: 0.0)
    return [row[3] for row in [*reader.feed(octets), *reader.end()]]


@given(TEXTS, PIECES)
def test_lines(octets: bytes, sizes: list[int]) -> None:
    cutter = LineCutter()
    rows = rows_of(cutter, cut(octets, sizes))
    digests = node_digests("application/x-ndjson", octets)
    assert list(cutter.digests(rows)) == digests
    assert node_digests("application/x-ndjson", cutter.join(rows)) == digests


@given(TEXTS, PIECES)
def test_records(octets: bytes, sizes: list[int]) -> None:
    octets = b"id,name\n" + octets
    cutter = RecordCutter(COLUMNS.options())
    rows = rows_of(cutter, cut(octets, sizes))
    digests = node_digests("text/csv", octets)
    assert list(cutter.digests(rows)) == digests
    assert node_digests("text/csv", cutter.join(rows)) == digests


@given(st.lists(st.one_of(st.integers(), st.text(), st.lists(st.text()))), st.binary(), PIECES)
def test_objects(forms: list[object], tail: bytes, sizes: list[int]) -> None:
    octets = b"".join(msgpack.packb(form if form != 2**64 else 0) for form in _packed(forms))
    cutter = ObjectCutter()
    rows = rows_of(cutter, cut(octets, sizes))
    assert list(cutter.digests(rows)) == node_digests("application/msgpack", octets)
    assert cutter.join(rows) == octets
    try:
        rows = rows_of(ObjectCutter(), cut(octets + tail, sizes))
    except RowsError:
        return
    assert b"".join(rows) == octets + tail


def _packed(forms: list[object]) -> list[object]:
    return [form % 2**63 if isinstance(form, int) else form for form in forms]


def test_rows_in_quotes_and_digests_in_parts() -> None:
    cutter = RecordCutter(COLUMNS.options())
    rows = rows_of(cutter, [b'\xef\xbb\xbfid,name\r\n1,"a\nb"\r\n\r\n2,c'])
    assert rows == [b'1,"a\nb"', b"2,c"]
    assert cutter.header == b"id,name"
    parts = [*cutter.digests(rows[:1]), *cutter.digests(rows[1:])]
    assert parts == node_digests("text/csv", b'id,name\n1,"a\nb"\n2,c')


def test_what_is_no_row_ends_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resolver.client.cutters.ROW_OCTETS_MAX", 100)
    with pytest.raises(RowsError, match="more than 100 octets"):
        LineCutter().feed(b"x" * 101)
    with pytest.raises(RowsError, match="more than 100 octets"):
        list(RecordCutter(COLUMNS.options()).feed(b'"' + b"x" * 100))
    with pytest.raises(RowsError, match="not msgpack"):
        list(ObjectCutter().feed(msgpack.packb(json.loads("{}")) + b"\xc1"))
