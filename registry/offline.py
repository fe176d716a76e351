"""What the owner of the machine does to a store without being an administrator of it.

Whoever can write the store's files needs no key: making a node's first records, putting a new key
in place of one an administrator has lost, and loading records from a file. All are in the journal,
a replaced key under its own kind, with the owner as actor; all may run beside other writers, LMDB
lets one in at a time.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from protocol.codes import ResponseCode
from protocol.errors import ProtocolError
from protocol.handle import check_handle, fold_handle, to_text
from protocol.types.hs_pubkey import decode_public_key
from protocol.value import HandleValue, Reference, encode_values, read_values
from protocol.wire import HANDLE_OCTETS_MAX, Reader
from registry import edits
from registry.checks import check_record, check_values
from registry.errors import StoreError
from registry.history_index import UNDATED, came_to_be
from registry.journal import (
    FRAME_OPERATIONS_MAX,
    OWNER,
    JournalOperation,
    Kind,
    is_own_time,
    pack_change,
)
from registry.key_values import HS_PUBKEY, HS_SECKEY
from registry.log import LocalLog
from registry.marks import (
    NEVER_AGAIN,
    State,
    frozen_words,
    is_deleted,
    kept_row,
    revoked_words,
)
from registry.offline_marks import load_mark
from registry.offline_ranges import LoadedForm, LoadedRanges, load_deletion, load_range
from registry.outcomes import identity_text
from registry.replay import make_changes
from registry.schema import (
    RECORD_OCTETS_MAX,
    Record,
    decode_record,
    encode_record,
    folded_key,
    record_of_public,
)
from registry.store import Store
from registry.stream_rows import RowKind
from registry.undated import first_difference
from registry.views import WriteView

_NO_DOCUMENT: Mapping[str, Any] = MappingProxyType({})
LOAD_OCTETS_MAX = 16 * 1_048_576  # of values in one transaction: bounds memory and dirty pages


def seed_store(
    folder: Path,
    records: Mapping[bytes, Sequence[HandleValue]],
    homed: Iterable[bytes],
    *,
    actor: Reference = OWNER,
    now_s: int,
    case_sensitive: bool = False,
) -> None:
    """Make the store of a new node.

    Args:
        folder: where; must not hold a store with anything in it.
        records: values by handle.
        homed: prefix handles to answer for.
        actor: who the journal says did it.
        now_s: timestamp of the values.
        case_sensitive: whether suffixes keep their case, for good.

    Raises:
        StoreError: the store is there already, or a record may not be stored.
    """
    operations = [
        JournalOperation(Kind.HOME, fold_handle(prefix), (), actor, now_s) for prefix in homed
    ]
    for handle, values in records.items():
        _check(handle, values)
        folded = fold_handle(handle, case_sensitive=case_sensitive)
        stamped = edits.stamp(values, (), now_s)
        operations.append(JournalOperation(Kind.CREATE, folded, stamped, actor, now_s))
    with Store.open(folder, case_sensitive=case_sensitive) as store, store.write() as view:
        if view.head().seq or view.count_records():
            raise StoreError(f"the store in {folder} is not empty: use another folder")
        make_changes(view, operations, now_s * 1000)


def _check(handle: bytes, values: Sequence[HandleValue]) -> None:
    try:
        check_handle(handle)
    except ProtocolError as error:
        raise StoreError(f"{to_text(handle)}: {error}") from error
    refusal = check_values(values) or check_record(values)
    if refusal is not None:
        raise StoreError(f"{to_text(handle)}: {to_text(refusal.message)}")


def replace_key(store: Store, identity: Reference, public_key: bytes, *, now_s: int) -> None:
    """Put a new public key where an identity's key is, or where there is none yet.

    Args:
        store: opened for writing.
        identity: handle and index of the key, index at least 1.
        public_key: HS_PUBKEY data.
        now_s: timestamp of the value.

    Raises:
        StoreError: not a key; the handle lives on another node; another type stands at the index.
    """
    try:
        decode_public_key(public_key)
    except ProtocolError as error:
        raise StoreError(f"the new public key is none: {error}") from error
    if identity.index < 1:
        raise StoreError(f"{identity_text(identity)}: say which key, an index is at least 1")
    with store.write() as view:
        record = view.find_record(identity.handle)
        if record is None:
            raise StoreError(
                f"{to_text(identity.handle)} is not in this store: its key is replaced on the "
                "node that holds it, which for a prefix is its parent's"
            )
        values = edits.with_added(record.values, (_new_key(record, identity, public_key, now_s),))
        handle = view.fold(identity.handle)
        operation = JournalOperation(Kind.REPLACE_KEY, handle, values, OWNER, now_s)
        make_changes(view, [operation], now_s * 1000)


def _new_key(record: Record, identity: Reference, public_key: bytes, now_s: int) -> HandleValue:
    present = record.find_value(identity.index)
    if present is None or present.type == HS_SECKEY:
        # A secret's permissions hide it; a public key is to be seen.
        return HandleValue(identity.index, HS_PUBKEY, public_key, timestamp=now_s)
    if present.type != HS_PUBKEY:
        raise StoreError(
            f"{identity_text(identity)} is a {to_text(present.type)} value, not a key: "
            "use the index of the key itself"
        )
    return replace(present, data=public_key, timestamp=now_s)


class LoadPolicy(StrEnum):
    """What to do with a row whose handle is stored with other values."""

    REFUSE = "refuse"
    SKIP = "skip"
    REPLACE = "replace"


class LoadRow(NamedTuple):
    """One record to load; `number` counts rows from 1.

    `values` given as octets are the wire octets of a value list that anybody may read, that
    `check_values` would let pass and that has its timestamps.
    """

    number: int
    handle: bytes
    values: Sequence[HandleValue] | bytes
    kind: RowKind = RowKind.CREATE
    """REPLACE: a row also where a range has the handle; RANGE, DELETE: `registry.offline_ranges`"""
    document: Mapping[str, Any] = _NO_DOCUMENT
    octets: int = 0
    """Of the document, as it was read."""
    mark: State | None = None
    """FROZEN, REVOKED: a mark instead of a record, its document says whose (`offline_marks`)."""
    form: LoadedForm | None = None
    """Of a range that may be plain, instead of its handle and its document."""
    filled_s: int = 0
    """What octets have in place of timestamps that the file does not state."""

    def in_full(self) -> "LoadRow":
        """Return the row of a range with its handle and its document."""
        if self.form is None:
            return self
        handle = (self.form.stem + self.form.first).encode()[:HANDLE_OCTETS_MAX]
        return self._replace(handle=handle, document=self.form.document(), form=None)

    def in_values(self) -> tuple[HandleValue, ...]:
        """Return the values of a record, however they are given."""
        if isinstance(self.values, bytes):
            return read_values(Reader(self.values)) if self.values else ()
        return tuple(self.values)


class RefusedRow(NamedTuple):
    """A row that was not stored, and why."""

    row: LoadRow
    code: int
    reason: str


@dataclass(slots=True)
class LoadedBatch:
    """What became of the rows of one transaction, which is committed."""

    stored: int = 0
    existed: int = 0
    refused: list[RefusedRow] = field(default_factory=list)


def load_records(
    store: Store,
    rows: Iterable[LoadRow],
    *,
    policy: LoadPolicy = LoadPolicy.REFUSE,
    now_s: Callable[[], int],
) -> Iterator[LoadedBatch]:
    """Store rows as they are, a transaction and a journal frame for up to 4,096 of them.

    Values keep the timestamp they state. A row that is stored already counts as one that existed,
    whatever the timestamps of values that state none, so after a break the same file may be loaded
    again.

    Args:
        store: opened for writing.
        rows: read one transaction ahead, no further.
        policy: for handles stored with other values.
        now_s: for values without a timestamp, and the time of a frame.

    Raises:
        StoreFullError: no room; the batches yielded before are stored, this one is not.
    """
    for batch in batches(rows):
        yield load_batch(store, batch, policy, now_s())


def batches(rows: Iterable[LoadRow]) -> Iterator[list[LoadRow]]:
    """Iterate over rows in lists, each small enough for one transaction."""
    batch: list[LoadRow] = []
    octets = 0
    for row in rows:
        batch.append(row)
        octets += row.octets
        octets += len(row.values) if isinstance(row.values, bytes) else _data_octets(row.values)
        if len(batch) == FRAME_OPERATIONS_MAX or octets >= LOAD_OCTETS_MAX:
            yield batch
            batch, octets = [], 0
    if batch:
        yield batch


def _data_octets(values: Iterable[HandleValue]) -> int:
    return sum(len(value.data) for value in values)


def load_batch(
    store: Store, batch: Sequence[LoadRow], policy: LoadPolicy, now_s: int
) -> LoadedBatch:
    """Store rows in one transaction with one frame. Raises: StoreFullError, nothing is stored."""
    loaded = LoadedBatch()
    items: list[list[Any]] = []
    with store.write() as view:
        ranges = LoadedRanges(view, now_s)
        for row in batch:
            if row.form is not None and ranges.load(row.form):
                loaded.stored += 1
                continue
            items += ranges.take_items()
            try:
                item = _load_row(view, row.in_full(), policy, now_s)
            except StoreError as error:
                loaded.refused.append(refusal_of(row.in_full(), error))
                continue
            if item is None:
                loaded.existed += 1
            else:
                loaded.stored += 1
                items.append(item)
        items += ranges.take_items()
        if items:
            LocalLog(view).append_packed(items, now_s * 1000)
    return loaded


def refusal_of(row: LoadRow, error: StoreError) -> RefusedRow:
    """Return a row with why it was not stored."""
    code = getattr(error, "response_code", ResponseCode.INVALID_VALUE)
    return RefusedRow(row, int(code), str(error))


def try_row(view: WriteView, row: LoadRow, now_s: int) -> None:
    """Do what a row says in a transaction that is to be taken back. Raises: StoreError."""
    _load_row(view, row.in_full(), LoadPolicy.REFUSE, now_s)


class _ExistsError(StoreError):
    response_code = ResponseCode.HANDLE_ALREADY_EXISTS


def _load_row(view: WriteView, row: LoadRow, policy: LoadPolicy, now_s: int) -> list[Any] | None:
    """Do what one row says; return its operation, None when nothing was to be done."""
    if row.mark is not None:
        return load_mark(view, row.handle, row.mark, row.document, now_s)
    if row.kind == RowKind.RANGE:
        return load_range(view, row.document, now_s)
    if row.kind == RowKind.DELETE:
        return load_deletion(view, row.handle, row.document, now_s)
    return _load_record(view, row, policy, now_s)


def _load_record(view: WriteView, row: LoadRow, policy: LoadPolicy, now_s: int) -> list[Any] | None:
    """Store the values of one row; return its operation, None when nothing was to be done."""
    folded = view.fold(row.handle)
    if isinstance(row.values, bytes):
        octets = row.values
        if len(octets) > RECORD_OCTETS_MAX:
            raise StoreError(f"the values take {len(octets)} octets, at most {RECORD_OCTETS_MAX}")
        record = record_of_public(octets, folded)
    else:
        _check(row.handle, row.values)
        values = [v if v.timestamp else replace(v, timestamp=now_s) for v in row.values]
        octets, record = encode_values(values), encode_record(values, folded)
    key = folded_key(folded)
    stored = view.stored_row(key)
    if stored is not None and is_deleted(stored):
        stored = None
    if stored is not None and _is_kept(stored, row, record):
        return None  # be it frozen or revoked
    _check_unmarked(view, row.handle)
    if stored is None and row.kind != RowKind.REPLACE and view.find_range(key) is not None:
        raise _ExistsError('a range has the handle: a row in it says "operation": "replace"')
    if stored is not None and policy is LoadPolicy.SKIP:
        return None
    if stored is not None and policy is LoadPolicy.REFUSE:
        raise _ExistsError("the handle is stored with other values")
    first_s = came_to_be(record)
    view.note_change(key, was_made=first_s == UNDATED or is_own_time(first_s, now_s))
    view.put_row(key, record)
    return pack_change(Kind.CREATE, folded, octets, OWNER, now_s)


def _is_kept(stored: bytes, row: LoadRow, record: bytes) -> bool:
    """Say whether a stored row is what a row of the file says, dated or not."""
    kept = kept_row(stored)
    if kept == record:
        return True
    if not kept:
        return False
    return not first_difference(row.in_values(), decode_record(kept).values, row.filled_s)


def _check_unmarked(view: WriteView, handle: bytes) -> None:
    """Refuse what may not be changed, or is never given out again. Raises: StoreError."""
    mark = view.find_mark(handle)
    if mark is not None and mark.state == State.REVOKED:
        raise _ExistsError(f"{revoked_words(handle, mark)}; {NEVER_AGAIN}")
    if mark is not None and mark.state == State.FROZEN:
        raise _ExistsError(frozen_words(handle, mark))
