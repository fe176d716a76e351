import json
import os
import shutil
from pathlib import Path

import pytest

from resolver.cli import checks, network_checks
from resolver.cli.errors import ExitCode
from resolver.cli.findings import Finding, Level, Subject
from resolver.cli.main import main
from resolver.config import load_config
from resolver.fastpath import Choice
from resolver.node_files import NodeFolder


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    assert main(["init", "top", "--data", str(tmp_path / "top")]) == ExitCode.OK
    folder = NodeFolder(tmp_path / "top")
    return Subject(folder, load_config(folder.config))


def levels(findings: list[Finding]) -> list[Level]:
    return [finding.level for finding in findings]


def test_a_new_node_is_well(subject: Subject) -> None:
    for check in (checks.check_keys, checks.check_site, checks.check_store, checks.check_limits):
        assert set(levels(list(check(subject)))) <= {Level.OK, Level.WARNING}
    assert levels(list(checks.check_keys(subject))) == [Level.OK, Level.OK]
    assert levels(list(checks.check_site(subject))) == [Level.OK]
    assert levels(list(checks.check_store(subject))) == [Level.OK]


def test_a_key_others_can_read(subject: Subject) -> None:
    subject.folder.server_key.chmod(0o644)
    server, admin = checks.check_keys(subject)
    assert server.level is Level.PROBLEM
    assert server.hint == f"chmod 600 {subject.folder.server_key}"
    assert admin.level is Level.OK


def test_halves_of_two_keys(subject: Subject) -> None:
    octets = subject.folder.admin_public_key.read_bytes()
    subject.folder.server_public_key.write_bytes(octets)
    (server, _) = checks.check_keys(subject)
    assert "is not the public half" in server.words
    (site,) = checks.check_site(subject)
    assert "another key" in site.words


def test_a_missing_key(subject: Subject) -> None:
    subject.folder.server_key.unlink()
    (server, _) = checks.check_keys(subject)
    assert server.level is Level.PROBLEM
    assert "No such file" in server.words


def test_a_site_with_other_ports(subject: Subject) -> None:
    text = subject.folder.site.read_text()
    subject.folder.site.write_text(text.replace("2641", "2642"))
    (site,) = checks.check_site(subject)
    assert site.level is Level.WARNING
    assert "tcp/2642, udp/2642" in site.words


def test_a_server_key_that_is_replaced(subject: Subject) -> None:
    assert list(checks.check_rotation(subject)) == []
    words = ["admin", "rotate-key", "--node", str(subject.folder.path)]
    assert main(words) == ExitCode.OK
    (signing,) = checks.check_rotation(subject)
    assert signing.level is Level.WARNING
    assert "site serial 1 signs too, replaced 0 hours ago" in signing.words
    assert levels(list(checks.check_site(subject))) == [Level.OK]
    subject.folder.pid.parent.mkdir()
    subject.folder.pid.write_text(f"{os.getpid()}\n")
    os.utime(subject.folder.pid, (0, 0))
    assert [each.subject for each in checks.check_rotation(subject)] == ["server key", "process"]
    assert main(words) == ExitCode.REFUSED
    shutil.copy(subject.folder.server_key, subject.folder.new_server_key)
    unfinished = next(iter(checks.check_rotation(subject)))
    assert unfinished.level is Level.PROBLEM
    assert "rotate-key" in unfinished.hint


def test_a_store_that_is_none(subject: Subject) -> None:
    (subject.folder.store / "data.mdb").write_bytes(b"nonsense" * 1024)
    (store,) = checks.check_store(subject)
    assert store.level is Level.PROBLEM


def test_a_pid_file_left_behind(subject: Subject) -> None:
    (found,) = network_checks.check_pid(subject)
    assert found.words == "not running"
    subject.folder.pid.parent.mkdir()
    subject.folder.pid.write_text(f"{os.getpid()}\n")
    (found,) = network_checks.check_pid(subject)
    assert found.words == f"running as {os.getpid()}"
    subject.folder.pid.write_text("4194305\n")  # above the largest process id Linux gives
    (found,) = network_checks.check_pid(subject)
    assert found.level is Level.WARNING


def test_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 0.0)
    (found,) = checks.check_clock()
    assert found.level is Level.PROBLEM


def test_open_files() -> None:
    (found,) = checks.check_open_files(10_000_000_000)
    assert found.level is Level.WARNING
    assert "LimitNOFILE" in found.hint


def test_every_mistake_of_the_configuration(
    subject: Subject, capsys: pytest.CaptureFixture[str]
) -> None:
    subject.folder.config.write_text('role = "top"\nwrokers = 1\n[limits]\nsessions_max = 0\n')
    capsys.readouterr()
    assert main(["doctor", str(subject.folder.path), "--json"]) == ExitCode.REFUSED
    findings = json.loads(capsys.readouterr().out)
    problems = [each["words"] for each in findings if each["level"] == "problem"]
    assert len(problems) == 2
    assert "wrokers" in problems[0]
    assert "limits.sessions_max" in problems[1]


def test_native_code_that_is_missing_for_rows_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "choose", lambda: Choice.NATIVE)
    monkeypatch.setattr("resolver.rows.native.is_native_built", lambda: False)
    (finding,) = checks.check_fast_path()
    assert finding.level is Level.WARNING
    assert finding.words.startswith("native, but for NDJSON")
    assert "install a C compiler" in finding.hint


def test_only_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == ExitCode.OK
    subjects = [finding["subject"] for finding in json.loads(capsys.readouterr().out)]
    assert subjects == ["python", "uvloop", "clock", "fast path"]
