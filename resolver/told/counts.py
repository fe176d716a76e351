"""What is told of statistics. A number that no 64 bits hold is told as text, and a number here."""

from datetime import date
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from resolver.told.forms import Count, Number, Page, Told

# A day of Shanghai: 2026-11-21.
Date = Annotated[str, Meta(extra_json_schema={"format": "date"})]
_MAY_BE_LARGE = frozenset(
    {"in_ranges", "identifiers", "added", "removed", "revoked", "total", "ranges_added"}
)


class _Numbers(Told, frozen=True):
    """Something with large numbers, which are told as text."""

    def __post_init__(self) -> None:
        for name in _MAY_BE_LARGE.intersection(self.__struct_fields__):
            told = getattr(self, name)
            if isinstance(told, str):
                msgspec.structs.force_setattr(self, name, int(told))


class Totals(_Numbers, frozen=True):
    """What there is. `identifiers` are rows and those in ranges, what is both counted once."""

    rows: Count = 0
    ranges: Count = 0
    in_ranges: Number = 0
    identifiers: Number = 0
    overrides: Count = 0
    revoked: Count = 0
    deleted: Count = 0


class PrefixTotals(_Numbers, frozen=True):
    """How many prefixes are registered below one."""

    registered: Count = 0
    revoked: Count = 0


class Changes(_Numbers, frozen=True):
    """What happened on a day; `total` is what there was at its end."""

    added: Number = 0
    changed: Count = 0
    removed: Number = 0
    revoked: Number = 0
    total: Number = 0
    ranges_added: Number = 0


class Queries(_Numbers, frozen=True):
    """Look-ups of a day; answered are those that got values."""

    received: Count = 0
    answered: Count = 0


class Day(_Numbers, frozen=True):
    """One day: identifiers with rows, in ranges and together; prefixes; look-ups."""

    day: Date
    rows: Changes
    ranges: Changes
    together: Changes
    prefixes: Changes
    queries: Queries
    prefix_queries: Queries = Queries()
    queries_elsewhere: Queries = Queries()

    @property
    def date(self) -> date:
        """The day as a date."""
        return date.fromisoformat(self.day)


class Statistics(_Numbers, frozen=True):
    """What happened under a prefix, or everywhere, and what there is now.

    `is_counted` is False while an older store is being counted: until then totals are too low.
    Before `counted_since`, when that is given, days have nothing to tell.
    """

    prefix: str
    identifiers: Totals
    prefixes: PrefixTotals
    days: list[Day]
    is_counted: bool = True
    counted_since: Date | Literal[""] = ""


class NamedTotals(Totals, frozen=True):
    """What there is under `prefix`, or how many prefixes `registered` below `prefixes_below`."""

    prefix: str = ""
    prefixes_below: str = ""
    registered: Count = 0


class TotalsPage(Page, frozen=True, kw_only=True):
    """A page of totals by prefix, and those of all the node; of one prefix its totals alone."""

    identifiers: Totals
    prefixes: PrefixTotals
    prefix: str = ""
    names: list[NamedTotals] = msgspec.field(default_factory=list)
    next: str = ""
    is_counted: bool = True
    counted_since: Date | Literal[""] = ""


class Source(_Numbers, frozen=True):
    """An address and how often it asked, which lies between the two; "" is unknown."""

    address: str
    at_least: Count
    at_most: Count


class Askers(_Numbers, frozen=True):
    """Who asked most.

    All `at_least` and `rest` together are `total`. `error_max` is the largest difference between
    `at_most` and `at_least`; whoever is not listed asked at most `others_at_most` times.
    """

    total: Count = 0
    sources: list[Source] = msgspec.field(default_factory=list)
    rest: Count = 0
    error_max: Count = 0
    others_at_most: Count = 0


class Sources(Askers, frozen=True):
    """Who asked most on a day, for anything or for identifiers under a prefix.

    Who asked for prefixes below that prefix stands in `prefix_queries`.
    """

    day: str = ""
    prefix: str = ""
    prefix_queries: Askers = Askers()
