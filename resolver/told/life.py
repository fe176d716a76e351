"""What is told of the life of identifiers."""

from typing import Literal

import msgspec

from resolver.told.forms import Count, Time, Told, Values, Who

State = Literal["active", "frozen", "revoked"]
Operation = Literal[
    "create", "replace", "add", "remove", "modify", "delete", "replace-key",
    "freeze", "thaw", "revoke",
    "register", "split", "shrink", "cut",
]  # fmt: skip


class LifeState(Told, frozen=True):
    """What an identifier is.

    Attributes:
        handle: the identifier.
        state: active, frozen or revoked.
        since: when it was made so, in RFC 3339; "" as the two below when it is active.
        by: who did, `300:0.NA/88.118.5`.
        reason: why, in their words.
    """

    handle: str
    state: State
    since: Time = ""
    by: Who = ""
    reason: str = ""


class LifeEvent(Told, frozen=True):
    """One change of an identifier (`resolver.client.life.Event` says what its members are)."""

    sequence: Count
    time: Time
    operation: Operation
    by: Who
    values: Values = msgspec.field(default_factory=list)
    hidden: Count = 0
    reason: str = ""
    omitted: Count = 0
    range: str = ""
    kept: bool = False


class LifeHistory(Told, frozen=True):
    """Some events of an identifier, as they came.

    Attributes:
        handle: the identifier.
        events: what was done.
        next: where to go on, 0 at the end.
        complete: whether all that was done since its creation is known.
        known_after: the frame after which this node knows its history.
    """

    events: list[LifeEvent]
    next: Count
    handle: str = ""
    complete: bool = True
    known_after: Count = 0


class LifeMoment(Told, frozen=True):
    """What an identifier was (`resolver.client.life.PastState` says what its members are)."""

    state: Literal["active", "frozen", "revoked", "deleted", "unregistered"]
    as_of: Count
    handle: str = ""
    values: Values = msgspec.field(default_factory=list)
    hidden: Count = 0
    sequence: Count = 0
    time: Time = ""
    by: Who = ""
    reason: str = ""
    range: str = ""
