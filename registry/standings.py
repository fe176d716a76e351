"""The life of a prefix below this node: how it stands, and why it does not answer.

    in review ─┬─ approve ─> active ── suspend ─> suspended
               │             │  ^ <── resume ────────┘ │
               │             │  └── resume ─┐          │
               │             └── release ─> to be deleted ── remove ─> gone
               └─ refuse ──> rejected       (from suspended as well)

`TRANSITIONS` is this picture as a table. A prefix that was delegated or homed without an
application is active without an entry. One that is suspended is **silent**: the entry keeps the row
of its prefix handle, which is gone from its place, and a prefix homed here does not count as homed.
So the fast path finds nothing to answer with, and the readable path says why.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum

import msgspec

from protocol.codes import ResponseCode
from protocol.handle import PREFIX_HANDLE_START, fold_handle, to_text
from protocol.value import Reference
from registry.errors import RecordError
from registry.marks import kept_row
from registry.offices import OFFICES, STANDING, prefix_key
from registry.outcomes import Refusal, refuse
from registry.schema import KEY_OCTETS_MAX, Record, decode_record
from registry.views import View

FORMAT = 1


class State(IntEnum):
    """How an application or a prefix stands. The numbers are in stores: never re-use one."""

    IN_REVIEW = 1
    REJECTED = 2
    ACTIVE = 3
    SUSPENDED = 4
    TO_BE_DELETED = 5
    DELETED = 6

    @property
    def text(self) -> str:
        """The state as people read it."""
        return self.name.lower().replace("_", " ")


class Mode(IntEnum):
    """Where the identifiers under a prefix live. The numbers are in stores: never re-use one."""

    DELEGATED = 1
    HOSTED = 2

    @property
    def text(self) -> str:
        """The mode as people write it."""
        return self.name.lower()


TRANSITIONS: dict[tuple[State, str], State] = {
    (State.IN_REVIEW, "approve"): State.ACTIVE,
    (State.IN_REVIEW, "refuse"): State.REJECTED,
    (State.ACTIVE, "suspend"): State.SUSPENDED,
    (State.SUSPENDED, "resume"): State.ACTIVE,
    (State.TO_BE_DELETED, "resume"): State.ACTIVE,
    (State.ACTIVE, "transfer"): State.ACTIVE,
    (State.SUSPENDED, "transfer"): State.SUSPENDED,
    (State.ACTIVE, "release"): State.TO_BE_DELETED,
    (State.SUSPENDED, "release"): State.TO_BE_DELETED,
    (State.TO_BE_DELETED, "remove"): State.DELETED,
}


def next_state(state: State, verb: str, subject: str) -> State | Refusal:
    """Return what a step leads to, or why it is not possible; `subject` is for the words."""
    after = TRANSITIONS.get((state, verb))
    if after is not None:
        return after
    possible = ", ".join(step for from_, step in TRANSITIONS if from_ == state) or "nothing"
    words = f"{subject} is {state.text}: {verb} is not possible, possible is {possible}"
    return refuse(ResponseCode.INVALID_VALUE, words)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a prefix stands since when, who put it there and why.

    `number` is that of its application, 0 without one. `row` is the prefix handle's, in octets,
    with its mark if it is frozen, while the prefix is `silent`; empty when it had none.
    """

    state: State
    mode: Mode
    number: int
    since_s: int
    actor: Reference
    reason: str = ""
    silent: bool = False
    row: bytes = b""

    def encode(self) -> bytes:
        """Return the octets that are stored."""
        actor = (self.actor.handle, self.actor.index)
        form = _Form(
            FORMAT,
            int(self.state),
            int(self.mode),
            self.number,
            self.since_s,
            actor,
            self.reason,
            self.silent,
            self.row,
        )
        return msgspec.msgpack.encode(form)


class _Form(msgspec.Struct, array_like=True, frozen=True):
    format: int
    state: int
    mode: int
    number: int
    since_s: int
    actor: tuple[bytes, int]
    reason: str
    silent: bool
    row: bytes


def decode_standing(octets: bytes) -> Standing:
    """Take a stored standing apart. Raises: RecordError."""
    try:
        form = msgspec.msgpack.decode(octets, type=_Form)
        if form.format != FORMAT:
            raise ValueError(f"format {form.format}")
        return Standing(
            State(form.state),
            Mode(form.mode),
            form.number,
            form.since_s,
            Reference(*form.actor),
            form.reason,
            form.silent,
            form.row,
        )
    except (msgspec.MsgspecError, ValueError) as error:
        raise RecordError(f"the standing of a prefix does not decode: {error}") from None


def find_standing(view: View, prefix_handle: bytes) -> Standing | None:
    """Return what is noted of a prefix; None: nothing, it is active if it is there.

    Raises:
        RecordError: damaged.
    """
    key = prefix_key(STANDING, prefix_handle)
    octets = view.table(OFFICES).get(key) if len(key) <= KEY_OCTETS_MAX else None
    return None if octets is None else decode_standing(octets)


def find_silent_record(view: View, prefix_handle: bytes) -> Record | None:
    """Return the record that the handle of a silent prefix had: its keys are still whose they were.

    Raises:
        RecordError: damaged.
    """
    standing = find_standing(view, prefix_handle)
    if standing is None or not standing.silent or not standing.row:
        return None
    return decode_record(kept_row(standing.row))


def silence_words(prefix_handle: bytes, standing: Standing) -> str:
    """Return why a silent prefix does not answer."""
    prefix = to_text(fold_handle(prefix_handle)[len(PREFIX_HANDLE_START) :])
    to_be_deleted = standing.state == State.TO_BE_DELETED
    state = "suspended and to be deleted" if to_be_deleted else "suspended"
    return f"{prefix} is {state} since {second_text(standing.since_s)}: {standing.reason}"


def second_text(time_s: int) -> str:
    """Return a time as RFC 3339 has it, in UTC."""
    return datetime.fromtimestamp(time_s, UTC).isoformat().replace("+00:00", "Z")
