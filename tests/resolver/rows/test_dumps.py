"""Dumps of Handle.Net's tools, in the form that they write them."""

import io
import json
from typing import Any

import pytest

from protocol.value import HandleValue
from registry.offline import LoadRow
from resolver.rows import dumps
from resolver.rows.dumps import DumpError, dump_lines
from resolver.rows.ndjson import read_load_rows

URL = {
    "index": 1,
    "type": "URL",
    "data": {"format": "string", "value": 'https://e.org/"]} 螺丝\\\n'},
    "ttl": 86400,
    "timestamp": "2011-05-04T03:02:01Z",
}
SECRET = URL | {"index": 300, "type": "HS_SECKEY", "permissions": "1100"}
RECORDS = {
    "88.118/X": {"handle": "88.118/X", "values": [URL, SECRET]},
    "88.118/操作": {"handle": "88.118/操作", "values": [URL | {"type": "operation"}]},
}
HOMES = ["0.NA/88.118", "0.NA/88.118.5"]


def storage(**more: Any) -> bytes:
    form = {"homedPrefixes": HOMES, "handleRecords": RECORDS} | more
    return json.dumps(form, indent=2, ensure_ascii=False).encode()


def listing() -> bytes:
    sections = (
        f"{name}\n{json.dumps(record['values'], indent=2, ensure_ascii=False)}\n\n"
        for name, record in RECORDS.items()
    )
    return "".join(sections).encode()


def read(octets: bytes) -> tuple[list[LoadRow], list[str]]:
    homes: list[str] = []
    rows = list(read_load_rows(dump_lines(io.BytesIO(octets), homes), 7))
    assert all(isinstance(row, LoadRow) for row in rows), rows
    return rows, homes  # type: ignore[return-value]


def the_same(rows: list[LoadRow]) -> None:
    found = {row.handle.decode(): row.in_values() for row in rows}
    assert list(found) == list(RECORDS)
    one, secret = found["88.118/X"]
    assert isinstance(one, HandleValue)
    assert one.data.decode() == URL["data"]["value"]  # type: ignore[index]
    assert one.timestamp == 1_304_478_121
    assert (secret.type, secret.permission) == (b"HS_SECKEY", 0b1100)
    assert found["88.118/操作"][0].type == b"operation"


@pytest.mark.parametrize("read_characters", [1, 7, 1 << 20])
def test_what_storage_to_json_writes(read_characters: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dumps, "READ_CHARACTERS", read_characters)
    rows, homes = read(storage())
    assert homes == HOMES
    the_same(rows)
    the_same(read(b"\xef\xbb\xbf" + storage())[0])


def test_members_unknown_or_empty_do_not_matter() -> None:
    assert read(b'{"homedPrefixes": [], "handleRecords": {}}\n') == ([], [])
    rows, homes = read(b'{"handleRecords":' + json.dumps(RECORDS).encode() + b',"more":[{}]}')
    the_same(rows)
    assert homes == []


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_what_dblist_writes(line_end: bytes) -> None:
    rows, homes = read(listing().replace(b"\n", line_end))
    the_same(rows)
    assert homes == []
    assert len(read(listing().rstrip())[0]) == 2, "the last line may lack its end"


def test_any_other_file_is_read_line_by_line() -> None:
    lines = b"\n".join(json.dumps(record).encode() for record in RECORDS.values())
    the_same(read(lines)[0])


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (storage()[:-40], r"character [\d,]+: .*no JSON"),
        (storage() + b"x", r"something follows the end of the dump, not 'x'"),
        (b'{"homedPrefixes": [1]}', "at most 100,000 strings"),
        (b'{"homedPrefixes": ["a" "b"]}', r"character 24: , or \] is expected"),
        (b'{"handleRecords": []}', "character 19: { is expected"),
        (b'{"handleRecords": {1: {}}}', "the name of a member is no string"),
        (b'{"handleRecords": {"a": ' + b"[" * 100_000, "nested too deep|no JSON"),
        (listing() + b"88.118/Y\n88.118/Z\n", "line 40: no values follow the handle"),
    ],
)
def test_damage_is_told_with_its_place(octets: bytes, words: str) -> None:
    with pytest.raises(DumpError, match=words):
        list(dump_lines(io.BytesIO(octets), []))


def test_a_record_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dumps, "RECORD_CHARACTERS_MAX", 64)
    monkeypatch.setattr(dumps, "READ_CHARACTERS", 64)
    long = b'{"handleRecords": {"a": {"handle": "' + b"a" * 1_000
    with pytest.raises(DumpError, match="no JSON"):
        list(dump_lines(io.BytesIO(long), []))
    with pytest.raises(DumpError, match="over 64 octets"):
        list(dump_lines(io.BytesIO(listing()), []))
