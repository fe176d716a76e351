"""The demo's four `biaoshi serve`: started, waited for, watched, ended.

Each runs in a process group of its own, so that Ctrl-C reaches the demo alone, which then ends
them in order; and each is told by the kernel when the demo dies without having done so.
"""

import ctypes
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from resolver.demo.errors import DemoError
from resolver.demo.topology import ADDRESS, DemoNode

READY_TIMEOUT_S = 20.0  # a start takes half a second; two cores may be busy with four of them
STOP_TIMEOUT_S = 15.0
POLL_S = 0.05
LOG_LINES = 8
LOG_NAME = "serve.log"

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


class NodeProcess:
    """One running node."""

    def __init__(self, node: DemoNode) -> None:
        self.node = node
        self.log_path: Path = node.files.path / LOG_NAME
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "resolver.cli.main", "serve", str(node.files.path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    @property
    def pid(self) -> int:
        """The supervisor's process id, and that of its process group."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Say whether the supervisor is alive."""
        return self._process.poll() is None

    def check(self) -> None:
        """Raise DemoError, with the log's last lines, when the node has ended."""
        if not self.is_running:
            raise DemoError(
                f"the {self.node.name} node ended with code {self._process.returncode}:\n"
                + self.log_tail(),
                f"read {self.log_path}",
            )

    def log_tail(self) -> str:
        """Return the last lines of the node's log, indented."""
        lines = self.log_path.read_text("utf-8", "replace").splitlines()[-LOG_LINES:]
        return "\n".join(f"    {line}" for line in lines)

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the supervisor."""
        if self.is_running:
            self._process.terminate()

    def wait_stopped(self, deadline_s: float) -> bool:
        """Wait for the end; past the deadline (monotonic) kill the group and return False."""
        try:
            self._process.wait(max(0.0, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
            return False
        return True


def wait_ready(processes: Iterable[NodeProcess]) -> None:
    """Wait until every node says on /readyz that it serves. Raises: DemoError."""
    deadline_s = time.monotonic() + READY_TIMEOUT_S
    for process in processes:
        while not _is_ready(process.node.http_port):
            process.check()
            if time.monotonic() > deadline_s:
                raise DemoError(
                    f"the {process.node.name} node is not ready after {READY_TIMEOUT_S:.0f} s:\n"
                    + process.log_tail(),
                    f"read {process.log_path}",
                )
            time.sleep(POLL_S)


def stop_all(processes: Iterable[NodeProcess]) -> list[str]:
    """End the nodes, all at the same time; return the names of those that had to be killed."""
    running = list(processes)
    for process in running:
        process.ask_to_stop()
    deadline_s = time.monotonic() + STOP_TIMEOUT_S
    return [process.node.name for process in running if not process.wait_stopped(deadline_s)]


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection(str(ADDRESS), port, timeout=1.0)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
