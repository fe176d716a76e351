"""The command line as typer sees it: commands found through entry points, errors put in words.

Commands are entry points of the group `biaoshi.commands`; a package that brings one registers it
there and nobody imports it. An entry point is a function (one command) or a `typer.Typer` (a
command with subcommands). Only the command that was asked for is imported; help and completion
import them all.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points, version
from typing import Annotated

import typer

from resolver.cli.errors import CliError, ExitCode

GROUP = "biaoshi.commands"
COMPLETION_VARIABLE = "_BIAOSHI_COMPLETE"
EPILOG = (
    "Exit codes: 0 done, 1 the answer is no (not found, refused), 2 usage, 3 no node answered, "
    "4 a file or the configuration is wrong, 5 identity or key not accepted, 70 a bug of ours, "
    "130 interrupted."
)


def make_app(wanted: str | None = None) -> typer.Typer:
    """Return the command line; with `wanted` only that command is imported if it exists."""
    app = typer.Typer(
        name="biaoshi",
        help="Identifier resolution and registration: run nodes, register, resolve.",
        epilog=EPILOG,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    app.callback()(_root)
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    for entry in [found[wanted]] if wanted in found else sorted(found.values(), key=_order):
        command = entry.load()
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=entry.name)
        else:
            app.command(entry.name)(command)
    return app


def run(words: Sequence[str]) -> int:
    """Run the command line `words` and return the exit code; errors are printed, not raised."""
    options = [word for word in words[:1] if word.startswith("-")]
    debug = "--debug" in options or bool(os.environ.get("BIAOSHI_DEBUG"))
    rest = words[len(options) :]
    wanted = rest[0] if rest and COMPLETION_VARIABLE not in os.environ else None
    try:
        make_app(wanted)(list(words), prog_name="biaoshi")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else ExitCode.OK
    except Exception as error:
        return report(error, debug=debug)
    return ExitCode.OK


def report(error: Exception, *, debug: bool = False) -> int:
    """Print what happened and what to do next; return the exit code."""
    if debug:
        traceback.print_exception(error)
    known = _put_in_words(error)
    if known is None:
        known = CliError(
            f"this is a bug of ours: {type(error).__name__}: {error}",
            "repeat it as `biaoshi --debug ...` and report what it prints",
            ExitCode.BUG,
        )
    print("\n".join(known.lines()), file=sys.stderr)
    return known.code


def _put_in_words(error: Exception) -> CliError | None:
    if isinstance(error, CliError):
        return error
    from resolver.cli.explain import explain  # knows everybody's errors, so it imports a lot

    return explain(error)


# Commands in the order in which a newcomer needs them; others follow by name.
ORDER = (
    "demo",
    "init",
    "serve",
    "resolve",
    "register",
    "update",
    "delete",
    "import",
    "batch",
    "receipt",
    "prefix",
    "range",
    "template",
    "life",
    "trust",
    "keygen",
    "certificate",
    "verify",
    "export",
    "load",
    "takeover",
    "statistics",
    "doctor",
    "admin",
)


def _order(entry: EntryPoint) -> tuple[int, str]:
    known = ORDER.index(entry.name) if entry.name in ORDER else len(ORDER)
    return known, entry.name


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"biaoshi {version('biaoshi')}")
        raise typer.Exit


def _root(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    del debug, show_version  # read before typer runs, and by the callback
