"""What the changes of ranges in one frame did to one identifier.

A change says what is so afterwards (`registry.range_changes`). Whether an identifier that is in
none of its ranges afterwards was in the one before, the steps before it in the frame tell; of the
first, the entries that the frame wrote (`registry.range_history_index`).
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from protocol.value import HandleValue
from registry.journal import JournalOperation
from registry.range_changes import REGISTER, unpack_changes
from registry.range_documents import Range, read_range
from registry.range_history_index import Before, Place
from registry.range_lookup import Held, has_right_check, make_row
from registry.range_records import (
    READABLE_PATH,
    RangeChange,
    decode_range,
    holds,
    range_key,
    split_key,
)
from registry.schema import decode_record

CUT = "cut"  # shrunk, and the identifier is not in the range any more

WereAround = Callable[[], Iterable[Before]]
"""Returns the ranges around the identifier that a frame changed, as they were before."""


class RangeStep(NamedTuple):
    """One change of the range around an identifier.

    Args:
        verb: register, split, shrink, cut, revoke.
        operation: as the journal has it.
        position: how many of the frame's operations on the identifier itself come before.
        parts: the ranges afterwards.
        held: the one that the identifier is in afterwards.
        kept: the identifier has a row of its own, which stays as it was.
    """

    verb: str
    operation: JournalOperation
    position: int
    parts: tuple[RangeChange, ...]
    held: Held | None
    kept: bool = False

    @property
    def range(self) -> Range:
        """The range afterwards: the one around the identifier, else what is left of it."""
        return (
            read_range(self.held.key, self.held.octets) if self.held else read_range(*self.parts[0])
        )

    @property
    def values(self) -> tuple[HandleValue, ...]:
        """What the range answers for the identifier afterwards. Raises: RecordError."""
        return values_in(self.held) if self.held and not self.kept else ()

    @property
    def answers(self) -> bool:
        """Say whether the identifier is in a range afterwards that was not revoked."""
        return self.held is not None and self.range.revoked is None


def values_in(held: Held) -> tuple[HandleValue, ...]:
    """Return the values of an identifier in a range; none: it is revoked. Raises: RecordError."""
    row = make_row(held)
    return () if row is None else decode_record(row).values


def find_steps(
    operations: Iterable[tuple[int, JournalOperation]], place: Place, were_around: WereAround
) -> tuple[RangeStep, ...]:
    """Return what changes of ranges did to an identifier.

    Args:
        operations: those of one frame on ranges of its stem, with their positions.
        place: where the identifier stands.
        were_around: for the first that leaves the identifier in no range.

    Raises:
        JournalError, RecordError: one does not decode.
    """
    steps: list[RangeStep] = []
    for position, operation in operations:
        verb, changes = unpack_changes(operation.payload)
        parts = tuple(change for change in changes if change[1])
        held = next((each for change in parts if (each := _held(place, change))), None)
        if held is None:
            if verb == REGISTER or not _was_in(place, changes, parts, steps, were_around):
                continue
            verb = CUT
        steps.append(RangeStep(verb, operation, position, parts, held))
    return tuple(steps)


def _held(place: Place, change: RangeChange) -> Held | None:
    """Return the range of a change as the one around an identifier, if it is."""
    key, octets = change
    sought = range_key(*place)
    if key < sought or not holds(sought, place.tail, key, octets):
        return None
    return Held(key, octets, *place) if _is_checked(place, octets) else None


def _is_checked(place: Place, octets: bytes) -> bool:
    return not octets[0] & READABLE_PATH or has_right_check(decode_range(octets), *place)


def _was_in(
    place: Place,
    changes: list[RangeChange],
    parts: tuple[RangeChange, ...],
    steps: list[RangeStep],
    were_around: WereAround,
) -> bool:
    """Say whether the identifier was in the range that these parts stand in the place of."""
    keys = {key for key, _ in changes}
    if steps:
        held = steps[-1].held
        return held is not None and held.key in keys
    lasts = {split_key(key)[1] for key in keys}
    return _is_checked(place, parts[0][1]) and any(each.last in lasts for each in were_around())
