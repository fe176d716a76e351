"""Places in lists that were come to before: going on from one is no walk from the start.

LMDB finds a key at once and a position only by stepping over what stands before it. Whoever reads
page after page by number asks each time for where the last page ended, which is what is kept here.
A place is exact while the list is as long as it was. Later it says where a reader was, and going on
there shows him nothing twice.
"""

from bisect import bisect_right, insort
from collections import deque
from typing import NamedTuple

PLACES_MAX = 4_096  # of all lists together; 2 MB with the longest handles


class Place(NamedTuple):
    """`key` is that of the last of `position` handles; the list had `total` then."""

    position: int
    key: bytes
    total: int


START = Place(0, b"", 0)


class ListPlaces:
    """Remembers places of lists, the newest ones, each list by its prefix handle."""

    def __init__(self, places_max: int = PLACES_MAX) -> None:
        self._places_max = places_max
        self._of: dict[bytes, list[Place]] = {}
        self._order: deque[tuple[bytes, Place]] = deque()

    def note(self, prefix: bytes, place: Place) -> None:
        """Keep a place, in the stead of one at the same position."""
        places = self._of.setdefault(prefix, [])
        at = bisect_right(places, (place.position, b"", 0))
        if at < len(places) and places[at].position == place.position:
            if places[at] == place:
                return
            del places[at]
        insort(places, place)
        self._order.append((prefix, place))
        while len(self._order) > self._places_max:
            self._forget(*self._order.popleft())

    def find(self, prefix: bytes, position: int, total: int, steps_max: int) -> Place | None:
        """Return the best place at or before a position, at most `steps_max` away from it.

        An exact one, or the start of the list; where both are too far, the nearest old one.
        """
        places = self._of.get(prefix, [])
        before = places[: bisect_right(places, (position + 1, b"", 0))]
        exact = next((each for each in reversed(before) if each.total == total), START)
        nearest = before[-1] if before else START
        for place in (exact, nearest):
            if position - place.position <= steps_max:
                return place
        return None

    def _forget(self, prefix: bytes, place: Place) -> None:
        places = self._of.get(prefix, [])
        if place in places:
            places.remove(place)
        if not places:
            self._of.pop(prefix, None)
