"""Each kind of damage is found and named. The damage is done to rows, beneath the store."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from registry import verify as verify_module
from registry.admin import Operation
from registry.log import LocalLog
from registry.offline import seed_store
from registry.schema import encode_record
from registry.verify import PROBLEMS_MAX, Report, verify
from registry.views import WriteView
from tests.registry.builders import (
    HANDLE,
    NOW_S,
    PREFIX,
    add,
    admin_value,
    create,
    delete,
    hidden,
    modify,
    open_store,
    perform,
    url,
)

HOMED = [b"0.NA/0.NA", PREFIX]
LONG = b"88.118/" + b"L" * 700


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store of five frames: the seed, three creations, one change of each kind."""
    place = tmp_path / "store"
    seed_store(place, {PREFIX: [admin_value()]}, HOMED, now_s=NOW_S)
    batches: list[list[Operation]] = [
        [create(HANDLE, url(), hidden(2), admin_value()), create(b"88.118/gone", url())],
        [add(HANDLE, url(7)), modify(HANDLE, url(1, b"new"))],
        [delete(b"88.118/GONE"), create(LONG, url())],
    ]
    with open_store(place) as store:
        for batch in batches:
            perform(store, *batch)
    return place


@contextmanager
def damaged(folder: Path) -> Iterator[WriteView]:
    with open_store(folder) as store, store.write(journaled=False) as view:
        view.frame = None
        yield view


def put_row(view: WriteView, database: str, key: bytes, octets: bytes) -> None:
    view._txn.put(key, octets, db=getattr(view._dbs, database))


def flip(octets: bytes, at: int) -> bytes:
    changed = bytearray(octets)
    changed[at] ^= 0x04
    return bytes(changed)


def problems(folder: Path) -> list[str]:
    report = verify(folder)
    assert report.is_whole == (not report.problems)
    return report.problems


def test_a_whole_store(folder: Path) -> None:
    assert verify(folder) == Report(records=3, frames=4)


def test_an_empty_store_is_whole(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    assert verify(tmp_path) == Report()


def test_verifying_changes_nothing(folder: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    before = (folder / "data.mdb").read_bytes()
    assert verify(folder, scratch=scratch).is_whole
    assert (folder / "data.mdb").read_bytes() == before
    assert list(scratch.iterdir()) == []


def test_every_flipped_bit_of_a_record_is_found(folder: Path) -> None:
    with open_store(folder) as store, store.read() as view:
        row = view.find_row(HANDLE)
    assert row is not None
    for at in range(0, len(row), 7):
        with damaged(folder) as writer:
            put_row(writer, "handles", HANDLE, flip(row, at))
        found = problems(folder)
        assert found, f"octet {at}"
        assert all("88.118/A" in problem for problem in found)


def test_every_flipped_bit_of_a_frame_is_found(folder: Path) -> None:
    with open_store(folder) as store, store.read() as view:
        frames = dict(view.frames())
    for seq in (2, 4):
        for at in range(0, len(frames[seq]), 9):
            with damaged(folder) as writer:
                put_row(writer, "journal", seq.to_bytes(8, "big"), flip(frames[seq], at))
            assert problems(folder), f"frame {seq}, octet {at}"
        with damaged(folder) as writer:
            put_row(writer, "journal", seq.to_bytes(8, "big"), frames[seq])
    assert not problems(folder)


def test_an_altered_frame_is_named(folder: Path) -> None:
    with open_store(folder) as store, store.read() as view:
        frame = dict(view.frames())[2]
    with damaged(folder) as writer:
        put_row(writer, "journal", (2).to_bytes(8, "big"), flip(frame, 16))  # its time
    assert problems(folder) == [
        "frame 3 does not continue frame 2: one was altered",
        "the history of the clock differs from what the journal says from frame 3 on",
    ]


def test_a_missing_frame_is_named(folder: Path) -> None:
    with damaged(folder) as writer:
        writer._txn.delete((2).to_bytes(8, "big"), db=writer._dbs.journal)
    assert "frames 2 to 2 are missing" in problems(folder)


def test_a_missing_last_frame_is_named(folder: Path) -> None:
    with damaged(folder) as writer:
        writer._txn.delete((4).to_bytes(8, "big"), db=writer._dbs.journal)
    found = problems(folder)
    assert any(problem.startswith("the journal ends at frame 3") for problem in found)


def test_a_frame_in_anothers_place_is_named(folder: Path) -> None:
    with open_store(folder) as store, store.read() as view:
        frames = dict(view.frames())
    with damaged(folder) as writer:
        put_row(writer, "journal", (3).to_bytes(8, "big"), frames[2])
    assert "frame 3 says it is frame 2" in problems(folder)


def test_a_record_without_a_journal_entry_is_named(folder: Path) -> None:
    with damaged(folder) as writer:
        writer.put_record(b"88.118/SMUGGLED", [url()])
    assert problems(folder) == ["record 88.118/SMUGGLED: no journal entry made it"]


def test_a_lost_record_is_named(folder: Path) -> None:
    with damaged(folder) as writer:
        writer.delete_record(HANDLE)
    assert problems(folder) == ["record 88.118/A: the journal made it, the store lacks it"]


def test_a_changed_record_is_named(folder: Path) -> None:
    with damaged(folder) as writer:
        writer.put_record(HANDLE, [url(1, b"changed")])
    assert problems(folder) == ["record 88.118/A: it differs from what the journal says"]


def test_a_record_under_anothers_key_is_named(folder: Path) -> None:
    with damaged(folder) as writer:
        put_row(writer, "handles", b"88.118/lower", encode_record([url()], b""))
    assert "record 88.118/lower: its key is not that of its handle" in problems(folder)


def test_prefixes_are_compared(folder: Path) -> None:
    with damaged(folder) as writer:
        writer.home(b"0.NA/9")
        writer.unhome(PREFIX)
    assert problems(folder) == [
        "prefix 0.NA/88.118 is homed in the journal only",
        "prefix 0.NA/9 is homed in the store only",
    ]


def test_a_damaged_disk_does_not_flood_the_report(folder: Path) -> None:
    with damaged(folder) as writer:
        for number in range(PROBLEMS_MAX + 20):
            writer.put_record(b"88.118/%d" % number, [url()])
    report = verify(folder)
    assert (len(report.problems), report.unlisted) == (PROBLEMS_MAX, 20)


def seal_and_trim(folder: Path) -> None:
    with open_store(folder) as store:
        with store.write() as view:
            log = LocalLog(view)
            log.trim(0, log.seal_snapshot(NOW_S * 1000).seq)
        perform(store, create(b"88.118/LATER", url()), delete(HANDLE))


def test_a_trimmed_journal_is_verified_from_its_snapshot(folder: Path) -> None:
    seal_and_trim(folder)
    assert verify(folder) == Report(records=3, frames=1)


def test_a_damaged_snapshot_is_named(folder: Path) -> None:
    seal_and_trim(folder)
    with open_store(folder) as store, store.read() as view:
        snapshot = view.snapshot()
        assert snapshot is not None
        frame = next(snapshot[1])
    with damaged(folder) as writer:
        put_row(writer, "snapshot", bytes(4), flip(frame, 16))
    assert problems(folder) == ["snapshot at frame 4: its seal does not hold"]


def test_a_snapshot_while_the_journal_is_whole_does_not_matter(folder: Path) -> None:
    with open_store(folder) as store, store.write() as view:
        LocalLog(view).seal_snapshot(NOW_S * 1000)
    assert verify(folder) == Report(records=3, frames=4)


def test_a_case_sensitive_store_is_verified_as_what_it_is(tmp_path: Path) -> None:
    seed_store(tmp_path, {PREFIX: [admin_value()]}, HOMED, now_s=NOW_S, case_sensitive=True)
    with open_store(tmp_path, case_sensitive=True) as store:
        perform(store, create(b"88.118/x", url()), create(b"88.118/X", url()))
    assert verify(tmp_path) == Report(records=3, frames=2)


@pytest.mark.parametrize("name", ["PAGE_ROWS", "FRAMES_MAX", "FRAMES_OCTETS_MAX"])
def test_what_goes_piece_by_piece_finds_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    whole = verify(folder)
    with damaged(folder) as writer:
        row = writer.find_row(HANDLE)
        assert row is not None
        put_row(writer, "handles", HANDLE + b"2", row)
        put_row(writer, "handles", b"88.118/ZZ", row)
    found = problems(folder)
    assert len(found) > 2
    monkeypatch.setattr(verify_module, name, 1)
    assert problems(folder) == found
    with damaged(folder) as writer:
        for key in (HANDLE + b"2", b"88.118/ZZ"):
            writer._txn.delete(key, db=writer._dbs.handles)
    assert verify(folder) == whole
