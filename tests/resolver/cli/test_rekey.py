"""An administrator lost his key: the machine's owner gives the node a new one."""

import json
from pathlib import Path

import pytest

from resolver.cli.errors import ExitCode
from resolver.cli.main import main
from tests.nodes import make_node, running


def test_a_lost_key_is_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = make_node(tmp_path / "top")
    made.admin_key.unlink()
    capsys.readouterr()
    assert main(["admin", "rekey", "--node", str(made.folder), "--json"]) == ExitCode.OK
    report = json.loads(capsys.readouterr().out)
    assert report["identity"] == "300:0.NA/0.NA"
    Path(report["private"]).rename(made.admin_key)
    with running(made):
        words = ["register", "88/again", "-v", "URL=x", "--node", str(made.folder)]
        assert main(words) == ExitCode.OK
    assert main(["verify", str(made.folder)]) == ExitCode.OK


def test_a_key_that_another_node_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = make_node(tmp_path / "top")
    words = ["admin", "rekey", "--node", str(made.folder), "--admin", "300:0.NA/99"]
    assert main(words) == ExitCode.FILES
    assert "its parent" in capsys.readouterr().err
