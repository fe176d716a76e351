"""What counting costs: batches answered with the counters and histograms, and without, in turns.

In one process, which is pinned like a server: a client's socket sends a batch of look-ups, then the
fast path serves it; only the serving is timed, by the thread's processor time, system calls
included. Every other batch is served by a fast path whose tallies do nothing. Medians of thousands
of such pairs tell a difference that runs beside each other on a shared machine could not. What
passes the counts on to the shared metrics is timed as well and added at the rate a worker does it.

    python -m loadtest.counting STORE ROWS [PAIRS]      prints {"batch", "with_ns", ...}
"""

import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from loadtest.formula import FULL, Shape, make_handle
from loadtest.load import pinned
from loadtest.startup import MeasurementError, resolution_request

BATCH = 36  # look-ups; the average while P1 was measured (`loadtest/README.md`)
PAIRS = 4_000
SETTLE = 200  # pairs that are not timed
FLUSHES = 200
_NS = 1e9


class _Silent:
    """A tally that counts nothing."""

    def add(self, seconds: float, answers: int = 1) -> None:
        """Count nothing."""

    def flush(self) -> int:
        """Pass on nothing."""
        return 0


def measure_counting(node: Path, shape: Shape, core: int | None) -> dict[str, Any]:
    """Measure in a process of its own. Raises: MeasurementError."""
    words = [sys.executable, "-m", "loadtest.counting", str(node / "store"), str(shape.rows)]
    with tempfile.TemporaryDirectory() as metrics:
        ended = subprocess.run(
            [*pinned(core), *words],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": metrics},
        )
    if ended.returncode:
        raise MeasurementError(f"counting was not measured: {ended.stderr.strip()[-500:]}")
    result: dict[str, Any] = json.loads(ended.stdout)
    return result


def describe_counting(result: dict[str, Any]) -> str:
    """Return a measurement in words."""
    return (
        f"{result['share']:.1%} of the processor time of serving a batch: "
        f"{result['with_ns'] / result['batch']:,.0f} ns an answer with counters and histograms, "
        f"{result['without_ns'] / result['batch']:,.0f} ns without (medians of {result['pairs']:,} "
        f"batches of {result['batch']} each way, in turns), and {result['flush_ns'] / 1e3:,.0f} us "
        f"{result['flushes_per_s']:.0f} times a second to pass them on"
    )


def main(store_folder: Path, rows: int, pairs: int = PAIRS) -> dict[str, Any]:
    """Measure here. Only a process of its own has metrics of its own."""
    from protocol.types.hs_site import TRANSPORT_UDP
    from registry.store import Store
    from resolver.fastpath import FastPath, Lookups, open_lookups
    from resolver.replies import Replies
    from resolver.udp import FLUSH_S

    shape, chance = Shape(rows, FULL), random.Random(1)
    replies = Replies(1, is_primary=True, now_s=time.time)
    with (
        Store.open(store_folder, readonly=True, case_sensitive=None) as store,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        client.connect(server.getsockname())
        client.setblocking(False)
        counted: list[Lookups] = []
        for _ in range(2):
            lookups = open_lookups(server.fileno(), store, replies, TRANSPORT_UDP)
            if lookups is None:
                raise SystemExit("the fast path is off: there is nothing to measure")
            counted.append(lookups)
        silent = _Silent()
        counted[1]._found = counted[1]._missing = counted[1]._refused = silent  # type: ignore[assignment]
        paths = [FastPath(lookups) for lookups in counted]
        times: tuple[list[int], list[int]] = ([], [])
        for pair in range(SETTLE + pairs):
            for way in (0, 1) if pair % 2 else (1, 0):
                for number in range(BATCH):
                    handle = make_handle(shape, chance.randrange(rows))
                    client.send(resolution_request(handle, number + 1))
                started = time.thread_time_ns()
                served = paths[way].serve()
                ended = time.thread_time_ns()
                if served.answered != BATCH:
                    raise SystemExit(f"{served.answered} of {BATCH} look-ups were answered")
                if pair >= SETTLE:
                    times[way].append(ended - started)
                _drain(client)
        flush_ns = _time_flush(counted[0])
    with_ns, without_ns = (statistics.median(each) for each in times)
    passing_on = flush_ns / FLUSH_S / _NS
    return {
        "batch": BATCH,
        "pairs": pairs,
        "with_ns": with_ns,
        "without_ns": without_ns,
        "flush_ns": flush_ns,
        "flushes_per_s": 1 / FLUSH_S,
        "share": (with_ns - without_ns) / with_ns + passing_on,
    }


def _drain(client: socket.socket) -> None:
    try:
        while True:
            client.recv(65_535)
    except BlockingIOError:
        pass


def _time_flush(lookups: Any) -> float:
    """Return the median time of passing on what was counted, in ns."""
    times = []
    for _ in range(FLUSHES):
        lookups._found.add(0.0001, BATCH)
        started = time.thread_time_ns()
        lookups.flush()
        times.append(time.thread_time_ns() - started)
    return statistics.median(times)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    print(json.dumps(main(Path(arguments[0]), *map(int, arguments[1:]))))
