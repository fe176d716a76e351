"""Marks in the journal: what freezing, thawing and revoking write, and how it is made again.

The payload of `Kind.MARK` is msgpack [state, time in seconds, [actor's handle, index], reason in
UTF-8]; state 0 takes the mark away. It repeats who and when, since in a snapshot the owner of the
machine is the actor of every operation.
"""

import msgpack

from protocol.value import Reference
from registry.errors import JournalError
from registry.journal import JournalOperation, Kind
from registry.marks import Mark, State, encode_marked, kept_row
from registry.schema import folded_key
from registry.views import WriteView

ACTIVE = 0


def pack_mark(
    handle: bytes, mark: Mark, actor: Reference, time_s: int, *, thaws: bool = False
) -> JournalOperation:
    """Return the operation that marks a folded handle, or thaws it for a mark's reasons."""
    state = ACTIVE if thaws else int(mark.state)
    payload = msgpack.packb([state, mark.time_s, list(mark.actor), mark.reason.encode()])
    return JournalOperation(Kind.MARK, handle, (), actor, time_s, payload)


def read_mark(operation: JournalOperation) -> tuple[int, Mark]:
    """Return the state that an operation made, ACTIVE or a State, and who made it, when and why.

    The mark of ACTIVE says FROZEN: what was ended. Raises: JournalError.
    """
    try:
        state, time_s, (handle, index), reason = msgpack.unpackb(operation.payload)
        made = State(state or State.FROZEN)
        return int(state), Mark(made, int(time_s), Reference(handle, index), reason.decode())
    except (ValueError, TypeError, AttributeError, msgpack.UnpackException) as error:
        raise JournalError(f"a mark in the journal does not decode: {error}") from error


def replay_mark(view: WriteView, operation: JournalOperation) -> None:
    """Mark a handle, or take its mark away; one of a range gets a row of its own.

    Raises: JournalError, RecordError.
    """
    state, mark = read_mark(operation)
    key = folded_key(operation.handle)
    stored = view.stored_row(key)
    view.note_change(key)
    kept = _kept(view, key, stored, state)
    if state != ACTIVE:
        view.put_row(key, encode_marked(mark, kept))
    elif kept:
        view.put_row(key, kept)


def _kept(view: WriteView, key: bytes, stored: bytes | None, state: int) -> bytes:
    """Return the record that the mark is to keep."""
    if state == State.DELETED:
        return b""
    if stored is not None:
        return kept_row(stored)
    return view.find_row(key) or b""
