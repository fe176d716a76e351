"""Deciding about prefixes: list their handles, home and unhome them, list the homed ones."""

from protocol.bodies import HandleRequest
from protocol.codes import AdminPermission, OpCode, ResponseCode
from protocol.handle import fold_handle, is_prefix_handle, to_text
from registry.admin_step import Step, granted
from registry.journal import Kind
from registry.operations import Change, ChangeOperation, Listing, Outcome
from registry.outcomes import NeedAuthentication, Refusal, refuse
from registry.prefixes import PREFIX_OCTETS_MAX


def _prefix_fault(handle: bytes) -> Refusal | None:
    if is_prefix_handle(handle) and len(handle) <= PREFIX_OCTETS_MAX:
        return None
    return refuse(
        ResponseCode.INVALID_HANDLE,
        f"a prefix is written as 0.NA/88.118, with at most {PREFIX_OCTETS_MAX} octets, "
        f"not {to_text(handle)[:PREFIX_OCTETS_MAX]}",
    )


def decide_list(step: Step) -> Outcome:
    """Decide about LIST_HANDLES."""
    body = step.operation.body
    assert isinstance(body, HandleRequest)
    fault = _prefix_fault(body.handle)
    if fault is not None:
        return fault
    if not step.view.is_homed(body.handle):
        return refuse(
            ResponseCode.SERVER_NOT_RESPONSIBLE,
            f"{to_text(body.handle)} is not homed on this node",
        )
    if step.identity is None:
        return NeedAuthentication()
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
    kind = Kind.HOME if step.operation.opcode == OpCode.HOME_NA else Kind.UNHOME
    # Asking for what is so already succeeds and writes nothing.
    idle = step.view.is_homed(body.handle) == (kind == Kind.HOME)
    return granted(
        step.role(), Change(() if idle else (ChangeOperation(kind, fold_handle(body.handle)),))
    )


def decide_list_homed(step: Step) -> Outcome:
    """Decide about LIST_HOMED_NAS."""
    body = step.operation.body
    assert isinstance(body, HandleRequest)
    if step.identity is None:
        return NeedAuthentication()
    return granted(step.role(), Listing(body.handle, homed=True))
