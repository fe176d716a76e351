"""Lists of handles and homed prefixes, page by page.

Each page is a read transaction of its own: one that lasted for a whole list would keep the store
from using freed pages again, for as long as the slowest client reads. A list therefore shows what
changes while it is made, and never the same handle twice.

Rows that are revoked are no handles and have to be looked at all the same, so nothing here goes on
until a page is full:

    streamed       some rows in one go; a page may be empty, and others follow
    after a handle `after_rows_max` rows in all; a page may be short, even empty, and says what to
                   go on after
    by number      full, for clients that know nothing else: in turns of `TURN_ROWS`, so that
                   others have theirs, `steps_max` rows in all, beyond which it is refused

A page by number steps over the keys before it, 9 million a second; how long the list is stands in
the counts of the prefix. What it came to is remembered (`resolver.list_places`): whoever asks again
goes on from there.
"""

from collections.abc import Iterator
from typing import NamedTuple

from protocol.handle import fold_handle, to_text
from protocol.value import HandleValue
from registry.operations import Listing
from registry.prefixes import find_referral, is_responsible, lives_here
from registry.schema import folded_key
from registry.store import Store
from registry.views import LISTED_ROWS_MAX, HandlePage, View
from resolver.list_places import ListPlaces, Place

MESSAGE_HANDLES = 50  # handles in one message, as existing servers send them
STEP_HANDLES = 10_000  # stepped over in one transaction: a millisecond in which nobody else runs
TURN_ROWS = 200_000  # looked at before somebody else's page has its turn: some 0.1 s
STEPS_MAX_DEFAULT = (
    5_000_000  # half a second; some seconds where identifiers were revoked one by one
)
AFTER_ROWS_MAX_DEFAULT = 100_000  # some 50 ms; ours


class Page(NamedTuple):
    """Some handles, and whether there are no more after them."""

    handles: tuple[bytes, ...]
    is_last: bool


class FoundPage(NamedTuple):
    """A page of a list of `total` handles, and the handle to go on after; empty: it is the last.

    That handle may be one that is not listed, because it was revoked.
    """

    handles: tuple[bytes, ...]
    total: int
    next: bytes = b""


class ListTooDeepError(Exception):
    """A page with more rows before it or in it than are looked at for one."""


class Pages:
    """Reads lists from the store.

    Args:
        store: where the handles are.
        steps_max: rows looked at for a page by number, those before it included.
        after_rows_max: rows looked at for a page that follows a handle.
    """

    def __init__(
        self,
        store: Store,
        steps_max: int = STEPS_MAX_DEFAULT,
        after_rows_max: int = AFTER_ROWS_MAX_DEFAULT,
    ) -> None:
        self._store = store
        self._steps_max = steps_max
        self._after_rows_max = after_rows_max
        self._places = ListPlaces()

    def is_responsible(self, handle: bytes) -> bool:
        """Say whether this node answers for a handle."""
        with self._store.read() as view:
            return is_responsible(view, handle)

    def find_delegation(self, handle: bytes) -> tuple[HandleValue, ...]:
        """Return what to refer with for a prefix that lives elsewhere; empty: look it up here."""
        with self._store.read() as view:
            return () if lives_here(view, handle) else find_referral(view, handle)

    def pages(self, listing: Listing, size: int = MESSAGE_HANDLES) -> Iterator[Page]:
        """Iterate over a list; there is always a last page, and any may be short or empty."""
        after: bytes | None = None
        while True:
            with self._store.read() as view:
                handles, after = _read(view, listing, after, size)
            yield Page(tuple(handles), after is None)
            if after is None:
                return

    def page(self, listing: Listing, number: int, size: int) -> Iterator[FoundPage | None]:
        """Look for page `number`, counted from 0, of the handles under a prefix.

        Yields None after every turn, and the page in the end.

        Raises:
            ListTooDeepError: more rows stand before it, or in it, than are looked at.
        """
        start = number * size
        with self._store.read() as view:
            total = view.count_listed(listing.prefix)
        if total is not None and start >= total:
            yield FoundPage((), total)
            return
        # Of a list that is not counted yet no more is known than that it goes so far.
        total = start if total is None else total
        prefix = fold_handle(listing.prefix)
        place = self._places.find(prefix, start, total, self._steps_max)
        if place is None:
            raise _too_deep(listing, start, self._steps_max)
        walk = _Walk(self._store, listing, place, total)
        turn_ends = TURN_ROWS
        while not walk.is_done(start, size):
            if walk.rows >= self._steps_max:
                self._note(prefix, walk)
                goes_on = walk.position <= start
                raise _too_deep(listing, start, self._steps_max, goes_on=goes_on)
            walk.go_on(start, size)
            if walk.rows >= turn_ends:
                turn_ends += TURN_ROWS
                yield None
        self._note(prefix, walk)
        yield FoundPage(tuple(walk.handles), total, walk.next)

    def _note(self, prefix: bytes, walk: "_Walk") -> None:
        """Remember how far a walk came, unless that is the end of the list."""
        if walk.after is not None:
            self._places.note(prefix, Place(walk.position, walk.after, walk.total))

    def page_after(self, listing: Listing, after: bytes, size: int) -> FoundPage:
        """Return the handles under a prefix that come after one, empty: the first ones.

        Fewer than `size` do not say that there are no more, `next` does.
        """
        with self._store.read() as view:
            total = view.count_listed(listing.prefix)
            key = folded_key(view.fold(after)) if after else b""
        walk = _Walk(self._store, listing, Place(0, key, 0), 0)
        while not walk.is_done(0, size) and walk.rows < self._after_rows_max:
            walk.go_on(0, size)
        return FoundPage(tuple(walk.handles), total or len(walk.handles), walk.next)


class _Walk:
    """One way along the handles of a prefix, a bounded part of it in each transaction.

    Args:
        store: where the handles are.
        listing: of which prefix.
        place: where it begins.
        total: how many handles there are.
    """

    def __init__(self, store: Store, listing: Listing, place: Place, total: int) -> None:
        self._store = store
        self._prefix = listing.prefix
        self.position = place.position
        self.after: bytes | None = place.key
        self.total = total
        self.rows = 0  # looked at
        self.handles: list[bytes] = []
        self.next = b""

    def is_done(self, start: int, size: int) -> bool:
        """Say whether `size` handles from position `start` on are there, or the list has ended."""
        return self.after is None or self.position >= start + size

    def go_on(self, start: int, size: int) -> None:
        """Go on in one transaction: before position `start` handles are but stepped over."""
        left = start - self.position
        with self._store.read() as view:
            if left > 0:
                steps = min(STEP_HANDLES, left)
                count, self.after = view.step_over(self._prefix, self.after or None, steps)
            else:
                steps = size + left
                page = view.list_handles(self._prefix, self.after or None, steps)
                self.handles += page.handles
                count, self.after = len(page.handles), page.after
                self.next = b"" if page.after is None else view.listed_handle(page.after)
        self.position += count
        # Whoever found fewer than he looked for has looked at as many rows as one may.
        self.rows += count if count == steps else LISTED_ROWS_MAX


def _too_deep(
    listing: Listing, start: int, steps_max: int, *, goes_on: bool = False
) -> ListTooDeepError:
    again = "ask again, which goes on from where this ended, or " if goes_on else ""
    handle = to_text(listing.prefix)
    return ListTooDeepError(
        f"this page begins {start} handles deep in the list of {handle}, and at most {steps_max} "
        f"rows, revoked ones among them, are stepped over: {again}go on from page to page with "
        f"after=, at first {handle.partition('/')[2]}/, then the member next of the page before"
    )


def _read(view: View, listing: Listing, after: bytes | None, limit: int) -> HandlePage:
    if listing.homed:
        return view.list_homed(after, limit)
    return view.list_handles(listing.prefix, after, limit)
