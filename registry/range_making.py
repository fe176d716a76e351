"""From the description of a range to what is stored of it: its key and its record."""

from collections.abc import Callable, Sequence
from typing import Any

from protocol.handle import to_text
from protocol.value import Reference
from registry.check_digits import check_octets
from registry.checks import check_values
from registry.errors import RangeError
from registry.range_documents import Described, Range, Span, bad_name
from registry.range_records import (
    STEM_OCTETS_MAX,
    TAIL_OCTETS_MAX,
    RangeRecord,
    encode_range,
    range_key,
)
from registry.range_values import RANGE_INDEX, Cut, Pattern, compile_values, range_value
from registry.schema import RECORD_OCTETS_MAX

KEPT_OCTETS_MAX = 60_000  # what the record has room for, beside the reason of a revocation
GROWN_OCTETS_MAX = 16_384  # what placeholders may add: 4,096 such ranges are one transaction

Fold = Callable[[bytes], bytes]


def make_range(
    described: Described,
    fold: Fold,
    *,
    by: Reference,
    now_s: int,
    registered_s: int = 0,
    keeps_times: bool = False,
    revoked: list[Any] | None = None,
) -> Range:
    """Return what is stored of a range.

    Args:
        described: by its document.
        fold: how handles are folded here.
        by: who registers it.
        now_s: the time of values that state none.
        registered_s: when it was registered, if that was not now.
        keeps_times: others keep theirs; else all get that time.
        revoked: see `Range.revoked`.

    Raises:
        RangeError: it cannot be stored; the message says why.
    """
    cut, span, first, last = _tails(described, fold)
    origin = range_value(described.stem, described.first, described.last, by, registered_s or now_s)
    _check_patterns(described.patterns)
    compiled = compile_values(cut, described.patterns, origin, now_s, keeps_times=keeps_times)
    details: dict[str, Any] = {}
    if described.check:
        details["check"] = described.check
    if compiled.kept:
        details["values"] = [list(item) for item in compiled.kept]
    if revoked:
        details["revoked"] = revoked
    record = RangeRecord(
        first, compiled.public, compiled.patches, details, checked=bool(described.check)
    )
    _check_size(record, described.patterns)
    return Range(range_key(span.stem, last), encode_range(record), record, span)


def _tails(described: Described, fold: Fold) -> tuple[Cut, Span, bytes, bytes]:
    """Return how identifiers are cut, their numbers, and the first and last tail."""
    folded = fold(described.stem)
    stem = folded.rstrip(b"0123456789")
    lead = folded[len(stem) :]
    width, check = len(described.first), described.check
    digits = len(lead) + width
    tail_octets = digits + check_octets(check)
    if tail_octets > TAIL_OCTETS_MAX:
        raise bad_name(
            f"the identifiers end in {tail_octets} octets of digits and check characters, the "
            f"stem's own included; at most {TAIL_OCTETS_MAX} are possible"
        )
    if len(stem) > STEM_OCTETS_MAX:
        raise bad_name(f"the stem has {len(stem)} octets, at most {STEM_OCTETS_MAX} fit")
    span = Span(stem, digits, int(lead + described.first), int(lead + described.last), check)
    cut = Cut(described.stem, width, len(lead), check_octets(check))
    return cut, span, span.tail(span.low), span.tail(span.high)


def _check_patterns(patterns: Sequence[Pattern]) -> None:
    for value, _ in patterns:
        if value.index == RANGE_INDEX:
            raise RangeError(
                f"value at index {RANGE_INDEX}: there stands which range an identifier comes from"
            )
    refusal = check_values([value for value, _ in patterns])
    if refusal is not None:
        raise RangeError(to_text(refusal.message), refusal.response_code)


def _check_size(record: RangeRecord, patterns: Sequence[Pattern]) -> None:
    """Refuse what would not fit into an answer, or not into the record."""
    kept = [octets for _, octets in record.details.get("values", ())]
    taken = sum(map(len, kept))
    if taken > KEPT_OCTETS_MAX:
        raise RangeError(
            f"values that are not public or have {{number}} in them take {taken} octets, at most "
            f"{KEPT_OCTETS_MAX} fit"
        )
    octets = len(record.public) + taken
    written = octets
    if octets > GROWN_OCTETS_MAX:
        written = sum(len(pattern.value.encode()) for pattern in patterns)
    if octets > written + GROWN_OCTETS_MAX:
        raise RangeError(
            f"the placeholders make {octets} octets of {written}, at most {GROWN_OCTETS_MAX} more "
            "are possible: name the handle less often"
        )
    octets += sum(each.count(b"{") for each in kept) * (STEM_OCTETS_MAX + TAIL_OCTETS_MAX)
    if octets > RECORD_OCTETS_MAX:
        largest = max(patterns, key=lambda pattern: len(pattern.value.data)).value
        raise RangeError(
            f"the values take up to {octets} octets, at most {RECORD_OCTETS_MAX} fit into an "
            f"answer; the largest is the value at index {largest.index}"
        )
