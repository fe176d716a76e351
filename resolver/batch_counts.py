"""Counting the look-ups of batches for statistics: `_counts.pxi` without a compiler."""

from collections import Counter
from collections.abc import Iterable

NAMES_MAX = 1_024
PAIRS_MAX = 4_096
_BATCH = 64

# Of each name how many were answered, and how many each source asked for.
Taken = dict[bytes, tuple[int, dict[bytes, int]]]


class BatchCounts:
    """Look-ups by name and by source, since they were last taken."""

    def __init__(self) -> None:
        self._pairs: Counter[tuple[bytes, bytes]] = Counter()
        self._answered: Counter[bytes] = Counter()
        self._names: set[bytes] = set()

    @property
    def is_full(self) -> bool:
        """Say whether one batch more might not fit."""
        return len(self._names) > NAMES_MAX - _BATCH or len(self._pairs) > PAIRS_MAX - _BATCH

    def add(self, pairs: Iterable[tuple[bytes, bytes]], answered: Iterable[bytes]) -> None:
        """Count look-ups: (name, source) of each, the names of those that got values.

        A source has 4 octets, or 16 of an address that is not an IPv4 one, or none: not known.
        """
        pairs = list(pairs)
        self._names.update(name for name, _ in pairs)
        self._pairs.update(pairs)
        self._answered.update(answered)

    def take(self) -> Taken:
        """Return what was counted, and begin anew."""
        taken: Taken = {name: (self._answered[name], {}) for name in self._names}
        for (name, source), queries in self._pairs.items():
            taken[name][1][source] = queries
        self._pairs.clear()
        self._answered.clear()
        self._names.clear()
        return taken
