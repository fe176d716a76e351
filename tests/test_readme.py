"""Both READMEs say the same commands, and the commands work: run in order, in an empty folder.

Blocks fenced as `sh` are run, by one shell, against the nodes they start. The only change is that
the ports are replaced by free ones. Blocks fenced as `console` set up or are the two commands
that other tests are: they are compared, not run.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.nodes import free_port

ROOT = Path(__file__).parents[1]
READMES = ("README.md", "README.zh.md")
PORTS = ("2641", "2642", "2643", "2644", "8000", "8001", "8002", "8003")
TIMEOUT_S = 150


def blocks(name: str, kind: str) -> list[str]:
    text = (ROOT / name).read_text("utf-8")
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def commands(name: str, kind: str) -> list[str]:
    """The lines of all blocks; what stands behind `#` is prose, in the README's language."""
    lines = "".join(blocks(name, kind)).splitlines()
    return [re.sub(r"\s+#.*", "", line) for line in lines]


@pytest.mark.parametrize("kind", ["sh", "console"])
def test_both_readmes_have_the_same_commands(kind: str) -> None:
    assert commands("README.md", kind)
    assert commands("README.md", kind) == commands("README.zh.md", kind)


def test_both_readmes_show_the_same_run() -> None:
    assert blocks("README.md", "text") == blocks("README.zh.md", "text")


def test_every_link_to_a_file_leads_somewhere() -> None:
    for name in READMES:
        for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / name).read_text("utf-8")):
            assert (ROOT / target).exists(), f"{name}: {target}"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for pid_file in tmp_path.glob("*/run/pid"):
        with contextlib.suppress(ValueError, ProcessLookupError):
            os.kill(int(pid_file.read_text("ascii")), signal.SIGKILL)


def script() -> str:
    text = "\n".join(blocks("README.md", "sh"))
    for port in PORTS:
        assert re.search(rf"\b{port}\b", text), f"no port {port} in the README any more"
        text = re.sub(rf"\b{port}\b", str(free_port()), text)
    return "set -euo pipefail\n" + text + "\nwait\n"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_commands_work(folder: Path) -> None:
    # Output goes to a file: a pipe would stay open for as long as a node that was left running.
    output = folder / "output.txt"
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    with output.open("wb") as sink:
        shell = subprocess.Popen(
            ["bash", "-x", "-c", script()],
            cwd=folder,
            env={**os.environ, "PATH": path, "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
        try:
            code = shell.wait(TIMEOUT_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
    shown = output.read_text("utf-8", "replace")
    assert code == 0, shown[-6000:]
    assert "https://example.org/7" in shown
    assert "2 rows: 2 created" in shown
    assert "the rows in the files are those of the receipt" in shown
    assert '"handle":"88.118.5/valve-8"' in shown
    assert "all is well" in shown
    assert "biaoshi_requests_total" in (folder / "metrics.txt").read_text("utf-8")
    exported = (folder / "enterprise.ndjson").read_text("utf-8").upper()
    assert "VALVE-8" in exported
    assert "VALVE-9" not in exported, "it was deleted"
