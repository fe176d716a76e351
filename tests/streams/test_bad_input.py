"""Rows that are too long, broken or twice there: each has its words, its neighbours are fine."""

import base64
import gzip
import json
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

from resolver.api.registrations import CHANGED_RUNS_MAX
from tests.nodes import Node
from tests.streams.client import (
    NDJSON,
    Streams,
    Upload,
    deletion,
    digest_of,
    row,
    row_by_row,
    rows,
    values_of,
)
from tests.streams.memory import growth_below

MEGABYTE = 1_000_000
GROWTH_MAX = 24 * MEGABYTE  # a worker holds a row of a megabyte a few times over
CSV = "text/csv"
MSGPACK = "application/msgpack"
DEPTH = 100_000
BATCH_ROWS = 4_096


@pytest.fixture(scope="module", autouse=True)
def warm(streams: Streams) -> None:
    """What a process takes the first time it reads and writes rows is not growth."""
    streams.post("warm", b"".join(rows(1, 2 * BATCH_ROWS, "warm-")))


def check_between(streams: Streams, node: Node, key: str, stem: str, line: bytes) -> str:
    """Send a bad line between good rows; return what is said of it."""
    before, after = list(rows(1, 3, stem)), list(rows(4, 6, stem))
    answer = streams.post(key, b"".join([*before, line, *after]))
    assert answer.status == 200, answer
    assert row_by_row(answer.verdicts) == ["created"] * 3 + ["refused"] + ["created"] * 3
    assert all(values_of(node, f"{stem}{number}") for number in range(1, 7))
    assert answer.last["digest"] == digest_of([*before, line, *after]).hex()
    refused = answer.verdict(4)
    assert refused["responseCode"] == 202
    return str(refused["message"])


def test_row_of_ten_megabytes(streams: Streams, node: Node, key: str, stem: str) -> None:
    with growth_below(node, GROWTH_MAX):
        words = check_between(streams, node, key, stem, row(f"{stem}long", "x" * (10 * MEGABYTE)))
    assert words == "row of more than 1,048,576 octets"
    assert values_of(node, f"{stem}long") is None


def test_row_of_ten_megabytes_of_csv_and_of_msgpack(
    streams: Streams, node: Node, key: str, stem: str
) -> None:
    options = {"handle": "88/{code}", "map": "name=DESC"}
    table = f'code,name\n{stem}1,a\n{stem}2,"{"x" * 10 * MEGABYTE}"\n{stem}3,a\n'
    packed = [msgpack.packb(json.loads(line)) for line in (row(f"{stem}4"), row(f"{stem}5"))]
    packed.insert(1, msgpack.packb(json.loads(row(f"{stem}6", "x" * 10 * MEGABYTE))))
    with growth_below(node, GROWTH_MAX):
        of_csv = streams.post(key, table.encode(), CSV, query=options)
        of_msgpack = streams.post(f"{key}-msgpack", b"".join(packed), MSGPACK)
    for answer in (of_csv, of_msgpack):
        assert row_by_row(answer.verdicts) == ["created", "refused", "created"]
        assert answer.verdict(2)["message"] == "row of more than 1,048,576 octets"


def test_rows_of_nearly_a_megabyte(streams: Streams, node: Node, key: str, stem: str) -> None:
    lines = [row(f"{stem}{number}", "x" * MEGABYTE) for number in range(1, 9)]
    with growth_below(node, GROWTH_MAX):
        answer = streams.post(key, b"".join([*lines, row(f"{stem}9")]))
    assert row_by_row(answer.verdicts) == ["refused"] * 8 + ["created"]
    assert answer.verdict(8)["message"]


def test_csv_header_of_a_million_columns(streams: Streams, node: Node, key: str, stem: str) -> None:
    options = {"handle": "88/{code}", "map": "name=DESC"}
    unnamed = "code,name" + "," * MEGABYTE
    named = ",".join(f"column{number}" for number in range(MEGABYTE))
    with growth_below(node, 4 * GROWTH_MAX):  # a list of a million cells, for a moment
        short = streams.post(key, f"{unnamed}\n{stem}1,a\n".encode(), CSV, query=options)
        long = streams.post(key, f"{named}\n{stem}1,a\n".encode(), CSV, query=options)
    assert (short.status, long.status) == (400, 400)
    assert "1,000,002 columns, at most 1,000 are read" in short.last["message"]
    assert "more than 1,048,576 octets" in long.last["message"]
    assert (short.last["next"], long.last["next"]) == (1, 1)
    assert values_of(node, f"{stem}1") is None


def test_csv_row_of_a_million_cells(streams: Streams, node: Node, key: str, stem: str) -> None:
    options = {"handle": "88/{code}", "map": "name=DESC"}
    table = f"code,name\n{stem}1,a\n{stem}2{',' * MEGABYTE}\n{stem}3,a\n"
    answer = streams.post(key, table.encode(), CSV, query=options)
    assert row_by_row(answer.verdicts) == ["created", "refused", "created"]
    assert answer.verdict(2)["message"] == "1000001 cells, the header has 2"


@pytest.mark.parametrize(
    ("place", "words"), [("text", "is not UTF-8"), ("handle", "is not UTF-8"), ("end", "JSON")]
)
def test_octets_that_are_not_utf8(
    streams: Streams, node: Node, key: str, stem: str, place: str, words: str
) -> None:
    bad = {
        "text": row(f"{stem}bad", "QQ").replace(b"QQ", b"\xc3\x28\xff"),
        "handle": row("QQ").replace(b"88/QQ", b"88/\xed\xa0\x80"),
        "end": row(f"{stem}bad")[:-1] + b"\0\xff\n",
    }
    line = bad[place]
    said = check_between(streams, node, key, stem, line)
    assert words in said or "is not UTF-8" in said
    assert values_of(node, f"{stem}bad") is None


def test_octets_that_are_not_utf8_in_csv_and_msgpack(
    streams: Streams, node: Node, key: str, stem: str
) -> None:
    options = {"handle": "88/{code}", "map": "name=DESC"}
    table = f"code,name\n{stem}1,a\n{stem}2,QQ\n{stem}QQ,a\n{stem}3,a\n".encode()
    answer = streams.post(key, table.replace(b"QQ", b"\xff\xfe"), CSV, query=options)
    assert row_by_row(answer.verdicts) == ["created", "refused", "refused", "created"]
    assert [answer.verdict(at)["message"] for at in (2, 3)] == [
        "column name is not UTF-8",
        "column code is not UTF-8",
    ]
    forms = [json.loads(line) for line in rows(4, 6, stem)]
    forms[1]["handle"] = f"88/{stem}".encode() + b"\xff\xfe"
    body = b"".join(msgpack.packb(form) for form in forms)
    answer = streams.post(f"{key}-msgpack", body, MSGPACK)
    assert row_by_row(answer.verdicts) == ["created", "refused", "created"]
    assert "of the handle is not UTF-8" in answer.verdict(2)["message"]


def test_raw_nul_octets(streams: Streams, node: Node, key: str, stem: str) -> None:
    said = check_between(
        streams, node, key, stem, row(f"{stem}nul", "a\0b").replace(b"\\u0000", b"\0")
    )
    assert said
    assert values_of(node, f"{stem}nul") is None


def test_nul_octets_that_are_written_as_json_has_them(
    streams: Streams, node: Node, key: str, stem: str
) -> None:
    answer = streams.post(key, row(f"{stem}nul", "a\0b") + row(f"{stem}\0nul"))
    assert row_by_row(answer.verdicts) == ["created", "created"]
    found = values_of(node, f"{stem}nul")
    assert found is not None
    assert base64.b64decode(found[1]) == b"a\0b"
    assert values_of(node, f"{stem}%00nul") is not None


@pytest.mark.parametrize(
    "template",
    [
        "%s\n",
        '{"handle": "88/deep", "values": %s}\n',
        '{"handle": "88/deep", "values": [{"index": 1, "type": "URL", "data": %s}]}\n',
        '{"handle": "88/deep", "more": %s, "values": []}\n',
    ],
    ids=["row", "values", "data", "unknown"],
)
@pytest.mark.parametrize(("opens", "closes"), [("[", "]"), ('{"a":', "}")], ids=["list", "object"])
def test_nested_a_hundred_thousand_deep(
    streams: Streams, node: Node, key: str, stem: str, template: str, opens: str, closes: str
) -> None:
    line = template % (opens * DEPTH + "1" + closes * DEPTH)
    said = check_between(streams, node, key, stem, line.encode())
    assert "nested too deep" in said or "depth" in said, said


def test_msgpack_nested_a_hundred_thousand_deep(
    streams: Streams, node: Node, key: str, stem: str
) -> None:
    good = [msgpack.packb(json.loads(line)) for line in rows(1, 3, stem)]
    answer = streams.post(key, b"".join([*good, b"\x91" * DEPTH, b"\x01", *good]), MSGPACK)
    assert answer.status in (200, 400)
    assert streams.state(key)["created"] == 3
    verdicts = streams.verdicts(key)
    assert row_by_row(verdicts) == ["created"] * 3 + ["refused"]
    assert "no row can be found behind it" in verdicts[-1]["message"]


def test_duplicate_rows(streams: Streams, node: Node, key: str, stem: str) -> None:
    lines = [row(f"{stem}1"), row(f"{stem}1"), row(f"{stem}1", "other"), deletion(f"{stem}1")]
    third = row(f"{stem}1", "third")
    lines += [
        third,
        row(f"{stem}1"),
        third.replace(b"88/" + stem.encode(), b"88/" + stem.upper().encode()),
    ]
    answer = streams.post(key, b"".join(lines))
    assert row_by_row(answer.verdicts) == [
        *("created", "unchanged", "refused", "deleted"),
        *("created", "refused", "unchanged"),
    ]
    assert answer.verdict(3)["responseCode"] == 101
    found = values_of(node, f"{stem}1")
    assert found is not None
    assert found[1] == "third"


def test_the_same_identifier_with_other_content_in_another_stream(
    streams: Streams, node: Node, key: str, stem: str
) -> None:
    streams.post(key, row(f"{stem}1"))
    answer = streams.post(f"{key}-other", row(f"{stem}1", "other") + row(f"{stem}1"))
    assert row_by_row(answer.verdicts) == ["refused", "unchanged"]
    assert f"88/{stem}1 is registered already" in answer.verdict(1)["message"]
    found = values_of(node, f"{stem}1")
    assert found is not None
    assert found[1] == f"no. {stem}1"


def test_a_stream_that_is_sent_again_changed_tells_so_in_bounds(
    streams: Streams, key: str, stem: str
) -> None:
    count = BATCH_ROWS + 1_000
    streams.post(key, b"".join(rows(1, count, stem)))
    body = (row(f"{stem}{number}", "other") for number in range(1, count + 1))
    answer = streams.post(key, b"".join(body))
    assert answer.last["changedCount"] == count
    assert answer.last["changed"] == list(range(1, 1_001))
    assert row_by_row(answer.verdicts) == ["refused"] * count
    assert answer.last["created"] == count


def test_another_stream_under_the_same_key_is_stopped(
    streams: Streams, key: str, stem: str
) -> None:
    count = 2 * CHANGED_RUNS_MAX + 2 * BATCH_ROWS
    streams.post(key, b"".join(rows(1, count, stem)))
    body = [row(f"{stem}{number}", *["x"] * (number % 2)) for number in range(1, count + 1)]
    answer = streams.post(key, b"".join(body), query={"end": "false"})
    assert answer.status == 409
    assert "under another key" in answer.last["message"]
    assert (answer.last["next"], answer.last["changed"][:3]) == (count + 1, [1, 3, 5])


def test_body_cut_off_inside_a_row(streams: Streams, node: Node, key: str, stem: str) -> None:
    last = row(f"{stem}4")
    with Upload(streams, key) as upload:
        upload.send(b"".join(rows(1, 3, stem)) + last[: len(last) // 2])
        streams.wait_for_rows(key, 3)
    assert streams.state(key)["rows"] == 3
    assert values_of(node, f"{stem}4") is None
    answer = streams.post(key, last, query={"from": 4})
    assert (answer.last["rows"], answer.last["created"]) == (4, 4)
    assert answer.last["digest"] == digest_of(rows(1, 4, stem)).hex()


def test_body_that_ends_inside_a_row(streams: Streams, node: Node, key: str, stem: str) -> None:
    last = row(f"{stem}4")
    answer = streams.post(key, b"".join(rows(1, 3, stem)) + last[: len(last) // 2])
    assert row_by_row(answer.verdicts) == ["created"] * 3 + ["refused"]
    assert "truncated" in answer.verdict(4)["message"]
    assert values_of(node, f"{stem}4") is None


def test_body_of_another_type_than_said(streams: Streams, key: str, stem: str) -> None:
    packed = b"".join(msgpack.packb(json.loads(line)) for line in rows(1, 20, stem))
    assert set(row_by_row(streams.post(key, packed, NDJSON).verdicts)) == {"refused"}
    lines = b"".join(rows(1, 20, stem))
    answer = streams.post(f"{key}-2", lines, CSV, query={"handle": "88/{a}", "map": "a=DESC"})
    assert answer.status == 400
    assert "no column a" in answer.last["message"]
    # Each octet of a text is a number to msgpack, so each is a row, and none of them is one.
    answer = streams.post(f"{key}-3", lines, MSGPACK)
    assert answer.last["created"] == 0
    assert set(row_by_row(answer.verdicts)) == {"refused"}


def test_handles_as_long_as_can_be(streams: Streams, node: Node, key: str, stem: str) -> None:
    """Rows whose names are longer than all they say go to the registrar in frames of its size."""
    names = [stem + f"{number:05d}" + "n" * 2_000 for number in range(4 * BATCH_ROWS)]
    body = b"".join(deletion(name) for name in names)
    answer = streams.post(key, gzip.compress(body, 1), Content_Encoding="gzip")
    assert answer.status == 200, answer.last
    assert answer.last["refused"] == len(names)
    assert answer.verdict(1)["responseCode"] == 100
    assert streams.post(f"{key}-2", b"".join(rows(1, 2, stem))).last["created"] == 2


def test_reasons_in_any_script_are_cut_where_they_may(
    streams: Streams, key: str, stem: str
) -> None:
    name = stem + "标识" * 300
    answer = streams.post(key, b"".join(_shifted(name)))
    assert answer.last["refused"] == 8
    assert answer.verdict(1)["message"].startswith("88/" + stem)


def _shifted(name: str) -> Iterator[bytes]:
    """Deletions whose reasons are cut at each place of a character."""
    return (deletion(name[:13] + "x" * more + name[13:]) for more in range(8))


def test_a_key_can_be_asked_for_or_is_refused(streams: Streams, key: str) -> None:
    answer = streams.post(f"{key}/with/slashes", b"")
    if answer.status == 200:
        assert streams.state(f"{key}%2Fwith%2Fslashes")["rows"] == 0
    else:
        assert (answer.status, "key" in answer.last["message"]) == (400, True)


@pytest.mark.parametrize("line", [b"\n", b" \t\r\n", b"\r\n"])
def test_blank_lines_are_no_rows(streams: Streams, key: str, stem: str, line: bytes) -> None:
    answer = streams.post(key, line * 1_000 + b"".join(rows(1, 2, stem)) + line * 1_000)
    assert (answer.last["rows"], answer.last["created"]) == (2, 2)


@pytest.mark.parametrize(
    "form",
    [
        None,
        1,
        "text",
        [],
        {},
        {"handle": "88/x"},
        {"handle": "", "values": []},
        {"handle": "88/x", "values": {}},
        {"handle": "88/x", "values": [{"index": 0, "type": "URL", "data": "x"}]},
        {"handle": "88/x", "values": [], "operation": "create"},
        {"handle": "88/x", "values": [], "operation": "drop"},
        {"handle": "88/x", "values": [], "operation": ["create"]},
        {"handle": "88/x", "values": [], "operation": "delete"},
    ],
    ids=json.dumps,
)
def test_rows_of_another_form(streams: Streams, node: Node, key: str, stem: str, form: Any) -> None:
    assert check_between(streams, node, key, stem, json.dumps(form).encode() + b"\n")
