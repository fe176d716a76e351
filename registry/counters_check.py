"""Whether the counters of a store agree with what it holds and with what its journal says."""

from collections.abc import Iterator

from protocol.handle import to_text
from registry.counters import (
    ALL_IDENTIFIERS,
    ALL_PREFIXES,
    EVENTS,
    TABLE,
    Events,
    Totals,
    find_totals,
    list_totals,
    read_numbers,
)
from registry.days import day_to_text
from registry.first_count import read_progress
from registry.recount import recount
from registry.tables import Table
from registry.views import View

_PAGE = 1_000
_DAY_OCTETS = 4


def wrong_totals(view: View) -> Iterator[str]:
    """Say which totals are not what a count of the store gives. Raises: StoreError."""
    table = view.table(TABLE)
    if read_progress(table).position is not None:
        return  # an older store that is being counted still
    counted = recount(view)
    stored: dict[bytes, Totals] = dict(_all_totals(table))
    for name in (ALL_IDENTIFIERS, ALL_PREFIXES):
        stored[name] = find_totals(table, name)
    for name in sorted({*counted, *stored}):
        said, found = stored.get(name, Totals()), counted.get(name, Totals())
        if said != found:
            yield f"counters of {_shown(name)}: {_words(said)}; there are {_words(found)}"


def wrong_events(view: View, replayed: View) -> Iterator[str]:
    """Say on which days other things are counted than the whole journal gives. Raises: StoreError.

    Of an older store, the days that it was not yet counted on are left out.
    """
    since = read_progress(view.table(TABLE)).since_day
    stored, again = _all_events(view.table(TABLE)), _all_events(replayed.table(TABLE))
    for name, day in sorted({*stored, *again}):
        said, found = stored.get((name, day), Events()), again.get((name, day), Events())
        if said != found and (not since or day > since):
            yield (
                f"counters of {_shown(name)} on {day_to_text(day)}: {_words(said)}; "
                f"the journal says {_words(found)}"
            )


def _all_totals(table: Table) -> Iterator[tuple[bytes, Totals]]:
    after = b""
    while page := list_totals(table, after, _PAGE):
        yield from page
        after = page[-1][0]


def _all_events(table: Table) -> dict[tuple[bytes, int], Events]:
    return {
        (key[1 : -1 - _DAY_OCTETS], int.from_bytes(key[-_DAY_OCTETS:], "big")): Events(
            *read_numbers(table, key, EVENTS)
        )
        for key, _ in table.items(prefix=b"D")
    }


def _shown(name: bytes) -> str:
    return to_text(name) or "the node"


def _words(numbers: Totals | Events) -> str:
    said = [f"{number} {name}" for name, number in numbers._asdict().items() if number]
    return ", ".join(said) or "nothing"
