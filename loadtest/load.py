"""Running the generators: ours, compiled when it is needed, and wrk; every answer is checked.

Ours compares each answer with the formula octet for octet. wrk checks status codes; before it runs,
a sample of bodies is compared here.
"""

import http.client
import json
import os
import random
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadtest.formula import Shape, make_handle, make_row
from loadtest.histogram import Histogram
from loadtest.startup import MeasurementError

SOURCES = Path(__file__).parent / "generator"
WRK_SCRIPT = Path(__file__).with_name("wrk.lua")
PUTS_SCRIPT = Path(__file__).with_name("puts.lua")
LATE_S = 30.0  # a generator that runs this much longer than asked hangs
HTTP_SAMPLES = 200
LATENCY_NAMES = ("p50_us", "p99_us", "p999_us", "max_us")
COMPILER = "cc"
COMPILER_OPTIONS = ("-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror")


@dataclass(frozen=True, slots=True)
class Answers:
    """What one run of a generator counted; all in it were right."""

    rate: float
    counts: dict[str, int] = field(default_factory=dict)
    latency_us: dict[str, float] = field(default_factory=dict)
    histogram: Histogram | None = None


@dataclass(frozen=True, slots=True)
class Tools:
    """The compiled programs."""

    generator: Path
    echo: Path


def compile_tools(folder: Path) -> Tools:
    """Compile generator and echo into a folder.

    Raises:
        MeasurementError: there is no C compiler, or it refuses.
    """
    tools = Tools(folder / "generator", folder / "echo")
    parts = [SOURCES / name for name in ("main.c", "messages.c", "udp.c", "tcp.c")]
    _compile(tools.generator, parts, ("-lm",))
    _compile(tools.echo, [SOURCES / "echo.c"], ())
    return tools


def _compile(target: Path, sources: Iterable[Path], libraries: Iterable[str]) -> None:
    words = [COMPILER, *COMPILER_OPTIONS, "-o", str(target), *map(str, sources), *libraries]
    try:
        subprocess.run(words, check=True, capture_output=True, text=True, timeout=120)
    except FileNotFoundError:
        raise MeasurementError("no C compiler: install gcc, or any that is called cc") from None
    except subprocess.CalledProcessError as error:
        raise MeasurementError(f"{target.name} does not compile:\n{error.stderr}") from None


def pinned(cores: int | Sequence[int] | None) -> list[str]:
    """Return the words before a command that keep it on one core, or on some."""
    if cores is None:
        return []
    names = [cores] if isinstance(cores, int) else cores
    return ["taskset", "-c", ",".join(map(str, names))]


def run_generator(
    tools: Tools,
    mode: str,
    port: int,
    shape: Shape,
    *,
    seconds: float,
    core: int | None = None,
    options: Iterable[str] = (),
) -> Answers:
    """Run the generator against 127.0.0.1.

    Args:
        tools: compiled.
        mode: udp, tcp, fresh, dns or echo.
        port: where the server listens.
        shape: what it holds.
        seconds: measured, after the warm-up.
        core: where to pin the generator.
        options: more words of the generator's command line.

    Raises:
        MeasurementError: an answer was wrong, there was none, or the generator failed.
    """
    words = [*pinned(core), str(tools.generator), mode, "--port", str(port)]
    words += [*shape.options(), "--seconds", str(seconds), *options]
    try:
        ended = subprocess.run(
            words, capture_output=True, text=True, timeout=seconds + LATE_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise MeasurementError(f"the generator hangs: {' '.join(words)}") from None
    if not ended.stdout:
        raise MeasurementError(f"the generator failed: {ended.stderr.strip()}")
    return read_result(json.loads(ended.stdout))


def read_result(result: dict[str, Any]) -> Answers:
    """Take the generator's JSON apart.

    Raises:
        MeasurementError: an answer was wrong, or there was no right one.
    """
    if result["wrong"]:
        raise MeasurementError(
            f"{result['wrong']} wrong answers over {result['mode']}, the first: {result['fault']}"
        )
    if not result["right"]:
        raise MeasurementError(f"no answer over {result['mode']}: {result['lost']} were lost")
    names = ("right", "missing", "lost", "stray", "refused", "malformed_sent", "malformed_answered")
    histogram = Histogram.from_json(result["latency"])
    return Answers(
        result["right"] / result["seconds"],
        {name: result[name] for name in names},
        histogram.summary_us(),
        histogram,
    )


def run_wrk(
    port: int,
    shape: Shape,
    *,
    seconds: int,
    connections: int,
    core: int | None,
    seed: int,
    scheme: str = "http",
) -> Answers:
    """Run wrk: uniform GETs over kept-open connections, plain or (https) over TLS.

    Raises:
        MeasurementError: a status other than 200, a broken connection, or wrk failed.
    """
    words = [*pinned(core), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s"]
    words += [str(WRK_SCRIPT), f"{scheme}://127.0.0.1:{port}"]
    environment = {"PREFIX": shape.prefix, "ROWS": str(shape.rows), "SEED": str(seed)}
    return read_wrk(_run_script(words, environment, seconds))


def run_puts(
    port: int,
    rows: Path,
    authorization: str,
    *,
    seconds: int,
    connections: int,
    cores: Sequence[int] | None,
) -> Answers:
    """Run wrk: PUT each row of a file over kept-open connections with TLS.

    Args:
        port: of HTTPS on 127.0.0.1.
        rows: NDJSON, more than can be registered in the time.
        authorization: the header of a session.
        seconds: measured.
        connections: each with one request in flight.
        cores: where to pin wrk.

    Raises:
        MeasurementError: a status other than 201, a broken connection, or wrk failed.
    """
    words = [*pinned(cores), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s"]
    words += [str(PUTS_SCRIPT), f"https://127.0.0.1:{port}"]
    environment = {"ROWS": str(rows), "AUTHORIZATION": authorization}
    return read_puts(_run_script(words, environment, seconds))


def _run_script(
    words: Sequence[str], environment: Mapping[str, str], seconds: int
) -> dict[str, Any]:
    """Run wrk; return the document that its script prints. Raises: MeasurementError."""
    ended = subprocess.run(
        words,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=seconds + LATE_S,
        check=False,
    )
    line = next((each for each in ended.stdout.splitlines() if each.startswith("result ")), None)
    if line is None:
        raise MeasurementError(f"wrk failed: {ended.stderr.strip() or ended.stdout.strip()}")
    document: dict[str, Any] = json.loads(line.removeprefix("result "))
    return document


def read_puts(result: dict[str, Any]) -> Answers:
    """Take what `puts.lua` prints apart. Raises: MeasurementError."""
    if result["refused"] or result["broken"] or not result["created"]:
        raise MeasurementError(
            f"{result['created']} rows were created, {result['refused']} refused "
            f"({result['first_refused']}), {result['broken']} broke off"
        )
    latency = {name: result[name] for name in LATENCY_NAMES}
    rate = result["created"] * 1e6 / result["microseconds"]
    return Answers(rate, {"created": result["created"]}, latency)


def read_wrk(result: dict[str, Any]) -> Answers:
    """Take what `wrk.lua` prints apart. Raises: MeasurementError."""
    if result["not_200"] or result["broken"]:
        raise MeasurementError(
            f"over HTTP {result['not_200']} answers were not 200, {result['broken']} broke off"
        )
    latency = {name: result[name] for name in LATENCY_NAMES}
    rate = result["requests"] * 1e6 / result["microseconds"]
    return Answers(rate, {"right": result["requests"]}, latency)


def check_http(port: int, shape: Shape, samples: int = HTTP_SAMPLES, seed: int = 1) -> None:
    """Compare a sample of JSON answers with the formula.

    Raises:
        MeasurementError: one differs.
    """
    choice = random.Random(seed)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        for _ in range(samples):
            row = choice.randrange(shape.rows)
            handle = make_handle(shape, row).decode()
            connection.request("GET", f"/api/handles/{handle}")
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise MeasurementError(f"GET {handle} is answered with {answer.status}")
            _check_document(json.loads(body), handle, shape, row)
    finally:
        connection.close()


def _check_document(document: dict[str, Any], handle: str, shape: Shape, row: int) -> None:
    found = [
        (value["index"], value["type"], value["data"]["value"], value["ttl"])
        for value in document["values"]
    ]
    expected = [
        (value.index, value.type.decode(), value.data.decode(), value.ttl)
        for value in make_row(shape, row)
    ]
    if document["handle"] != handle or found != expected:
        raise MeasurementError(f"GET {handle} is answered with other values: {found}")
