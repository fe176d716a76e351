"""What a second worker costs: processor time per answer with one worker and with two.

Every worker has a socket of its own; the kernel chooses one by the client's address and port. If
workers waited for each other or wrote to the same memory, an answer of two would cost clearly more
than an answer of one. The load is an open loop: a closed one would ask two workers for more. With
two, each finds fewer requests in a batch, which costs something by itself. Processor time is
utime + stime of /proc/PID/stat, whose unit is a tick, mostly 10 ms.
"""

import os
import re
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.formula import make_handle
from loadtest.plan import SOCKETS_OPTIONS, Bench
from loadtest.servers import CONFIG, serving
from loadtest.startup import MeasurementError, process_tree

SCALING = "UDP, open loop, 64 sockets, both cores"
WORKERS = (1, 2)
LIMIT_S = 10.0
LOOK_S = 0.02
TICK_S = 1 / os.sysconf("SC_CLK_TCK")

_SOCKET = re.compile(r"socket:\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Scaled:
    """One measurement: what was offered and answered, and each worker's processor time."""

    workers: int
    run: int
    offered_per_s: float
    answers: int
    answered_per_s: float
    cpu_s: tuple[float, ...]

    @property
    def cpu_us_per_answer(self) -> float:
        """Processor time of all workers for one answer."""
        return sum(self.cpu_s) * 1e6 / self.answers

    @property
    def shares(self) -> list[float]:
        """Each worker's share of the processor time, the largest first."""
        total = sum(self.cpu_s)
        return sorted((one / total if total else 0.0 for one in self.cpu_s), reverse=True)


def measure_scaling(bench: Bench, node: Path, variant: str, run: int, rate: float) -> list[Scaled]:
    """Measure one worker and two on both cores at the same rate. Raises: MeasurementError."""
    return [_measure(bench, node, variant, run, rate, workers) for workers in WORKERS]


def _measure(bench: Bench, node: Path, variant: str, run: int, rate: float, workers: int) -> Scaled:
    plan = bench.plan
    config = write_config(node, workers)
    with serving(node, make_handle(plan.shape, 0), plan.both_cores, variant, config) as served:
        pids = await_workers(served.pid, served.ports[0], workers)
        options = ("--rate", f"{rate:.0f}", "--warmup", "0", *SOCKETS_OPTIONS)
        before = [cpu_s(read_stat(pid)) for pid in pids]
        answers = bench.generate("udp", served.ports[0], options)
        after = [cpu_s(read_stat(pid)) for pid in pids]
    bench.keep(SCALING, f"biaoshi {variant}, {workers_words(workers)}", run, answers)
    spent = tuple(last - first for first, last in zip(before, after, strict=True))
    return Scaled(workers, run, rate, answers.counts["right"], answers.rate, spent)


def workers_words(workers: int) -> str:
    """Return `1 worker`, `2 workers`."""
    return "1 worker" if workers == 1 else f"{workers} workers"


def write_config(node: Path, workers: int) -> str:
    """Write the node's configuration with so many workers beside its own; return its name."""
    text = (node / CONFIG).read_text("utf-8")
    if "[process]" in text:
        raise MeasurementError(f"{node / CONFIG} sets [process] itself")
    name = f"workers-{workers}.toml"
    (node / name).write_text(f"{text}\n[process]\nworkers = {workers}\n", "utf-8")
    return name


def await_workers(supervisor: int, port: int, count: int) -> list[int]:
    """Wait until so many processes of a node hold its UDP port; return their process ids.

    Raises:
        MeasurementError: there are not so many within LIMIT_S.
    """
    deadline = time.monotonic() + LIMIT_S
    while True:
        found = find_workers(supervisor, port)
        if len(found) == count:
            return found
        if time.monotonic() > deadline:
            raise MeasurementError(f"{len(found)} processes hold UDP port {port}, not {count}")
        time.sleep(LOOK_S)


def find_workers(supervisor: int, port: int) -> list[int]:
    """Return the processes of a node that hold a socket bound to its UDP port."""
    bound = udp_inodes(Path("/proc/net/udp").read_text("ascii"), port)
    return [pid for pid in process_tree(supervisor) if bound & set(_socket_inodes(pid))]


def _socket_inodes(pid: int) -> Iterable[int]:
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found = _SOCKET.fullmatch(os.readlink(entry))
        except FileNotFoundError:  # closed meanwhile
            continue
        if found:
            yield int(found[1])


def udp_inodes(table: str, port: int) -> set[int]:
    """Return the inodes of the sockets that /proc/net/udp shows bound to a port."""
    rows = [line.split() for line in table.splitlines()[1:]]
    return {int(row[9]) for row in rows if int(row[1].rpartition(":")[2], 16) == port}


def read_stat(pid: int) -> str:
    """Return /proc/PID/stat."""
    return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")


def cpu_s(stat: str) -> float:
    """Return user and system time in seconds from /proc/PID/stat.

    The process's name, in parentheses, may hold anything, so fields are counted behind it.
    """
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def summarize_scaling(measured: Iterable[Scaled]) -> list[dict[str, Any]]:
    """Return one entry for each number of workers, over all runs."""
    grouped: dict[int, list[Scaled]] = {}
    for one in measured:
        grouped.setdefault(one.workers, []).append(one)
    return [_summary(workers, group) for workers, group in grouped.items()]


def _summary(workers: int, group: Sequence[Scaled]) -> dict[str, Any]:
    costs = [one.cpu_us_per_answer for one in group]
    return {
        "workers": workers,
        "offered_per_s_median": round(statistics.median(one.offered_per_s for one in group)),
        "answered_per_s_median": round(statistics.median(one.answered_per_s for one in group)),
        "cpu_us_per_answer_median": round(statistics.median(costs), 3),
        "cpu_us_per_answer": [round(cost, 3) for cost in costs],
        "shares": [[round(share, 3) for share in one.shares] for one in group],
    }
