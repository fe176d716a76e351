"""Changes of ranges as the journal has them, made by one function, first and again.

    Kind.RANGES, handle: the stem; payload: msgpack [verb, [[key, record or b""], ...], notes]

The records are those afterwards; an empty one is not there any more. `register` adds ranges.
`shrink`, `split` and `revoke` put others in their place: of identifiers that are in no active range
any more the tombstones go, and rows that stay are identifiers like any other. Nothing is read from
the notes, a map.
"""

from collections.abc import Iterator, Sequence

import msgpack

from registry.counters import TABLE
from registry.errors import JournalError, RangeError, RecordError
from registry.first_count import is_counted
from registry.journal import OWNER, JournalOperation, Kind, is_own_time
from registry.marks import Mark, decode_marked, is_deleted
from registry.range_batches import PlainRange, RangeBatch, read_plain_range
from registry.range_documents import Range, read_range
from registry.range_history_index import Before
from registry.range_records import RangeChange
from registry.range_replacements import note_before, note_before_frame, replace_ranges
from registry.range_values import find_registered_s, registered_s
from registry.views import View, WriteView

REGISTER = "register"
SHRINK = "shrink"
SPLIT = "split"
REVOKE = "revoke"
REBUILDING_OCTETS = 65_536  # of ranges in one operation of a snapshot
VERBS = (REGISTER, SHRINK, SPLIT, REVOKE)


def pack_changes(verb: str, changes: Sequence[RangeChange]) -> bytes:
    """Return the payload of a change."""
    packed: bytes = msgpack.packb([verb, [list(each) for each in changes], {}])
    return packed


def unpack_changes(payload: bytes) -> tuple[str, list[RangeChange]]:
    """Return (verb, changes). Raises: JournalError."""
    try:
        verb, changes, _ = msgpack.unpackb(payload)
        if verb not in VERBS:
            raise ValueError(f"the verb {verb!r} is not known")
        return verb, [(bytes(key), bytes(octets)) for key, octets in changes]
    except (ValueError, TypeError, AttributeError, msgpack.UnpackException) as error:
        raise JournalError(f"a change of ranges does not decode: {error}") from error


def replay_ranges(view: WriteView, operation: JournalOperation) -> None:
    """Make a change of ranges. Raises: JournalError."""
    verb, changes = unpack_changes(operation.payload)
    try:
        if verb == REGISTER:
            own_time_s = operation.time_s if operation.actor == OWNER else None
            _register(view, changes, own_time_s)
        else:
            replace_ranges(view, changes)
    except (RecordError, RangeError, IndexError) as error:
        raise JournalError(f"a change of ranges cannot be made: {error}") from error


def _register(view: WriteView, changes: Sequence[RangeChange], owner_time_s: int | None) -> None:
    """Store ranges, many at a time as far as they are plain and nothing is in their way.

    Args:
        view: the store.
        changes: the ranges.
        owner_time_s: when the node's owner put them there, who may have stated another time.
    """
    batch = RangeBatch(view)
    for key, octets in changes:
        plain = read_plain_range(key, octets)
        stated_s = None if owner_time_s is None else find_registered_s(octets)
        is_dated = stated_s is not None and is_own_time(stated_s, owner_time_s or 0)
        if plain is not None and batch.store(plain):
            if is_dated:
                note_plain(view, plain, stated_s or 0)
            continue
        batch.flush()
        range_ = read_range(key, octets)
        put_new_range(view, range_)
        if owner_time_s is not None:
            note_own_time(view, range_, owner_time_s)
    batch.flush()


def rebuilding_ranges(view: View, now_s: int) -> Iterator[JournalOperation]:
    """Iterate over what registers all ranges of a store again, before any row."""
    changes: list[RangeChange] = []
    octets = 0
    for change in view.table("ranges").items():
        changes.append(change)
        octets += len(change[0]) + len(change[1])
        if octets >= REBUILDING_OCTETS:
            yield _rebuilding(changes, now_s)
            changes, octets = [], 0
    if changes:
        yield _rebuilding(changes, now_s)


def _rebuilding(changes: list[RangeChange], now_s: int) -> JournalOperation:
    payload = pack_changes(REGISTER, changes)
    stem = changes[0][0].partition(b"\0")[0]
    return JournalOperation(Kind.RANGES, stem, (), OWNER, now_s, payload)


def rebuilding_tombstones(view: View) -> Iterator[JournalOperation]:
    """Iterate over what deletes again what was deleted out of ranges, after these."""
    for key, mark in tombstones(view):
        yield JournalOperation(Kind.DELETE, key, (), mark.actor, mark.time_s)


def tombstones(view: View, after: bytes = b"") -> Iterator[tuple[bytes, Mark]]:
    """Iterate over (handle, mark) of what was deleted out of ranges, beyond a key.

    Raises:
        RecordError: a mark is damaged.
    """
    if is_counted(view.table(TABLE)) and not view.counts().deleted:
        return
    for key, row in view.table("handles").items(after):
        if is_deleted(row) and key != after:
            yield key, decode_marked(row)[0]


def put_new_range(view: WriteView, range_: Range) -> None:
    """Store a range where none is."""
    view.writable("ranges").put(range_.key, range_.octets)


def note_plain(view: WriteView, plain: PlainRange, registered_s: int) -> None:
    """Note the registration of a plain range that says when it was registered."""
    note_before_frame(view, plain.stem, Before(registered_s, *plain.tails))


def note_own_time(view: WriteView, range_: Range, now_s: int) -> None:
    """Note the registration of a range that says it was registered at another time than now."""
    if is_own_time(registered_s(range_.record), now_s):
        note_before(view, range_)
