"""The examples of the client's README, run in a node's folder."""

import re
import shutil
from pathlib import Path

import pytest

from protocol import jws
from protocol.types.hs_pubkey import decode_public_key
from registry.receipts import from_payload
from tests.commands import must_run
from tests.nodes import ROOT, Node

README = (ROOT / "resolver" / "client" / "README.md").read_text("utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def folder(top_node: Node, module_folder: Path) -> Path:
    """A copy of the node's files, and what the examples expect to find."""
    copy = module_folder / "copy"
    shutil.copytree(
        top_node.folder, copy, ignore=shutil.ignore_patterns("store", "*.sock", "metrics")
    )
    (copy / "valves.csv").write_text("serial,page,name\n7,https://example.org/7,Valve 7\n")
    words = ["-v", "URL=https://example.org/", "--node", str(top_node.folder)]
    must_run("register", "88/PUMP-1", *words)
    return copy


def ready(example: str, node: Node) -> str:
    """An example for the one node there is: its ports, its prefix, its administrator."""
    for text, replacement in (
        ("300:0.NA/88.118.5", node.admin),
        ("88.118.5", "88"),
        ("2641", str(node.handle_port)),
        ("8000", str(node.http_port)),
    ):
        example = example.replace(text, replacement)
    return example


@pytest.mark.parametrize("position", range(len(EXAMPLES)))
def test_examples(
    position: int,
    top_node: Node,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    exec(compile(ready(EXAMPLES[position], top_node), "README.md", "exec"), {})
    said = capsys.readouterr().out
    if "valves" in EXAMPLES[position]:
        assert re.fullmatch(r"1 \d+ \d+ \n1 [\w.-]+\n", said)
    elif "pumps()" in EXAMPLES[position]:
        assert said == "1000 of 1000 registered, 0 refused\n"
        key = decode_public_key((folder / "server-public-key.bin").read_bytes())
        receipt = from_payload(jws.verify((folder / "pumps.receipt").read_text(), key))
        assert (receipt.key, receipt.rows) == ("pumps 2026-11-21", 1_000)
    elif "register_range" in EXAMPLES[position]:
        stem = "88/LAMP.20261121."
        assert said.splitlines()[0] == (f"{stem}000001..100000 from {stem}0000017 to {stem}1000009")
        assert f"the range {stem}000001..100000 has identifiers" in said.splitlines()[1]
        assert said.splitlines()[2] == f"{stem}000001..070000 70000 active"
        whole, part = f"{stem}000001..100000", f"{stem}000001..070000"
        assert f" register {whole} by 300:" in said.splitlines()[3]
        assert f" shrink {part} by 300:" in said.splitlines()[4]
        assert re.fullmatch(r"\d+ identifiers", said.splitlines()[5])
    elif "register_template" in EXAMPLES[position]:
        made, refused, listed = said.splitlines()
        assert made == "88/MOTOR.000042 of 88:motor version 1"
        assert "'serial' is missing" in refused
        assert "'class' must be one of IE3, IE4" in refused
        assert listed == "1 ['serial', 'made', 'class', 'power_kw']"
    else:
        assert "https://example.org/" in said or "88/PUMP" in said


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 7
