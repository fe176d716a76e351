"""What is known of a handle wherever it lives: stored here, fetched, or still to fetch."""

from dataclasses import dataclass, field

from registry.outcomes import Foreign, Need, Unavailable, foreign_key
from registry.prefixes import is_responsible
from registry.schema import Record
from registry.views import View


@dataclass(frozen=True, slots=True)
class Knowledge:
    """The store, and what has been fetched so far."""

    view: View
    foreign: Foreign = field(default_factory=dict)

    def is_local(self, handle: bytes) -> bool:
        """Say whether the handle lives on this node."""
        return is_responsible(self.view, handle)

    def find(self, handle: bytes) -> Record | Unavailable | Need | None:
        """Return a handle's record, None when it does not exist, or what stands in the way.

        Raises:
            RecordError: the stored row is damaged.
        """
        if self.is_local(handle):
            return self.view.find_record(handle)
        key = foreign_key(handle)
        if key not in self.foreign:
            return Need(frozenset({key}))
        return self.foreign[key]
