"""`biaoshi doctor`: what is wrong with this machine, or with a node's folder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from resolver.cli.checks import MACHINE_CHECKS, NODE_CHECKS
from resolver.cli.errors import ExitCode
from resolver.cli.findings import Finding, Level, Subject
from resolver.cli.output import make_console, print_json
from resolver.cli.serve import find_config
from resolver.config import ConfigError, load_config
from resolver.node_files import NodeFolder

STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "bold red"}


def doctor(
    folder: Annotated[
        Path | None, typer.Argument(help="A node's folder; without it, only the machine.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Look for what is wrong and say how to mend it. Exit code 1 when there is a problem."""
    findings = list(examine(folder))
    if as_json:
        print_json([_to_json(finding) for finding in findings])
    else:
        for finding in findings:
            _print(finding)
    if any(finding.level is Level.PROBLEM for finding in findings):
        raise typer.Exit(ExitCode.REFUSED)


def examine(folder: Path | None) -> Iterator[Finding]:
    """Yield what every check finds. Raises: CliError when there is no such folder."""
    for check_machine in MACHINE_CHECKS:
        yield from check_machine()
    if folder is None:
        return
    path = find_config([str(folder)])
    try:
        config = load_config(path)
    except ConfigError as error:
        for problem in error.problems:
            yield Finding(Level.PROBLEM, "configuration", problem, f"edit {path}")
        return
    yield Finding(Level.OK, "configuration", str(path))
    subject = Subject(NodeFolder(config.folder), config)
    for check_node in NODE_CHECKS:
        yield from check_node(subject)


def _print(finding: Finding) -> None:
    line = Text(f"{finding.level.value:8}", STYLES[finding.level])
    line.append(f" {finding.subject:14} {finding.words}", "default")
    console = make_console()
    console.print(line)
    if finding.hint and finding.level is not Level.OK:
        console.print(Text(f"{'':8} {'':14} try: {finding.hint}"))


def _to_json(finding: Finding) -> dict[str, str]:
    return {
        "level": finding.level.value,
        "subject": finding.subject,
        "words": finding.words,
        "hint": finding.hint,
    }
