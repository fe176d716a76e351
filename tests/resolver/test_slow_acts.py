"""Acts that read much: one at a time, away from the loop, and a bounded number waits."""

import asyncio
import threading
from pathlib import Path
from typing import Any, cast

import pytest

from registry.acts import SLOW_ACTS, decide_act
from registry.offline import seed_store
from resolver import acts
from resolver.acts import Acts
from resolver.limits import Places
from tests.registry.builders import HANDLE, NOW_S, POLICY, PREFIX, admin_value, open_store, url

ASKED = {
    "name": "life.history",
    "parameters": {"handle": HANDLE.decode(), "after": 0, "limit": 10},
}


async def nobody(payload: dict[str, Any]) -> None:
    return None


def perform_many(
    folder: Path, addresses: list[str], monkeypatch: pytest.MonkeyPatch, *, given_up: int = 0
) -> list[Any]:
    """Ask from addresses at once; the first goes on only when all have been asked.

    The first `given_up` requests are given up before.
    """
    seed_store(folder, {PREFIX: [admin_value()], HANDLE: [url()]}, [PREFIX], now_s=NOW_S)
    all_asked = threading.Event()
    decided_in: list[int] = []
    decide = decide_act

    def slowly(*arguments: Any, **options: Any) -> Any:
        all_asked.wait(10)
        decided_in.append(threading.get_ident())
        return decide(*arguments, **options)

    monkeypatch.setattr(acts, "decide_act", slowly)

    async def main() -> Any:
        no_writer = cast("Any", None)
        with open_store(folder) as store:
            places = Places(3, 2)
            performing = Acts(
                store,
                no_writer,
                no_writer,
                POLICY,
                nobody,
                slow_places=places,
                now_s=lambda: NOW_S,
            )
            asked = []
            for number, address in enumerate(addresses):
                request = performing.perform({**ASKED, "address": address})
                asked.append(asyncio.ensure_future(request))
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                if number < given_up:
                    asked[-1].cancel()
                    await asyncio.sleep(0)
            all_asked.set()
            replies = await asyncio.gather(*asked, return_exceptions=True)
            assert not places.taken
            return replies

    replies: list[Any] = asyncio.run(main())
    assert threading.get_ident() not in decided_in
    return replies


def test_more_than_may_wait_are_told_to_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"]
    replies = perform_many(tmp_path, addresses, monkeypatch)
    assert [each["code"] for each in replies] == [1, 1, 1, 3, 3]
    assert b"as many requests of all as may are reading much already" in replies[-1]["message"]
    (event,) = replies[0]["result"]["events"]
    assert event["operation"] == "create"


def test_one_address_leaves_places_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1"]
    replies = perform_many(tmp_path, addresses, monkeypatch)
    assert [each["code"] for each in replies] == [1, 1, 3, 1]
    assert b"as many requests of your address as may" in replies[2]["message"]


def test_who_gives_up_keeps_his_place_as_long_as_his_thread_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = ["192.0.2.1", "192.0.2.1", "192.0.2.1"]
    replies = perform_many(tmp_path, addresses, monkeypatch, given_up=1)
    assert isinstance(replies[0], asyncio.CancelledError)
    assert [each["code"] for each in replies[1:]] == [1, 3]


@pytest.mark.parametrize("name", ["life.history", "life.as_of", "templates.list", "ranges.list"])
def test_what_anybody_may_make_long_is_not_decided_on_the_loop(name: str) -> None:
    assert name in SLOW_ACTS
