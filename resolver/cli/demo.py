"""`biaoshi demo`: four tiers on this machine, 1,000 real products, resolved in every way."""

import asyncio
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from protocol.handle import to_text
from resolver.cli.by_row import make_progress
from resolver.cli.errors import ExitCode
from resolver.cli.output import print_table
from resolver.cli.resolve import show_hops
from resolver.demo import scenario
from resolver.demo.errors import DemoError
from resolver.demo.processes import NodeProcess, stop_all, wait_ready
from resolver.demo.products import (
    ATTRIBUTION,
    PRODUCTS,
    choose_samples,
    find_products,
    read_products,
)
from resolver.demo.scenario import Route
from resolver.demo.topology import (
    ADDRESS,
    BASE_PORT,
    PORTS,
    Topology,
    check_ports,
    fresh_folder,
    make_folders,
    plan_topology,
)
from resolver.rows.row import Row

SAMPLES = 9  # three over each transport
WATCH_S = 0.5
# SIGINT too: a shell starts what it puts in the background with SIGINT ignored.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
NAME_CHARACTERS_MAX = 32


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Check every answer, then exit with 0 or not.")
    ] = False,
    data: Annotated[
        Path, typer.Option(help="Folder for the nodes; made afresh every time.", file_okay=False)
    ] = Path(".demo"),
    base_port: Annotated[
        int, typer.Option(min=1_024, max=65_535 - PORTS, help=f"First of {PORTS} ports.")
    ] = BASE_PORT,
) -> None:
    """Run top, secondary, enterprise and recursive on loopback and register 1,000 products.

    Stays until Ctrl-C, then ends all of it.
    """
    products = find_products()
    topology = plan_topology(data, base_port)
    rows = read_products(products, topology.enterprise.prefix)
    check_ports(base_port)
    with fresh_folder(data):
        if once:
            _run_once(topology, products, rows)
        else:
            _run_until_interrupted(topology, rows)


def _run_once(topology: Topology, products: Path, rows: Sequence[Row]) -> None:
    """Run everything and check it. An interruption is no success: exit code 130."""
    started_s = time.monotonic()
    try:
        with _running(topology):
            _fill_and_resolve(topology, rows)
            _check(topology, products, rows)
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    with _step("verifying the stores they left"):
        records = scenario.check_stores(topology)
    print(f"all checks passed: {records:,} records, {time.monotonic() - started_s:.0f} s")


def _run_until_interrupted(topology: Topology, rows: Sequence[Row]) -> None:
    """Run everything and stay; Ctrl-C is the way to end it, but not before it is up."""
    started_s = time.monotonic()
    is_up = False
    try:
        with _running(topology) as processes:
            _fill_and_resolve(topology, rows)
            _say_what_to_try(topology, rows, time.monotonic() - started_s)
            is_up = True
            _stay(processes)
    except KeyboardInterrupt:
        if not is_up:
            raise typer.Exit(ExitCode.INTERRUPTED) from None


@contextmanager
def _running(topology: Topology) -> Iterator[list[NodeProcess]]:
    """Make and start the four nodes; end them however the block ends."""
    processes: list[NodeProcess] = []
    with _interruptible():
        try:
            with _step("keys, configuration and stores of four nodes"):
                make_folders(topology, now_s=int(time.time()))
            with _step("starting them"):
                processes.extend(NodeProcess(node) for node in topology.nodes)
                wait_ready(processes)
            yield processes
        except KeyboardInterrupt:
            print()
            raise
        finally:
            _stop(processes)


@contextmanager
def _step(words: str) -> Iterator[None]:
    """Say what is being done, and how long it took."""
    print(f"{words} ...", end=" ", flush=True)
    started_s = time.monotonic()
    try:
        yield
    except BaseException:
        print("failed", flush=True)
        raise
    print(f"{time.monotonic() - started_s:.1f} s", flush=True)


def _fill_and_resolve(topology: Topology, rows: Sequence[Row]) -> None:
    with _step(f"delegating {topology.secondary.prefix} and {topology.enterprise.prefix}"):
        asyncio.run(scenario.delegate(topology.top, topology.secondary))
        asyncio.run(scenario.delegate(topology.secondary, topology.enterprise))
    started_s = time.monotonic()
    with make_progress() as progress:
        task = progress.add_task("registering", total=PRODUCTS)
        asyncio.run(scenario.register(topology, rows, lambda: progress.advance(task)))
    took_s = time.monotonic() - started_s
    print(
        f"registered {len(rows):,} products at the enterprise over the network: {took_s:.1f} s, "
        f"{len(rows) / took_s:,.0f}/s, each durable before it was acknowledged"
    )
    print(f"  {ATTRIBUTION}")
    routes = asyncio.run(scenario.resolve_samples(topology, choose_samples(list(rows), SAMPLES)))
    hops = asyncio.run(scenario.walk_from_root(topology, routes[0].row))
    show_routes(routes, topology)
    print()
    show_hops("the way behind the first answer, walked from the root", hops)
    print()


def show_routes(routes: Sequence[Route], topology: Topology) -> None:
    """Print what was resolved through the recursive node, over what, and how fast."""
    print()
    print_table(
        "resolved through the recursive node, and again out of its cache",
        ("handle", "product", "route", "ms", "again"),
        [
            (
                to_text(route.row.handle),
                _product_name(route.row),
                " > ".join(str(hop.endpoint) for hop in route.hops),
                f"{route.first_ms:.1f}",
                f"{route.again_ms:.1f}",
            )
            for route in routes
        ],
        elastic="product",
    )


def _product_name(row: Row) -> str:
    name = next(value.data.decode() for value in row.values if value.type == b"DESC")
    if len(name) <= NAME_CHARACTERS_MAX:
        return name
    return name[: NAME_CHARACTERS_MAX - 1] + "\u2026"


def _check(topology: Topology, products: Path, rows: Sequence[Row]) -> None:
    with make_progress() as progress:
        task = progress.add_task("comparing with the file", total=PRODUCTS)
        same = asyncio.run(
            scenario.check_contents(topology, products, lambda: progress.advance(task))
        )
    print(f"resolved {same:,} products through the recursive node: all as in {products}")
    with _step("checking REST, a missing handle and the count at the enterprise"):
        scenario.check_rest(topology, rows[0])
        asyncio.run(scenario.check_missing(topology))
        listed = asyncio.run(scenario.count_registered(topology))
        if listed != len(rows):
            raise DemoError(f"the enterprise lists {listed} handles, not {len(rows)}", "report it")


def _say_what_to_try(topology: Topology, rows: Sequence[Row], took_s: float) -> None:
    handle = to_text(rows[0].handle)
    prefix = topology.enterprise.prefix
    url = f"http://{ADDRESS}:{topology.recursive.http_port}"
    folder = topology.folder
    print(f"""all four nodes are up after {took_s:.0f} s. Try, in another terminal:

  .venv/bin/biaoshi resolve {handle} --node {folder}/recursive --trace
  .venv/bin/biaoshi resolve {handle} --root {folder}/top/bootstrap.json --trace
  .venv/bin/biaoshi register {prefix}/mine -v URL=https://example.org/ --node {folder}/enterprise
  curl {url}/api/handles/{handle}
  a browser: {url}/{handle}

logs: {folder}/*/serve.log. Ctrl-C ends everything.""")


def _stay(processes: Sequence[NodeProcess]) -> None:
    while True:
        time.sleep(WATCH_S)
        for process in processes:
            process.check()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Treat the end of the terminal and SIGTERM as Ctrl-C, so that nodes are ended either way."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {name: signal.signal(name, interrupt) for name in ENDING}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _stop(processes: Sequence[NodeProcess]) -> None:
    """End all nodes; further Ctrl-C are not heard until they have ended."""
    if not processes:
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ENDING}
    try:
        with _step("stopping all four"):
            killed = stop_all(processes)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if killed:
        raise DemoError(f"did not end by themselves and were killed: {', '.join(killed)}", "")
