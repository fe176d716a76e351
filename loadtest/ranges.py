"""`make bench-ranges`: target P9, identifiers of ranges beside rows; on request 500 billion.

The store of ranges is filled in steps, gone on with if a run is stopped, and used again. What it
has is counted by the node and verified by replaying its journal. Then nodes are asked in turns,
each right after the echo: one with P1's rows, one with ranges whose identifiers have values of the
same kinds, and one more that says which range they come from. Keys are uniform over all rows and
over all identifiers of all ranges.
"""

import contextlib
import re
import shutil
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from loadtest.bench import MIXED_OPTIONS, find_variants
from loadtest.formula import FULL, SHORT, Shape, make_handle
from loadtest.large import SMALL_ROWS, measure_starts
from loadtest.load import Tools, check_http, compile_tools
from loadtest.plan import Bench, Plan, check_cores
from loadtest.report import Sample, make_report
from loadtest.resident import held
from loadtest.scaling import cpu_s, find_workers, read_stat
from loadtest.servers import Served, make_node, serving, serving_echo
from loadtest.startup import MeasurementError
from loadtest.stores import (
    MARKER,
    build,
    disk_octets,
    filled_octets,
    read_filled,
)
from loadtest.wholeness import check_store, count_identifiers, describe_checked
from loadtest.writable import WRITES_CONFIG, make_writable

P9 = "P9 UDP, identifiers of ranges"
P1 = "P1 UDP, rows"
ALIKE = "UDP, rows of one value"
P9_MIXED = "UDP, ranges, 5 % malformed, 5 % missing"
VARIANTS = ("native", "python")
RANGES = 1_000_000
SERIALS = 10_000
# Journal included: 196 and 422 measured with ranges of 10,000, and some to spare.
OCTETS_PER_RANGE = {SHORT: 215, FULL: 450}
# What the copy takes that `biaoshi verify` makes and deletes again: the store without its journal.
OCTETS_PER_RANGE_COPIED = {SHORT: 185, FULL: 385}
LOADED_PER_S = {SHORT: 60_000, FULL: 40_000}  # on the reference machine; only for the estimate
VERIFIED_PER_S = {SHORT: 60_000, FULL: 40_000}
WARM_UP = ("--warmup", "3")  # for the node's own page tables
HELD_SHARE_MAX = 0.6  # of the memory that is free: what is larger is left to the page cache

Costs = dict[tuple[str, str], list[float]]
"""By system and case, for each run: the worker's processor time per answer in microseconds."""

_AVAILABLE = re.compile(r"MemAvailable:\s*(\d+) kB")


def disk_need_octets(shape: Shape) -> int:
    """Return what a store of ranges, and the copy that verifying it makes, take on the disk."""
    return shape.ranges * (OCTETS_PER_RANGE[shape.values] + OCTETS_PER_RANGE_COPIED[shape.values])


def state_need(shape: Shape, folder: Path, say: Callable[[str], None]) -> None:
    """Say what disk and time the run takes.

    Raises:
        MeasurementError: the disk has no room for it.
    """
    need, free = disk_need_octets(shape), shutil.disk_usage(folder).free
    kept = shape.ranges * OCTETS_PER_RANGE[shape.values]
    fill_min, verify_min = (
        shape.ranges / rates[shape.values] / 60 for rates in (LOADED_PER_S, VERIFIED_PER_S)
    )
    say(
        f"{shape.words()}: needs {need / 1e9:.1f} GB of disk in {folder}, {kept / 1e9:.1f} of them "
        f"afterwards, which has {free / 1e9:.1f} GB free; about {fill_min:.0f} minutes to fill "
        f"it, unless it was built before, and {verify_min:.0f} to verify it"
    )
    there = filled_octets(folder, shape)
    if free + there < need:
        raise MeasurementError(
            f"{folder} lacks {(need - free - there) / 1e9:.1f} GB: give another --folder"
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
    rows = [Shape(min(SMALL_ROWS, plan.shape.ranges), values) for values in kinds_of(plan.shape)]
    nodes = {shape: build(tools, folder, shape, say, make_node) for shape in rows}
    nodes[plan.shape] = build_ranges(tools, folder, plan.shape, say)
    bench = Bench(replace(plan, shape=rows[0], variants=VARIANTS), tools, folder, say)
    describe_filled(bench, nodes[plan.shape], plan.shape)
    bench.notes["counted"] = count_identifiers(nodes[plan.shape], plan.shape)
    say(f"counted: {bench.notes['counted']}")
    checked = check_store(nodes[plan.shape], folder)
    bench.notes["verified"] = describe_checked(checked, plan.shape)
    say(f"verified: {bench.notes['verified']}")
    variants = find_variants(bench, nodes[rows[0]])
    costs: Costs = {}
    with contextlib.ExitStack() as stack:
        for shape, node in nodes.items():
            hold(bench, stack, shape, node)
        bench.echo_port = stack.enter_context(serving_echo(tools, folder, plan.server_core))
        for run in range(1, plan.runs + 1):
            for variant in variants:
                measure_variant(bench, nodes, variant, run, costs)
    bench.notes.update(describe_ratios(bench.samples))
    bench.notes.update(describe_costs(costs, case_of(rows[-1])))
    compared = {shape: nodes[shape] for shape in (rows[0], plan.shape)}
    starts = measure_starts(bench, compared)
    setup = plan.setup() | {
        "rows": "; ".join(shape.words() for shape in nodes),
        "authentication": "none",
        "TLS": "none",
        "cores": f"server {plan.server_core}, generator {plan.client_core}; one worker",
        "keys": "uniform over all rows, over all identifiers of all ranges",
        "load": f"64 in flight over UDP; {plan.runs} interleaved runs of {plan.seconds} s after "
        f"{WARM_UP[1]} s; every answer checked, of ranges all but the timestamps",
    }
    return make_report(bench.samples, setup, {"notes": bench.notes, "starts": starts})


def kinds_of(shape: Shape) -> tuple[int, ...]:
    """Return how many values the rows have beside ranges: P1's, and as many as the ranges'."""
    return (FULL,) if shape.values == FULL else (FULL, shape.values)


def case_of(shape: Shape) -> str:
    """Return what the report calls the look-ups of a shape."""
    if shape.serials:
        return P9
    return P1 if shape.values == FULL else ALIKE


def build_ranges(tools: Tools, folder: Path, shape: Shape, say: Callable[[str], None]) -> Path:
    """Return the node of the ranges, filled now unless it is there. Raises: MeasurementError.

    It holds its administrator's key itself, so that it can be asked how many there are.
    """
    node = build(tools, folder, shape, say, make_writable)
    if not (node / WRITES_CONFIG).exists():
        raise MeasurementError(f"{node.parent} was built by an older version: delete it")
    return node


def measure_variant(
    bench: Bench, nodes: Mapping[Shape, Path], variant: str, run: int, costs: Costs
) -> None:
    """Measure all nodes once with one variant of the fast path.

    Args:
        bench: under way.
        nodes: those of the rows, that of the ranges.
        variant: of the fast path.
        run: its number.
        costs: what an answer costs is added here.

    Raises:
        MeasurementError: a node does not run, or an answer was wrong.
    """
    core, system = bench.plan.server_core, f"biaoshi {variant}"
    for shape, node in nodes.items():
        with serving(node, make_handle(shape, 0), core, variant) as served:
            port, http_port = served.ports
            case = case_of(shape)
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


def hold(bench: Bench, stack: contextlib.ExitStack, shape: Shape, node: Path) -> None:
    """Hold a node's store in memory until all is measured, if there is room for it."""
    octets = disk_octets(node / "store")
    fits = octets <= HELD_SHARE_MAX * available_octets(Path("/proc/meminfo").read_text("ascii"))
    what = f"store of {shape.records:,} {'ranges' if shape.serials else case_of(shape)}"
    if fits:
        stack.enter_context(held(node / "store"))
        bench.notes[what] = "locked in memory while it is measured"
    else:
        bench.notes[what] = "too large to be locked in memory: what is asked for is read"
    bench.say(f"{what}: {bench.notes[what]}")


def available_octets(meminfo: str) -> int:
    """Return the memory that is free, from /proc/meminfo; 0: it does not say."""
    found = _AVAILABLE.search(meminfo)
    return int(found[1]) * 1_024 if found else 0


def describe_filled(bench: Bench, node: Path, shape: Shape) -> None:
    """Note what the store of ranges takes, and how long it took to fill it."""
    octets, filled = disk_octets(node / "store"), read_filled(node.parent / MARKER)
    assert filled is not None, "it is filled"
    bench.notes[f"disk, {shape.ranges:,} ranges"] = (
        f"{octets:,} octets, journal included, {octets / shape.ranges:.1f} a range"
    )
    stops = f", stopped {filled.stops} times and gone on with" if filled.stops else ""
    bench.notes[f"filled, {shape.ranges:,} ranges"] = (
        f"with biaoshi load in {filled.seconds:,.0f} s, "
        f"{shape.ranges / filled.seconds:,.0f} ranges/s{stops}"
    )


def describe_ratios(samples: Sequence[Sample]) -> dict[str, str]:
    """Return in words how fast identifiers of ranges are answered beside P1, for each system."""
    by_run = {(one.case, one.system, one.run): one for one in samples}
    shares: dict[str, list[tuple[float, float]]] = {}
    for one in samples:
        rows = by_run.get((P1, one.system, one.run))
        if one.case == P9 and rows is not None and one.ratio and rows.ratio:
            share = (one.rate / rows.rate, one.ratio / rows.ratio)
            shares.setdefault(one.system, []).append(share)
    return {
        f"P9 beside P1, {system}": f"{statistics.median(rate for rate, _ in found):.2f} of P1's "
        f"answers a second ({', '.join(f'{rate:.2f}' for rate, _ in found)} by run), "
        f"{statistics.median(ratio for _, ratio in found):.2f} with the echo beside each; "
        "the target is 0.5"
        for system, found in shares.items()
    }


def describe_costs(costs: Costs, alike: str) -> dict[str, str]:
    """Return in words what a look-up in a range takes beside one of a row, for each system.

    `alike` is the case of the rows that have as many values.
    """
    medians = {key: statistics.median(found) for key, found in costs.items()}
    return {
        f"a look-up in a range, {system}": f"takes {cost / medians[system, alike]:.2f} times a "
        f"row's: {cost:.2f} µs of the worker's processor time, {medians[system, alike]:.2f} µs"
        for (system, case), cost in medians.items()
        if case == P9
    }
