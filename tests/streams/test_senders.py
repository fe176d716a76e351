"""Streams in the registrar without a network: who sends, how many may, and clocks that jump."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgpack
import pytest

from protocol.codes import ResponseCode
from protocol.value import Reference, encode_values
from registry.admin import decide
from registry.bulk import register_rows
from registry.offline import seed_store
from registry.operations import Change
from registry.outcomes import NOTHING_FOREIGN, Refusal
from registry.schema import Record
from registry.store import Store
from registry.stream_keeping import Bounds, StreamCounts, find_old, forget
from registry.stream_rows import RowKind
from registry.streams import Stream, find_stream, put_stream
from registry.verify import verify
from resolver import registrations
from resolver.group_commit import GroupCommit, Submitted
from resolver.registrations import Registrations
from tests.registry.builders import (
    NOW_S,
    POLICY,
    PREFIX,
    admin_value,
    create,
    group,
    open_store,
    put,
    url,
)
from tests.resolver.office import ADMIN, Office, make_node

Payload = dict[str, Any]
Scene = Callable[[Office, Registrations], Awaitable[None]]


def packed_row(name: str) -> tuple[int, bytes, bytes, bytes]:
    handle, octets = f"88.118/{name}".encode(), encode_values((url(),))
    return RowKind.PLAIN.value, handle, octets, hashlib.sha256(handle + octets).digest()


def packed(*names: str) -> bytes:
    rows: bytes = msgpack.packb([packed_row(name) for name in names])
    return rows


class Clock:
    """The time since 1970, as somebody set it."""

    def __init__(self) -> None:
        self.now_s = float(NOW_S)

    def __call__(self) -> float:
        return self.now_s


@asynccontextmanager
async def open_registrations(
    folder: Path, clock: Clock
) -> AsyncIterator[tuple[Office, Registrations]]:
    office = Office(folder)

    async def prove(payload: Payload) -> Reference | Refusal | None:
        identity: Reference | None = payload.get("identity", ADMIN)
        return identity

    made = Registrations(
        office.store,
        office.commit,
        office.operations,
        POLICY,
        prove,
        node=make_node(),
        threads=office.threads,
        now_s=clock,
        bounds=StreamCounts(100, 100),
    )
    office.commit.start()
    try:
        yield office, made
    finally:
        await asyncio.to_thread(office.commit.stop)
        office.threads.shutdown()
        office.store.close()


def play(folder: Path, scene: Scene, clock: Clock | None = None) -> None:
    async def run() -> None:
        async with open_registrations(folder, clock or Clock()) as (office, made):
            await scene(office, made)

    asyncio.run(run())


def sent(begun: Payload, first: int, *names: str) -> Payload:
    return {
        "name": begun["name"],
        "token": begun["token"],
        "first": first,
        "rows": packed(*names),
    }


def of(begun: Payload, rows: int) -> Payload:
    """What ends a stream of so many rows."""
    return {"name": begun["name"], "token": begun["token"], "rows": rows}


def check_told_to_ask(reply: Payload) -> None:
    assert reply["code"] == ResponseCode.ERROR
    assert b"another connection goes on with this stream" in reply["message"]


def test_only_who_began_last_may_send(tmp_path: Path) -> None:
    async def scene(_: Office, made: Registrations) -> None:
        earlier = await made.begin({"key": b"lot"})
        await made.rows(sent(earlier, 1, "A"))
        later = await made.begin({"key": b"lot"})
        assert later["next"] == 2
        check_told_to_ask(await made.rows(sent(earlier, 2, "B")))
        check_told_to_ask(await made.end(of(earlier, 2)))
        assert (await made.rows(sent(later, 2, "C")))["stream"]["created"] == 2
        check_told_to_ask(await made.end(of(earlier, 2)))
        ended = await made.end(of(later, 2))
        assert ended["stream"]["receipt"]

    play(tmp_path, scene)


def test_what_the_earlier_sender_had_under_way_is_not_done_twice(tmp_path: Path) -> None:
    async def scene(_: Office, made: Registrations) -> None:
        earlier = await made.begin({"key": b"lot"})
        under_way = asyncio.create_task(made.rows(sent(earlier, 1, "A", "B")))
        later = await made.begin({"key": b"lot"})
        reply = await made.rows(sent(later, 1, "A", "B", "C"))
        assert (reply["changed"], reply["stream"]["created"]) == ([], 3)
        assert reply["stream"]["unchanged"] == 0
        assert (await under_way)["code"] in (ResponseCode.SUCCESS, ResponseCode.ERROR)

    play(tmp_path, scene)


def test_the_longest_silent_sender_has_to_begin_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registrations, "SENDERS_MAX", 2)

    async def scene(_: Office, made: Registrations) -> None:
        first, second, third = [
            await made.begin({"key": key}) for key in (b"first", b"second", b"third")
        ]
        check_told_to_ask(await made.rows(sent(first, 1, "A")))
        check_told_to_ask(await made.end(of(first, 0)))
        assert (await made.rows(sent(second, 1, "B")))["stream"]["created"] == 1
        assert (await made.rows(sent(third, 1, "C")))["stream"]["created"] == 1
        again = await made.begin({"key": b"first"})  # now the second has been silent for longest
        assert (await made.rows(sent(again, 1, "A")))["stream"]["created"] == 1
        check_told_to_ask(await made.rows(sent(second, 2, "D")))
        assert (await made.rows(sent(third, 2, "E")))["stream"]["created"] == 2

    play(tmp_path, scene)


def test_many_streams_that_begin_hold_no_more_than_so_many_senders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registrations, "SENDERS_MAX", 3)
    monkeypatch.setattr(registrations, "STREAMS_MAX", 20)

    async def scene(_: Office, made: Registrations) -> None:
        for number in range(20):
            assert (await made.begin({"key": b"%d" % number}))["code"] == ResponseCode.SUCCESS
        refused = await made.begin({"key": b"one more"})
        assert refused["code"] == ResponseCode.SERVER_TOO_BUSY
        assert b"20 streams are kept already" in refused["message"]
        assert (await made.begin({"key": b"7"}))["code"] == ResponseCode.SUCCESS
        assert len(made._senders) == 3

    play(tmp_path, scene)


def test_batches_that_wait_for_another_node_keep_their_order(tmp_path: Path) -> None:
    """Both are under way at once, and the first has to ask who the group's members are."""

    async def scene(office: Office, made: Registrations) -> None:
        away = Reference(b"88.119/GROUP", 200)
        put(office.store, {PREFIX: [admin_value(away)]})
        office.afar.records[b"88.119/GROUP"] = Record((group(200, ADMIN),))
        begun = await made.begin({"key": b"lot"})
        replies = await asyncio.gather(
            made.rows(sent(begun, 1, "A", "B")), made.rows(sent(begun, 3, "C", "D"))
        )
        assert [reply["code"] for reply in replies] == [1, 1], replies
        assert replies[1]["stream"]["created"] == 4

    play(tmp_path, scene)


def test_rows_beyond_the_next_one_are_told_which_is_next(tmp_path: Path) -> None:
    async def scene(_: Office, made: Registrations) -> None:
        begun = await made.begin({"key": b"lot"})
        await made.rows(sent(begun, 1, "A"))
        refused = await made.rows(sent(begun, 3, "C"))
        assert (refused["code"], refused["next"]) == (ResponseCode.ERROR, 2)
        assert b"row 3 cannot follow row 1" in refused["message"]

    play(tmp_path, scene)


# Clocks that jump


JUMPS_S = (0, 60, -86_400, 3_600, -NOW_S + 1, 5)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    records = {PREFIX: [admin_value()]}
    seed_store(tmp_path / "store", records, [b"0.NA/0.NA", PREFIX], now_s=NOW_S)
    store = open_store(tmp_path / "store")
    yield store
    store.close()


def test_batches_at_times_that_jump(store: Store, tmp_path: Path) -> None:
    stream = Stream(ADMIN, b"lot", NOW_S * 1000)
    with store.write() as view:
        put_stream(view, stream)
    for number, jump_s in enumerate(JUMPS_S):
        rows = [packed_row(f"{number}-{each}") for each in range(3)]
        with store.write() as view:
            current = find_stream(view, stream.name)
            assert current is not None
            now_ms = (NOW_S + jump_s) * 1000
            done = register_rows(
                view, current, 3 * number + 1, rows, foreign={}, policy=POLICY, now_ms=now_ms
            )
        assert (done.stream.created, done.changed) == (3 * number + 3, ())
    again = [packed_row(f"0-{each}") for each in range(3)]
    with store.write() as view:
        current = find_stream(view, stream.name)
        assert current is not None
        done = register_rows(view, current, 1, again, foreign={}, policy=POLICY, now_ms=0)
        assert (done.stream, done.changed) == (current, ())
    store.close()  # one process has it open but once
    report = verify(tmp_path / "store")
    assert report.problems == []
    assert report.frames == 1 + len(JUMPS_S)


def test_group_commits_at_times_that_jump(store: Store, tmp_path: Path) -> None:
    clock = Clock()
    commit = GroupCommit(store, POLICY, window_s=0.0, now_s=clock)
    loop = asyncio.new_event_loop()
    for number, jump_s in enumerate(JUMPS_S):
        clock.now_s = float(NOW_S + jump_s)
        operation = create(b"88.118/%d" % number, url())
        (outcome,) = commit.commit(
            [Submitted(operation, ADMIN, NOTHING_FOREIGN, 0, loop.create_future())]
        )
        assert isinstance(outcome, Change)
    loop.close()
    with store.read() as view:
        outcome = decide(view, create(b"88.118/0", url()), ADMIN, NOTHING_FOREIGN, POLICY, NOW_S)
    assert isinstance(outcome, Refusal)
    assert outcome.response_code == ResponseCode.HANDLE_ALREADY_EXISTS
    store.close()
    assert verify(tmp_path / "store").problems == []


def test_a_stream_under_a_clock_that_jumps_back(tmp_path: Path) -> None:
    clock = Clock()

    async def scene(_: Office, made: Registrations) -> None:
        begun = await made.begin({"key": b"lot"})
        await made.rows(sent(begun, 1, "A"))
        clock.now_s -= 7_200
        assert (await made.rows(sent(begun, 2, "B")))["stream"]["created"] == 2
        begun = await made.begin({"key": b"lot"})  # the clock does not make it another stream
        reply = await made.rows(sent(begun, 1, "A", "B", "C"))
        assert (reply["stream"]["created"], reply["changed"]) == (3, [])
        ended = await made.end(of(begun, 3))
        assert ended["code"] == ResponseCode.SUCCESS
        assert ended["stream"]["rows"] == 3
        shown = await made.show({"key": b"lot"})
        assert shown["stream"]["receipt"] == ended["stream"]["receipt"]

    play(tmp_path, scene, clock)


def test_an_old_stream_under_a_young_clock_is_kept(store: Store) -> None:
    """After a jump back, all ends lie in the future: nothing is forgotten too early."""
    end_ms = NOW_S * 1000
    stream = Stream(ADMIN, b"lot", end_ms, ended_ms=end_ms, rows=1, created=1)
    with store.write() as view:
        put_stream(view, stream)
        earlier = Bounds(end_ms - 1_000_000, end_ms - 1_000_000)
        assert find_old(view, earlier, b"", 100) == ([], b"")
        assert forget(view, [stream.name], earlier, 100) == ()
        assert find_stream(view, stream.name) == stream
        later = Bounds(end_ms + 1_000, end_ms + 1_000)
        assert find_old(view, later, b"", 100) == ([stream.name], b"")
        assert forget(view, [stream.name], later, 100) == ()
        assert find_stream(view, stream.name) is None
