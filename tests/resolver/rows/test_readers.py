import tracemalloc

import pytest

from resolver.rows.errors import RowsError
from resolver.rows.readers import Reader, make_reader
from tests.resolver.rows.streams import CSV, MSGPACK, NDJSON, NOW_S

TABLE = {"handle": ["88/{id}"], "map": ["name=DESC"]}


def make(media_type: str, options: dict[str, list[str]]) -> Reader:
    return make_reader(media_type, options, lambda: NOW_S)


@pytest.mark.parametrize(
    "media_type",
    [
        "application/x-ndjson",
        "application/ndjson; charset=utf-8",
        'Application/JSONL ; Charset="UTF-8"; profile=x',
        "application/msgpack",
        "application/x-msgpack",
        "application/vnd.msgpack",
    ],
)
def test_media_types(media_type: str) -> None:
    assert make(media_type, {}).end() == []


@pytest.mark.parametrize(
    ("media_type", "options", "words"),
    [
        ("", {}, "rows are not read as ''"),
        ("application/json", {}, "rows are not read as 'application/json'"),
        ("text/csv; charset=gb18030", TABLE, "rows are not read in 'gb18030'"),
        (NDJSON, TABLE, "application/x-ndjson has no option handle, map"),
        (CSV, TABLE | {"maps": ["x"]}, "text/csv has no option maps"),
        (CSV, {}, "CSV needs to know"),
        (CSV, {"handle": ["88/{id}"]}, "CSV needs to know"),
        (CSV, TABLE | {"handle": ["a", "b"]}, "the option handle is given 2 times"),
        (CSV, TABLE | {"map": ["name"]}, "does not map a column"),
        (CSV, TABLE | {"map": ["name=DESC:0"]}, "does not map a column"),
        (CSV, TABLE | {"map": ["name=DESC:2147483648"]}, "does not map a column"),
        (CSV, TABLE | {"map": ["name=\udcff"]}, "does not map a column"),
        (CSV, TABLE | {"map": ["a=A:2", "b=B"]}, "map uses the indexes"),
        (CSV, TABLE | {"map": ["a=A"] * 2_049}, "a handle has at most 2048 values"),
        (CSV, TABLE | {"handle": ["\udcff"]}, "not UTF-8"),
        *((CSV, TABLE | {"delimiter": [text]}, "delimiter") for text in ("", ",,", '"', "\n", "é")),
    ],
)
def test_what_is_not_known_is_said(
    media_type: str, options: dict[str, list[str]], words: str
) -> None:
    with pytest.raises(RowsError, match=words) as caught:
        make(media_type, options)
    assert caught.value.hint or "values" in words


@pytest.mark.parametrize(
    ("media_type", "first", "more"),
    [
        (NDJSON, b"", b"x" * 65_536),
        (NDJSON, b"", b" " * 65_536),
        (NDJSON, b"", b"x"),
        (CSV, b"id,name\n", b'"' * 65_535),
        (CSV, b'id,name\n1,"', b"\n" * 65_536),
        (MSGPACK, b"\xdd\xff\xff\xff\xff", b"\x80" * 65_536),
        (MSGPACK, b"\xdb\xff\xff\xff\xff", b"x" * 65_536),
    ],
)
def test_little_is_held_of_a_row_that_does_not_end(
    media_type: str, first: bytes, more: bytes
) -> None:
    reader = make(media_type, TABLE if media_type == CSV else {})
    tracemalloc.start()
    try:
        assert reader.feed(first) == []
        for _ in range(20 if len(more) > 1 else 2_000):
            assert reader.feed(more) == []
            assert tracemalloc.get_traced_memory()[0] < 2_500_000
    finally:
        tracemalloc.stop()
