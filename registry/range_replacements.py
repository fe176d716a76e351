"""Ranges in the place of others: what shrinking, splitting and revoking make of the rows inside.

    before  |--------------- active ----------------|
    after   |---- active ----|---- active ----|          the rows in here stay as they are
                                              |-----|    in no active range any more: looked at

What stays in an active range is not looked at, so that a split costs the same with a million rows
inside. Rows that are in none any more are counted as identifiers of their own, and the tombstones
among them go. How many that may be, the acts decide (`registry.range_rows`): what the journal says
is done.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence

from registry.marks import is_deleted
from registry.range_documents import Range, Span, read_range
from registry.range_history_index import Before, note_range
from registry.range_records import RangeChange, split_key
from registry.range_rows import rows_inside
from registry.range_values import registered_s
from registry.ranges_table import RangesTable
from registry.tables import Table
from registry.views import WriteView


def replace_ranges(view: WriteView, changes: Sequence[RangeChange]) -> None:
    """Put ranges in the place of others, all of one stem. Raises: RecordError."""
    table, handles = view.writable("ranges"), view.table("handles")
    assert isinstance(table, RangesTable)
    before, after = [], []
    for key, octets in changes:
        old = table.get(key)
        if old is not None:
            before.append(read_range(key, old))
        if octets:
            after.append(read_range(key, octets))
    for each in before:
        note_before(view, each)
        view.note_range_change(each.key, each.octets)
    for key, octets in changes:
        table.replace(key, octets)
    view.changes.rows_behind([key for key, _ in _rows(handles, after, before)], 1)
    left = list(_rows(handles, before, after))
    view.changes.rows_behind([key for key, _ in left], -1)
    view.remove_tombstones([key for key, is_tombstone in left if is_tombstone])


def note_before(view: WriteView, range_: Range) -> None:
    """Note for the history that the frame changes a range."""
    _, last = split_key(range_.key)
    before = Before(registered_s(range_.record), range_.record.first, last)
    note_before_frame(view, range_.span.stem, before)


def note_before_frame(view: WriteView, stem: bytes, before: Before) -> None:
    """Note for the history that the frame changes the range that was so before it."""
    if view.frame is not None:
        note_range(view.writable("histories"), stem, view.frame, before)


def lost_spans(before: Iterable[Range], after: Iterable[Range]) -> Iterator[tuple[Span, int, int]]:
    """Iterate over what is in an active range no more, by first and last number."""
    stay = sorted(each.span for each in after if each.revoked is None)
    for each in before:
        if each.revoked is not None:
            continue
        low = each.span.low
        for span in stay:
            if not span.is_like(each.span) or span.high < low or span.low > each.span.high:
                continue
            if span.low > low:
                yield each.span, low, span.low - 1
            low = max(low, span.high + 1)
        if low <= each.span.high:
            yield each.span, low, each.span.high


def _rows(
    handles: Table, before: Iterable[Range], after: Iterable[Range]
) -> Iterator[tuple[bytes, bool]]:
    """Iterate over (key, is it a tombstone) of the rows in active ranges before, not after."""
    for span, low, high in lost_spans(before, after):
        for key, row in rows_inside(handles, span, low, high, steps_max=sys.maxsize):
            yield key, is_deleted(row)
