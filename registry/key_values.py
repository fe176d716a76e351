"""Values that are keys of people: which types they have, and which of them a change takes away."""

from collections.abc import Iterator

from protocol.value import HandleValue
from registry.schema import Record

HS_PUBKEY = b"HS_PUBKEY"
HS_SECKEY = b"HS_SECKEY"
AUTHENTICATION_TYPES = frozenset({HS_PUBKEY, HS_SECKEY})


def may_have_keys(row: bytes) -> bool:
    """Say whether it is worth taking a record apart to look for keys."""
    return HS_PUBKEY in row or HS_SECKEY in row


def lost_indexes(before: Record, after: Record | None) -> Iterator[int]:
    """Iterate over the indexes at which a key was that is not there any more.

    A key that stays under its index with other permissions or times is the same key.
    """
    kept = set() if after is None else {_essence(value) for value in after.values}
    for value in before.values:
        if value.type in AUTHENTICATION_TYPES and _essence(value) not in kept:
            yield value.index


def _essence(value: HandleValue) -> tuple[int, bytes, bytes]:
    return value.index, value.type, value.data
