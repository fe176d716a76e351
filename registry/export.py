"""All handles of a store with all their values, private ones included."""

from collections.abc import Iterator

from protocol.value import HandleValue
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
