"""How many identifiers a range stands for, and which rows stand in their place.

The serials of a range are told by its first and its last tail; check characters behind them make no
identifiers of their own.
"""

import sys

from registry.range_documents import Span, read_range
from registry.range_lookup import find_range
from registry.range_records import READABLE_PATH, is_active, split_key
from registry.range_rows import rows_inside
from registry.tables import Table


def span_of(key: bytes, record: bytes) -> Span:
    """Return the identifiers of a range by number. Raises: RecordError: damaged."""
    if record[0] & READABLE_PATH:
        return read_range(key, record).span
    # Most: nothing has to be looked at but the tails.
    stem, last = split_key(key)
    return Span(stem, len(last), int(record[2 : 2 + record[1]]), int(last), "")


def is_in_range(ranges: Table, folded: bytes) -> bool:
    """Say whether a range stands for a folded handle, were it not stored. Raises: RecordError."""
    held = find_range(ranges, folded)
    return held is not None and is_active(held.octets)


def rows_in(handles: Table, key: bytes, record: bytes) -> list[bytes]:
    """Return the storage keys of the rows that stand in place of identifiers of an active range.

    What it costs is these rows and the gaps between them (`registry.range_rows`): never the
    identifiers, nor other handles that sort between the first and the last, which may be all of a
    prefix.

    Args:
        handles: the rows.
        key: of the range.
        record: of the range.

    Raises:
        RecordError: damaged.
    """
    stem, last = split_key(key)
    found = handles.at_or_after(stem + record[2 : 2 + record[1]])
    if found is None or found[0] > stem + last:
        return []  # most ranges stand alone
    span = span_of(key, record)
    rows = rows_inside(handles, span, span.low, span.high, steps_max=sys.maxsize)
    return [key for key, _ in rows]
