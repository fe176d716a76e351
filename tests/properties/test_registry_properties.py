"""What holds for any values and any sequence of operations."""

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.codes import OpCode
from protocol.value import HandleValue, Reference, encode_values
from registry.admin import Operation
from registry.journal import (
    WITH_PAYLOAD,
    WITHOUT_VALUES,
    JournalOperation,
    Kind,
    decode_frame,
    encode_frame,
)
from registry.replay import replay
from registry.schema import Record, decode_record, encode_record, public_list
from registry.store import Store
from registry.verify import verify
from registry.views import Head
from tests.registry.builders import (
    ADMIN,
    PREFIX,
    ROOT,
    STRANGER,
    add,
    admin_value,
    create,
    delete,
    modify,
    on_handle,
    open_store,
    perform,
    put,
    remove,
    rows_of,
)

I32 = st.integers(-(2**31), 2**31 - 1)
REFERENCES = st.builds(Reference, st.binary(max_size=20), I32)
VALUES = st.builds(
    HandleValue,
    index=I32,
    type=st.sampled_from([b"URL", b"HS_ADMIN", b""]) | st.binary(max_size=8),
    data=st.binary(max_size=60),
    permission=st.integers(0, 255),
    ttl=I32,
    ttl_type=st.integers(0, 255),
    timestamp=I32,
    references=st.lists(REFERENCES, max_size=3).map(tuple),
)
HANDLES = st.binary(min_size=1, max_size=700)


@given(st.lists(VALUES, max_size=8).map(tuple), HANDLES)
def test_records_encode_and_decode_invert_each_other(
    values: tuple[HandleValue, ...], handle: bytes
) -> None:
    octets = encode_record(values, handle)
    assert decode_record(octets) == Record(values, handle if len(handle) > 511 else b"")
    assert public_list(octets) == encode_values(value for value in values if value.is_public)


JOURNAL_OPERATIONS = st.builds(
    lambda kind, handle, values, actor, time_s, payload: JournalOperation(
        kind,
        handle,
        () if kind in WITHOUT_VALUES | WITH_PAYLOAD else values,
        actor,
        time_s,
        payload if kind in WITH_PAYLOAD else b"",
    ),
    st.sampled_from(Kind),
    HANDLES,
    st.lists(VALUES, max_size=3).map(tuple),
    REFERENCES,
    I32,
    st.binary(max_size=60),
)


@given(
    st.integers(0, 2**63),
    st.binary(min_size=32, max_size=32),
    st.lists(JOURNAL_OPERATIONS, min_size=1, max_size=5).map(tuple),
    st.integers(-(2**62), 2**62),
)
def test_frames_encode_and_decode_invert_each_other(
    seq: int, digest: bytes, operations: tuple[JournalOperation, ...], time_ms: int
) -> None:
    frame = decode_frame(encode_frame(Head(seq, digest), operations, time_ms))
    assert (frame.seq, frame.previous, frame.time_ms) == (seq + 1, digest, time_ms)
    assert frame.operations == operations


NAMES = st.sampled_from(
    [b"88.118/A", b"88.118/b", b"88.118/" + b"L" * 600, b"0.NA/88.118.5", b"0.NA/88", b"77/X"]
)
SMALL_VALUES = st.builds(
    HandleValue,
    index=st.integers(0, 5),
    type=st.just(b"URL"),
    data=st.binary(max_size=4),
    permission=st.sampled_from([0b1110, 0b1111, 0b1100, 0b1010]),
) | st.builds(
    admin_value, st.sampled_from([ADMIN, STRANGER]), st.integers(0, 0xFFF), st.integers(1, 5)
)
VALUE_LISTS = st.lists(SMALL_VALUES, max_size=3)
OPERATIONS: st.SearchStrategy[Operation] = st.one_of(
    st.builds(lambda h, v, o: create(h, *v, overwrite=o), NAMES, VALUE_LISTS, st.booleans()),
    st.builds(lambda h, v, o: add(h, *v, overwrite=o), NAMES, VALUE_LISTS, st.booleans()),
    st.builds(lambda h, v: modify(h, *v), NAMES, VALUE_LISTS),
    st.builds(lambda h, i: remove(h, *i), NAMES, st.lists(st.integers(0, 6), max_size=3)),
    st.builds(delete, NAMES),
    st.builds(
        on_handle,
        st.sampled_from([OpCode.HOME_NA, OpCode.UNHOME_NA]),
        st.sampled_from([PREFIX, b"0.NA/77", b"0.NA/0.NA"]),
    ),
)
BATCHES = st.lists(
    st.tuples(
        st.sampled_from([ADMIN, ROOT, STRANGER, None]),
        st.lists(OPERATIONS, min_size=1, max_size=4),
    ),
    max_size=6,
)


def seeded(folder: Path) -> Store:
    """A store that 88.118's administrator works on, all of it in the journal."""
    store = open_store(folder)
    home = [on_handle(OpCode.HOME_NA, prefix) for prefix in (b"0.NA/0.NA", PREFIX)]
    perform(store, *home, create(PREFIX, admin_value()), identity=ROOT)
    return store


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(BATCHES)
def test_any_journal_replays_to_the_same_store(
    batches: list[tuple[Reference | None, list[Operation]]],
) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        with seeded(folder / "one") as store:
            for now_s, (identity, operations) in enumerate(batches):
                perform(store, *operations, identity=identity, now_s=now_s)
            expected = rows_of(store)
            with store.read() as view:
                homed, frames = list(view.homed()), [frame for _, frame in view.frames()]
        with open_store(folder / "two") as copy:
            with copy.write(journaled=False) as writer:
                for frame in frames:
                    replay(writer, decode_frame(frame).operations)
            assert rows_of(copy) == expected
            with copy.read() as view:
                assert list(view.homed()) == homed
        assert verify(folder / "one").problems == []


@settings(max_examples=40, deadline=None)
@given(
    st.sets(st.binary(min_size=1, max_size=4) | st.binary(min_size=505, max_size=520), max_size=20),
    st.integers(1, 7),
)
def test_pages_of_a_list_make_the_whole_list(suffixes: set[bytes], page: int) -> None:
    with tempfile.TemporaryDirectory() as place, open_store(Path(place)) as store:
        others = {b"88.11/X", b"88.1180/X", b"88.118.5/X"}
        put(store, {handle: [] for handle in {b"88.118/" + suffix for suffix in suffixes} | others})
        listed: list[bytes] = []
        with store.read() as view:
            expected = {view.fold(b"88.118/" + suffix) for suffix in suffixes}
            after, is_more = None, True
            while is_more:
                found, after = view.list_handles(PREFIX, after, page)
                assert len(found) <= page
                listed += found
                is_more = after is not None
        assert set(listed) == expected
        assert len(listed) == len(expected)
