"""The native batch finds the pages of its keys in LMDB's file, and survives damaged files."""

import ctypes
import importlib
import mmap
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from protocol.bodies import ResolutionRequest
from protocol.codes import MessageFlag
from registry.range_records import (
    FoundRow,
    RangeRecord,
    encode_range,
    find_held,
    find_nearest,
    range_key,
    split_key,
)
from registry.store import CacheStore, Store
from resolver.fastpath import Choice, is_native_built, make_batch, touch_pages
from resolver.replies import Replies
from tests.registry.builders import NOW_S, PREFIX, open_store, put, url
from tests.resolver.office import request
from tests.resolver.two_paths import Given

pytestmark = pytest.mark.skipif(not is_native_built(), reason="the native batch was not built here")

REPLIES = Replies(1, is_primary=True, now_s=lambda: NOW_S)
ROWS = 3_000  # some hundred leaves, two levels of branches
LONG = b"88.118/" + b"L" * 480


def native_batch(*, cached: bool = False) -> Any:
    return make_batch(Choice.NATIVE, -1, REPLIES, case_sensitive=False, cached=cached)


def ask(batch: Any, handles: list[bytes]) -> int:
    """Have a batch read questions; return how many of their rows it touched."""
    flags = MessageFlag.PUBLIC_ONLY
    octets = [request(1, ResolutionRequest(handle), flags).encode() for handle in handles]
    batch.load([(each, ("192.0.2.1", 1)) for each in octets])
    return int(batch.touched)


def handle_of(number: int) -> bytes:
    return b"88.118/%d" % (number * 7)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    rows = {handle_of(number): [url(data=b"x" * (number % 300))] for number in range(ROWS)}
    rows[b"88.118/LARGE"] = [url(data=bytes(20_000))]
    rows[LONG] = [url()]
    with open_store(folder) as store:
        put(store, rows, homed=[PREFIX])
    return folder


@pytest.fixture(scope="module")
def ranged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of ranges of ten identifiers each, and some rows."""
    folder = tmp_path_factory.mktemp("ranged")
    record = encode_range(RangeRecord(b"0", bytes(150)))
    with open_store(folder) as store:
        put(store, {handle_of(number): [url()] for number in range(100)}, homed=[PREFIX])
        with store.write(journaled=False) as view:
            for number in range(ROWS):
                view.writable("ranges").put(range_key(b"88.118/%05X." % number, b"9"), record)
    return folder


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    with open_store(folder) as store:
        yield store


def test_every_row_is_touched_and_nothing_else(store: Store) -> None:
    batch = native_batch()
    assert ask(batch, [handle_of(1), handle_of(2)]) == 0  # no pages given yet
    touch_pages(batch, store)
    handles = [*map(handle_of, range(ROWS)), b"88.118/large", LONG]
    for start in range(0, len(handles), 64):
        asked = handles[start : start + 64]
        assert ask(batch, asked) == len(asked)
        assert ask(batch, [each + b"x" for each in asked[:60]]) == 0
    assert ask(batch, [b"1/a", b"99/z", handle_of(5), b"88.118/", b"88.118/1"]) == 1
    assert ask(batch, [handle_of(5)]) == 0  # one has nobody to wait beside


def test_ranges_of_keys_without_a_row_are_touched(ranged: Path) -> None:
    batch = native_batch()
    with open_store(ranged) as store:
        touch_pages(batch, store)
        missed = 0
        for start in range(0, ROWS, 50):
            asked = [b"88.118/%05X.5" % number for number in range(start, start + 50)]
            rows = [handle_of(number) for number in range(10)]
            missed += 60 - ask(batch, [*asked, *rows])
        # What stands first on a page is found from the page before, which ends there.
        assert 0 < missed < ROWS // 10
        assert ask(batch, [b"88.118/00001.5", b"88.118/00001.XY", b"88.118/LOT"]) == 1
        assert ask(batch, [handle_of(1), b"88.118/\xff.5"]) == 1


class Asked(Given):
    """Ranges that are given, and how often one was read by its key."""

    gets = 0

    def get(self, key: bytes, default: None = None, db: Any = None) -> bytes | None:
        self.gets += db == "ranges"
        return super().get(key, default, db)


def test_a_range_that_was_seen_is_not_sought_again(ranged: Path) -> None:
    batch = native_batch()
    with open_store(ranged) as store:
        touch_pages(batch, store)
        handles = [b"88.118/%05X.5" % number for number in range(0, ROWS, ROWS // 50)]
        asked = Asked({}, ranges=ranges_of(store))
        assert ask(batch, handles) > len(handles) // 2  # what stands first on a page is sought
        found = batch.find_nearest(cast("Any", asked), "ranges", batch.keys, [None] * len(handles))
        assert found == find_nearest(
            cast("Any", asked), "ranges", batch.keys, [None] * len(handles)
        )
        assert asked.gets == batch.touched


@pytest.mark.parametrize("seed", range(8))
def test_what_was_seen_of_another_time_is_not_believed(ranged: Path, seed: int) -> None:
    # The pages are those of one state, the transaction reads another.
    choose = random.Random(seed)
    batch = native_batch()
    with open_store(ranged) as store:
        touch_pages(batch, store)
        now = Asked({}, ranges=changed(ranges_of(store), choose))
        held = 0
        for _ in range(40):
            handles = [
                b"88.118/%05X.%d" % (choose.randrange(ROWS), choose.randrange(10))
                for _ in range(64)
            ]
            ask(batch, handles)
            keys = batch.keys
            nothing: list[FoundRow] = [None] * len(handles)
            found = batch.find_nearest(cast("Any", now), "ranges", keys, list(nothing))
            expected = find_nearest(cast("Any", now), "ranges", keys, nothing)
            for key, ours, theirs in zip(keys, found, expected, strict=True):
                assert isinstance(ours, tuple)
                assert isinstance(theirs, tuple)
                assert find_held(key, ours) == find_held(key, theirs)
                held += find_held(key, ours) is not None
        assert 0 < held < 40 * 64


def ranges_of(store: Store) -> dict[bytes, bytes]:
    with store.read() as view:
        return dict(view.table("ranges").items())


def changed(ranges: dict[bytes, bytes], choose: random.Random) -> dict[bytes, bytes]:
    """Return ranges after some were given up, split, shrunk at either end, or made anew."""
    made = {b"88.118/\xff.\0\x019": next(iter(ranges.values()))}
    for key, record in ranges.items():
        stem, _ = split_key(key)
        how = choose.randrange(8)
        if how == 0:
            continue
        if how == 1:
            made[range_key(stem, b"4")] = record
            made[key] = encode_range(RangeRecord(b"5", bytes(20)))
        elif how == 2:
            made[range_key(stem, b"6")] = record
        elif how == 3:
            made[key] = encode_range(RangeRecord(b"3", bytes(30)))
        else:
            made[key] = record
    return made


def test_what_is_written_later_is_touched_too(tmp_path: Path) -> None:
    batch = native_batch()
    with open_store(tmp_path) as store:
        touch_pages(batch, store)
        assert ask(batch, [handle_of(1), handle_of(2)]) == 0
        for start in range(0, 2_000, 400):  # the file grows under the batch
            rows = {handle_of(number): [url()] for number in range(start, start + 400)}
            put(store, rows, homed=[PREFIX])
            ask(batch, [handle_of(start), handle_of(start + 399)])  # measures the file anew
            assert ask(batch, [handle_of(start), handle_of(start + 399)]) == 2


def test_rows_of_a_cache_are_touched(tmp_path: Path) -> None:
    cache = CacheStore(tmp_path / "cache", octets_max=1 << 22)
    cache.put_many((b"88.118/%04d" % number, b"row") for number in range(500))
    batch = native_batch(cached=True)
    touch_pages(batch, cache)
    assert ask(batch, [b"88.118/0001", b"88.118/0499", b"88.118/0500"]) == 2
    cache.close()


def test_the_python_batch_and_a_file_that_is_gone_are_left_alone(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        touch_pages(
            make_batch(Choice.PYTHON, -1, REPLIES, case_sensitive=False, cached=False), store
        )
        store.data_file.rename(tmp_path / "elsewhere")
        batch = native_batch()
        touch_pages(batch, store)
        assert ask(batch, [b"88.118/a", b"88.118/b"]) == 0


def damage(octets: bytearray, choose: random.Random, count: int) -> None:
    for _ in range(count):
        at = choose.randrange(len(octets) - 8)
        if choose.random() < 0.5:
            at = at // 4_096 * 4_096 + choose.choice([10, 12, 14, *range(16, 60, 2)])
        octets[at : at + 2] = choose.choice([b"\0\0", b"\xff\xff", b"\x10\0", choose.randbytes(2)])


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_file_is_never_left(folder: Path, tmp_path: Path, seed: int) -> None:
    # The mapping ends with the file, so a step beyond it is the end of this process.
    choose = random.Random(seed)
    octets = bytearray(next(folder.rglob("data.mdb")).read_bytes())
    if seed:
        damage(octets, choose, choose.choice([10, 1_000, 100_000]))
        octets[16:24] = (0xBEEFC0DE).to_bytes(4, "little") + (1).to_bytes(4, "little")
    path = tmp_path / "data.mdb"
    path.write_bytes(octets)
    pages = importlib.import_module("resolver._batch").MappedPages
    fileno = os.open(path, os.O_RDONLY)
    with mmap.mmap(fileno, 0, access=mmap.ACCESS_COPY) as mapped:
        anchor = ctypes.c_char.from_buffer(mapped)
        batch = native_batch()
        batch.touch_pages_of(pages(ctypes.addressof(anchor), len(octets), fileno, b"handles"))
        touched = 0
        for _ in range(20):
            touched += ask(batch, [handle_of(choose.randrange(ROWS)) for _ in range(64)])
        del anchor
    assert seed or touched == 20 * 64


def test_no_lmdb_file_is_not_read(tmp_path: Path) -> None:
    pages = importlib.import_module("resolver._batch").MappedPages
    for octets in (b"x" * 20_000, b"x" * 100):
        path = tmp_path / "file"
        path.write_bytes(octets)
        fileno = os.open(path, os.O_RDONLY)
        with mmap.mmap(fileno, 0, access=mmap.ACCESS_COPY) as mapped:
            anchor = ctypes.c_char.from_buffer(mapped)
            batch = native_batch()
            batch.touch_pages_of(pages(ctypes.addressof(anchor), len(octets), fileno, b""))
            assert ask(batch, [b"88.118/a", b"88.118/b"]) == 0
            del anchor


def test_answers_are_the_same_with_and_without(store: Store) -> None:
    with_pages, without = native_batch(), native_batch()
    touch_pages(with_pages, store)
    handles = [handle_of(number) for number in range(40)] + [b"88.118/none", b"88.118/LARGE"]
    taken = []
    for batch in (with_pages, without):
        ask(batch, handles)
        rows, homed = store.find_rows(batch.keys, batch.prefixes)
        assert batch.assemble(rows, homed, NOW_S) == []
        taken.append(batch.take())
    assert taken[0] == taken[1]
