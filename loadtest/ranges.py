"""`make bench-ranges`: target P9, identifiers of ranges beside rows; on request 500 billion.

Two nodes are asked in turns, each right after the echo: one with rows, one with ranges whose
identifiers have values of the same kinds, and one more that says which range they come from. Keys
are uniform over all rows and over all identifiers of all ranges. Stores stay in the folder and are
used again.
"""

import contextlib
import re
import shutil
import statistics
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from loadtest.bench import MIXED_OPTIONS, find_variants
from loadtest.formula import FULL, SHORT, Shape, make_handle
from loadtest.large import MARKER, SMALL_ROWS, build, disk_octets, measure_starts, store_name
from loadtest.load import check_http, compile_tools
from loadtest.plan import Bench, Plan, check_cores
from loadtest.report import make_report
from loadtest.resident import held
from loadtest.scaling import cpu_s, find_workers, read_stat
from loadtest.servers import Served, serving, serving_echo
from loadtest.startup import MeasurementError

P9 = "P9 UDP, identifiers of ranges"
P9_ROWS = "UDP, rows"
P9_MIXED = "UDP, ranges, 5 % malformed, 5 % missing"
VARIANTS = ("native", "python")
RANGES = 1_000_000
SERIALS = 10_000
# Journal included: 198 and 423 measured with 50,000 ranges of 10,000, and some to spare.
OCTETS_PER_RANGE = {SHORT: 215, FULL: 450}
LOADED_PER_S = {SHORT: 20_000, FULL: 14_000}  # on the reference machine; only for the estimate
WARM_UP = ("--warmup", "3")  # for the node's own page tables
HELD_SHARE_MAX = 0.6  # of the memory that is free: what is larger is left to the page cache

Costs = dict[tuple[str, str], list[float]]
"""By system and case, for each run: the worker's processor time per answer in microseconds."""

_AVAILABLE = re.compile(r"MemAvailable:\s*(\d+) kB")


def disk_need_octets(shape: Shape) -> int:
    """Return what a store of ranges takes on the disk."""
    return shape.ranges * OCTETS_PER_RANGE[shape.values]


def state_need(shape: Shape, folder: Path, say: Callable[[str], None]) -> None:
    """Say what disk and time the run takes.

    Raises:
        MeasurementError: the disk has no room for it.
    """
    need, free = disk_need_octets(shape), shutil.disk_usage(folder).free
    minutes = shape.ranges / LOADED_PER_S[shape.values] / 60
    say(
        f"{shape.words()}: needs {need / 1e9:.1f} GB of disk in {folder}, which has "
        f"{free / 1e9:.1f} GB free, and about {minutes:.0f} minutes to fill it, unless it was "
        "built before"
    )
    if free < need and not (folder / store_name(shape) / MARKER).exists():
        raise MeasurementError(
            f"{folder} lacks {(need - free) / 1e9:.1f} GB: give another --folder"
        )


def run_ranges(plan: Plan, folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure rows and ranges and return the report.

    Args:
        plan: its shape is that of the ranges.
        folder: where stores are made and kept.
        say: told about every step.

    Raises:
        MeasurementError: no room, something does not run, or an answer was wrong.
    """
    check_cores(plan)
    state_need(plan.shape, folder, say)
    tools = compile_tools(folder)
    rows = Shape(min(SMALL_ROWS, plan.shape.ranges), plan.shape.values)
    nodes = {shape: build(tools, folder, shape, say) for shape in (rows, plan.shape)}
    bench = Bench(replace(plan, shape=rows, variants=VARIANTS), tools, folder, say)
    variants = find_variants(bench, nodes[rows])
    costs: Costs = {}
    with contextlib.ExitStack() as stack:
        bench.echo_port = stack.enter_context(serving_echo(tools, folder, plan.server_core))
        for run in range(1, plan.runs + 1):
            for variant in variants:
                measure_variant(bench, nodes, variant, run, costs)
    describe(bench, nodes, costs)
    starts = measure_starts(bench, nodes)
    setup = plan.setup() | {
        "rows": f"{rows.words()}; {plan.shape.words()}",
        "authentication": "none",
        "TLS": "none",
        "cores": f"server {plan.server_core}, generator {plan.client_core}; one worker",
        "keys": "uniform over all rows, over all identifiers of all ranges",
        "load": f"64 in flight over UDP; {plan.runs} interleaved runs of {plan.seconds} s after "
        f"{WARM_UP[1]} s; every answer checked, of ranges all but the timestamps",
    }
    return make_report(bench.samples, setup, {"notes": bench.notes, "starts": starts})


def measure_variant(
    bench: Bench, nodes: Mapping[Shape, Path], variant: str, run: int, costs: Costs
) -> None:
    """Measure both nodes once with one variant of the fast path.

    Args:
        bench: under way.
        nodes: that of the rows, that of the ranges.
        variant: of the fast path.
        run: its number.
        costs: what an answer costs is added here.

    Raises:
        MeasurementError: a node does not run, or an answer was wrong.
    """
    core, system = bench.plan.server_core, f"biaoshi {variant}"
    for shape, node in nodes.items():
        with in_memory(node), serving(node, make_handle(shape, 0), core, variant) as served:
            port, http_port = served.ports
            case = P9 if shape.serials else P9_ROWS
            bench.measure(case, system, run, "udp", port, WARM_UP, shape)
            costs.setdefault((system, case), []).append(measure_cost(bench, served, shape))
            if shape.serials:
                mixed = bench.generate("udp", port, (*WARM_UP, *MIXED_OPTIONS), shape)
                bench.keep(P9_MIXED, system, run, mixed)
                check_http(http_port, shape)


def measure_cost(bench: Bench, served: Served, shape: Shape) -> float:
    """Return the worker's processor time per answer in microseconds. Raises: MeasurementError."""
    pids = find_workers(served.pid, served.ports[0])
    before = sum(cpu_s(read_stat(pid)) for pid in pids)
    answers = bench.generate("udp", served.ports[0], ("--warmup", "0"), shape)
    after = sum(cpu_s(read_stat(pid)) for pid in pids)
    return (after - before) * 1e6 / answers.counts["right"]


def in_memory(node: Path) -> contextlib.AbstractContextManager[None]:
    """Hold a node's store in memory if there is room for it."""
    room = HELD_SHARE_MAX * available_octets(Path("/proc/meminfo").read_text("ascii"))
    fits = disk_octets(node / "store") <= room
    return held(node / "store") if fits else contextlib.nullcontext()


def available_octets(meminfo: str) -> int:
    """Return the memory that is free, from /proc/meminfo; 0: it does not say."""
    found = _AVAILABLE.search(meminfo)
    return int(found[1]) * 1_024 if found else 0


def describe(bench: Bench, nodes: Mapping[Shape, Path], costs: Costs) -> None:
    """Note what the stores take, how long it took to fill them, what a look-up in a range costs."""
    for shape, node in nodes.items():
        octets, what = disk_octets(node / "store"), "range" if shape.serials else "row"
        seconds = float((node.parent / MARKER).read_text("utf-8").split()[0]) or 1.0
        bench.notes[f"disk, {shape.records:,} {what}s"] = (
            f"{octets:,} octets, journal included, {octets / shape.records:.1f} a {what}"
        )
        bench.notes[f"filled, {shape.records:,} {what}s"] = (
            f"with biaoshi load in {seconds:,.0f} s, {shape.records / seconds:,.0f} {what}s/s"
        )
        if octets and isinstance(in_memory(node), contextlib.nullcontext):
            bench.notes[f"{shape.records:,} {what}s"] = "larger than memory: read from the disk"
    bench.notes.update(describe_costs(costs))


def describe_costs(costs: Costs) -> dict[str, str]:
    """Return in words what a look-up in a range takes, beside one of a row, for each system."""
    medians = {key: statistics.median(found) for key, found in costs.items()}
    return {
        f"a look-up in a range, {system}": f"takes {cost / medians[system, P9_ROWS]:.2f} times a "
        f"row's: {cost:.2f} µs of the worker's processor time, {medians[system, P9_ROWS]:.2f} µs"
        for (system, case), cost in medians.items()
        if case == P9
    }
