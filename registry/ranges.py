"""Whether a range can be registered, and what becomes of one that is shrunk, split or revoked.

What stands in the way of a new range is found by one seek among the ranges, which lie apart, and
one among the rows; the first is named. Nothing here goes from identifier to identifier: a range has
as many as 10^18.
"""

from dataclasses import replace
from typing import Any

from protocol.codes import ResponseCode
from protocol.handle import to_text
from protocol.value import Reference
from registry.counters import prefix_of
from registry.errors import LongWalkError, RangeError
from registry.marks import REASON_OCTETS_MAX, is_deleted
from registry.range_batches import IDENTIFIERS_MAX
from registry.range_documents import Range, read_range
from registry.range_records import RangeChange, decode_range, encode_range, is_active, range_key
from registry.range_rows import STEPS_MAX, rows_inside
from registry.range_shown import name_range, read_shown, revocation_words
from registry.range_values import cut_of, range_value
from registry.views import View


def find_range_of(view: View, handle: bytes) -> Range | None:
    """Return the range that holds an identifier, revoked or not. Raises: RecordError."""
    held = view.find_range(view.fold(handle))
    return None if held is None else read_range(held.key, held.octets)


def find_revocation(view: View, handle: bytes) -> str:
    """Return why a handle was revoked with its range; nothing when it was not."""
    held = view.find_range(view.fold(handle))
    if held is None or is_active(held.octets):
        return ""
    return revocation_words(handle, decode_range(held.octets).details["revoked"])


def find_overlapping(view: View, range_: Range) -> Range | None:
    """Return a range that has identifiers with another in common. Raises: RecordError."""
    found = view.table("ranges").at_or_after(range_key(range_.span.stem, range_.record.first))
    if found is None:
        return None
    key, octets = found
    last = range_.key[-range_.span.tail_octets :]
    start = len(key) - len(last)
    if len(key) != len(range_.key) or key[:start] != range_.key[:start]:
        return None
    return read_range(key, octets) if octets[2 : 2 + len(last)] <= last else None


def check_free(view: View, range_: Range, *, keeps_rows: bool, steps_max: int = STEPS_MAX) -> int:
    """Return how many rows stay in a new range; looks at `steps_max` rows at most.

    Raises:
        LongWalkError: there are more.
        RangeError: a range or row is in the way, or there would be too many identifiers.
        RecordError: what is in the way is damaged.
    """
    other = find_overlapping(view, range_)
    if other is not None:
        state = "revoked " if other.revoked is not None else ""
        raise RangeError(
            f"the {state}range {name_range(other)} has identifiers of this one already",
            ResponseCode.HANDLE_ALREADY_EXISTS,
        )
    counts = view.counts(prefix_of(range_.key))
    if counts.in_ranges + counts.in_revoked + range_.span.size > IDENTIFIERS_MAX:
        raise RangeError(
            f"the prefix would have more than {IDENTIFIERS_MAX:,} identifiers in ranges"
        )
    low, high = range_.span.low, range_.span.high
    return count_rows(view, range_, low, high, keeps_rows=keeps_rows, steps_max=steps_max)


def count_rows(
    view: View,
    range_: Range,
    low: int,
    high: int,
    *,
    keeps_rows: bool,
    steps_max: int = STEPS_MAX,
    instead: str = "register it in parts, such as one that ends before it",
) -> int:
    """Return how many rows lie in a part of a range, tombstones left out.

    Args:
        view: the store.
        range_: registered or not.
        low: the first number of the part.
        high: its last.
        keeps_rows: whether the rows may stay.
        steps_max: rows looked at.
        instead: what can be done where there are more.

    Raises:
        LongWalkError: more than `steps_max` rows would have to be looked at.
        RangeError: there is one and it is not to be kept.
    """
    span, count = range_.span, 0
    try:
        for key, row in rows_inside(view.table("handles"), span, low, high, steps_max=steps_max):
            if is_deleted(row):
                continue
            if not keeps_rows:
                raise RangeError(
                    f"{to_text(key)} is registered on its own: delete it first, or say "
                    'existing "keep" and it stays as it is',
                    ResponseCode.HANDLE_ALREADY_EXISTS,
                )
            count += 1
    except LongWalkError as error:
        raise LongWalkError(f"{error}: {instead}") from None
    return count


def shrunk(range_: Range, first: bytes, last: bytes) -> Range:
    """Return a range with other bounds within its own.

    Args:
        range_: as it is.
        first: a serial, of the range's width, as is `last`.
        last: the last.

    Raises:
        RangeError: they are not within it.
    """
    shown = read_shown(range_)
    origin, cut = shown.origin, cut_of(range_.record, shown.origin)
    if not (len(first) == len(last) == cut.width and (first + last).isdigit()):
        raise RangeError(f"first and last must have {cut.width} digits, as in {name_range(range_)}")
    if not origin.first <= first <= last <= origin.last:
        raise RangeError(
            f"{to_text(first)}..{to_text(last)} is not within {name_range(range_)}: a range can "
            "only shrink, register a further one to add identifiers"
        )
    lead = range_.record.first[: cut.serial_at]
    span = range_.span._replace(low=int(lead + first), high=int(lead + last))
    # The public list is what it was but for the RANGE value at its end, which is as long.
    value = range_value(origin.stem, first, last, origin.by, origin.registered_s)
    public = range_.record.public[: -len(value)] + value
    record = replace(range_.record, first=span.tail(span.low), public=public)
    return Range(range_key(span.stem, span.tail(span.high)), encode_range(record), record, span)


def split(range_: Range, number: int) -> tuple[Range, Range]:
    """Return the two ranges that one becomes; `number` is the first of the second.

    Raises:
        RangeError: it is the first of all.
    """
    if number <= range_.span.low:
        raise RangeError(f"{name_range(range_)} begins there: nothing would be before it")
    origin = read_shown(range_).origin
    width = len(origin.first)
    before, first = (b"%0*d" % (range_.span.digits, each) for each in (number - 1, number))
    return (
        shrunk(range_, origin.first, before[-width:]),
        shrunk(range_, first[-width:], origin.last),
    )


def revoked_range(range_: Range, by: Reference, time_s: int, reason: str) -> Range:
    """Return a range after it was revoked.

    Raises:
        RangeError: no reason, or too long a one.
    """
    octets = len(reason.encode())
    if not reason.strip() or octets > REASON_OCTETS_MAX:
        raise RangeError(f"say why, in 1 to {REASON_OCTETS_MAX} octets of text, not {octets}")
    revoked: list[Any] = [time_s, by.handle, by.index, reason]
    record = replace(range_.record, details={**range_.record.details, "revoked": revoked})
    return Range(range_.key, encode_range(record), record, range_.span)


def number_of(range_: Range, folded: bytes) -> int:
    """Return the number of an identifier that a range holds."""
    return int(folded[len(range_.span.stem) :][: range_.span.digits])


def changes_to(before: Range, *after: Range) -> list[RangeChange]:
    """Return what changes when a range becomes others."""
    changes = [(each.key, each.octets) for each in after]
    if before.key not in {key for key, _ in changes}:
        changes.insert(0, (before.key, b""))
    return changes
