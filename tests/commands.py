"""What running nodes takes beside a node: ports, the command, waiting, changing a configuration."""

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ADDRESS = "127.0.0.1"
BIAOSHI = (sys.executable, "-m", "resolver.cli.main")
ROOT = Path(__file__).parents[1]
COMMAND_TIMEOUT_S = 60.0
# Below the range from which the kernel picks ports for outgoing connections (32768 and up), so that
# nobody's connection takes one between the look and the start.
_PORTS = range(20_000, 32_000)
_handed_out: set[int] = set()

Tables = Mapping[str, Mapping[str, Any]]


def wait_until(
    holds: Callable[[], Any], what: str, timeout_s: float = 10.0, pause_s: float = 0.02
) -> Any:
    """Poll until `holds()` is true and return it; fail, saying `what` was waited for."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        result = holds()
        if result:
            return result
        assert time.monotonic() < deadline_s, f"not within {timeout_s:g} s: {what}"
        time.sleep(pause_s)


def free_port() -> int:
    """Return a port that is free for UDP and TCP on loopback and was not handed out before."""
    while True:
        port = random.choice(_PORTS)
        if port in _handed_out:
            continue
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                sock = stack.enter_context(socket.socket(socket.AF_INET, kind))
                sock.bind((ADDRESS, port))
            _handed_out.add(port)
            return port


def run_biaoshi(*words: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command to its end; its output is text, its exit code the caller's to judge."""
    return subprocess.run(
        [*BIAOSHI, *words],
        cwd=folder or ROOT,
        env=node_environment(),
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )


def must_run(*words: str) -> str:
    """Run the command, which has to succeed; return what it printed."""
    ended = run_biaoshi(*words)
    assert ended.returncode == 0, f"biaoshi {' '.join(words)}: {ended.stdout}{ended.stderr}"
    return ended.stdout


def configure(folder: Path, tables: Tables) -> None:
    """Change keys of a node's biaoshi.toml: {"limits": {"idle_timeout_s": 2}}."""
    path = folder / "biaoshi.toml"
    document = tomllib.loads(path.read_text("utf-8"))
    for table, keys in tables.items():
        document.setdefault(table, {}).update(keys)
    plain = {key: value for key, value in document.items() if not isinstance(value, dict)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in plain.items()]
    for table in document.keys() - plain.keys():
        lines.append(f"[{table}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in document[table].items()]
    path.write_text("\n".join(lines) + "\n", "utf-8")


def node_environment() -> dict[str, str]:
    """The environment of a node or command that runs from this checkout."""
    # Tests run from a checkout that need not be installed; a test's own coverage is not the node's.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COV_CORE")}
    paths = os.pathsep.join(filter(None, (str(ROOT), kept.get("PYTHONPATH"))))
    return {**kept, "PYTHONPATH": paths, "NO_COLOR": "1"}
