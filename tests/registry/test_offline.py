from pathlib import Path

import pytest

from protocol.codes import Permission
from protocol.key_files import generate_rsa_key
from protocol.types.hs_pubkey import encode_public_key
from protocol.value import HandleValue, Reference
from registry.errors import StoreError
from registry.export import export_pages, export_records
from registry.journal import OWNER, Kind, decode_frame
from registry.offline import replace_key, seed_store
from registry.store import Store
from registry.verify import verify
from tests.registry.builders import (
    ADMIN,
    HANDLE,
    NOW_S,
    PREFIX,
    admin_value,
    hidden,
    open_store,
    put,
    url,
    values_of,
)

OLD_KEY = HandleValue(300, b"HS_PUBKEY", b"lost", 0b1110, ttl=77, timestamp=5)
LATER_S = NOW_S + 60


@pytest.fixture(scope="module")
def public_key() -> bytes:
    return encode_public_key(generate_rsa_key(1024).public_key())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A new node's store with an administrator whose key is lost."""
    records = {PREFIX: [url(), OLD_KEY, admin_value()]}
    seed_store(tmp_path / "store", records, [PREFIX, b"0.na/0.na"], actor=ADMIN, now_s=NOW_S)
    return tmp_path / "store"


def test_a_seeded_store(folder: Path) -> None:
    with open_store(folder) as store:
        with store.read() as view:
            assert view.list_homed(None, 9).handles == [b"0.NA/0.NA", PREFIX]
            ((_, frame),) = view.frames()
        values = values_of(store, PREFIX)
    assert values is not None
    assert [(value.index, value.timestamp) for value in values] == [
        (1, NOW_S),
        (300, NOW_S),
        (100, NOW_S),
    ]
    assert {entry.actor for entry in decode_frame(frame).operations} == {ADMIN}
    assert verify(folder).is_whole


def test_a_store_is_seeded_once(folder: Path) -> None:
    with pytest.raises(StoreError, match="not empty"):
        seed_store(folder, {}, [PREFIX], now_s=NOW_S)


def test_nothing_to_seed_makes_an_empty_store(tmp_path: Path) -> None:
    seed_store(tmp_path, {}, [], now_s=NOW_S)
    with open_store(tmp_path) as store, store.read() as view:
        assert view.head().seq == 0


@pytest.mark.parametrize(
    ("handle", "values", "words"),
    [
        (b"a/\xff", [url()], "not UTF-8"),
        (HANDLE, [url(0)], "index 0"),
        (HANDLE, [url(), url()], "given twice"),
    ],
)
def test_a_seed_is_checked(
    tmp_path: Path, handle: bytes, values: list[HandleValue], words: str
) -> None:
    with pytest.raises(StoreError, match=words):
        seed_store(tmp_path, {handle: values}, [], now_s=NOW_S)


def test_a_lost_key_is_replaced(folder: Path, public_key: bytes) -> None:
    with open_store(folder) as store:
        replace_key(store, Reference(b"0.na/88.118", 300), public_key, now_s=LATER_S)
        values = values_of(store, PREFIX)
        with store.read() as view:
            *_, (_, frame) = view.frames()
    assert values is not None
    assert values[-1] == HandleValue(
        300, b"HS_PUBKEY", public_key, 0b1110, ttl=77, timestamp=LATER_S
    )
    (entry,) = decode_frame(frame).operations
    assert (entry.kind, entry.handle, entry.actor) == (Kind.REPLACE_KEY, PREFIX, OWNER)
    assert verify(folder).is_whole


def test_a_key_is_put_where_there_was_none_or_a_secret(folder: Path, public_key: bytes) -> None:
    secret = HandleValue(301, b"HS_SECKEY", b"lost", 0b1100)
    with open_store(folder) as store:
        put(store, {HANDLE: [secret, url()]})
        for index in (301, 302):
            replace_key(store, Reference(HANDLE, index), public_key, now_s=LATER_S)
        values = values_of(store, HANDLE)
    assert values is not None
    keys = [value for value in values if value.type == b"HS_PUBKEY"]
    assert [(key.index, key.permission) for key in keys] == [
        (301, Permission.DEFAULT),
        (302, Permission.DEFAULT),
    ]


@pytest.mark.parametrize(
    ("identity", "words"),
    [
        (Reference(b"0.NA/88.118.5", 300), "not in this store"),
        (Reference(PREFIX, 1), "is a URL value"),
        (Reference(PREFIX, 0), "say which key"),
    ],
)
def test_what_cannot_be_replaced(
    folder: Path, public_key: bytes, identity: Reference, words: str
) -> None:
    with open_store(folder) as store:
        before = values_of(store, PREFIX)
        with pytest.raises(StoreError, match=words):
            replace_key(store, identity, public_key, now_s=LATER_S)
        assert values_of(store, PREFIX) == before


def test_what_is_no_key_is_refused(folder: Path) -> None:
    with open_store(folder) as store, pytest.raises(StoreError, match="is none"):
        replace_key(store, ADMIN, b"\0\0", now_s=LATER_S)


def test_export(empty: Store) -> None:
    long = b"88.118/" + b"Z" * 600
    records = {b"88.118/%d" % i: (url(), hidden(2)) for i in range(7)} | {long: (url(),)}
    put(empty, dict(records))
    with empty.read() as view:
        assert dict(export_records(view)) == records
    assert dict(export_pages(empty, 3)) == records
    assert list(export_pages(empty, 3)) == list(export_pages(empty))
