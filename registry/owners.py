"""How often a prefix has changed hands: what one owner has left on this node is not the next one's.

The next owner has the identity of the one before, by name. What is kept here by identity, streams
of registrations, is therefore kept by this number as well. It is this node's own: not journaled.
"""

import struct

from protocol.handle import PREFIX_HANDLE_START, fold_handle, prefix_handle
from registry.offices import OFFICES, OWNERS, prefix_key
from registry.schema import KEY_OCTETS_MAX
from registry.views import View

_U64 = struct.Struct(">Q")


def own_prefix(handle: bytes) -> bytes:
    """Return the handle of the prefix that a handle is under, or is the handle of."""
    folded = fold_handle(handle)
    return folded if folded.startswith(PREFIX_HANDLE_START) else prefix_handle(folded)


def owners_before(view: View, handle: bytes) -> int:
    """Return how many owners a handle had before, as its prefix (or it, as one) changed hands."""
    key = prefix_key(OWNERS, own_prefix(handle))
    octets = view.table(OFFICES).get(key) if len(key) <= KEY_OCTETS_MAX else None
    return 0 if octets is None else int(_U64.unpack(octets)[0])


def next_owner_entry(view: View, prefix: bytes) -> tuple[bytes, bytes]:
    """Return the entry of the office that says that a prefix handle changes hands."""
    return prefix_key(OWNERS, prefix), _U64.pack(owners_before(view, prefix) + 1)
