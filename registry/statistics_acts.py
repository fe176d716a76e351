"""Acts that show statistics: of a prefix by day, who asked, and what there is.

    statistics.show     {prefix, from, to}     {prefix, identifiers, prefixes, days: [...], ...}
    statistics.sources  {prefix, day}          {prefix, day, total, sources: [...], rest, ...}
    statistics.totals   {prefix, after, limit} {identifiers, prefixes, names: [...], next}

Days are text, `2026-11-21`, those of Shanghai. Without a prefix it is all of the node, which
administrators and operators may see; a prefix may be seen by whoever may list its handles. Numbers
are exact; one that no 64 bits hold is text.
"""

from typing import Any

from protocol.codes import AdminPermission, ResponseCode
from protocol.errors import ProtocolError
from protocol.handle import PREFIX_HANDLE_START, check_handle, fold_handle, to_text
from registry.act_steps import ActDecider, ActOutcome, ActStep, Done
from registry.authorization import Permitted
from registry.counters import (
    ALL_IDENTIFIERS,
    ALL_PREFIXES,
    ALL_QUERIES,
    ELSEWHERE,
    NAMES_MAX,
    TABLE,
    Events,
    Totals,
    find_events,
    find_queries,
    find_totals,
    list_totals,
    net_after,
)
from registry.days import DAY_MAX, day_from_text, day_of, day_to_text
from registry.first_count import read_progress
from registry.outcomes import Need, Refusal, refuse
from registry.prefixes import PREFIX_OCTETS_MAX
from registry.query_counters import find_sources
from registry.roles import Role
from registry.space_saving import source_to_text
from registry.tables import Table

DAYS_MAX = 400  # in one answer: as many as queries are kept
_INTEGER_MAX = 1 << 64

_SEEING_ALL = (Role.ADMINISTRATOR, Role.OPERATOR)


class _WrongError(Exception):
    """A parameter that cannot be used; the words name it."""


def decide_show(step: ActStep) -> ActOutcome:
    """Decide about showing what happened under a prefix, or everywhere, on some days."""
    try:
        prefix = _prefix(step)
        first, last = _days(step)
    except _WrongError as error:
        return refuse(ResponseCode.INVALID_VALUE, str(error))
    refused = _refused(step, prefix)
    if refused is not None:
        return refused
    table = step.view.table(TABLE)
    identifiers, prefixes = _names(prefix)
    return Done(
        {
            "prefix": to_text(prefix),
            "identifiers": _totals(find_totals(table, identifiers)),
            "prefixes": _prefix_totals(find_totals(table, prefixes)),
            "days": _shown_days(table, prefix, first, last),
            **_counted(table),
        }
    )


def decide_sources(step: ActStep) -> ActOutcome:
    """Decide about showing who asked most on a day: for anything, or under a prefix."""
    try:
        prefix = _prefix(step)
        day = _day(step, "day", day_of(step.now_s))
    except _WrongError as error:
        return refuse(ResponseCode.INVALID_VALUE, str(error))
    refused = _refused(step, prefix)
    if refused is not None:
        return refused
    table = step.view.table(TABLE)
    shown: dict[str, Any] = {"prefix": to_text(prefix), "day": day_to_text(day)}
    if not prefix:
        return Done(shown | _shown_sources(table, day, ALL_QUERIES))
    below = _shown_sources(table, day, PREFIX_HANDLE_START + prefix)
    return Done(shown | _shown_sources(table, day, prefix) | {"prefixQueries": below})


def _shown_sources(table: Table, day: int, name: bytes) -> dict[str, Any]:
    """Return who asked most for what is counted under a name; all together are its queries."""
    sources = find_sources(table, day, name)
    received = find_queries(table, day, name).received
    if received > sources.total:
        # The day began under a version that did not tell, or a crash came between the two.
        sources.add_unknown(received - sources.total)
    largest = sources.largest()
    return {
        "total": sources.total,
        "sources": [
            {
                "address": source_to_text(each.source),
                "atLeast": each.at_least,
                "atMost": each.at_most,
            }
            for each in largest
        ],
        "rest": sources.rest,
        "errorMax": max((each.at_most - each.at_least for each in largest), default=0),
        "othersAtMost": sources.floor,
    }


def decide_totals(step: ActStep) -> ActOutcome:
    """Decide about showing what there is: of a prefix, or of all, page by page."""
    try:
        prefix = _prefix(step)
        after, limit = _octets(step, "after"), _limit(step)
    except _WrongError as error:
        return refuse(ResponseCode.INVALID_VALUE, str(error))
    refused = _refused(step, prefix)
    if refused is not None:
        return refused
    table = step.view.table(TABLE)
    identifiers, prefixes = _names(prefix)
    result: dict[str, Any] = {
        "prefix": to_text(prefix),
        "identifiers": _totals(find_totals(table, identifiers)),
        "prefixes": _prefix_totals(find_totals(table, prefixes)),
        **_counted(table),
    }
    if not prefix:
        page = list_totals(table, after, limit)
        result["names"] = [_named(name, totals) for name, totals in page]
        result["next"] = to_text(page[-1][0]) if len(page) == limit else ""
    return Done(result)


def _refused(step: ActStep, prefix: bytes) -> Refusal | Need | None:
    """Return why the statistics of a prefix, empty for all, may not be seen; None: they may."""
    by_role = step.role(*_SEEING_ALL)
    if isinstance(by_role, Permitted):
        return None
    if not prefix or isinstance(by_role, Need):
        return by_role
    by_prefix = step.permission(PREFIX_HANDLE_START + prefix, AdminPermission.LIST_HANDLES)
    return None if isinstance(by_prefix, Permitted) else by_prefix


def _names(prefix: bytes) -> tuple[bytes, bytes]:
    """Return what the identifiers, and the prefixes, below a prefix are counted under."""
    if not prefix:
        return ALL_IDENTIFIERS, ALL_PREFIXES
    return prefix, PREFIX_HANDLE_START + prefix


def _shown_days(table: Table, prefix: bytes, first: int, last: int) -> list[dict[str, Any]]:
    identifiers, prefixes = _names(prefix)
    there = find_totals(table, identifiers).identifiers - net_after(table, identifiers, last)
    derived = find_totals(table, prefixes).identifiers - net_after(table, prefixes, last)
    days = []
    for day in range(last, first - 1, -1):
        events, below = find_events(table, identifiers, day), find_events(table, prefixes, day)
        shown: dict[str, Any] = {
            "day": day_to_text(day),
            "rows": _row_events(events),
            "ranges": _range_events(events),
            "together": _together(events, there),
            "prefixes": {**_row_events(below), "total": derived},
        }
        days.append(shown | _shown_queries(table, prefix, day))
        there -= events.net
        derived -= below.net
    return days[::-1]


def _shown_queries(table: Table, prefix: bytes, day: int) -> dict[str, Any]:
    if prefix:
        names = {"queries": prefix, "prefixQueries": PREFIX_HANDLE_START + prefix}
    else:
        names = {"queries": ALL_QUERIES, "queriesElsewhere": ELSEWHERE}
    return {key: find_queries(table, day, name)._asdict() for key, name in names.items()}


def _row_events(events: Events) -> dict[str, Any]:
    return {
        "added": events.added,
        "changed": events.changed,
        "removed": events.removed,
        "revoked": events.revoked,
    }


def _range_events(events: Events) -> dict[str, Any]:
    return {
        "rangesAdded": _number(events.ranges_added),
        "added": _number(events.in_ranges_added),
        "removed": _number(events.in_ranges_removed),
        "revoked": _number(events.in_ranges_revoked),
    }


def _together(events: Events, total: int) -> dict[str, Any]:
    return {
        "added": _number(events.added + events.in_ranges_added),
        "changed": events.changed,
        "removed": _number(events.removed + events.in_ranges_removed),
        "revoked": _number(events.revoked + events.in_ranges_revoked),
        "total": _number(max(total, 0)),
    }


def _totals(totals: Totals) -> dict[str, Any]:
    return {
        "rows": totals.rows,
        "ranges": totals.ranges,
        "inRanges": _number(totals.in_ranges),
        "identifiers": _number(totals.identifiers),
        "overrides": totals.overrides,
        "revoked": totals.revoked,
        "deleted": totals.deleted,
    }


def _prefix_totals(totals: Totals) -> dict[str, Any]:
    return {"registered": totals.rows, "revoked": totals.revoked}


def _named(name: bytes, totals: Totals) -> dict[str, Any]:
    """Return one line of a page of totals: of the identifiers, or the prefixes, below a prefix."""
    if name.startswith(PREFIX_HANDLE_START):
        below = to_text(name[len(PREFIX_HANDLE_START) :])
        return {"prefixesBelow": below, **_prefix_totals(totals)}
    return {"prefix": to_text(name), **_totals(totals)}


def _counted(table: Table) -> dict[str, Any]:
    """Say since when is counted, and whether an older store still is being counted."""
    progress = read_progress(table)
    since = day_to_text(progress.since_day) if progress.since_day else ""
    return {"isCounted": progress.position is None, "countedSince": since}


def _number(number: int) -> int | str:
    return number if number < _INTEGER_MAX else str(number)


def _octets(step: ActStep, name: str) -> bytes:
    given = step.parameters.get(name)
    if isinstance(given, str):
        given = given.encode("utf-8", "surrogateescape")
    if given is not None and not isinstance(given, bytes):
        raise _WrongError(f"{name} must be text")
    octets = given or b""
    if len(octets) > PREFIX_OCTETS_MAX:
        raise _WrongError(f"{name} has {len(octets)} octets, at most {PREFIX_OCTETS_MAX}")
    return octets


def _prefix(step: ActStep) -> bytes:
    """Return the prefix asked for, folded; written as 88.118 or 0.NA/88.118; empty: all."""
    octets = _octets(step, "prefix")
    if not octets:
        return b""
    folded = fold_handle(octets) if b"/" in octets else octets.upper()
    prefix = folded.removeprefix(PREFIX_HANDLE_START)
    try:
        check_handle(prefix + b"/")
    except ProtocolError as error:
        raise _WrongError(f"prefix: {error}") from None
    if b"/" in prefix:
        raise _WrongError(f"prefix is written as 88.118, not {to_text(octets)[:80]}")
    return prefix


def _days(step: ActStep) -> tuple[int, int]:
    """Return the first and the last day asked for; today when none is."""
    last = _day(step, "to", day_of(step.now_s))
    first = _day(step, "from", last)
    if first > last:
        raise _WrongError(f"from ({day_to_text(first)}) is after to ({day_to_text(last)})")
    if last - first >= DAYS_MAX:
        raise _WrongError(f"from {last - first + 1} days: ask for at most {DAYS_MAX} at a time")
    return first, last


def _day(step: ActStep, name: str, default: int) -> int:
    text = step.parameters.get(name)
    if text is None or text == "":
        return default
    try:
        day = day_from_text(text) if isinstance(text, str) else DAY_MAX + 1
    except ValueError:
        day = DAY_MAX + 1
    if day > DAY_MAX:
        raise _WrongError(f"{name} is {str(text)[:20]!r}: write a day as 2026-11-21")
    return day


def _limit(step: ActStep) -> int:
    limit = step.parameters.get("limit", NAMES_MAX)
    if not isinstance(limit, int) or isinstance(limit, bool) or not 0 < limit <= NAMES_MAX:
        raise _WrongError(f"limit must be a number from 1 to {NAMES_MAX}")
    return limit


ACTS: dict[str, ActDecider] = {
    "statistics.show": decide_show,
    "statistics.sources": decide_sources,
    "statistics.totals": decide_totals,
}
READING_ACTS = frozenset(ACTS)
