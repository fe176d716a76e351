import errno
import os
import subprocess
import sys
from pathlib import Path

import lmdb
import pytest

from protocol.handle import fold_case
from registry.errors import JournalError, StoreError, StoreFullError
from registry.marks import Mark, State, encode_marked
from registry.migrations import MIGRATIONS
from registry.range_records import RangeRecord, encode_range, find_held, range_key
from registry.schema import folded_key
from registry.store import CacheStore, Store
from registry.views import FOREIGN_RECORDS_MAX, GENESIS_DIGEST, Head, WriteView
from tests.registry.builders import (
    ADMIN,
    MAP_OCTETS,
    NOW_S,
    PREFIX,
    hidden,
    open_store,
    put,
    rows_of,
    url,
    values_of,
)


def test_records_are_found_in_any_case(empty: Store) -> None:
    put(empty, {b"88.118/abc": [url()]})
    assert values_of(empty, b"88.118/ABC") == (url(),)
    assert values_of(empty, b"88.118/AbC") == (url(),)
    assert values_of(empty, b"88.118/ABD") is None


def test_a_case_sensitive_store_tells_suffixes_apart(tmp_path: Path) -> None:
    with open_store(tmp_path, case_sensitive=True) as store:
        put(store, {b"ab/x": [url()], b"0.na/x": [url(2)]})
        assert values_of(store, b"AB/x") == (url(),)
        assert values_of(store, b"AB/X") is None
        assert values_of(store, b"0.NA/X") == (url(2),)


def test_what_was_written_is_there_after_opening_again(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        put(store, {b"88.118/A": [url(), hidden(2)]}, [PREFIX])
    with Store.open(tmp_path, readonly=True, map_octets=MAP_OCTETS) as store:
        assert values_of(store, b"88.118/A") == (url(), hidden(2))
        with store.read() as view:
            assert view.is_homed(b"0.na/88.118")


def test_an_exception_undoes_the_transaction(empty: Store) -> None:
    def fail_halfway() -> None:
        with empty.write() as view:
            view.put_record(b"88.118/A", [url()])
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        fail_halfway()
    assert values_of(empty, b"88.118/A") is None


def test_changes_without_a_frame_are_our_own_mistake(empty: Store) -> None:
    def forget_the_frame() -> None:
        with empty.write() as view:
            view.put_record(b"88.118/A", [url()])

    with pytest.raises(AssertionError, match="without a journal frame"):
        forget_the_frame()
    assert rows_of(empty) == {}


def test_a_full_map_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    with Store.open(tmp_path, sync=False, map_octets=1 << 18) as store:
        put(store, {b"88.118/A": [url()]})
        before = rows_of(store)
        with pytest.raises(StoreFullError, match="full"):
            put(store, {b"88.118/%d" % i: [url(1, b"x" * 1000)] for i in range(1000)})
        assert rows_of(store) == before
        put(store, {b"88.118/B": [url()]})
        assert values_of(store, b"88.118/B") == (url(),)


def test_a_disk_without_room_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    # A bound on the file's size cuts the write itself short, as a full disk does.
    program = f"""
import resource, signal
from pathlib import Path
import registry.store
from registry.errors import StoreFullError
from registry.store import Store
from tests.registry.builders import put, url, values_of
registry.store.free_octets = lambda folder: 0
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = Store.open(Path({str(tmp_path)!r}), map_octets=1 << 28)
put(store, {{b"88.118/A": [url()]}})
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
try:
    put(store, {{b"88.118/%d" % i: [url(1, b"x" * 1000)] for i in range(1000)}})
except StoreFullError as error:
    print("full:", error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
put(store, {{b"88.118/B": [url()]}})
print(values_of(store, b"88.118/A") == (url(),), values_of(store, b"88.118/7"),
      values_of(store, b"88.118/B") == (url(),))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[0].startswith("full:")
    assert done.stdout.splitlines()[1] == "True None True"


@pytest.mark.parametrize(
    ("number", "free", "raised"),
    [
        (errno.ENOSPC, 1 << 40, StoreFullError),
        (errno.EDQUOT, 1 << 40, StoreFullError),
        (errno.EIO, 0, StoreFullError),
        (errno.EIO, 1 << 40, StoreError),
    ],
)
def test_what_lmdb_reports_becomes_ours(
    empty: Store,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    free: int,
    raised: type[StoreError],
) -> None:
    monkeypatch.setattr("registry.store.free_octets", lambda folder: free)
    error = lmdb.Error("mdb_txn_commit")
    error.__dict__["code"] = number
    with pytest.raises(StoreError) as caught, empty.read():
        raise error
    assert type(caught.value) is raised
    assert str(empty.folder) in str(caught.value)


def test_lists_come_in_pages_in_key_order(empty: Store) -> None:
    long = b"88.118/" + b"M" * 600
    names = [b"88.118/%c" % letter for letter in b"ABCDEZ"] + [long, long + b"1"]
    put(empty, {name: [url()] for name in [*names, b"88.1180/X", b"88.11/X", b"88.118.5/X"]})
    listed: list[bytes] = []
    after: bytes | None = None
    with empty.read() as view:
        for length in (3, 3, 2):
            page, after = view.list_handles(PREFIX, after, 3)
            assert len(page) == length
            listed += page
    assert after is None
    assert listed[:5] == [b"88.118/%c" % letter for letter in b"ABCDE"]
    assert set(listed[5:7]) == {long, long + b"1"}
    assert listed[7:] == [b"88.118/Z"]


def test_a_list_goes_on_after_a_handle_that_was_deleted(empty: Store) -> None:
    put(empty, {b"88.118/%c" % letter: [url()] for letter in b"AC"})
    with empty.read() as view:
        assert view.list_handles(PREFIX, b"88.118/B", 10) == ([b"88.118/C"], None)


def test_a_list_looks_at_some_rows_and_goes_on_behind_those_that_are_revoked(empty: Store) -> None:
    names = [b"88.118/%03d" % number for number in range(12)]
    long = b"88.118/004" + b"X" * 600
    put(empty, {name: [url()] for name in [*names, long]})
    mark = Mark(State.REVOKED, NOW_S, ADMIN, "recalled")
    with empty.write(journaled=False) as view:
        for name in [*names[1:11], long]:
            view.put_row(folded_key(name), encode_marked(mark, b""))
    pages: list[list[bytes]] = []
    after: bytes | None = None
    with empty.read() as view:
        while not pages or after is not None:
            page, after = view.list_handles(PREFIX, after, 5, looked_at_max=4)
            pages.append(page)
    assert pages == [names[:1], [], [], names[11:]]


def test_homed_prefixes_come_in_pages(empty: Store) -> None:
    put(empty, {}, [b"0.na/b", b"0.NA/A", b"0.NA/0.NA", b"0.NA/C"])
    with empty.read() as view:
        first = view.list_homed(None, 3).handles
        assert first == [b"0.NA/0.NA", b"0.NA/A", b"0.NA/B"]
        assert view.list_homed(first[-1], 3) == ([b"0.NA/C"], None)
        assert list(view.homed()) == [*first, b"0.NA/C"]


def test_pages_of_records(empty: Store) -> None:
    put(empty, {b"88.118/%c" % letter: [url()] for letter in b"ABC"})
    with empty.read() as view:
        page = view.page_records(b"", 2)
        assert [handle for _, handle, _ in page] == [b"88.118/A", b"88.118/B"]
        assert [handle for _, handle, _ in view.page_records(page[-1][0], 2)] == [b"88.118/C"]
        assert view.count_records() == 3


def test_the_name_of_a_shortened_key_finds_nothing(empty: Store) -> None:
    # Folding must not change the hash in the key, or it would not be found anyway.
    handles = (b"88.118/" + b"X" * 600 + b"%d" % number for number in range(100_000))
    handle = next(each for each in handles if fold_case(folded_key(each)) == folded_key(each))
    put(empty, {handle: [url()]})
    (key,) = rows_of(empty)
    assert values_of(empty, handle) == (url(),)
    assert values_of(empty, key) is None


def test_foreign_records_keep_the_case_of_the_suffix(empty: Store) -> None:
    with empty.write() as view:
        view.put_foreign(b"a/Key", [url()], 77)
        found = view.find_foreign(b"A/Key")
        assert found is not None
        assert (found.record.values, found.fetched_s) == ((url(),), 77)
        assert view.find_foreign(b"a/key") is None


def test_the_oldest_foreign_record_makes_room(
    empty: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.views.FOREIGN_RECORDS_MAX", 3)
    monkeypatch.setattr("registry.views.FOREIGN_FORGOTTEN", 1)
    assert FOREIGN_RECORDS_MAX > 3
    with empty.write() as view:
        for name, fetched_s in ((b"a/1", 30), (b"a/2", 10), (b"a/3", 20)):
            view.put_foreign(name, [url()], fetched_s)
        view.put_foreign(b"a/3", [url()], 21)
        assert view.find_foreign(b"a/2") is not None
        view.put_foreign(b"a/4", [url()], 40)
        assert view.find_foreign(b"a/2") is None
        assert view.find_foreign(b"a/1") is not None
        monkeypatch.setattr("registry.views.FOREIGN_FORGOTTEN", 2)
        view.put_foreign(b"a/5", [url()], 50)
        kept = [each for each in (1, 3, 4, 5) if view.find_foreign(b"a/%d" % each) is not None]
        assert kept == [4, 5]


def test_frames_follow_each_other(empty: Store) -> None:
    one, two, four = (octets.ljust(53) for octets in (b"one", b"two", b"four"))
    with empty.write() as view:
        assert view.head() == Head(0, GENESIS_DIGEST)
        view.append_frame(1, one, b"1" * 32)
        view.append_frame(2, two, b"2" * 32)
        with pytest.raises(JournalError, match="frame 4 does not follow frame 2"):
            view.append_frame(4, four, b"4" * 32)
    with empty.read() as view:
        assert view.head() == Head(2, b"2" * 32)
        assert list(view.frames()) == [(1, one), (2, two)]
        assert list(view.frames(1)) == [(2, two)]


def test_a_missing_store_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="biaoshi init"):
        Store.open(tmp_path / "nothing", readonly=True)


def test_the_case_rule_cannot_be_changed(tmp_path: Path) -> None:
    open_store(tmp_path, case_sensitive=True).close()
    for readonly in (False, True):
        with pytest.raises(StoreError, match="case_sensitive = true"):
            Store.open(tmp_path, readonly=readonly, map_octets=MAP_OCTETS)
    with Store.open(tmp_path, map_octets=MAP_OCTETS, case_sensitive=None) as store:
        assert store.case_sensitive


def set_version(folder: Path, version: int) -> None:
    with open_store(folder) as store:
        put(store, {b"88.118/A": [url()]})
        with store.write() as view:
            view.put_meta(b"version", version.to_bytes(4, "big"))


def test_a_newer_store_is_refused_with_words(tmp_path: Path) -> None:
    set_version(tmp_path, 99)
    for readonly in (False, True):
        with pytest.raises(StoreError, match=r"version 99.*knows versions up to 4"):
            Store.open(tmp_path, readonly=readonly, map_octets=MAP_OCTETS)


def test_an_older_store_is_migrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def step(view: WriteView) -> None:
        for handle, record in list(view.records()):
            view.put_record(handle, [*record.values, url(2)])

    set_version(tmp_path, 0)
    with pytest.raises(StoreError, match="start the node once"):
        Store.open(tmp_path, readonly=True, map_octets=MAP_OCTETS)
    monkeypatch.setitem(MIGRATIONS, 0, step)
    with open_store(tmp_path) as store:
        assert values_of(store, b"88.118/A") == (url(), url(2))
    with open_store(tmp_path) as store:
        assert values_of(store, b"88.118/A") == (url(), url(2))


def test_an_older_store_without_a_way_is_refused(tmp_path: Path) -> None:
    set_version(tmp_path, 0)
    with pytest.raises(StoreError, match="cannot bring to 1"):
        open_store(tmp_path)


def test_a_failed_migration_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(view: WriteView) -> None:
        view.put_record(b"88.118/B", [url()])
        raise RuntimeError("halfway")

    set_version(tmp_path, 0)
    monkeypatch.setitem(MIGRATIONS, 0, step)
    with pytest.raises(RuntimeError, match="halfway"):
        open_store(tmp_path)
    monkeypatch.setitem(MIGRATIONS, 0, lambda view: None)
    with open_store(tmp_path) as store:
        assert set(rows_of(store)) == {b"88.118/A"}


def test_an_environment_does_not_cross_a_fork(
    empty: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = os.getpid() + 1
    monkeypatch.setattr(os, "getpid", lambda: other)
    with pytest.raises(AssertionError, match="fork"), empty.read():
        pass
    with pytest.raises(AssertionError, match="fork"), empty.write():
        pass


def test_the_engine_is_0_9(empty: Store) -> None:
    # LMDB writes its format right behind the magic number of the first meta page.
    head = (empty.folder / "data.mdb").read_bytes()[16:24]
    assert int.from_bytes(head[:4], sys.byteorder) == 0xBEEFC0DE
    assert int.from_bytes(head[4:], sys.byteorder) == 1


def test_dead_readers_and_room(empty: Store) -> None:
    assert empty.clear_dead_readers() == 0
    assert empty.free_octets() > 0
    assert 0 < empty.used_octets() < MAP_OCTETS


def open_cache(folder: Path, boot: str = "boot-1", octets_max: int = 1 << 20) -> CacheStore:
    return CacheStore(folder, octets_max=octets_max, read_boot=lambda: boot)


def test_the_cache_keeps_rows(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    cache.put_many([(b"a", b"1"), (b"b", b"2"), (b"c", b"3")])
    assert (cache.get(b"a"), cache.get(b"x")) == (b"1", None)
    cache.delete([b"b", b"x"])
    assert cache.items() == [(b"a", b"1"), (b"c", b"3")]
    assert cache.items(b"a", 1) == [(b"c", b"3")]
    assert cache.count() == 2
    cache.clear()
    assert cache.count() == 0
    cache.close()


def test_the_cache_outlives_the_node_and_a_clean_boot(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    cache.put_many([(b"a", b"1")])
    cache.close()
    cache = open_cache(tmp_path, "boot-2")
    assert cache.get(b"a") == b"1"
    assert not cache.was_wiped
    cache.close()


def abandon(cache: CacheStore) -> None:
    """End as a killed process does: without saying that all is on disk."""
    cache._env.close()


def test_the_cache_outlives_a_killed_process(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    cache.put_many([(b"a", b"1")])
    abandon(cache)
    cache = open_cache(tmp_path)
    assert cache.get(b"a") == b"1"
    cache.close()


def test_the_cache_is_emptied_after_an_unclean_boot(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    cache.put_many([(b"a", b"1")])
    abandon(cache)
    cache = open_cache(tmp_path, "boot-2")
    assert cache.was_wiped
    assert cache.get(b"a") is None
    cache.close()


def test_a_damaged_cache_is_emptied(tmp_path: Path) -> None:
    open_cache(tmp_path).close()
    (tmp_path / "data.mdb").write_bytes(b"\xaa" * 65_536)
    cache = open_cache(tmp_path)
    assert cache.was_wiped
    cache.put_many([(b"a", b"1")])
    assert cache.get(b"a") == b"1"
    cache.close()


def test_the_cache_stays_within_its_bound(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    for batch in range(80):
        cache.put_many([(b"%d-%d" % (batch, i), b"x" * 500) for i in range(50)])
        assert cache.get(b"%d-0" % batch) is not None
    assert (tmp_path / "data.mdb").stat().st_size <= 1 << 20
    assert 500 < cache.count() < 4_000
    cache.close()


def test_a_batch_larger_than_the_cache_empties_it(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    cache.put_many([(b"%d" % i, b"x" * 500) for i in range(10_000)])
    assert cache.count() == 0
    cache.put_many([(b"a", b"1")])
    assert cache.get(b"a") == b"1"
    cache.close()


def test_workers_read_the_keepers_cache(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="keeper"):
        CacheStore(tmp_path, readonly=True)
    open_cache(tmp_path).close()
    cache = CacheStore(tmp_path, readonly=True, octets_max=1 << 20)
    assert cache.get(b"a") is None
    cache.close()
    assert (tmp_path / "boot").read_text() == "closed"


def test_a_handle_without_a_row_finds_the_nearest_range(empty: Store) -> None:
    keys = [b"88.118/LOT.050", b"88.118/LOT.950", b"88.118/Z.1", b"88.118/LOT", b"88.118/A"]
    nothing = [None] * len(keys)
    assert empty.find_rows(keys, [PREFIX]) == (nothing, [False])
    key, record = range_key(b"88.118/LOT.", b"499"), encode_range(RangeRecord(b"000", b"list"))
    with empty.write(journaled=False) as view:
        view.writable("ranges").put(key, record)
    put(empty, {b"88.118/LOT.050": [url()]}, homed=[PREFIX])
    (row, *others), homed = empty.find_rows(keys, [PREFIX])
    assert row is not None
    assert isinstance(row, bytes)  # an identifier's own row comes before its range's
    assert (others, homed) == ([None, None, None, None], [True])
    (found, *others), _ = empty.find_rows([b"88.118/LOT.051", b"88.118/LOT.499", b"88.118/A"], [])
    assert found == others[0] == (key, record)
    assert find_held(b"88.118/LOT.051", (key, record)) == (b"051", record)
    (beside,), _ = empty.find_rows([b"88.118/LOA.1"], [])
    assert beside == (key, record)  # the nearest, which does not hold it
    assert find_held(b"88.118/LOA.1", (key, record)) is None


def test_ranges_are_seen_from_the_transaction_on_that_registers_them(tmp_path: Path) -> None:
    key, record = range_key(b"88.118/", b"9"), encode_range(RangeRecord(b"0", b"list"))
    with open_store(tmp_path) as writer:
        put(writer, {}, homed=[PREFIX])
        for there in (True, False, True):
            assert writer.find_rows([b"88.118/5"], []) == ([None if there else (key, record)], [])
            with writer.write(journaled=False) as view:
                table = view.writable("ranges")
                table.put(key, record) if there else table.delete(key)
        assert writer.find_rows([b"88.118/5"], []) == ([(key, record)], [])
