"""`make bench`: targets P1, P2, P3, P10 and P11 in one run, beside a C echo, Knot DNS and NSD.

Servers are on one core, generators on another. The runs are interleaved: every round measures every
system once, and right before each UDP figure the echo, whose ratio is what counts on a machine
that others use too. Target P8 is in `loadtest.large`.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadtest.formula import Shape, make_handle
from loadtest.load import Answers, Tools, check_http, compile_tools, run_generator, run_wrk
from loadtest.report import Sample, make_report
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

VARIANTS = ("native", "python", "off")
DNS_SERVERS = {"knot": "Knot DNS", "nsd": "NSD"}
DNS_PROGRAMS = {"knot": "knotd", "nsd": "nsd"}
ECHO = "C echo"

P1 = "P1 UDP, uniform"
P1_ZIPF = "UDP, Zipf 0.9"
P1_MIXED = "UDP, 5 % malformed, 5 % missing"
P1_OPEN = "UDP, open loop at half of P1"
P2 = "P2 HTTP JSON, 16 connections"
P3_FRESH = "P3 TCP, new connection each"
P3_KEPT = "P3 TCP, kept open, pipelined"

HTTP_CONNECTIONS = 16
KEPT_OPTIONS = ("--connections", "8", "--window", "256")
FRESH_OPTIONS = ("--connections", "16")
ZIPF_OPTIONS = ("--zipf", "0.9")
MIXED_OPTIONS = ("--malformed", "0.05", "--missing", "0.05")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure, and how long."""

    shape: Shape
    runs: int = 3
    seconds: int = 3
    server_core: int | None = 0
    client_core: int | None = 1
    variants: Sequence[str] = VARIANTS
    dns: Sequence[str] = tuple(DNS_SERVERS)

    def setup(self) -> dict[str, str]:
        """Return in words what every figure depends on."""
        return {
            "rows": self.shape.words(),
            "authentication": "none",
            "TLS": "none",
            "cores": f"server {self.server_core}, generator {self.client_core}; one worker",
            "keys": "uniform over all rows unless the case says Zipf",
            "load": f"64 in flight over UDP, {HTTP_CONNECTIONS} connections over HTTP, "
            "8 with 32 in flight each over kept-open TCP, 16 at a time with a new one each; "
            f"{self.runs} interleaved runs of {self.seconds} s after 0.5 s; every answer checked",
        }


@dataclass
class Bench:
    """One benchmark under way."""

    plan: Plan
    tools: Tools
    folder: Path
    say: Callable[[str], None]
    echo_port: int = 0
    samples: list[Sample] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)

    def generate(self, mode: str, port: int, options: Sequence[str] = ()) -> Answers:
        """Run our generator once."""
        plan = self.plan
        return run_generator(
            self.tools,
            mode,
            port,
            plan.shape,
            seconds=plan.seconds,
            core=plan.client_core,
            options=options,
        )

    def measure(
        self, case: str, system: str, run: int, mode: str, port: int, options: Sequence[str] = ()
    ) -> Answers:
        """Measure one system; right before it the echo, for the ratio."""
        echo = self.generate("echo", self.echo_port, options)
        answers = self.generate(mode, port, options)
        self.keep(case, ECHO, run, echo)
        self.keep(case, system, run, answers, answers.rate / echo.rate)
        return answers

    def keep(
        self, case: str, system: str, run: int, answers: Answers, ratio: float | None = None
    ) -> None:
        """Keep a sample and show it."""
        sample = Sample(
            case, system, run, answers.rate, ratio, answers.counts, answers.latency_us,
            answers.histogram,
        )  # fmt: skip
        self.samples.append(sample)
        share = f"  {ratio:.2f} of the echo" if ratio is not None else ""
        self.say(f"run {run}  {case:<32} {system:<16} {answers.rate:>9,.0f}/s{share}")


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
    with contextlib.ExitStack() as stack:
        bench.echo_port = stack.enter_context(serving_echo(bench.tools, folder, plan.server_core))
        dns_ports = start_dns(bench, stack)
        for run in range(1, plan.runs + 1):
            for variant in variants:
                measure_node(bench, node, variant, run, extras=variant == variants[0])
            for name, port in dns_ports.items():
                bench.measure(P1, DNS_SERVERS[name], run, "dns", port)
    starts = measure_starts(bench, node, variants)
    return make_report(bench.samples, plan.setup(), {"notes": bench.notes, "starts": starts})


def check_cores(plan: Plan) -> None:
    """Raise MeasurementError when the cores to pin to are not there."""
    wanted = {core for core in (plan.server_core, plan.client_core) if core is not None}
    if wanted and shutil.which("taskset") is None:
        raise MeasurementError("taskset is not installed (Debian: util-linux); or pin to no core")
    missing = wanted - os.sched_getaffinity(0)
    if missing:
        raise MeasurementError(
            f"core {min(missing)} is not ours to use: choose others with --server-core and "
            "--client-core, -1 for none"
        )


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


def measure_node(bench: Bench, node: Path, variant: str, run: int, *, extras: bool) -> None:
    """Measure one variant once: P1, P2, P3, and with `extras` the other UDP loads."""
    plan, system = bench.plan, f"biaoshi {variant}"
    with serving_node(node, plan.shape, plan.server_core, variant) as (port, http_port):
        answers = bench.measure(P1, system, run, "udp", port)
        if extras:
            bench.measure(P1_ZIPF, system, run, "udp", port, ZIPF_OPTIONS)
            bench.keep(P1_MIXED, system, run, bench.generate("udp", port, MIXED_OPTIONS))
            rate = ("--rate", f"{answers.rate / 2:.0f}")
            bench.keep(P1_OPEN, system, run, bench.generate("udp", port, rate))
        if shutil.which("wrk"):
            check_http(http_port, plan.shape)
            bench.keep(P2, system, run, measure_http(plan, http_port, run))
        else:
            bench.notes["not measured, P2"] = "wrk is not installed"
        bench.keep(P3_FRESH, system, run, bench.generate("fresh", port, FRESH_OPTIONS))
        bench.keep(P3_KEPT, system, run, bench.generate("tcp", port, KEPT_OPTIONS))


def measure_http(plan: Plan, port: int, seed: int) -> Answers:
    """Measure P2 with wrk."""
    return run_wrk(
        port,
        plan.shape,
        seconds=plan.seconds,
        connections=HTTP_CONNECTIONS,
        core=plan.client_core,
        seed=seed,
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
