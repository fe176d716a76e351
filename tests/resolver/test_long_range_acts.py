"""Acts on ranges with many rows inside: the loop looks at some, a thread at the rest."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from protocol.value import Reference
from registry import ranges
from registry.range_rows import QUICK_STEPS_MAX, rows_inside
from registry.store import Store
from resolver.acts import Acts
from resolver.group_commit import GroupCommit
from resolver.limits import Places
from tests.registry.builders import ADMIN, NOW_S, POLICY, create, open_store, perform, put, url
from tests.registry.range_builders import LOT, document, prepare, register

ROWS = QUICK_STEPS_MAX + 500
IN_THE_WAY = f"{LOT}5000".encode()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "store") as opened:
        yield prepare(opened)


def put_rows(store: Store, text: str) -> None:
    put(store, {text.format(number).encode(): [url()] for number in range(1, ROWS + 1)})


def perform_act(
    store: Store, name: str, parameters: dict[str, Any], *, before_commit: Callable[[], None]
) -> tuple[dict[str, Any], int, int]:
    """Carry out an act; return the reply, and how many rows which thread looked at."""
    looked_at = {"loop": 0, "others": 0}
    loop_thread = threading.get_ident()

    def counting(*args: Any, **options: Any) -> Iterator[tuple[bytes, bytes]]:
        rows = rows_inside(*args, **options)
        steps = options["steps_max"]
        where = "loop" if threading.get_ident() == loop_thread else "others"
        looked_at[where] = max(looked_at[where], steps)
        yield from rows

    async def prove(payload: dict[str, Any]) -> Reference:
        return ADMIN

    async def main() -> dict[str, Any]:
        commit = GroupCommit(store, POLICY, now_s=lambda: NOW_S)
        commit.start()
        transact = commit.transact

        async def late(work: Any) -> Any:
            before_commit()
            return await transact(work)

        commit.transact = late  # type: ignore[assignment,method-assign]
        no_operations = cast("Any", None)
        places = Places(1, 1)
        acts = Acts(
            store, commit, no_operations, POLICY, prove, slow_places=places, now_s=lambda: NOW_S
        )
        reply = await acts.perform({"address": "", "name": name, "parameters": parameters})
        assert places.taken == 0
        await asyncio.get_running_loop().run_in_executor(None, commit.stop)
        return reply

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ranges, "rows_inside", counting)
        return asyncio.run(main()), looked_at["loop"], looked_at["others"]


@pytest.mark.parametrize("name", ["register", "shrink", "revoke", "split"])
def test_the_loop_looks_at_no_more_rows_than_a_few_milliseconds_allow(
    store: Store, name: str
) -> None:
    kept: dict[str, Any] = {"existing": "keep"}
    if name == "register":
        parameters = document(LOT, "0001", "9999", **kept)
    else:
        register(store, LOT, "0001", "9999")
        parameters = {"identifier": IN_THE_WAY.decode(), "reason": "recalled", **kept}
        parameters |= {"first": "9000", "last": "9999"} if name == "shrink" else {}
    put_rows(store, LOT + "{:04}")
    reply, on_the_loop, elsewhere = perform_act(
        store, f"ranges.{name}", parameters, before_commit=lambda: None
    )
    assert reply["code"] == 1, reply
    assert on_the_loop <= QUICK_STEPS_MAX
    assert (elsewhere > QUICK_STEPS_MAX) == (name != "split")  # which looks at none at all


def test_what_came_in_between_counts_when_it_is_applied(store: Store) -> None:
    put_rows(store, LOT + "{:04}X")  # between the identifiers, and none of them

    def register_one() -> None:
        perform(store, create(IN_THE_WAY, url()))

    reply, on_the_loop, elsewhere = perform_act(
        store, "ranges.register", document(LOT, "0001", "9999"), before_commit=register_one
    )
    assert (reply["code"], on_the_loop) == (101, QUICK_STEPS_MAX)
    assert elsewhere > QUICK_STEPS_MAX
    assert reply["message"].startswith(IN_THE_WAY + b" is registered on its own")
