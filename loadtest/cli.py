"""`biaoshi loadtest`: what the load tests offer on the command line."""

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from loadtest.bench import run_bench
from loadtest.formula import FULL, SHORT, Shape
from loadtest.large import LARGE_ROWS, LOT_SERIALS, run_large
from loadtest.plan import DNS_SERVERS, Plan
from loadtest.ranges import RANGES, SERIALS, run_ranges
from loadtest.report import to_markdown
from loadtest.report import write_report as write_bench
from loadtest.startup import MeasurementError, measure_start, write_report
from loadtest.writes import run_writes

app = typer.Typer(help="Measure a node from the outside.", no_args_is_help=True)


@app.callback()
def loadtest() -> None:
    """Measure a node from the outside."""


@app.command()
def start(
    config: Annotated[Path, typer.Argument(help="biaoshi.toml of a node that is not running")],
    runs: Annotated[int, typer.Option(min=1, max=100, help="how often to start it")] = 5,
    handle: Annotated[str, typer.Option(help="the handle to ask for")] = "0.NA/0.NA",
    results: Annotated[
        Path | None, typer.Option(help="folder to write the report to; none: only print")
    ] = None,
) -> None:
    """Measure the time to a node's first answer and the private memory of its processes."""
    try:
        starts = [measure_start(config, handle.encode()) for _ in range(runs)]
    except (MeasurementError, OSError, ValueError) as error:
        typer.echo(f"biaoshi loadtest start: {error}", err=True)
        raise typer.Exit(1) from None
    for number, one in enumerate(starts, 1):
        memory = ", ".join(
            f"{name} {octets / 1e6:.1f} MB" for name, octets in one.uss_octets.items()
        )
        typer.echo(f"run {number}: first answer after {one.first_answer_s:.3f} s; {memory}")
    if results is not None:
        typer.echo(f"written to {write_report(starts, results)}")


RowsOption = Annotated[int, typer.Option(min=1_000, max=5_000_000_000, help="rows in the store")]
RunsOption = Annotated[int, typer.Option(min=1, max=100, help="interleaved runs")]
SecondsOption = Annotated[int, typer.Option(min=1, max=600, help="measured in each run")]
CoreOption = Annotated[int, typer.Option(min=-1, help="core to pin to; -1: none")]
ResultsOption = Annotated[Path | None, typer.Option(help="folder for the report; none: only print")]


@app.command()
def bench(
    rows: RowsOption = 1_000_000,
    runs: RunsOption = 3,
    seconds: SecondsOption = 3,
    server_core: CoreOption = 0,
    client_core: CoreOption = 1,
    dns: Annotated[bool, typer.Option(help="measure Knot DNS and NSD, if installed")] = True,
    folder: Annotated[
        Path | None, typer.Option(help="a disk for stores and zones.  [default: here]")
    ] = None,
    results: ResultsOption = None,
) -> None:
    """Measure P1 to P3, P10 to P12 and P1 under other conditions, beside C echo, Knot and NSD."""
    plan = Plan(
        Shape(rows, FULL),
        runs,
        seconds,
        _core(server_core),
        _core(client_core),
        dns=tuple(DNS_SERVERS) if dns else (),
    )
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=folder or Path.cwd()) as place:
        try:
            content = run_bench(plan, Path(place), typer.echo)
        except (MeasurementError, OSError) as error:
            raise _failed("bench", error) from None
    _finish(content, results, "bench")


@app.command()
def large(
    rows: RowsOption = LARGE_ROWS,
    runs: RunsOption = 3,
    seconds: SecondsOption = 5,
    serials: Annotated[
        int, typer.Option(min=10, max=1_000_000, help="rows in each lot")
    ] = LOT_SERIALS,
    server_core: CoreOption = 0,
    client_core: CoreOption = 1,
    folder: Annotated[Path, typer.Option(help="where stores are built and kept")] = Path(".bench"),
    results: ResultsOption = None,
) -> None:
    """Measure target P8: 100 M rows in lots from a template beside 1 M, and beside P1."""
    plan = Plan(Shape(rows, FULL), runs, seconds, _core(server_core), _core(client_core))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        content = run_large(plan, folder, typer.echo, serials)
    except (MeasurementError, OSError) as error:
        raise _failed("large", error) from None
    _finish(content, results, "bench-100m")


@app.command()
def writes(
    rows: RowsOption = 1_000_000,
    runs: RunsOption = 3,
    seconds: SecondsOption = 5,
    server_core: CoreOption = 0,
    client_core: CoreOption = 1,
    folder: Annotated[
        Path | None, typer.Option(help="a disk for stores and rows.  [default: here]")
    ] = None,
    results: ResultsOption = None,
) -> None:
    """Measure P4 to P7: single registrations, a stream, its disk, look-ups beside it."""
    plan = Plan(Shape(rows, FULL), runs, seconds, _core(server_core), _core(client_core))
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=folder or Path.cwd()) as place:
        try:
            content = run_writes(plan, Path(place), typer.echo)
        except (MeasurementError, OSError) as error:
            raise _failed("writes", error) from None
    _finish(content, results, "bench-writes")


@app.command()
def ranges(
    count: Annotated[int, typer.Option("--ranges", min=1_000, max=50_000_000)] = RANGES,
    serials: Annotated[
        int, typer.Option(min=2, max=1_000_000_000, help="identifiers in each range")
    ] = SERIALS,
    short: Annotated[bool, typer.Option("--short", help="one short value instead of 3")] = False,
    runs: RunsOption = 3,
    seconds: SecondsOption = 5,
    server_core: CoreOption = 0,
    client_core: CoreOption = 1,
    folder: Annotated[Path, typer.Option(help="where stores are built and kept")] = Path(".bench"),
    results: ResultsOption = None,
) -> None:
    """Measure target P9: fill, count and verify a store of ranges; look-ups in it beside P1's rows.

    Stop it as you like: the store is gone on with.
    """
    shape = Shape(count * serials, SHORT if short else FULL, serials=serials)
    plan = Plan(shape, runs, seconds, _core(server_core), _core(client_core))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        content = run_ranges(plan, folder, typer.echo)
    except (MeasurementError, OSError) as error:
        raise _failed("ranges", error) from None
    _finish(content, results, "bench-ranges")


def _core(number: int) -> int | None:
    return None if number < 0 else number


def _failed(command: str, error: Exception) -> typer.Exit:
    typer.echo(f"biaoshi loadtest {command}: {error}", err=True)
    return typer.Exit(1)


def _finish(content: dict[str, Any], results: Path | None, name: str) -> None:
    typer.echo("\n" + to_markdown(content))
    if results is not None:
        for path in write_bench(content, results, name):
            typer.echo(f"written to {path}")
