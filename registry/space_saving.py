"""Who asked most, in bounded memory: space-saving (Metwally, Agrawal, El Abbadi 2005).

    source -> at most so many, of which so many may be another's       at most `capacity` of them
    floor     whoever is not listed was counted at most so often

What is counted comes in exact pieces, or as another such summary, and is merged: counts are added,
somebody known on one side only gets the other side's floor on top, the largest are kept, and the
largest that is not is the new floor. So for every source

    at most - error  <=  true  <=  at most          floor <= total / (capacity + 1)

and whoever made up more than that part of all is listed; one that was cut shorter has a higher
floor. What is shown of a source is the least that it surely was, and by how much it may have been
more; with the rest these add up to the total.
"""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from itertools import islice
from typing import NamedTuple

import msgpack

from registry.errors import StoreError

CAPACITY = 1_000
FORMAT = 1
IPV4_OCTETS = 4
IPV6_OCTETS = 16

_Entries = dict[bytes, tuple[int, int]]


class Counted(NamedTuple):
    """One source: its count lies between the two."""

    source: bytes
    at_least: int
    at_most: int


class SpaceSaving:
    """The largest of all that was counted.

    Args:
        capacity: how many are kept.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        self.total = 0
        self.floor = 0
        self._entries: _Entries = {}

    def add(self, exact: Mapping[bytes, int]) -> None:
        """Add what was counted exactly, by source."""
        entries, unlisted = self._entries, (self.floor, self.floor)
        for source, queries in exact.items():
            count, error = entries.get(source, unlisted)
            entries[source] = (count + queries, error)
        self.total += sum(exact.values())
        self._keep(self.capacity)

    def merge(self, other: "SpaceSaving") -> None:
        """Add all that another one has counted."""
        self._merge(other._entries, other.floor, other.total)

    def add_unknown(self, queries: int) -> None:
        """Add what nobody knows the source of: it may have been any one's."""
        self._merge({}, queries, queries)

    def cut(self, entries_max: int) -> None:
        """Keep only so many of the largest."""
        self._keep(entries_max)

    def __len__(self) -> int:
        return len(self._entries)

    def largest(self) -> list[Counted]:
        """Return who is listed, the surest first."""
        counted = [
            Counted(source, count - error, count) for source, (count, error) in self._items()
        ]
        return sorted(counted, key=lambda each: (-each.at_least, -each.at_most, each.source))

    @property
    def rest(self) -> int:
        """What is left of the total beside what the listed surely were."""
        return self.total - sum(count - error for _, (count, error) in self._items())

    def encode(self) -> bytes:
        """Return it as octets."""
        entries = [[source, count, error] for source, (count, error) in self._items()]
        octets: bytes = msgpack.packb([FORMAT, self.total, self.floor, entries])
        return octets

    @classmethod
    def decode(cls, octets: bytes, capacity: int = CAPACITY) -> "SpaceSaving":
        """Take apart what `encode` made. Raises: StoreError: damaged."""
        summary = cls(capacity)
        try:
            format_, total, floor, entries = msgpack.unpackb(octets)
            if format_ != FORMAT:
                raise ValueError(f"format {format_}")
            summary._merge({bytes(s): (int(c), int(e)) for s, c, e in entries}, floor, total)
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            raise StoreError(f"the counts of sources are damaged: {error}") from error
        return summary

    def _items(self) -> list[tuple[bytes, tuple[int, int]]]:
        return list(self._entries.items())

    def _merge(self, others: _Entries, floor: int, total: int) -> None:
        """Add what another one has; who is not listed there was counted there up to its floor."""
        entries, unlisted = self._entries, (self.floor, self.floor)
        if floor:
            for source, (count, error) in entries.items():
                if source not in others:
                    entries[source] = (count + floor, error + floor)
        for source, (more, doubt) in others.items():
            count, error = entries.get(source, unlisted)
            entries[source] = (count + more, error + doubt)
        self.total += total
        self.floor += floor
        self._keep(self.capacity)

    def _keep(self, entries_max: int) -> None:
        """List the largest only; the largest of the others is the floor."""
        entries = self._entries
        if len(entries) <= entries_max:
            return
        counts = sorted((count for count, _ in entries.values()), reverse=True)
        highest = counts[entries_max]
        self.floor = max(self.floor, highest)
        kept = {source: entry for source, entry in entries.items() if entry[0] > highest}
        alike = ((source, entry) for source, entry in entries.items() if entry[0] == highest)
        kept.update(islice(alike, entries_max - len(kept)))
        self._entries = kept


def packed_source(address: str) -> bytes:
    """Return an address as octets, an IPv4 one as such even when it came over IPv6.

    What is no address, such as that of a socket of this machine, is empty.
    """
    try:
        if ":" not in address:
            return IPv4Address(address).packed
        found = IPv6Address(address.partition("%")[0])
    except ValueError:
        return b""
    return found.packed if found.ipv4_mapped is None else found.ipv4_mapped.packed


def source_to_text(source: bytes) -> str:
    """Return an address as text; empty when it is not known."""
    if len(source) == IPV4_OCTETS:
        return str(IPv4Address(source))
    return str(IPv6Address(source)) if len(source) == IPV6_OCTETS else ""
