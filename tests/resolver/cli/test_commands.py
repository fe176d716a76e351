"""Every command that talks to a node, run as a person runs it, against one node on loopback."""

import json
from pathlib import Path
from typing import Any

import pytest

from registry.errors import StoreFullError
from resolver.cli import offline
from resolver.cli.errors import ExitCode
from resolver.cli.main import main
from tests.nodes import Node


@pytest.fixture
def node(top_node: Node) -> str:
    return str(top_node.folder)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(list(words))
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_register_resolve_update_delete(node: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["-v", "URL=https://example.org/螺丝", "-v", "DESC=M4", "--node", node]
    code, out, _ = run(capsys, "register", "88/life", *words)
    assert code == ExitCode.OK
    assert "registered with 2 values" in out
    _, out, _ = run(capsys, "register", "88/one", "-v", "DESC=M5", "--node", node)
    assert out == "88/one: registered with 1 value\n"
    code, _, error = run(capsys, "register", "88/life", *words)
    assert code == ExitCode.REFUSED
    assert "88/life" in error
    assert "(response code 101)" in error
    assert "replace it with --overwrite" in error

    code, out, _ = run(capsys, "resolve", "88/life", "--node", node, "--trace")
    assert code == ExitCode.OK
    assert "https://example.org/螺丝" in out
    assert "resolution 88/life" in out

    words = ["--modify", "DESC:2=M5", "--add", "NOTE=new", "--remove", "1", "--node", node]
    assert run(capsys, "update", "88/life", *words)[0] == ExitCode.OK
    _, out, _ = run(capsys, "resolve", "88/life", "--node", node, "--json", "--auth")
    values = {each["index"]: each["data"]["value"] for each in json.loads(out)["values"]}
    assert values == {2: "M5", 3: "new"}

    assert run(capsys, "delete", "88/life", "--yes", "--node", node)[0] == ExitCode.OK
    code, _, error = run(capsys, "resolve", "88/life", "--node", node)
    assert code == ExitCode.REFUSED
    assert "(response code 100)" in error


@pytest.mark.parametrize("transport", ["udp", "tcp", "http"])
def test_transports(node: str, transport: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["0.NA/0.NA", "--type", "HS_ADMIN", f"--{transport}", "--trace", "--json"]
    code, out, _ = run(capsys, "resolve", *words, "--node", node)
    assert code == ExitCode.OK
    document = json.loads(out)
    assert [each["type"] for each in document["values"]] == ["HS_ADMIN"]
    assert [hop["transport"] for hop in document["trace"]] == [transport]


def test_a_server_by_its_address(top_node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    server = f"localhost:{top_node.handle_port}"
    code, out, _ = run(capsys, "resolve", "0.NA/88", "--server", server, "--index", "1")
    assert code == ExitCode.OK
    assert f"tcp/{top_node.handle_port}" in out


def test_values_from_a_file_are_as_resolved(
    node: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = run(capsys, "resolve", "0.NA/88", "--node", node, "--json")
    (tmp_path / "values.json").write_text(out)
    words = ["--values", str(tmp_path / "values.json"), "--owner", "300:0.NA/88", "--node", node]
    assert run(capsys, "register", "88/copy", *words)[0] == ExitCode.OK
    _, copied, _ = run(capsys, "resolve", "88/copy", "--node", node, "--json")
    types = [each["type"] for each in json.loads(copied)["values"]]
    assert sorted(types) == ["HS_ADMIN", "HS_ADMIN", "HS_SITE"]


def test_a_secret_logs_in(node: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["-v", "HS_SECKEY:301=hush", "--owner", "301:88/clerk", "--node", node]
    assert run(capsys, "register", "88/clerk", *words)[0] == ExitCode.OK
    (tmp_path / "secret").write_text("hush")
    where = ["--server", _server(node), "--admin", "301:88/clerk", "--secret"]
    words = ["update", "88/clerk", "--add", "NOTE=mine", *where]
    assert run(capsys, *words, str(tmp_path / "secret"))[0] == ExitCode.OK
    (tmp_path / "wrong").write_text("loud")
    code, _, error = run(capsys, *words, str(tmp_path / "wrong"))
    assert code == ExitCode.NOT_ALLOWED
    assert "88/clerk" in error
    words = ["resolve", "88/clerk", "--index", "301", *where]
    code, out, _ = run(capsys, *words, str(tmp_path / "secret"))
    assert code == ExitCode.OK
    assert "hush" in out


def _server(node: str) -> str:
    site = json.loads((Path(node) / "site.json").read_bytes())["servers"][0]
    port = next(each["port"] for each in site["interfaces"] if each["protocol"] == "TCP")
    return f"{site['address']}:{port}"


def test_prefixes(node: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "prefix", "home", "88.9", "--node", node)[0] == ExitCode.OK
    _, out, _ = run(capsys, "prefix", "list", "--node", node, "--json")
    assert json.loads(out)["handles"] == ["0.NA/0.NA", "0.NA/88", "0.NA/88.9"]
    assert run(capsys, "prefix", "unhome", "88.9", "--node", node)[0] == ExitCode.OK
    _, out, _ = run(capsys, "prefix", "list", "--node", node)
    assert out.split() == ["0.NA/0.NA", "0.NA/88"]


def test_delegation(node: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--prefix", "88.77", "--root", f"{node}/bootstrap.json", "--data"]
    assert run(capsys, "init", "secondary", *words, str(tmp_path / "s"))[0] == ExitCode.OK
    file = str(tmp_path / "s" / "delegation.json")
    code, out, _ = run(capsys, "prefix", "delegate", file, "--node", node)
    assert code == ExitCode.OK
    assert "0.NA/88.77" in out
    code, _, error = run(capsys, "prefix", "delegate", file, "--node", node)
    assert code == ExitCode.REFUSED
    assert "0.NA/88.77" in error
    assert run(capsys, "prefix", "delegate", file, "--node", node, "--overwrite")[0] == ExitCode.OK


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_import_export_and_list(
    node: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.csv"
    lines = [f"{number},Name {number}" for number in range(1, 131)]
    path.write_text("\n".join(["id,name", *lines, "7,twice", "short"]) + "\n")
    words = [str(path), "--handle", "{prefix}/lot.{id}", "--prefix", "88", "-m", "name=DESC"]
    code, out, _ = run(capsys, "import", *words, "--node", node, "--json")
    assert code == ExitCode.REFUSED
    summary = json.loads(out)
    assert (summary["created"], summary["refused"]) == (130, 2)
    refused = read_lines(Path(summary["refused_file"]))
    assert {line["row"]: line["code"] for line in refused} == {131: 101, 132: 202}

    words += ["--node", node, "--existing", "skip", "--stream", "again"]
    code, out, _ = run(capsys, "import", *words)
    assert "130 unchanged, 1 existed, 1 refused" in out

    _, out, _ = run(capsys, "prefix", "list", "88", "--node", node)
    assert sum(line.startswith("88/LOT.") for line in out.split()) == 130

    exported = tmp_path / "all.ndjson"
    assert run(capsys, "export", node, "-o", str(exported))[0] == ExitCode.OK
    kept = [line for line in read_lines(exported) if line["handle"].startswith("88/LOT.")]
    (tmp_path / "lot.ndjson").write_text("\n".join(json.dumps(line) for line in kept))
    words = [str(tmp_path / "lot.ndjson"), "--existing", "replace", "--node", node, "--json"]
    code, out, _ = run(capsys, "import", *words)
    assert code == ExitCode.OK
    assert json.loads(out)["unchanged"] == 130


def test_what_an_import_refused_earlier_is_kept(
    node: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("id,name\n1\n")
    words = [str(path), "--handle", "88/{id}", "-m", "name=DESC", "--node", node, "--json"]
    for name in ("rows.csv.refused.ndjson", "rows.csv.refused.2.ndjson"):
        _, out, _ = run(capsys, "import", *words)
        assert json.loads(out)["refused_file"] == str(tmp_path / name)
    code, _, error = run(capsys, "import", *words, "--refused", str(path))
    assert code == ExitCode.USAGE
    assert f"{path} exists and is not overwritten" in error
    assert path.read_text() == "id,name\n1\n"


def test_a_delegation_that_is_not_there(
    node: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "nosuch.json")
    code, _, error = run(capsys, "prefix", "delegate", file, "--node", node)
    assert code == ExitCode.FILES
    assert "delegation.json from the data folder of the node below" in error


@pytest.mark.parametrize("command", ["verify", "export"])
def test_a_recursive_node_holds_no_store(
    node: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--root", f"{node}/bootstrap.json", "--data", str(tmp_path / "r")]
    assert run(capsys, "init", "recursive", *words)[0] == ExitCode.OK
    code, _, error = run(capsys, command, str(tmp_path / "r"))
    assert code == ExitCode.FILES
    assert "a recursive node holds no store" in error
    assert "try: give the folder of a top, secondary or enterprise node" in error


@pytest.mark.parametrize("command", ["verify", "export"])
def test_the_hint_about_a_broken_store_names_its_folder(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "t"
    assert run(capsys, "init", "top", "--data", str(folder))[0] == ExitCode.OK
    (folder / "store" / "data.mdb").write_bytes(b"nonsense" * 1024)
    code, _, error = run(capsys, command, str(folder))
    assert code == ExitCode.FILES
    assert f"biaoshi doctor {folder} tells more" in error


def test_verify_and_doctor(node: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "verify", node, "--json")
    assert (code, json.loads(out)["problems"]) == (ExitCode.OK, [])
    code, out, _ = run(capsys, "doctor", node, "--json")
    assert code == ExitCode.OK, out
    found = {each["subject"]: each["words"] for each in json.loads(out)}
    assert found["process"].startswith("running as ")
    assert "accepts connections" in found["root"]


def test_verify_puts_the_second_store_where_it_is_told(
    node: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = str(tmp_path / "nosuch")
    code, _, error = run(capsys, "verify", node, "--scratch", missing)
    assert code == ExitCode.FILES
    assert f"there is no folder {missing}" in error
    code, out, _ = run(capsys, "verify", node, "--scratch", str(tmp_path))
    assert (code, list(tmp_path.iterdir())) == (ExitCode.OK, [])
    assert "all is well" in out

    def has_no_room(*args: object, **options: object) -> None:
        assert options["scratch"] == tmp_path
        raise StoreFullError("no room on the disk")

    monkeypatch.setattr(offline, "verify_store", has_no_room)
    code, _, error = run(capsys, "verify", node, "--scratch", str(tmp_path))
    assert code == ExitCode.FILES
    assert "give --scratch a folder with more room" in error


def test_nobody_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--data", str(tmp_path / "t"), "--handle-port", "19998", "--http-port", "19999"]
    assert run(capsys, "init", "top", *words)[0] == ExitCode.OK
    words = ["0.NA/88", "--tcp", "--node", str(tmp_path / "t")]
    code, _, error = run(capsys, "resolve", *words)
    assert code == ExitCode.UNREACHABLE
    assert "try: " in error
    assert "Traceback" not in error
