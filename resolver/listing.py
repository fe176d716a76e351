"""Lists of handles and homed prefixes, page by page.

Each page is a read transaction of its own: one that lasted for a whole list would keep the store
from using freed pages again, for as long as the slowest client reads. A list therefore shows what
changes while it is made, and never the same handle twice. A page looks at a bounded number of rows:
where many are revoked it is short, perhaps empty, and whoever goes on gives others a turn.
"""

from collections.abc import Iterator
from typing import NamedTuple

from registry.operations import Listing
from registry.prefixes import is_responsible
from registry.store import Store
from registry.views import HandlePage, View

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
            with self._store.read() as view:
                handles, after = _read(view, listing, after, size)
            yield Page(tuple(handles), after is None)
            if after is None:
                return

    def page(self, listing: Listing, number: int, size: int) -> tuple[tuple[bytes, ...], int]:
        """Return page `number`, counted from 0, and the length of the whole list."""
        wanted: list[bytes] = []
        total = 0
        for page in self.pages(listing, COUNT_PAGE_HANDLES):
            first = max(0, number * size - total)
            wanted += page.handles[first : first + size - len(wanted)]
            total += len(page.handles)
        return tuple(wanted), total


def _read(view: View, listing: Listing, after: bytes | None, limit: int) -> HandlePage:
    if listing.homed:
        # One more than the page holds tells whether it is the last.
        handles = view.list_homed(after, limit + 1)
        return HandlePage(handles[:limit], handles[limit - 1] if len(handles) > limit else None)
    return view.list_handles(listing.prefix, after, limit)
