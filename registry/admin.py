"""Administration: whether a request is granted and what it changes, as steps without I/O.

    outcome = decide(view, operation, identity, foreign, policy, now_s)

        Refusal             answer with its code and words
        NeedAuthentication  challenge; call again with the identity that is claimed, and once it is
                            permitted check its credential (a stranger gets 400, an administrator
                            with a wrong key 403)
        Need                fetch these handles, add them to `foreign`, call again
        Referral            answer 303
        Listing             page through the view
        Told                answer with its body
        Mirroring           answer, then stream its plan
        Change              within the write transaction decide again with its WriteView, then
                            `apply`, then one `log.append_operations` for all that were applied

`decide` changes nothing, so a refused request leaves no trace in a batch that commits. The order
of checks is Handle.Net's: responsible, sanity of handle and values, challenge, existence and index
conflicts, permission; only modify looks at the stored values before it challenges, since values
with public-write need no challenge.
"""

from collections.abc import Callable

from protocol.codes import OpCode, ResponseCode
from protocol.handle import fold_handle
from protocol.value import Reference
from registry.admin_handles import decide_create, decide_delete
from registry.admin_mirrors import decide_mirroring, decide_next_id
from registry.admin_prefixes import decide_homing, decide_list, decide_list_homed
from registry.admin_server import decide_checkpoint
from registry.admin_step import Step
from registry.admin_values import decide_add, decide_modify, decide_remove
from registry.authorization import Policy
from registry.journal import ANONYMOUS, JournalOperation, Kind
from registry.knowledge import Knowledge
from registry.operations import Change, ChangeOperation, Listing, Operation, Outcome, Referral
from registry.outcomes import Foreign, Need, NeedAuthentication, Refusal, Unavailable, refuse
from registry.quotas import count_created
from registry.views import View, WriteView

__all__ = [
    "Change",
    "Listing",
    "Need",
    "NeedAuthentication",
    "Operation",
    "Outcome",
    "Policy",
    "Referral",
    "Refusal",
    "Unavailable",
    "apply",
    "decide",
]


def decide(
    view: View,
    operation: Operation,
    identity: Reference | None,
    foreign: Foreign,
    policy: Policy,
    now_s: int,
) -> Outcome:
    """Decide about one request; see the module's docstring for what to do with the outcome.

    Args:
        view: the store; within a write transaction, with what was applied before.
        operation: what is asked; its body has the form of its opcode.
        identity: who asks or claims to, None before a challenge.
        foreign: what was fetched of other nodes' handles, by `outcomes.foreign_key`.
        policy: roles and rules of the configuration.
        now_s: the server's clock, for timestamps.

    Raises:
        RecordError: a stored row is damaged.
    """
    decider = _DECIDERS.get(operation.opcode)
    if decider is None:
        return refuse(
            ResponseCode.OPERATION_NOT_SUPPORTED, f"opcode {operation.opcode} is not supported here"
        )
    knowledge = Knowledge(view, foreign)
    return decider(Step(view, operation, identity, knowledge, policy, now_s))


def apply(
    view: WriteView, change: Change, identity: Reference | None, now_s: int
) -> list[JournalOperation]:
    """Make a change that was decided on this very view; return what the journal is to say."""
    actor = ANONYMOUS if identity is None else identity
    entries = []
    for operation in change.operations:
        handle = fold_handle(operation.handle, case_sensitive=view.case_sensitive)
        _apply_one(view, operation, actor, now_s)
        if operation.kind == Kind.CREATE and not change.overwrote:
            count_created(view, operation.handle, 1, now_s)
        entries.append(JournalOperation(operation.kind, handle, operation.values, actor, now_s))
    return entries


def _apply_one(view: WriteView, operation: ChangeOperation, actor: Reference, now_s: int) -> None:
    if operation.kind == Kind.HOME:
        view.home(operation.handle)
    elif operation.kind == Kind.UNHOME:
        was_homed = view.unhome(operation.handle)
        assert was_homed, "decided to unhome what was not homed"
    elif operation.kind == Kind.DELETE:
        was_there = view.delete_record(operation.handle, actor, now_s)
        assert was_there, "decided to delete what was not there"
    else:
        exists = view.find_record(operation.handle) is not None
        assert exists or operation.kind == Kind.CREATE, "decided to change what was not there"
        view.put_record(operation.handle, operation.values)


_DECIDERS: dict[int, Callable[[Step], Outcome]] = {
    OpCode.CREATE_HANDLE: decide_create,
    OpCode.DELETE_HANDLE: decide_delete,
    OpCode.ADD_VALUE: decide_add,
    OpCode.REMOVE_VALUE: decide_remove,
    OpCode.MODIFY_VALUE: decide_modify,
    OpCode.LIST_HANDLES: decide_list,
    OpCode.HOME_NA: decide_homing,
    OpCode.UNHOME_NA: decide_homing,
    OpCode.LIST_HOMED_NAS: decide_list_homed,
    OpCode.GET_NEXT_TXN_ID: decide_next_id,
    OpCode.RETRIEVE_TXN_LOG: decide_mirroring,
    OpCode.DUMP_HANDLES: decide_mirroring,
    OpCode.BACKUP_SERVER: decide_checkpoint,
}
