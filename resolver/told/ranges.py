"""What is told of ranges."""

from typing import Literal

from resolver.told.forms import Count, Page, Time, Told, Values, Who


class RangeCounts(Told, frozen=True):
    """How many identifiers there are under a prefix, exactly.

    Attributes:
        rows: handles with a row of their own, inside ranges or not.
        ranges: how many ranges there are.
        identifiers: all that are registered, as rows or in ranges, each counted once.
        in_ranges: serials that ranges run over.
        overrides: identifiers in ranges that have a row of their own.
        deleted: identifiers deleted out of ranges.
        prefix: theirs.
        revoked: handles that were revoked.
        revoked_ranges: ranges that were revoked, not among the above.
        in_revoked: serials that these run over.
    """

    rows: Count
    ranges: Count
    identifiers: Count
    in_ranges: Count
    overrides: Count
    deleted: Count
    revoked_ranges: Count = 0
    in_revoked: Count = 0
    prefix: str = ""
    revoked: Count = 0


class RangeForm(Told, frozen=True):
    """A range as the node tells it."""

    stem: str
    first: str
    last: str
    identifiers: Count
    state: Literal["active", "revoked"]
    registered: Time
    by: Who
    values: Values
    check: str = "none"
    revoked: Time = ""
    revoked_by: Who = ""
    reason: str = ""


class OneRange(Told, frozen=True):
    """The answer that is one range."""

    range: RangeForm


class ManyRanges(Told, frozen=True):
    """The answer that is several."""

    ranges: list[RangeForm]


class RangePage(Page, frozen=True):
    """A page of ranges."""

    ranges: list[RangeForm]


class RangeEvent(Told, frozen=True):
    """One change of the range around an identifier.

    Attributes:
        sequence: the frame of the journal that made it.
        time: when, in RFC 3339.
        operation: register, split, shrink, revoke; cut: shrunk, and the identifier is not in it
            any more.
        by: who did, `300:0.NA/88.118.5`.
        range: the one around the identifier afterwards, else what was left of it:
            `88.118.5/870101.M1.000001..100000`.
        identifiers: how many serials that runs over.
        ranges: all that the change made of the one before.
        reason: why it was revoked.
    """

    sequence: Count
    time: Time
    operation: Literal["register", "split", "shrink", "cut", "revoke"]
    by: str
    range: str
    identifiers: Count
    ranges: list[str]
    reason: str = ""


class RangeEvents(Told, frozen=True):
    """Some of the changes; `next`: where to go on, 0 at the end.

    `complete` and `known_after` are those of `told.life.LifeHistory`.
    """

    events: list[RangeEvent]
    next: int
    identifier: str = ""
    complete: bool = True
    known_after: Count = 0
