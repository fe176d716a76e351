"""P1 under other conditions: what needs a node of its own, another configuration, or a writer.

rows of unlike length        a second store
P12, cache hits              `loadtest.hierarchy`
with a writer                `loadtest.writer`
one worker and two           `loadtest.scaling`
"""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from loadtest.formula import UNLIKE, Shape
from loadtest.hierarchy import (
    TOP_HANDLE,
    cached_rows,
    delegate,
    describe_hits,
    make_recursive,
    measure_hits,
)
from loadtest.plan import Bench
from loadtest.report import Sample
from loadtest.scaling import Scaled, measure_scaling
from loadtest.servers import init_node, load_node, serving, serving_node
from loadtest.writer import WRITTEN, WRITTEN_OPEN, Target, measure_with_writer

UNLIKE_ROWS = "UDP, rows of unlike length"


@dataclass
class Conditions:
    """The nodes these cases need beside the one that P1 measures, and what is kept of them."""

    node: Path
    top: Path
    unlike: Path
    recursive: Path
    unlike_shape: Shape
    is_warm: bool = False
    scaled: list[Scaled] = field(default_factory=list)
    registered: int = 0


def prepare(bench: Bench, node: Path) -> Conditions:
    """Make and fill the nodes; delegate the measured node's prefix to it.

    Raises:
        MeasurementError: a command failed.
    """
    plan, top = bench.plan, node.with_name("top")
    shape = replace(plan.shape, values=UNLIKE)
    root = ("--root", str(top / "bootstrap.json"))
    unlike = init_node("enterprise", node.with_name("unlike"), "--prefix", shape.prefix, *root)
    bench.say(f"building the store: {shape.words()}")
    seconds = load_node(bench.tools, unlike, shape)
    bench.notes["rows of unlike length"] = (
        f"{shape.words()}; loaded at {shape.rows / seconds:,.0f} rows/s"
    )
    with serving(top, TOP_HANDLE, plan.server_core):
        delegate(top, node)
    return Conditions(node, top, unlike, make_recursive(top), shape)


def measure_conditions(
    bench: Bench, conditions: Conditions, variant: str, run: int, p1_rate: float
) -> None:
    """Measure every case once; `p1_rate` is what P1 had in this run. Raises: MeasurementError."""
    plan, system = bench.plan, f"biaoshi {variant}"
    shape = conditions.unlike_shape
    with serving_node(conditions.unlike, shape, plan.server_core, variant) as (port, _):
        bench.measure(UNLIKE_ROWS, system, run, "udp", port, shape=shape)
    with (
        serving(conditions.top, TOP_HANDLE, plan.server_core),
        serving_node(conditions.node, plan.shape, plan.server_core, variant) as (port, http_port),
    ):
        measure_hits(bench, conditions.recursive, port, variant, run, warm=conditions.is_warm)
        conditions.is_warm = True
        target = Target(conditions.node, port, http_port)
        conditions.registered += measure_with_writer(bench, target, system, run, p1_rate / 2)
    conditions.scaled += measure_scaling(bench, conditions.node, variant, run, p1_rate / 2)


def describe(bench: Bench, conditions: Conditions) -> None:
    """Put into the notes what the table has no column for."""
    bench.notes["P12 hits"] = (
        f"{describe_hits(bench.samples)}; keys uniform over the first "
        f"{cached_rows(bench.plan.shape).rows:,} rows"
    )
    for case in (WRITTEN, WRITTEN_OPEN):
        bench.notes[case] = describe_registered(bench.samples, case, bench.plan.seconds)
    bench.notes["with a writer"] = (
        f"{conditions.registered:,} rows were registered in all, each of them was asked for "
        "afterwards and is there; writer and generator on one core, also while the echo is measured"
    )


def describe_registered(samples: Iterable[Sample], case: str, seconds: int) -> str:
    """Return in words how many rows were registered during the runs of a case."""
    counts = [
        sample.counts["registered"]
        for sample in samples
        if sample.case == case and "registered" in sample.counts
    ]
    return (
        f"{statistics.median(counts):,.0f} rows registered meanwhile, median of the runs "
        f"({min(counts):,} to {max(counts):,}), each of {seconds} s after 0.5 s"
    )
