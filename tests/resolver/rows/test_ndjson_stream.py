import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.json_forms import value_to_json
from protocol.types.hs_admin import HsAdmin
from protocol.value import HandleValue, Reference, encode_values, read_values
from protocol.wire import Reader
from registry.checks import check_values
from registry.stream_rows import RowKind
from resolver.fastpath import VARIABLE
from resolver.rows.packed import REASON_CHARACTERS_MAX, ROW_OCTETS_MAX
from tests.resolver.rows.streams import (
    NDJSON,
    NOW_S,
    cut,
    pieces_of,
    read,
    read_until_error,
    small_rows,
)

URL = {"index": 1, "type": "URL", "data": {"format": "string", "value": "https://e.org/螺丝"}}
NAME = {"index": 2, "type": "DESC", "data": {"format": "string", "value": '5" pipe, "hot"'}}
ADMIN = HandleValue(100, b"HS_ADMIN", HsAdmin(0xFFF, Reference(b"0.NA/88", 300)).encode())


@pytest.fixture(params=["", "python"], ids=["best", "python"], scope="module", autouse=True)
def _way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Read everything in both ways, where there are two."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, request.param)
        yield


def line(*values: Any, handle: str = "88/a", **more: Any) -> bytes:
    return json.dumps({"handle": handle, "values": values} | more, ensure_ascii=False).encode()


def reason(octets: bytes) -> str:
    (row,) = read(NDJSON, octets)
    assert row[0] == RowKind.BAD
    assert row[3] == hashlib.sha256(octets.strip()).digest()
    return row[2].decode()


@pytest.mark.parametrize("value", [URL, NAME])
def test_text_without_its_format_is_as_plain(value: dict[str, Any]) -> None:
    in_short = value | {"data": value["data"]["value"]}
    ((kind, handle, packed, digest),) = read(NDJSON, line(in_short, value | {"index": 7}))
    ((_, _, in_full, other),) = read(NDJSON, line(value, value | {"index": 7}))
    assert (kind, handle, packed) == (RowKind.PLAIN, b"88/a", in_full)
    assert digest != other  # the digest is of what was sent
    twice = line(in_short).replace(b'"data": ', b'"data": "", "data": ')
    assert "given twice" in reason(twice)


@pytest.mark.parametrize("name", [URL, NAME])
def test_a_plain_row(name: dict[str, Any]) -> None:
    octets = line(name | {"ttl": 60}, URL | {"index": 7, "timestamp": "2020-01-01T00:00:00Z"})
    ((kind, handle, packed, digest),) = read(NDJSON, b"  " + octets + b"\r\n")
    assert (kind, handle) == (RowKind.PLAIN, b"88/a")
    values = read_values(Reader(packed))
    assert [(value.index, value.ttl, value.timestamp) for value in values] == [
        (name["index"], 60, NOW_S),
        (7, 86_400, NOW_S),  # as single registrations are: by the server's clock
    ]
    assert values[0].data == name["data"]["value"].encode()
    assert check_values(values) is None
    assert encode_values(values) == packed
    assert digest == hashlib.sha256(octets).digest()


def test_a_member_given_twice_is_found_among_quotes_and_backslashes() -> None:
    name = NAME | {"data": {"format": "string", "value": 'a \\ "b" \\'}}
    octets = line(name)
    assert read(NDJSON, octets)[0][0] == RowKind.CREATE
    for twice in (b'"handle": ""', b'"\\u0068andle": ""'):
        assert "given twice" in reason(b"{" + twice + b", " + octets[1:])


def test_operations() -> None:
    rows = read(
        NDJSON,
        line(URL, operation="create")
        + b"\n"
        + line(URL, operation="replace")
        + b'\n{"handle": "88/a", "operation": "delete"}\n'
        + line(value_to_json(ADMIN)),
    )
    assert [row[0] for row in rows] == [
        RowKind.PLAIN,
        RowKind.REPLACE,
        RowKind.DELETE,
        RowKind.CREATE,
    ]
    assert rows[1][2] == encode_values([HandleValue(1, b"URL", "https://e.org/螺丝".encode())])
    assert rows[2][1:3] == (b"88/a", b"")
    assert rows[3][2] == encode_values([ADMIN])


def test_values_that_not_everybody_may_read_are_all_in_the_list() -> None:
    ((kind, _, packed, _),) = read(NDJSON, line(URL, NAME | {"permissions": "1100"}))
    assert kind == RowKind.CREATE
    assert [value.permission for value in read_values(Reader(packed))] == [0b1110, 0b1100]


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"{nonsense", "malformed"),
        (b"[1]", "a row must be an object, not an array"),
        (b'"\xff"', "octet 1 of the row is not UTF-8"),
        (b'{"handle": "\xff", "values": []}', "octet 12 of the row is not UTF-8"),
        (b'{"handle": "\\ud800", "values": []}', "surrogate pair"),
        (b'{"handle": 5, "values": [' + b"9" * 5_000 + b"]}", "out of range"),
        (b'{"values": [1]}', 'row lacks "handle"; values[0] must be an object, not 1'),
        (line(handle="88/a"), "no values"),
        (line(URL, handle=""), "1 to 2048 octets, this one 0"),
        (line(URL, handle="x" * 2_049), "this one 2049"),
        (line(URL, handle="/x"), "no prefix"),
        (line(URL, operation="remove"), "operation must be one of create, replace, delete"),
        (line(URL, operation=7), "not 7"),
        (line(URL, operation="delete"), 'a row that deletes has no "values"'),
        (line(URL | {"timestamp": ""}), "values[0].timestamp"),
        (line(URL | {"timestamp": "2026-02-30T00:00:00Z"}), "values[0].timestamp"),
        (line(URL | {"timestamp": "2126-01-01T00:00:00Z"}), "the years 1901 to 2038"),
        (line(URL, URL), "value at index 1: the index is given twice"),
        (line(*[URL] * 2_049), "2049 values given, a handle has at most 2048"),
        (b'{"handle": "a", "handle": "b", "values": []}', "'handle' is given twice"),
        (line(URL).replace(b'"index": 1', b'"index": 1, "index": 2'), "'index' is given twice"),
        (b'{"handle": "88/a", "x": ' + b"[" * 100_000 + b"}", "nested too deep"),
    ],
)
def test_a_bad_row_says_why(octets: bytes, words: str) -> None:
    assert words in reason(octets)


def test_all_of_what_is_wrong_is_said() -> None:
    faults = (URL | {"index": 0}, URL, {"index": 2}, URL, value_to_json(ADMIN) | {"data": "x"})
    words = reason(line(*faults, handle="/x", operation="?"))
    for fault in (
        "no prefix",
        "operation must be",
        "values[0].index is 0",
        'values[2] lacks "type"',
        "value at index 100: HS_ADMIN data",
        "value at index 1: the index is given twice",
    ):
        assert fault in words


def test_a_reason_has_an_end() -> None:
    words = reason(line(*[{"index": index} for index in range(1, 2_000)]))
    assert len(words) < REASON_CHARACTERS_MAX + 5_000
    assert words.endswith("more faults")


def test_the_name_of_a_bad_row_is_given_as_far_as_it_is_one() -> None:
    assert read(NDJSON, line({}))[0][1] == b"88/a"
    assert read(NDJSON, line({}, handle="x" * 3_000))[0][1] == b""


def test_blank_lines_and_the_byte_order_mark_are_no_rows() -> None:
    octets = b"\xef\xbb\xbf" + line(URL) + b"\n\n  \r\n" + line(URL)
    rows = read(NDJSON, *cut(octets, 1))
    assert [row[0] for row in rows] == [RowKind.PLAIN] * 2
    assert rows[0] == rows[1]
    assert read(NDJSON, b"\xef\xbb")[0][0] == RowKind.BAD
    assert read(NDJSON) == read(NDJSON, b"\xef\xbb\xbf", b"\n") == []


def test_a_row_cut_off_is_bad() -> None:
    assert reason(line(URL)[:-1]) == "Input data was truncated"


@pytest.mark.parametrize("step", [65_536, 20_000_000])
def test_a_row_of_ten_megabytes_is_dropped(step: int) -> None:
    long = line(URL, handle="x" * 10_000_000)
    data = line(URL) + b"\n  " + long + b" \r\n" + line(URL, handle="88/b")
    good, bad, after = read(NDJSON, *cut(data, step))
    assert bad == (
        RowKind.BAD,
        b"",
        b"row of more than 1,048,576 octets",
        hashlib.sha256(long).digest(),
    )
    assert (good[0], after[0], after[1]) == (RowKind.PLAIN, RowKind.PLAIN, b"88/b")


def test_the_longest_row_is_read() -> None:
    long = line(URL, x="")
    long = line(URL, x="y" * (ROW_OCTETS_MAX - len(long)))
    assert len(long) == ROW_OCTETS_MAX
    for pieces in ([long + b"\n"], cut(long + b"\n", 4_096)):
        assert [row[0] for row in read(NDJSON, *pieces)] == [RowKind.CREATE]
    assert read(NDJSON, long + b" \n")[0][0] == RowKind.BAD


FORMS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([URL]),
    lambda items: (
        st.lists(items, max_size=4)
        | st.dictionaries(
            st.sampled_from(["index", "type", "data", "format", "value", "ttl", "timestamp"])
            | st.sampled_from(["permissions", "references", "handle", "values", "operation"]),
            items | st.sampled_from(["admin", "vlist", "site", "key", "hex", "base64", "string"]),
            max_size=6,
        )
    ),
    max_leaves=20,
)


@given(FORMS, FORMS)
def test_any_form_is_a_row_or_a_bad_one(form: Any, value: Any) -> None:
    for each in (form, {"handle": "88/a", "values": [value]}, {"handle": form, "values": form}):
        octets = json.dumps(each).encode()
        ((kind, handle, packed, digest),) = read(NDJSON, octets)
        assert digest == hashlib.sha256(octets).digest()
        if kind in (RowKind.PLAIN, RowKind.CREATE, RowKind.REPLACE):
            assert handle
            assert check_values(read_values(Reader(packed))) is None


@given(
    pieces_of([b"\n", b"\r\n", b" ", line(URL), line(NAME), b'{"handle"', b"\xef\xbb\xbf", b"\0"])
)
def test_where_the_octets_are_cut_makes_no_difference(pieces: list[bytes]) -> None:
    assert read_until_error(NDJSON, pieces) == read_until_error(NDJSON, [b"".join(pieces)])
    with small_rows(16):
        assert read_until_error(NDJSON, pieces) == read_until_error(NDJSON, [b"".join(pieces)])
