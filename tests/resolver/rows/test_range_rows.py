"""Rows of ranges, read the same by every reader; the native one leaves them to the others."""

import json
from typing import Any

import msgpack
import pytest

from protocol.wire import HANDLE_OCTETS_MAX
from registry.stream_rows import PackedRow, RowKind
from resolver.fastpath import VARIABLE, Choice
from resolver.rows.msgpack_stream import MsgpackReader
from resolver.rows.ndjson_stream import NdjsonReader
from resolver.rows.packed import digest_of

VALUE = {"index": 1, "type": "URL", "data": {"format": "string", "value": "https://e.org/{serial}"}}
FORM: dict[str, Any] = {
    "operation": "range", "stem": "88/螺丝.", "first": "001", "last": "250", "values": [VALUE],
}  # fmt: skip
NOW_S = 1_795_219_200


def read_all(form: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[PackedRow, bytes]]:
    """Return (row, its octets as sent) of every way to read it."""
    line, packed = json.dumps(form).encode(), msgpack.packb(form)
    rows = []
    for choice in (Choice.NATIVE, Choice.PYTHON):
        monkeypatch.setenv(VARIABLE, choice)
        (row,) = NdjsonReader(lambda: NOW_S).feed(line + b"\n")
        rows.append((row, line))
    (row,) = MsgpackReader(lambda: NOW_S).feed(packed)
    return [*rows, (row, packed)]


@pytest.mark.parametrize(
    "others",
    [
        {}, {"check": "gs1", "existing": "keep"}, {"handle": "88/a", "note": "passed over"},
        {"values": []}, {"first": "7"}, {"values": [VALUE | {"data": "bare"}]},
    ],
)  # fmt: skip
def test_a_range_goes_on_as_its_document(
    others: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    form = FORM | others
    for (kind, handle, octets, digest), sent in read_all(form, monkeypatch):
        assert kind == RowKind.RANGE
        assert handle == "88/螺丝.".encode() + form["first"].encode()
        known = {"stem", "first", "last", "check", "existing", "values"}
        document = msgpack.unpackb(octets)
        assert document.pop("operation", "range") == "range"
        assert document == {name: form[name] for name in form if name in known}
        assert digest == digest_of(sent)


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ({"stem": 1}, "row.stem"),
        ({"stem": None}, "row.stem"),
        ({"first": 7}, "row.first"),
        ({"operation": "ranges"}, "operation must be one of"),
        ({"operation": ["range"]}, "operation must be one of"),
    ],
)
def test_a_range_without_a_name_is_bad(
    others: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for (kind, _, reason, _), _ in read_all(FORM | others, monkeypatch):
        assert kind == RowKind.BAD
        assert words in reason.decode()


def test_what_msgpack_cannot_say_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, Choice.NATIVE)
    for text in (
        '"index": 1, "index": 2',
        '"index": 1, "type": "a"',
        '"index": 99999999999999999999999',
    ):
        line = json.dumps(FORM).replace('"index": 1', text).encode()
        ((kind, _, _, _),) = NdjsonReader(lambda: NOW_S).feed(line + b"\n")
        assert kind == RowKind.BAD


def test_a_name_too_long_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for (kind, handle, _, _), _ in read_all(FORM | {"stem": "88/" + "x" * 2_048}, monkeypatch):
        assert (kind, handle) == (RowKind.RANGE, b"")
    assert HANDLE_OCTETS_MAX == 2_048
