from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from protocol.codes import ResponseCode
from protocol.value import HandleValue, encode_values
from registry.journal import FRAME_OPERATIONS_MAX, OWNER, decode_frame
from registry.offline import LoadedBatch, LoadPolicy, LoadRow, load_records
from registry.store import Store
from registry.verify import verify

NOW_S = 1_795_219_200
VALUE = HandleValue(1, b"URL", b"https://example.org/", timestamp=77)
SECRET = HandleValue(2, b"HS_SECKEY", b"secret", 0b1100)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as opened:
        yield opened


def load(store: Store, *rows: LoadRow, policy: LoadPolicy = LoadPolicy.REFUSE) -> list[LoadedBatch]:
    return list(load_records(store, rows, policy=policy, now_s=lambda: NOW_S))


def is_whole(store: Store) -> bool:
    store.close()  # one process opens an environment once
    return verify(store.folder).is_whole


def stored(store: Store, handle: bytes) -> tuple[HandleValue, ...] | None:
    with store.read() as view:
        record = view.find_record(handle)
    return record.values if record else None


def test_a_record_keeps_its_timestamps_and_secrets(store: Store) -> None:
    (batch,) = load(store, LoadRow(1, b"88/a", (VALUE, SECRET)))
    assert batch.stored == 1
    assert stored(store, b"88/A") == (VALUE, replace(SECRET, timestamp=NOW_S))
    with store.read() as view:
        ((_, frame),) = view.frames()
    (operation,) = decode_frame(frame).operations
    assert (operation.handle, operation.actor) == (b"88/A", OWNER)
    assert is_whole(store)


@pytest.mark.parametrize("handle", [b"88/a", b"88/" + b"x" * 600])
def test_octets_are_stored_as_values_would_be(store: Store, handle: bytes) -> None:
    load(store, LoadRow(1, handle, encode_values([VALUE])))
    (batch,) = load(store, LoadRow(1, handle, [VALUE]))
    assert (batch.stored, batch.existed) == (0, 1)
    assert is_whole(store)


def test_a_frame_holds_4096_rows(store: Store) -> None:
    count = FRAME_OPERATIONS_MAX + 1
    octets = encode_values([VALUE])
    batches = load(store, *(LoadRow(n, b"88/%d" % n, octets) for n in range(count)))
    assert [batch.stored for batch in batches] == [FRAME_OPERATIONS_MAX, 1]
    with store.read() as view:
        assert view.head().seq == 2
        assert view.count_records() == count
    assert is_whole(store)


def test_what_is_there_already(store: Store) -> None:
    other = LoadRow(1, b"88/A", [replace(VALUE, data=b"other")])
    load(store, LoadRow(1, b"88/a", [VALUE]))
    (batch,) = load(store, other)
    assert [each.code for each in batch.refused] == [ResponseCode.HANDLE_ALREADY_EXISTS]
    (batch,) = load(store, other, policy=LoadPolicy.SKIP)
    assert (batch.existed, stored(store, b"88/a")) == (1, (VALUE,))
    (batch,) = load(store, other, policy=LoadPolicy.REPLACE)
    assert (batch.stored, stored(store, b"88/a")) == (1, (replace(VALUE, data=b"other"),))
    assert is_whole(store)


@pytest.mark.parametrize(
    ("handle", "values", "words"),
    [
        (b"", [VALUE], "1 to 2048 octets"),
        (b"88/\xff", [VALUE], "UTF-8"),
        (b"88/a", [replace(VALUE, index=0)], "at least 1"),
        (b"88/a", [VALUE, VALUE], "given twice"),
        (b"88/a", [replace(VALUE, type=b"HS_ADMIN")], "HS_ADMIN data"),
        (b"88/a", [replace(VALUE, data=b"x" * 300_000)], "fit into an answer"),
        (b"88/a", encode_values([replace(VALUE, data=b"x" * 300_000)]), "at most"),
    ],
)
def test_a_bad_row_is_refused_and_its_neighbours_stored(
    store: Store, handle: bytes, values: list[HandleValue] | bytes, words: str
) -> None:
    rows = (LoadRow(1, b"88/b", [VALUE]), LoadRow(2, handle, values), LoadRow(3, b"88/c", [VALUE]))
    (batch,) = load(store, *rows)
    assert batch.stored == 2
    (refused,) = batch.refused
    assert refused.row.number == 2
    assert words in refused.reason
    assert is_whole(store)


def test_nothing_stored_makes_no_frame(store: Store) -> None:
    load(store, LoadRow(1, b"88/a", [replace(VALUE, index=0)]))
    with store.read() as view:
        assert view.head().seq == 0
