"""Rows of a stream: each decided on once, refused ones change nothing, none is done twice."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.codes import ResponseCode
from protocol.value import HandleValue, Reference, encode_values
from registry import bulk
from registry.bulk import NeedError, Registered, StreamError, register_rows
from registry.journal import decode_frame
from registry.offline import seed_store
from registry.receipts import START, chain
from registry.store import Store
from registry.stream_rows import Row, RowKind
from registry.streams import Stream, Verdict, batches, find_stream, put_stream
from registry.verify import verify
from tests.registry.builders import (
    ADMIN,
    NOW_S,
    POLICY,
    PREFIX,
    STRANGER,
    admin_value,
    group,
    hidden,
    open_store,
    put,
    rows_of,
    url,
    values_of,
)

ROWS = st.lists(st.tuples(st.sampled_from(list(RowKind)), st.integers(0, 5)), max_size=20)
LATER_MS = (NOW_S + 60) * 1000


def row(kind: RowKind, handle: bytes, *values: HandleValue) -> Row:
    octets = encode_values(values) if values else b""
    digest = hashlib.sha256(bytes([kind]) + handle + octets).digest()
    return Row(kind, handle, octets, digest)


def plain(number: int, data: bytes = b"https://example.com/") -> Row:
    return row(RowKind.PLAIN, b"88.118/P%d" % number, url(data=data))


def begin(store: Store, identity: Reference = ADMIN, key: bytes = b"lot") -> Stream:
    stream = Stream(identity, key, NOW_S * 1000)
    with store.write() as view:
        put_stream(view, stream)
    return stream


def send(
    store: Store,
    stream: Stream,
    first: int,
    rows: Sequence[Row],
    is_over: Callable[[], bool] = lambda: False,
) -> Registered:
    with store.write() as view:
        current = find_stream(view, stream.name)
        assert current is not None
        return register_rows(
            view,
            current,
            first,
            rows,
            foreign={},
            policy=POLICY,
            now_ms=LATER_MS,
            is_over=is_over,
        )


def verdicts(store: Store, stream: Stream, first: int = 1) -> list[tuple[int, int]]:
    """Return (verdict, code) of every row."""
    with store.read() as view:
        return [
            (run.verdict, run.code)
            for batch in batches(view, stream.name, first)
            for run in batch.runs
            for _ in range(run.rows)
        ]


def test_plain_rows_are_stored_as_they_are_with_one_frame(store: Store) -> None:
    stream = begin(store)
    rows = [plain(number) for number in range(1, 6)]
    done = send(store, stream, 1, rows)
    assert (done.stream.rows, done.stream.created, done.changed) == (5, 5, ())
    assert done.stream.digest == chain(START, [each.digest for each in rows])
    assert values_of(store, b"88.118/p3") == (url(),)
    with store.read() as view:
        ((seq, octets),) = view.frames()
        assert next(batches(view, stream.name, 1)).sequence == seq
    frame = decode_frame(octets)
    assert [operation.handle for operation in frame.operations] == [
        b"88.118/P%d" % number for number in range(1, 6)
    ]
    assert {operation.actor for operation in frame.operations} == {ADMIN}
    assert (done.stream.first_sequence, done.stream.last_sequence) == (seq, seq)


def test_each_row_has_its_own_verdict(store: Store) -> None:
    put(store, {b"88.118/OLD": [url()], b"88.118/GONE": [url()], b"88.118/SAME": [url(2)]})
    stream = begin(store)
    rows = [
        plain(1),
        plain(1, b"other"),
        plain(1),
        row(RowKind.PLAIN, b"99/x", url()),
        row(
            RowKind.BAD,
            b"",
        )._replace(octets=b"no JSON at all"),
        row(RowKind.CREATE, b"88.118/ADMIN", hidden(5), admin_value()),
        row(RowKind.REPLACE, b"88.118/old", url(data=b"new")),
        row(RowKind.REPLACE, b"88.118/NEW", url()),
        row(RowKind.REPLACE, b"88.118/SAME", url(2)),
        row(RowKind.DELETE, b"88.118/GONE"),
        row(RowKind.DELETE, b"88.118/GONE"),
        row(RowKind.CREATE, b"88.118/bad", url(0)),
    ]
    done = send(store, stream, 1, rows)
    assert verdicts(store, stream) == [
        (Verdict.CREATED, 1),
        (Verdict.REFUSED, ResponseCode.HANDLE_ALREADY_EXISTS),
        (Verdict.UNCHANGED, 1),
        (Verdict.REFUSED, ResponseCode.SERVER_NOT_RESPONSIBLE),
        (Verdict.REFUSED, ResponseCode.INVALID_VALUE),
        (Verdict.CREATED, 1),
        (Verdict.REPLACED, 1),
        (Verdict.CREATED, 1),
        (Verdict.UNCHANGED, 1),
        (Verdict.DELETED, 1),
        (Verdict.REFUSED, ResponseCode.HANDLE_NOT_FOUND),
        (Verdict.REFUSED, ResponseCode.INVALID_VALUE),
    ]
    counts = done.stream
    assert (counts.created, counts.replaced, counts.deleted) == (3, 1, 1)
    assert (counts.unchanged, counts.refused, counts.rows) == (2, 5, 12)
    assert values_of(store, b"88.118/GONE") is None
    assert values_of(store, b"88.118/bad") is None


def test_plain_rows_in_any_order_beside_names_that_are_taken(store: Store) -> None:
    put(store, {b"88.118/P7": [url()], b"88.118/P8": [url(data=b"other")]})
    stream = begin(store)
    long = row(RowKind.PLAIN, b"88.118/" + b"L" * 600, url())
    numbers = [9, 7, 3, 8, 1, 3]
    done = send(store, stream, 1, [*map(plain, numbers), long, long._replace(octets=b"\0" * 4)])
    created, taken = (Verdict.CREATED, 1), (Verdict.REFUSED, ResponseCode.HANDLE_ALREADY_EXISTS)
    same = (Verdict.UNCHANGED, 1)
    told = verdicts(store, stream)
    assert told[:7] == [created, same, created, taken, created, same, created]
    assert told[7][0] == Verdict.REFUSED
    assert (done.stream.created, done.stream.unchanged, done.stream.refused) == (4, 2, 2)
    with store.read() as view:
        ((_, octets),) = view.frames()
    operations = decode_frame(octets).operations
    assert [each.handle[:10] for each in operations] == [
        b"88.118/P9", b"88.118/P3", b"88.118/P1", b"88.118/LLL",
    ]  # fmt: skip
    assert values_of(store, b"88.118/" + b"l" * 600) == (url(),)


def test_runs_of_plain_rows_keep_their_place_among_others(store: Store) -> None:
    stream = begin(store)
    rows = [
        row(RowKind.REPLACE, b"88.118/P1", url(data=b"first")),
        plain(1),
        plain(2),
        row(RowKind.DELETE, b"88.118/P2"),
        plain(2),
        row(RowKind.PLAIN, b"99/x", url()),
    ]
    send(store, stream, 1, rows)
    assert verdicts(store, stream) == [
        (Verdict.CREATED, 1),
        (Verdict.REFUSED, ResponseCode.HANDLE_ALREADY_EXISTS),
        (Verdict.CREATED, 1),
        (Verdict.DELETED, 1),
        (Verdict.CREATED, 1),
        (Verdict.REFUSED, ResponseCode.SERVER_NOT_RESPONSIBLE),
    ]


def lot(stem: str, last: str = "20") -> Row:
    """A row that registers the range 10 to `last` below a stem."""
    value = {"index": 1, "type": "URL", "data": {"format": "string", "value": "u/{serial}"}}
    document = {"stem": stem, "first": "10", "last": last, "values": [value]}
    octets = msgpack.packb(document)
    return Row(RowKind.RANGE, b"", octets, hashlib.sha256(octets).digest())


def test_plain_rows_beside_ranges_are_counted_and_stay_out_of_them(store: Store) -> None:
    stream = begin(store)
    send(store, stream, 1, [lot("88.118/P"), plain(9), plain(10), plain(30)])
    send(store, stream, 5, [plain(20), plain(21), plain(9), plain(11), lot("88.118/P2", "12")])
    created, taken = (Verdict.CREATED, 1), (Verdict.REFUSED, ResponseCode.HANDLE_ALREADY_EXISTS)
    same = (Verdict.UNCHANGED, 1)
    assert verdicts(store, stream) == [
        *(created, created, taken, created),
        *(taken, created, same, taken, created),
    ]
    with store.read() as view:
        counts = view.counts(b"88.118")
        assert (counts.rows, counts.in_ranges, counts.overrides) == (3, 14, 0)
        ((_, first), (_, second)) = view.frames()
    names = [each.handle for frame in (first, second) for each in decode_frame(frame).operations]
    assert names == [b"88.118/P", b"88.118/P9", b"88.118/P30", b"88.118/P21", b"88.118/P"]


def test_a_damaged_range_refuses_what_is_in_it_and_nothing_else(store: Store) -> None:
    stream = begin(store)
    send(store, stream, 1, [lot("88.118/P")])
    with store.write(journaled=False) as view:
        ((key, octets),) = view.table("ranges").items()
        view._txn.put(key, b"\xff" + octets[1:], db=view._dbs.ranges)
    done = send(store, stream, 2, [plain(11), plain(5)])
    assert verdicts(store, stream, 2) == [
        (Verdict.REFUSED, ResponseCode.ERROR),
        (Verdict.CREATED, 1),
    ]
    assert done.stream.rows == 3


def test_words_say_what_stands_in_the_way(store: Store) -> None:
    stream = begin(store)
    send(store, stream, 1, [plain(1), plain(1, b"other"), row(RowKind.PLAIN, b"99/x", url())])
    with store.read() as view:
        (batch,) = batches(view, stream.name, 1)
    assert [run.words for run in batch.runs] == [
        b"",
        b"88.118/P1 is registered already",
        b"the prefix of 99/x is not homed on this node",
    ]


@pytest.mark.parametrize("kind", [RowKind.PLAIN, RowKind.CREATE, RowKind.REPLACE])
def test_who_may_not_register_is_refused_row_by_row(store: Store, kind: RowKind) -> None:
    stream = begin(store, STRANGER)
    send(store, stream, 1, [row(kind, b"88.118/A", url()), row(kind, b"88.118/B", url())])
    assert verdicts(store, stream) == [(Verdict.REFUSED, ResponseCode.INVALID_ADMIN)] * 2
    assert values_of(store, b"88.118/A") is None


def test_a_stranger_is_not_told_that_a_handle_has_these_values(store: Store) -> None:
    put(store, {b"88.118/A": [url()]})
    stream = begin(store, STRANGER)
    send(store, stream, 1, [row(RowKind.PLAIN, b"88.118/A", url())])
    assert verdicts(store, stream)[0][0] == Verdict.REFUSED


def test_a_right_guess_at_hidden_values_tells_nothing(store: Store) -> None:
    put(store, {b"88.118/A": [url(), hidden(5)]})
    stream = begin(store)
    send(store, stream, 1, [row(RowKind.CREATE, b"88.118/A", url(), hidden(5))])
    assert verdicts(store, stream) == [(Verdict.REFUSED, ResponseCode.HANDLE_ALREADY_EXISTS)]


def test_a_right_that_a_row_takes_away_is_gone_for_those_behind_it(store: Store) -> None:
    stream = begin(store)
    rows = [
        plain(1),
        row(RowKind.REPLACE, PREFIX, url(), admin_value(STRANGER)),
        plain(2),
    ]
    send(store, stream, 1, rows)
    assert [verdict for verdict, _ in verdicts(store, stream)] == [
        Verdict.CREATED,
        Verdict.REPLACED,
        Verdict.REFUSED,
    ]


def test_a_prefix_is_decided_on_like_a_request_of_its_own(store: Store) -> None:
    stream = begin(store)
    send(store, stream, 1, [row(RowKind.PLAIN, b"0.NA/88.118.7", url())])
    assert verdicts(store, stream) == [(Verdict.CREATED, 1)]


def test_rows_that_come_again_are_not_done_again(store: Store) -> None:
    stream = begin(store)
    rows = [plain(number) for number in range(1, 8)]
    send(store, stream, 1, rows[:4])
    before = rows_of(store)
    again = send(store, stream, 1, rows[:4])
    assert (again.stream.rows, again.changed) == (4, ())
    assert rows_of(store) == before
    done = send(store, stream, 3, rows[2:])
    assert (done.stream.rows, done.stream.created) == (7, 7)
    assert done.stream.digest == chain(START, [each.digest for each in rows])
    assert verdicts(store, stream) == [(Verdict.CREATED, 1)] * 7


def test_a_changed_row_under_an_old_number_is_named_and_changes_nothing(store: Store) -> None:
    stream = begin(store)
    send(store, stream, 1, [plain(number) for number in range(1, 6)])
    before = rows_of(store)
    done = send(
        store, stream, 2, [plain(2), plain(3, b"x"), plain(4), plain(50), plain(6), plain(7)]
    )
    assert done.changed == (3, 5)
    assert done.stream.rows == 7
    assert values_of(store, b"88.118/P3") == (url(),)
    assert values_of(store, b"88.118/P50") is None
    assert set(rows_of(store)) == {*before, b"88.118/P6", b"88.118/P7"}


def test_missing_rows_are_named(store: Store) -> None:
    stream = begin(store)
    send(store, stream, 1, [plain(1)])
    with pytest.raises(StreamError, match="row 3 cannot follow row 1") as caught:
        send(store, stream, 3, [plain(3)])
    assert caught.value.next_row == 2


def test_a_stream_that_has_ended_takes_no_new_rows_and_knows_its_old_ones(store: Store) -> None:
    stream = begin(store)
    done = send(store, stream, 1, [plain(1)])
    with store.write() as view:
        put_stream(view, replace(done.stream, ended_ms=LATER_MS))
    assert send(store, stream, 1, [plain(1)]).changed == ()
    assert send(store, stream, 1, [plain(1, b"x")]).changed == (1,)
    with pytest.raises(StreamError, match="ended with row 1"):
        send(store, stream, 1, [plain(1), plain(2)])


def test_a_group_on_another_node_is_asked_for_before_anything_is_done(store: Store) -> None:
    far = Reference(b"99/GROUP", 200)
    put(store, {PREFIX: [admin_value(Reference(PREFIX, 200)), group(200, far)]})
    stream = begin(store, STRANGER)
    with pytest.raises(NeedError) as caught:
        send(store, stream, 1, [plain(1)])
    assert caught.value.handles == {b"99/GROUP"}
    assert verdicts(store, stream) == []


@pytest.fixture(scope="module")
def two_plain_rows_at_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(bulk, "PLAIN_ROWS_MAX", 2)
        yield


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(list(RowKind)), st.integers(0, 5)), max_size=20), st.data()
)
def test_a_stream_cut_anywhere_and_sent_again_ends_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    two_plain_rows_at_once: None,
    asked: list[tuple[RowKind, int]],
    data: st.DataObject,
) -> None:
    rows = [
        row(kind, b"88.118/X%d" % number, *(() if kind in (0, 4) else (url(data=b"%d" % at),)))
        for at, (kind, number) in enumerate(asked)
    ]
    outcomes = []
    is_over: list[Callable[[], bool]] = [lambda: False, partial(data.draw, st.booleans())]
    for is_cut in (False, True):
        folder = tmp_path_factory.mktemp("store") / "store"
        seed_store(folder, {PREFIX: [admin_value()]}, [b"0.NA/0.NA", PREFIX], now_s=NOW_S)
        with open_store(folder) as store:
            stream = begin(store)
            at = 0
            while at < len(rows):
                start, end = at, len(rows)
                if is_cut:
                    start = data.draw(st.integers(0, at))
                    end = data.draw(st.integers(at + 1, len(rows)))
                sent = send(store, stream, start + 1, rows[start:end], is_over[is_cut])
                assert sent.changed == ()
                assert at < sent.stream.rows <= end
                at = sent.stream.rows
            with store.read() as view:
                ended = find_stream(view, stream.name)
            assert ended is not None
            outcomes.append((rows_of(store), verdicts(store, stream), ended.digest, ended.rows))
        assert verify(folder).problems == []
    assert outcomes[0] == outcomes[1]
