"""Marked rows: an identifier that is frozen, revoked, or deleted out of a range.

    FROZEN    answered as before; nothing about it can be changed until it is thawed
    REVOKED   answered with "not found" and why, for ever: the name is not given out again
    DELETED   as if there were no row, so that the range around it does not answer; may be created

A **marked row** stands in the place of the identifier's record and keeps it:

    offset 0  u8   head: format in the upper four bits (2), the state in the lower
           1  u16  octets of the mark
           3  msgpack [time in seconds since 1970, actor's handle, actor's index, reason in UTF-8]
           .  the row that was there: a record, or nothing

The fast path knows no such rows and leaves them to the readable path. Who marks, and how that is
journaled: `registry.life_cycle`, `registry.mark_changes`.
"""

import struct
import unicodedata
from dataclasses import dataclass
from enum import IntEnum

import msgpack

from protocol.handle import to_text
from protocol.json_forms import time_to_json
from protocol.value import Reference
from registry.errors import RecordError

MARKED_FORMAT = 2
REASON_OCTETS_MAX = 1_024  # of UTF-8; ours
NEVER_AGAIN = "a revoked name is never given out again"

_NOT_ON_ONE_LINE = frozenset({"Cc", "Zl", "Zp"})  # controls, separators of lines, paragraphs
_U16 = struct.Struct(">H")
_START = 1 + _U16.size


class State(IntEnum):
    """What a mark makes of an identifier. The numbers are in stores: never re-use one."""

    FROZEN = 1
    REVOKED = 2
    DELETED = 3


_TOMBSTONE_HEAD = MARKED_FORMAT << 4 | State.DELETED
_REVOKED_HEAD = MARKED_FORMAT << 4 | State.REVOKED
_SILENT_HEADS = frozenset({_TOMBSTONE_HEAD, _REVOKED_HEAD})


@dataclass(frozen=True, slots=True)
class Mark:
    """A state, and who put an identifier into it, when and why."""

    state: State
    time_s: int
    actor: Reference
    reason: str = ""

    def told(self) -> str:
        """Return who, when and why in words."""
        who = f"{self.actor.index}:{to_text(self.actor.handle)}"
        by = who if self.actor.handle else "the owner of the node"
        why = f": {self.reason}" if self.reason else ""
        return f"by {by} at {time_to_json(self.time_s)}{why}"


def find_reason_fault(reason: str) -> str:
    """Return what keeps a text from being the reason of a mark; empty: nothing."""
    try:
        octets = len(reason.encode())
    except UnicodeEncodeError:
        return "the reason is not UTF-8"
    if octets > REASON_OCTETS_MAX:
        return f"the reason has {octets} octets of UTF-8, at most {REASON_OCTETS_MAX} are kept"
    if any(unicodedata.category(character) in _NOT_ON_ONE_LINE for character in reason):
        return "the reason holds a control character or a line end: write one line of text"
    return ""


def is_marked(row: bytes) -> bool:
    """Say whether a row is a marked one."""
    return bool(row) and row[0] >> 4 == MARKED_FORMAT


def is_deleted(row: bytes) -> bool:
    """Say whether a row is a tombstone: that of an identifier deleted out of a range."""
    return bool(row) and row[0] == _TOMBSTONE_HEAD


def is_revoked(row: bytes) -> bool:
    """Say whether a row is that of a revoked identifier."""
    return bool(row) and row[0] == _REVOKED_HEAD


def encode_marked(mark: Mark, row: bytes) -> bytes:
    """Return the marked row in place of `row`, which is not marked; empty: there is none."""
    assert not is_marked(row), "a row is marked once"
    reason = mark.reason.encode()
    octets = msgpack.packb([mark.time_s, mark.actor.handle, mark.actor.index, reason])
    return bytes([MARKED_FORMAT << 4 | mark.state]) + _U16.pack(len(octets)) + octets + row


def decode_marked(octets: bytes) -> tuple[Mark, bytes]:
    """Take a marked row apart: the mark, and the row that was there. Raises: RecordError."""
    try:
        (length,) = _U16.unpack_from(octets, 1)
        end = _START + length
        time_s, handle, index, reason = msgpack.unpackb(octets[_START:end])
        mark = Mark(State(octets[0] & 0xF), time_s, Reference(handle, index), reason.decode())
    except (
        struct.error, ValueError, TypeError, AttributeError, msgpack.UnpackException
    ) as error:  # fmt: skip
        raise RecordError(f"the mark of a row does not decode: {error}") from error
    return mark, octets[end:]


def answering_row(row: bytes) -> bytes | None:
    """Return the row that a stored row answers with: itself, the frozen one, or None.

    Raises: RecordError.
    """
    if not is_marked(row):
        return row
    if row[0] in _SILENT_HEADS:
        return None  # without taking it apart: lists pass over thousands of these
    mark, kept = decode_marked(row)
    return kept if mark.state == State.FROZEN else None


def kept_row(row: bytes) -> bytes:
    """Return a row without its mark; empty: the mark stands alone. Raises: RecordError."""
    return decode_marked(row)[1] if is_marked(row) else row


def remarked(stored: bytes | None, row: bytes) -> bytes:
    """Return `row` frozen as the stored row is, if it is. Raises: RecordError."""
    if stored is None or not is_marked(stored):
        return row
    mark, _ = decode_marked(stored)
    return encode_marked(mark, row) if mark.state == State.FROZEN else row


def revoked_words(handle: bytes, mark: Mark) -> str:
    """Return what a question for a revoked identifier is answered with."""
    return f"{to_text(handle)} was revoked {mark.told()}"


def frozen_words(handle: bytes, mark: Mark) -> str:
    """Return what a change of a frozen identifier is answered with."""
    return (
        f"{to_text(handle)} is frozen {mark.told()}; nothing about it changes until it is thawed "
        "(biaoshi life thaw)"
    )
