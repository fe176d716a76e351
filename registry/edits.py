"""What a change makes of a handle's values, and which permissions it takes. Pure.

Values keep their timestamp when they are overwritten with the same; others get the server's clock,
modified ones always.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from protocol.codes import AdminPermission, Permission
from protocol.value import HandleValue
from registry.authorization import HS_ADMIN

Values = tuple[HandleValue, ...]


def stamp(new: Iterable[HandleValue], old: Iterable[HandleValue], now_s: int) -> Values:
    """Return `new` in its order, with the server's timestamps."""
    before = {value.index: value for value in old}
    return tuple(_stamp_value(value, before.get(value.index), now_s) for value in new)


def _stamp_value(value: HandleValue, before: HandleValue | None, now_s: int) -> HandleValue:
    if before is not None and replace(value, timestamp=before.timestamp) == before:
        return before
    return replace(value, timestamp=now_s)


def touch(modified: Iterable[HandleValue], now_s: int) -> Values:
    """Return modified values in their order with the server's time, equal to the old or not."""
    return tuple(replace(value, timestamp=now_s) for value in modified)


def with_added(old: Sequence[HandleValue], added: Values) -> Values:
    """Return old and added values sorted by index; an added one replaces its namesake."""
    merged = {value.index: value for value in (*old, *added)}
    return tuple(merged[index] for index in sorted(merged))


def with_modified(old: Sequence[HandleValue], modified: Values) -> Values:
    """Return the values in their old order, some replaced; of one index the last counts."""
    changed = {value.index: value for value in modified}
    return tuple(changed.get(value.index, value) for value in old)


def without(old: Sequence[HandleValue], indexes: Collection[int]) -> Values:
    """Return the values that are not at these indexes."""
    return tuple(value for value in old if value.index not in indexes)


def bits_to_add(values: Iterable[HandleValue]) -> int:
    """Return the AdminPermission bits it takes to add values."""
    bits = 0
    for value in values:
        is_admin = value.type == HS_ADMIN
        bits |= AdminPermission.ADD_ADMIN if is_admin else AdminPermission.ADD_VALUE
    return bits


def bits_to_remove(values: Iterable[HandleValue]) -> int:
    """Return the AdminPermission bits it takes to remove values."""
    bits = 0
    for value in values:
        is_admin = value.type == HS_ADMIN
        bits |= AdminPermission.REMOVE_ADMIN if is_admin else AdminPermission.REMOVE_VALUE
    return bits


def bits_to_modify(old: HandleValue, new: HandleValue) -> int:
    """Return the AdminPermission bits it takes to put one value in another's place.

    None for what anybody may write, unless an administrator comes or goes.
    """
    if old.type == HS_ADMIN:
        if new.type == HS_ADMIN:
            return AdminPermission.MODIFY_ADMIN
        return AdminPermission.MODIFY_VALUE | AdminPermission.REMOVE_ADMIN
    if new.type == HS_ADMIN:
        return AdminPermission.MODIFY_VALUE | AdminPermission.ADD_ADMIN
    return 0 if old.permission & Permission.PUBLIC_WRITE else AdminPermission.MODIFY_VALUE


def bits_for_differences(old: Sequence[HandleValue], new: Sequence[HandleValue]) -> int:
    """Return the AdminPermission bits it takes to turn one value list into another."""
    before = {value.index: value for value in old}
    after = {value.index: value for value in new}
    bits = bits_to_add(value for value in new if value.index not in before)
    bits |= bits_to_remove(value for value in old if value.index not in after)
    for index in before.keys() & after.keys():
        if before[index] != after[index]:
            bits |= bits_to_modify(before[index], after[index])
    return bits
