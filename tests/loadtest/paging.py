"""What a page of a list costs at 1 M and at 100 M handles, and what a list that nobody reads does.

The stores are those of `make bench-100m`, filled if they are not there. Beside each enterprise node
its top node runs, which has the administrator's key. Pages of 100 are asked for over HTTPS in a
session, in turns between the two stores, on one connection each: the first page, the one after a
handle chosen at random, pages by number one after the other, and one by number as deep as is
stepped over. Then a list is begun over TCP and not read on, while the worker is watched.

It speaks with a foreign client, so it is no part of `biaoshi loadtest`:

    make bench-paging       python -m tests.loadtest.paging --results FOLDER
"""

import argparse
import contextlib
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil

from loadtest.formula import Shape, make_handle
from loadtest.large import LARGE_ROWS, LOT_SERIALS, shapes_of
from loadtest.load import compile_tools
from loadtest.registrar_client import connect, find_administrator, log_in
from loadtest.report import make_report, to_markdown, write_report
from loadtest.servers import CONFIG, Served, make_node, node_ports, run_biaoshi, serving
from loadtest.startup import MeasurementError
from loadtest.stores import build
from tests.interop import foreign_wire as wire
from tests.interop.foreign_client import ForeignClient, answer_body
from tests.interop.foreign_crypto import KeyIdentity
from tests.interop.foreign_transport import exchange_stream
from tests.interop.foreign_wire import pack_str

PAGE = 100
PAGES = 500  # of each kind, in five turns
TURNS = 5
DEEP = 40  # pages that are stepped to, each of another place
STEPPED_MAX = 1_000_000  # the node's limit for what is stepped over
UNREAD_S = 10.0
LOOK_S = 0.05


@dataclass
class Asked:
    """A node under measurement: its shape, its processes, a connection in a session."""

    shape: Shape
    served: Served
    connection: HTTPConnection
    headers: dict[str, str]
    node: Path

    def page(self, query: str) -> float:
        """Return the seconds that a page took. Raises: MeasurementError."""
        begun = time.perf_counter()
        path = f"/api/handles?prefix={self.shape.prefix}&pageSize={PAGE}{query}"
        self.connection.request("GET", path, headers=self.headers)
        answer = self.connection.getresponse()
        document = json.loads(answer.read())
        took = time.perf_counter() - begun
        if answer.status != 200 or len(document["handles"]) != PAGE:
            raise MeasurementError(f"{path} is answered with {answer.status}: {document}")
        return took


@contextlib.contextmanager
def asking(shape: Shape, node: Path) -> Iterator[Asked]:
    """Run a node and the one above it; log its administrator in.

    Raises:
        MeasurementError: a node does not run, or says no.
    """
    top = node.parent / "top"
    with serving(top, b"0.NA/NONE", None), serving(node, make_handle(shape, 0), None) as served:
        with contextlib.suppress(MeasurementError):  # delegated by an earlier run
            run_biaoshi("prefix", "delegate", str(node / "delegation.json"), "--node", str(top))
        headers = {
            "Authorization": log_in(served.ports[1], find_administrator(node, CONFIG), tls=True)
        }
        with contextlib.closing(connect(served.ports[1], tls=True)) as connection:
            yield Asked(shape, served, connection, headers, node)


def any_handle(asked: Asked, choose: random.Random) -> str:
    """Return a handle with a page of others behind it."""
    return make_handle(asked.shape, choose.randrange(asked.shape.rows - PAGE - 1)).decode()


def kinds_of(choose: random.Random) -> dict[str, Callable[[Asked, int], str]]:
    """Return what is asked for: for each kind the rest of the query, of a page's number."""
    return {
        "first": lambda asked, number: "",
        "after= a handle at random": lambda asked, number: f"&after={any_handle(asked, choose)}",
        "page= one after the other": lambda asked, number: f"&page={number}",
    }


def measure(all_asked: list[Asked], choose: random.Random) -> dict[str, dict[str, float]]:
    """Return medians and 99th percentiles in milliseconds, by kind and store."""
    times: dict[tuple[str, Shape], list[float]] = {}
    for turn in range(TURNS):
        for kind, query in kinds_of(choose).items():
            for asked in all_asked:
                for number in range(turn * PAGES // TURNS, (turn + 1) * PAGES // TURNS):
                    took = asked.page(query(asked, number))
                    times.setdefault((kind, asked.shape), []).append(took)
    for asked in all_asked:
        for _ in range(DEEP):
            number = choose.randrange(min(asked.shape.rows, STEPPED_MAX) // PAGE - 1)
            took = asked.page(f"&page={number}")
            times.setdefault(("page= at random", asked.shape), []).append(took)
    return {
        f"{kind}, {shape.rows:,} handles": {
            "median_ms": round(statistics.median(found) * 1e3, 3),
            "p99_ms": round(sorted(found)[int(len(found) * 0.99)] * 1e3, 3),
            "pages": len(found),
        }
        for (kind, shape), found in times.items()
    }


def measure_unread(asked: Asked) -> str:
    """Begin a list and read one message of it; return in words what the worker did meanwhile."""
    administrator = find_administrator(asked.node, CONFIG)
    index, handle = administrator.identity.split(":", 1)
    identity = KeyIdentity(handle.encode(), int(index), administrator.key)
    client = ForeignClient("127.0.0.1", *node_ports(asked.node), transport="tcp")
    prefix = b"0.NA/" + asked.shape.prefix.encode()
    challenge = client.ask(wire.LIST, pack_str(prefix), wire.RECU)
    proof = wire.pack_message(wire.ANSWER_CHALLENGE, answer_body(challenge, identity), wire.RECU)
    workers = psutil.Process(asked.served.pid).children(recursive=True)
    before = [each.memory_full_info().uss for each in workers]
    begun_s = [sum(each.cpu_times()[:2]) for each in workers]
    envelope, message = client._seal(proof, challenge.envelope.session)
    answers = exchange_stream(client, envelope, message, client._open)
    with contextlib.closing(answers):  # type: ignore[type-var]
        first = next(answers)
        if first.code != 1:
            raise MeasurementError(f"the list is answered with {first.code}: {first.body!r}")
        most, ends_s = before, time.monotonic() + UNREAD_S
        while time.monotonic() < ends_s:
            now = [each.memory_full_info().uss for each in workers]
            most = [max(pair) for pair in zip(most, now, strict=True)]
            time.sleep(LOOK_S)
        spent_s = max(
            sum(each.cpu_times()[:2]) - start for each, start in zip(workers, begun_s, strict=True)
        )
    grown = max(after - start for after, start in zip(most, before, strict=True))
    return (
        f"a list of {asked.shape.rows:,} handles of which one message is read: within "
        f"{UNREAD_S:.0f} s no process grew by more than {grown / 1e6:.1f} MB or took more than "
        f"{spent_s:.2f} s of processor time"
    )


def describe(times: dict[str, dict[str, float]]) -> dict[str, str]:
    """Return the measured times in words."""
    return {
        kind: f"median {one['median_ms']:.2f} ms, 99th percentile {one['p99_ms']:.2f} ms of "
        f"{one['pages']:,} pages of {PAGE}"
        for kind, one in times.items()
    }


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=LARGE_ROWS, help="handles of the large store")
    parser.add_argument("--folder", type=Path, default=Path(".bench"), help="where stores are kept")
    parser.add_argument("--results", type=Path, help="folder for the report; none: only print")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    *shapes, _ = shapes_of(arguments.rows, LOT_SERIALS)
    tools = compile_tools(arguments.folder)
    with contextlib.ExitStack() as stack:
        nodes = {shape: build(tools, arguments.folder, shape, print, make_node) for shape in shapes}
        all_asked = [stack.enter_context(asking(*each)) for each in nodes.items()]
        times = measure(all_asked, random.Random(20261122))
        notes = describe(times) | {"unread": measure_unread(all_asked[-1])}
    setup = {
        "rows": "; ".join(shape.words() for shape in shapes),
        "authentication": "a session of the prefix's administrator",
        "TLS": "1.3 for pages, none for the list over TCP",
        "cores": "not pinned; client and nodes share the machine",
        "load": f"one connection, one request at a time, pages of {PAGE}",
    }
    report: dict[str, Any] = make_report([], setup, {"notes": notes, "paging": times})
    print(to_markdown(report))
    if arguments.results is not None:
        for path in write_report(report, arguments.results, "paging"):
            print(f"written to {path}")


if __name__ == "__main__":
    main()
