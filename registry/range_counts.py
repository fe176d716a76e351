"""How many identifiers a range stands for, and which rows stand in their place.

The serials of a range are told by its first and its last tail; check characters behind them make no
identifiers of their own. A range that was revoked stands for none.
"""

import sys
from itertools import takewhile

from registry.check_digits import SCHEMES, check_of
from registry.errors import RecordError
from registry.range_documents import Span, read_range
from registry.range_records import (
    CHECKED,
    READABLE_PATH,
    RangeRecord,
    decode_range,
    holds,
    range_key,
    split_identifier,
    split_key,
)
from registry.range_rows import rows_inside
from registry.tables import Table

REVOKED = "revoked"  # among the details of a range
CHECK = "check"  # likewise: the name of its scheme


def check_octets(range_: RangeRecord) -> int:
    """Return how many check characters end the tails of a range. Raises: RecordError."""
    if not range_.checked:
        return 0
    scheme = SCHEMES.get(range_.details.get(CHECK, ""))
    if scheme is None:
        raise RecordError(f"a range has a check of an unknown scheme: {range_.details}")
    return scheme.octets


def identifiers_in(key: bytes, record: bytes) -> int:
    """Return how many identifiers answer by a range alone, were there no rows in it.

    Raises:
        RecordError: damaged.
    """
    if not record[0] & READABLE_PATH:  # most: nothing to be looked at but the tails
        octets = record[1]
        return int(key[-octets:]) - int(record[2 : 2 + octets]) + 1
    range_ = decode_range(record)
    if REVOKED in range_.details:
        return 0
    _, last = split_key(key)
    end = len(last) - check_octets(range_)
    return int(last[:end]) - int(range_.first[:end]) + 1


def is_active(record: bytes) -> bool:
    """Say whether the identifiers of a range answer. Raises: RecordError."""
    return not record[0] & READABLE_PATH or REVOKED not in decode_range(record).details


def stands_in(folded: bytes, key: bytes, record: bytes) -> bool:
    """Say whether a folded handle is one of the identifiers of a range. Raises: RecordError."""
    split = split_identifier(folded)
    if split is None:
        return False
    stem, tail = split
    if not holds(range_key(stem, tail), tail, key, record) or not is_active(record):
        return False
    return not record[0] & CHECKED or has_right_check(stem, tail, decode_range(record))


def has_right_check(stem: bytes, tail: bytes, range_: RangeRecord) -> bool:
    """Say whether a tail ends in the check characters that belong there. Raises: RecordError."""
    end = len(tail) - check_octets(range_)
    digits = tail[:end]
    return digits.isdigit() and check_of(range_.details[CHECK], stem + digits) == tail[end:]


def is_in_range(ranges: Table, folded: bytes) -> bool:
    """Say whether a range stands for a folded handle, were it not stored. Raises: RecordError."""
    split = split_identifier(folded)
    if split is None:
        return False
    found = ranges.at_or_after(range_key(*split))
    return found is not None and stands_in(folded, *found)


def rows_in(handles: Table, key: bytes, record: bytes, up_to: bytes | None = None) -> int:
    """Return how many rows stand in place of identifiers of an active range.

    What it costs is these rows and the gaps between them (`registry.range_rows`): never the
    identifiers, nor other handles that sort between the first and the last, which may be all of a
    prefix.

    Args:
        handles: the rows.
        key: of the range.
        record: of the range.
        up_to: rows beyond this key are not counted; None: all are.

    Raises:
        RecordError: damaged.
    """
    stem, last = split_key(key)
    end = stem + last if up_to is None else min(stem + last, up_to)
    found = handles.at_or_after(stem + record[2 : 2 + record[1]])
    if found is None or found[0] > end:
        return 0  # most ranges stand alone
    span = _span(key, record)
    rows = rows_inside(handles, span, span.low, span.high, steps_max=sys.maxsize)
    return sum(1 for _ in takewhile(lambda row: row[0] <= end, rows))


def _span(key: bytes, record: bytes) -> Span:
    """Return the numbers of an active range. Raises: RecordError."""
    if record[0] & READABLE_PATH:
        return read_range(key, record).span
    stem, last = split_key(key)
    return Span(stem, len(last), int(record[2 : 2 + record[1]]), int(last), "")
