import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.value import HandleValue, Reference
from resolver.rows.errors import RowsError
from resolver.rows.ndjson import count_ndjson_rows, read_ndjson_rows
from resolver.rows.row import BadRow, Row, add_owners, open_rows
from resolver.rows.tables import count_csv_rows, parse_maps, read_csv_rows, to_json_object

MAPS = ("image=URL:1", "name=DESC:2", "fat,salt=NUTRIENTS:3")
HEADER = "gtin,name,image,fat,salt\n"


def read(text: str, template: str = "{prefix}/{gtin}") -> list[Row | BadRow]:
    lines = io.StringIO(text, newline="")
    return list(read_csv_rows(lines, parse_maps(MAPS), template, {"prefix": "88.118.5"}))


def test_a_line_becomes_a_handle_with_its_values() -> None:
    (row,) = read(HEADER + '042,"Mustard, ""hot""",https://example.org/p.jpg,1.50,\n')
    assert isinstance(row, Row)
    assert (row.number, row.handle) == (1, b"88.118.5/042")
    assert [(value.index, value.type, value.data) for value in row.values] == [
        (1, b"URL", b"https://example.org/p.jpg"),
        (2, b"DESC", b'Mustard, "hot"'),
        (3, b"NUTRIENTS", b'{"fat":1.50}'),
    ]


def test_an_empty_cell_makes_no_value() -> None:
    (row,) = read(HEADER + "042,Mustard,,,\n")
    assert isinstance(row, Row)
    assert [(value.index, value.data) for value in row.values] == [(2, b"Mustard"), (3, b"{}")]


def test_a_quoted_line_break_does_not_end_the_row() -> None:
    rows = read(HEADER + '1,"two\nlines",u,,\n2,next,u,,\n')
    assert [row.number for row in rows] == [1, 2]
    assert isinstance(rows[0], Row)
    assert rows[0].values[1].data == b"two\nlines"


def test_a_bad_row_does_not_stop_the_others() -> None:
    rows = read(HEADER + "1,short\n2,fine,u,,\n3,way,too,many,cells,here\n")
    assert [type(row) for row in rows] == [BadRow, Row, BadRow]
    assert isinstance(rows[0], BadRow)
    assert rows[0].reason == "2 cells, the header has 5"


def test_octets_that_are_not_utf8_are_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(HEADER.encode() + b"1,caf\xe9,u,,\n2,ok,u,,\n")
    with open_rows(path) as lines:
        rows = list(read_csv_rows(lines, parse_maps(MAPS), "{prefix}/{gtin}", {"prefix": "1"}))
    assert rows[0] == BadRow(1, b"", "column name is not UTF-8")
    assert isinstance(rows[1], Row)


def test_a_byte_order_mark_is_not_part_of_the_first_column(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"\xef\xbb\xbf" + HEADER.encode() + b"1,a,u,,\n")
    with open_rows(path) as lines:
        (row,) = read_csv_rows(lines, parse_maps(MAPS), "1/{gtin}", {})
    assert row.handle == b"1/1"


def test_a_handle_too_long_is_refused_here() -> None:
    (row,) = read(HEADER + f"{'9' * 2048},a,u,,\n")
    assert isinstance(row, BadRow)
    assert "2048" in row.reason


@pytest.mark.parametrize(
    ("text", "template", "words"),
    [
        ("", "{gtin}", "has no column"),
        ("gtin,name,image,fat\n", "{gtin}", "no column salt"),
        (HEADER, "{serial}", "no column serial"),
    ],
)
def test_a_missing_column_is_said_at_once(text: str, template: str, words: str) -> None:
    with pytest.raises(RowsError, match=words):
        read(text, template)


@pytest.mark.parametrize("text", ["name", "=URL", "name=", "name=URL:x"])
def test_not_a_map(text: str) -> None:
    with pytest.raises(RowsError, match="does not map a column"):
        parse_maps([text])


def test_indexes_of_maps() -> None:
    assert [each.index for each in parse_maps(["a=A", "b=B", "c=C:9"])] == [1, 2, 9]
    with pytest.raises(RowsError, match="twice"):
        parse_maps(["a=A:2", "b=B"])


@pytest.mark.parametrize(
    ("text", "written"),
    [("1e-05", "1e-05"), ("-0.5", "-0.5"), ("01", '"01"'), ("NaN", '"NaN"'), ("1,5", '"1,5"')],
)
def test_only_json_numbers_are_numbers(text: str, written: str) -> None:
    assert to_json_object({"fat": text}) == f'{{"fat":{written}}}'
    json.loads(to_json_object({"fat": text}))


def test_ndjson() -> None:
    lines = [
        '{"handle": "1/a", "values": [{"index": 1, "type": "URL", "data": "x"}]}\n',
        "\n",
        "nonsense\n",
        '{"handle": "1/b", "values": []}\n',
        '{"handle": "1/c", "values": [{"index": 0, "type": "URL", "data": "x"}]}\n',
        '{"handle": "\udcff", "values": []}\n',
    ]
    rows = list(read_ndjson_rows(lines))
    assert [row.number for row in rows] == [1, 2, 3, 4, 5]
    assert rows[0] == Row(1, b"1/a", (HandleValue(1, b"URL", b"x"),))
    assert [type(row) for row in rows[1:]] == [BadRow] * 4
    assert isinstance(rows[3], BadRow)
    assert "index" in rows[3].reason


def test_owners_stand_from_index_100_on() -> None:
    owner = Reference(b"0.NA/1", 300)

    def rows() -> Iterator[Row | BadRow]:
        yield Row(1, b"1/a", (HandleValue(100, b"URL", b"x"),))
        yield BadRow(2, b"", "bad")

    first, second = add_owners(rows(), [owner, owner])
    assert isinstance(first, Row)
    assert [(value.index, value.type) for value in first.values] == [
        (100, b"URL"),
        (101, b"HS_ADMIN"),
        (102, b"HS_ADMIN"),
    ]
    assert second == BadRow(2, b"", "bad")


def test_a_cell_never_names_a_file(tmp_path: Path) -> None:
    """A product is called "@ Ease"; read as a file's name it was refused, or worse, read."""
    secret = tmp_path / "secret"
    secret.write_text("hush")
    (row,) = read(HEADER + f"1,@{secret},u,,\n")
    assert isinstance(row, Row)
    assert row.values[1].data == f"@{secret}".encode()


def test_a_missing_column_is_said_before_the_first_row_is_asked_for() -> None:
    with pytest.raises(RowsError, match="no column name"):
        read_csv_rows(["gtin\n", "1\n"], parse_maps(["name=DESC"]), "1/{gtin}", {})


def test_a_first_line_that_is_no_header_is_said() -> None:
    with pytest.raises(RowsError, match="not a CSV header"):
        read_csv_rows(["x" * 300_000], parse_maps(["name=DESC"]), "1/{gtin}", {})


def test_a_handle_is_not_made_from_an_empty_cell() -> None:
    rows = list(read_csv_rows(["gtin,name\n", ",x\n"], parse_maps(["name=DESC"]), "1/{gtin}", {}))
    assert rows == [BadRow(1, b"", "column gtin is empty, and the handle is made from it")]


@pytest.mark.parametrize(
    "body",
    ["", "1,a\n2,b\n", '1,"two\nlines"\n\n2,b', "1\n2,b\n", "1," + "x" * 300_000 + "\n2,b\n"],
)
def test_csv_rows_are_counted_as_they_are_read(body: str) -> None:
    text = "gtin,name\n" + body
    lines = io.StringIO(text, newline="")
    rows = list(read_csv_rows(lines, parse_maps(["name=DESC"]), "1/{gtin}", {}))
    assert count_csv_rows(io.StringIO(text, newline=""), ",") == len(rows)


def test_ndjson_rows_are_counted_as_they_are_read() -> None:
    lines = ["{}\n", "\n", "  \n", "odd\n"]
    assert count_ndjson_rows(lines) == len(list(read_ndjson_rows(lines))) == 2
