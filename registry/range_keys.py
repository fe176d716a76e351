"""Keys that identifiers have from a range, and lose when it changes.

A range stands for a million identifiers and is changed in one step, so nobody goes through them:
whoever is logged in is asked for instead, which are few.
"""

from collections.abc import Collection, Iterable

from protocol.value import Reference
from registry.errors import RecordError
from registry.key_values import lost_indexes
from registry.range_lookup import hold, make_row
from registry.range_records import Nearest
from registry.schema import decode_record, folded_key
from registry.views import View


def lost_identities(
    view: View, changed: Collection[Nearest], identities: Iterable[Reference]
) -> frozenset[Reference]:
    """Return those identities whose key came from a range that was changed and is not there now.

    Args:
        view: the store as it is now.
        changed: key and record of the ranges as they were before.
        identities: handle and index of keys.
    """
    return frozenset(
        identity
        for identity in identities
        if any(_is_lost(view, identity, nearest) for nearest in changed)
    )


def _is_lost(view: View, identity: Reference, nearest: Nearest) -> bool:
    key = folded_key(view.fold(identity.handle))
    try:
        held = hold(nearest, key)
        if held is None or view.stored_row(key) is not None:
            return False  # of a row of its own every change is noted as such
        row, row_now = make_row(held), view.find_row(key)
        if row is None:
            return False
        after = None if row_now is None else decode_record(row_now)
        return identity.index in lost_indexes(decode_record(row), after)
    except RecordError:
        return False  # nobody is proven with a key that cannot be read
