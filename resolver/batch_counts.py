"""Counting the look-ups of batches for statistics: `_counts.pxi` without a compiler."""

from collections import Counter
from typing import NamedTuple

from registry.counters import counted_name

NAMES_MAX = 1_024
SOURCES_MAX = 4_096
_BATCH = 64


class Taken(NamedTuple):
    """What was counted: (name, received, answered) of each name, queries of each source."""

    names: list[tuple[bytes, int, int]]
    sources: dict[bytes, int]


class BatchCounts:
    """Look-ups by name and by source, since they were last taken."""

    def __init__(self) -> None:
        self._received: Counter[bytes] = Counter()
        self._answered: Counter[bytes] = Counter()
        self._sources: Counter[bytes] = Counter()

    @property
    def is_full(self) -> bool:
        """Say whether one batch more might not fit."""
        names, sources = len(self._received), len(self._sources)
        return names > NAMES_MAX - _BATCH or sources > SOURCES_MAX - _BATCH

    def add(self, key: bytes, received: int, answered: int) -> None:
        """Count look-ups of a storage key, or of others that are counted under the same name."""
        name = counted_name(key)
        self._received[name] += received
        self._answered[name] += answered

    def add_source(self, source: bytes, queries: int) -> None:
        """Count who asked: 4 octets, or 16 of an address that is not an IPv4 one."""
        self._sources[source] += queries

    def take(self) -> Taken:
        """Return what was counted, and begin anew."""
        names = [(name, count, self._answered[name]) for name, count in self._received.items()]
        taken = Taken(names, dict(self._sources))
        self._received.clear()
        self._answered.clear()
        self._sources.clear()
        return taken
