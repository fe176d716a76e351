"""Following another primary: what it tells is made ours, exactly.

Records change in the very transaction that moves the state on (`follow_states`), so that a node
killed at any moment goes on where it was. Values, permissions and timestamps are kept as they come;
each change is in our own journal, as done by the owner of the machine. What a server tells is taken
only of handles that hash to it: copies left on another server of its site are answered by nobody.
Homed prefixes are taken from all.

A dump ends with a sweep: what it did not name is deleted. Which handles it named is kept in memory
as eight octets of a digest each; should two have the same (one in 10^13 at a million handles), a
deletion would be missed until the next dump.
"""

import hashlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field

from msgspec import structs

from protocol.errors import ProtocolError
from protocol.handle import check_handle, fold_handle, is_prefix_handle, to_text
from protocol.replication import (
    Action,
    DumpHandle,
    DumpPrefix,
    DumpRecord,
    HandleChange,
    LogEnd,
    LogRecord,
)
from protocol.types.hs_site import HASH_BY_HANDLE
from protocol.value import HandleValue
from registry.checks import check_record
from registry.follow_states import FollowState, put_state
from registry.journal import OWNER, JournalOperation, Kind
from registry.log import LocalLog
from registry.marks import answering_row
from registry.mirror_plans import Share
from registry.prefixes import PREFIX_OCTETS_MAX
from registry.replay import make_changes, replay
from registry.schema import decode_record, folded_key
from registry.views import View, WriteView

SWEPT_ROWS = 1_000  # looked at in one transaction

ALL_HANDLES = Share(HASH_BY_HANDLE, 1, 0)  # of a site of one server


@dataclass(slots=True)
class Taken:
    """What came of records: how many changed something, and why some could not be kept."""

    changed: int = 0
    faults: list[str] = field(default_factory=list)


def take_log(
    view: WriteView,
    records: Iterable[LogRecord],
    state: FollowState,
    now_ms: int,
    share: Share = ALL_HANDLES,
) -> tuple[FollowState, Taken]:
    """Make the changes that a log tells, and move the state on, in one transaction.

    Args:
        view: the store.
        records: of one server's log.
        state: how far that server was followed.
        now_ms: the time since 1970.
        share: the handles that are that server's.
    """
    maker = _Maker(view, now_ms, share)
    for record in records:
        if isinstance(record, HandleChange):
            maker.take_change(record)
            state = structs.replace(state, transaction_id=record.transaction_id)
        elif isinstance(record, LogEnd) and record.date_ms is not None:
            state = structs.replace(state, date_ms=record.date_ms)
    maker.keep(state)
    return state, maker.taken


def take_dump(
    view: WriteView,
    records: Iterable[DumpRecord],
    state: FollowState,
    now_ms: int,
    share: Share = ALL_HANDLES,
) -> Taken:
    """Make what records of a dump say so, in one transaction; see `take_log`."""
    maker = _Maker(view, now_ms, share)
    for record in records:
        if isinstance(record, DumpHandle):
            maker.put(record.handle, record.values)
        elif isinstance(record, DumpPrefix):
            maker.home(record.handle)
    maker.keep(state)
    return maker.taken


class _Maker:
    """Makes changes in one transaction, through the journal."""

    def __init__(self, view: WriteView, now_ms: int, share: Share) -> None:
        self._view = view
        self._now_ms = now_ms
        self._share = share
        self._made: list[JournalOperation] = []
        self.taken = Taken()

    def take_change(self, change: HandleChange) -> None:
        """Make one change of the log."""
        if change.action in (Action.CREATE, Action.UPDATE):
            self.put(change.handle, change.values)
        elif change.action == Action.DELETE:
            self._delete(change.handle)
        elif change.action == Action.HOME:
            self.home(change.handle)
        elif change.action == Action.UNHOME and self._view.is_homed(change.handle):
            self._make(Kind.UNHOME, fold_handle(change.handle))

    def put(self, handle: bytes, values: tuple[HandleValue, ...]) -> None:
        """Store a handle as it is told, unless it is so already."""
        if not self._share.holds(handle):
            shown = to_text(handle)[:PREFIX_OCTETS_MAX]
            self.taken.faults.append(f"{shown}: it hashes to another server of the primary's site")
            return
        fault = _fault(handle, values)
        if fault is not None:
            self.taken.faults.append(f"{to_text(handle)[:PREFIX_OCTETS_MAX]}: {fault}")
            return
        record = self._view.find_record(handle)
        if record is None:
            self._make(Kind.CREATE, self._view.fold(handle), values)
        elif record.values != values:
            self._make(Kind.MODIFY, self._view.fold(handle), values)

    def home(self, handle: bytes) -> None:
        """Home a prefix, unless it is."""
        if not is_prefix_handle(handle) or len(handle) > PREFIX_OCTETS_MAX:
            self.taken.faults.append(f"{to_text(handle)[:PREFIX_OCTETS_MAX]} is no prefix")
        elif not self._view.is_homed(handle):
            self._make(Kind.HOME, fold_handle(handle))

    def _delete(self, handle: bytes) -> None:
        if self._share.holds(handle) and self._view.find_record(handle) is not None:
            self._make(Kind.DELETE, self._view.fold(handle))

    def _make(self, kind: Kind, handle: bytes, values: tuple[HandleValue, ...] = ()) -> None:
        operation = JournalOperation(kind, handle, values, OWNER, self._now_ms // 1_000)
        replay(self._view, (operation,))
        self._made.append(operation)
        self.taken.changed += 1

    def keep(self, state: FollowState) -> None:
        """Write the frame and the state."""
        if self._made:
            LocalLog(self._view).append_operations(self._made, self._now_ms)
        put_state(self._view, state)


def _fault(handle: bytes, values: tuple[HandleValue, ...]) -> str | None:
    """Return why a handle cannot be kept here; None: it can.

    What its values mean is not looked at: a copy has an unreadable HS_ADMIN as its primary has it.
    """
    try:
        check_handle(handle)
    except ProtocolError as error:
        return str(error)
    indexes = [value.index for value in values]
    if any(index <= 0 for index in indexes):
        return f"value at index {min(indexes)}: an index is at least 1"
    if len(set(indexes)) < len(indexes):
        return "an index is given twice"
    refusal = check_record(values)
    return None if refusal is None else refusal.message.decode("utf-8", "replace")


class Named:
    """The handles that a dump has named, eight octets each."""

    _BUCKETS = 4_096

    def __init__(self) -> None:
        self._buckets = [array("Q") for _ in range(self._BUCKETS)]
        self._is_sorted = False

    def add(self, key: bytes) -> None:
        """Note a storage key."""
        number = _digest(key)
        self._buckets[number % self._BUCKETS].append(number)

    def sort(self) -> None:
        """Make ready to be asked; nothing is added afterwards."""
        self._buckets = [array("Q", sorted(bucket)) for bucket in self._buckets]
        self._is_sorted = True

    def __contains__(self, key: bytes) -> bool:
        """Say whether a storage key was noted."""
        assert self._is_sorted
        number = _digest(key)
        bucket = self._buckets[number % self._BUCKETS]
        at = bisect_left(bucket, number)
        return at < len(bucket) and bucket[at] == number


def _digest(key: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")


def note_named(
    view: View, records: Iterable[DumpRecord], handles: Named, prefixes: set[bytes]
) -> None:
    """Note what records of a dump name."""
    for record in records:
        if isinstance(record, DumpHandle):
            handles.add(folded_key(view.fold(record.handle)))
        elif isinstance(record, DumpPrefix):
            prefixes.add(fold_handle(record.handle))


def sweep(
    view: WriteView, after: bytes, named: Named, now_ms: int, share: Share = ALL_HANDLES
) -> tuple[bytes | None, int]:
    """Delete what the dump of a share did not name, in one page of handles.

    Returns:
        Where to go on, None at the end; and how many were deleted.
    """
    page = view.table("handles").page(after, SWEPT_ROWS)
    doomed = []
    for key, stored in page:
        row = answering_row(stored)
        if row is not None and key not in named:
            handle = decode_record(view.ordinary_row(key, row)).handle or key
            if share.holds(handle):
                doomed.append(handle)
    _journal(view, Kind.DELETE, doomed, now_ms)
    return (page[-1][0] if len(page) == SWEPT_ROWS else None), len(doomed)


def end_dump(
    view: WriteView,
    prefixes: set[bytes],
    state: FollowState,
    now_ms: int,
    share: Share = ALL_HANDLES,
) -> FollowState:
    """Give up the prefixes of a share that its dump did not name; the log goes on from here."""
    homed = view.homed()
    doomed = [handle for handle in homed if handle not in prefixes and share.holds(handle)]
    _journal(view, Kind.UNHOME, doomed, now_ms)
    ended = structs.replace(state, is_dumped=True)
    put_state(view, ended)
    return ended


def _journal(view: WriteView, kind: Kind, handles: list[bytes], now_ms: int) -> None:
    made = [JournalOperation(kind, handle, (), OWNER, now_ms // 1_000) for handle in handles]
    make_changes(view, made, now_ms)
