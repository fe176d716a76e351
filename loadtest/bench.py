"""`make bench`: targets P1, P2, P3, P10 and P11 in one run, beside a C echo, Knot DNS and NSD.

Servers are on one core, generators on another. The runs are interleaved: every round measures every
system once, and right before each UDP figure the echo, whose ratio is what counts on a machine
that others use too. Target P8 is in `loadtest.large`.
"""

import contextlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from loadtest.conditions import describe, measure_conditions, prepare
from loadtest.formula import make_handle
from loadtest.load import Answers, check_http, compile_tools, run_wrk
from loadtest.plan import (
    DNS_SERVERS,
    HTTP_CONNECTIONS,
    SOCKETS_OPTIONS,
    Bench,
    Plan,
    check_cores,
)
from loadtest.report import make_report
from loadtest.scaling import summarize_scaling
from loadtest.servers import (
    FASTPATH_VARIABLE,
    find_program,
    load_node,
    make_node,
    serving_dns,
    serving_echo,
    serving_node,
    write_zone,
)
from loadtest.startup import MeasurementError, measure_start, report

DNS_PROGRAMS = {"knot": "knotd", "nsd": "nsd"}

P1 = "P1 UDP, uniform"
P1_ZIPF = "UDP, Zipf 0.9"
P1_MIXED = "UDP, 5 % malformed, 5 % missing"
P1_SOCKETS = "UDP, 64 client sockets"
P1_OPEN = "UDP, open loop at half of P1"
P2 = "P2 HTTP JSON, 16 connections"
P2_TLS = "P2 over TLS"
P3_FRESH = "P3 TCP, new connection each"
P3_KEPT = "P3 TCP, kept open, pipelined"

KEPT_OPTIONS = ("--connections", "8", "--window", "256")
FRESH_OPTIONS = ("--connections", "16")
ZIPF_OPTIONS = ("--zipf", "0.9")
MIXED_OPTIONS = ("--malformed", "0.05", "--missing", "0.05")


def run_bench(plan: Plan, folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure everything and return the report.

    Args:
        plan: what to measure.
        folder: an empty one for stores, zones and logs, on a real disk.
        say: told about every step.

    Raises:
        MeasurementError: something does not run, or an answer was wrong.
    """
    check_cores(plan)
    bench = Bench(plan, compile_tools(folder), folder, say)
    say(f"building the store: {plan.shape.words()}")
    node = make_node(folder, plan.shape)
    seconds = load_node(bench.tools, node, plan.shape)
    bench.notes["loaded"] = f"{plan.shape.rows / seconds:,.0f} rows/s with biaoshi load"
    variants = find_variants(bench, node)
    conditions = prepare(bench, node)
    with contextlib.ExitStack() as stack:
        bench.echo_port = stack.enter_context(serving_echo(bench.tools, folder, plan.server_core))
        dns_ports = start_dns(bench, stack)
        for run in range(1, plan.runs + 1):
            for variant in variants:
                p1_rate = measure_node(bench, node, variant, run, extras=variant == variants[0])
                if variant == variants[0]:
                    measure_conditions(bench, conditions, variant, run, p1_rate)
            for name, port in dns_ports.items():
                bench.measure(P1, DNS_SERVERS[name], run, "dns", port)
    describe(bench, conditions)
    starts = measure_starts(bench, node, variants)
    scaling = summarize_scaling(conditions.scaled)
    extra = {"notes": bench.notes, "starts": starts, "scaling": scaling}
    return make_report(bench.samples, plan.setup(), extra)


def find_variants(bench: Bench, node: Path) -> list[str]:
    """Return the variants of the fast path that this installation has."""
    found = []
    for variant in bench.plan.variants:
        try:
            with serving_node(node, bench.plan.shape, bench.plan.server_core, variant):
                found.append(variant)
        except MeasurementError as error:
            bench.notes[f"not measured, {variant}"] = str(error).splitlines()[-1]
            bench.say(f"{FASTPATH_VARIABLE}={variant} does not start: {error}")
    if not found:
        raise MeasurementError("the node starts with no variant of the fast path")
    return found


def start_dns(bench: Bench, stack: contextlib.ExitStack) -> dict[str, int]:
    """Start the DNS servers that are installed; return their ports."""
    plan, zone = bench.plan, bench.folder / "bench.zone"
    ports: dict[str, int] = {}
    for name in plan.dns:
        if find_program(DNS_PROGRAMS[name]) is None:
            bench.notes[f"not measured, {name}"] = "not installed"
            bench.say(f"{DNS_SERVERS[name]} is not installed and not measured")
            continue
        if not zone.exists():
            write_zone(bench.tools, plan.shape, zone)
        bench.say(f"starting {DNS_SERVERS[name]}")
        server = serving_dns(name, bench.tools, bench.folder, zone, plan.shape, plan.server_core)
        try:
            ports[name] = stack.enter_context(server)
        except MeasurementError as error:
            bench.notes[f"not measured, {name}"] = " ".join(str(error).split())
            bench.say(f"{DNS_SERVERS[name]} is not measured: {error}")
    return ports


def measure_node(bench: Bench, node: Path, variant: str, run: int, *, extras: bool) -> float:
    """Measure one variant once: P1, P2, P3, and with `extras` other loads; return P1's rate."""
    plan, system = bench.plan, f"biaoshi {variant}"
    with serving_node(node, plan.shape, plan.server_core, variant) as (port, http_port):
        answers = bench.measure(P1, system, run, "udp", port)
        if extras:
            bench.measure(P1_ZIPF, system, run, "udp", port, ZIPF_OPTIONS)
            bench.keep(P1_MIXED, system, run, bench.generate("udp", port, MIXED_OPTIONS))
            rate = ("--rate", f"{answers.rate / 2:.0f}")
            bench.measure(P1_SOCKETS, system, run, "udp", port, SOCKETS_OPTIONS)
            bench.keep(P1_OPEN, system, run, bench.generate("udp", port, rate))
        if shutil.which("wrk"):
            check_http(http_port, plan.shape)
            bench.keep(P2, system, run, measure_http(plan, http_port, run))
            if extras:
                bench.keep(P2_TLS, system, run, measure_http(plan, http_port, run, "https"))
        else:
            bench.notes["not measured, P2"] = "wrk is not installed"
        bench.keep(P3_FRESH, system, run, bench.generate("fresh", port, FRESH_OPTIONS))
        bench.keep(P3_KEPT, system, run, bench.generate("tcp", port, KEPT_OPTIONS))
    return answers.rate


def measure_http(plan: Plan, port: int, seed: int, scheme: str = "http") -> Answers:
    """Measure P2 with wrk, plain or over TLS."""
    return run_wrk(
        port,
        plan.shape,
        seconds=plan.seconds,
        connections=HTTP_CONNECTIONS,
        core=plan.client_core,
        seed=seed,
        scheme=scheme,
    )


def measure_starts(bench: Bench, node: Path, variants: Sequence[str]) -> dict[str, Any]:
    """Measure P10 and P11: time to the first answer and private memory, by variant."""
    handle = make_handle(bench.plan.shape, 0)
    starts: dict[str, Any] = {}
    for variant in variants:
        runs = [
            measure_start(node / "biaoshi.toml", handle, {FASTPATH_VARIABLE: variant})
            for _ in range(bench.plan.runs)
        ]
        starts[f"biaoshi {variant}"] = report(runs)
        bench.say(f"start  biaoshi {variant}: {min(run.first_answer_s for run in runs):.3f} s")
    return starts
