"""What every decision about an administration request looks at and begins with."""

from dataclasses import dataclass

from protocol.codes import OpCode, ResponseCode
from protocol.handle import to_text
from protocol.value import HandleValue, Reference
from registry.authorization import Authorization, Permitted, Policy, authorize, authorize_on_record
from registry.journal import Kind
from registry.knowledge import Knowledge
from registry.marks import NEVER_AGAIN, Mark, State, frozen_words, revoked_words
from registry.operations import ChangeOperation, Operation, Outcome, Referral
from registry.outcomes import Refusal, refuse
from registry.prefixes import find_referral, find_silence, is_responsible
from registry.schema import Record
from registry.views import View


@dataclass(frozen=True, slots=True)
class Step:
    """Everything one decision looks at."""

    view: View
    operation: Operation
    identity: Reference | None
    knowledge: Knowledge
    policy: Policy
    now_s: int

    def permission(self, handle: bytes, needed: int | tuple[int, ...]) -> Authorization:
        """Say whether the identity has the permission bits on a handle."""
        assert self.identity is not None
        return authorize_on_record(
            self.knowledge, self.policy, self.identity, self.operation.opcode, handle, needed
        )

    def role(self) -> Authorization:
        """Say whether the identity holds a role that allows this opcode."""
        assert self.identity is not None
        holders = self.policy.roles.holders(self.operation.opcode)
        return authorize(self.knowledge, self.identity, holders)


def find_target(
    step: Step, handle: bytes, *, left_behind: bool = False
) -> Record | Refusal | Referral | None:
    """Return the record to work on, None when it is ours and not stored.

    One that is frozen or revoked is refused here, whatever is to be done to it.

    Args:
        step: the decision.
        handle: the target.
        left_behind: whether a record counts that is still stored below a prefix of another node.
    """
    view, operation = step.view, step.operation
    responsible = is_responsible(view, handle)
    mark = view.find_mark(handle) if responsible or left_behind else None
    if mark is not None:
        creates = operation.opcode == OpCode.CREATE_HANDLE
        refusal = refuse_change(handle, mark, creates=creates, overwrites=operation.overwrite)
        if refusal is not None:
            return refusal
    record = view.find_record(handle) if responsible else None
    if record is not None:
        return record
    silence = find_silence(view, handle)
    if silence is not None:
        return refuse(ResponseCode.INSUFFICIENT_PERMISSIONS, silence)
    if not responsible:
        record = view.find_record(handle) if left_behind else None
        if record is not None:
            return record
        return refuse(
            ResponseCode.SERVER_NOT_RESPONSIBLE,
            f"the prefix of {to_text(handle)} is not homed on this node",
        )
    # For a peer that cannot follow a referral the parent's node does it itself (wire-notes §3).
    is_followed = operation.knows_referral and not operation.do_not_refer
    referral = find_referral(view, handle) if is_followed else ()
    return Referral(referral) if referral else None


def refuse_change(
    handle: bytes, mark: Mark, *, creates: bool = False, overwrites: bool = False
) -> Refusal | None:
    """Return why a marked handle is not changed; None: as if it were not marked.

    To create what is frozen is refused as for every handle that exists, if not here.
    """
    if mark.state == State.REVOKED:
        words = revoked_words(handle, mark)
        if not creates:
            return refuse(ResponseCode.HANDLE_NOT_FOUND, words)
        return refuse(ResponseCode.HANDLE_ALREADY_EXISTS, f"{words}; {NEVER_AGAIN}")
    if mark.state == State.FROZEN and (overwrites or not creates):
        return refuse(ResponseCode.INSUFFICIENT_PERMISSIONS, frozen_words(handle, mark))
    return None


def granted(authorization: Authorization, change: Outcome) -> Outcome:
    """Return the change if it is permitted, else why not."""
    return change if isinstance(authorization, Permitted) else authorization


def not_registered(handle: bytes) -> Refusal:
    """Return the refusal of a handle that is ours and not stored."""
    return refuse(ResponseCode.HANDLE_NOT_FOUND, f"{to_text(handle)} is not registered")


def changes_of(
    kind: Kind, handle: bytes, before: Record, values: tuple[HandleValue, ...]
) -> tuple[ChangeOperation, ...]:
    """Return what is to be written: nothing when nothing changes."""
    if values == before.values:
        return ()
    return (ChangeOperation(kind, handle, values),)
