"""Rows of exports that are no registrations: marks, and what was revoked. Every reader says so."""

from typing import Any

import pytest

from registry.marks import State
from registry.offline import LoadRow
from registry.stream_rows import RowKind
from resolver.rows.csv_stream import CsvReader, parse_csv_options
from resolver.rows.ndjson import read_load_rows, read_ndjson_rows
from resolver.rows.row import BadRow, Row
from tests.resolver.rows.test_range_rows import FORM, NOW_S, VALUE, read_all

MARK = {"handle": "88/a", "operation": "freeze", "reason": "audit", "time": "2026-11-18T11:07:40Z"}
ROW = {"handle": "88/a", "values": [VALUE]}
LIFE = "use biaoshi load for the file of an export, or biaoshi life"
REVOKED = "would be registered as active: use biaoshi load"


@pytest.mark.parametrize(
    ("form", "words"),
    [
        (MARK, f"freeze is no registration: {LIFE} freeze"),
        (MARK | {"operation": "revoke"}, f"revoke is no registration: {LIFE} revoke"),
        (MARK | {"handle": 7}, LIFE),
        (ROW | {"operation": "revoke"}, LIFE),
        (ROW | {"state": "revoked"}, REVOKED),
        (ROW | {"state": "revoked", "operation": "replace"}, REVOKED),
        (FORM | {"state": "revoked", "reason": "recalled"}, REVOKED),
    ],
)
def test_streams_refuse_them(
    form: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for (kind, handle, reason, _), _ in read_all(form, monkeypatch):
        assert kind == RowKind.BAD
        assert words in reason.decode()
        assert handle == (b"88/a" if form.get("handle") == "88/a" else b"")


@pytest.mark.parametrize("form", [ROW | {"state": "active"}, ROW | {"state": ["x"]}])
def test_other_states_are_passed_over(form: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for (kind, *_), _ in read_all(form, monkeypatch):
        assert kind == RowKind.CREATE


def test_a_column_of_operations_may_name_one() -> None:
    options = {"handle": ["88/{id}"], "map": ["name=DESC"], "operation": ["do"]}
    reader = CsvReader(parse_csv_options(options), lambda: NOW_S)
    ((kind, _, reason, _),) = reader.feed(b"id,name,do\na,b,revoke\n")
    assert kind == RowKind.BAD
    assert "biaoshi life revoke" in reason.decode()


def test_rows_one_by_one_refuse_them_too() -> None:
    lines = [
        '{"handle": "88/a", "operation": "revoke", "reason": "x"}',
        '{"handle": "88/b", "values": [], "state": "revoked"}',
        '{"handle": "88/c", "values": [{"index": 1, "type": "operation", "data": "x"}]}',
        '{"operation": "revoke", ',
    ]
    found = [row.reason if isinstance(row, BadRow) else "" for row in read_ndjson_rows(lines)]
    assert LIFE in found[0]
    assert REVOKED in found[1]
    assert not any(LIFE in reason or REVOKED in reason for reason in found[2:])
    (row,) = read_ndjson_rows(['{"handle": "88/\\u0061", "operation": "create", "values": '
                               '[{"index": 1, "type": "A", "data": '
                               '{"format": "string", "value": "x"}}]}'])  # fmt: skip
    assert isinstance(row, Row)
    numbers = [row.number for row in read_ndjson_rows(["\n", *lines])]
    assert numbers == [1, 2, 3, 4]


def test_files_to_load_have_them() -> None:
    lines = [
        b'{"handle": "88/a", "state": "revoked", "values": [{"index": 1, "type": "HS_ADMIN", '
        b'"data": {"format": "admin", "value": {"handle": "88/a", "index": 1, '
        b'"permissions": "111111111111"}}}]}',
        b'{"handle": "88/a", "operation": "revoke", "reason": "x"}',
        b'{"handle": "/a", "operation": "revoke", "reason": "x"}',
        b'{"operation": "freeze"}',
        b'{"operation": "thaw", "handle": "88/a"}',
    ]
    row, mark, *bad = read_load_rows(lines, NOW_S)
    assert isinstance(row, LoadRow)
    assert isinstance(mark, LoadRow)
    assert (row.mark, row.handle) == (None, b"88/a")
    assert (mark.mark, mark.handle, mark.document["reason"]) == (State.REVOKED, b"88/a", "x")
    reasons = [each.reason for each in bad if isinstance(each, BadRow)]
    assert "no prefix" in reasons[0]
    assert "1 to 2048 octets" in reasons[1]
    assert "not 'thaw', or range, freeze, revoke" in reasons[2]
