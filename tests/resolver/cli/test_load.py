import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from protocol.json_forms import value_to_json
from protocol.types.hs_admin import HsAdmin
from protocol.value import HandleValue, Reference, encode_values
from registry.checks import check_values
from registry.offline import LoadRow
from resolver.cli.errors import ExitCode
from resolver.cli.main import main
from resolver.rows.ndjson import read_load_rows
from resolver.rows.row import BadRow
from resolver.supervisor import take_pid_file
from tests.nodes import Node, make_node

NOW_S = 1_795_219_200
PLAIN = {"index": 1, "type": "URL", "data": {"format": "string", "value": "https://e.org/螺丝"}}
STAMPED = PLAIN | {"ttl": 60, "timestamp": "2026-11-21T00:00:00Z"}
ADMIN = HandleValue(100, b"HS_ADMIN", HsAdmin(0xFFF, Reference(b"0.NA/88", 300)).encode())


def line(*values: dict[str, Any], handle: str = "88/a") -> bytes:
    return msgspec.json.encode({"handle": handle, "values": values}) + b"\n"


def read(octets: bytes) -> LoadRow | BadRow:
    (row,) = read_load_rows(io.BytesIO(octets), NOW_S)
    return row


def test_a_plain_row_becomes_the_octets_that_the_slow_way_gives() -> None:
    row = read(line(PLAIN, STAMPED | {"index": 2}))
    assert isinstance(row, LoadRow)
    data = "https://e.org/螺丝".encode()
    values = [
        HandleValue(1, b"URL", data, timestamp=NOW_S),
        HandleValue(2, b"URL", data, ttl=60, timestamp=1_795_219_200),
    ]
    assert row.values == encode_values(values)
    assert check_values(values) is None


@pytest.mark.parametrize(
    "form",
    [
        PLAIN | {"permissions": "1100"},
        PLAIN | {"ttl": "2026-11-21T00:00:00Z"},
        PLAIN | {"data": "bare"},
        PLAIN | {"data": {"format": "hex", "value": "00ff"}},
        PLAIN | {"references": [{"handle": "88/b", "index": 1}]},
        value_to_json(ADMIN),
    ],
)
def test_what_is_not_plain_is_read_in_full(form: dict[str, Any]) -> None:
    row = read(line(form))
    assert isinstance(row, LoadRow)
    assert not isinstance(row.values, bytes)


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"{nonsense\n", "malformed"),
        (line(PLAIN | {"index": 0}), "values[0].index"),
        (line(PLAIN | {"timestamp": "yesterday"}), "values[0].timestamp"),
        (line(PLAIN, handle="/x"), "no prefix"),
        (line(), "no values"),
    ],
)
def test_a_bad_row_says_why(octets: bytes, words: str) -> None:
    row = read(octets)
    assert isinstance(row, BadRow)
    assert words in row.reason


def test_the_same_index_twice_is_left_to_the_checks() -> None:
    row = read(line(PLAIN, PLAIN))
    assert isinstance(row, LoadRow)
    assert not isinstance(row.values, bytes)
    assert check_values(row.values) is not None


def test_blank_lines_and_a_byte_order_mark() -> None:
    rows = list(read_load_rows(io.BytesIO(b"\xef\xbb\xbf" + line(PLAIN) + b"\n" + line(PLAIN)), 1))
    assert [row.number for row in rows] == [1, 2]
    assert all(isinstance(row, LoadRow) for row in rows)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return make_node(tmp_path / "top")


def test_an_export_loads_into_another_node(
    node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.ndjson"
    hidden = PLAIN | {"index": 2, "permissions": "1100"}
    rows.write_bytes(line(STAMPED, hidden) + b"broken\n" + line(STAMPED, handle="88/b"))
    assert main(["load", str(rows), "--node", str(node.folder)]) == ExitCode.REFUSED
    shown = capsys.readouterr().out
    assert "2 registered, 1 refused" in shown
    assert "row 2" in shown
    (refused,) = (tmp_path / "rows.ndjson.refused.ndjson").read_text("utf-8").splitlines()
    assert json.loads(refused)["row"] == 2

    first, second = tmp_path / "first.ndjson", tmp_path / "second.ndjson"
    assert main(["export", str(node.folder), "--output", str(first)]) == ExitCode.OK
    other = make_node(tmp_path / "other")
    words = ["load", str(first), "--node", str(other.folder), "--existing", "replace"]
    assert main(words) == ExitCode.OK
    assert main(["export", str(other.folder), "--output", str(second)]) == ExitCode.OK
    assert first.read_bytes() == second.read_bytes()
    assert main(["verify", str(other.folder)]) == ExitCode.OK
    capsys.readouterr()
    assert main([*words[:4], "--json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["existed"] == 4


def test_a_running_node_is_left_alone(
    node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.ndjson"
    rows.write_bytes(line(PLAIN))
    (node.folder / "run").mkdir(exist_ok=True)
    held = take_pid_file(node.folder / "run" / "pid")
    assert held is not None
    with held:
        assert main(["load", str(rows), "--node", str(node.folder)]) == ExitCode.REFUSED
    assert "is running" in capsys.readouterr().err


def test_a_file_that_is_not_there(node: Node, tmp_path: Path) -> None:
    words = ["load", str(tmp_path / "none"), "--node", str(node.folder)]
    assert main(words) == ExitCode.FILES
