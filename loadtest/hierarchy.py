"""P12: a recursive node in front of the measured one, which a top node delegates its prefix to.

    generator ─► recursive (cache) ─► top, for the prefix, once
                                   └► enterprise, for every row that is not in the cache

All three are on the server's core. The cache is filled once, over the network, by asking for every
row; it is on the disk and outlives the node's restarts between the runs.
"""

import statistics
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from loadtest.formula import Shape
from loadtest.load import Answers, run_generator
from loadtest.plan import Bench
from loadtest.report import Sample
from loadtest.servers import init_node, run_biaoshi, serving_node
from loadtest.startup import MeasurementError

HITS = "P12 recursive, cache hits"
RECURSIVE = "recursive"
CACHED_ROWS_MAX = 100_000
WARM_LIMIT_S = 600
WARM_PASSES_MAX = 3  # a row that was lost on the way is asked for again
WARM_OPTIONS = ("--order", "sequential", "--once")
TOP_HANDLE = b"88/absent"  # "not found" fits one datagram, what the top node holds does not


def make_recursive(top: Path) -> Path:
    """Make a recursive node beside the top node; return its folder. Raises: MeasurementError."""
    return init_node("recursive", top.with_name("recursive"), "--root", str(top / "bootstrap.json"))


def delegate(top: Path, node: Path) -> None:
    """Delegate a node's prefix at the top node, which runs. Raises: MeasurementError."""
    words = ("delegate", str(node / "delegation.json"), "--node", str(top), "--overwrite")
    run_biaoshi("prefix", *words)


def cached_rows(shape: Shape) -> Shape:
    """Return the rows that go into the cache: the first of the store's."""
    return replace(shape, rows=min(shape.rows, CACHED_ROWS_MAX))


def measure_hits(
    bench: Bench, recursive: Path, node_port: int, variant: str, run: int, *, warm: bool
) -> None:
    """Measure the running enterprise node and then the recursive one on the same rows.

    Args:
        bench: under way; a top node and the enterprise node run.
        recursive: the folder of the recursive node.
        node_port: the enterprise node's.
        variant: of the fast path.
        run: its number.
        warm: whether the cache holds the rows by now; if not it is filled first.

    Raises:
        MeasurementError: an answer was wrong, or the cache was not filled in time.
    """
    plan, rows = bench.plan, cached_rows(bench.plan.shape)
    with serving_node(recursive, rows, plan.server_core, variant) as (port, _):
        if not warm:
            first = warm_cache(bench, port, rows)
            bench.notes["P12 misses"] = describe_misses(first, rows)
            bench.say(f"P12 misses: {bench.notes['P12 misses']}")
        system = f"biaoshi {variant}"
        bench.keep(HITS, f"{system}, enterprise", run, bench.generate("udp", node_port, shape=rows))
        bench.keep(HITS, f"{system}, {RECURSIVE}", run, bench.generate("udp", port, shape=rows))


def warm_cache(bench: Bench, port: int, rows: Shape) -> Answers:
    """Ask the recursive node for every row; return what the first pass counted.

    Raises:
        MeasurementError: an answer was wrong, or rows stay without one.
    """
    passes: list[Answers] = []
    while len(passes) < WARM_PASSES_MAX:
        passes.append(
            run_generator(
                bench.tools,
                "udp",
                port,
                rows,
                seconds=WARM_LIMIT_S,
                core=bench.plan.client_core,
                options=WARM_OPTIONS,
            )
        )
        if passes[-1].counts["right"] == rows.rows:
            return passes[0]
    raise MeasurementError(
        f"the recursive node answered {passes[-1].counts['right']:,} of {rows.rows:,} rows "
        f"in pass {len(passes)}"
    )


def describe_misses(first: Answers, rows: Shape) -> str:
    """Return the first pass over an empty cache in words."""
    return (
        f"{first.rate:,.0f} rows/s; each of {rows.rows:,} rows asked for once, 64 in flight, "
        f"{first.counts['lost']:,} without an answer within a second. Two tiers, not three: "
        "the prefix was asked of the top node once, the rows of the enterprise node; "
        "top, enterprise and recursive node on one core"
    )


def describe_hits(samples: Iterable[Sample]) -> str:
    """Return the ratio of cache hits to the enterprise node's answers in words."""
    by_run: dict[int, dict[bool, float]] = {}
    for sample in samples:
        if sample.case == HITS:
            by_run.setdefault(sample.run, {})[sample.system.endswith(RECURSIVE)] = sample.rate
    ratios = [rates[True] / rates[False] for rates in by_run.values()]
    return (
        f"{statistics.median(ratios):.2f} of the enterprise node's rate on the same rows, "
        f"measured right before ({min(ratios):.2f} to {max(ratios):.2f})"
    )
