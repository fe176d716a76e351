from dataclasses import replace

import pytest

from protocol.value import Reference
from registry.errors import StoreError
from registry.store import Store
from registry.stream_keeping import Bounds, find_old, forget
from registry.streams import (
    Batch,
    Run,
    Stream,
    Verdict,
    batches,
    cut,
    decode_stream,
    find_stream,
    put_batch,
    put_stream,
    stream_name,
)

ADMIN = Reference(b"0.NA/88.118", 300)
STREAM = Stream(ADMIN, b"lot-7", 1_000)


def runs(*each: tuple[int, int]) -> tuple[Run, ...]:
    return tuple(Run(rows, verdict) for rows, verdict in each)


def digests(first: int, rows: int) -> bytes:
    return b"".join(number.to_bytes(8, "big") for number in range(first, first + rows))


def test_a_stream_is_the_same_after_it_was_kept(empty: Store) -> None:
    counted = STREAM.counted(runs((3, Verdict.CREATED), (1, Verdict.REFUSED)))
    with empty.write() as view:
        put_stream(view, counted)
    with empty.read() as view:
        assert find_stream(view, STREAM.name) == counted
        assert find_stream(view, b"another") is None
    assert (counted.rows, counted.created, counted.refused) == (4, 3, 1)


def test_a_stream_belongs_to_who_began_it() -> None:
    others = {
        stream_name(Reference(b"0.NA/88.118", 301), b"lot-7"),
        stream_name(Reference(b"0.NA/88.119", 300), b"lot-7"),
        stream_name(ADMIN, b"lot-8"),
        STREAM.name,
    }
    assert len(others) == 4
    assert stream_name(Reference(b"0.na/88.118", 300), b"lot-7") == STREAM.name
    alice, other = Reference(b"88.118/alice", 300), Reference(b"88.118/ALICE", 300)
    assert stream_name(alice, b"k") != stream_name(other, b"k")
    clerk = Reference(b"88.118/A\0", 0x12C62)
    assert stream_name(clerk, b"ulk") != stream_name(Reference(b"88.118/A", 300), b"bulk")


def test_what_the_owner_before_has_begun_is_another_stream(empty: Store) -> None:
    later = replace(STREAM, owners_before=1, rows=5)
    with empty.write() as view:
        put_stream(view, STREAM)
        put_stream(view, later)
    with empty.read() as view:
        assert find_stream(view, STREAM.name) == STREAM
        assert find_stream(view, later.name) == later
        assert view.count_streams() == 2


def test_a_damaged_entry_is_told() -> None:
    for octets in (b"", b"\xc1", b"\x93\x02\x01\x01", b"\x91\x01"):
        with pytest.raises(StoreError, match="damaged"):
            decode_stream(octets)


def test_verdicts_are_found_from_any_row(empty: Store) -> None:
    written = [
        Batch(1, 7, 5, digests(1, 3), runs((3, Verdict.CREATED))),
        Batch(4, 0, 6, digests(4, 2), (Run(2, Verdict.REFUSED, 101, b"is registered already"),)),
        Batch(6, 9, 7, digests(6, 1), runs((1, Verdict.DELETED))),
    ]
    with empty.write() as view:
        put_batch(view, b"x" * 16, Batch(1, 0, 0, digests(1, 1), runs((1, Verdict.CREATED))))
        for batch in written:
            put_batch(view, STREAM.name, batch)
    with empty.read() as view:
        for row, expected in ((1, written), (3, written), (4, written[1:]), (6, written[2:])):
            assert list(batches(view, STREAM.name, row)) == expected
        assert list(batches(view, STREAM.name, 7)) == []


def test_a_part_of_a_batch_says_the_same_of_its_rows() -> None:
    batch = Batch(10, 7, 5, digests(10, 6), runs((2, 1), (1, 0), (3, 2)))
    assert cut(batch, 10, 15) == batch
    assert cut(batch, 11, 13) == Batch(11, 7, 5, digests(11, 3), runs((1, 1), (1, 0), (1, 2)))
    assert cut(batch, 14, 14) == Batch(14, 7, 5, digests(14, 1), runs((1, 2)))


OLD = Bounds(5_000, 5_000)


def test_a_look_for_old_streams_goes_on_where_the_one_before_ended(empty: Store) -> None:
    streams = [Stream(ADMIN, b"lot-%d" % number, 1_000 * number) for number in range(10)]
    with empty.write() as view:
        for stream in streams:
            put_stream(view, stream)
    with empty.read() as view:
        found: list[bytes] = []
        after, looks = b"", 0
        while looks == 0 or after:
            old, after = find_old(view, OLD, after, 3)
            found, looks = found + old, looks + 1
        assert looks == 4
        assert sorted(found) == sorted(stream.name for stream in streams[:5])


def test_a_stream_that_went_on_meanwhile_is_not_forgotten(empty: Store) -> None:
    with empty.write() as view:
        put_stream(view, STREAM)
        (name,), _ = find_old(view, OLD, b"", 10)
        put_stream(view, replace(STREAM, ended_ms=9_000))
        assert forget(view, [name, bytes(16)], OLD, 10) == ()
        assert view.find_stream(name) is not None


def test_streams_that_ended_long_ago_are_forgotten_some_at_a_time(empty: Store) -> None:
    old, new = STREAM, Stream(ADMIN, b"lot-8", 9_000)
    with empty.write() as view:
        for stream in (old, new):
            put_stream(view, stream)
            for row in range(1, 6):
                batch = Batch(row, 0, 5, digests(row, 1), runs((1, Verdict.CREATED)))
                put_batch(view, stream.name, batch)
    with empty.write() as view:
        left, calls = find_old(view, OLD, b"", 10)[0], 0
        assert left == [old.name]
        while left:
            left, calls = list(forget(view, left, OLD, 3)), calls + 1
        assert calls == 2
        assert list(view.list_streams(b"", 10)) == [(new.name, view.find_stream(new.name))]
        assert len(list(batches(view, new.name, 1))) == 5
        assert list(batches(view, old.name, 1)) == []
