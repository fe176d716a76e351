import hashlib
import importlib
import json
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from protocol.value import HandleValue, encode_values
from registry.checks import CHECKED_TYPES
from registry.schema import VALUES_MAX
from registry.stream_rows import PackedRow, RowKind
from resolver.fastpath import VARIABLE
from resolver.rows import native
from resolver.rows.native import choose_lines, is_native_built
from resolver.rows.ndjson_stream import NdjsonReader
from resolver.rows.packed import ROW_OCTETS_MAX
from resolver.rows.pieces import ROWS_MAX, pack_rows
from resolver.rows.readers import feed_packed
from tests.resolver.rows.lines import hold_to_python
from tests.resolver.rows.streams import NDJSON, NOW_S, read

needs_native = pytest.mark.skipif(
    not is_native_built(), reason="native code for rows was not built here"
)
URL = {"index": 1, "type": "URL", "data": {"format": "string", "value": "https://e.org/螺丝"}}


def line(*values: Any, **more: Any) -> bytes:
    return json.dumps({"handle": "88/a", "values": values} | more, ensure_ascii=False).encode()


def read_lines(data: bytes, octets_max: int = ROW_OCTETS_MAX) -> list[PackedRow | bytes]:
    """Read in native code; a line that is left to Python is given as it is."""
    module = importlib.import_module("resolver._rows")
    rows: list[PackedRow | bytes] = module.read_lines(
        data, NOW_S, octets_max, hashlib.sha256, bytes
    )
    return rows


def pack_lines(
    data: bytes, start: int = 0, *, rows_max: int = 9, packed_max: int = 1 << 20
) -> tuple[int, bytes, int]:
    """Pack in native code; a line that is left to Python is packed as it is."""
    module = importlib.import_module("resolver._rows")
    packed: tuple[int, bytes, int] = module.pack_lines(
        data, start, NOW_S, ROW_OCTETS_MAX, hashlib.sha256, msgpack.packb, rows_max, packed_max
    )
    return packed


@needs_native
@pytest.mark.parametrize(
    ("octets", "values"),
    [
        (line(URL), [HandleValue(1, b"URL", "https://e.org/螺丝".encode(), timestamp=NOW_S)]),
        (
            line(
                URL | {"data": {"value": "", "format": "string"}, "type": ""},
                URL | {"index": 2**31 - 1, "ttl": 0, "timestamp": "2020-01-01T00:00:00Z"},
                operation="create",
            ),
            [
                HandleValue(1, b"", b"", timestamp=NOW_S),
                HandleValue(
                    2**31 - 1, b"URL", "https://e.org/螺丝".encode(), ttl=0, timestamp=NOW_S
                ),
            ],
        ),
        (
            line(URL | {"data": "螺丝"}, URL | {"index": 2, "data": "", "ttl": 60}),
            [
                HandleValue(1, b"URL", "螺丝".encode(), timestamp=NOW_S),
                HandleValue(2, b"URL", b"", ttl=60, timestamp=NOW_S),
            ],
        ),
        (
            line(*[URL | {"index": index + 1} for index in range(VALUES_MAX)]),
            [
                HandleValue(index + 1, b"URL", "https://e.org/螺丝".encode(), timestamp=NOW_S)
                for index in range(VALUES_MAX)
            ],
        ),
    ],
)
def test_what_is_read(octets: bytes, values: list[HandleValue]) -> None:
    row = (RowKind.PLAIN, b"88/a", encode_values(values), hashlib.sha256(octets).digest())
    assert read_lines(b"\n \v\f" + octets + b" \r\n\n") == [row]
    assert read(NDJSON, octets) == [row]


@needs_native
@pytest.mark.parametrize(
    "octets",
    [
        line(),
        line(URL, handle=""),
        line(URL, handle="/a"),
        line(URL, handle="a" * 2_049),
        line(URL, operation="replace"),
        line(URL, x=1),
        line(URL, URL),
        line(URL | {"index": 2}, URL),
        line(URL | {"index": 0}),
        line(URL | {"index": 2**31}),
        line(URL | {"ttl": -1}),
        line(URL | {"ttl": 1.0}),
        line(URL | {"ttl": "2026-11-21T00:00:00Z"}),
        line(URL | {"timestamp": "2026-11-21T00:00:00+08:00"}),
        line(URL | {"permissions": "1110"}),
        line(URL | {"data": 'a "quote"'}),
        line(URL | {"data": None}),
        line(URL | {"data": ["text"]}),
        line(URL | {"data": {"format": "string", "value": {"value": "text"}}}),
        line(URL | {"data": {"format": "string", "value": 'a "quote"'}}),
        line(*[URL | {"index": index + 1} for index in range(VALUES_MAX + 1)]),
        b'{"handle": "88/a", ' + line(URL)[1:],
        b"\xef\xbb\xbf" + line(URL),
        line(URL) + b"}",
        b"{}",
    ],
)
def test_what_is_left_to_python(octets: bytes) -> None:
    assert read_lines(b" " + octets + b" ") == [octets]


@needs_native
def test_types_whose_data_must_make_sense_are_left_to_python() -> None:
    for type_ in CHECKED_TYPES:
        octets = line(URL | {"type": type_.decode()})
        assert read_lines(octets) == [octets]


@needs_native
def test_a_row_that_is_too_long_is_left_with_its_end() -> None:
    octets = line(URL)
    assert read_lines(b" " + octets, len(octets))[0] != octets
    assert read_lines(b" " + octets + b" \r\n\n", len(octets)) == [octets + b" \r"]
    with pytest.raises(ValueError, match="31 bits"):
        read_lines(octets, 2**31)


@needs_native
def test_nothing_is_no_rows() -> None:
    assert read_lines(b"") == read_lines(b"\n \r\n\n") == []
    assert pack_lines(b"") == (0, b"", 0)
    assert pack_lines(b"\n \r\n\n") == (0, b"", 5)
    assert pack_lines(b"ab", 2) == pack_lines(b"ab", 3) == (0, b"", 2)


@needs_native
@pytest.mark.parametrize("octets", [0, 255, 256, 65_535, 65_536, 200_000])
def test_rows_are_packed_as_the_same_rows_are(octets: int) -> None:
    long = URL | {"data": {"format": "string", "value": "x" * octets}}
    data = b"\n".join((line(long), b" ", line(URL, handle="b" * 300), b"nonsense", line(long)))
    assert hold_to_python(importlib.import_module("resolver._rows"), data) == 3


@needs_native
def test_rows_are_packed_until_there_are_enough() -> None:
    data = b"\n".join([line(URL)] * 5)
    one = msgpack.packb(read_lines(line(URL))[0])
    step = len(line(URL)) + 1
    assert pack_lines(data, rows_max=2) == (2, 2 * one, 2 * step)
    assert pack_lines(data, 2 * step, rows_max=9) == (3, 3 * one, len(data))
    assert pack_lines(data, packed_max=len(one)) == (1, one, step)
    assert pack_lines(data, packed_max=len(one) + 1) == (2, 2 * one, 2 * step)
    with pytest.raises(ValueError, match="from octet -1"):
        pack_lines(data, -1)


@needs_native
def test_a_digest_of_another_length_is_refused() -> None:
    module = importlib.import_module("resolver._rows")
    with pytest.raises(ValueError, match="has 20 octets, not 32"):
        module.pack_lines(line(URL), 0, NOW_S, 9_999, hashlib.sha1, msgpack.packb, 9, 9)


@pytest.mark.parametrize("environment", ["native", "python"])
def test_a_reader_packs_what_it_reads(environment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, environment)
    rows = [line(URL, handle=f"88/{number}") for number in range(3_000)]
    rows[7:9] = [b"nonsense", line(URL, operation="replace")]
    data = b"\n".join(rows) + b"\n"
    reader = NdjsonReader(lambda: NOW_S)
    slices = [data[at : at + 40_000] for at in range(0, len(data), 40_000)]
    pieces = [piece for each in slices for piece in feed_packed(reader, each)]
    expected = b"".join(map(msgpack.packb, read(NDJSON, data)))
    assert b"".join(piece.octets for piece in pieces) == expected
    assert sum(piece.rows for piece in pieces) == 3_000
    assert max(piece.rows for piece in pieces) <= ROWS_MAX


def test_values_that_take_too_many_octets_are_refused_as_they_are_packed() -> None:
    row = (RowKind.CREATE.value, b"88/a", bytes(ROW_OCTETS_MAX + 1), bytes(32))
    ((count, octets),) = pack_rows([row])
    kind, handle, words, digest = msgpack.unpackb(octets)
    assert (count, kind, handle, digest) == (1, RowKind.BAD, b"88/a", bytes(32))
    assert b"the values take 1,048,577 octets" in words


@needs_native
def test_an_error_of_the_other_way_is_passed_on() -> None:
    def fail(line: bytes) -> PackedRow:
        raise RuntimeError(line)

    def fail_to_pack(line: bytes) -> bytes:
        raise RuntimeError(line)

    native_rows = choose_lines({})
    assert native_rows is not None
    with pytest.raises(RuntimeError, match="nonsense"):
        native_rows.read_lines(b"nonsense", NOW_S, 100, hashlib.sha256, fail)
    with pytest.raises(RuntimeError, match="nonsense"):
        native_rows.pack_lines(b"nonsense", 0, NOW_S, 100, hashlib.sha256, fail_to_pack, 9, 9)


def test_the_environment_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (choose_lines({}) is not None) is is_native_built()
    assert choose_lines({VARIABLE: "native"}) is choose_lines({})
    assert choose_lines({VARIABLE: "python"}) is choose_lines({VARIABLE: "off"}) is None
    monkeypatch.setattr(native, "native_rows", None)
    assert choose_lines({}) is None
    assert not is_native_built()


@pytest.mark.parametrize("choose", [lambda: None, choose_lines])
def test_both_ways_read_the_same(
    monkeypatch: pytest.MonkeyPatch, choose: Callable[[], object]
) -> None:
    monkeypatch.setattr("resolver.rows.ndjson_stream.choose_lines", choose)
    octets = b"\n".join([line(URL), b"nonsense", line(URL, operation="replace"), b" " * 99, b"{}"])
    reader = NdjsonReader(lambda: NOW_S)
    rows = reader.feed(octets) + reader.end()
    assert [row[0] for row in rows] == [RowKind.PLAIN, RowKind.BAD, RowKind.REPLACE, RowKind.BAD]
    assert [row[3] for row in rows] == [
        hashlib.sha256(each).digest() for each in octets.split(b"\n") if each.strip()
    ]
