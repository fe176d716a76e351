import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.bodies import ErrorAnswer, ReferralAnswer, ResolutionRequest, ValuesRequest
from protocol.codes import MessageFlag, ResponseCode
from protocol.value import encode_values
from registry.schema import storage_key
from registry.store import CacheStore, Store
from resolver.cache import Cache, CacheEntry
from resolver.query import CachedRecords, OwnRecords, keeper_result
from tests.registry.builders import NOW_S, PREFIX, hidden, open_store, put, url

HANDLE = b"88.118/A"
PUBLIC = MessageFlag.PUBLIC_ONLY


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path) as store:
        put(store, {HANDLE: [url(), hidden(2)]}, homed=[PREFIX])
        yield store


def test_public_values_are_found(store: Store) -> None:
    result = OwnRecords(store).find(ResolutionRequest(b"88.118/a"), PUBLIC)
    assert result is not None
    assert result.body == ValuesRequest(b"88.118/a", (url(),))


def test_values_for_administrators_are_somebody_else_s(store: Store) -> None:
    assert OwnRecords(store).find(ResolutionRequest(HANDLE), 0) is None
    found = OwnRecords(store).find(ResolutionRequest(HANDLE, indexes=(1,)), 0)
    assert found is not None
    assert found.response_code == ResponseCode.SUCCESS


@pytest.mark.parametrize(
    ("handle", "code"),
    [(b"88.118/B", ResponseCode.HANDLE_NOT_FOUND), (b"99/B", ResponseCode.SERVER_NOT_RESPONSIBLE)],
)
def test_what_is_not_here_is_told(store: Store, handle: bytes, code: int) -> None:
    result = OwnRecords(store).find(ResolutionRequest(handle), PUBLIC)
    assert result is not None
    assert result.response_code == code


def test_a_damaged_record_is_an_error_of_its_own(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    with store.write(journaled=False) as view:
        view._txn.put(storage_key(HANDLE, False), b"\xff\xff", db=view._dbs.handles)
        view.put_record(b"88.118/B", [url()])
    records = OwnRecords(store)
    with caplog.at_level(logging.ERROR):
        damaged = records.find(ResolutionRequest(HANDLE), PUBLIC)
    assert damaged is not None
    assert damaged.response_code == ResponseCode.ERROR
    assert "run biaoshi verify" in caplog.text
    whole = records.find(ResolutionRequest(b"88.118/B"), PUBLIC)
    assert whole is not None
    assert whole.response_code == ResponseCode.SUCCESS


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[CacheStore]:
    store = CacheStore(tmp_path / "cache", octets_max=1 << 22)
    yield store
    store.close()


def keep(cache: CacheStore, entry: CacheEntry) -> CachedRecords:
    writer = Cache(cache)
    writer.put(HANDLE, entry)
    writer.flush()
    return CachedRecords(cache, now_s=lambda: NOW_S)


FRESH = CacheEntry(ResponseCode.SUCCESS, NOW_S - 5, NOW_S + 5, encode_values([url(), url(3)]))
EXPIRED = CacheEntry(ResponseCode.SUCCESS, NOW_S - 5, NOW_S, encode_values([url()]))
STALE = CacheEntry(
    ResponseCode.SUCCESS, NOW_S - 5, NOW_S + 5, encode_values([url()]), is_stale=True
)
MISSING = CacheEntry(ResponseCode.HANDLE_NOT_FOUND, NOW_S, NOW_S + 5, words=b"not there")


def test_fresh_entries_answer(cache: CacheStore) -> None:
    records = keep(cache, FRESH)
    result = records.find(ResolutionRequest(HANDLE), PUBLIC)
    assert result is not None
    assert result.body == ValuesRequest(HANDLE, (url(), url(3)))
    result = records.find(ResolutionRequest(HANDLE, indexes=(3,)), PUBLIC)
    assert result is not None
    assert result.body == ValuesRequest(HANDLE, (url(3),))


def test_negative_entries_answer(cache: CacheStore) -> None:
    result = keep(cache, MISSING).find(ResolutionRequest(HANDLE), PUBLIC)
    assert result is not None
    assert result == (ResponseCode.HANDLE_NOT_FOUND, ErrorAnswer(b"not there"), False, None)


@pytest.mark.parametrize("entry", [EXPIRED, STALE])
def test_entries_past_their_time_are_the_keeper_s(cache: CacheStore, entry: CacheEntry) -> None:
    assert keep(cache, entry).find(ResolutionRequest(HANDLE), PUBLIC) is None


def test_authoritative_questions_pass_the_cache_by(cache: CacheStore) -> None:
    records = keep(cache, FRESH)
    assert records.find(ResolutionRequest(HANDLE), PUBLIC | MessageFlag.AUTHORITATIVE) is None
    assert records.find(ResolutionRequest(b"88.118/OTHER"), PUBLIC) is None


@pytest.mark.parametrize(
    ("code", "body"),
    [
        (ResponseCode.SUCCESS, ValuesRequest(HANDLE, (url(),))),
        (ResponseCode.PREFIX_REFERRAL, ReferralAnswer(b"", (url(),))),
        (ResponseCode.HANDLE_NOT_FOUND, ErrorAnswer(b"words")),
    ],
)
def test_the_keeper_s_reply_is_taken_apart(code: int, body: object) -> None:
    reply = {"code": code, "values": encode_values([url()]), "message": b"words"}
    assert keeper_result(ResolutionRequest(HANDLE), reply) == (code, body, False, None)
