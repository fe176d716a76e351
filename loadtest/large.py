"""`make bench-100m`: target P8, whether a store of 100 M rows answers as fast as one of 1 M.

Also P10, whether its node starts as fast, and what a row takes on the disk.

Rows are made from a template in lots, with three values like P1's. Keys are Zipf 0.9, so that most
answers come from a small part of the store, as in life. P1 itself, plain rows of three values with
uniform keys, is measured in the same runs: the ratio at 1 M is understood both ways. All stores are
asked in turns, each right after the echo. They stay in the folder and are used again.
"""

import contextlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from loadtest.bench import MIXED_OPTIONS, P1, ZIPF_OPTIONS
from loadtest.formula import Shape, make_handle
from loadtest.load import compile_tools
from loadtest.plan import Bench, Plan, check_cores
from loadtest.report import make_report, summarize
from loadtest.servers import CONFIG, make_node, serving_echo, serving_node
from loadtest.startup import MeasurementError, measure_start, report
from loadtest.stores import MARKER, build, disk_octets, filled_octets, is_filled, read_filled

P8 = "P8 UDP, template lots, Zipf 0.9"
P8_MIXED = "UDP, template lots, Zipf 0.9, 5 % malformed, 5 % missing"
LARGE_ROWS = 100_000_000
SMALL_ROWS = 1_000_000
LOT_SERIALS = 1_000
# Journal included: of lots 41 measured at 1 M rows, of plain rows 331, and some to spare.
OCTETS_PER_ROW = {True: 46, False: 370}
LOADED_PER_S = {True: 250_000, False: 80_000}  # on the reference machine; only for the estimate
WARM_UP_S = 3  # for the node's own page tables, and the lots it keeps
WARM_OPTIONS = ("--warmup", str(WARM_UP_S))
WARM_ZIPF_OPTIONS = (*ZIPF_OPTIONS, *WARM_OPTIONS)


def shapes_of(rows: int, serials: int) -> list[Shape]:
    """Return the stores of a run: lots at 1 M, lots of so many rows, P1's plain rows.

    Raises:
        MeasurementError: rows are not whole lots.
    """
    small = min(SMALL_ROWS, rows)
    if rows % serials or small % serials:
        raise MeasurementError(f"{rows:,} and {small:,} rows are not whole lots of {serials:,}")
    lots = [Shape(each, serials=serials, lots=True) for each in (small, rows)]
    return [*dict.fromkeys(lots), Shape(small)]


def disk_need_octets(shapes: Sequence[Shape]) -> int:
    """Return what these stores take on the disk."""
    return sum(shape.rows * OCTETS_PER_ROW[shape.lots] for shape in shapes)


def state_need(shapes: Sequence[Shape], folder: Path, say: Callable[[str], None]) -> None:
    """Say what disk and time it takes to fill those stores that are not there yet.

    Raises:
        MeasurementError: the disk has no room for it.
    """
    missing = [shape for shape in shapes if not is_filled(folder, shape)]
    need, free = disk_need_octets(missing), shutil.disk_usage(folder).free
    minutes = sum(shape.rows / LOADED_PER_S[shape.lots] for shape in missing) / 60
    say(
        f"needs {need / 1e9:.1f} GB of disk in {folder}, which has {free / 1e9:.1f} GB free, "
        f"and about {minutes:.0f} minutes to fill stores; {len(shapes) - len(missing)} of "
        f"{len(shapes)} are there from before"
    )
    there = sum(filled_octets(folder, shape) for shape in missing)
    if free + there < need:
        raise MeasurementError(
            f"{folder} lacks {(need - free - there) / 1e9:.1f} GB: give another --folder"
        )


def run_large(
    plan: Plan, folder: Path, say: Callable[[str], None], serials: int = LOT_SERIALS
) -> dict[str, Any]:
    """Measure all stores and return the report.

    Args:
        plan: its shape's rows are those of the large store.
        folder: where stores are made and kept.
        say: told about every step.
        serials: of each lot.

    Raises:
        MeasurementError: no room, something does not run, or an answer was wrong.
    """
    check_cores(plan)
    shapes = shapes_of(plan.shape.rows, serials)
    state_need(shapes, folder, say)
    tools = compile_tools(folder)
    nodes = {shape: build(tools, folder, shape, say, make_node) for shape in shapes}
    bench = Bench(plan, tools, folder, say)
    with contextlib.ExitStack() as stack:
        bench.echo_port = stack.enter_context(serving_echo(tools, folder, plan.server_core))
        for run in range(1, plan.runs + 1):
            for shape, node in nodes.items():
                measure_store(bench, shape, node, run)
    starts = measure_starts(bench, nodes)
    describe(bench, nodes)
    setup = plan.setup() | {
        "rows": "; ".join(shape.words() for shape in shapes),
        "authentication": "none",
        "TLS": "none",
        "cores": f"server {plan.server_core}, generator {plan.client_core}; one worker",
        "keys": "Zipf 0.9, ranks scattered over the rows; of P1 uniform",
        "load": f"64 in flight over UDP; {plan.runs} interleaved runs of {plan.seconds} s after "
        f"{WARM_UP_S} s; every answer checked",
        "store": "warm: its file is locked in memory during each run",
    }
    return make_report(bench.samples, setup, {"notes": bench.notes, "starts": starts})


def measure_store(bench: Bench, shape: Shape, node: Path, run: int) -> None:
    """Measure P8 on lots, P1 on plain rows, once. Raises: MeasurementError."""
    system = system_words(shape)
    with serving_node(node, shape, bench.plan.server_core) as (port, _):
        if not shape.lots:
            bench.measure(P1, system, run, "udp", port, WARM_OPTIONS, shape)
            return
        bench.measure(P8, system, run, "udp", port, WARM_ZIPF_OPTIONS, shape)
        mixed = bench.generate("udp", port, (*WARM_ZIPF_OPTIONS, *MIXED_OPTIONS), shape)
        bench.keep(P8_MIXED, system, run, mixed)


def describe(bench: Bench, nodes: Mapping[Shape, Path]) -> None:
    """Note what the stores take, how long it took to fill them, and P8."""
    for shape, node in nodes.items():
        octets, system = disk_octets(node / "store"), system_words(shape)
        bench.notes[f"disk, {system}"] = (
            f"{octets:,} octets, journal included, {octets / shape.rows:.1f} a row"
        )
        filled = read_filled(node.parent / MARKER)
        seconds = filled.seconds if filled is not None and filled.seconds else 1.0
        how = "tests.loadtest.fill_lots" if shape.lots else "biaoshi load"
        bench.notes[f"filled, {system}"] = (
            f"with {how} in {seconds:,.0f} s, {shape.rows / seconds:,.0f} rows/s"
        )
    bench.notes.update(describe_ratios(bench, list(nodes)))


def describe_ratios(bench: Bench, shapes: Sequence[Shape]) -> dict[str, str]:
    """Return P8 in words, beside either ratio at 1 M."""
    ratios = {
        line.system: line.ratio_median for line in summarize(bench.samples) if line.ratio_median
    }
    *lots, plain = shapes
    small, large = (ratios[system_words(shape)] for shape in (lots[0], lots[-1]))
    p1 = ratios[system_words(plain)]
    found = f"{large:.3f} of the echo with {lots[-1].rows:,} rows in lots"
    return {
        "P8, of the same at 1 M": f"{large / small:.2f}: {found}, {small:.3f} with "
        f"{lots[0].rows:,}",
        "P8, of P1": f"{large / p1:.2f}: {found}, {p1:.3f} with {plain.rows:,} plain rows of "
        f"{plain.values} values and uniform keys",
    }


def system_words(shape: Shape) -> str:
    """Return how the report calls a store."""
    if shape.lots:
        return f"biaoshi, {shape.rows:,} rows in lots"
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
