"""Acts: administration that the Handle protocol has no words for, as steps without I/O.

    outcome = decide_act(view, act, identity, foreign, policy, now_ms)

        Refusal   answer with its code and words
        Need      fetch these handles, add them to `foreign`, call again
        Done      `result` is the answer. With operations: within the write transaction decide
                  again with its WriteView, then `registry.replay.replay` them and append them to
                  the log: what the journal says is what is done

An act has a name, such as `ranges.register`, and parameters of msgpack's plain types. Who asks is
proven before it is decided; None is somebody who has not said who he is. `decide_act` changes
nothing. To add one: a decider `(ActStep) -> ActOutcome` in the module it belongs to, and a line in
`ACTS`, `READING_ACTS` for one that never changes anything.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from protocol.codes import OpCode, ResponseCode
from protocol.value import Reference
from registry.authorization import Authorization, Policy, authorize, authorize_on_record
from registry.journal import ANONYMOUS, JournalOperation, Kind
from registry.knowledge import Knowledge
from registry.outcomes import Foreign, Need, Refusal, refuse
from registry.roles import Role
from registry.views import View


@dataclass(frozen=True, slots=True)
class Act:
    """What is asked for."""

    name: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Done:
    """Permitted and possible: what is answered, and what is changed in the order of the journal."""

    result: dict[str, Any]
    operations: tuple[JournalOperation, ...] = ()


ActOutcome = Done | Refusal | Need


@dataclass(frozen=True, slots=True)
class ActStep:
    """Everything one decision looks at."""

    view: View
    parameters: Mapping[str, Any]
    identity: Reference | None
    knowledge: Knowledge
    policy: Policy
    now_ms: int

    @property
    def now_s(self) -> int:
        """The time since 1970 in seconds."""
        return self.now_ms // 1000

    def permission(self, handle: bytes, needed: int | tuple[int, ...]) -> Authorization:
        """Say whether the identity has these AdminPermission bits on a handle, by HS_ADMIN."""
        if self.identity is None:
            return NOBODY
        opcode = OpCode.CREATE_HANDLE  # roles that may register anything may do this
        return authorize_on_record(
            self.knowledge, self.policy, self.identity, opcode, handle, needed
        )

    def role(self, *roles: Role) -> Authorization:
        """Say whether the identity holds one of these roles, directly or through groups."""
        if self.identity is None:
            return NOBODY
        holders = [each for role in roles for each in self.policy.roles.mapping.get(role, ())]
        return authorize(self.knowledge, self.identity, holders)

    def operation(self, kind: Kind, handle: bytes, payload: bytes) -> JournalOperation:
        """Return what the journal is to say of a change that this act makes."""
        actor = ANONYMOUS if self.identity is None else self.identity
        return JournalOperation(kind, handle, (), actor, self.now_s, payload)


NOBODY = refuse(ResponseCode.AUTHENTICATION_NEEDED, "this needs an identity: log in")

ActDecider = Callable[[ActStep], ActOutcome]

ACTS: dict[str, ActDecider] = {}
READING_ACTS: frozenset[str] = frozenset()


def decide_act(
    view: View,
    act: Act,
    identity: Reference | None,
    foreign: Foreign,
    policy: Policy,
    now_ms: int,
) -> ActOutcome:
    """Decide about one act; see the module's docstring for what to do with the outcome.

    Args:
        view: the store; within a write transaction, with what was done before.
        act: what is asked; its parameters have been checked by nobody.
        identity: who asks, proven.
        foreign: what was fetched of other nodes' handles, by `outcomes.foreign_key`.
        policy: roles and rules of the configuration.
        now_ms: the server's clock, since 1970.

    Raises:
        RecordError: a stored row is damaged.
    """
    decider = ACTS.get(act.name)
    if decider is None:
        return refuse(ResponseCode.OPERATION_NOT_SUPPORTED, f"{act.name} is not known here")
    knowledge = Knowledge(view, foreign)
    return decider(ActStep(view, act.parameters, identity, knowledge, policy, now_ms))
