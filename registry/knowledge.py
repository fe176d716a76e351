"""What is known of a handle wherever it lives: stored here, fetched, or still to fetch."""

from dataclasses import dataclass, field

from protocol.handle import is_prefix_handle
from registry.outcomes import Foreign, Need, Unavailable, foreign_key
from registry.prefixes import is_delegated, is_responsible, lives_here
from registry.schema import Record
from registry.standings import find_silent_record
from registry.views import View


@dataclass(frozen=True, slots=True)
class Knowledge:
    """The store, and what has been fetched so far."""

    view: View
    foreign: Foreign = field(default_factory=dict)

    def is_local(self, handle: bytes) -> bool:
        """Say whether the handle lives on this node."""
        return lives_here(self.view, handle)

    def find(self, handle: bytes) -> Record | Unavailable | Need | None:
        """Return a handle's record, None when it does not exist, or what stands in the way.

        Raises:
            RecordError: the stored row is damaged.
        """
        if is_responsible(self.view, handle):
            record = self.view.find_record(handle)
            if record is None and is_prefix_handle(handle):
                # Who logs in with a key of a suspended prefix is told of that, not of a wrong key.
                record = find_silent_record(self.view, handle)
            if record is not None or not is_delegated(self.view, handle):
                return record
        key = foreign_key(handle)
        if key not in self.foreign:
            return Need(frozenset({key}))
        return self.foreign[key]
