"""Deciding about whole handles: create and delete."""

from dataclasses import replace

from protocol.bodies import CreatedAnswer, HandleRequest, ValuesRequest
from protocol.codes import AdminPermission, ResponseCode
from protocol.errors import InvalidHandleError
from protocol.handle import (
    ROOT_HANDLE,
    check_handle,
    is_prefix_handle,
    parent_prefix_handle,
    prefix_handle,
    to_text,
)
from registry import edits, quotas
from registry.admin_step import Step, changes_of, find_target, granted, not_registered
from registry.authorization import Authorization
from registry.checks import check_record, check_values
from registry.journal import Kind
from registry.knowledge import Knowledge
from registry.operations import Change, ChangeOperation, Outcome, Referral
from registry.outcomes import NeedAuthentication, Refusal, foreign_key, refuse
from registry.prefixes import find_release
from registry.ranges import find_revocation


def decide_create(step: Step) -> Outcome:
    """Decide about CREATE_HANDLE, also over a handle that exists (flag OVERWRITE)."""
    body = step.operation.body
    assert isinstance(body, ValuesRequest)
    handle = body.handle + (step.operation.minted if step.operation.mint else b"")
    found = find_target(step, handle)
    if isinstance(found, Refusal | Referral):
        return found
    try:
        check_handle(handle)
    except InvalidHandleError as error:
        return refuse(ResponseCode.INVALID_HANDLE, str(error))
    refusal = check_values(body.values) or check_record(body.values)
    if refusal is not None:
        return refusal
    if step.identity is None:
        return NeedAuthentication()
    answer = CreatedAnswer(handle)
    if found is None:
        revocation = find_revocation(step.view, handle)
        if revocation:
            return refuse(ResponseCode.HANDLE_ALREADY_EXISTS, revocation)
        values = edits.stamp(body.values, (), step.now_s)
        change = Change((ChangeOperation(Kind.CREATE, handle, values),), answer)
        outcome = granted(may_create(step, handle), change)
        if outcome is not change:
            return outcome
        return quotas.refuse_beyond(step.view, handle, 1, step.now_s) or change
    if not step.operation.overwrite:
        return refuse(
            ResponseCode.HANDLE_ALREADY_EXISTS, f"{to_text(handle)} is registered already"
        )
    values = edits.stamp(body.values, found.values, step.now_s)
    change = Change(changes_of(Kind.CREATE, handle, found, values), answer, overwrote=True)
    differences = edits.bits_for_differences(found.values, values)
    in_place = [value.index for value in values] == [value.index for value in found.values]
    if not differences and in_place:
        return change  # nothing but what anybody may write
    needed = differences, AdminPermission.ADD_ADMIN, AdminPermission.DELETE_HANDLE
    return granted(step.permission(handle, needed), change)


def may_create(step: Step, handle: bytes) -> Authorization:
    """Say whether the identity may register a new handle: its prefix's administrators decide.

    Nobody may under a prefix that is to be deleted.
    """
    released = find_release(step.view, handle)
    if released is not None:
        return refuse(ResponseCode.INSUFFICIENT_PERMISSIONS, released)
    if not step.policy.allow_na_admins:
        return step.role()
    parent = parent_prefix_handle(handle) if is_prefix_handle(handle) else None
    if parent is not None and parent != ROOT_HANDLE:
        return step.permission(parent, AdminPermission.ADD_DERIVED_PREFIX)
    return step.permission(prefix_handle(handle), AdminPermission.ADD_HANDLE)


def decide_delete(step: Step) -> Outcome:
    """Decide about DELETE_HANDLE, also of what was left behind when its prefix was unhomed."""
    body = step.operation.body
    assert isinstance(body, HandleRequest)
    found = find_target(step, body.handle, left_behind=True)
    if isinstance(found, Refusal | Referral):
        return found
    if step.identity is None:
        return NeedAuthentication()
    if found is None:
        return not_registered(body.handle)
    change = Change((ChangeOperation(Kind.DELETE, body.handle),))
    if not step.knowledge.is_local(body.handle):  # its own administrators count, not its namesake's
        known = {**step.knowledge.foreign, foreign_key(body.handle): found}
        step = replace(step, knowledge=Knowledge(step.view, known))
    return granted(step.permission(body.handle, AdminPermission.DELETE_HANDLE), change)
