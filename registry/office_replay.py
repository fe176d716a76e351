"""The prefix office's changes made from the journal, and its entries in snapshots and comparisons.

The payload of the kinds APPLICATION, QUOTA and PERSON is msgpack of

    [verb, [[key, value], ...], row]

as `registry.offices.office_payload` makes it: entries of the office as they are afterwards (an
empty value: no entry) and, unless nil, the row of the operation's prefix handle (empty: none).
"""

from collections.abc import Iterator

import msgpack

from protocol.handle import PREFIX_HANDLE_START
from registry.errors import JournalError, RecordError
from registry.journal import OWNER, JournalOperation, Kind
from registry.offices import (
    APPLICATION,
    JOURNALED,
    OFFICES,
    PERSON,
    QUOTA,
    STANDING,
    Entries,
    office_payload,
)
from registry.schema import folded_key
from registry.standings import decode_standing
from registry.views import View, WriteView

_KINDS = {
    APPLICATION: Kind.APPLICATION,
    STANDING: Kind.APPLICATION,
    QUOTA: Kind.QUOTA,
    PERSON: Kind.PERSON,
}


def replay_office(view: WriteView, operation: JournalOperation) -> None:
    """Make a change of the prefix office. Raises: JournalError: it does not decode."""
    entries, row = _unpack(operation.payload)
    table = view.writable(OFFICES)
    for key, value in entries:
        if value:
            table.put(key, value)
        else:
            table.delete(key)
        if key[:1] == STANDING and value:
            _let_answer(view, key[1:], value)
    if row:
        key = folded_key(view.fold(operation.handle))
        view.note_change(key)
        view.put_row(key, row)
    elif row is not None:
        view.delete_record(operation.handle)
    view.unjournaled = True


def row_after(operation: JournalOperation) -> bytes | None:
    """Return the row that a change of the office gave its handle; empty: none, None: as it was.

    Raises: JournalError: it does not decode.
    """
    return _unpack(operation.payload)[1]


def changes_row(payload: bytes) -> bool:
    """Say whether a change of the office changed the row of its handle. Raises: JournalError."""
    return _unpack(payload)[1] is not None


def _let_answer(view: WriteView, prefix_handle: bytes, value: bytes) -> None:
    try:
        view.let_answer(prefix_handle, not decode_standing(value).silent)
    except RecordError as error:
        raise JournalError(str(error)) from error


def _unpack(payload: bytes) -> tuple[Entries, bytes | None]:
    try:
        _, items, row = msgpack.unpackb(payload)
        entries = tuple((key, value) for key, value in items)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise JournalError(f"a change of the prefix office does not decode: {error}") from error
    octets = [each for entry in entries for each in entry]
    octets += [] if row is None else [row]
    if not all(isinstance(each, bytes) for each in octets):
        raise JournalError("a change of the prefix office holds what is no octets")
    if not all(key[:1] in JOURNALED for key, _ in entries):
        raise JournalError("a change of the prefix office names an entry that is not journaled")
    return entries, row


def put_own(view: WriteView, entries: Entries) -> None:
    """Keep entries of the office that stay out of the journal."""
    table = view.writable(OFFICES)
    for key, value in entries:
        assert key[:1] not in JOURNALED, "this entry belongs into the journal"
        if value:
            table.put(key, value)
        else:
            table.delete(key)


def journaled_entries(view: View) -> Iterator[tuple[bytes, bytes]]:
    """Iterate over what a replay gives again, in key order."""
    for key, value in view.table(OFFICES).items():
        if key[:1] in JOURNALED:
            yield key, value


def rebuilding(view: View, now_s: int) -> Iterator[JournalOperation]:
    """Iterate over operations that make the office's entries anew, once all prefixes are homed."""
    for key, value in journaled_entries(view):
        handle = key[1:] if key[:1] in (STANDING, QUOTA) else PREFIX_HANDLE_START
        payload = office_payload("snapshot", ((key, value),))
        yield JournalOperation(_KINDS[key[:1]], handle, (), OWNER, now_s, payload)
