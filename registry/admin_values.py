"""Deciding about single values of a handle: add, remove and modify."""

from protocol.bodies import RemoveValuesRequest, ValuesRequest
from protocol.codes import AdminPermission, Permission, ResponseCode
from protocol.handle import to_text
from protocol.value import HandleValue
from registry import edits
from registry.admin_step import Step, changes_of, find_target, granted, not_registered
from registry.checks import check_record, check_values
from registry.journal import Kind
from registry.operations import Change, Outcome, Referral
from registry.outcomes import NeedAuthentication, Refusal, refuse
from registry.schema import VALUES_MAX, Record


def decide_add(step: Step) -> Outcome:
    """Decide about ADD_VALUE."""
    body = step.operation.body
    assert isinstance(body, ValuesRequest)
    found = find_target(step, body.handle)
    if isinstance(found, Refusal | Referral):
        return found
    if not body.values:
        return refuse(ResponseCode.INVALID_VALUE, "no value to add was given")
    refusal = check_values(body.values)
    if refusal is not None:
        return refusal
    if step.identity is None:
        return NeedAuthentication()
    if found is None:
        return not_registered(body.handle)
    return _decide_add_to(step, body, found)


def _decide_add_to(step: Step, body: ValuesRequest, found: Record) -> Outcome:
    """Decide about adding values to a handle that is stored."""
    present = {value.index: value for value in found.values}
    taken = [value for value in body.values if value.index in present]
    if taken and not step.operation.overwrite:
        return refuse(
            ResponseCode.VALUE_ALREADY_EXISTS,
            f"value at index {taken[0].index}: {to_text(body.handle)} has one already",
        )
    added = edits.stamp(body.values, found.values, step.now_s)
    values = edits.with_added(found.values, added)
    changed = [value for value in added if present.get(value.index) not in (None, value)]
    refusal = check_record(values) or _check_writable([present[value.index] for value in changed])
    if refusal is not None:
        return refusal
    needed = edits.bits_to_add(value for value in added if value.index not in present)
    for value in changed:
        needed |= edits.bits_to_modify(present[value.index], value)
    change = Change(changes_of(Kind.ADD, body.handle, found, values), overwrote=bool(taken))
    # What anybody may write, and what is there already, takes no permission.
    return granted(step.permission(body.handle, needed), change) if needed else change


def decide_remove(step: Step) -> Outcome:
    """Decide about REMOVE_VALUE: all of the indexes or none."""
    body = step.operation.body
    assert isinstance(body, RemoveValuesRequest)
    found = find_target(step, body.handle)
    if isinstance(found, Refusal | Referral):
        return found
    if len(body.indexes) > VALUES_MAX:
        return refuse(
            ResponseCode.INVALID_VALUE,
            f"{len(body.indexes)} indexes given, a handle has at most {VALUES_MAX} values",
        )
    if step.identity is None:
        return NeedAuthentication()
    if found is None:
        return not_registered(body.handle)
    doomed = set(body.indexes)
    missing = doomed - {value.index for value in found.values}
    if missing:
        return refuse(
            ResponseCode.VALUES_NOT_FOUND,
            f"value at index {min(missing)}: {to_text(body.handle)} has none; nothing was removed",
        )
    values = edits.without(found.values, doomed)
    needed = edits.bits_to_remove(value for value in found.values if value.index in doomed)
    needed = needed or AdminPermission.REMOVE_VALUE  # to remove nothing is not for everybody
    change = Change(changes_of(Kind.REMOVE, body.handle, found, values))
    return granted(step.permission(body.handle, needed), change)


def decide_modify(step: Step) -> Outcome:
    """Decide about MODIFY_VALUE. Of an index given twice the last value counts."""
    body = step.operation.body
    assert isinstance(body, ValuesRequest)
    found = find_target(step, body.handle)
    if isinstance(found, Refusal | Referral):
        return found
    if found is None:
        return not_registered(body.handle)
    present = {value.index: value for value in found.values}
    missing = [value.index for value in body.values if value.index not in present]
    if missing:
        return refuse(
            ResponseCode.VALUES_NOT_FOUND,
            f"value at index {missing[0]}: {to_text(body.handle)} has none to modify",
        )
    before = [present[value.index] for value in body.values]
    refusal = _check_writable(before) or check_values(body.values, may_repeat_indexes=True)
    if refusal is not None:
        return refusal
    return _decide_modify_of(step, body, found, before)


def _decide_modify_of(
    step: Step, body: ValuesRequest, found: Record, before: list[HandleValue]
) -> Outcome:
    """Decide about modifying values that are stored and writable."""
    needed = 0
    for old, new in zip(before, body.values, strict=True):
        needed |= edits.bits_to_modify(old, new)
    if needed and step.identity is None:
        return NeedAuthentication()
    values = edits.with_modified(found.values, edits.touch(body.values, step.now_s))
    refusal = check_record(values)
    if refusal is not None:
        return refusal
    change = Change(changes_of(Kind.MODIFY, body.handle, found, values))
    return granted(step.permission(body.handle, needed), change) if needed else change


def _check_writable(values: list[HandleValue]) -> Refusal | None:
    """Refuse (401) to change a value that administrators may not write: then nobody may."""
    for value in values:
        if not value.permission & Permission.ADMIN_WRITE:
            return refuse(
                ResponseCode.INSUFFICIENT_PERMISSIONS,
                f"value at index {value.index}: it is read-only",
            )
    return None
