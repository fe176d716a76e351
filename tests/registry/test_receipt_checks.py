"""What a store still has of what a receipt says."""

import struct
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import pytest

from registry.log import LocalLog
from registry.office_replay import put_own
from registry.outcomes import identity_text
from registry.owners import next_owner_entry
from registry.receipt_checks import Finding, Looked, check_frames, check_stream
from registry.receipts import Receipt
from registry.store import Store
from registry.streams import Stream, put_stream
from tests.registry.builders import ADMIN, NOW_S, STRANGER, create, perform, url

STREAM = Stream(
    ADMIN,
    b"lot",
    NOW_S * 1000,
    NOW_S * 1000 + 5,
    rows=7,
    created=5,
    refused=2,
    first_sequence=2,
    last_sequence=4,
    digest=bytes(range(32)),
    receipt="signed",
)


def receipt(**changes: Any) -> Receipt:
    kept = asdict(STREAM)
    for name in (
        "begun_ms",
        "ended_ms",
        "receipt",
        "owners_before",
        "damaged_first",
        "damaged_last",
    ):
        del kept[name]
    said = kept | {
        "node": "enterprise",
        "identity": identity_text(ADMIN),
        "key": "lot",
        "begun": "2026-11-21T08:00:00.000Z",
        "ended": "2026-11-21T08:00:01.250Z",
    }
    return Receipt(**said | changes)


def check_kept(store: Store, said: Receipt) -> Finding:
    with store.read() as view:
        return check_stream(view, said)


def look(store: Store, said: Receipt, after: int = 0, octets_max: int = 1 << 20) -> Looked:
    with store.read() as view:
        return check_frames(view, said, after, octets_max)


def test_a_receipt_is_known_after_its_prefix_changed_hands(store: Store) -> None:
    later = replace(STREAM, owners_before=1, digest=bytes(32))
    with store.write(journaled=False) as view:
        for stream in (STREAM, later):
            put_stream(view, stream)
        put_own(view, (next_owner_entry(view, ADMIN.handle),))
    assert check_kept(store, receipt()).holds is True
    assert check_kept(store, receipt(digest=bytes(32))).holds is True
    assert "digest 0000" in check_kept(store, receipt(digest=bytes([1]) * 32)).words


@pytest.fixture
def frames(store: Store) -> Store:
    """A store with five frames of some 200 octets."""
    for number in range(5):
        perform(store, create(b"88.118/%d" % number, url()))
    return store


def test_a_stream_that_is_kept_as_the_receipt_says(store: Store) -> None:
    with store.write() as view:
        put_stream(view, STREAM)
    assert check_kept(store, receipt()).holds is True
    assert check_kept(store, receipt(identity="300:0.na/88.118")).holds is True


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"created": 6, "refused": 1}, "created 5, the receipt says 6; refused 2, the receipt"),
        ({"rows": 8}, "rows 7, the receipt says 8"),
        ({"last_sequence": 5}, "last sequence 4, the receipt says 5"),
        ({"digest": bytes(32)}, f"the receipt says {bytes(32).hex()}"),
        ({"identity": "nobody"}, "the receipt names nobody"),
    ],
)
def test_what_differs_is_said(store: Store, changes: dict[str, Any], words: str) -> None:
    with store.write() as view:
        put_stream(view, STREAM)
    found = check_kept(store, receipt(**changes))
    assert found.holds is False
    assert words in found.words


def test_a_stream_that_is_not_kept_or_goes_on(store: Store) -> None:
    assert check_kept(store, receipt()).holds is None
    with store.write() as view:
        put_stream(view, replace(STREAM, ended_ms=0))
    assert check_kept(store, receipt()) == Finding(
        "stream", False, "the node has 7 rows of it and waits for more"
    )
    assert check_kept(store, receipt(identity=identity_text(STRANGER))).holds is None


@pytest.mark.parametrize(("first", "last"), [(1, 1), (1, 5), (2, 4), (5, 5)])
def test_frames_that_are_there(frames: Store, first: int, last: int) -> None:
    looked = look(frames, receipt(first_sequence=first, last_sequence=last))
    assert looked.is_done
    assert looked.finding == Finding(
        "journal", True, f"frames {first} to {last} are there, each follows the one before"
    )


def test_frames_are_looked_at_some_at_a_time(frames: Store) -> None:
    def steps() -> Iterator[Looked]:
        looked = look(frames, receipt(), 0, 1)
        yield looked
        while not looked.is_done:
            looked = look(frames, receipt(), looked.through, 1)
            yield looked

    assert [(each.through, each.is_done) for each in steps()] == [
        (2, False),
        (3, False),
        (4, False),
        (4, True),
    ]
    assert look(frames, receipt(), after=1 << 50).finding.holds is True


def test_a_stream_that_wrote_nothing_has_no_frames(frames: Store) -> None:
    said = receipt(first_sequence=0, last_sequence=0)
    assert look(frames, said) == Looked(Finding("journal", None, "the stream wrote nothing"), 0)


def change_frame(store: Store, seq: int, octets: bytes | None) -> None:
    with store.write(journaled=False) as view:
        table = view.writable("journal")
        if octets is None:
            table.delete(struct.pack(">Q", seq))
        else:
            table.put(struct.pack(">Q", seq), octets)


def frame(store: Store, seq: int) -> bytes:
    with store.read() as view:
        return dict(view.frames())[seq]


@pytest.mark.parametrize(
    ("seq", "said"),
    [(1, "frame 2 does not follow"), (3, "frame 4 does not follow"), (4, "frame 5 does not")],
)
def test_a_frame_that_was_changed_breaks_the_chain(frames: Store, seq: int, said: str) -> None:
    octets = frame(frames, seq)
    change_frame(frames, seq, octets[:-1] + bytes([octets[-1] ^ 1]))
    found = look(frames, receipt()).finding
    assert found.holds is False
    assert said in found.words


def test_the_last_frame_of_all_is_the_one_that_the_store_ends_with(frames: Store) -> None:
    octets = frame(frames, 5)
    change_frame(frames, 5, octets + b"x")
    found = look(frames, receipt(last_sequence=5)).finding
    assert found == Finding("journal", False, "frame 5 is not the one that the store ends with")


@pytest.mark.parametrize(
    ("seq", "octets", "said"),
    [
        (3, None, "frame 3 is missing"),
        (4, None, "frame 4 is missing"),
        (3, b"short", "frame 3 is damaged: frame has 5 octets"),
    ],
)
def test_frames_that_are_missing_or_damaged(
    frames: Store, seq: int, octets: bytes | None, said: str
) -> None:
    change_frame(frames, seq, octets)
    found = look(frames, receipt()).finding
    assert found.holds is False
    assert said in found.words


def test_a_frame_in_the_place_of_another(frames: Store) -> None:
    change_frame(frames, 3, frame(frames, 2))
    assert look(frames, receipt()).finding.words == "frame 3 says that it is frame 2"
    change_frame(frames, 5, None)
    change_frame(frames, 4, None)
    change_frame(frames, 3, None)
    assert look(frames, receipt()).finding.words == "frame 3 is missing"


def test_a_journal_that_ends_before(frames: Store) -> None:
    found = look(frames, receipt(last_sequence=6)).finding
    assert found == Finding("journal", False, "it ends with frame 5, frame 6 is not in it")


@pytest.mark.parametrize(
    ("through", "holds", "words"),
    [
        (1, True, "frames 2 to 4 are there"),
        (3, None, "frames 2 to 3 are kept no longer, those up to 4 are"),
        (4, None, "frames up to 4 are kept no longer"),
        (5, None, "frames up to 5 are kept no longer"),
    ],
)
def test_frames_that_were_trimmed(
    frames: Store, through: int, holds: bool | None, words: str
) -> None:
    with frames.write() as view:
        log = LocalLog(view)
        log.seal_snapshot(NOW_S * 1000)
        log.trim(0, through)
    found = look(frames, receipt()).finding
    assert found.holds is holds
    assert words in found.words
