"""What a benchmark is to measure, and one under way: its tools, its samples, its notes."""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loadtest.formula import Shape
from loadtest.load import Answers, Tools, run_generator
from loadtest.report import Sample
from loadtest.startup import MeasurementError

VARIANTS = ("native", "python", "off")
DNS_SERVERS = {"knot": "Knot DNS", "nsd": "NSD"}
ECHO = "C echo"
HTTP_CONNECTIONS = 16
SOCKETS_OPTIONS = ("--sockets", "64")


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

    @property
    def both_cores(self) -> tuple[int, ...] | None:
        """The server's core and the generator's together; None when either is not pinned."""
        if self.server_core is None or self.client_core is None:
            return None
        return tuple(sorted({self.server_core, self.client_core}))

    def setup(self) -> dict[str, str]:
        """Return in words what every figure depends on."""
        return {
            "rows": self.shape.words(),
            "authentication": "none for what is measured; a writer's registrations are signed",
            "TLS": "none unless the case says so",
            "cores": f"server {self.server_core}, generator {self.client_core}; one worker "
            "unless the case says two",
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

    def generate(
        self, mode: str, port: int, options: Sequence[str] = (), shape: Shape | None = None
    ) -> Answers:
        """Run our generator once; `shape` when it is not the plan's."""
        plan = self.plan
        return run_generator(
            self.tools,
            mode,
            port,
            shape or plan.shape,
            seconds=plan.seconds,
            core=plan.client_core,
            options=options,
        )

    def measure(
        self,
        case: str,
        system: str,
        run: int,
        mode: str,
        port: int,
        options: Sequence[str] = (),
        shape: Shape | None = None,
    ) -> Answers:
        """Measure one system; right before it the echo, for the ratio."""
        echo = self.generate("echo", self.echo_port, options, shape)
        answers = self.generate(mode, port, options, shape)
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
        self.say(f"run {run}  {case:<38} {system:<20} {answers.rate:>9,.0f}/s{share}")


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
