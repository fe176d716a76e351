"""`biaoshi loadtest`: what the load tests offer on the command line."""

from pathlib import Path
from typing import Annotated

import typer

from loadtest.startup import MeasurementError, measure_start, write_report

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
