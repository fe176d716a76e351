"""Lists of handles and homed prefixes, page by page.

Each page is a read transaction of its own: one that lasted for a whole list would keep the store
from using freed pages again, for as long as the slowest client reads. A list therefore shows what
changes while it is made, and never the same handle twice. A page looks at a bounded number of rows:
where many are revoked it is short, perhaps empty, and whoever goes on gives others a turn.

A page by number steps over the keys before it, 9 million a second and so many at most; how long the
list is stands in the counts of the prefix. Whoever wants a page deeper in it goes on from a handle.
"""

from collections.abc import Iterator
from typing import NamedTuple

from protocol.handle import fold_handle, to_text
from protocol.value import HandleValue
from registry.operations import Listing
from registry.prefixes import find_delegation, is_responsible
from registry.schema import folded_key
from registry.store import Store
from registry.views import HandlePage, View
from resolver.list_places import ListPlaces, Place

MESSAGE_HANDLES = 50  # handles in one message, as existing servers send them
STEP_HANDLES = 10_000  # stepped over in one transaction: a millisecond in which nobody else runs
STEPS_MAX_DEFAULT = (
    5_000_000  # half a second; some seconds where identifiers were revoked one by one
)


class Page(NamedTuple):
    """Some handles, and whether there are no more after them."""

    handles: tuple[bytes, ...]
    is_last: bool


class FoundPage(NamedTuple):
    """A page of a list of `total` handles, and whether there are no more after it."""

    handles: tuple[bytes, ...]
    total: int
    is_last: bool = True


class ListTooDeepError(Exception):
    """A page so deep in a list that nobody steps over what is before it."""


class Pages:
    """Reads lists from the store.

    Args:
        store: where the handles are.
        steps_max: how many handles are stepped over for one page.
    """

    def __init__(self, store: Store, steps_max: int = STEPS_MAX_DEFAULT) -> None:
        self._store = store
        self._steps_max = steps_max
        self._places = ListPlaces()

    def is_responsible(self, handle: bytes) -> bool:
        """Say whether this node answers for a handle."""
        with self._store.read() as view:
            return is_responsible(view, handle)

    def find_delegation(self, handle: bytes) -> tuple[HandleValue, ...]:
        """Return what to refer with for a prefix handle kept elsewhere. Raises: RecordError."""
        with self._store.read() as view:
            return find_delegation(view, handle)

    def pages(self, listing: Listing, size: int = MESSAGE_HANDLES) -> Iterator[Page]:
        """Iterate over a list; there is always a last page, perhaps an empty one."""
        after: bytes | None = None
        while True:
            with self._store.read() as view:
                handles, after = _read(view, listing, after, size)
            yield Page(tuple(handles), after is None)
            if after is None:
                return

    def page(self, listing: Listing, number: int, size: int) -> FoundPage:
        """Return page `number`, counted from 0, of the handles under a prefix.

        Raises:
            ListTooDeepError: more handles stand before it than are stepped over.
        """
        start = number * size
        with self._store.read() as view:
            total = view.count_listed(listing.prefix)
        if total is not None and start >= total:
            return FoundPage((), total)
        # Of a list that is not counted yet no more is known than that it goes so far.
        total = start if total is None else total
        prefix = fold_handle(listing.prefix)
        after = self._step_to(listing, prefix, start, total)
        if after is None:
            return FoundPage((), total)  # it has become shorter
        handles, after = self._read_from(listing, after, size)
        if after is not None:
            self._places.note(prefix, Place(start + len(handles), after, total))
        return FoundPage(handles, total, after is None)

    def page_after(self, listing: Listing, after: bytes, size: int) -> FoundPage:
        """Return the handles under a prefix that come after one, empty: the first ones."""
        with self._store.read() as view:
            total = view.count_listed(listing.prefix)
            key = folded_key(view.fold(after)) if after else b""
        handles, key_after = self._read_from(listing, key, size)
        return FoundPage(handles, total or len(handles), key_after is None)

    def _read_from(
        self, listing: Listing, after: bytes, size: int
    ) -> tuple[tuple[bytes, ...], bytes | None]:
        """Return `size` handles beyond a storage key, and the key to go on after, None: no more."""
        handles: list[bytes] = []
        going_on: bytes | None = after
        while going_on is not None and len(handles) < size:
            with self._store.read() as view:
                page = view.list_handles(listing.prefix, going_on or None, size - len(handles))
            handles += page.handles
            going_on = page.after
        return tuple(handles), going_on

    def _step_to(self, listing: Listing, prefix: bytes, start: int, total: int) -> bytes | None:
        """Return the key before position `start`, empty: none is; None: the list ends before.

        Raises: as `page`.
        """
        place = self._places.find(prefix, start, total, self._steps_max)
        if place is None:
            raise ListTooDeepError(
                f"this page begins {start} handles deep in the list of {to_text(listing.prefix)}, "
                f"and at most {self._steps_max} are stepped over: go on from page to page with "
                "after=, the member next of the page before"
            )
        after: bytes | None = place.key
        position = place.position
        while position < start and after is not None:
            with self._store.read() as view:
                steps = min(STEP_HANDLES, start - position)
                stepped, after = view.step_over(listing.prefix, after or None, steps)
            position += stepped
        return after


def _read(view: View, listing: Listing, after: bytes | None, limit: int) -> HandlePage:
    if listing.homed:
        # One more than the page holds tells whether it is the last.
        handles = view.list_homed(after, limit + 1)
        return HandlePage(handles[:limit], handles[limit - 1] if len(handles) > limit else None)
    return view.list_handles(listing.prefix, after, limit)
