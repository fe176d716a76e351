"""Lists of handles and homed prefixes, page by page.

Each page is a read transaction of its own: one that lasted for a whole list would keep the store
from using freed pages again, for as long as the slowest client reads. A list therefore shows what
changes while it is made, and never the same handle twice.
"""

from collections.abc import Iterator
from typing import NamedTuple

from registry.operations import Listing
from registry.prefixes import is_responsible
from registry.store import Store
from registry.views import View

MESSAGE_HANDLES = 50  # handles in one message, as existing servers send them
COUNT_PAGE_HANDLES = 1_000  # looked at in one transaction while counting


class Page(NamedTuple):
    """Some handles, and whether there are no more after them."""

    handles: tuple[bytes, ...]
    is_last: bool


class Pages:
    """Reads lists from the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def is_responsible(self, handle: bytes) -> bool:
        """Say whether this node answers for a handle."""
        with self._store.read() as view:
            return is_responsible(view, handle)

    def pages(self, listing: Listing, size: int = MESSAGE_HANDLES) -> Iterator[Page]:
        """Iterate over a list; there is always a last page, perhaps an empty one."""
        after: bytes | None = None
        while True:
            # One more than the page holds tells whether it is the last.
            with self._store.read() as view:
                handles = _read(view, listing, after, size + 1)
            is_last = len(handles) <= size
            handles = handles[:size]
            yield Page(tuple(handles), is_last)
            if is_last:
                return
            after = handles[-1]

    def page(self, listing: Listing, number: int, size: int) -> tuple[tuple[bytes, ...], int]:
        """Return page `number`, counted from 0, and the length of the whole list."""
        wanted: list[bytes] = []
        total = 0
        for page in self.pages(listing, COUNT_PAGE_HANDLES):
            first = max(0, number * size - total)
            wanted += page.handles[first : first + size - len(wanted)]
            total += len(page.handles)
        return tuple(wanted), total


def _read(view: View, listing: Listing, after: bytes | None, limit: int) -> list[bytes]:
    if listing.homed:
        return view.list_homed(after, limit)
    return view.list_handles(listing.prefix, after, limit)
