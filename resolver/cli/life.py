"""`biaoshi life`: freeze, thaw and revoke identifiers; show what they are, and what they were."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from protocol.json_forms import value_to_json
from protocol.value import HandleValue
from resolver.cli.administration import administered
from resolver.cli.connect import (
    Where,
)
from resolver.cli.errors import CliError, ExitCode
from resolver.cli.output import (
    ZONE_WORDS,
    local_time,
    print_json,
    print_table,
    show_data,
    value_rows,
    visible,
)
from resolver.cli.where_options import JsonOption, YesOption, asks, confirm
from resolver.client.life import Event, HistoryPage, LifeState, PastState

app = typer.Typer(
    help="Freeze, thaw, revoke identifiers; their history, and what they were.",
    no_args_is_help=True,
)

_RANGE_DEEDS = {"create": "create in a range", "cut": "cut off its range"}

HandleArgument = Annotated[str, typer.Argument(help="prefix/suffix", show_default=False)]
ReasonOption = Annotated[str, typer.Option("--reason", "-r", help="Why, told to whoever asks.")]


@app.command()
@asks(rest=True)
def freeze(
    where: Where,
    handle: HandleArgument,
    reason: ReasonOption = "",
    as_json: JsonOption = False,
) -> None:
    """Freeze an identifier: it resolves as before, and nothing about it can be changed.

    Example: biaoshi life freeze 88.118.5/valve-7 --reason "under review" --node enterprise
    """
    with administered(where, handle) as client:
        _report(client.freeze(handle, reason), as_json)


@app.command()
@asks(rest=True)
def thaw(
    where: Where,
    handle: HandleArgument,
    reason: ReasonOption = "",
    as_json: JsonOption = False,
) -> None:
    """Thaw a frozen identifier: it can be changed again."""
    with administered(where, handle) as client:
        _report(client.thaw(handle, reason), as_json)


@app.command()
@asks(rest=True)
def revoke(
    where: Where,
    handle: HandleArgument,
    reason: ReasonOption,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Revoke an identifier for good: it answers "not found", who, when and why.

    Its name is never given out again.
    Example: biaoshi life revoke 88.118.5/valve-7 --reason "printed twice" --node enterprise
    """
    confirm(f"revoke {handle} for ever?", "nothing was revoked", yes=yes)
    with administered(where, handle) as client:
        _report(client.revoke(handle, reason), as_json)


@app.command()
@asks(rest=True)
def show(
    where: Where,
    handle: HandleArgument,
    as_json: JsonOption = False,
) -> None:
    """Show whether an identifier is active, frozen or revoked, and since when."""
    with administered(where, handle) as client:
        _report(client.life(handle), as_json)


@app.command()
@asks(rest=True)
def history(
    where: Where,
    handle: HandleArgument,
    after: Annotated[
        int, typer.Option(help="Only changes after this frame of the journal.", min=0)
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Show every change of an identifier, who made it and when; those of its range too.

    Example: biaoshi life history 88.118.5/870101.M1.000007 --node enterprise
    """
    with administered(where, handle) as client:
        pages = list(client.history_pages(handle, after=after))
    events = [event for page in pages for event in page.events]
    if as_json:
        print_json({"handle": handle, "events": [_event_form(each) for each in events]})
        return
    _print_events(handle, events, after)
    if not after and not all(page.is_complete for page in pages):
        print(_missing(pages[-1]))


def _print_events(handle: str, events: list[Event], after: int) -> None:
    if not events:
        print(f"nothing is known of {visible(handle)}{' after that' if after else ''}")
        return
    columns = ("frame", "time", "what", "by", "values or reason")
    rows = [
        (str(each.sequence), local_time(each.time), _deed(each), each.by, _summary(each))
        for each in events
    ]
    print_table(handle, columns, rows, elastic="values or reason")
    print(ZONE_WORDS)


def _missing(page: HistoryPage) -> str:
    """Return what of a history is not known."""
    if page.known_after:
        return f"what was before frame {page.known_after + 1} of the journal is not known here"
    return "a creation is missing: it was not found within what one request may search"


@app.command("as-of")
@asks(rest=True)
def as_of(
    where: Where,
    handle: HandleArgument,
    when: Annotated[
        str,
        typer.Argument(
            help="A time such as 2026-11-21T08:00:00Z, or a frame of the journal.",
            show_default=False,
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Show what an identifier was at a time, or after a frame of the journal.

    A time without a zone is one of this machine's.
    Example: biaoshi life as-of 88.118.5/valve-7 2026-11-21T08:00:00Z --node enterprise
    """
    moment = parse_moment(when)
    with administered(where, handle) as client:
        past = client.as_of(handle, moment)
    if as_json:
        print_json(_past_form(handle, past))
        return
    print(visible(f"{handle} was {past.state}{_made(past)}{_because(past.reason)}"))
    if past.values:
        columns = ("index", "type", "data", "ttl", "permissions")
        print_table("", columns, value_rows(past.values), elastic="data")
    if past.hidden:
        print(f"{past.hidden} more that you may not read")


def parse_moment(text: str) -> int | str:
    """Return a frame of the journal, or a time as RFC 3339 has it. Raises: CliError."""
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CliError(
            f"{text!r} is neither a time nor a frame of the journal",
            "write 2026-11-21T08:00:00Z, or a number",
            ExitCode.USAGE,
        ) from None
    if moment.tzinfo is None:
        moment = moment.astimezone()  # a person at a terminal means the clock on the wall
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _made(past: PastState) -> str:
    """Return what made a state, when and by whom, as far as that is known."""
    if past.range:
        where = {"active": " in", "deleted": ", cut off from"}.get(past.state, " with")
        where += f" the range {past.range}"
    else:
        where = ""
    if not past.sequence:
        return where
    return f"{where}, since {local_time(past.time)} by {past.by}, frame {past.sequence}"


def _report(state: LifeState, as_json: bool) -> None:
    if as_json:
        told = {"since": state.since, "by": state.by, "reason": state.reason}
        known = told if state.since else {}
        print_json({"handle": state.handle, "state": state.state, **known})
        return
    made = f" since {local_time(state.since)} by {state.by}" if state.since else ""
    print(f"{state.handle}: {state.state}{made}{_because(state.reason)}")


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""


def _deed(event: Event) -> str:
    """Return what was done, and whether to the range around the identifier."""
    if not event.range:
        return event.operation
    return _RANGE_DEEDS.get(event.operation, f"{event.operation} its range")


def _summary(event: Event) -> str:
    """Return the range, and the values or the reason of an event, on one line."""
    parts = [event.range] if event.range else []
    if event.kept:
        parts.append("has values of its own, which stayed")
    if event.operation == "cut":
        parts.append("is not in it any more")
    if event.reason:
        parts.append(event.reason)
    parts += [f"{each.index} {each.type.decode('utf-8', 'backslashreplace')} {show_data(each)}"
             for each in event.values]  # fmt: skip
    if event.hidden:
        parts.append(f"{event.hidden} hidden")
    if event.omitted:
        parts.append(f"{event.omitted} changes before it in the same frame not shown")
    return "; ".join(parts)


def _event_form(event: Event) -> dict[str, Any]:
    form: dict[str, Any] = {
        "sequence": event.sequence,
        "time": event.time,
        "operation": event.operation,
        "by": event.by,
    }
    if event.range:
        form["range"] = event.range
    if event.kept:
        form["kept"] = True
    if event.operation in ("freeze", "thaw", "revoke"):
        form["reason"] = event.reason
    elif not event.kept and event.operation not in ("delete", "cut"):
        form |= _values_form(event.values, event.hidden)
    return form | ({"omitted": event.omitted} if event.omitted else {})


def _past_form(handle: str, past: PastState) -> dict[str, Any]:
    form = {"handle": handle, "asOf": past.as_of, "state": past.state}
    form |= _values_form(past.values, past.hidden)
    if past.sequence:
        form |= {"sequence": past.sequence, "time": past.time, "by": past.by}
    if past.range:
        form["range"] = past.range
    return form | ({"reason": past.reason} if past.reason else {})


def _values_form(values: tuple[HandleValue, ...], hidden: int) -> dict[str, Any]:
    return {"values": [value_to_json(each) for each in values], "hidden": hidden}
