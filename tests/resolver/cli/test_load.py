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
from registry.offices import OFFICES, STANDING, prefix_key
from registry.offline import LoadRow
from registry.schema import encode_record
from registry.standings import Mode, Standing, State
from registry.store import Store
from resolver.cli.connect import find_node
from resolver.cli.errors import ExitCode
from resolver.cli.main import main
from resolver.config import load_config
from resolver.rows.ndjson import read_load_rows
from resolver.rows.row import BadRow
from resolver.supervisor import take_pid_file
from tests.nodes import Node, make_node

NOW_S = 1_795_219_200
PLAIN = {"index": 1, "type": "URL", "data": {"format": "string", "value": "https://e.org/螺丝"}}
STAMPED = PLAIN | {"ttl": 60, "timestamp": "2026-11-21T00:00:00Z"}
ADMIN_IDENTITY = Reference(b"0.NA/88", 300)
ADMIN = HandleValue(100, b"HS_ADMIN", HsAdmin(0xFFF, ADMIN_IDENTITY).encode())


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
        PLAIN | {"data": {"format": "admin", "value": value_to_json(ADMIN)["data"]["value"]}},
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


def mark(handle: str, operation: str = "revoke", **members: str) -> bytes:
    said = {"handle": handle, "operation": operation, "reason": "forged"}
    return msgspec.json.encode(said | members) + b"\n"


def lot(first: str, last: str, **members: str) -> bytes:
    data = {"format": "string", "value": "https://e.org/{serial}"}
    document = {"operation": "range", "stem": "88/lot.", "first": first, "last": last}
    values = [{"index": 1, "type": "URL", "data": data}]
    return msgspec.json.encode(document | {"values": values} | members) + b"\n"


def test_marks_and_revoked_ranges_are_in_an_export(
    node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.ndjson"
    void = {"state": "revoked", "reason": "recalled", "revoked": "2026-11-20T00:00:00Z"}
    by = {"time": "2026-11-19T00:00:00Z", "by": "300:0.NA/88"}
    rows.write_bytes(
        lot("01", "20") + lot("21", "40", **void) + line(STAMPED) + mark("88/a", **by)
        + line(STAMPED, handle="88/b") + mark("88/b", "freeze") + mark("88/lot.07")
    )  # fmt: skip
    assert main(["load", str(rows), "--node", str(node.folder)]) == ExitCode.OK
    first, second = tmp_path / "first.ndjson", tmp_path / "second.ndjson"
    assert main(["export", str(node.folder), "--output", str(first)]) == ExitCode.OK
    lines = [json.loads(each) for each in first.read_text("utf-8").splitlines()]
    assert [each.get("reason") for each in lines if each.get("state") == "revoked"] == [
        "recalled", None, None
    ]  # fmt: skip
    assert {"handle": "88/A", "operation": "revoke", "reason": "forged", **by} in lines
    other = make_node(tmp_path / "other")
    words = ["load", str(first), "--node", str(other.folder), "--existing", "replace"]
    assert main(words) == ExitCode.OK
    assert main(["export", str(other.folder), "--output", str(second)]) == ExitCode.OK
    assert first.read_bytes() == second.read_bytes()
    assert main(["verify", str(other.folder)]) == ExitCode.OK
    assert "the prefix office" not in capsys.readouterr().err


def test_refused_ranges_marks_and_rows_are_mended_and_loaded(node: Node, tmp_path: Path) -> None:
    rows = tmp_path / "rows.ndjson"
    rows.write_bytes(
        lot("01", "20") + lot("20", "30", state="revoked", reason="recalled")
        + mark("88/none", by="300:0.NA/88")
        + b'{"handle":"88/lot.99","operation":"delete"}\n'
        + line(PLAIN | {"index": 5}, PLAIN | {"index": 5}, handle="88/lot.07")
        .replace(b'"values"', b'"operation":"replace","values"')
    )  # fmt: skip
    words = ["load", str(rows), "--node", str(node.folder)]
    assert main(words) == ExitCode.REFUSED
    path = tmp_path / "rows.ndjson.refused.ndjson"
    range_, marked, deleted, row = (json.loads(each) for each in path.read_text().splitlines())
    assert [each["row"] for each in (range_, marked, deleted, row)] == [2, 3, 4, 5]
    assert "88/lot.01..20" in range_["refusal"]
    assert (range_["reason"], range_["state"], range_["code"]) == ("recalled", "revoked", 101)
    assert "its row comes before its mark" in marked["refusal"]
    assert (marked["operation"], marked["reason"], marked["by"]) == (
        "revoke",
        "forged",
        "300:0.NA/88",
    )
    assert "is in no range" in deleted["refusal"]
    assert (row["operation"], len(row["values"])) == ("replace", 2)
    assert "given twice" in row["reason"]

    range_["first"], marked["handle"], deleted["handle"] = "21", "88/lot.08", "88/lot.09"
    del row["values"][0]
    mended = tmp_path / "mended.ndjson"
    mended.write_bytes(b"\n".join(map(msgspec.json.encode, (range_, marked, deleted, row))))
    assert main(["load", str(mended), "--node", str(node.folder)]) == ExitCode.OK
    output = tmp_path / "all.ndjson"
    assert main(["export", str(node.folder), "--output", str(output)]) == ExitCode.OK
    forms = [json.loads(each) for each in output.read_text("utf-8").splitlines()]
    (void,) = [each for each in forms if each.get("first") == "21"]
    assert (void["state"], void["reason"]) == ("revoked", "recalled")
    done = {(each["handle"], each["operation"]) for each in forms if "handle" in each and
            "operation" in each}  # fmt: skip
    assert {("88/LOT.08", "revoke"), ("88/LOT.09", "delete"), ("88/LOT.07", "replace")} <= done


@pytest.mark.parametrize(
    ("silent", "words"), [(True, "the handles of suspended prefixes are (1)"), (False, "")]
)
def test_an_export_says_that_the_office_is_not_in_it(
    node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str], silent: bool, words: str
) -> None:
    handle = b"0.NA/88.5"
    row = encode_record([ADMIN], handle) if silent else b""
    standing = Standing(
        State.SUSPENDED, Mode.HOSTED, 0, NOW_S, ADMIN_IDENTITY, "unpaid", silent=silent, row=row
    )
    with (
        Store.open(load_config(find_node(str(node.folder)).config).store_folder) as store,
        store.write() as view,
    ):
        view.writable(OFFICES).put(prefix_key(STANDING, handle), standing.encode())
    output = tmp_path / "all.ndjson"
    assert main(["export", str(node.folder), "--output", str(output)]) == ExitCode.OK
    told = capsys.readouterr()
    assert "rows in" in told.out
    assert "not in it: what the prefix office knows" in told.err
    assert words in told.err
    assert ("suspended" in told.err) == silent
    assert ('"0.NA/88.5"' in output.read_text("utf-8")) == silent
    assert main(["export", str(node.folder)]) == ExitCode.OK
    told = capsys.readouterr()
    assert told.out == output.read_text("utf-8")
    assert "not in it" in told.err
