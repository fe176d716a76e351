"""What can be seen and changed within one transaction of the store.

A `View` reads, a `WriteView` also writes; both are handed out by `registry.store.Store` and end
with its `with` block. Names are handles as octets in any case; rows and keys are those of
`registry.schema`. Nothing here knows who may do what: `registry.admin` decides, then writes.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from heapq import nsmallest
from itertools import compress, islice, repeat
from typing import Any, NamedTuple

from protocol.handle import PREFIX_HANDLE_START, fold_handle
from protocol.value import HandleValue, Reference
from registry.counters import ALL_IDENTIFIERS, TABLE, Totals, find_totals, prefix_of
from registry.errors import JournalError, RecordError
from registry.first_count import is_counted
from registry.history_index import NOTHING, RANGED, UNDATED, came_to_be, note_change, note_jump
from registry.key_values import lost_indexes, may_have_keys
from registry.marks import (
    Mark,
    State,
    answering_row,
    decode_marked,
    encode_marked,
    is_deleted,
    is_marked,
    kept_row,
    remarked,
)
from registry.range_lookup import Held, find_range, make_row
from registry.ranges_table import RangesTable
from registry.row_changes import RowChanges
from registry.schema import (
    KEY_OCTETS_MAX,
    Record,
    decode_record,
    encode_record,
    folded_key,
    is_derived_list,
    list_start,
    storage_key,
)
from registry.tables import Table, Transaction, WritableTable, seek_after
from registry.template_expansion import expand
from registry.template_rows import is_template_row

GENESIS_DIGEST = bytes(32)  # stands before the first frame
_OWNER = Reference(b"", 0)
FOREIGN_RECORDS_MAX = 10_000  # administrators of one node that live elsewhere; ours
FOREIGN_FORGOTTEN = 100  # of them, when there is no room; ours: all are looked at for it, some 5 ms
LISTED_ROWS_MAX = 2_000  # looked at for one page of a list: some 3 ms; ours

_U64 = struct.Struct(">Q")
_I64 = struct.Struct(">q")
_FRAME_TIME_OFFSET = 9  # see `registry.journal`
_HEAD = struct.Struct(">Q32s")


class Databases(NamedTuple):
    """The named databases of the store; `registry.schema` says what is in them."""

    handles: Any
    prefixes: Any
    journal: Any
    snapshot: Any
    foreign: Any
    streams: Any
    verdicts: Any
    ranges: Any
    templates: Any
    histories: Any
    statistics: Any
    offices: Any
    meta: Any


class Head(NamedTuple):
    """The last frame of the journal: its sequence number (0: none yet) and SHA-256."""

    seq: int
    digest: bytes


class ForeignRecord(NamedTuple):
    """Values of another node's handle, and when they were fetched."""

    record: Record
    fetched_s: int


class SnapshotHead(NamedTuple):
    """The frame a snapshot stands for, and the seal over the snapshot's own frames."""

    seq: int
    digest: bytes
    seal: bytes


class HandlePage(NamedTuple):
    """Handles, and what the next page begins after, a storage key; None: there is no more."""

    handles: list[bytes]
    after: bytes | None


class View:
    """One consistent state of the store."""

    def __init__(self, txn: Transaction, databases: Databases, *, case_sensitive: bool) -> None:
        self._txn = txn
        self._dbs = databases
        self.case_sensitive = case_sensitive

    def fold(self, handle: bytes) -> bytes:
        """Return the form in which a handle is stored and listed here."""
        return fold_handle(handle, case_sensitive=self.case_sensitive)

    def stored_row(self, key: bytes) -> bytes | None:
        """Return what is stored under a storage key: a record, a marked row, a tombstone."""
        return self._txn.get(key, db=self._dbs.handles)

    def find_row(self, key: bytes) -> bytes | None:
        """Return the octets of the record that answers for the handle with this storage key.

        Of a frozen one they are those it keeps, in a range those made for it.

        Raises: RecordError: the mark, the row or the range is damaged.
        """
        row = self._txn.get(key, db=self._dbs.handles)
        if row is None:
            held = self.find_range(key)
            return None if held is None else make_row(held)
        kept = answering_row(row)
        return None if kept is None else self.ordinary_row(key, kept)

    def find_mark(self, handle: bytes) -> Mark | None:
        """Return a handle's mark, None when it has none. Raises: RecordError."""
        folded = self.fold(handle)
        row = self.stored_row(folded_key(folded))
        if row is None or not is_marked(row):
            return None
        mark, kept = decode_marked(row)
        # As in find_record: only the full handle tells.
        return mark if not kept or _row_handle(folded_key(folded), kept) == folded else None

    def find_range(self, folded: bytes) -> Held | None:
        """Return the range, revoked or not, around a folded handle. Raises: RecordError."""
        return find_range(self.table("ranges"), folded)

    def counts(self, name: bytes = ALL_IDENTIFIERS) -> Totals:
        """Return what there is under a name of `registry.counters`, such as a folded prefix.

        Raises: StoreError: damaged.
        """
        return find_totals(self.table(TABLE), name)

    def ordinary_row(self, key: bytes, row: bytes) -> bytes:
        """Return the record octets that a stored row stands for. Raises: RecordError."""
        return expand(self.table("templates").get, key, row) if is_template_row(row) else row

    def find_record(self, handle: bytes) -> Record | None:
        """Return a handle's record. Raises: RecordError."""
        folded = self.fold(handle)
        row = self.find_row(folded_key(folded))
        if row is None:
            return None
        record = decode_record(row)
        # A name may spell out the shortened key of another; only the full handle tells.
        if record.handle and record.handle != folded:
            return None
        return record

    def is_homed(self, prefix_handle: bytes) -> bool:
        """Say whether a prefix (`0.NA/88.118`) is homed here, and not silent."""
        key = storage_key(prefix_handle, case_sensitive=False)
        return bool(self._txn.get(key, db=self._dbs.prefixes))

    def list_handles(
        self,
        prefix_handle: bytes,
        after: bytes | None,
        limit: int,
        *,
        looked_at_max: int = LISTED_ROWS_MAX,
    ) -> HandlePage:
        """Return up to `limit` handles under a prefix, in key order.

        Args:
            prefix_handle: of the prefix.
            after: the storage key that the page before goes on after; None: from the start.
            limit: of the page.
            looked_at_max: rows looked at, with those that are revoked and no handles any more. A
                page may be short, even empty, and others follow all the same.
        """
        prefix = list_start(prefix_handle)
        cursor = self._txn.cursor(db=self._dbs.handles)
        handles: list[bytes] = []
        if not (cursor.set_range(prefix) if after is None else seek_after(cursor, after)):
            return HandlePage(handles, None)
        looked_at = 0
        for key, stored in islice(cursor.iternext(), looked_at_max):
            if not key.startswith(prefix):
                return HandlePage(handles, None)
            row = answering_row(stored)
            if row is not None:
                if len(handles) == limit:
                    return HandlePage(handles, after)
                handles.append(_row_handle(key, row))
            after, looked_at = key, looked_at + 1
        return HandlePage(handles, after if looked_at == looked_at_max else None)

    def listed_handle(self, key: bytes) -> bytes:
        """Return the handle of the row under a storage key, whatever its mark; no row: the key.

        That is what a list goes on after, where it was left between rows that are revoked.
        """
        row = self.stored_row(key)
        kept = b"" if row is None else kept_row(row)
        return _row_handle(key, kept) if kept else key

    def count_listed(self, prefix_handle: bytes) -> int | None:
        """Return how many handles `list_handles` has of a prefix; None: not counted yet."""
        if is_derived_list(prefix_handle) or not is_counted(self.table(TABLE)):
            return None
        return self.counts(fold_handle(prefix_handle)[len(PREFIX_HANDLE_START) :]).rows

    def step_over(
        self, prefix_handle: bytes, after: bytes | None, steps: int
    ) -> tuple[int, bytes | None]:
        """Go on by `steps` handles in a list.

        Returns how many there were, and the storage key to go on after, None at the end. Where
        every row is listed keys alone are looked at, nine million a second; elsewhere as many rows
        as a page looks at.
        """
        prefix = list_start(prefix_handle)
        counts = self.counts(prefix[:-1])
        cursor = self._txn.cursor(db=self._dbs.handles)
        if not (counts.revoked or counts.deleted or is_derived_list(prefix_handle)) and (
            cursor.set_range(prefix) if after is None else seek_after(cursor, after)
        ):
            keys = cursor.iternext(keys=True, values=False)
            last = next(islice(keys, steps - 1, None), None)
            if last is not None and last.startswith(prefix):
                return steps, last
        # Near the end of the list, or of one with marks.
        page = self.list_handles(prefix_handle, after, steps)
        return len(page.handles), page.after

    def list_homed(
        self, after: bytes | None, limit: int, *, looked_at_max: int = LISTED_ROWS_MAX
    ) -> HandlePage:
        """Return up to `limit` homed prefix handles beyond a storage key, in key order.

        Silent ones are left out, so that a page may be short as those of `list_handles` may.
        """
        cursor = self._txn.cursor(db=self._dbs.prefixes)
        handles: list[bytes] = []
        if not seek_after(cursor, after or b""):
            return HandlePage(handles, None)
        looked_at = 0
        for key, handle in islice(cursor.iternext(), looked_at_max):
            if handle:
                if len(handles) == limit:
                    return HandlePage(handles, after)
                handles.append(handle)
            after, looked_at = key, looked_at + 1
        return HandlePage(handles, after if looked_at == looked_at_max else None)

    def homed(self) -> Iterator[bytes]:
        """Iterate over all homed prefix handles in key order, silent ones included."""
        return (handle or key for key, handle in self._txn.cursor(db=self._dbs.prefixes))

    def silent(self) -> Iterator[bytes]:
        """Iterate over the homed prefix handles that are silent, in key order."""
        return (key for key, handle in self._txn.cursor(db=self._dbs.prefixes) if not handle)

    def find_foreign(self, handle: bytes) -> ForeignRecord | None:
        """Return what is kept of another node's handle, its suffix in the case asked."""
        row = self._txn.get(storage_key(handle, case_sensitive=True), db=self._dbs.foreign)
        if row is None:
            return None
        (fetched_s,) = _U64.unpack_from(row)
        return ForeignRecord(decode_record(row[_U64.size :]), fetched_s)

    def head(self) -> Head:
        """Return the last frame's sequence number and digest."""
        octets = self._txn.get(b"head", db=self._dbs.meta)
        return Head(0, GENESIS_DIGEST) if octets is None else Head(*_HEAD.unpack(octets))

    def frames(self, after_seq: int = 0) -> Iterator[tuple[int, bytes]]:
        """Iterate over (sequence number, frame octets) after a sequence number."""
        cursor = self._txn.cursor(db=self._dbs.journal)
        if cursor.set_range(_U64.pack(after_seq + 1)):
            for key, frame in cursor:
                yield _U64.unpack(key)[0], frame

    def snapshot(self) -> tuple[SnapshotHead, Iterator[bytes]] | None:
        """Return the sealed snapshot the journal was trimmed behind, and its frames."""
        octets = self._txn.get(b"snapshot", db=self._dbs.meta)
        if octets is None:
            return None
        head = SnapshotHead(*struct.unpack(">Q32s32s", octets))
        return head, (frame for _, frame in self._txn.cursor(db=self._dbs.snapshot))

    def rows(self) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over (storage key, what is stored) in key order, marked rows too."""
        yield from self._txn.cursor(db=self._dbs.handles)

    def records(self) -> Iterator[tuple[bytes, Record]]:
        """Iterate over (handle as stored, record that answers) in key order.

        Raises: RecordError.
        """
        for key, stored in self.rows():
            row = answering_row(stored)
            if row is not None:
                record = decode_record(self.ordinary_row(key, row))
                yield record.handle or key, record

    def page_records(self, after_key: bytes, limit: int) -> list[tuple[bytes, bytes, Record]]:
        """Return up to `limit` of (storage key, handle as stored, record that answers) past a key.

        Raises: RecordError.
        """
        cursor = self._txn.cursor(db=self._dbs.handles)
        found = seek_after(cursor, after_key)
        page: list[tuple[bytes, bytes, Record]] = []
        while found and len(page) < limit:
            key, row = cursor.key(), answering_row(cursor.value())
            if row is not None:
                record = decode_record(self.ordinary_row(key, row))
                page.append((key, record.handle or key, record))
            found = cursor.next()
        return page

    def count_records(self) -> int:
        """Return the number of handles stored; revoked ones, tombstones, ranges not counted."""
        counts = self.counts()
        entries = int(self._txn.stat(db=self._dbs.handles)["entries"])
        return entries - counts.deleted - counts.revoked

    def histories_after(self) -> int:
        """Return the frame after which changes are in the history; earlier ones are not."""
        octets = self.find_meta(b"histories")
        return self.head().seq if octets is None else int(_U64.unpack(octets)[0])

    def range_histories_after(self) -> int:
        """Return the frame after which changes of ranges are in the history."""
        octets = self.find_meta(b"range_histories")
        return self.head().seq if octets is None else int(_U64.unpack(octets)[0])

    def find_stream(self, name: bytes) -> bytes | None:
        """Return what is known of a stream, as `registry.streams` writes it."""
        return self._txn.get(name, db=self._dbs.streams)

    def count_streams(self) -> int:
        """Return the number of streams that are kept."""
        return int(self._txn.stat(db=self._dbs.streams)["entries"])

    def list_streams(self, after: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return up to `limit` of (name, what is known of it) beyond a name."""
        cursor = self._txn.cursor(db=self._dbs.streams)
        found = seek_after(cursor, after)
        streams: list[tuple[bytes, bytes]] = []
        while found and len(streams) < limit:
            streams.append(cursor.item())
            found = cursor.next()
        return streams

    def verdicts(self, name: bytes, row: int) -> Iterator[bytes]:
        """Iterate over what became of a stream's rows, from the batch that `row` is in."""
        cursor = self._txn.cursor(db=self._dbs.verdicts)
        found = cursor.set_range(name + _U64.pack(row))
        while found and cursor.key().startswith(name):
            yield cursor.value()
            found = cursor.next()

    def find_frame(self, seq: int) -> bytes | None:
        """Return a frame of the journal."""
        return self._txn.get(_U64.pack(seq), db=self._dbs.journal)

    def find_meta(self, key: bytes) -> bytes | None:
        """Return one entry of the store's own notes."""
        return self._txn.get(key, db=self._dbs.meta)

    def table(self, name: str) -> Table:
        """Return a database of the store by its name, to read."""
        return Table(self._txn, getattr(self._dbs, name))


def _row_handle(key: bytes, row: bytes) -> bytes:
    return key if len(key) < KEY_OCTETS_MAX else decode_record(row).handle or key


class WriteView(View):
    """A view that writes. `unjournaled` says that a change waits for its frame.

    `frame` is the number of that frame, under which changes stand in the history; None keeps none.
    What it changes in the number of identifiers is written by `changes`, at its end.
    """

    unjournaled = False

    def __init__(self, txn: Transaction, databases: Databases, *, case_sensitive: bool) -> None:
        super().__init__(txn, databases, case_sensitive=case_sensitive)
        self.changes = RowChanges(txn, databases)
        self._added = self.changes.added
        self._with_keys: dict[bytes, bytes] = {}  # rows as they were, by storage key
        self._ranges_with_keys: dict[bytes, bytes] = {}  # ranges as they were, by theirs

    @cached_property
    def frame(self) -> int | None:
        """The number of the frame that changes wait for."""
        return self.head().seq + 1

    def put_record(self, handle: bytes, values: Sequence[HandleValue]) -> None:
        """Store all values of a handle in place of what was there; a frozen one stays frozen."""
        folded = self.fold(handle)
        key = folded_key(folded)
        self.note_change(key)
        self.put_row(key, remarked(self.stored_row(key), encode_record(values, folded)))

    def note_change(self, key: bytes, *, was_made: bool = False) -> None:
        """Note for the history that what answers under a storage key is about to be changed.

        Args:
            key: of a handle; nothing is noted when nothing answers under it.
            was_made: note its creation too, because its values have times of their own.
        """
        if self.frame is None:
            return
        try:
            before = self.find_row(key)
            if before is not None and may_have_keys(before):
                self._with_keys.setdefault(key, before)
            when = NOTHING if before is None else came_to_be(before)
            if before is not None and self.stored_row(key) is None:
                when = RANGED
        except RecordError:
            when = UNDATED  # what was there is damaged: its times are not known
        if when != NOTHING or was_made:
            note_change(self.writable("histories"), key, self.frame, when)

    def lost_keys(self) -> frozenset[Reference]:
        """Return the keys that were there before this transaction and are not any more."""
        lost = set()
        for key, row in self._with_keys.items():
            try:
                before, row_now = decode_record(row), self.find_row(key)
                after = None if row_now is None else decode_record(row_now)
            except RecordError:
                continue  # nobody is proven with a key that cannot be read
            handle = before.handle or key
            lost |= {Reference(handle, index) for index in lost_indexes(before, after)}
        return frozenset(lost)

    def note_range_change(self, key: bytes, octets: bytes) -> None:
        """Note that a range is about to be changed that has this key and this record."""
        if may_have_keys(octets):
            self._ranges_with_keys.setdefault(key, octets)

    def changed_ranges(self) -> dict[bytes, bytes]:
        """Return the ranges with keys in their values that this transaction changed, as they were.

        Which identifiers have lost one: `registry.range_keys`.
        """
        return self._ranges_with_keys

    def put_row(self, key: bytes, row: bytes) -> None:
        """Store a record's octets, or a marked row, under its storage key."""
        self.unjournaled = True
        handles = self._dbs.handles
        before: bytes | None = None
        if not self._txn.put(key, row, overwrite=False, db=handles):
            before = self._txn.get(key, db=handles)
            self._txn.put(key, row, db=handles)
        self.changes.row(key, before, row)

    def add_row(self, key: bytes, row: bytes) -> bool:
        """Store a record's octets under a storage key that is free; say whether it was.

        One is not free that a row has, or a range, be it revoked. Raises: RecordError.
        """
        if self.changes.has_ranges(prefix_of(key)) and self.find_range(key) is not None:
            return False
        if not self._txn.put(key, row, overwrite=False, db=self._dbs.handles):
            return False
        self._added.append(key)
        self.unjournaled = True
        return True

    def add_rows(self, keys: Sequence[bytes], rows: Sequence[bytes]) -> list[bool]:
        """Store records' octets under storage keys that are free; say of each whether it was.

        As `add_row` for each, but that a damaged range is a key that is not free. Of rows with
        the same key the first is stored.
        """
        prefixes = list(map(prefix_of, keys))
        free = self._find_free(keys, prefixes)
        if free is None:
            added = self._put_new(keys, rows)
        else:
            put = iter(self._put_new(list(compress(keys, free)), list(compress(rows, free))))
            added = [is_free and next(put) for is_free in free]
        new = keys if all(added) else list(compress(keys, added))
        if len(set(prefixes)) == 1:
            self.changes.add(new, prefixes[0] + b"/")
        else:
            self._added += new
        self.unjournaled |= bool(new)
        return added

    def _find_free(self, keys: Sequence[bytes], prefixes: Sequence[bytes]) -> list[bool] | None:
        """Say of each key whether no range is around it; None: there are none of any prefix."""
        ranged = {each for each in set(prefixes) if self.changes.has_ranges(each)}
        if not ranged:
            return None
        return [
            prefix not in ranged or self._is_outside_ranges(key)
            for key, prefix in zip(keys, prefixes, strict=True)
        ]

    def _is_outside_ranges(self, key: bytes) -> bool:
        try:
            return self.find_range(key) is None
        except RecordError:
            return False

    def _put_new(self, keys: Sequence[bytes], rows: Sequence[bytes]) -> list[bool]:
        """Store rows under keys that no row has; say of each whether it was stored.

        They are put in order: a neighbour of the one before needs no way down from the root.
        """
        put = self._txn.cursor(db=self._dbs.handles).put
        if sorted(keys) == list(keys):
            return list(map(put, keys, rows, repeat(True), repeat(False)))  # no overwriting
        added = [False] * len(keys)
        for at in sorted(range(len(keys)), key=keys.__getitem__):
            added[at] = put(keys[at], rows[at], True, False)
        return added

    def counts(self, name: bytes = ALL_IDENTIFIERS) -> Totals:
        """Return likewise, as of now."""
        return self.changes.totals(name)

    def put_stream(self, name: bytes, octets: bytes) -> None:
        """Keep what is known of a stream."""
        self._txn.put(name, octets, db=self._dbs.streams)

    def put_verdicts(self, name: bytes, last_row: int, octets: bytes) -> None:
        """Keep what became of some rows of a stream, the last of which is `last_row`."""
        self._txn.put(name + _U64.pack(last_row), octets, db=self._dbs.verdicts)

    def delete_verdicts(self, name: bytes, limit: int) -> int:
        """Delete up to `limit` batches of a stream's verdicts; return how many there were."""
        cursor = self._txn.cursor(db=self._dbs.verdicts)
        deleted = 0
        while deleted < limit and cursor.set_range(name) and cursor.key().startswith(name):
            cursor.delete()
            deleted += 1
        return deleted

    def delete_stream(self, name: bytes) -> None:
        """Forget a stream whose verdicts are deleted already."""
        self._txn.delete(name, db=self._dbs.streams)

    def delete_record(self, handle: bytes, by: Reference = _OWNER, time_s: int = 0) -> bool:
        """Delete a handle; say whether it was there. In a range a tombstone takes its place.

        Args:
            handle: in any case.
            by: who deletes it; the tombstone says so.
            time_s: when.
        """
        self.unjournaled = True
        key = storage_key(handle, self.case_sensitive)
        before = self.stored_row(key)
        if before is not None and is_deleted(before):
            return False
        self.note_change(key)
        if self.changes.stands_in_range(key):
            self.put_row(key, encode_marked(Mark(State.DELETED, time_s, by), b""))
            return True
        return self._remove(key, before)

    def remove_tombstones(self, keys: Sequence[bytes]) -> None:
        """Take tombstones away, in order: the range that was around them is not there any more."""
        cursor = self._txn.cursor(db=self._dbs.handles)
        for key in keys:
            assert cursor.set_key(key), "a tombstone that is there"
            cursor.delete()
        self.changes.tombstones_removed(keys)

    def _remove(self, key: bytes, before: bytes | None) -> bool:
        self.changes.row(key, before, None)
        return self._txn.delete(key, db=self._dbs.handles)

    def home(self, prefix_handle: bytes) -> None:
        """Take a prefix in; one that is here and silent stays so."""
        folded = fold_handle(prefix_handle)
        self._txn.put(folded_key(folded), folded, overwrite=False, db=self._dbs.prefixes)
        self.unjournaled = True

    def let_answer(self, prefix_handle: bytes, answers: bool) -> None:
        """Have a prefix that is homed here answer, or be silent; one that is not stays so."""
        folded = fold_handle(prefix_handle)
        key = folded_key(folded)
        if self._txn.get(key, db=self._dbs.prefixes) is not None:
            self._txn.put(key, folded if answers else b"", db=self._dbs.prefixes)
            self.unjournaled = True

    def unhome(self, prefix_handle: bytes) -> bool:
        """Give a prefix up; say whether it was homed. Its handles stay stored."""
        self.unjournaled = True
        key = storage_key(prefix_handle, case_sensitive=False)
        return self._txn.delete(key, db=self._dbs.prefixes)

    def put_foreign(self, handle: bytes, values: Sequence[HandleValue], now_s: int) -> None:
        """Keep values of another node's handle; the longest kept ones make room when full.

        Some at a time: to find them all are looked at.
        """
        folded = fold_handle(handle, case_sensitive=True)
        key = folded_key(folded)
        database = self._dbs.foreign
        full = self._txn.stat(db=database)["entries"] >= FOREIGN_RECORDS_MAX
        if full and self._txn.get(key, db=database) is None:
            kept = ((row[: _U64.size], other) for other, row in self._txn.cursor(db=database))
            for _, oldest in nsmallest(FOREIGN_FORGOTTEN, kept):
                self._txn.delete(oldest, db=database)
        self._txn.put(key, _U64.pack(now_s) + encode_record(values, folded), db=database)

    def append_frame(self, seq: int, frame: bytes, digest: bytes) -> None:
        """Append a frame whose SHA-256 is `digest`.

        Raises:
            JournalError: `seq` does not follow the head.
        """
        head = self.head()
        if seq != head.seq + 1:
            raise JournalError(f"frame {seq} does not follow frame {head.seq}")
        self._txn.put(_U64.pack(seq), frame, db=self._dbs.journal)
        self._txn.put(b"head", _HEAD.pack(seq, digest), db=self._dbs.meta)
        self.note_time(seq, *_I64.unpack_from(frame, _FRAME_TIME_OFFSET))
        self.__dict__.pop("frame", None)
        self.unjournaled = False

    def note_time(self, seq: int, time_ms: int) -> None:
        """Note when a frame was made, and whether the clock had gone back before it."""
        before = self.find_meta(b"time")
        if before is not None and time_ms < _I64.unpack(before)[0]:
            note_jump(self.writable("histories"), seq)
        self.put_meta(b"time", _I64.pack(time_ms))

    def put_snapshot(self, head: SnapshotHead, frames: Iterable[bytes]) -> None:
        """Keep a sealed snapshot in place of the one before."""
        self._txn.drop(self._dbs.snapshot, delete=False)
        for number, frame in enumerate(frames):
            self._txn.put(struct.pack(">I", number), frame, db=self._dbs.snapshot)
        self._txn.put(b"snapshot", struct.pack(">Q32s32s", *head), db=self._dbs.meta)

    def delete_frames(self, through_seq: int) -> int:
        """Delete frames up to and including a sequence number; return how many there were."""
        doomed = []
        for seq, _ in self.frames():
            if seq > through_seq:
                break
            doomed.append(_U64.pack(seq))
        for key in doomed:
            self._txn.delete(key, db=self._dbs.journal)
        return len(doomed)

    def writable(self, name: str) -> WritableTable:
        """Return a database of the store by its name, to write.

        Its owner sets `unjournaled` when what it writes has to be in the journal. Ranges are
        counted as they are written.
        """
        if name == "ranges":
            return RangesTable(self._txn, self._dbs.ranges, self.changes)
        return WritableTable(self._txn, getattr(self._dbs, name))

    def put_meta(self, key: bytes, octets: bytes) -> None:
        """Set one entry of the store's own notes."""
        self._txn.put(key, octets, db=self._dbs.meta)

    def delete_meta(self, key: bytes) -> None:
        """Delete one entry of the store's own notes, if it is there."""
        self._txn.delete(key, db=self._dbs.meta)
