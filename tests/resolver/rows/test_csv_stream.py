import csv
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codes import Permission
from protocol.types.hs_admin import decode_hs_admin
from protocol.value import HandleValue, read_values
from protocol.wire import Reader
from registry.stream_rows import PackedRow, RowKind
from resolver.rows.csv_stream import COLUMNS_MAX
from resolver.rows.errors import RowsError
from resolver.rows.packed import ROW_OCTETS_MAX
from resolver.rows.row import Row, open_rows
from resolver.rows.tables import parse_maps, read_csv_rows
from tests.resolver.rows.streams import (
    CSV,
    NOW_S,
    cut,
    pieces_of,
    read,
    read_until_error,
    small_rows,
)

# 1,000 real products: Open Food Facts, ODbL 1.0, see ABOUT.md beside them.
PRODUCTS = Path(__file__).parents[3] / "deploy" / "demo" / "products-1k.csv"
PRODUCT_MAPS = ["image=URL", "name=DESC", "fat_g,carbohydrate_g,protein_g,salt_g=NUTRIENTS"]
OPTIONS = {"handle": ["88/{id}"], "map": ["name=DESC:2", "url=URL:1"], "operation": ["do"]}
HEADER = b"id,name,url,do\n"
MEANING = [
    ["id", "name", "url", "do"],
    "88/{id}",
    [[["name"], "DESC", 2], [["url"], "URL", 1]],
    "do",
    ",",
]


def digest_of(record: bytes, meaning: Sequence[object] = MEANING) -> bytes:
    packed = msgpack.packb(meaning)
    return hashlib.sha256(
        hashlib.sha256(record).digest() + hashlib.sha256(packed).digest()
    ).digest()


def read_rows(body: bytes) -> list[PackedRow]:
    return read(CSV, HEADER + body, options=OPTIONS)


def reason(body: bytes) -> str:
    (row,) = read_rows(body)
    assert row[0] == RowKind.BAD
    assert row[3] == digest_of(body.rstrip(b"\r\n"))
    return row[2].decode()


@pytest.mark.parametrize("step", [1, 100, 65_536])
def test_real_products_are_read_as_the_importer_reads_them(step: int) -> None:
    lines = PRODUCTS.read_bytes().split(b"\n")[:201]
    with open_rows(PRODUCTS) as file:
        expected = [
            row
            for row in read_csv_rows(file, parse_maps(PRODUCT_MAPS), "88.118.5/{gtin}", {})
            if isinstance(row, Row) and row.number <= 200
        ]
    options = {"handle": ["88.118.5/{gtin}"], "map": PRODUCT_MAPS}
    rows = read(CSV, *cut(b"\n".join(lines), step), options=options)
    assert len(rows) == len(expected) == 200
    maps = [
        [["image"], "URL", 1],
        [["name"], "DESC", 2],
        [["fat_g", "carbohydrate_g", "protein_g", "salt_g"], "NUTRIENTS", 3],
    ]
    meaning = [lines[0].decode().split(","), "88.118.5/{gtin}", maps, "", ","]
    for (kind, handle, packed, digest), row, line in zip(rows, expected, lines[1:], strict=True):
        assert (kind, handle) == (RowKind.PLAIN, row.handle)
        values = read_values(Reader(packed))
        assert {value.timestamp for value in values} == {NOW_S}
        assert [(v.index, v.type, v.data) for v in values] == [
            (v.index, v.type, v.data) for v in row.values
        ]
        assert digest == digest_of(line, meaning)


@pytest.mark.parametrize(
    ("header", "changed"),
    [
        (b"id,url,name,do", {}),
        (b"id,name,url,do", {"map": ["url=URL:1", "name=DESC:2"]}),
        (b"id,name,url,do", {"map": ["name=DESC:3", "url=URL:1"]}),
        (b"id,name,url,do", {"map": ["name=TEXT:2", "url=URL:1"]}),
        (b"id,name,url,do", {"map": ["id,name=DESC:2", "url=URL:1"]}),
        (b"id,name,url,do", {"map": ["name=DESC:2"]}),
        (b"id,name,url,do", {"handle": ["88/A{id}"]}),
        (b"id,name,url,do", {"operation": []}),
        (b"do;name;url;id", {"delimiter": [";"]}),
    ],
)
@pytest.mark.parametrize("step", [3, 2_000_000])
def test_the_same_octets_of_another_meaning_have_other_digests(
    header: bytes, changed: dict[str, list[str]], step: int
) -> None:
    long = b"y" * 300 + b"\n"
    body = b"1,a,b,\n2,a,b,delete\n3\n,,,\n4,\xff,b,\n5,a\rb,,\n" + long + b'6,"'
    digests = []
    for first, options in ((HEADER, OPTIONS), (header + b"\n", OPTIONS | changed)):
        with small_rows(200):
            pieces = cut(first + body, step)
            digests.append([row[3] for row in read(CSV, *pieces, options=options)])
    assert len(digests[0]) == len(digests[1]) == 8
    assert len({*digests[0], *digests[1]}) == 16


def test_what_means_the_same_has_the_same_digest() -> None:
    ((_, _, _, expected),) = read_rows(b"1,a,b,\n")
    assert expected == digest_of(b"1,a,b,")
    for header, line_end in (
        (b"\xef\xbb\xbfid,name,url,do\r\n", b"\r\n"),
        (b'"id",name,"url",do\n', b""),
    ):
        (row,) = read(CSV, header + b"1,a,b," + line_end, options=OPTIONS | {"delimiter": [","]})
        assert row[3] == expected


def test_columns_that_are_not_utf_8_are_in_the_digest_as_octets() -> None:
    options = {"handle": ["88/{id}"], "map": ["螺,id=META"], "delimiter": ["\t"]}
    (row,) = read(CSV, b"id\t\xe9t\xe9\t\xe8\x9e\xba\n1\tx\ty\n", options=options)
    meaning = [["id", b"\xe9t\xe9", "螺"], "88/{id}", [[["螺", "id"], "META", 1]], "", "\t"]
    assert row[0] == RowKind.PLAIN
    assert row[3] == digest_of(b"1\tx\ty", meaning)


def test_operations() -> None:
    rows = read_rows(b"1,a,,\n2,a,b,replace\r\n3,,,delete\n\n4,a,,create")
    assert [row[0] for row in rows] == [
        RowKind.PLAIN,
        RowKind.REPLACE,
        RowKind.DELETE,
        RowKind.PLAIN,
    ]
    assert [row[1] for row in rows] == [b"88/1", b"88/2", b"88/3", b"88/4"]
    assert read_values(Reader(rows[1][2])) == (
        HandleValue(2, b"DESC", b"a"),
        HandleValue(1, b"URL", b"b"),
    )
    assert rows[2][2] == b""


def test_a_quoted_cell_may_hold_anything() -> None:
    body = b'1,"two\r\nlines, ""quoted""",u,\n2,5" pipe,u,\n'
    rows = read_rows(body)
    names = [read_values(Reader(row[2]))[0].data for row in rows]
    assert names == [b'two\r\nlines, "quoted"', b'5" pipe']


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"1,a\n", "2 cells, the header has 4"),
        (b"," * 1_000_000 + b"\n", "1000001 cells, the header has 4"),
        (b"1,,,\n", "no values: all cells are empty"),
        (b"1,caf\xe9,\xff,\n", "column name is not UTF-8; column url is not UTF-8"),
        (b",a,b,\n", "column id is empty, and the handle is made from it"),
        (b"9" * 3_000 + b",a,b,\n", "this one 3003"),
        (b"1,a,b,remove\n", "operation must be one of create, replace, delete"),
        (b",a,b,remove\n", "column id is empty, and the handle is made from it; operation"),
        (b"1,a\rb,c,\n", "not CSV"),
        (b'1,"a,b,\n', "the stream ends inside a quoted cell"),
    ],
)
def test_a_bad_row_says_why(body: bytes, words: str) -> None:
    assert words in reason(body)


def test_nul_octets_are_text() -> None:
    ((kind, _, packed, _),) = read_rows(b"1,a\0b,,\n")
    assert (kind, read_values(Reader(packed))[0].data) == (RowKind.PLAIN, b"a\0b")


def test_types_with_a_form_of_their_own() -> None:
    options = {"handle": ["88/{id}"], "map": ["admin=HS_ADMIN:100", "key=HS_SECKEY:300"]}
    body = b"id,admin,key\n1,300:0.NA/88,hush\n2,nobody,x\n"
    good, bad = read(CSV, body, options=options)
    assert good[0] == RowKind.CREATE
    admin, key = read_values(Reader(good[2]))
    assert decode_hs_admin(admin.data).admin == (b"0.NA/88", 300)
    assert not key.permission & Permission.PUBLIC_READ
    assert (bad[0], bad[1], bad[2]) == (RowKind.BAD, b"88/2", b"'nobody' is not an identity")


def test_tables_of_deletions_need_no_map() -> None:
    options = {"handle": ["{id}"], "operation": ["do"], "delimiter": ["\t"]}
    (row,) = read(CSV, b"\xef\xbb\xbfid\tdo\n88/1\tdelete\n", options=options)
    assert row[:3] == (RowKind.DELETE, b"88/1", b"")


@pytest.mark.parametrize("step", [65_536, 20_000_000])
def test_a_row_of_ten_megabytes_is_dropped(step: int) -> None:
    long = b'1,"' + b'x""\r\n' * 2_000_000 + b'",u,'
    data = HEADER + b"0,a,b,\n" + long + b"\r\n2,a,b,\n"
    good, bad, after = read(CSV, *cut(data, step), options=OPTIONS)
    assert bad[2:] == (b"row of more than 1,048,576 octets", digest_of(long))
    assert (good[0], after[0], after[1]) == (RowKind.PLAIN, RowKind.PLAIN, b"88/2")


def test_the_longest_row_is_read() -> None:
    long = b"1," + b"x" * (ROW_OCTETS_MAX - 4) + b",,"
    assert len(long) == ROW_OCTETS_MAX + 0
    for pieces in ([HEADER + long + b"\n"], cut(HEADER + long, 4_096)):
        assert [row[0] for row in read(CSV, *pieces, options=OPTIONS)] == [RowKind.PLAIN]
    assert read_rows(long + b"\r\n")[0][0] == RowKind.BAD


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no column do, id, name, url"),
        (b"id,name\n", "no column do, url"),
        (b"id,name,url,do,name\n", "names name twice"),
        (b"id,name,url,do" + b",x" * COLUMNS_MAX + b"\n", "1,004 columns, at most 1,000"),
        (b"x" * (ROW_OCTETS_MAX + 1), "the header has more than 1,048,576 octets"),
        (b'id,"name\n1,2\n', "quoted cell of the header"),
        (b"id\rname\n", "not a CSV header"),
        (b"\xff\n", "no column"),
    ],
)
@pytest.mark.parametrize("step", [1, 3_000_000])
def test_a_bad_header_is_said(data: bytes, words: str, step: int) -> None:
    if step == 1 and len(data) > 100_000:
        step = 1_000
    with pytest.raises(RowsError, match=words) as caught:
        read(CSV, *cut(data, step), options=OPTIONS)
    caught.value.hint.encode()


@pytest.mark.parametrize("delimiter", [",", ";", "|", "\t", " ", "a"])
@given(text=st.text(alphabet='a,;|\t "\n'))
def test_records_end_where_the_csv_module_ends_them(delimiter: str, text: str) -> None:
    text = "a" + text + "\n"
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    expected = [cells for cells in lines if cells]
    header = delimiter.join(["id", "x"]) + "\n"
    options = {"handle": ["{id}"], "map": ["x=X"], "delimiter": [delimiter]}
    rows = read(CSV, (header + text).encode(), options=options)
    if rows[-1][2] == b"the stream ends inside a quoted cell":
        del rows[-1], expected[-1]
    assert len(rows) == len(expected)
    for row, cells in zip(rows, expected, strict=True):
        if len(cells) != 2:
            assert row[2] == f"{len(cells)} cells, the header has 2".encode()
        elif row[0] == RowKind.PLAIN:
            assert row[1] == cells[0].encode()
            assert read_values(Reader(row[2]))[0].data == cells[1].encode()


@given(pieces_of([b"\n", b"\r\n", b",", b'"', b'""', b"1,a,b,\n", b"delete", b"\0", b"\xef"]))
def test_where_the_octets_are_cut_makes_no_difference(pieces: list[bytes]) -> None:
    for first in (HEADER, b"\xef\xbb\xbf" + HEADER, b""):
        whole = [first + b"".join(pieces)]
        parts = [*cut(first, 4), *pieces]
        assert read_until_error(CSV, parts, OPTIONS) == read_until_error(CSV, whole, OPTIONS)
        with small_rows(len(HEADER)):
            assert read_until_error(CSV, parts, OPTIONS) == read_until_error(CSV, whole, OPTIONS)


def test_one_cell_in_many_values_is_not_multiplied() -> None:
    options = {"handle": ["88/{id}"], "map": [f"name=T{at}:{at}" for at in range(1, 600)]}
    body = b"id,name\n1," + b"x" * 1_000_000 + b"\n2,y\n"
    long, short = read(CSV, body, options=options)
    assert (long[0], b"the values take more than" in long[2]) == (RowKind.BAD, True)
    assert len(long[2]) < 1_000
    assert short[0] == RowKind.PLAIN


def test_one_cell_in_a_handle_many_times_is_not_multiplied() -> None:
    options = {"handle": ["88/" + "{id}" * 600], "map": ["name=T"]}
    (row,) = read(CSV, b"id,name\n" + b"x" * 1_000_000 + b",y\n", options=options)
    assert (row[0], b"the handle would have more than" in row[2]) == (RowKind.BAD, True)
