"""Counting a store that was written before there were counters, once, in pages.

    b"C" -> msgpack [format, position or nil when all is counted, day it began]

Rows up to the position are in the totals, those beyond it are not yet; a change beyond it changes
no totals, the page that comes to it finds what is there. So registering goes on meanwhile, and the
totals are exact when the last page is done. What happened on which day is counted from the day it
began: a day before that has nothing to show. Ranges are counted with the first page. A new store
has nothing to count.
"""

from typing import NamedTuple

import msgpack

from registry.errors import StoreError
from registry.tables import Table, WritableTable

KEY = b"C"
PAGE_ROWS = 20_000  # some 20 ms of the one write transaction
FORMAT = 1


class Progress(NamedTuple):
    """How far an older store was counted: `position` is None when all of it is."""

    begun: bool
    position: bytes | None
    since_day: int = 0


NOTHING_TO_COUNT = Progress(True, None)
_NOT_BEGUN = Progress(False, b"")


def read_progress(table: Table) -> Progress:
    """Return how far a store was counted. Raises: StoreError: damaged."""
    octets = table.get(KEY)
    if octets is None:
        return _NOT_BEGUN
    try:
        format_, position, since_day = msgpack.unpackb(octets)
        if format_ != FORMAT:
            raise ValueError(f"format {format_}")
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise StoreError(f"how far the store was counted is damaged: {error}") from error
    return Progress(True, position, since_day)


def is_counted(table: Table) -> bool:
    """Say whether all of a store is counted. Raises: StoreError: damaged."""
    return read_progress(table).position is None


def put_progress(table: WritableTable, progress: Progress) -> None:
    """Keep how far a store was counted."""
    table.put(KEY, msgpack.packb([FORMAT, progress.position, progress.since_day]))
