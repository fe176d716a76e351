"""What is measured: our node, the C echo, Knot DNS and NSD, each one process tree on one core.

All run from a folder of their own, unprivileged, on loopback and free ports, and are ended by their
process id. A server is ready when the generator has its first right answer.
"""

import contextlib
import http.client
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest.formula import Shape, make_handle
from loadtest.load import Tools, pinned, run_generator
from loadtest.resident import held
from loadtest.startup import MeasurementError, await_answer

READY_LIMIT_S = 180.0  # DNS servers read three million records first
STOP_LIMIT_S = 15.0
LOOK_S = 0.3
BIAOSHI = Path(sys.executable).with_name("biaoshi")
FASTPATH_VARIABLE = "BIAOSHI_FASTPATH"
CONFIG = "biaoshi.toml"
# Below those the kernel gives to clients, so that none of ours takes a server's while it restarts.
PORTS = range(20_000, 32_000)

KNOT_CONFIG = """\
server:
    rundir: "{folder}"
    listen: 127.0.0.1@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: "{folder}"
log:
  - target: stderr
    any: warning
zone:
  - domain: bench.
    file: "{zone}"
    zonefile-load: whole
    zonefile-sync: -1
    journal-content: none
"""

NSD_CONFIG = """\
server:
    ip-address: 127.0.0.1@{port}
    server-count: 1
    username: ""
    zonesdir: "{folder}"
    database: ""
    zonelistfile: "{folder}/zone.list"
    xfrdfile: ""
    xfrdir: "{folder}"
    pidfile: ""
    minimal-responses: yes
    rrl-ratelimit: 0
remote-control:
    control-enable: no
zone:
    name: bench.
    zonefile: "{zone}"
"""


@dataclass(frozen=True, slots=True)
class Served:
    """A node that runs: its supervisor's process id; ports for the Handle protocol and HTTP."""

    pid: int
    ports: tuple[int, int]


def free_port() -> int:
    """Return a port that is free for TCP and UDP on loopback."""
    while True:
        port = random.choice(PORTS)
        with (
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram,
            contextlib.suppress(OSError),
        ):
            stream.bind(("127.0.0.1", port))
            datagram.bind(("127.0.0.1", port))
            return port


@contextlib.contextmanager
def running(
    words: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server; on the way out end it, and whatever it started."""
    with log.open("ab") as sink:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            env={**os.environ, **(environment or {})},
            start_new_session=True,  # so that its group is it and its children, nobody else
            preexec_fn=_heed_interrupts,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(STOP_LIMIT_S)


def _heed_interrupts() -> None:
    """Undo what a shell did that runs us in the background: its children ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def make_node(folder: Path, shape: Shape) -> Path:
    """Make an enterprise node's data folder with `biaoshi init`; return it.

    Raises:
        MeasurementError: a command failed.
    """
    init_node("top", folder / "top")
    root = ("--root", str(folder / "top" / "bootstrap.json"))
    return init_node("enterprise", folder / "node", "--prefix", shape.prefix, *root)


def init_node(role: str, folder: Path, *words: str) -> Path:
    """Make a node's data folder, its ports free ones; return it. Raises: MeasurementError."""
    ports = ("--handle-port", str(free_port()), "--http-port", str(free_port()))
    run_biaoshi("init", role, "--data", str(folder), *words, *ports)
    return folder


def run_biaoshi(*words: str) -> str:
    """Run the command; return what it printed. Raises: MeasurementError."""
    ended = subprocess.run([str(BIAOSHI), *words], capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise MeasurementError(f"biaoshi {words[0]}: {ended.stderr.strip() or ended.stdout}")
    return ended.stdout


def load_node(tools: Tools, node: Path, shape: Shape, first: int = 0, count: int = 0) -> float:
    """Fill a node's store with rows through `biaoshi load`; return the seconds it took.

    Args:
        tools: compiled.
        node: its data folder.
        shape: of the rows or ranges.
        first: the number of the first one.
        count: how many; 0: all from the first on.

    Raises:
        MeasurementError: generator or loader failed.
    """
    words = ["ndjson", *shape.options(), "--first", str(first), "--count", str(count)]
    begun = time.monotonic()
    with subprocess.Popen([str(tools.generator), *words], stdout=subprocess.PIPE) as rows:
        ended = subprocess.run(
            [str(BIAOSHI), "load", "-", "--node", str(node)],
            stdin=rows.stdout,
            capture_output=True,
            text=True,
            check=False,
        )
    if ended.returncode or rows.returncode:
        raise MeasurementError(f"the rows were not loaded: {ended.stderr}{ended.stdout}")
    return time.monotonic() - begun


def node_ports(node: Path, config: str = CONFIG) -> tuple[int, int]:
    """Return the node's ports for the Handle protocol and HTTP."""
    listen = tomllib.loads((node / config).read_text("utf-8"))["listen"]
    return int(listen["handle_port"]), int(listen["http_port"])


@contextlib.contextmanager
def serving_node(
    node: Path, shape: Shape, core: int | None, fastpath: str | None = None
) -> Iterator[tuple[int, int]]:
    """Run a node, its store held in memory; hand out its ports once it answers for the first row.

    Args:
        node: its data folder.
        shape: what it holds.
        core: where to pin it.
        fastpath: native, python or off; None leaves the choice to the node.

    Raises:
        MeasurementError: it ended or does not answer.
    """
    with held(node / "store"), serving(node, make_handle(shape, 0), core, fastpath) as served:
        yield served.ports


@contextlib.contextmanager
def serving(
    node: Path,
    handle: bytes,
    cores: int | Sequence[int] | None,
    fastpath: str | None = None,
    config: str = CONFIG,
) -> Iterator[Served]:
    """Run a node with a configuration in its folder until it answers for `handle` and is ready.

    Raises:
        MeasurementError: it ended or does not answer.
    """
    ports = node_ports(node, config)
    words = [*pinned(cores), str(BIAOSHI), "serve", str(node / config)]
    log = node.with_suffix(".log")
    environment = {FASTPATH_VARIABLE: fastpath} if fastpath else {}
    with running(words, log, environment) as process:
        try:
            await_answer(("127.0.0.1", ports[0]), handle, lambda: process.poll() is None)
            await_http(ports[1], process)
        except MeasurementError as error:
            raise MeasurementError(f"{error}\n{_tail(log)}") from None
        yield Served(process.pid, ports)


def await_http(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a node says it is ready: HTTP comes after UDP. Raises: MeasurementError."""
    deadline = time.monotonic() + READY_LIMIT_S
    while process.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
        with (
            contextlib.suppress(OSError, http.client.HTTPException),
            contextlib.closing(connection),
        ):
            connection.request("GET", "/readyz")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        time.sleep(LOOK_S)
    raise MeasurementError(f"the node is not ready, says its HTTP port {port}")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text("utf-8", "replace").splitlines()[-5:])


@contextlib.contextmanager
def serving_echo(tools: Tools, folder: Path, core: int | None) -> Iterator[int]:
    """Run the C echo; hand out its port."""
    port = free_port()
    words = [*pinned(core), str(tools.echo), "127.0.0.1", str(port)]
    with running(words, folder / "echo.log") as process:
        _await(tools, process, "echo", port, Shape(1), folder / "echo.log")
        yield port


@contextlib.contextmanager
def serving_dns(
    name: str, tools: Tools, folder: Path, zone: Path, shape: Shape, core: int | None
) -> Iterator[int]:
    """Run Knot DNS ("knot") or NSD ("nsd") with the zone; hand out its port.

    Raises:
        MeasurementError: it does not serve the zone.
    """
    home = folder / name
    home.mkdir()
    port, config = free_port(), home / f"{name}.conf"
    template = KNOT_CONFIG if name == "knot" else NSD_CONFIG
    config.write_text(template.format(folder=home, port=port, zone=zone))
    program = [find_program("knotd")] if name == "knot" else [find_program("nsd"), "-d"]
    words = [*pinned(core), *map(str, program), "-c", str(config)]
    with running(words, home / "log.txt") as process:
        _await(tools, process, "dns", port, shape, home / "log.txt")
        yield port


def find_program(name: str) -> str | None:
    """Return the path of a program, also one in sbin; None when it is not installed."""
    return shutil.which(name, path=os.pathsep.join((os.environ["PATH"], "/usr/sbin", "/sbin")))


def write_zone(tools: Tools, shape: Shape, path: Path) -> None:
    """Write the rows as a zone file. Raises: OSError, CalledProcessError."""
    words = ["zone", "--rows", str(shape.rows), "--values", str(shape.values)]
    with path.open("wb") as file:
        subprocess.run([str(tools.generator), *words], stdout=file, check=True)


def _await(
    tools: Tools,
    process: subprocess.Popen[bytes],
    mode: str,
    port: int,
    shape: Shape,
    log: Path,
) -> None:
    """Wait for the first right answer."""
    deadline = time.monotonic() + READY_LIMIT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            run_generator(
                tools, mode, port, shape, seconds=0.05, options=("--warmup", "0", "--window", "1")
            )
        except MeasurementError:
            time.sleep(LOOK_S)
        else:
            return
    raise MeasurementError(f"the {mode} server does not answer:\n{_tail(log)}")
