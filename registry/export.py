"""All handles of a store with all their values, private ones included.

`export_forms` gives what `biaoshi load` makes the same store of: first the ranges, then the rows,
those in a range as rows that replace, each frozen or revoked one with its mark after it, then the
identifiers that were deleted out of ranges. What the prefix office knows is not in it; the handle
of a suspended prefix is, as any other.
"""

from collections.abc import Iterator
from heapq import merge
from itertools import islice
from typing import Any

from protocol.handle import to_text
from protocol.json_forms import time_to_json, value_to_json
from protocol.value import HandleValue
from registry.marks import Mark, State, decode_marked, is_deleted, is_marked
from registry.offices import OFFICES, STANDING
from registry.outcomes import identity_text
from registry.range_changes import tombstones
from registry.range_documents import Range, read_range
from registry.range_shown import show_range
from registry.schema import decode_record, folded_key
from registry.standings import decode_standing
from registry.store import Store
from registry.views import View

PAGE_RECORDS = 1_000

_MARKINGS = {State.FROZEN: "freeze", State.REVOKED: "revoke"}


def export_records(view: View) -> Iterator[tuple[bytes, tuple[HandleValue, ...]]]:
    """Iterate over (handle as stored, values) in key order, all of one state of the store.

    The view pins that state: on a node that is writing, use `export_pages`.

    Raises:
        RecordError: a row is damaged; `verify` says which ones are.
    """
    for handle, record in view.records():
        yield handle, record.values


def export_pages(
    store: Store, page_records: int = PAGE_RECORDS
) -> Iterator[tuple[bytes, tuple[HandleValue, ...]]]:
    """Iterate likewise, in a transaction per page: what is written meanwhile may appear or not.

    Raises:
        RecordError: a row is damaged.
    """
    after = b""
    while True:
        with store.read() as view:
            page = view.page_records(after, page_records)
        if not page:
            return
        for _, handle, record in page:
            yield handle, record.values
        after = page[-1][0]


def export_answers(
    store: Store, page_records: int = PAGE_RECORDS
) -> Iterator[tuple[bytes, tuple[HandleValue, ...]]]:
    """Iterate over (handle, values) of all that answers, identifiers in ranges one by one.

    For whoever knows no ranges; a transaction per page.

    Raises:
        RecordError: a row or a range is damaged.
    """
    yield from export_pages(store, page_records)
    after = b""
    while True:
        with store.read() as view:
            page = view.table("ranges").page(after, 1)
        if not page:
            return
        after, octets = page[0]
        yield from _range_answers(store, read_range(after, octets), page_records)


def _range_answers(
    store: Store, found: Range, page_records: int
) -> Iterator[tuple[bytes, tuple[HandleValue, ...]]]:
    """Iterate over the identifiers of a range that have no row of their own."""
    if found.revoked is not None:
        return
    span = found.span
    for low in range(span.low, span.high + 1, page_records):
        page = []
        with store.read() as view:
            for number in range(low, min(low + page_records, span.high + 1)):
                handle = span.stem + span.tail(number)
                if view.stored_row(folded_key(handle)) is not None:
                    continue
                record = view.find_record(handle)
                if record is not None:
                    page.append((handle, record.values))
        yield from page


def export_forms(store: Store, page_records: int = PAGE_RECORDS) -> Iterator[dict[str, Any]]:
    """Iterate over all of a store as rows in their JSON form, in a transaction per page.

    A row and its mark are of one transaction.

    Raises:
        RecordError: a row is damaged.
    """
    yield from _range_forms(store, page_records)
    after, is_last = b"", False
    while not is_last:
        with store.read() as view:
            page = view.table("handles").page(after, page_records)
            is_last = len(page) < page_records
            end = page[-1][0] if page else after
            rows = merge(page, _silent_rows(view, after, None if is_last else end), key=_key_of)
            forms = [form for key, row in rows for form in _row_forms(view, key, row)]
        yield from forms
        after = end
    yield from _tombstone_forms(store, page_records)


def count_left_out(store: Store) -> tuple[int, int]:
    """Return how many entries the prefix office has, none of which is exported, and of how many
    prefixes these say that they are suspended: the handles of these are exported.

    Raises:
        RecordError: an entry is damaged.
    """
    with store.read() as view:
        silent = sum(1 for _ in _silent_rows(view, b"", None))
        return view.table(OFFICES).count(), silent


def _key_of(row: tuple[bytes, bytes]) -> bytes:
    return row[0]


def _silent_rows(view: View, after: bytes, last: bytes | None) -> Iterator[tuple[bytes, bytes]]:
    """Iterate over (key, row) of the prefix handles put aside while their prefixes are suspended.

    Args:
        view: the store.
        after: only keys beyond it.
        last: and none beyond it.
    """
    for key, octets in view.table(OFFICES).items(STANDING + after, STANDING):
        handle = key[len(STANDING) :]
        if last is not None and handle > last:
            return
        standing = decode_standing(octets)
        is_put_aside = standing.silent and standing.row and handle != after
        # The owner of the machine may have made a record in its place meanwhile.
        if is_put_aside and view.stored_row(folded_key(handle)) is None:
            yield handle, standing.row


def _row_forms(view: View, key: bytes, stored: bytes) -> Iterator[dict[str, Any]]:
    """Iterate over the row of an identifier and its mark, if it has one.

    The row of a revoked one says so: `biaoshi import`, which makes no marks, then refuses it.
    """
    if is_deleted(stored):
        return
    mark, row = decode_marked(stored) if is_marked(stored) else (None, stored)
    record = decode_record(view.ordinary_row(key, row))
    handle = record.handle or key
    form: dict[str, Any] = {"handle": to_text(handle)}
    if view.find_range(folded_key(view.fold(handle))) is not None:
        form["operation"] = "replace"
    if mark is not None and mark.state == State.REVOKED:
        form["state"] = "revoked"
    form["values"] = [value_to_json(value) for value in record.values]
    yield form
    if mark is not None:
        yield _mark_form(handle, mark, _MARKINGS[mark.state])


def _mark_form(handle: bytes, mark: Mark, operation: str) -> dict[str, Any]:
    form: dict[str, Any] = {"handle": to_text(handle), "operation": operation}
    if mark.reason:
        form["reason"] = mark.reason
    form["time"] = time_to_json(mark.time_s)
    if mark.actor.handle:
        form["by"] = identity_text(mark.actor)
    return form


def _range_forms(store: Store, page_records: int) -> Iterator[dict[str, Any]]:
    after = b""
    while True:
        with store.read() as view:
            page = view.table("ranges").page(after, page_records)
        if not page:
            return
        for after, octets in page:
            shown = show_range(read_range(after, octets), public_only=False)
            yield {"operation": "range", **shown}


def _tombstone_forms(store: Store, page_records: int) -> Iterator[dict[str, Any]]:
    after = b""
    while True:
        with store.read() as view:
            found = list(islice(tombstones(view, after), page_records))
        if not found:
            return
        for after, mark in found:
            yield _mark_form(after, mark, "delete")
