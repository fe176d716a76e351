"""Making ours what a primary tells: exactly, journaled, together with how far we have come."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.replication import (
    Action,
    DumpEnd,
    DumpHandle,
    DumpPrefix,
    DumpRecord,
    DumpServer,
    HandleChange,
    LogEnd,
    LogRecord,
)
from protocol.value import HandleValue
from registry.errors import StoreError
from registry.follow_states import FollowState, begin_state, find_states, put_state
from registry.following import (
    Named,
    Taken,
    end_dump,
    note_named,
    sweep,
    take_dump,
    take_log,
)
from registry.journal import OWNER, Kind, decode_frame
from registry.log import LocalLog
from registry.mirror_plans import Share
from registry.store import Store
from tests.registry.builders import NOW_S, create, hidden, open_store, perform, url
from tests.registry.template_builders import seed

NOW_MS = NOW_S * 1_000
SOURCE = "a key"
STATE = FollowState(SOURCE)
A, B = b"88.118/A", b"88.118/B"
OLD = HandleValue(1, b"URL", b"x", 0b1100, ttl=5, timestamp=1_000_000_000)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    seed(tmp_path)
    with open_store(tmp_path) as store:
        yield store


def change(action: Action, handle: bytes, *values: HandleValue, number: int = 1) -> HandleChange:
    return HandleChange(number, handle, action, NOW_MS, values)


def values_of(store: Store, handle: bytes) -> tuple[HandleValue, ...] | None:
    with store.read() as view:
        record = view.find_record(handle)
    return None if record is None else record.values


def state_of(store: Store) -> FollowState | None:
    with store.read() as view:
        states = find_states(view)
    assert len(states) <= 1
    return next(iter(states), None)


def test_a_log_is_made_ours_with_values_as_they_are(store: Store) -> None:
    records: list[LogRecord] = [
        change(Action.CREATE, b"88.118/a", OLD, hidden(2), number=7),
        change(Action.UPDATE, B, OLD, number=8),
        change(Action.HOME, b"0.NA/77", number=9),
        change(Action.PLACEHOLDER, b"", number=10),
        LogEnd(NOW_MS + 5),
    ]
    with store.write() as view:
        state, taken = take_log(view, records, STATE, NOW_MS)
    assert (taken.changed, taken.faults) == (3, [])
    assert state == state_of(store) == FollowState(SOURCE, 10, NOW_MS + 5)
    assert values_of(store, A) == (OLD, hidden(2))
    with store.read() as view:
        assert view.is_homed(b"0.NA/77")
        (_, frame), *_ = reversed(list(LocalLog(view).read(0, 0)))
    made = decode_frame(frame).operations
    assert [(each.kind, each.handle) for each in made] == [
        (Kind.CREATE, A),
        (Kind.CREATE, B),
        (Kind.HOME, b"0.NA/77"),
    ]
    assert {each.actor for each in made} == {OWNER}


def test_what_is_so_already_is_not_done_again(store: Store) -> None:
    records = [change(Action.CREATE, A, OLD), change(Action.HOME, b"0.NA/77")]
    for expected in (2, 0):
        with store.write() as view:
            _, taken = take_log(view, records, STATE, NOW_MS)
        assert taken.changed == expected
    gone = [change(Action.DELETE, A), change(Action.UNHOME, b"0.NA/77")]
    for expected in (2, 0):
        with store.write() as view:
            _, taken = take_log(view, gone, STATE, NOW_MS)
        assert taken.changed == expected
    assert values_of(store, A) is None


@pytest.mark.parametrize(
    ("handle", "values", "words"),
    [
        (b"\xff/x", (OLD,), "not UTF-8"),
        (b"88.118/" + b"x" * 2_048, (OLD,), "2048 octets"),
        (A, (OLD, OLD), "given twice"),
        (A, (url(0),), "an index is at least 1"),
        (A, (url(1, b"x" * 300_000),), "at most"),
    ],
)
def test_what_cannot_be_kept_is_named_and_the_rest_is_kept(
    store: Store, handle: bytes, values: tuple[HandleValue, ...], words: str
) -> None:
    records: list[DumpRecord] = [
        DumpHandle(handle, values),
        DumpHandle(B, (OLD,)),
        DumpPrefix(b"88.118/B"),
    ]
    with store.write() as view:
        taken = take_dump(view, records, STATE, NOW_MS)
    assert taken.changed == 1
    assert words in taken.faults[0]
    assert taken.faults[1] == "88.118/B is no prefix"
    assert values_of(store, B) == (OLD,)


def test_values_that_make_no_sense_are_copied_all_the_same(store: Store) -> None:
    odd = HandleValue(100, b"HS_ADMIN", b"\0", ttl_type=7, timestamp=-5)
    with store.write() as view:
        taken = take_dump(view, [DumpHandle(A, (odd,))], STATE, NOW_MS)
    assert taken.faults == []
    assert values_of(store, A) == (odd,)


def test_a_dump_ends_with_what_it_did_not_name_gone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.following.SWEPT_ROWS", 2)
    perform(store, create(A, url()), create(B, url()))
    records: list[DumpRecord] = [
        DumpServer(5, 7),
        DumpHandle(b"88.118/b", (OLD,)),
        DumpPrefix(b"0.NA/88.118"),
    ]
    named, prefixes = Named(), set[bytes]()
    with store.write() as view:
        note_named(view, [*records, DumpEnd()], named, prefixes)
        take_dump(view, records, STATE, NOW_MS)
    named.sort()
    after: bytes | None = b""
    deleted = 0
    while after is not None:
        with store.write() as view:
            after, more = sweep(view, after, named, NOW_MS)
        deleted += more
    with store.write() as view:
        ended = end_dump(view, prefixes, FollowState(SOURCE, 7, 5), NOW_MS)
    assert ended == state_of(store) == FollowState(SOURCE, 7, 5, is_dumped=True)
    assert deleted == 3  # the prefix handles that seeded the store, and A
    with store.read() as view:
        assert [handle for handle, _ in view.records()] == [B]
        assert list(view.homed()) == [b"0.NA/88.118"]


def test_only_a_fresh_node_begins(store: Store) -> None:
    assert begin_state(store, SOURCE) == STATE
    perform(store, create(A, url()))
    with pytest.raises(StoreError, match="has registered for itself"):
        begin_state(store, SOURCE)
    known = FollowState(SOURCE, 9, 5, is_dumped=True)
    with store.write() as view:
        put_state(view, known)
    assert begin_state(store, SOURCE) == known
    assert begin_state(store, "another key") == FollowState("another key")


def test_every_server_of_a_site_has_its_state_and_another_site_has_none_of_them(
    store: Store,
) -> None:
    states = [FollowState(f"site/{number}", 10 + number, 5, is_dumped=True) for number in range(3)]
    for state in [FollowState("alone", 1), *states, states[1]]:
        with store.write() as view:
            put_state(view, state)
    assert [begin_state(store, f"site/{number}") for number in range(3)] == states
    assert begin_state(store, "alone") == FollowState("alone")
    with store.write() as view:
        put_state(view, FollowState("alone", 1))
    assert begin_state(store, "site/0") == FollowState("site/0")


def test_a_state_of_an_earlier_release_is_read(store: Store) -> None:
    with store.write() as view:
        view.put_meta(b"follow", msgspec.msgpack.encode([SOURCE, 9, 5, True]))
    assert begin_state(store, SOURCE) == FollowState(SOURCE, 9, 5, is_dumped=True)


def test_of_a_server_only_what_hashes_to_it_is_taken_and_swept(store: Store) -> None:
    handles = [b"88.118/%d" % number for number in range(12)]
    first, second = (Share(2, 2, number) for number in range(2))
    own = [each for each in handles if first.holds(each)]
    assert 0 < len(own) < len(handles)
    with store.write() as view:
        taken = take_dump(
            view, [DumpHandle(each, (OLD,)) for each in handles], STATE, NOW_MS, first
        )
    assert taken.changed == len(own)
    assert len(taken.faults) == len(handles) - len(own)
    assert taken.faults[0].endswith("hashes to another server of the primary's site")
    other = FollowState("another")
    with store.write() as view:
        take_log(
            view, [change(Action.CREATE, each, OLD) for each in handles], other, NOW_MS, second
        )
        # A copy that was left on the wrong server is cleaned up there: the right one stays.
        gone = [change(Action.DELETE, each) for each in own[:2]]
        assert take_log(view, gone, other, NOW_MS, second)[1] == Taken()
        prefixes = [DumpPrefix(b"0.NA/%d" % number) for number in range(70, 78)]
        take_dump(view, prefixes, STATE, NOW_MS, first)
    named = Named()
    named.sort()
    with store.write() as view:
        after, _ = sweep(view, b"", named, NOW_MS, first)
        end_dump(view, set(), STATE, NOW_MS, first)
    assert after is None
    with store.read() as view:
        assert sorted(each for each, _ in view.records() if each in handles) == sorted(
            each for each in handles if second.holds(each)
        )
        homed = list(view.homed())
        assert homed
        assert all(second.holds(each) for each in homed)


def test_a_damaged_state_is_said_to_be(store: Store) -> None:
    with store.write() as view:
        view.put_meta(b"follow", b"\xc1")
    with pytest.raises(StoreError, match="damaged"):
        begin_state(store, SOURCE)


@given(st.sets(st.binary(max_size=12)), st.sets(st.binary(max_size=12)))
def test_named_handles_are_known_and_others_are_not(noted: set[bytes], others: set[bytes]) -> None:
    named = Named()
    for key in noted:
        named.add(key)
    named.sort()
    assert all(key in named for key in noted)
    assert not any(key in named for key in others - noted)
