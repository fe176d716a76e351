"""The rows that lie in a range: found by seeking, in steps that are bounded.

Between the first and the last identifier of a range sort handles that are none of its own, such as
`a/1000` between `a/100` and `a/199`. So it is not walked from row to row: from a row that is not in
the range the next possible identifier is worked out and sought.
"""

from collections.abc import Iterator

from registry.errors import LongWalkError
from registry.range_documents import Span
from registry.tables import Table

STEPS_MAX = 100_000  # of one walk; ours: 0.2 s, in which nothing else is registered
QUICK_STEPS_MAX = 1_000  # of a walk on an event loop: 2 ms


def rows_inside(
    handles: Table, span: Span, low: int, high: int, *, steps_max: int = STEPS_MAX
) -> Iterator[tuple[bytes, bytes]]:
    """Iterate over (storage key, what is stored) of identifiers from one number to another.

    Args:
        handles: the rows.
        span: says what the identifiers look like.
        low: the first number.
        high: the last.
        steps_max: rows looked at, the range's own and others between them.

    Raises:
        LongWalkError: there are more.
    """
    number: int | None = low
    for _ in range(steps_max):
        if number is None or number > high:
            return
        sought = span.stem + span.tail(number)
        found = handles.at_or_after(sought)
        if found is None or not found[0].startswith(span.stem):
            return
        if found[0] == sought:
            yield found
            number += 1
        else:
            number = _next_number(span, found[0][len(span.stem) :])
    raise LongWalkError(
        f"more than {steps_max:,} rows lie in the range or between its identifiers: register it in "
        "parts"
    )


def _next_number(span: Span, rest: bytes) -> int | None:
    """Return the first number whose tail does not sort before `rest`; None: there is none."""
    head = rest[: span.digits]
    digits = len(head)
    for at, octet in enumerate(head):
        if not 0x30 <= octet <= 0x39:
            digits = at
            break
    number = int(head[:digits] or b"0") * 10 ** (span.digits - digits)
    if digits < len(head) and head[digits] > 0x39:
        number += 10 ** (span.digits - digits)
    elif digits == span.digits and span.tail(number) < rest:
        number += 1
    return number if number < 10**span.digits else None
