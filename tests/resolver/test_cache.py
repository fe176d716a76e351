from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.codes import Permission, ResponseCode
from protocol.value import TTL_ABSOLUTE, HandleValue, encode_values, read_values
from protocol.wire import Reader
from registry.store import CacheStore
from resolver.cache import (
    PENDING_MAX,
    Cache,
    CacheEntry,
    CacheSettings,
    cache_key,
    decode_row,
    entry_from_reply,
)
from resolver.recursion import Reply

NOW_S = 1_800_000_000
URL = HandleValue(1, b"URL", b"https://example.org/", ttl=600)
NAME = HandleValue(2, b"NAME", b"pump", ttl=300)
SETTINGS = CacheSettings(ttl_max_s=3_600, negative_ttl_s=60, stale_max_s=100, stale_hold_s=5)


def success(*values: HandleValue) -> CacheEntry:
    entry = entry_from_reply(Reply(ResponseCode.SUCCESS, values), NOW_S, SETTINGS)
    assert entry is not None
    return entry


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CacheStore]:
    opened = CacheStore(tmp_path / "cache", octets_max=4 << 20)
    yield opened
    opened.close()


def test_success_holds_as_long_as_its_shortest_ttl() -> None:
    entry = success(URL, NAME)
    assert entry.expires_s == NOW_S + 300
    assert entry.is_fresh(NOW_S + 299)
    assert not entry.is_fresh(NOW_S + 300)
    assert entry.age_s(NOW_S + 42.9) == 42


@pytest.mark.parametrize(
    ("value", "ttl_s"),
    [
        (HandleValue(1, b"URL", b"", ttl=86_400), 3_600),
        (HandleValue(1, b"URL", b"", ttl=NOW_S + 50, ttl_type=TTL_ABSOLUTE), 50),
        (HandleValue(1, b"URL", b"", ttl=NOW_S - 50, ttl_type=TTL_ABSOLUTE), 0),
        (HandleValue(1, b"URL", b"", ttl=-1), 0),
    ],
)
def test_ttl_is_capped_and_absolute_ttl_honoured(value: HandleValue, ttl_s: int) -> None:
    assert success(value).expires_s == NOW_S + ttl_s


def test_private_values_are_not_kept() -> None:
    private = HandleValue(3, b"HS_SECKEY", b"secret", permission=Permission.ADMIN_READ)
    entry = success(URL, private)
    assert entry.decode_values() == (URL,)


@pytest.mark.parametrize("code", [100, 200, 301, 401])
def test_negative_answers_are_kept_for_the_negative_ttl(code: int) -> None:
    entry = entry_from_reply(Reply(code, problem="no such thing"), NOW_S, SETTINGS)
    assert entry is not None
    assert entry.expires_s == NOW_S + 60
    assert entry.answer() == (code, b"", b"no such thing")


@pytest.mark.parametrize("code", [None, 2, 3, 7, 302, 303, 402])
def test_answers_that_say_nothing_about_the_handle_are_not_kept(code: int | None) -> None:
    assert entry_from_reply(Reply(code), NOW_S, SETTINGS) is None


def test_filters_are_applied_to_the_whole_list() -> None:
    entry = success(URL, NAME)
    assert entry.answer()[1] == encode_values([URL, NAME])
    code, values, _ = entry.answer([], [b"name"])
    assert (code, read_values(Reader(values))) == (1, (NAME,))
    code, values, _ = entry.answer([1], [b"name"])
    assert read_values(Reader(values)) == (URL, NAME)
    assert entry.answer([9])[0] == ResponseCode.VALUES_NOT_FOUND


@pytest.mark.parametrize("handle", [b"88.118/a", b"88.118/" + b"x" * 900])
def test_rows_decode_to_what_was_encoded(handle: bytes) -> None:
    entry = success(URL, NAME)
    assert decode_row(entry.encode(handle)) == entry
    negative = CacheEntry(100, NOW_S, NOW_S + 60, words=b"no", is_stale=True, is_authoritative=True)
    assert decode_row(negative.encode(handle)) == negative


@pytest.mark.parametrize("row", [b"", b"\1", b"\2" + bytes(30), b"\1\0\0\1" + bytes(8) + b"\xff"])
def test_damaged_rows_are_misses(row: bytes) -> None:
    assert decode_row(row) is None


def test_stale_entries_are_held_for_a_moment_until_too_old() -> None:
    entry = success(NAME)
    stale = entry.held_stale(NOW_S + 350, SETTINGS)
    assert stale is not None
    assert stale.is_stale
    assert stale.is_fresh(NOW_S + 354)
    assert not stale.is_fresh(NOW_S + 355)
    assert stale.age_s(NOW_S + 350) == 350
    assert entry.held_stale(NOW_S + 400, SETTINGS) is None


def test_suffixes_that_differ_in_case_have_rows_of_their_own() -> None:
    assert cache_key(b"88.118.a/x") == cache_key(b"88.118.A/x")
    assert cache_key(b"88.118/x") != cache_key(b"88.118/X")
    assert cache_key(b"0.na/88.a") == cache_key(b"0.NA/88.A")


def test_entries_are_found_before_and_after_they_are_written(store: CacheStore) -> None:
    cache = Cache(store)
    entry = success(URL)
    cache.put(b"88.118/a", entry)
    assert cache.has_pending
    assert cache.find(b"88.118/a") == entry
    assert store.get(cache_key(b"88.118/a")) is None
    cache.flush()
    assert not cache.has_pending
    assert cache.find(b"88.118/a") == entry
    assert cache.find(b"88.118/b") is None
    assert cache.count() == 1


def test_entries_survive_a_restart(tmp_path: Path) -> None:
    first = CacheStore(tmp_path / "cache", octets_max=4 << 20)
    cache = Cache(first)
    cache.put(b"88.118/a", success(URL))
    cache.flush()
    first.close()
    second = CacheStore(tmp_path / "cache", octets_max=4 << 20)
    assert Cache(second).find(b"88.118/a") == success(URL)
    second.close()


def test_waiting_entries_are_bounded(store: CacheStore) -> None:
    cache = Cache(store)
    for number in range(PENDING_MAX):
        cache.put(b"88.118/%d" % number, success(URL))
    assert not cache.has_pending
    assert store.count() == PENDING_MAX
