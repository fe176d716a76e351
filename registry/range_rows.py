"""The rows that lie in a range: found by seeking, in steps that are bounded.

Between the first and the last identifier of a range sort handles that are none of its own, such as
`a/1000` between `a/100` and `a/199`. So it is not walked from row to row: from a row that is not in
the range the next possible identifier is worked out and sought.
"""

from collections.abc import Iterator

from protocol.handle import to_text
from registry.errors import LongWalkError
from registry.range_documents import Span
from registry.tables import Table

# Of one walk; ours: 0.1 s, of rows between identifiers 0.2 s, in which nothing else is registered.
STEPS_MAX = 50_000
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
        LongWalkError: there are more; it says at which identifier.
    """
    number: int | None = low
    seek = handles.seeker()
    for _ in range(steps_max):
        if number is None or number > high:
            return
        sought = span.stem + span.tail(number)
        found = seek(sought)
        if found is None or not found[0].startswith(span.stem):
            return
        if found[0] == sought:
            yield found
            number += 1
        else:
            number = _next_number(span, found[0][len(span.stem) :])
    if number is None or number > high:
        return
    reached = to_text(span.stem + span.tail(number))
    raise LongWalkError(
        f"more than {steps_max:,} rows lie in the range or between its identifiers, so many before "
        f"{reached} already"
    )


def _next_number(span: Span, rest: bytes) -> int | None:
    """Return the first number whose tail does not sort before `rest`; None: there is none."""
    head = rest[: span.digits]
    digits = len(head) - len(head.lstrip(b"0123456789"))
    number = int(head[:digits] or b"0") * 10 ** (span.digits - digits)
    if digits < len(head) and head[digits] > 0x39:
        number += 10 ** (span.digits - digits)
    elif digits == span.digits and span.tail(number) < rest:
        number += 1
    return number if number < 10**span.digits else None
