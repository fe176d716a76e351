"""What a batch says of operations that were not done, and how its log reads."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from protocol.key_files import generate_rsa_key
from protocol.types.hs_pubkey import encode_public_key
from resolver.cli.errors import ExitCode
from resolver.cli.main import main
from resolver.node_files import read_bootstrap, write_bootstrap
from tests.interop.conftest import RUN
from tests.nodes import Node, Topology

PREFIX = "88.118.5"


@pytest.fixture(scope="module")
def enterprise(four_nodes: Topology) -> Node:
    return four_nodes.enterprise


def test_what_cannot_be_sent_is_not_called_unanswered(enterprise: Node, tmp_path: Path) -> None:
    (tmp_path / "big.bin").write_bytes(bytes(262_100))
    batch = tmp_path / "big.batch"
    batch.write_text(f"CREATE {PREFIX}/BIG.{RUN}\n1 DATA 60 1110 FILE big.bin\n")
    assert main(["batch", str(batch), "--node", str(enterprise.folder)]) == ExitCode.REFUSED
    log = Path(f"{batch}.log").read_text()
    assert f"==>FAILURE[1]: create:{PREFIX}/BIG.{RUN}: the request cannot be sent: message" in log
    assert "no answer" not in log


def test_an_answer_with_another_key_is_not_called_unanswered(
    four_nodes: Topology, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The bootstrap file names a key that the root does not have: somebody in between?"""
    node = four_nodes.top
    (site,) = read_bootstrap(node.bootstrap)
    other = encode_public_key(generate_rsa_key().public_key())
    servers = tuple(replace(server, public_key=other) for server in site.servers)
    bootstrap = tmp_path / "bootstrap.json"
    write_bootstrap(bootstrap, [replace(site, servers=servers)])
    batch = tmp_path / "a.batch"
    lines = [f"AUTHENTICATE PUBKEY:{node.admin}\n{node.admin_key}\n"]
    lines += [f"CREATE 0.NA/{RUN}{n}\n1 URL 60 1110 UTF8 x\n" for n in range(6)]
    batch.write_text("\n".join(lines))
    assert main(["batch", str(batch), "--root", str(bootstrap)]) == ExitCode.UNREACHABLE
    log = Path(f"{batch}.log").read_text()
    assert log.count("the answer cannot be believed: ") == 6, "of five operations, and of the run"
    assert "signature does not hold" in log
    assert "no answer: " not in log
    assert "whether it is the one you mean" in capsys.readouterr().err


def test_the_log_reads_as_scripts_expect_it(enterprise: Node, tmp_path: Path) -> None:
    batch, log = tmp_path / "b.batch", tmp_path / "b.log"
    handle = f"{PREFIX}/LOG.{RUN}"
    section = f"CREATE {handle}\n1 URL 60 1110 UTF8 x\n\n"
    batch.write_text(f"{section}{section}DELETE {handle}\nNONSENSE\n")
    words = ["batch", str(batch), str(log), "--node", str(enterprise.folder)]
    assert main(words) == ExitCode.REFUSED
    date = r"\w{3} \w{3} \d\d \d\d:\d\d:\d\d \w+ \d{4}"
    expected = rf"""Start Time: {date}
==>SUCCESS\[1\]: create:{handle}
==>FAILURE\[4\]: create:{handle}: Error\(101\): HANDLE ALREADY EXISTS: .*
==>SUCCESS\[7\]: delete:{handle}
==>INVALID\[8\]: 'NONSENSE' begins no section
Successes/Total Entries: 2/3
Batch File Lines: 8
Finish Time: {date}
This batch took \d+ seconds to complete at an average speed of [\d.]+ operations/second
"""
    assert re.fullmatch(expected, log.read_text("utf-8")), log.read_text("utf-8")


def test_scripts_that_read_the_log_from_stdout_get_it_there(
    enterprise: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As they take a line of the stock tool apart: outcome, operation, handle, code, words."""
    batch = tmp_path / "s.batch"
    handle = f"{PREFIX}/STDOUT.{RUN}"
    batch.write_text(f"CREATE {handle}\n1 URL 60 1110 UTF8 x\n\n" * 2)
    words = ["batch", str(batch), "-", "--node", str(enterprise.folder)]
    assert main(words) == ExitCode.REFUSED
    printed = capsys.readouterr()
    found = re.findall(r"^=+>(.+)\[[0-9]+\]: (.+)$", printed.out, re.MULTILINE)
    assert [outcome for outcome, _ in found] == ["SUCCESS", "FAILURE"]
    parts = re.split(r":\s*", found[1][1], maxsplit=3)
    assert parts[:3] == ["create", handle, "Error(101)"]
    assert parts[3].startswith("HANDLE ALREADY EXISTS")
    assert "1 of 2 operations succeeded" in printed.err
    assert not Path(f"{batch}.log").exists()
    assert main([*words, "--json"]) == ExitCode.USAGE


@pytest.mark.parametrize(("order", "permissions"), [("manual", 0xC7F), ("tool", 0x8FF)])
def test_doubtful_permissions_are_told_and_read_as_wished(
    enterprise: Node,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    order: str,
    permissions: int,
) -> None:
    handle = f"{PREFIX}/DIGITS.{order}.{RUN}"
    batch = tmp_path / "d.batch"
    batch.write_text(f"CREATE {handle}\n100 HS_ADMIN 60 1110 ADMIN 300:111111110001:0.NA/9\n")
    words = ["batch", str(batch), "--node", str(enterprise.folder), "--admin-digits", order]
    assert main(words) == ExitCode.OK
    assert "line 2: these permissions of an ADMIN mean one thing" in capsys.readouterr().err
    (value,) = enterprise.get(f"/api/handles/{handle}").json["values"]
    assert int(value["data"]["value"]["permissions"], 2) == permissions
