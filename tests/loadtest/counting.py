"""What counting costs: batches answered with counters, histograms and statistics, and without.

In one process, which is pinned like a server: clients' sockets send a batch of look-ups, then the
fast path serves it; only the serving is timed, by the thread's processor time, system calls
included. Every other batch is served by a fast path that counts nothing: no tallies, and no
statistics of who asks for what. TOGETHER batches are one figure, since some of what statistics cost
falls on one batch in many; medians of such figures, in pairs, tell a difference that runs beside
each other on a shared machine could not. What passes the counts on, to the shared metrics and to
the registrar, is timed as well and added at the rate a worker does it.

It looks inside, so it is no part of `biaoshi loadtest`:

    make bench-counting       python -m tests.loadtest.counting --results FOLDER
"""

import argparse
import contextlib
import os
import random
import socket
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import msgpack

from loadtest.formula import Shape, make_handle, make_row
from loadtest.report import make_report, write_report
from loadtest.startup import resolution_request
from protocol.types.hs_site import TRANSPORT_UDP
from registry.store import Store
from resolver.fastpath import FastPath, Lookups, open_lookups
from resolver.query_counts import SEND_S, QueryCounts, pack_days
from resolver.replies import Replies
from resolver.udp import FLUSH_S

ROWS = 200_000
LOADED = 2_000  # rows in one transaction
BATCH = 36  # look-ups; the average while P1 was measured (`loadtest/README.md`)
PAIRS = 6_400
TOGETHER = 64
SOURCES = 30  # addresses that ask in turn
SETTLE = 200  # pairs that are not timed
FLUSHES = 200
RUNS = 5
_NS = 1e9


class _Silent:
    """A tally that counts nothing."""

    def add(self, seconds: float, answers: int = 1) -> None:
        """Count nothing."""

    def flush(self) -> int:
        """Pass on nothing."""
        return 0


def describe(result: dict[str, Any]) -> str:
    """Return a measurement in words."""
    return (
        f"{result['share']:.1%} of the processor time of serving a batch: "
        f"{result['with_ns'] / result['batch']:,.0f} ns an answer with counters, histograms and "
        f"statistics, {result['without_ns'] / result['batch']:,.0f} ns without (medians of "
        f"{result['pairs']:,} batches of {result['batch']} each way from {result['sources']} "
        f"addresses, in turns), and {result['flush_ns'] / 1e3:,.0f} us "
        f"{result['flushes_per_s']:.0f} times a second and "
        f"{result['take_ns'] / 1e3:,.0f} us once a second to pass them on"
    )


def fill(folder: Path, shape: Shape) -> None:
    """Make a store with these rows."""
    with Store.open(folder, sync=False) as store:
        with store.write(journaled=False) as view:
            view.home(f"0.NA/{shape.prefix}".encode())
        for start in range(0, shape.rows, LOADED):
            with store.write(journaled=False) as view:
                for row in range(start, min(start + LOADED, shape.rows)):
                    view.put_record(make_handle(shape, row), make_row(shape, row))


def measure(
    folder: Path, shape: Shape, pairs: int = PAIRS, sources: int = SOURCES
) -> dict[str, Any]:
    """Measure in this process. Raises: RuntimeError: a look-up was not answered."""
    chance = random.Random(1)
    replies = Replies(1, is_primary=True, now_s=time.time)
    counts = QueryCounts()
    with (
        Store.open(folder, readonly=True) as store,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        contextlib.ExitStack() as stack,
    ):
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        clients = [stack.enter_context(_client(server, number)) for number in range(sources)]
        counted = [_open(server, store, replies, each) for each in (counts, None)]
        silent: Any = _Silent()
        counted[1]._found = counted[1]._missing = counted[1]._refused = silent
        paths = [FastPath(lookups) for lookups in counted]
        times: tuple[list[int], list[int]] = ([], [])
        for pair in range(SETTLE + pairs):
            for way in (0, 1) if pair % 2 else (1, 0):
                for number in range(BATCH):
                    handle = make_handle(shape, chance.randrange(shape.rows))
                    clients[number % sources].send(resolution_request(handle, number + 1))
                started = time.thread_time_ns()
                served = paths[way].serve()
                ended = time.thread_time_ns()
                if served.answered != BATCH:
                    raise RuntimeError(f"{served.answered} of {BATCH} look-ups were answered")
                if pair >= SETTLE:
                    times[way].append(ended - started)
                for client in clients:
                    _drain(client)
        take_ns = _time_take(counts)
        flush_ns = _time_flush(counted[0])
    with_ns, without_ns = (_median(each) for each in times)
    return {
        "batch": BATCH,
        "pairs": pairs,
        "sources": sources,
        "with_ns": with_ns,
        "without_ns": without_ns,
        "flush_ns": flush_ns,
        "flushes_per_s": 1 / FLUSH_S,
        "take_ns": take_ns,
        "share": (with_ns - without_ns) / with_ns + (flush_ns / FLUSH_S + take_ns / SEND_S) / _NS,
    }


def _median(times: list[int]) -> float:
    """Return the median of what batches took, told of TOGETHER of them."""
    starts = range(0, len(times), TOGETHER)
    return statistics.median(statistics.mean(times[at : at + TOGETHER]) for at in starts)


def _client(server: socket.socket, number: int) -> socket.socket:
    """Return a socket that asks from an address of its own."""
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.bind((f"127.0.0.{number + 2}", 0))
    client.connect(server.getsockname())
    client.setblocking(False)
    return client


def _time_take(counts: QueryCounts) -> int:
    """Return how long what was counted takes to be taken and packed, in ns."""
    started = time.thread_time_ns()
    for payload in pack_days(counts.take()):
        msgpack.packb(payload)
    return time.thread_time_ns() - started


def _open(
    server: socket.socket, store: Store, replies: Replies, counts: QueryCounts | None
) -> Lookups:
    lookups = open_lookups(server.fileno(), store, replies, TRANSPORT_UDP, counts=counts)
    if lookups is None:
        raise RuntimeError("the fast path is off: there is nothing to measure")
    return lookups


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


def main() -> None:
    """Measure RUNS times and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, help="folder for the report; none: only print")
    parser.add_argument("--core", type=int, default=0, help="core to pin to")
    parser.add_argument("--sources", type=int, default=SOURCES, help="addresses that ask")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {arguments.core})
    shape = Shape(ROWS)
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder), shape)
        results = [measure(Path(folder), shape, sources=arguments.sources) for _ in range(RUNS)]
    for result in results:
        print(describe(result))
    share = statistics.median(result["share"] for result in results)
    print(f"median of {RUNS} runs: {share:.1%}")
    if arguments.results is not None:
        setup = {"store": shape.words(), "cores": f"{arguments.core}", "load": "one process, UDP"}
        notes = {f"run {number}": describe(one) for number, one in enumerate(results, 1)}
        notes["median"] = f"{share:.2%}"
        report = make_report([], setup, {"notes": notes, "counting": results})
        for path in write_report(report, arguments.results, "counting"):
            print(f"written to {path}")


if __name__ == "__main__":
    main()
