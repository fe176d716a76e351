import hashlib
import struct
from typing import Any

import msgpack
import pytest
from hypothesis import given

from protocol.value import HandleValue, encode_values
from registry.stream_rows import RowKind
from resolver.rows import msgpack_stream
from resolver.rows.errors import RowsError
from resolver.rows.msgpack_stream import DEPTH_MAX
from resolver.rows.packed import ROW_OCTETS_MAX
from resolver.rows.readers import make_reader
from tests.resolver.rows.streams import (
    MSGPACK,
    NOW_S,
    cut,
    pieces_of,
    read,
    read_until_error,
    small_rows,
)

URL = {"index": 1, "type": "URL", "data": {"format": "string", "value": "https://e.org/螺丝"}}
DATA = "https://e.org/螺丝".encode()


def pack(*values: Any, handle: Any = "88/a", **more: Any) -> bytes:
    return msgpack.packb({"handle": handle, "values": values} | more)


def reason(octets: bytes) -> str:
    (row,) = read(MSGPACK, octets)
    assert row[0] == RowKind.BAD
    assert row[3] == hashlib.sha256(octets).digest()
    return row[2].decode()


@pytest.mark.parametrize("step", [1, 50, 65_536])
def test_rows(step: int) -> None:
    packed = [
        pack(URL),
        pack(URL | {"ttl": 60, "timestamp": "2026-11-21T00:00:01Z"}, operation="create"),
        pack(URL, operation="replace"),
        msgpack.packb({"operation": "delete", "handle": b"88/a"}),
        pack(URL | {"data": {"format": "string", "value": b"\xff"}}, handle=b"88/a"),
        pack(URL | {"data": b"\0"}),
        pack(URL | {"data": "螺丝", "ttl": 60}),
        pack(URL, row=7, why=[1.5, None]),
    ]
    rows = read(MSGPACK, *cut(b"".join(packed), step))
    assert [row[0] for row in rows] == [1, 1, 3, 4, 2, 2, 1, 2]
    assert {row[1] for row in rows} == {b"88/a"}
    assert [row[3] for row in rows] == [hashlib.sha256(each).digest() for each in packed]
    values = [
        HandleValue(1, b"URL", DATA, timestamp=NOW_S),
        HandleValue(1, b"URL", DATA, ttl=60, timestamp=NOW_S),
        HandleValue(1, b"URL", DATA),
        None,
        HandleValue(1, b"URL", b"\xff"),
        HandleValue(1, b"URL", b"\0"),
        HandleValue(1, b"URL", "螺丝".encode(), ttl=60, timestamp=NOW_S),
        HandleValue(1, b"URL", DATA),
    ]
    assert [row[2] for row in rows] == [encode_values([v]) if v else b"" for v in values]


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"\x05", "a row must be an object, not 5"),
        (b"\xc0", "a row must be an object, not null"),
        (b"\xd6\xff\0\0\0\0", "a row must be an object, not Timestamp"),
        (b"\xa1\xff", "a str of the row is not UTF-8"),
        (b"\x81\x80\x01", "unhashable"),
        (pack(URL, handle=b"\xff"), "octet 0 of the handle is not UTF-8"),
        (pack(URL, handle=""), "this one 0"),
        (pack(URL, URL), "value at index 1: the index is given twice"),
        (pack(URL | {"index": 2**64 - 1}), "values[0].index"),
        (pack(URL | {"ttl": b"x"}), "values[0].ttl"),
        (b"\x82\xa6handle\xa1a\xa6handle\xa1b", "'handle' is given twice"),
        (pack(URL).replace(b"\x83\xa5index\x01", b"\x84\xa5index\x01\xa5index\x02"), "'index' is"),
        (b"\x91" * 1_000 + b"\x01", "a row must be an object"),
        (pack(URL)[:-1], "the stream ends inside a row"),
    ],
)
def test_a_bad_row_says_why(octets: bytes, words: str) -> None:
    assert words in reason(octets)


@pytest.mark.parametrize("broken", [b"\xc1", b"\x91" * 2_000])
def test_nothing_is_read_behind_what_is_not_msgpack(broken: bytes) -> None:
    reader = make_reader(MSGPACK, {}, lambda: NOW_S)
    good, bad = reader.feed(pack(URL) + broken + pack(URL))
    assert (good[0], bad[0], bad[1]) == (RowKind.PLAIN, RowKind.BAD, b"")
    assert b"not msgpack" in bad[2]
    assert bad[3] == hashlib.sha256(b"").digest()
    with pytest.raises(RowsError, match="not msgpack"):
        reader.feed(b"\x01")
    assert reader.feed(b"") == reader.end() == []


@pytest.mark.parametrize("step", [65_536, 20_000_000])
@pytest.mark.parametrize(
    "long",
    [
        pack(URL | {"data": b"x" * 10_000_000}),
        pack(URL, x=[{"a": [1, 300, None, "é" * 300, b"b"]}] * 3_000, y=[[]] * 70_000, z=[1.5]),
        pack(URL, x=["y" * 65_530] * 20, y=msgpack.ExtType(5, b"x" * 70_000)),
    ],
)
def test_a_row_of_megabytes_is_dropped(step: int, long: bytes) -> None:
    assert len(long) > ROW_OCTETS_MAX
    data = pack(URL) + long + pack(URL, handle="88/b")
    good, bad, after = read(MSGPACK, *cut(data, step))
    assert bad[2:] == (b"row of more than 1,048,576 octets", hashlib.sha256(long).digest())
    assert (good[0], after[0], after[1]) == (RowKind.PLAIN, RowKind.PLAIN, b"88/b")
    (cut_off,) = read(MSGPACK, *cut(long[:-1], step))
    assert cut_off[2].startswith(b"row of more than")


def test_a_text_of_four_gigabytes_is_not_waited_for() -> None:
    reader = make_reader(MSGPACK, {}, lambda: NOW_S)
    for _ in range(40):
        assert reader.feed(b"\xdb\xff\xff\xff\xff" + bytes(65_536)) == []
    ((kind, _, words, _),) = reader.end()
    assert (kind, words) == (RowKind.BAD, b"row of more than 1,048,576 octets")


@pytest.mark.parametrize("depth", [DEPTH_MAX, DEPTH_MAX + 1])
def test_both_ways_of_finding_the_end_agree_on_depth(depth: int) -> None:
    unpacker = msgpack.Unpacker()
    unpacker.feed(b"\x91" * depth + b"\x01")
    end = msgpack_stream._ObjectEnd()
    if depth == DEPTH_MAX:
        unpacker.skip()
        assert end.find(b"\x91" * depth + b"\x01") == unpacker.tell()
    else:
        with pytest.raises(ValueError, match=r"^$"):
            unpacker.skip()
        with pytest.raises(ValueError, match="nested too deep"):
            end.find(b"\x91" * depth + b"\x01")


TOKENS = [
    pack(URL),
    b"\xc1",
    b"\x81",
    b"\x92",
    b"\xd9\x20",
    b"\xda\0\x21",
    b"\xdb\0\0\0\x22",
    b"\xc4\x09",
    b"\xc8\0\x10\x05",
    b"\xdc\0\x03",
    b"\xdf\0\0\0\x02",
    b"\xd8",
    b"\xcb" + struct.pack(">d", 1.5),
]


@given(pieces_of(TOKENS))
def test_where_the_octets_are_cut_makes_no_difference(pieces: list[bytes]) -> None:
    assert read_until_error(MSGPACK, pieces) == read_until_error(MSGPACK, [b"".join(pieces)])
    with small_rows(24):
        assert read_until_error(MSGPACK, pieces) == read_until_error(MSGPACK, [b"".join(pieces)])
