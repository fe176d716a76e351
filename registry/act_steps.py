"""What an act is, and the step in which it is decided on, for `registry.acts` and all deciders."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from protocol.codes import OpCode, ResponseCode
from protocol.value import Reference
from registry.authorization import Authorization, Policy, authorize, authorize_on_record
from registry.journal import ANONYMOUS, JournalOperation, Kind
from registry.knowledge import Knowledge
from registry.offices import Entries
from registry.outcomes import Need, Refusal, refuse
from registry.range_rows import STEPS_MAX
from registry.roles import Role
from registry.views import View


@dataclass(frozen=True, slots=True)
class Act:
    """What is asked for."""

    name: str
    parameters: Mapping[str, Any]
    address: str = ""  # where it came from


@dataclass(frozen=True, slots=True)
class Done:
    """Permitted and possible: what is answered, and what is changed in the order of the journal.

    `own` are entries of the prefix office that stay out of the journal; `notes` are for the log.
    """

    result: dict[str, Any]
    operations: tuple[JournalOperation, ...] = ()
    own: Entries = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TakesLong:
    """Not decided: more has to be looked at than `ActStep.steps_max`. Decide it elsewhere."""


ActOutcome = Done | Refusal | Need | TakesLong


@dataclass(frozen=True, slots=True)
class ActStep:
    """Everything one decision looks at."""

    view: View
    parameters: Mapping[str, Any]
    identity: Reference | None
    knowledge: Knowledge
    policy: Policy
    now_ms: int
    address: str = ""
    steps_max: int = STEPS_MAX  # rows looked at in one walk

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
