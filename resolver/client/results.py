"""What the client returns."""

from dataclasses import dataclass

from protocol.value import HandleValue, matches_type
from resolver.asking import Hop


@dataclass(frozen=True, slots=True)
class Resolution:
    """The values of a handle, and how they were come by.

    Attributes:
        handle: as the node repeats it.
        values: in the node's order.
        is_authoritative: a primary site answered, not a cache or mirror.
        is_certified: the answer was signed with the key the site's record names.
        elapsed_ms: for everything, look-ups of prefixes included.
        hops: every attempt on the way, also those that failed.
    """

    handle: bytes
    values: tuple[HandleValue, ...]
    is_authoritative: bool
    is_certified: bool
    elapsed_ms: float
    hops: tuple[Hop, ...]

    def find_value(self, index: int) -> HandleValue | None:
        """Return the value at an index, or None."""
        return next((value for value in self.values if value.index == index), None)

    def of_type(self, type_: str | bytes) -> tuple[HandleValue, ...]:
        """Return the values of a type; case does not matter, `URL.` selects `URL.x` too."""
        asked = type_.encode() if isinstance(type_, str) else type_
        return tuple(value for value in self.values if matches_type(asked, value.type))
