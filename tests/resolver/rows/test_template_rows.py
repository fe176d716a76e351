"""Rows made from templates, as NDJSON, msgpack and CSV have them: one request for the registry."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgpack
import pytest

from registry.stream_rows import PackedRow, RowKind
from registry.template_requests import Request, unpack_request
from resolver.rows.csv_templates import parse_csv_template
from resolver.rows.errors import RowsError
from resolver.rows.readers import make_reader

NOW_S = 1_795_000_000
FORM: dict[str, Any] = {
    "handle": "88.118/1",
    "template": "auto-part",
    "version": 2,
    "attributes": {
        "serial": "泵",
        "weight": 1.5,
        "tested": True,
        "plants": ["a", "b"],
        "old": None,
    },
    "values": [{"index": 1, "type": "URL", "data": "https://example.org/"}],
}
CSV = b"sn;weight;page;note\n42;1.5;https://e.cn/;\n"
OPTIONS = {"handle": ["88.118/{sn}"], "template": ["auto-part@2"], "delimiter": [";"]}


def read(
    octets: bytes, media_type: str, options: Mapping[str, Sequence[str]] | None = None
) -> list[PackedRow]:
    reader = make_reader(media_type, options or {}, lambda: NOW_S)
    return [*reader.feed(octets), *reader.end()]


def ndjson(form: Any) -> PackedRow:
    (row,) = read(json.dumps(form).encode() + b"\n", "application/x-ndjson")
    return row


def of(row: PackedRow) -> Request:
    assert row[0] == RowKind.TEMPLATE, row
    return unpack_request(row[2])


@pytest.mark.parametrize("media_type", ["application/x-ndjson", "application/msgpack"])
def test_objects_say_what_is_to_be_made(media_type: str) -> None:
    is_json = media_type.endswith("json")
    octets = json.dumps(FORM).encode() + b"\n" if is_json else msgpack.packb(FORM)
    (row,) = read(octets, media_type)
    request = of(row)
    assert row[1] == b"88.118/1"
    assert (request.template, request.version) == ("auto-part", 2)
    assert request.attributes == {
        name: content for name, content in FORM["attributes"].items() if content is not None
    }
    assert [value.type for value in request.other_values()] == [b"URL"]
    assert (request.is_text, request.replaces) == (False, False)


def test_a_row_may_replace() -> None:
    assert of(ndjson({**FORM, "operation": "replace"})).replaces


def test_all_faults_of_a_form_are_said_at_once() -> None:
    row = ndjson(
        {
            "handle": "/x",
            "template": 7,
            "version": 0,
            "attributes": {"a": {"b": 1}, "c": 2**64, "d": [[1]], "e": "ok"},
            "values": [{"index": 1}],
            "operation": "delete",
        }
    )
    assert row[0] == RowKind.BAD
    said = row[2].decode()
    for words in (
        "no prefix",
        "template is 7",
        "version is 0",
        "attribute 'a': an object is neither",
        "attribute 'c': a number of 65 bits has more than 64 bits",
        "attribute 'd': an array is neither",
        'lacks "type"',
        "a row that deletes has no template",
    ):
        assert words in said, words


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"attributes": None}, "attributes is missing"),
        ({"attributes": []}, "attributes is an array"),
        ({"attributes": {f"a{number}": 1 for number in range(257)}}, "257 attributes given"),
        ({"attributes": {"a": ["x"] * 10_001}}, "lists are too long"),
        ({"template": ""}, "template is ''"),
        ({"template": "a\n"}, "template is"),
        ({"template": "x" * 513}, "template is"),
        ({"version": True}, "version is True"),
        ({"version": 10_001}, "version is 10001"),
        ({"values": {}}, "values must be an array"),
        ({"values": [{}] * 2_049}, "2049 values given"),
    ],
)
def test_bad_forms(changes: dict[str, Any], words: str) -> None:
    row = ndjson({**FORM, **changes})
    assert row[0] == RowKind.BAD
    assert words in row[2].decode()


def test_text_that_is_not_utf8_is_refused() -> None:
    octets = msgpack.packb({**FORM, "attributes": {"a": "泵"}}).replace(
        "泵".encode(), b"\xff\xff\xff"
    )
    (row,) = read(octets, "application/msgpack")
    assert row[0] == RowKind.BAD


def test_all_columns_not_named_otherwise_are_attributes() -> None:
    (row,) = read(CSV, "text/csv", {**OPTIONS, "map": ["page=URL:1"]})
    request = of(row)
    assert (row[1], request.template, request.version) == (b"88.118/42", "auto-part", 2)
    assert (request.attributes, request.is_text) == ({"weight": "1.5"}, True)
    assert [(value.index, value.data) for value in request.other_values()] == [
        (1, b"https://e.cn/")
    ]


def test_columns_are_attributes_by_name() -> None:
    options = {**OPTIONS, "attribute": ["sn:serial", "weight"]}
    (row,) = read(CSV, "text/csv", options)
    assert of(row).attributes == {"serial": "42", "weight": "1.5"}


def test_the_digest_of_a_row_of_csv_is_over_its_template() -> None:
    digests = {
        read(CSV, "text/csv", {**OPTIONS, **more})[0][3]
        for more in (
            {},
            {"template": ["auto-part"]},
            {"attribute": ["sn"]},
            {"attribute": ["weight"]},
        )
    }
    assert len(digests) == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"template": ["a", "b"]}, "given 2 times"),
        ({"template": ["a@0"]}, "names no template"),
        ({"template": ["a@1x"]}, "names no template"),
        ({"template": ["a@10001"]}, "names no template"),
        ({"template": ["@1"]}, "names no template"),
        ({"attribute": [":x"]}, "names no attribute"),
        ({"attribute": ["x:"]}, "names no attribute"),
        ({"attribute": ["sn:a", "weight:a"]}, "twice"),
        ({"attribute": ["absent"]}, "no column absent"),
        ({"attribute": [f"c{number}" for number in range(257)]}, "257 attributes"),
    ],
)
def test_options_of_another_form(options: dict[str, list[str]], words: str) -> None:
    with pytest.raises(RowsError, match=words):
        read(CSV, "text/csv", {**OPTIONS, **options})


def test_attributes_need_a_template() -> None:
    with pytest.raises(RowsError, match="rows made from a template"):
        parse_csv_template([], ["a"])
    header = ";".join(f"c{number}" for number in range(300)).encode() + b"\n"
    with pytest.raises(RowsError, match="columns are left for attributes"):
        read(header, "text/csv", {**OPTIONS, "handle": ["88.118/{c1}"]})
