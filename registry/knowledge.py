"""What is known of a handle wherever it lives: stored here, fetched, or still to fetch."""

from dataclasses import dataclass, field

from protocol.handle import is_prefix_handle
from registry.outcomes import Foreign, Need, Unavailable, foreign_key
from registry.prefixes import find_delegation, is_responsible
from registry.schema import Record
from registry.standings import find_silent_record
from registry.views import View


@dataclass(frozen=True, slots=True)
class Knowledge:
    """The store, and what has been fetched so far."""

    view: View
    foreign: Foreign = field(default_factory=dict)

    def is_local(self, handle: bytes) -> bool:
        """Say whether the handle lives on this node; one that is delegated lives elsewhere.

        Raises:
            RecordError: a stored row is damaged.
        """
        return is_responsible(self.view, handle) and not find_delegation(self.view, handle)

    def find(self, handle: bytes) -> Record | Unavailable | Need | None:
        """Return a handle's record, None when it does not exist, or what stands in the way.

        Raises:
            RecordError: the stored row is damaged.
        """
        if self.is_local(handle):
            record = self.view.find_record(handle)
            if record is None and is_prefix_handle(handle):
                # Who logs in with a key of a suspended prefix is told of that, not of a wrong key.
                return find_silent_record(self.view, handle)
            return record
        key = foreign_key(handle)
        if key not in self.foreign:
            return Need(frozenset({key}))
        return self.foreign[key]
