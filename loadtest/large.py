"""`make bench-100m`: target P8, whether a store of 100 M rows answers as fast as one of 1 M.

Also P10, whether its node starts as fast, and what a row takes on the disk.

Rows have one short value. Keys are Zipf 0.9, so that most answers come from a small part of the
store, as in life. Both stores are asked in turns, each right after the echo. Stores stay in the
folder and are used again: building the large one takes a quarter of an hour.
"""

import contextlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from loadtest.bench import MIXED_OPTIONS, ZIPF_OPTIONS
from loadtest.formula import SHORT, Shape, make_handle
from loadtest.load import Tools, compile_tools
from loadtest.plan import Bench, Plan, check_cores
from loadtest.report import make_report
from loadtest.servers import CONFIG, load_node, make_node, serving_echo, serving_node
from loadtest.startup import MeasurementError, measure_start, report

P8 = "P8 UDP, Zipf 0.9"
P8_MIXED = "UDP, Zipf 0.9, 5 % malformed, 5 % missing"
LARGE_ROWS = 100_000_000
SMALL_ROWS = 1_000_000
# Of the short shape, journal included: 102 measured at 400,000 rows, and some to spare.
OCTETS_PER_ROW = 115
LOADED_PER_S = 100_000  # on the reference machine; only for the estimate
MARKER = "loaded"
WARM_UP_S = 3  # for the node's own page tables
WARM_ZIPF_OPTIONS = (*ZIPF_OPTIONS, "--warmup", str(WARM_UP_S))


def disk_need_octets(rows: int) -> int:
    """Return what a store of so many short rows takes on the disk."""
    return rows * OCTETS_PER_ROW


def state_need(rows: int, folder: Path, say: Callable[[str], None]) -> None:
    """Say what disk and time the run takes.

    Raises:
        MeasurementError: the disk has no room for it.
    """
    need, free = disk_need_octets(rows), shutil.disk_usage(folder).free
    minutes = rows / LOADED_PER_S / 60
    say(
        f"needs {need / 1e9:.1f} GB of disk in {folder}, which has {free / 1e9:.1f} GB free, "
        f"and about {minutes:.0f} minutes to fill it, unless it was built before"
    )
    if free < need and not (folder / store_name(Shape(rows, SHORT)) / MARKER).exists():
        raise MeasurementError(
            f"{folder} lacks {(need - free) / 1e9:.1f} GB: give another --folder"
        )


def run_large(plan: Plan, folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure both stores and return the report.

    Args:
        plan: its shape's rows are those of the large store.
        folder: where stores are made and kept.
        say: told about every step.

    Raises:
        MeasurementError: no room, something does not run, or an answer was wrong.
    """
    check_cores(plan)
    state_need(plan.shape.rows, folder, say)
    tools = compile_tools(folder)
    shapes = [Shape(min(SMALL_ROWS, plan.shape.rows), SHORT), Shape(plan.shape.rows, SHORT)]
    nodes = {shape: build(tools, folder, shape, say) for shape in shapes}
    bench = Bench(plan, tools, folder, say)
    with contextlib.ExitStack() as stack:
        bench.echo_port = stack.enter_context(serving_echo(tools, folder, plan.server_core))
        for run in range(1, plan.runs + 1):
            for shape, node in nodes.items():
                bench.plan = replace(plan, shape=shape)
                system = system_words(shape)
                with serving_node(node, shape, plan.server_core) as (port, _):
                    bench.measure(P8, system, run, "udp", port, WARM_ZIPF_OPTIONS)
                    mixed = bench.generate("udp", port, (*WARM_ZIPF_OPTIONS, *MIXED_OPTIONS))
                    bench.keep(P8_MIXED, system, run, mixed)
    starts = measure_starts(bench, nodes)
    for shape, node in nodes.items():
        octets = disk_octets(node / "store")
        bench.notes[f"disk, {shape.rows:,} rows"] = (
            f"{octets:,} octets, journal included, {octets / shape.rows:.1f} a row"
        )
    setup = plan.setup() | {
        "authentication": "none",
        "TLS": "none",
        "cores": f"server {plan.server_core}, generator {plan.client_core}; one worker",
        "keys": "Zipf 0.9, ranks scattered over the rows",
        "load": f"64 in flight over UDP; {plan.runs} interleaved runs of {plan.seconds} s after "
        f"{WARM_UP_S} s; every answer checked",
        "store": "warm: its file is locked in memory during each run",
    }
    return make_report(bench.samples, setup, {"notes": bench.notes, "starts": starts})


def system_words(shape: Shape) -> str:
    """Return how the report calls a store."""
    return f"biaoshi, {shape.records:,} {'ranges' if shape.serials else 'rows'}"


def measure_starts(bench: Bench, nodes: Mapping[Shape, Path]) -> dict[str, Any]:
    """Measure P10 and P11 of every store; the page cache holds what P8 has just read."""
    starts: dict[str, Any] = {}
    for shape, node in nodes.items():
        handle = make_handle(shape, 0)
        runs = [measure_start(node / CONFIG, handle) for _ in range(bench.plan.runs)]
        starts[system_words(shape)] = report(runs)
        bench.say(f"start  {system_words(shape)}: {min(one.first_answer_s for one in runs):.3f} s")
    return starts


def disk_octets(folder: Path) -> int:
    """Return what a folder's files take on the disk: blocks, since LMDB leaves holes."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def store_name(shape: Shape) -> str:
    """Return the folder of a store that is kept, within that of all of them."""
    if shape.serials:
        return f"ranges-{shape.ranges}-of-{shape.serials}-{shape.values}"
    return f"rows-{shape.rows}" if shape.values == SHORT else f"rows-{shape.rows}-{shape.values}"


def build(tools: Tools, folder: Path, shape: Shape, say: Callable[[str], None]) -> Path:
    """Return a node with these rows, built now unless it is there whole."""
    home = folder / store_name(shape)
    if not (home / MARKER).exists():
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        say(f"building the store: {shape.words()}")
        seconds = load_node(tools, make_node(home, shape), shape)
        (home / MARKER).write_text(f"{seconds:.0f} s\n", "utf-8")
        say(f"built in {seconds:.0f} s")
    return home / "node"
