import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from resolver.supervisor import (
    BACKOFF_FIRST_S,
    BACKOFF_LAST_S,
    EXIT_FAILED,
    EXIT_USAGE,
    LIVED_S,
    Child,
    next_pause_s,
    serve,
    take_pid_file,
)

ROOT = Path(__file__).parents[2]

# Runs a supervisor over children that answer nobody: they say what happens to them.
STAGE = """
import os, signal, sys, time
from pathlib import Path
from resolver import supervisor
from resolver.config import Config, LogConfig, NodeRole
from resolver.logs import configure_logs, log_strays
from resolver.metric_files import process_name, share_metrics

folder, scene, form = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
log = LogConfig(format=form)
config = Config(role=NodeRole.TOP, data_dir=str(folder), log=log)

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def live(config, ready):
    waited_for = {signal.SIGTERM, signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, waited_for)
    ready()
    say("child", process_name(), os.getpid())
    while signal.sigwait(waited_for) == signal.SIGHUP:
        say("hup", process_name())
    say("end", process_name())

def quiet(config, ready):
    ready()
    signal.sigwait({signal.SIGTERM})

def fail(config, ready):
    raise ValueError("odd")

def lack(config, ready):
    import resolver.no_such_module

def despair(config, ready):
    raise SystemExit(supervisor.EXIT_HOPELESS)

mains = {"live": live, "lack": lack, "despair": despair, "quiet": quiet, "fail": fail}
if form == "json" or len(sys.argv) > 4:
    configure_logs(log, "supervisor")
if form == "json":
    log_strays()
pid_file = supervisor.take_pid_file(folder / "pid")
share_metrics(folder / "metrics")
import resolver.metrics
writer = quiet if form == "json" else live
children = [supervisor.Child("registrar", writer), supervisor.Child("worker1", mains[scene])]
signal.pthread_sigmask(signal.SIG_BLOCK, supervisor._SIGNALS)
supervisor.LATE_S = 0.05
late = ["resolver.not_there"] if "late" in sys.argv else []
sys.exit(supervisor.Supervisor(config, children, pid_file, time.monotonic(), late).run())
"""


class Stage:
    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.seen: list[str] = []

    def until(self, begins: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.seen.append(line.strip())
            if line.startswith(begins):
                return line.strip()
        raise AssertionError(f"{begins!r} never came, only {self.seen}")

    def until_with(self, part: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.seen.append(line.strip())
            if part in line:
                return line.strip()
        raise AssertionError(f"{part!r} never came, only {self.seen}")

    def children(self, count: int) -> dict[str, int]:
        found: dict[str, int] = {}
        for line in self.seen:
            if line.startswith("child "):
                found[line.split()[1]] = int(line.split()[2])
        while len(found) < count:
            _, name, pid = self.until("child ").split()
            found[name] = int(pid)
        return found


@contextmanager
def staged(folder: Path, scene: str = "live", *more: str) -> Iterator[Stage]:
    process = subprocess.Popen(
        [sys.executable, "-c", STAGE, str(folder), scene, *(more or ("text",))],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        yield Stage(process)
    finally:
        process.kill()
        process.communicate()


def test_the_pause_doubles_while_a_child_keeps_dying() -> None:
    pauses, pause_s = [], BACKOFF_FIRST_S
    for _ in range(10):
        pause_s = next_pause_s(pause_s, lived_s=0.1)
        pauses.append(pause_s)
    assert pauses[:3] == [BACKOFF_FIRST_S * 2, BACKOFF_FIRST_S * 4, BACKOFF_FIRST_S * 8]
    assert pauses[-1] == BACKOFF_LAST_S
    assert next_pause_s(pause_s, lived_s=LIVED_S) == BACKOFF_FIRST_S


@pytest.mark.parametrize(
    ("name", "kind"), [("worker1", "worker"), ("worker12", "worker"), ("keeper", "keeper")]
)
def test_a_child_is_of_a_kind(name: str, kind: str) -> None:
    assert Child(name, lambda config, ready: None).kind == kind


def test_the_pid_file_is_locked_not_merely_there(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text("99999\nleft by a node that died")
    held = take_pid_file(path)
    assert held is not None
    assert path.read_text() == f"{os.getpid()}\n"
    assert take_pid_file(path) is None
    held.close()
    again = take_pid_file(path)
    assert again is not None
    again.close()


def test_mistakes_in_the_configuration_are_all_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "biaoshi.toml"
    path.write_text('rol = "top"\n')
    assert serve(path) == EXIT_USAGE
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("biaoshi: ") for line in lines)
    assert not (tmp_path / "run").exists()


def test_a_port_in_use_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["TCP port 2641 of 127.0.0.1 is in use by another program"]
    monkeypatch.setattr("resolver.supervisor.check_free", lambda *_: words)
    monkeypatch.setattr("resolver.supervisor.configure_logs", lambda *_: None)
    path = tmp_path / "biaoshi.toml"
    path.write_text('role = "top"\n')
    assert serve(path) == EXIT_FAILED
    assert words[0] in capsys.readouterr().err
    assert (tmp_path / "run" / "pid").read_text() == ""


def test_children_are_started_named_and_ended(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        stage.until("ready: top node on hdl://127.0.0.1:2641, http(s)://127.0.0.1:8000 (")
        children = stage.children(2)
        assert set(children) == {"registrar", "worker1"}
        assert (tmp_path / "pid").read_text() == f"{stage.process.pid}\n"
        stage.process.send_signal(signal.SIGHUP)
        assert stage.until("hup") == "hup worker1"
        stage.process.send_signal(signal.SIGTERM)
        assert stage.until("end") == "end worker1"
        assert stage.until("end") == "end registrar"
        assert stage.process.wait() == 0


def test_ctrl_c_ends_a_node_too(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        stage.until("ready")
        stage.children(2)
        stage.process.send_signal(signal.SIGINT)
        assert stage.until("end") == "end worker1"
        assert stage.process.wait() == 0


def test_a_dead_child_is_replaced(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        stage.until("ready")
        first = stage.children(2)["registrar"]
        os.kill(first, signal.SIGKILL)
        assert stage.until("registrar died") == "registrar died and is replaced in 100 ms"
        _, name, pid = stage.until("child").split()
        assert name == "registrar"
        assert int(pid) != first
        stage.process.send_signal(signal.SIGTERM)
        assert stage.process.wait() == 0


def test_the_log_says_when_a_child_is_back(tmp_path: Path) -> None:
    with staged(tmp_path, "live", "text", "logs") as stage:
        stage.until("ready")
        os.kill(stage.children(2)["worker1"], signal.SIGKILL)
        words = stage.until_with("answers again after")
        assert re.search(r" info supervisor \d+ worker1 answers again after \d\.\d s$", words)
        assert any("worker1 died and is replaced in 100 ms" in line for line in stage.seen)


@pytest.mark.parametrize(("scene", "exit_code"), [("quiet", 0), ("despair", EXIT_FAILED)])
def test_with_json_logs_all_output_is_json(tmp_path: Path, scene: str, exit_code: int) -> None:
    with staged(tmp_path, scene, "json") as stage:
        awaited = "ready: top node" if scene == "quiet" else "worker1 cannot start, see above"
        stage.until_with(awaited)
        stage.process.send_signal(signal.SIGTERM)
        stage.until_with('"stopped"')
        assert stage.process.wait() == exit_code
        events = [json.loads(line) for line in stage.seen]
        assert all(event["process"] == "supervisor" for event in events)


def test_an_error_of_a_child_is_json_too(tmp_path: Path) -> None:
    with staged(tmp_path, "fail", "json") as stage:
        event = json.loads(stage.until_with("ValueError: odd"))
        assert (event["process"], event["message"]) == ("worker1", "worker1 ended by an error")


def test_children_do_not_outlive_their_supervisor(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        stage.until("ready")
        stage.children(2)
        stage.process.kill()
        # The children hold the pipe's other end: it ends when the last of them has.
        with pytest.raises(AssertionError, match="never came"):
            stage.until("anything more")
        held = take_pid_file(tmp_path / "pid")
        assert held is not None
        held.close()


def test_a_child_without_hope_ends_the_start(tmp_path: Path) -> None:
    with staged(tmp_path, "despair") as stage:
        assert stage.until("biaoshi:") == "biaoshi: worker1 cannot start, see above"
        assert stage.process.wait() == EXIT_FAILED


def test_a_port_is_free_again_for_the_next_node() -> None:
    # What `check_free` relies on: SO_REUSEPORT is asked for by workers alone.
    with socket.socket() as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0


def test_a_module_that_is_missing_ends_the_start(tmp_path: Path) -> None:
    with staged(tmp_path, "lack") as stage:
        stage.until("ModuleNotFoundError: No module named 'resolver.no_such_module'")
        assert stage.until("biaoshi:") == "biaoshi: worker1 cannot start, see above"
        assert stage.process.wait() == EXIT_FAILED


def test_what_children_import_late_is_imported_once_the_node_is_ready(tmp_path: Path) -> None:
    with staged(tmp_path, "live", "text", "logs", "late") as stage:
        stage.until("ready")
        stage.children(2)
        stage.until_with("replaced processes will start late: No module named 'resolver.not_there'")
        os.kill(stage.children(2)["worker1"], signal.SIGKILL)
        stage.until("child worker1")  # it goes on as before
