"""Stores, values and identities that the registry's tests are made of."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from protocol.bodies import Body, HandleRequest, RemoveValuesRequest, ValuesRequest
from protocol.codes import AdminPermission, OpCode, Permission
from protocol.types.hs_admin import HsAdmin
from protocol.types.hs_site import HsSite
from protocol.types.hs_vlist import HsVlist
from protocol.value import HandleValue, Reference
from protocol.versions import V2_10
from registry.admin import Operation, Outcome, apply, decide
from registry.authorization import Policy
from registry.journal import JournalOperation
from registry.log import LocalLog
from registry.operations import Change
from registry.outcomes import NOTHING_FOREIGN, Foreign
from registry.roles import Role, Roles
from registry.store import Store

NOW_S = 1_795_000_000
PREFIX = b"0.NA/88.118"
HANDLE = b"88.118/A"
ADMIN = Reference(b"0.NA/88.118", 300)
STRANGER = Reference(b"88.118/STRANGER", 300)
ROOT = Reference(b"0.NA/0.NA", 300)
POLICY = Policy(Roles({Role.ADMINISTRATOR: (ROOT,)}))
MAP_OCTETS = 1 << 28


def open_store(folder: Path, *, case_sensitive: bool = False) -> Store:
    return Store.open(folder, sync=False, map_octets=MAP_OCTETS, case_sensitive=case_sensitive)


def url(
    index: int = 1, data: bytes = b"https://example.com/", permission: int = 0b1110
) -> HandleValue:
    return HandleValue(index, b"URL", data, permission, timestamp=NOW_S)


def hidden(
    index: int, permission: int = Permission.ADMIN_READ | Permission.ADMIN_WRITE
) -> HandleValue:
    return HandleValue(index, b"NOTE", b"secret", permission, timestamp=NOW_S)


def admin_value(
    admin: Reference = ADMIN, permissions: int = AdminPermission.ALL, index: int = 100
) -> HandleValue:
    return HandleValue(index, b"HS_ADMIN", HsAdmin(permissions, admin).encode(), timestamp=NOW_S)


def group(index: int, *members: Reference) -> HandleValue:
    return HandleValue(index, b"HS_VLIST", HsVlist(tuple(members)).encode(), timestamp=NOW_S)


def site_value(type_: bytes, index: int = 3, permission: int = 0b1110) -> HandleValue:
    site = HsSite(V2_10, 1, is_primary=True, servers=())
    return HandleValue(index, type_, site.encode(), permission, timestamp=NOW_S)


def put(
    store: Store, records: Mapping[bytes, Sequence[HandleValue]], homed: Iterable[bytes] = ()
) -> None:
    """Store records and prefixes without a journal."""
    with store.write(journaled=False) as view:
        for prefix in homed:
            view.home(prefix)
        for handle, values in records.items():
            view.put_record(handle, values)


def create(handle: bytes, *values: HandleValue, overwrite: bool = False) -> Operation:
    return Operation(OpCode.CREATE_HANDLE, ValuesRequest(handle, values), overwrite)


def add(handle: bytes, *values: HandleValue, overwrite: bool = False) -> Operation:
    return Operation(OpCode.ADD_VALUE, ValuesRequest(handle, values), overwrite)


def modify(handle: bytes, *values: HandleValue) -> Operation:
    return Operation(OpCode.MODIFY_VALUE, ValuesRequest(handle, values))


def remove(handle: bytes, *indexes: int) -> Operation:
    return Operation(OpCode.REMOVE_VALUE, RemoveValuesRequest(handle, indexes))


def delete(handle: bytes) -> Operation:
    return on_handle(OpCode.DELETE_HANDLE, handle)


def on_handle(opcode: OpCode, handle: bytes) -> Operation:
    body: Body = HandleRequest(handle)
    return Operation(opcode, body)


def decided(
    store: Store,
    operation: Operation,
    identity: Reference | None = ADMIN,
    foreign: Foreign = NOTHING_FOREIGN,
    policy: Policy = POLICY,
    now_s: int = NOW_S + 60,
) -> Outcome:
    """Decide against the store, changing nothing."""
    with store.read() as view:
        return decide(view, operation, identity, foreign, policy, now_s)


def perform(
    store: Store,
    *operations: Operation,
    identity: Reference | None = ADMIN,
    foreign: Foreign = NOTHING_FOREIGN,
    policy: Policy = POLICY,
    now_s: int = NOW_S + 60,
) -> list[Outcome]:
    """Decide and apply in one transaction, as a group commit does."""
    outcomes: list[Outcome] = []
    entries: list[JournalOperation] = []
    with store.write() as view:
        for operation in operations:
            outcome = decide(view, operation, identity, foreign, policy, now_s)
            outcomes.append(outcome)
            if isinstance(outcome, Change):
                entries += apply(view, outcome, identity, now_s)
        if entries:
            LocalLog(view).append_operations(entries, now_s * 1000)
    return outcomes


def values_of(store: Store, handle: bytes) -> tuple[HandleValue, ...] | None:
    """Return what is stored, or None."""
    with store.read() as view:
        record = view.find_record(handle)
    return None if record is None else record.values


def rows_of(store: Store) -> dict[bytes, bytes]:
    """Return all rows."""
    with store.read() as view:
        return dict(view.rows())
