"""What a mirror asks for: where it stands in the log, and which share of the handles it keeps.

A transaction id says which operation of the journal it stands for, so that ids only grow, and what
was sent up to one can be gone on behind:

    bits 16 to 62   sequence number of the frame
    bits  0 to 15   place in it: twice the operation's, from 1, and one less where it homes or
                    unhomes a prefix (the prefix office does that and changes a handle at once);
                    0xffff when nothing of the frame follows

A mirror that has all of a frame thus needs no look into it, and finds the log whole even when that
frame has been trimmed.
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import msgspec

from protocol.handle import hash_position
from protocol.types.hs_site import HASH_BY_HANDLE
from registry.views import View

WHOLE_FRAME = 0xFFFF
_PLACE_BITS = 16
SERVERS_MAX = 1_024  # of a mirror's site; ours, real ones have a few
SOURCES_MAX = 1_024  # that a mirror follows


def transaction_id(seq: int, place: int = WHOLE_FRAME) -> int:
    """Return the id of a place in a frame, or that of its end."""
    return seq << _PLACE_BITS | place


def frame_and_place(number: int) -> tuple[int, int]:
    """Return (frame, place) of a transaction id; of one below 1, what stands before the first."""
    if number < 1:
        return 0, WHOLE_FRAME
    return number >> _PLACE_BITS, number & WHOLE_FRAME


def next_transaction_id(view: View) -> int:
    """Return the id that the next operation gets, if another follows it in its frame."""
    return transaction_id(view.head().seq + 1, 1)


def needs_redump(view: View, after: int) -> bool:
    """Say whether the log does not lead on from a transaction id.

    It was trimmed behind it, or is not the one the id was given for: that one was longer.
    """
    seq, place = frame_and_place(after)
    head = view.head().seq
    if seq > head:
        return True
    needed = max(1, seq + 1 if place == WHOLE_FRAME else seq)
    return needed <= head and view.find_frame(needed) is None


class Share(NamedTuple):
    """The handles that one server of a mirror's site keeps, by their hash."""

    hash_option: int
    servers: int
    server_number: int

    def holds(self, handle: bytes) -> bool:
        """Say whether a handle is in the share."""
        if self.servers == 1:
            return True
        return hash_position(handle, self.hash_option, self.servers) == self.server_number

    def fault(self) -> str | None:
        """Return why no handle could be in the share; None: some can."""
        if not 0 <= self.hash_option <= HASH_BY_HANDLE:
            return f"hash type {self.hash_option} is unknown, known are 0, 1 and 2"
        if not 1 <= self.servers <= SERVERS_MAX:
            return f"a mirror of {self.servers} servers, allowed are 1 to {SERVERS_MAX}"
        if not 0 <= self.server_number < self.servers:
            return f"server {self.server_number} of {self.servers}, they are counted from 0"
        return None


@dataclass(frozen=True, slots=True)
class LogPlan:
    """RETRIEVE_TXN_LOG: the changes after an id, or after those of several sources by name."""

    share: Share
    after: int = 0
    positions: dict[str, int] | None = None
    asked_ms: int = 0  # the date of the mirror's last question, by its primary's clock


@dataclass(frozen=True, slots=True)
class DumpPlan:
    """DUMP_HANDLES: all there is, or what follows a record sent before (`ResumePoint`)."""

    share: Share
    resume_at: bytes | None = None
    resume_type: int = 0


Plan = LogPlan | DumpPlan


def pack_plan(plan: Plan) -> bytes:
    """Return a plan as octets, for another process of this node."""
    return msgspec.msgpack.encode((isinstance(plan, LogPlan), plan))


def unpack_plan(octets: bytes) -> Plan:
    """Read what `pack_plan` wrote."""
    is_log, raw = msgspec.msgpack.decode(octets, type=tuple[bool, msgspec.Raw])
    kind: type[Plan] = LogPlan if is_log else DumpPlan
    return msgspec.msgpack.decode(raw, type=kind)


# What Handle.Net 9 writes has the positions as a member; wire-notes §14 has them alone.
_POSITIONS_MEMBER = "replicationServerStates"


class _Position(msgspec.Struct, rename="camel"):
    last_txn_id: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] = 0
    last_timestamp: int = 0


def read_positions(octets: bytes) -> dict[str, int] | str:
    """Read a mirror's place in the log of every source it follows; a text says what is wrong."""
    try:
        members = msgspec.json.decode(octets, type=dict[str, msgspec.Raw])
        alone = bytes(members.get(_POSITIONS_MEMBER, octets))
        read = msgspec.json.decode(alone, type=dict[str, _Position])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        return f"the mirror's positions cannot be read: {error}"
    if len(read) > SOURCES_MAX:
        return f"the mirror follows {len(read)} sources, at most {SOURCES_MAX} are looked at"
    return {name: position.last_txn_id for name, position in read.items()}
