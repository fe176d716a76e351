"""`biaoshi range`: register, show, list, count, shrink, split and revoke runs of serials."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from resolver.cli.administration import administered
from resolver.cli.connect import (
    Where,
)
from resolver.cli.errors import CliError, ExitCode
from resolver.cli.output import print_json
from resolver.cli.range_output import (
    print_counts,
    print_range,
    print_range_events,
    print_ranges,
    range_to_json,
    report_ranges,
)
from resolver.cli.records import collect_values
from resolver.cli.where_options import JsonOption, YesOption, asks, confirm

app = typer.Typer(help="Register runs of serials as one record each.", no_args_is_help=True)

IdentifierArgument = Annotated[
    str, typer.Argument(help="Any identifier in the range.", show_default=False)
]
FirstArgument = Annotated[
    str, typer.Argument(help="The first serial with all its digits.", show_default=False)
]
LastArgument = Annotated[
    str, typer.Argument(help="The last serial, with as many.", show_default=False)
]


class Existing(StrEnum):
    """What to do with identifiers inside that are registered already."""

    REFUSE = "refuse"
    KEEP = "keep"


ExistingOption = Annotated[
    Existing,
    typer.Option(help="keep: single identifiers with a row of their own stay as they are."),
]


@app.command()
@asks(rest=True)
def register(
    where: Where,
    stem: Annotated[
        str, typer.Argument(help="What the identifiers begin with.", show_default=False)
    ],
    first: FirstArgument,
    last: LastArgument,
    value: Annotated[
        list[str] | None,
        typer.Option("--value", "-v", help="TYPE=DATA or TYPE:INDEX=DATA; repeat for more."),
    ] = None,
    values_file: Annotated[
        Path | None, typer.Option("--values", help="JSON file with values.", dir_okay=False)
    ] = None,
    owner: Annotated[
        list[str] | None,
        typer.Option(help="Identity that may administer the identifiers (HS_ADMIN)."),
    ] = None,
    check: Annotated[
        str,
        typer.Option(
            help="Scheme of a check character after each serial: gs1, iso7064-mod11-2, "
            "iso7064-mod11-10, iso7064-mod37-2, iso7064-mod37-36 or iso7064-mod97-10."
        ),
    ] = "",
    existing: ExistingOption = Existing.REFUSE,
    again: Annotated[
        bool,
        typer.Option("--again", help="It may be registered already, by an earlier run of this."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Register all serials from FIRST to LAST as one range.

    Text in DATA may have {serial}, {number} (without leading zeros), {prefix}, {suffix}, {handle}
    and {check}; {{ and }} are braces.
    Example: biaoshi range register 88.118.5/870101.M1. 000001 100000
    -v 'URL=https://example.org/{serial}' --node enterprise
    """
    values = collect_values(value or [], values_file, owner or [])
    with administered(where, stem) as client:
        made = client.register_range(
            stem, first, last, values, check=check, existing=existing.value, again=again
        )
    report_ranges("registered", made, as_json=as_json)


@app.command()
@asks(rest=True)
def show(
    where: Where,
    identifier: IdentifierArgument,
    as_json: JsonOption = False,
) -> None:
    """Show the range that holds an identifier. Exit code 1 when none does."""
    with administered(where, identifier) as client:
        found = client.find_range(identifier)
    if found is None:
        raise CliError(
            f"no range holds {identifier}",
            "biaoshi range list PREFIX shows all; biaoshi resolve finds single identifiers too",
            ExitCode.REFUSED,
        )
    if as_json:
        print_json(range_to_json(found))
    else:
        print_range(found)


@app.command()
@asks(rest=True)
def history(
    where: Where,
    identifier: Annotated[
        str,
        typer.Argument(help="Any that is or was in it, such as the first.", show_default=False),
    ],
    after: Annotated[
        int, typer.Option(help="Only changes after this frame of the journal.", min=0)
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Show what was done to the ranges that held an identifier: who, when and why.

    Example: biaoshi range history 88.118.5/870101.M1.000001 --node enterprise
    """
    with administered(where, identifier) as client:
        print_range_events(
            identifier, client.range_history(identifier, after=after), as_json=as_json
        )


@app.command("list")
@asks(rest=True)
def list_(
    where: Where,
    prefix: Annotated[str, typer.Argument(help="Such as 88.118.5", show_default=False)],
    stem: Annotated[str, typer.Option(help="Only ranges whose stem begins so.")] = "",
    as_json: JsonOption = False,
) -> None:
    """List the ranges under a prefix, by stem and serial; with --json, one on each line."""
    with administered(where, prefix) as client:
        print_ranges(prefix, client.list_ranges(prefix, stem=stem), as_json=as_json)


@app.command()
@asks(rest=True)
def count(
    where: Where,
    prefix: Annotated[str, typer.Argument(help="Such as 88.118.5", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Count the identifiers under a prefix, exactly: with a row of their own, and in ranges."""
    with administered(where, prefix) as client:
        counts = client.count(prefix)
    print_counts(prefix, counts, as_json=as_json)


@app.command()
@asks(rest=True)
def shrink(
    where: Where,
    identifier: IdentifierArgument,
    first: FirstArgument,
    last: LastArgument,
    existing: ExistingOption = Existing.REFUSE,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Give the range new ends inside the old ones; what is cut off is registered no more.

    Example: biaoshi range shrink 88.118.5/870101.M1.000001 000001 080000 --node enterprise
    """
    confirm(
        f"register nothing but {first} to {last} of the range of {identifier} any more?",
        "nothing was changed",
        yes=yes,
    )
    with administered(where, identifier) as client:
        made = client.shrink_range(identifier, first, last, existing=existing.value)
    report_ranges("shrunk", made, as_json=as_json)


@app.command()
@asks(rest=True)
def split(
    where: Where,
    identifier: Annotated[
        str, typer.Argument(help="The first identifier of the second part.", show_default=False)
    ],
    as_json: JsonOption = False,
) -> None:
    """Make two ranges of one. Their identifiers are answered as before.

    Example: biaoshi range split 88.118.5/870101.M1.050001 --node enterprise
    """
    with administered(where, identifier) as client:
        made = client.split_range(identifier)
    report_ranges("split", *made, as_json=as_json)


@app.command()
@asks(rest=True)
def revoke(
    where: Where,
    identifier: IdentifierArgument,
    reason: Annotated[str, typer.Option(help="Why, told to whoever asks.", show_default=False)],
    existing: ExistingOption = Existing.REFUSE,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Revoke the whole range, for good: its identifiers are not registered again.

    Example: biaoshi range revoke 88.118.5/870101.M1.000001 --reason 'never produced'
    --node enterprise
    """
    confirm(f"revoke the whole range of {identifier}, for good?", "nothing was changed", yes=yes)
    with administered(where, identifier) as client:
        made = client.revoke_range(identifier, reason, existing=existing.value)
    report_ranges("revoked", made, as_json=as_json)
