"""Counting what is stored by looking at all of it: older stores once, and to check the counters."""

from collections.abc import Iterable
from operator import add

from protocol.handle import PREFIX_HANDLE_START
from registry.counters import (
    TABLE,
    TOTALS,
    Totals,
    add_numbers,
    counted_name,
    prefix_of,
    sum_name,
    totals_key,
)
from registry.days import day_of
from registry.first_count import PAGE_ROWS, Progress, put_progress, read_progress
from registry.range_counts import is_in_range, span_of
from registry.range_records import is_active
from registry.row_changes import (
    IN_RANGES,
    IN_REVOKED,
    OVERRIDES,
    RANGES,
    REVOKED_RANGES,
    total_of_row,
)
from registry.tables import Table
from registry.views import View, WriteView

Counted = dict[bytes, list[int]]


def count_rows(rows: Iterable[tuple[bytes, bytes]], ranges: Table, counted: Counted) -> bytes:
    """Add rows to the totals by name; return the last key, empty when there were none."""
    has_ranges = ranges.count() > 0
    last = b""
    for key, row in rows:
        last = key
        covered = has_ranges and is_in_range(ranges, key)
        name = counted_name(key)
        for each in (name, sum_name(name)):
            totals = counted.setdefault(each, [0] * TOTALS)
            totals[total_of_row(row)] += 1
            totals[OVERRIDES] += covered
    return last


def count_ranges(ranges: Table, counted: Counted) -> None:
    """Add all ranges to the totals by name. Raises: RecordError."""
    start, name, numbers = b"", b"", [0] * TOTALS
    for key, record in ranges.items():
        if not start or not key.startswith(start):  # mostly all are of a few prefixes
            _add_ranges(name, numbers, counted)
            prefix = prefix_of(key) + b"/"
            start = prefix if prefix != PREFIX_HANDLE_START else key
            name, numbers = counted_name(key), [0] * TOTALS
        at, count = (IN_RANGES, RANGES) if is_active(record) else (IN_REVOKED, REVOKED_RANGES)
        numbers[at] += span_of(key, record).size
        numbers[count] += 1
    _add_ranges(name, numbers, counted)


def _add_ranges(name: bytes, numbers: list[int], counted: Counted) -> None:
    """Add ranges to the totals of a name, and of all of its kind."""
    if any(numbers):
        for each in (name, sum_name(name)):
            totals = counted.setdefault(each, [0] * TOTALS)
            totals[:] = map(add, totals, numbers)


def recount(view: View) -> dict[bytes, Totals]:
    """Return the totals of all names, counted anew. Raises: RecordError."""
    counted: Counted = {}
    ranges = view.table("ranges")
    count_ranges(ranges, counted)
    count_rows(view.rows(), ranges, counted)
    return {name: Totals(*totals) for name, totals in counted.items() if any(totals)}


def count_page(view: WriteView, now_s: int, rows_max: int = PAGE_ROWS) -> bool:
    """Count a page of a store that was written without counters; False: all is counted.

    Raises:
        StoreError: what has been counted so far is damaged.
    """
    table, ranges = view.writable(TABLE), view.table("ranges")
    progress = read_progress(table)
    if progress.position is None:
        return False
    counted: Counted = {}
    if not progress.begun:
        count_ranges(ranges, counted)
        progress = Progress(True, b"", day_of(now_s))
    page = view.table("handles").page(progress.position or b"", rows_max)
    last = count_rows(page, ranges, counted)
    is_last = len(page) < rows_max
    for name, totals in counted.items():
        add_numbers(table, totals_key(name), totals)
    put_progress(table, progress._replace(position=None if is_last else last))
    return not is_last
