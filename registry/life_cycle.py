"""The life of an identifier: active, frozen, revoked; who made it so, when and why.

               freeze                    revoke, for good
    active  ──────────>  frozen  ──────────────────────────>  revoked
       ^                    │                                    ^
       └───────thaw─────────┘    active ─────────revoke──────────┘

Who may:

    revoke        whoever may delete the handle (AdminPermission.DELETE_HANDLE)
    freeze, thaw  whoever may delete it and modify its values, since a freeze takes both from all
    thaw          what a holder of a role of this node froze, only such a one: a regulator's freeze
                  is not lifted by the owner
    show          everybody: the state is what resolution tells anyway

To revoke needs a reason. A prefix is not revoked, since all its identifiers would be without an
administrator for ever: it is suspended and released.

    life.freeze, life.thaw, life.revoke  {"handle", "reason"}
    life.show                            {"handle"}
        -> {"handle", "state", "since", "by", "reason"}; only what is marked has the last three
"""

from typing import Any

from protocol.codes import AdminPermission, OpCode, ResponseCode
from protocol.errors import InvalidHandleError
from protocol.handle import check_handle, is_prefix_handle, to_text
from protocol.json_forms import time_to_json
from protocol.value import Reference
from registry.act_steps import NOBODY, ActDecider, ActOutcome, ActStep, Done
from registry.admin_step import refuse_change
from registry.authorization import Authorization, Permitted, authorize, authorize_on_record
from registry.mark_changes import pack_mark
from registry.marks import Mark, State, find_reason_fault
from registry.outcomes import Need, Refusal, identity_text, refuse
from registry.prefixes import is_responsible
from registry.ranges import find_revocation

ACTIVE = "active"
_MAY_FREEZE = AdminPermission.MODIFY_VALUE | AdminPermission.DELETE_HANDLE


def decide_freeze(step: ActStep) -> ActOutcome:
    """Decide about `life.freeze`."""
    return _decide_marking(step, State.FROZEN, _MAY_FREEZE)


def decide_revoke(step: ActStep) -> ActOutcome:
    """Decide about `life.revoke`."""
    return _decide_marking(step, State.REVOKED, AdminPermission.DELETE_HANDLE)


def _decide_marking(step: ActStep, state: State, needed: int) -> ActOutcome:
    handle, reason = find_handle(step), find_reason(step)
    if isinstance(handle, Refusal):
        return handle
    if isinstance(reason, Refusal):
        return reason
    if state == State.REVOKED and not reason:
        return refuse(ResponseCode.INVALID_VALUE, "say why: revoking needs a reason")
    if state == State.REVOKED and is_prefix_handle(handle):
        words = f"{to_text(handle)} is a prefix: prefixes are suspended and released, not revoked"
        return refuse(ResponseCode.INVALID_HANDLE, words)
    if step.identity is None:
        return NOBODY
    present = step.view.find_mark(handle)
    frozen = present if present is not None and present.state == State.FROZEN else None
    if present is not None and (frozen is None or state == State.FROZEN):
        refusal = refuse_change(handle, present)
        if refusal is not None:
            return refusal
    if step.view.find_record(handle) is None:
        return not_registered(step, handle)
    actor = _permit(step, handle, needed, frozen)
    if isinstance(actor, Refusal | Need):
        return actor
    mark = Mark(state, step.now_s, actor, reason)
    change = pack_mark(step.view.fold(handle), mark, actor, step.now_s)
    return Done(told(handle, state.name.lower(), mark), (change,))


def decide_thaw(step: ActStep) -> ActOutcome:
    """Decide about `life.thaw`."""
    handle, reason = find_handle(step), find_reason(step)
    if isinstance(handle, Refusal):
        return handle
    if isinstance(reason, Refusal):
        return reason
    if step.identity is None:
        return NOBODY
    present = step.view.find_mark(handle)
    if present is None or present.state != State.FROZEN:
        return _nothing_to_thaw(step, handle, present)
    actor = _permit(step, handle, _MAY_FREEZE, present)
    if isinstance(actor, Refusal | Need):
        return actor
    mark = Mark(State.FROZEN, step.now_s, actor, reason)
    change = pack_mark(step.view.fold(handle), mark, actor, step.now_s, thaws=True)
    return Done(told(handle, ACTIVE, mark), (change,))


def _nothing_to_thaw(step: ActStep, handle: bytes, present: Mark | None) -> Refusal:
    refusal = None if present is None else refuse_change(handle, present)
    if refusal is not None:
        return refusal
    if step.view.find_record(handle) is None:
        return not_registered(step, handle)
    return refuse(ResponseCode.INVALID_VALUE, f"{to_text(handle)} is active: nothing to thaw")


def _permit(
    step: ActStep, handle: bytes, needed: int, frozen: Mark | None
) -> Reference | Refusal | Need:
    """Return who asks, once he may: he has the rights that deleting the handle would ask for."""
    if step.identity is None:
        return NOBODY
    verdict = authorize_on_record(
        step.knowledge, step.policy, step.identity, OpCode.DELETE_HANDLE, handle, needed
    )
    if isinstance(verdict, Permitted) and frozen is not None:
        verdict = _check_rank(step, step.identity, frozen)
    return step.identity if isinstance(verdict, Permitted) else verdict


def _check_rank(step: ActStep, identity: Reference, frozen: Mark) -> Authorization:
    """Permit to end what a holder of a role of this node froze to such a one only."""
    holders = step.policy.roles.holders(OpCode.DELETE_HANDLE)
    froze = authorize(step.knowledge, frozen.actor, holders)
    if not isinstance(froze, Permitted):
        return froze if isinstance(froze, Need) else Permitted()
    verdict = authorize(step.knowledge, identity, holders)
    if not isinstance(verdict, Refusal):
        return verdict
    words = f"frozen {frozen.told()}; only an administrator of this node, as that is, may end it"
    return refuse(ResponseCode.INVALID_ADMIN, words)


def decide_show(step: ActStep) -> ActOutcome:
    """Decide about `life.show`."""
    handle = find_handle(step)
    if isinstance(handle, Refusal):
        return handle
    mark = step.view.find_mark(handle)
    if mark is not None and mark.state != State.DELETED:
        return Done(told(handle, mark.state.name.lower(), mark))
    if step.view.find_record(handle) is None:
        return not_registered(step, handle)
    return Done(told(handle, ACTIVE))


def find_handle(step: ActStep, name: str = "handle") -> bytes | Refusal:
    """Return a parameter that is a handle, once it is one of this node's prefixes."""
    text = step.parameters.get(name)
    if not isinstance(text, str) or not text:
        return refuse(ResponseCode.INVALID_HANDLE, f"name the {name}: prefix/suffix")
    try:
        handle = text.encode()
        check_handle(handle)
    except UnicodeEncodeError:
        return refuse(ResponseCode.INVALID_HANDLE, "the handle is not UTF-8")
    except InvalidHandleError as error:
        return refuse(ResponseCode.INVALID_HANDLE, str(error))
    if not is_responsible(step.view, handle):
        words = f"the prefix of {to_text(handle)} is not homed on this node"
        return refuse(ResponseCode.SERVER_NOT_RESPONSIBLE, words)
    return handle


def find_reason(step: ActStep) -> str | Refusal:
    """Return the parameter `reason`, empty when there is none."""
    reason = step.parameters.get("reason", "")
    if not isinstance(reason, str):
        return refuse(ResponseCode.INVALID_VALUE, "the reason is no text")
    reason = reason.strip()
    fault = find_reason_fault(reason)
    return refuse(ResponseCode.INVALID_VALUE, fault) if fault else reason


def not_registered(step: ActStep, handle: bytes) -> Refusal:
    """Return the refusal of a handle of ours that is not there, perhaps revoked with its range."""
    words = find_revocation(step.view, handle) or f"{to_text(handle)} is not registered"
    return refuse(ResponseCode.HANDLE_NOT_FOUND, words)


def told(handle: bytes, state: str, mark: Mark | None = None) -> dict[str, Any]:
    """Return what is answered about a state."""
    document: dict[str, Any] = {"handle": to_text(handle), "state": state}
    return document if mark is None else document | mark_document(mark)


def mark_document(mark: Mark) -> dict[str, str]:
    """Return who made a state, when and why."""
    return {
        "since": time_to_json(mark.time_s),
        "by": who(mark.actor),
        "reason": mark.reason,
    }


def who(actor: Reference) -> str:
    """Return the actor of a change as people write an identity; empty: nobody is known."""
    if actor.index < 0:
        return ""
    return identity_text(actor) if actor.handle else "the owner of the node"


ACTS: dict[str, ActDecider] = {
    "life.freeze": decide_freeze,
    "life.thaw": decide_thaw,
    "life.revoke": decide_revoke,
    "life.show": decide_show,
}
READING_ACTS = frozenset({"life.show"})
