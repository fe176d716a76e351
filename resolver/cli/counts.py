"""`biaoshi statistics`: what was registered and asked, by day, and who asked most."""

from collections.abc import Callable
from datetime import date
from typing import Annotated, TypeVar

import msgspec
import typer

from resolver.cli.administration import administered
from resolver.cli.connect import (
    Where,
)
from resolver.cli.errors import CliError, ExitCode
from resolver.cli.output import print_json, print_table
from resolver.cli.where_options import JsonOption, asks
from resolver.client.administration import BlockingAdministrationClient
from resolver.told.counts import Askers, Day, Sources, Statistics

_COLUMNS = (
    "day", "added", "changed", "removed", "revoked", "identifiers", "prefixes +", "prefixes",
    "queries", "answered",
)  # fmt: skip

Told = TypeVar("Told")


@asks(rest=True)
def statistics(
    where: Where,
    prefix: Annotated[
        str, typer.Argument(help="Such as 88.118.5; without it, all of the node.")
    ] = "",
    first: Annotated[
        str, typer.Option("--from", help="First day, 2026-11-21.  [default: the last day]")
    ] = "",
    last: Annotated[str, typer.Option("--to", help="Last day.  [default: today]")] = "",
    sources: Annotated[
        bool, typer.Option("--sources", help="Who asked most, on the last day.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what was registered and asked under a prefix, day by day (Asia/Shanghai).

    Example: biaoshi statistics 88.118.5 --from 2026-11-01 --node enterprise
    """
    if sources and first:
        raise CliError(
            "who asked is counted day by day", "give --to for the day, no --from", ExitCode.USAGE
        )
    begin, end = _day(first, "--from"), _day(last, "--to")
    if sources:
        told = _ask(where, prefix, lambda client: client.sources(end, prefix))
        _show(told, as_json, _print_sources)
    else:
        shown = _ask(where, prefix, lambda client: client.statistics(prefix, begin, end))
        _show(shown, as_json, _print_days)


def _ask(
    where: Where,
    prefix: str,
    ask: Callable[[BlockingAdministrationClient], Told],
) -> Told:
    with administered(where, prefix or "the node") as client:
        return ask(client)


def _show(told: Told, as_json: bool, show: Callable[[Told], None]) -> None:
    if as_json:
        print_json(msgspec.to_builtins(told))
    else:
        show(told)


def _print_days(told: Statistics) -> None:
    print_table(told.prefix or "all of the node", _COLUMNS, [_row(day) for day in told.days])
    now, below = told.identifiers, told.prefixes
    print(
        f"now {now.identifiers} identifiers: {now.rows} rows, {now.in_ranges} in {now.ranges} "
        f"ranges, {now.overrides} in both; {below.registered} prefixes"
    )
    if not told.is_counted:
        print("the store is of an older version and still being counted: there are more")
    if told.counted_since:
        print(f"days before {told.counted_since} were not counted")


def _row(day: Day) -> tuple[str, ...]:
    both, below = day.together, day.prefixes
    received = day.queries.received + day.prefix_queries.received
    answered = day.queries.answered + day.prefix_queries.answered
    numbers = (
        both.added, both.changed, both.removed, both.revoked, both.total, below.added, below.total,
        received, answered,
    )  # fmt: skip
    return day.day, *(str(number) for number in numbers)


def _print_sources(told: Sources) -> None:
    of = told.prefix or "all of the node"
    _print_askers(f"{of}: {told.total} queries on {told.day}", told)
    if told.prefix_queries.total:
        below = told.prefix_queries
        print()
        _print_askers(f"prefixes below {of}: {below.total} queries on {told.day}", below)


def _print_askers(title: str, told: Askers) -> None:
    rows = [(each.address or "unknown", _between(each.at_least, each.at_most))
            for each in told.sources]  # fmt: skip
    rows.append(("the rest", str(told.rest)))
    print_table(title, ("address", "queries"), rows)
    if told.error_max or told.others_at_most:
        print(
            f"an address may have asked up to {told.error_max} times more than shown, one that is "
            f"not shown at most {told.others_at_most} times"
        )


def _between(at_least: int, at_most: int) -> str:
    return str(at_least) if at_least == at_most else f"{at_least} to {at_most}"


def _day(text: str, option: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise CliError(
            f"{option} {text} is not a day", "write it as 2026-11-21", ExitCode.USAGE
        ) from None
