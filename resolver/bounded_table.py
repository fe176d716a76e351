"""A table of what strangers make us keep, by number, each entry with a deadline.

Bounded in entries and octets, per address and in all: no address can fill it for the others, and
all addresses together cannot fill the memory. When it is full the newcomer is refused, since
dropping the oldest would let strangers end what others have begun; whoever knows which entry may go
finds it with `find_least_used`. Time is an argument.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from resolver.limits import address_group

Entry = TypeVar("Entry")


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a table holds of one address (IPv6: one /64) and in all."""

    entries_max: int
    entries_per_address_max: int
    octets_max: int
    octets_per_address_max: int


@dataclass(slots=True)
class _Kept(Generic[Entry]):
    entry: Entry
    group: str
    deadline_s: float
    octets: int


class BoundedTable(Generic[Entry]):
    """Entries by number; those that are used can be given a new deadline with `touch`."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._kept: dict[int, _Kept[Entry]] = {}
        self._held: dict[str, tuple[int, int]] = {}
        self._octets = 0

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, number: int) -> bool:
        return number in self._kept

    def add(
        self, number: int, entry: Entry, address: str, deadline_s: float, octets: int = 0
    ) -> bool:
        """Keep an entry; False when its address, or everybody together, holds too much."""
        assert number not in self._kept, f"number {number} is taken"
        group = address_group(address)
        entries, group_octets = self._held.get(group, (0, 0))
        bounds = self._bounds
        if (
            len(self._kept) >= bounds.entries_max
            or entries >= bounds.entries_per_address_max
            or self._octets + octets > bounds.octets_max
            or group_octets + octets > bounds.octets_per_address_max
        ):
            return False
        self._kept[number] = _Kept(entry, group, deadline_s, octets)
        self._held[group] = (entries + 1, group_octets + octets)
        self._octets += octets
        return True

    def find(self, number: int, now_s: float) -> Entry | None:
        """Return an entry whose deadline has not passed."""
        kept = self._kept.get(number)
        if kept is None:
            return None
        if kept.deadline_s <= now_s:
            self.drop(number)
            return None
        return kept.entry

    def touch(self, number: int, deadline_s: float) -> None:
        """Give an entry a new deadline; it is the most recently used then."""
        kept = self._kept.pop(number)
        kept.deadline_s = deadline_s
        self._kept[number] = kept

    def has_its_share(self, address: str) -> bool:
        """Say whether an address has as many entries as it may."""
        entries, _ = self._held.get(address_group(address), (0, 0))
        return entries >= self._bounds.entries_per_address_max

    def find_least_used(
        self, is_meant: Callable[[Entry], bool], address: str | None = None
    ) -> int | None:
        """Return the number of the least recently used entry that is meant, of an address or all.

        Looks at no more than all entries, and mostly at the first.
        """
        group = None if address is None else address_group(address)
        for number, kept in self._kept.items():
            if group in (None, kept.group) and is_meant(kept.entry):
                return number
        return None

    def make_room(self, may_go: Callable[[Entry], bool], address: str) -> bool:
        """Drop the least recently used entry that may go, for a newcomer; say whether one went.

        The newcomer's address has to give up its own first, and only its own where it has its
        share.
        """
        number = self.find_least_used(may_go, address)
        if number is None and not self.has_its_share(address):
            number = self.find_least_used(may_go)
        if number is None:
            return False
        self.drop(number)
        return True

    def take(self, number: int, now_s: float) -> Entry | None:
        """Return an entry whose deadline has not passed, and forget it."""
        entry = self.find(number, now_s)
        self.drop(number)
        return entry

    def drop(self, number: int) -> None:
        """Forget an entry, if it is there."""
        kept = self._kept.pop(number, None)
        if kept is None:
            return
        entries, octets = self._held[kept.group]
        if entries == 1:
            del self._held[kept.group]
        else:
            self._held[kept.group] = (entries - 1, octets - kept.octets)
        self._octets -= kept.octets

    def entries(self) -> Iterator[Entry]:
        """Iterate over all entries, those too whose deadline has passed."""
        return (kept.entry for kept in self._kept.values())

    def drop_all(self, is_meant: Callable[[Entry], bool]) -> int:
        """Forget all entries that are meant; return how many they were."""
        numbers = [number for number, kept in self._kept.items() if is_meant(kept.entry)]
        for number in numbers:
            self.drop(number)
        return len(numbers)

    def purge(self, now_s: float) -> int:
        """Forget all whose deadline has passed; return how many they were."""
        expired = [number for number, kept in self._kept.items() if kept.deadline_s <= now_s]
        for number in expired:
            self.drop(number)
        return len(expired)
