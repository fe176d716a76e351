"""What the owner of the machine does to a store without being an administrator of it.

Whoever can write the store's files needs no key: making a node's first records, and putting a new
key in place of one an administrator has lost. Both are in the journal, the latter under its own
kind, with the owner as actor; both may run beside the node, LMDB lets one writer in at a time.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from protocol.errors import ProtocolError
from protocol.handle import check_handle, fold_handle, to_text
from protocol.types.hs_pubkey import decode_public_key
from protocol.value import HandleValue, Reference
from registry import edits
from registry.authentication import HS_PUBKEY, HS_SECKEY
from registry.checks import check_record, check_values
from registry.errors import StoreError
from registry.journal import FRAME_OPERATIONS_MAX, OWNER, JournalOperation, Kind, replay
from registry.log import LocalLog
from registry.outcomes import identity_text
from registry.schema import Record
from registry.store import Store


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
        for start in range(0, len(operations), FRAME_OPERATIONS_MAX):
            chunk = operations[start : start + FRAME_OPERATIONS_MAX]
            replay(view, chunk)
            LocalLog(view).append_operations(chunk, now_s * 1000)


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
        replay(view, [operation])
        LocalLog(view).append_operations([operation], now_s * 1000)


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
