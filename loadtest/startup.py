"""Measure how long a node takes from its command to its first answer, and what its processes hold.

Targets P10 (start to first answer) and P11 (private memory per process, USS). The node is started
with `biaoshi serve FILE`; from that moment a resolution request goes out over UDP every
two milliseconds until one is answered, which also proves that the store is open. USS is
Private_Clean + Private_Dirty of /proc/PID/smaps_rollup, read once the node has said that it is
ready: it answers over UDP before all of it is loaded.
"""

import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from protocol.bodies import ResolutionRequest
from protocol.codes import MessageFlag, OpCode
from protocol.envelope import Envelope
from protocol.header import Header
from protocol.message import Message, decode_message
from protocol.versions import BEST

START_LIMIT_S = 30.0
RETRY_S = 0.002
STOP_LIMIT_S = 15.0


class MeasurementError(Exception):
    """The node did not start, did not answer or did not end; the message says which."""


@dataclass(frozen=True, slots=True)
class Start:
    """One start: seconds to the first answer, and USS octets by process (`name pid`)."""

    first_answer_s: float
    uss_octets: dict[str, int]


def resolution_request(handle: bytes, request_id: int) -> bytes:
    """Return a public resolution of `handle` as one datagram."""
    body = ResolutionRequest(handle).encode()
    header = Header(OpCode.RESOLUTION, 0, MessageFlag.PUBLIC_ONLY, expiration=0)
    return Message(Envelope(BEST, BEST, 0, 0, request_id, 0, 0), header, body).encode()


def await_answer(address: tuple[str, int], handle: bytes, still_running: Callable[[], bool]) -> int:
    """Ask until an answer comes and return its response code.

    Raises:
        MeasurementError: the node ended, or gave no answer within START_LIMIT_S.
    """
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    request = resolution_request(handle, 1)
    deadline = time.monotonic() + START_LIMIT_S
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.connect(address)
        client.settimeout(RETRY_S)
        while time.monotonic() < deadline:
            if not still_running():
                raise MeasurementError("the node ended before it answered; see its log above")
            try:
                client.send(request)
                return decode_message(client.recv(65_536)).header.response_code
            except TimeoutError:
                continue
            except ConnectionRefusedError:
                time.sleep(RETRY_S)
    raise MeasurementError(f"no answer from {address[0]}:{address[1]} within {START_LIMIT_S:.0f} s")


def process_tree(root: int) -> list[int]:
    """Return `root` and all processes below it."""
    found = [root]
    for pid in found:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (thread / "children").read_text().split()]
    return found


def uss_octets(pid: int) -> int:
    """Return the private memory of a process in octets."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    private = [
        line.split() for line in lines if line.startswith(("Private_Clean", "Private_Dirty"))
    ]
    return sum(int(fields[1]) * 1024 for fields in private)


def process_name(pid: int) -> str:
    """Return a process's own short name and number."""
    return f"{Path(f'/proc/{pid}/comm').read_text(encoding='utf-8').strip()} {pid}"


def measure_start(
    config: Path, handle: bytes, environment: Mapping[str, str] | None = None
) -> Start:
    """Start the node of `config`, wait for its first answer, read its memory when ready, end it.

    Args:
        config: biaoshi.toml of a node that is not running.
        handle: what to ask for.
        environment: variables set for the node beside our own.

    Raises:
        MeasurementError: as `await_answer`, or the node did not end within STOP_LIMIT_S.
    """
    listen = tomllib.loads(config.read_text(encoding="utf-8")).get("listen", {})
    address = (listen.get("addresses", ["127.0.0.1"])[0], listen.get("handle_port", 2641))
    command = [str(Path(sys.executable).with_name("biaoshi")), "serve", str(config)]
    begun = time.monotonic()
    variables = {**os.environ, **(environment or {})}
    node = subprocess.Popen(command, stdout=subprocess.PIPE, env=variables)
    assert node.stdout is not None
    try:
        await_answer(address, handle, lambda: node.poll() is None)
        first_answer_s = time.monotonic() - begun
        if not node.stdout.readline():
            raise MeasurementError("the node ended before it was ready; see its log above")
        memory = {process_name(pid): uss_octets(pid) for pid in process_tree(node.pid)}
    finally:
        node.stdout.close()
        node.send_signal(signal.SIGTERM)
        try:
            node.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            node.kill()
            raise MeasurementError(f"the node did not end within {STOP_LIMIT_S:.0f} s") from None
    return Start(first_answer_s, memory)


def report(starts: list[Start]) -> dict[str, object]:
    """Return what goes into `loadtest/results/`: machine, versions, every run, the medians."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "python": platform.python_version(),
        "first_answer_s_median": round(statistics.median(s.first_answer_s for s in starts), 3),
        "uss_octets_largest": max(max(start.uss_octets.values()) for start in starts),
        "starts": [asdict(start) for start in starts],
    }


def write_report(starts: list[Start], folder: Path) -> Path:
    """Write the report as `DATE-start.json` into `folder` and return its path."""
    content = report(starts)
    path = folder / f"{content['date']}-start.json"
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path
