"""What permitted a creation, recalled for the next ones of the same identity under the same prefix.

The short way of registering (`registry.plain_creations`) fetches nothing. Where the prefix's own
record lives on another node, as on every enterprise node, it needs what the long way fetched:

    long way, permitted ─> note: which records of other nodes that took
    short way           ─> find: the same ones, as the memory of `resolver.foreign` has them now
                                 one of them expired or unavailable ─> nothing, the long way fetches

So the short way knows what the long way would know at this moment, or nothing.
"""

from collections import OrderedDict
from collections.abc import Collection
from typing import Protocol

from protocol.handle import fold_case, split_handle
from protocol.value import Reference
from registry.authorization import GROUP_FOREIGN_HANDLES_MAX
from registry.outcomes import NOTHING_FOREIGN, Foreign

NOTED_MAX = 4_096  # identities and prefixes; the longest unused one is forgotten
HANDLES_MAX = 1 + GROUP_FOREIGN_HANDLES_MAX  # the prefix's record and the groups it names


class Memory(Protocol):
    """Records of other nodes that were fetched a while ago."""

    def recall(self, handles: Collection[bytes]) -> Foreign | None:
        """Return what is remembered of these handles; None when one has to be fetched."""
        ...


class Recalled:
    """Use from one event loop."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._noted: OrderedDict[tuple[Reference, bytes], Foreign] = OrderedDict()

    def note(self, identity: Reference, handle: bytes, foreign: Foreign) -> None:
        """Note what was known when an identity was permitted to create a handle."""
        if not 0 < len(foreign) <= HANDLES_MAX:
            return
        place = _place(identity, handle)
        self._noted[place] = dict(foreign)
        self._noted.move_to_end(place)
        if len(self._noted) > NOTED_MAX:
            self._noted.popitem(last=False)

    def find(self, identity: Reference, handle: bytes) -> Foreign:
        """Return what is known of the records that were needed then, or nothing.

        It is one and the same mapping as long as what is known is the same.
        """
        place = _place(identity, handle)
        noted = self._noted.get(place)
        if noted is None:
            return NOTHING_FOREIGN
        self._noted.move_to_end(place)
        known = self._memory.recall(noted.keys())
        if known is None:
            return NOTHING_FOREIGN
        if any(known[key] is not noted[key] for key in noted):
            noted = self._noted[place] = known
        return noted


def _place(identity: Reference, handle: bytes) -> tuple[Reference, bytes]:
    return identity, fold_case(split_handle(handle)[0])
