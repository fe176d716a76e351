"""Who asked for what, in bounded memory: one `SpaceSaving` for each name that queries count under.

Names that are asked by few sources keep all of them. When all together have more than
`entries_max`, the longest summaries are cut, all to one length, so that half of the room is free
again: strangers who send from many addresses shorten the lists of what they ask for, not those of
others. A summary that was cut says so by its floor.
"""

from collections.abc import Iterator, Mapping

from registry.space_saving import CAPACITY, SpaceSaving

ENTRIES_MAX = 50_000  # some 10 MB


class NameSources:
    """Who asked for each name.

    Args:
        entries_max: how many sources are kept, of all names together.
    """

    def __init__(self, entries_max: int = ENTRIES_MAX) -> None:
        self.entries_max = entries_max
        self.entries = 0
        self._summaries: dict[bytes, SpaceSaving] = {}

    def __len__(self) -> int:
        return len(self._summaries)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._summaries)

    def find(self, name: bytes) -> SpaceSaving | None:
        """Return who asked for a name; None: nobody did."""
        return self._summaries.get(name)

    def add(self, name: bytes, exact: Mapping[bytes, int]) -> None:
        """Add what was counted exactly, by source."""
        summary = self._summary(name)
        self.entries -= len(summary)
        summary.add(exact)
        self._make_room(summary)

    def merge(self, name: bytes, more: SpaceSaving) -> None:
        """Add what another summary has counted."""
        summary = self._summary(name)
        self.entries -= len(summary)
        summary.merge(more)
        self._make_room(summary)

    def _summary(self, name: bytes) -> SpaceSaving:
        summary = self._summaries.get(name)
        if summary is None:
            summary = self._summaries[name] = SpaceSaving()
        return summary

    def _make_room(self, changed: SpaceSaving) -> None:
        self.entries += len(changed)
        if self.entries > self.entries_max:
            self._cut()

    def _cut(self) -> None:
        length, room = CAPACITY, self.entries_max // 2
        sizes = [len(summary) for summary in self._summaries.values()]
        while sum(min(size, length) for size in sizes) > room:
            length //= 2
        for summary in self._summaries.values():
            summary.cut(length)
        self.entries = sum(len(summary) for summary in self._summaries.values())
