"""All handles of a store with all their values, private ones included.

`export_forms` gives what `biaoshi load` makes the same store of: first the ranges, then the rows,
those in a range as rows that replace, then the identifiers that were deleted out of ranges.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from protocol.handle import to_text
from protocol.json_forms import time_to_json, value_to_json
from protocol.value import HandleValue
from registry.outcomes import identity_text
from registry.range_changes import tombstones
from registry.range_documents import read_range
from registry.range_shown import show_range
from registry.schema import folded_key
from registry.store import Store
from registry.views import View

PAGE_RECORDS = 1_000


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


def export_forms(store: Store, page_records: int = PAGE_RECORDS) -> Iterator[dict[str, Any]]:
    """Iterate over all of a store as rows in their JSON form, in a transaction per page.

    Raises:
        RecordError: a row is damaged.
    """
    yield from _range_forms(store, page_records)
    after = b""
    while True:
        with store.read() as view:
            page = [
                (key, _row_form(handle, record.values, _is_ranged(view, handle)))
                for key, handle, record in view.page_records(after, page_records)
            ]
        if not page:
            break
        yield from (form for _, form in page)
        after = page[-1][0]
    yield from _tombstone_forms(store, page_records)


def _is_ranged(view: View, handle: bytes) -> bool:
    return view.find_range(folded_key(view.fold(handle))) is not None


def _row_form(handle: bytes, values: tuple[HandleValue, ...], is_ranged: bool) -> dict[str, Any]:
    form: dict[str, Any] = {"handle": to_text(handle)}
    if is_ranged:
        form["operation"] = "replace"
    form["values"] = [value_to_json(value) for value in values]
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
            form: dict[str, Any] = {"handle": to_text(after), "operation": "delete"}
            form["time"] = time_to_json(mark.time_s)
            if mark.actor.handle:
                form["by"] = identity_text(mark.actor)
            yield form
