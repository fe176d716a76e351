"""Requests counted against quotas in the registrar."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from protocol.codes import ResponseCode
from protocol.value import Reference
from registry.operations import Change
from registry.outcomes import refuse
from registry.store import Store
from resolver.acts import Acts
from resolver.group_commit import GroupCommit
from resolver.limits import Places
from resolver.metrics import QUOTAS_NEAR
from resolver.quotas import Left, Quotas
from tests.registry.builders import (
    ADMIN,
    NOW_S,
    POLICY,
    PREFIX,
    admin_value,
    create,
    open_store,
    perform,
    put,
    url,
)
from tests.registry.office import do

DAY_S = 86_400
DONE = Change(())
ITEM = b"88.118/x"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "store") as made:
        put(made, {PREFIX: [admin_value()]}, [b"0.NA/0.NA", PREFIX])
        yield made


class Clock:
    now_s = float(NOW_S)

    def __call__(self) -> float:
        return self.now_s


def set_quota(store: Store, **quota: int | None) -> None:
    do(store, "quotas.set", {"prefix": "88.118", **quota})


def make(store: Store, clock: Callable[[], float]) -> Quotas:
    return Quotas(store, GroupCommit(store, POLICY), now_s=clock)


def test_the_last_request_within_the_quota_is_taken_and_the_next_one_is_not(store: Store) -> None:
    set_quota(store, requestsPerDay=2)
    quotas = make(store, Clock())
    assert quotas.begin(ITEM) is None
    assert quotas.begin(b"88.118/other") is None
    refusal = quotas.begin(ITEM)
    assert refusal is not None
    assert refusal.message.startswith(b"88.118 has used 2 of 2 requests today")
    assert quotas.begin(b"88.119/x") is None


@pytest.mark.parametrize(
    ("code", "counts"),
    [
        (ResponseCode.INVALID_ADMIN, False),
        (ResponseCode.AUTHENTICATION_FAILED, False),
        (ResponseCode.SERVER_TOO_BUSY, False),
        (ResponseCode.HANDLE_ALREADY_EXISTS, True),
        (ResponseCode.INVALID_VALUE, True),
    ],
)
def test_what_a_stranger_is_refused_uses_up_nobodys_quota(
    store: Store, code: ResponseCode, counts: bool
) -> None:
    set_quota(store, requestsPerDay=1)
    quotas = make(store, Clock())
    assert quotas.begin(ITEM) is None
    quotas.end(ITEM, refuse(code, "no"))
    assert (quotas.begin(ITEM) is not None) == counts


def test_counts_are_kept_and_found_again_until_the_day_turns(store: Store) -> None:
    set_quota(store, requestsPerDay=2)
    clock = Clock()

    async def count() -> None:
        commit = GroupCommit(store, POLICY)
        commit.start()
        quotas = Quotas(store, commit, now_s=clock)
        assert quotas.begin(ITEM) is None
        quotas.end(ITEM, DONE)
        await quotas.keep()
        await quotas.keep()
        await asyncio.get_running_loop().run_in_executor(None, commit.stop)

    asyncio.run(count())
    assert do(store, "quotas.show", {"prefix": "88.118"})["requests"]["used"] == 1
    again = make(store, clock)
    assert again.begin(ITEM) is None
    assert again.begin(ITEM) is not None
    clock.now_s += DAY_S
    assert again.begin(ITEM) is None


def test_acts_on_one_handle_are_requests_too(store: Store) -> None:
    set_quota(store, requestsPerDay=2)
    perform(store, create(ITEM, url()), policy=POLICY, identity=ADMIN, now_s=NOW_S)
    asked = {"address": "", "parameters": {"handle": ITEM.decode(), "reason": "checked"}}

    async def prove(payload: dict[str, Any]) -> Reference | None:
        return ADMIN if payload["name"] != "life.revoke" else None

    async def ask() -> list[dict[str, Any]]:
        commit = GroupCommit(store, POLICY)
        commit.start()
        quotas = Quotas(store, commit, now_s=Clock())
        operations = cast("Any", None)
        places = Places(1, 1)
        acts = Acts(
            store,
            commit,
            operations,
            POLICY,
            prove,
            slow_places=places,
            now_s=Clock(),
            quotas=quotas,
        )
        names = ("life.revoke", "life.freeze", "life.show", "life.thaw", "life.freeze")
        replies = [await acts.perform({**asked, "name": name}) for name in names]
        await asyncio.get_running_loop().run_in_executor(None, commit.stop)
        return replies

    replies = asyncio.run(ask())
    assert [each["code"] for each in replies] == [402, 1, 1, 1, 401]
    assert replies[-1]["message"].startswith(b"88.118 has used 2 of 2 requests today")


def test_what_is_left_is_that_of_the_quota_which_bites_first(store: Store) -> None:
    clock = Clock()
    quotas = make(store, clock)
    assert quotas.find_left(ITEM) is None
    assert not quotas.is_limited(ITEM)
    set_quota(store, identifiersPerDay=5, requestsPerDay=9)
    quotas.load()
    assert quotas.is_limited(ITEM)
    perform(store, create(ITEM, url()), policy=POLICY, identity=ADMIN, now_s=NOW_S)
    assert quotas.find_left(ITEM) == Left(5, 4, _until_midnight())
    for _ in range(6):
        quotas.begin(ITEM)
    assert quotas.find_left(ITEM) == Left(9, 3, _until_midnight())


def test_of_many_prefixes_the_one_with_least_left_is_told(store: Store) -> None:
    set_quota(store, identifiersPerDay=5, requestsPerDay=9)
    with store.write(journaled=False) as view:
        view.put_record(b"0.NA/88.118.7", [admin_value()])
        view.home(b"0.NA/88.118.7")
    do(store, "quotas.set", {"prefix": "88.118.7", "identifiersPerDay": 3})
    quotas = make(store, Clock())
    assert quotas.are_there
    handles = [PREFIX, b"0.NA/88.118.7", b"0.NA/88.118.8"]
    left = _until_midnight()
    assert quotas.find_all_left(handles) == {
        "identifiers": Left(3, 3, left),
        "requests": Left(9, 9, left),
    }
    assert quotas.find_all_left(handles[2:]) == {}


def _until_midnight() -> int:
    return DAY_S - (NOW_S + 8 * 3_600) % DAY_S


def test_a_quota_that_is_nearly_used_up_is_told_once_a_day(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    set_quota(store, identifiersPerDay=100, requestsPerDay=5)
    clock = Clock()
    quotas = make(store, clock)
    for _ in range(3):
        quotas.begin(ITEM)
    with caplog.at_level(logging.WARNING):
        quotas.watch()
        assert not caplog.records
        quotas.begin(ITEM)
        quotas.watch()
        quotas.watch()
        assert [each.getMessage() for each in caplog.records] == [
            "88.118 has used 4 of 5 requests of today's quota"
        ]
        assert QUOTAS_NEAR.labels("requests")._value.get() == 1
        assert QUOTAS_NEAR.labels("identifiers")._value.get() == 0
        clock.now_s += DAY_S
        quotas.watch()
        assert QUOTAS_NEAR.labels("requests")._value.get() == 0
