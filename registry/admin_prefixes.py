"""Deciding about prefixes: list their handles, home and unhome them, list the homed ones."""

from protocol.bodies import HandleRequest
from protocol.codes import AdminPermission, OpCode, ResponseCode
from protocol.handle import ROOT_HANDLE, fold_handle, is_prefix_handle, to_text
from registry.admin_step import Step, granted
from registry.authorization import Permitted
from registry.journal import Kind
from registry.operations import Change, ChangeOperation, Listing, Outcome
from registry.outcomes import NeedAuthentication, Refusal, refuse
from registry.prefixes import PREFIX_OCTETS_MAX, find_silence
from registry.schema import is_derived_list
from registry.standings import find_standing, silence_words
from registry.views import View


def _prefix_fault(handle: bytes) -> Refusal | None:
    if is_prefix_handle(handle) and len(handle) <= PREFIX_OCTETS_MAX:
        return None
    return refuse(
        ResponseCode.INVALID_HANDLE,
        f"a prefix is written as 0.NA/88.118, with at most {PREFIX_OCTETS_MAX} octets, "
        f"not {to_text(handle)[:PREFIX_OCTETS_MAX]}",
    )


def _is_listed(view: View, handle: bytes) -> bool:
    """Say whether there is a list: of a homed prefix, of those derived from one below our root."""
    if view.is_homed(handle):
        return is_prefix_handle(handle)
    return is_derived_list(handle) and view.is_homed(ROOT_HANDLE)


def decide_list(step: Step) -> Outcome:
    """Decide about LIST_HANDLES: of `0.NA/x`, or of `0.NA/0.NA/x` for the prefixes below x."""
    body = step.operation.body
    assert isinstance(body, HandleRequest)
    if not step.policy.allow_list_handles:
        return refuse(ResponseCode.OPERATION_NOT_SUPPORTED, "this node does not list handles")
    if not _is_listed(step.view, body.handle):
        silence = find_silence(step.view, body.handle)
        if silence is not None:
            return refuse(ResponseCode.INSUFFICIENT_PERMISSIONS, silence)
        return refuse(
            ResponseCode.SERVER_NOT_RESPONSIBLE,
            f"{to_text(body.handle)} is not homed on this node",
        )
    if step.identity is None:
        return NeedAuthentication()
    if not step.policy.allow_na_admins:
        return granted(step.role(), Listing(body.handle))
    permission = step.permission(body.handle, AdminPermission.LIST_HANDLES)
    return granted(permission, Listing(body.handle))


def decide_homing(step: Step) -> Outcome:
    """Decide about HOME_NA and UNHOME_NA."""
    body = step.operation.body
    assert isinstance(body, HandleRequest)
    fault = _prefix_fault(body.handle)
    if fault is not None:
        return fault
    if step.identity is None:
        return NeedAuthentication()
    role = step.role()
    standing = find_standing(step.view, body.handle)
    if isinstance(role, Permitted) and standing is not None and standing.silent:
        words = f"{silence_words(body.handle, standing)}; resume it first"
        return refuse(ResponseCode.INSUFFICIENT_PERMISSIONS, words)
    kind = Kind.HOME if step.operation.opcode == OpCode.HOME_NA else Kind.UNHOME
    # Asking for what is so already succeeds and writes nothing.
    idle = step.view.is_homed(body.handle) == (kind == Kind.HOME)
    return granted(role, Change(() if idle else (ChangeOperation(kind, fold_handle(body.handle)),)))


def decide_list_homed(step: Step) -> Outcome:
    """Decide about LIST_HOMED_NAS."""
    body = step.operation.body
    assert isinstance(body, HandleRequest)
    if step.identity is None:
        return NeedAuthentication()
    return granted(step.role(), Listing(body.handle, homed=True))
