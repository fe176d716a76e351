"""How the command line shows ranges."""

from collections.abc import Iterable
from typing import Any

import msgspec

from protocol.json_forms import value_to_json
from resolver.cli.output import (
    ZONE_WORDS,
    local_time,
    print_json,
    print_table,
    value_rows,
    visible,
)
from resolver.client.ranges import Range, RangeCounts, RangeEvent

_TOLD = ("stem", "first", "last", "check", "identifiers", "state", "registered", "by")
_COUNTED = {
    "identifiers": "identifiers",
    "rows": "with a row of their own",
    "ranges": "ranges",
    "in_ranges": "serials in ranges",
    "overrides": "in ranges, with values of their own",
    "deleted": "in ranges, deleted",
    "revoked_ranges": "ranges that were revoked",
    "in_revoked": "serials in these",
}


def range_to_json(range_: Range) -> dict[str, Any]:
    """Return a range as the REST interface tells it."""
    form: dict[str, Any] = {name: getattr(range_, name) for name in _TOLD}
    form["check"] = range_.check or "none"
    form["values"] = [value_to_json(value) for value in range_.values]
    if range_.is_revoked:
        form |= {"revoked": range_.revoked, "revokedBy": range_.revoked_by, "reason": range_.reason}
    return form


def report_ranges(verb: str, *ranges: Range, as_json: bool) -> None:
    """Print what a change has made: one range, or the two of a split."""
    if as_json:
        forms = [range_to_json(each) for each in ranges]
        print_json(forms[0] if len(forms) == 1 else {"ranges": forms})
        return
    for each in ranges:
        print(visible(f"{each}: {verb}, {_counted(each)}"))


def _counted(range_: Range) -> str:
    count = range_.identifiers
    return "1 identifier" if count == 1 else f"{count:,} identifiers"


def print_range(range_: Range) -> None:
    """Print all that is known of one range."""
    lines = [
        ("range", str(range_)),
        ("identifiers", f"{range_.identifiers:,}"),
        ("first", range_.first_identifier),
        ("last", range_.last_identifier),
        ("check", range_.check or "none"),
        ("state", range_.state),
        ("registered", _when(range_.registered, range_.by)),
    ]
    if range_.is_revoked:
        lines.append(("revoked", f"{_when(range_.revoked, range_.revoked_by)}: {range_.reason}"))
    for name, text in lines:
        print(visible(f"{name:<12} {text}"))
    print_table("", ("index", "type", "data", "ttl", "permissions"), value_rows(range_.values))


def _when(time: str, by: str) -> str:
    return f"{time} by {by}" if by else time


def print_ranges(prefix: str, ranges: Iterable[Range], *, as_json: bool) -> None:
    """Print ranges one after the other, however many there are."""
    count = 0
    for each in ranges:
        count += 1
        if as_json:
            print(msgspec.json.encode(range_to_json(each)).decode())
        else:
            check = f", check {each.check}" if each.check else ""
            state = f", {each.state}: {each.reason}" if each.is_revoked else ""
            print(visible(f"{each}: {_counted(each)}{check}{state}"))
    if not count and not as_json:
        print(f"no ranges under {visible(prefix)}")


def print_range_events(identifier: str, events: Iterable[RangeEvent], *, as_json: bool) -> None:
    """Print what was done to the ranges that held an identifier."""
    told = list(events)
    if as_json:
        print_json({"identifier": identifier, "events": told})
        return
    if not told:
        print(visible(f"no range is known to have held {identifier}"))
        return
    columns = ("frame", "time", "what", "by", "range and reason")
    rows = [
        (str(each.sequence), local_time(each.time), each.operation, each.by, _result(each))
        for each in told
    ]
    print_table(identifier, columns, rows, elastic="range and reason")
    print(ZONE_WORDS)


def _result(event: RangeEvent) -> str:
    """Return what a change made: the range around the identifier first, then the others."""
    others = [each for each in event.ranges if each != event.range]
    parts = [f"{event.range}, {event.identifiers:,} identifiers", *others]
    if event.operation == "cut":
        parts.append("the identifier is not in it any more")
    return "; ".join([*parts, *([event.reason] if event.reason else [])])


def print_counts(prefix: str, counts: RangeCounts, *, as_json: bool) -> None:
    """Print how many identifiers there are under a prefix."""
    if as_json:
        print_json(counts)
        return
    rows = [(f"{getattr(counts, name):,}", words) for name, words in _COUNTED.items()]
    width = max(len(number) for number, _ in rows)
    print(visible(f"under {prefix}:"))
    for number, words in rows:
        print(f"  {number:>{width}}  {words}")
