"""Nodes as tests run them: folders made by `biaoshi init`, processes started by `biaoshi serve`.

Everything is on loopback, on ports that were free a moment before, and is ended by process id.
Whatever a node writes goes to `log.txt` in its data folder, and into the message when a test fails.
"""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import psutil

from tests.commands import (
    ADDRESS,
    BIAOSHI,
    ROOT,
    Tables,
    configure,
    free_port,
    must_run,
    node_environment,
    run_biaoshi,
    wait_until,
)

__all__ = [
    "ADDRESS",
    "BIAOSHI",
    "ROOT",
    "HttpAnswer",
    "Node",
    "Role",
    "Tables",
    "Topology",
    "configure",
    "delegate",
    "free_port",
    "make_node",
    "must_run",
    "run_biaoshi",
    "running",
    "topology",
    "wait_until",
]

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0

Role = Literal["top", "secondary", "enterprise", "recursive"]


class HttpAnswer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Node:
    """A node's data folder and, while it runs, its processes."""

    def __init__(
        self, folder: Path, role: Role, prefix: str, handle_port: int, http_port: int
    ) -> None:
        self.folder = folder
        self.role = role
        self.prefix = prefix
        self.handle_port = handle_port
        self.http_port = http_port
        self.log_path = folder / "log.txt"
        self.process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<{self.role} node {self.prefix} in {self.folder}>"

    @property
    def address(self) -> tuple[str, int]:
        """Where the Handle protocol is answered, over UDP and TCP."""
        return ADDRESS, self.handle_port

    @property
    def http_address(self) -> tuple[str, int]:
        return ADDRESS, self.http_port

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def admin(self) -> str:
        """The identity whose key is admin-key.bin."""
        return "300:0.NA/0.NA" if self.role == "top" else f"300:0.NA/{self.prefix}"

    @property
    def admin_key(self) -> Path:
        return self.folder / "admin-key.bin"

    @property
    def bootstrap(self) -> Path:
        return self.folder / "bootstrap.json"

    @property
    def delegation(self) -> Path:
        return self.folder / "delegation.json"

    @property
    def log(self) -> str:
        """What the node wrote so far, over all its starts."""
        return self.log_path.read_text("utf-8", "replace") if self.log_path.exists() else ""

    @property
    def log_tail(self) -> str:
        return "\n".join(self.log.splitlines()[-40:])

    def start(self, *, wait: bool = True) -> None:
        """Start the node; return when all of it answers."""
        assert self.process is None, f"{self} runs already"
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*_dying_with_us(), *BIAOSHI, "serve", str(self.folder)],
                cwd=ROOT,
                env=node_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if wait:
            self.wait_until_ready()

    def wait_until_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until /readyz says 200; fail at once when the node ended."""
        try:
            wait_until(self._is_ready, f"{self} is ready", timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log_tail}") from None

    def _is_ready(self) -> bool:
        ended = self.process.poll() if self.process else None
        assert ended is None, f"{self} ended with {ended}:\n{self.log_tail}"
        try:
            return self.get("/readyz", timeout_s=5).status == 200
        except OSError:
            return False
        except http.client.HTTPException:
            return False

    def stop(self) -> int:
        """End the node with SIGTERM; return its exit code."""
        assert self.process is not None, f"{self} does not run"
        process, self.process = self.process, None
        process.terminate()
        try:
            return process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._kill_group(process)
            raise AssertionError(f"{self} ignored SIGTERM:\n{self.log_tail}") from None

    def kill(self) -> None:
        """End every process of the node with SIGKILL at once."""
        if self.process is not None:
            process, self.process = self.process, None
            self._kill_group(process)

    @staticmethod
    def _kill_group(process: subprocess.Popen[bytes]) -> None:
        # The node was started as a session of its own, so the group is the node and nobody else.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_TIMEOUT_S)
        wait_until(lambda: not _group(process.pid), f"group {process.pid} is gone", STOP_TIMEOUT_S)

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        assert self.process is not None, f"{self} does not run"
        return self.process.pid

    @property
    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.pid).children(recursive=True)

    def worker_pids(self) -> list[int]:
        """The processes that listen on the node's port; HTTP comes after it."""
        return sorted(each.pid for each in self.children if self._listens(each))

    def writer_pid(self) -> int | None:
        """The one process that may write the store (or cache): registrar or keeper."""
        writers = [each.pid for each in self.children if _writes_store(each, self.folder)]
        assert len(writers) <= 1, f"{len(writers)} processes write the store of {self}"
        return writers[0] if writers else None

    def _listens(self, process: psutil.Process) -> bool:
        try:
            held = process.net_connections(kind="tcp4")
        except psutil.Error:
            return False
        return any(
            each.status == psutil.CONN_LISTEN and each.laddr.port == self.handle_port
            for each in held
        )

    def listens_for_http(self) -> bool:
        """Say whether somebody takes connections over HTTP."""
        with socket.socket() as sock:
            return sock.connect_ex(self.http_address) == 0

    def get(self, path: str, *, timeout_s: float = 5.0) -> HttpAnswer:
        """GET over plain HTTP."""
        return self.http("GET", path, timeout_s=timeout_s)

    def http(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        timeout_s: float = 5.0,
    ) -> HttpAnswer:
        """One request over plain HTTP on a connection of its own."""
        connection = http.client.HTTPConnection(*self.http_address, timeout=timeout_s)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return HttpAnswer(answer.status, names, answer.read())
        finally:
            connection.close()

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels, as /metrics shows it."""
        page = self.get("/metrics").body.decode()
        rows = [line.rpartition(" ") for line in page.splitlines() if not line.startswith("#")]
        found = [float(number) for row, _, number in rows if row.partition("{")[0] == name]
        assert found, f"no metric {name}"
        return sum(found)


def _dying_with_us() -> tuple[str, ...]:
    """What to run a node with so that it ends even when the tests are killed."""
    setpriv = shutil.which("setpriv")  # of util-linux; it is replaced by what it starts
    return (setpriv, "--pdeathsig", "KILL", "--") if setpriv else ()


def _group(group: int) -> list[int]:
    members = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process.pid)
    return members


def _writes_store(process: psutil.Process, folder: Path) -> bool:
    stores = {str(folder / name / "data.mdb") for name in ("store", "cache")}
    try:
        files = process.open_files()
    except psutil.Error:
        return False
    return any(each.path in stores and each.mode != "r" for each in files)


def make_node(
    folder: Path,
    role: Role = "top",
    prefix: str = "88",
    *,
    root: Path | None = None,
    tables: Tables | None = None,
) -> Node:
    """Make a node's data folder with `biaoshi init`; `root` is a top node's bootstrap.json."""
    node = Node(folder, role, prefix, free_port(), free_port())
    must_run("init", role, *_init_words(node, root))
    configure(folder, tables or {})
    return node


def _init_words(node: Node, root: Path | None) -> Iterator[str]:
    yield from ("--data", str(node.folder))
    if node.prefix:
        yield from ("--prefix", node.prefix)
    yield from ("--listen", ADDRESS)
    yield from ("--handle-port", str(node.handle_port), "--http-port", str(node.http_port))
    if root is not None:
        yield from ("--root", str(root))


@contextlib.contextmanager
def running(node: Node) -> Iterator[Node]:
    """Start a node and, whatever happens, leave none of its processes behind."""
    try:
        node.start()
        yield node
    finally:
        node.kill()


class Topology(NamedTuple):
    """The four roles, delegated and running."""

    top: Node
    secondary: Node
    enterprise: Node
    recursive: Node


@contextlib.contextmanager
def topology(folder: Path, tables: Mapping[Role, Tables] | None = None) -> Iterator[Topology]:
    """Run top (88), secondary (88.118), enterprise (88.118.5) and a recursive node."""
    changes = tables or {}
    with contextlib.ExitStack() as stack:
        top = make_node(folder / "top", "top", "88", tables=changes.get("top"))
        stack.enter_context(running(top))
        nodes = [top]
        for role, prefix in _BELOW:
            node = make_node(
                folder / role, role, prefix, root=top.bootstrap, tables=changes.get(role)
            )
            if prefix:
                delegate(nodes[-1], node)
            nodes.append(stack.enter_context(running(node)))
        yield Topology(*nodes)


_BELOW: tuple[tuple[Role, str], ...] = (
    ("secondary", "88.118"),
    ("enterprise", "88.118.5"),
    ("recursive", ""),
)


def delegate(parent: Node, child: Node) -> None:
    """Have the parent create the child's prefix handle, as the parent's administrator."""
    must_run("prefix", "delegate", str(child.delegation), "--node", str(parent.folder))
