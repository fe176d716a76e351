"""Dumps of a Handle.Net server's storage, taken over by a node and asked for again over REST."""

import json
from pathlib import Path
from typing import Any

import pytest

from resolver.cli.errors import ExitCode
from resolver.cli.main import main
from tests.nodes import make_node, running

URL = {
    "index": 1,
    "type": "URL",
    "data": {"format": "string", "value": "https://例.org/"},
    "ttl": 86400,
    "timestamp": "2011-05-04T03:02:01Z",
}
SECRET = URL | {"index": 300, "type": "HS_SECKEY", "permissions": "1100"}
ADMIN = URL | {
    "index": 100,
    "type": "HS_ADMIN",
    "data": {
        "format": "admin",
        "value": {"handle": "0.NA/20.500", "index": 200, "permissions": "111111111111"},
    },
    "references": [{"handle": "20.500/OTHER", "index": 4}],
}
EXPIRING = URL | {"index": 2, "ttl": "2030-01-01T00:00:00Z"}
RECORDS = {"20.500/A": [URL, EXPIRING, ADMIN], "20.500/B": [URL, SECRET]}


def storage_to_json(records: dict[str, list[dict[str, Any]]]) -> str:
    """What Handle.Net's StorageToJson writes."""
    rows = {name: {"handle": name, "values": values} for name, values in records.items()}
    form = {"homedPrefixes": ["0.NA/20.500", "0.NA/20.501"], "handleRecords": rows}
    return json.dumps(form, indent=2, ensure_ascii=False)


def dblist(records: dict[str, list[dict[str, Any]]]) -> str:
    """What Handle.Net's dblist -v prints."""
    return "".join(
        f"{name}\n{json.dumps(values, indent=2)}\n\n" for name, values in records.items()
    )


def undated(records: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    return {
        name: [{key: each[key] for key in each if key != "timestamp"} for each in values]
        for name, values in records.items()
    }


def test_a_dump_of_a_server_s_storage_answers_as_it_did_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node = make_node(tmp_path / "node", "top", "77")
    dump = tmp_path / "dump.json"
    dump.write_text(storage_to_json(RECORDS), "utf-8")
    words = ["takeover", str(dump), "--node", str(node.folder)]
    assert main(words) == ExitCode.REFUSED
    assert "the node does not answer for 0.NA/20.500, 0.NA/20.501" in capsys.readouterr().err
    assert main([*words, "--home"]) == ExitCode.OK
    told = capsys.readouterr().out
    assert "2 handles taken over, 0 were here already; 5 values" in told
    assert "homed: 2 (0.NA/20.500, 0.NA/20.501)" in told
    listed = tmp_path / "listed.txt"
    listed.write_text(dblist(RECORDS), "utf-8")
    assert main(["takeover", str(listed), "--node", str(node.folder)]) == ExitCode.OK
    assert "0 handles taken over, 2 were here already" in capsys.readouterr().out
    with running(node):
        for handle, values in RECORDS.items():
            public = [each for each in values if each is not SECRET]
            assert node.get(f"/api/handles/{handle}").json["values"] == public


def test_a_dump_without_timestamps_can_be_taken_over_again_after_a_break(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A break that came behind some of the rows: they are there, with the time of that run."""
    node = make_node(tmp_path / "node", "top", "77")
    records = undated(RECORDS)
    dump = tmp_path / "dump.json"
    words = ["takeover", str(dump), "--node", str(node.folder), "--home"]
    dump.write_text(storage_to_json({"20.500/A": records["20.500/A"]}), "utf-8")
    assert main(words) == ExitCode.OK
    (first,) = exported(node.folder, capsys)
    dump.write_text(storage_to_json(records), "utf-8")
    assert main(words) == ExitCode.OK
    assert "1 handles taken over, 1 were here already" in capsys.readouterr().out
    assert main(words) == ExitCode.OK
    assert "0 handles taken over, 2 were here already" in capsys.readouterr().out
    again, _ = exported(node.folder, capsys)
    assert again == first, "its timestamps are those of the first run"
    lines = "\n".join(json.dumps({"handle": n, "values": v}) for n, v in records.items())
    dump.write_text(lines, "utf-8")
    assert main(["load", str(dump), "--node", str(node.folder)]) == ExitCode.OK
    assert "2 existed" in capsys.readouterr().out


def test_a_dump_is_carried_back_as_it_came(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = (make_node(tmp_path / name, "top", "77") for name in ("one", "other"))
    dump, back = tmp_path / "dump.json", tmp_path / "back.json"
    dump.write_text(storage_to_json(RECORDS), "utf-8")
    assert main(["takeover", str(dump), "--node", str(one.folder), "--home"]) == ExitCode.OK
    words = ["export", str(one.folder), "--format", "storage"]
    assert main([*words, "-o", str(back)]) == ExitCode.OK
    form = json.loads(back.read_bytes())
    assert {"0.NA/20.500", "0.NA/20.501", "0.NA/77"} < set(form["homedPrefixes"])
    for name, values in RECORDS.items():
        assert form["handleRecords"][name] == {"handle": name, "values": values}
    assert back.stat().st_mode & 0o777 == 0o600, "there are secrets in it"
    mine = {name: form["handleRecords"][name] for name in RECORDS}
    back.write_text(json.dumps(form | {"handleRecords": mine}))
    assert main(["takeover", str(back), "--node", str(other.folder), "--home"]) == ExitCode.OK
    capsys.readouterr()
    assert main([*words, "--home", "127.0.0.1:2641:TCP"]) == ExitCode.USAGE
    assert main(words) == ExitCode.OK
    assert json.loads(capsys.readouterr().out) == form


def exported(folder: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    capsys.readouterr()
    assert main(["export", str(folder)]) == ExitCode.OK
    return [line for line in capsys.readouterr().out.splitlines() if '"20.50' in line[:20]]


def test_a_dump_that_breaks_off_is_taken_over_not_at_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node = make_node(tmp_path / "node", "top", "77")
    dump = tmp_path / "dump.json"
    dump.write_text(storage_to_json(RECORDS)[:-60], "utf-8")
    words = ["takeover", str(dump), "--node", str(node.folder), "--home"]
    assert main(words) == ExitCode.REFUSED
    told = capsys.readouterr().err
    assert "1 rows stand in the way, nothing was stored" in told
    assert "the dump cannot be read any further: character" in told
    assert exported(node.folder, capsys) == []
    dump.write_text('{"homedPrefixes": ["9/x"], "handleRecords": {}}')
    assert main(words) == ExitCode.FILES
    assert "'9/x' in homedPrefixes is no prefix handle" in capsys.readouterr().err
