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
from tests.registry.builders import HANDLE, NOW_S, POLICY, PREFIX, admin_value, open_store, url

ASKED = {
    "address": "",
    "name": "life.history",
    "parameters": {"handle": HANDLE.decode(), "after": 0, "limit": 10},
}


async def nobody(payload: dict[str, Any]) -> None:
    return None


def perform_many(folder: Path, count: int, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Ask many times at once; the first goes on only when all have been asked."""
    seed_store(folder, {PREFIX: [admin_value()], HANDLE: [url()]}, [PREFIX], now_s=NOW_S)
    all_asked = threading.Event()
    decided_in: list[int] = []
    decide = decide_act

    def slowly(*arguments: Any, **options: Any) -> Any:
        all_asked.wait(10)
        decided_in.append(threading.get_ident())
        return decide(*arguments, **options)

    monkeypatch.setattr(acts, "decide_act", slowly)
    monkeypatch.setattr(acts, "SLOW_ACTS_MAX", 3)

    async def main() -> Any:
        no_writer = cast("Any", None)
        with open_store(folder) as store:
            performing = Acts(store, no_writer, no_writer, POLICY, nobody, now_s=lambda: NOW_S)
            asked = [asyncio.ensure_future(performing.perform(ASKED)) for _ in range(count)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            all_asked.set()
            return await asyncio.gather(*asked)

    replies: list[Any] = asyncio.run(main())
    assert threading.get_ident() not in decided_in
    return replies


def test_more_than_may_wait_are_told_to_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replies = perform_many(tmp_path, 5, monkeypatch)
    assert [each["code"] for each in replies] == [1, 1, 1, 3, 3]
    assert b"3 requests that read much are waiting" in replies[-1]["message"]
    (event,) = replies[0]["result"]["events"]
    assert event["operation"] == "create"


@pytest.mark.parametrize("name", ["life.history", "life.as_of", "templates.list", "ranges.list"])
def test_what_anybody_may_make_long_is_not_decided_on_the_loop(name: str) -> None:
    assert name in SLOW_ACTS
