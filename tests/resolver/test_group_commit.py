import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from protocol.codes import ResponseCode
from protocol.value import HandleValue, Reference
from registry.admin import decide
from registry.errors import RecordError, StoreFullError
from registry.journal import decode_frame
from registry.operations import Change, Operation, Outcome
from registry.outcomes import NOTHING_FOREIGN, Foreign, Need, Refusal
from registry.plain_creations import PlainCreation
from registry.schema import Record
from registry.store import Store
from registry.views import WriteView
from resolver import group_commit
from resolver.group_commit import GroupCommit, Submitted
from resolver.hot_creations import read_pieces
from tests.registry.builders import (
    ADMIN,
    NOW_S,
    POLICY,
    PREFIX,
    ROOT,
    STRANGER,
    add,
    admin_value,
    create,
    delete,
    modify,
    open_store,
    put,
    remove,
    url,
)

NEW = b"88.118/NEW"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path) as store:
        put(store, {PREFIX: [admin_value()]}, homed=[b"0.NA/0.NA", PREFIX])
        yield store


def make_commit(store: Store, **options: Any) -> GroupCommit:
    options = {"window_s": 0.0, "turn_s": 60.0, "now_s": lambda: NOW_S, **options}
    return GroupCommit(store, POLICY, **options)


def commit_batch(
    commit: GroupCommit,
    *operations: Operation | PlainCreation,
    identity: Reference | None = ADMIN,
    foreign: Sequence[Foreign] = (),
) -> list[Outcome | bool | Exception]:
    known = foreign or [NOTHING_FOREIGN] * len(operations)
    loop = asyncio.new_event_loop()
    try:
        batch = [
            Submitted(operation, identity, each, 0, loop.create_future())
            for operation, each in zip(operations, known, strict=True)
        ]
        return commit.commit(batch)
    finally:
        loop.close()


def codes_of(outcomes: list[Outcome | bool | Exception]) -> list[int]:
    return [each.response_code if isinstance(each, Refusal) else 1 for each in outcomes]


def frames_of(store: Store) -> list[int]:
    """Return the number of operations in each frame of the journal."""
    with store.read() as view:
        return [len(decode_frame(frame).operations) for _, frame in view.frames()]


def test_a_batch_is_one_frame(store: Store) -> None:
    commit = make_commit(store)
    outcomes = commit_batch(commit, *(create(b"88.118/%d" % n, url()) for n in range(5)))
    assert all(isinstance(outcome, Change) for outcome in outcomes)
    assert frames_of(store) == [5]


def test_a_batch_that_takes_long_is_several_transactions(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deciding on 256 operations of members of a large group kept all others waiting."""
    commit = make_commit(store, turn_s=0.0, operations_max=3)
    operations = [create(b"88.118/%d" % number, url()) for number in range(8)]
    assert codes_of(commit_batch(commit, *operations)) == [1]

    async def scene() -> list[Outcome]:
        commit.start()
        asked = [commit.submit(each, ADMIN, NOTHING_FOREIGN) for each in operations]
        outcomes = await asyncio.gather(*asked)
        await asyncio.to_thread(commit.stop)
        return outcomes

    outcomes = asyncio.run(scene())
    assert codes_of([*outcomes]) == [101, 1, 1, 1, 1, 1, 1, 1]
    assert frames_of(store) == [1] * 8


def test_what_a_batch_decides_on_includes_the_batch(store: Store) -> None:
    outcomes = commit_batch(
        make_commit(store),
        create(NEW, url()),
        create(NEW, url()),
        delete(NEW),
        delete(NEW),
        create(NEW, url()),
    )
    assert codes_of(outcomes) == [1, 101, 1, 100, 1]
    assert frames_of(store) == [3]


def test_refusals_alone_leave_no_frame(store: Store) -> None:
    outcomes = commit_batch(make_commit(store), delete(NEW), create(b"88.999/X", url()))
    assert codes_of(outcomes) == [ResponseCode.HANDLE_NOT_FOUND, 301]
    assert frames_of(store) == []


def test_what_is_needed_from_afar_is_asked_for(store: Store) -> None:
    put(store, {PREFIX: [admin_value(Reference(b"88.119/GROUP", 200))]})
    (outcome,) = commit_batch(make_commit(store), create(NEW, url()))
    assert outcome == Need(frozenset({b"88.119/GROUP"}))


def test_without_room_nothing_of_a_batch_is_acknowledged(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = make_commit(store)
    whole = store.write

    @contextmanager
    def full(**options: Any) -> Iterator[WriteView]:
        with whole(**options) as view:
            yield view
            raise StoreFullError("no room on the disk")

    monkeypatch.setattr(store, "write", full)
    outcomes = commit_batch(commit, create(NEW, url()), delete(NEW))
    assert codes_of(outcomes) == [ResponseCode.SERVER_BACKUP] * 2
    assert "no room on the disk" in commit.read_only
    with store.read() as view:
        assert view.find_record(NEW) is None

    async def refused() -> Outcome:
        return await commit.submit(create(NEW, url()), ADMIN, NOTHING_FOREIGN)

    assert codes_of([asyncio.run(refused())]) == [ResponseCode.SERVER_BACKUP]


def test_the_node_is_read_only_while_room_is_short(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = make_commit(store, free_octets_min=1_000)
    for free, read_only in [(1_000, False), (999, True), (1_099, True), (1_100, False)]:
        monkeypatch.setattr(store, "free_octets", lambda free=free: free)
        commit.check_room()
        assert bool(commit.read_only) == read_only, free


def test_one_that_fails_does_not_take_the_others_down(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = create(b"88.118/BAD", url()), create(NEW, url())

    def decide_badly(view: Any, operation: Operation, *rest: Any) -> Outcome:
        if operation is bad:
            raise RecordError("damaged")
        return decide(view, operation, *rest)

    monkeypatch.setattr(group_commit, "decide", decide_badly)
    first, second = commit_batch(make_commit(store), bad, good)
    assert isinstance(first, RecordError)
    assert isinstance(second, Change)
    with store.read() as view:
        assert view.find_record(NEW) is not None


class Gate:
    """Holds the writer before it begins a transaction, so that what comes meanwhile gathers."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()
        self._write = store.write
        monkeypatch.setattr(store, "write", self.write)

    @contextmanager
    def write(self, **options: Any) -> Iterator[WriteView]:
        self.reached.set()
        assert self.opened.wait(10)
        with self._write(**options) as view:
            yield view


def test_what_arrives_during_a_commit_is_the_next_batch(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(store, monkeypatch)

    async def run() -> list[Outcome]:
        commit = make_commit(store, operations_max=4)
        commit.start()
        loop = asyncio.get_running_loop()

        def submit(number: int) -> "asyncio.Task[Outcome]":
            handle = b"88.118/%d" % number
            return asyncio.create_task(commit.submit(create(handle, url()), ADMIN, NOTHING_FOREIGN))

        first = submit(0)
        await loop.run_in_executor(None, gate.reached.wait)
        rest = [submit(number) for number in range(1, 7)]
        await asyncio.sleep(0)
        assert commit.queue_depth == 6
        assert not any(task.done() for task in [first, *rest])
        gate.opened.set()
        outcomes = [await first, *await asyncio.gather(*rest)]
        await loop.run_in_executor(None, commit.stop)
        return outcomes

    outcomes = asyncio.run(run())
    assert all(isinstance(outcome, Change) for outcome in outcomes)
    assert frames_of(store) == [1, 4, 2]


def test_nothing_is_acknowledged_before_its_commit_returned(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed = threading.Event()
    whole = store.write

    @contextmanager
    def slow(**options: Any) -> Iterator[WriteView]:
        with whole(**options) as view:
            yield view
        committed.set()

    monkeypatch.setattr(store, "write", slow)

    async def run() -> None:
        commit = make_commit(store)
        commit.start()
        await commit.submit(create(NEW, url()), ADMIN, NOTHING_FOREIGN)
        assert committed.is_set()
        await asyncio.get_running_loop().run_in_executor(None, commit.stop)

    asyncio.run(run())


def test_stopping_commits_what_waits(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(store, monkeypatch)

    async def run() -> None:
        commit = make_commit(store, operations_max=1)
        commit.start()
        loop = asyncio.get_running_loop()
        waiting = [
            asyncio.create_task(
                commit.submit(create(b"88.118/%d" % n, url()), ADMIN, NOTHING_FOREIGN)
            )
            for n in range(3)
        ]
        await loop.run_in_executor(None, gate.reached.wait)
        gate.opened.set()
        await loop.run_in_executor(None, commit.stop)
        assert codes_of(list(await asyncio.gather(*waiting))) == [1, 1, 1]

    asyncio.run(run())


def test_the_queue_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(store, monkeypatch)

    async def run() -> None:
        commit = make_commit(store, operations_max=1, queue_max=1)
        commit.start()
        loop = asyncio.get_running_loop()

        def submit(number: int) -> "asyncio.Task[Outcome]":
            operation = create(b"88.118/%d" % number, url())
            return asyncio.create_task(commit.submit(operation, ADMIN, NOTHING_FOREIGN))

        first = submit(0)
        await loop.run_in_executor(None, gate.reached.wait)
        second, third = submit(1), submit(2)
        refused = await third
        assert codes_of([refused]) == [ResponseCode.SERVER_TOO_BUSY]
        gate.opened.set()
        assert codes_of([await first, await second]) == [1, 1]
        await loop.run_in_executor(None, commit.stop)

    asyncio.run(run())


def test_a_batch_is_bounded_in_octets(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "BATCH_OCTETS_MAX", 100)
    gate = Gate(store, monkeypatch)

    async def run() -> None:
        commit = make_commit(store)
        commit.start()
        loop = asyncio.get_running_loop()

        def submit(number: int, octets: int) -> "asyncio.Task[Outcome]":
            operation = create(b"88.118/%d" % number, url())
            return asyncio.create_task(commit.submit(operation, ADMIN, NOTHING_FOREIGN, octets))

        tasks = [submit(0, 1)]
        await loop.run_in_executor(None, gate.reached.wait)
        tasks += [submit(1, 500), submit(2, 60), submit(3, 40), submit(4, 1)]
        await asyncio.sleep(0)
        gate.opened.set()
        await asyncio.gather(*tasks)
        await loop.run_in_executor(None, commit.stop)

    asyncio.run(run())
    assert frames_of(store) == [1, 1, 2, 1]


def test_records_of_other_nodes_are_kept_without_a_frame(store: Store) -> None:
    async def run() -> None:
        commit = make_commit(store)
        commit.start()
        commit.keep(b"88.119/ADMIN", [url()], NOW_S)
        await asyncio.get_running_loop().run_in_executor(None, commit.stop)

    asyncio.run(run())
    with store.read() as view:
        kept = view.find_foreign(b"88.119/ADMIN")
    assert kept is not None
    assert kept.fetched_s == NOW_S
    assert kept.record.values == (url(),)
    assert frames_of(store) == []


def test_a_client_that_went_away_changes_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(store, monkeypatch)

    async def run() -> None:
        commit = make_commit(store)
        commit.start()
        loop = asyncio.get_running_loop()
        gone = asyncio.create_task(commit.submit(create(NEW, url()), ADMIN, NOTHING_FOREIGN))
        await loop.run_in_executor(None, gate.reached.wait)
        gone.cancel()
        stays = asyncio.create_task(
            commit.submit(create(b"88.118/2", url()), ADMIN, NOTHING_FOREIGN)
        )
        gate.opened.set()
        assert isinstance(await stays, Change)
        await loop.run_in_executor(None, commit.stop)

    asyncio.run(run())
    with store.read() as view:
        assert view.find_record(NEW) is not None


def plain(name: bytes) -> PlainCreation:
    body = b'[{"index":1,"type":"URL","data":{"format":"string","value":"https://example.com/"}}]'
    pieces = read_pieces(body, b"88.118/A")
    assert pieces is not None
    return PlainCreation(b"88.118/" + name, pieces)


def test_plain_creations_are_of_the_batch(store: Store) -> None:
    outcomes = commit_batch(
        make_commit(store), plain(b"A"), create(b"88.118/A", url()), plain(b"a"), plain(b"B")
    )
    assert outcomes[0] is True
    assert codes_of(outcomes)[1] == ResponseCode.HANDLE_ALREADY_EXISTS
    assert outcomes[2:] == [False, True]
    assert frames_of(store) == [2]
    with store.read() as view:
        record = view.find_record(b"88.118/a")
    assert record is not None
    assert record.values == (url(),)


def test_a_permission_taken_away_in_a_batch_is_gone(store: Store) -> None:
    outcomes = commit_batch(make_commit(store), plain(b"A"), delete(PREFIX), plain(b"B"))
    assert (outcomes[0], outcomes[2]) == (True, False)


def test_plain_creations_know_what_came_with_them(store: Store) -> None:
    with store.write(journaled=False) as view:
        view.unhome(ROOT.handle)
        view.delete_record(PREFIX)
    administered: Foreign = {PREFIX: Record((admin_value(),))}
    changed: Foreign = {PREFIX: Record((admin_value(STRANGER),))}
    outcomes = commit_batch(
        make_commit(store),
        *map(plain, (b"A", b"B", b"C", b"D")),
        foreign=(NOTHING_FOREIGN, administered, changed, administered),
    )
    assert outcomes == [False, True, False, True]


def test_a_plain_creation_for_which_there_is_no_room_is_not_made(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = make_commit(store)

    @contextmanager
    def full(**options: Any) -> Iterator[WriteView]:
        raise StoreFullError("no room on the disk")
        yield

    monkeypatch.setattr(store, "write", full)
    assert commit_batch(commit, plain(b"A")) == [False]

    async def create_one() -> bool:
        commit.start()
        try:
            return await commit.create(plain(b"B"), ADMIN)
        finally:
            commit.stop()

    assert not asyncio.run(create_one())


def test_a_plain_creation_is_durable_when_it_is_told(store: Store) -> None:
    async def create_some() -> list[bool]:
        commit = make_commit(store, queue_max=2)
        commit.start()
        try:
            futures = [commit.create(plain(b"%d" % number), ADMIN) for number in range(2)]
            return await asyncio.gather(*futures)
        finally:
            commit.stop()

    assert asyncio.run(create_some()) == [True, True]
    assert sum(frames_of(store)) == 2


KEYS = (HandleValue(300, b"HS_PUBKEY", b"one"), HandleValue(301, b"HS_SECKEY", b"two", 0b1100))
USER = b"88.118/User"


@pytest.mark.parametrize(
    ("operation", "lost"),
    [
        (modify(USER, replace(KEYS[0], data=b"other")), {300}),
        (modify(USER, replace(KEYS[0], type=b"NOTE")), {300}),
        (modify(USER, replace(KEYS[0], ttl=60)), set()),
        (remove(USER, 300, 301), {300, 301}),
        (delete(USER), {300, 301}),
        (create(USER, admin_value(), KEYS[1], overwrite=True), {300}),
        (modify(USER, url(5, b"https://example.org/")), set()),
        (add(USER, url(6)), set()),
    ],
)
def test_keys_that_are_lost_are_told_before_whoever_did_it_is(
    store: Store, operation: Operation, lost: set[int]
) -> None:
    put(store, {USER: [admin_value(), *KEYS, url(5)]})
    told: list[object] = []

    async def scenario() -> None:
        commit = make_commit(store, keys_lost=told.append)
        commit.start()
        outcome = await commit.submit(operation, ADMIN, NOTHING_FOREIGN)
        told.append(type(outcome))
        await asyncio.get_running_loop().run_in_executor(None, commit.stop)

    asyncio.run(scenario())
    keys = {Reference(USER.upper(), index) for index in lost}
    assert told == ([keys, Change] if lost else [Change])


def test_what_was_undone_has_lost_no_keys(store: Store) -> None:
    put(store, {USER: [admin_value(), *KEYS]})
    told: list[object] = []

    def fail(view: WriteView) -> None:
        view.delete_record(USER)
        assert view.lost_keys()
        raise RuntimeError("not after all")

    async def scenario() -> None:
        commit = make_commit(store, keys_lost=told.append)
        commit.start()
        with pytest.raises(RuntimeError):
            await commit.transact(fail)
        await asyncio.get_running_loop().run_in_executor(None, commit.stop)

    asyncio.run(scenario())
    assert not told
