import struct

import msgpack
import pytest
import zstandard

from protocol.value import Reference
from registry.errors import JournalError
from registry.journal import (
    ANONYMOUS,
    FRAME_OPERATIONS_MAX,
    OWNER,
    Frame,
    JournalOperation,
    Kind,
    clear_octets,
    decode_frame,
    encode_frame,
    frame_digest,
)
from registry.log import LocalLog, seal_of
from registry.replay import replay
from registry.store import Store
from registry.views import GENESIS_DIGEST, Head
from tests.registry.builders import (
    ADMIN,
    HANDLE,
    NOW_S,
    PREFIX,
    create,
    hidden,
    open_store,
    perform,
    put,
    rows_of,
    url,
    values_of,
)

GENESIS = Head(0, GENESIS_DIGEST)
NOW_MS = NOW_S * 1000
OPERATIONS = (
    JournalOperation(Kind.HOME, PREFIX, (), OWNER, NOW_S),
    JournalOperation(Kind.CREATE, HANDLE, (url(), hidden(2)), ADMIN, NOW_S),
    JournalOperation(Kind.MODIFY, b"88.118/B", (), ANONYMOUS, NOW_S),
    JournalOperation(Kind.DELETE, b"88.118/B", (), Reference(b"88.118/X", 7), NOW_S),
)


def test_frames_decode_to_what_was_encoded() -> None:
    frame = encode_frame(Head(41, b"p" * 32), OPERATIONS, NOW_MS)
    assert decode_frame(frame) == Frame(42, NOW_MS, b"p" * 32, OPERATIONS)


def test_the_octets_in_clear() -> None:
    frame = encode_frame(Head(41, b"p" * 32), OPERATIONS, NOW_MS)
    assert clear_octets(frame) == len(zstandard.decompress(frame[53:]))
    for damaged in (frame[:53], frame[:53] + b"noise", b""):
        assert clear_octets(damaged) == len(damaged)


def test_a_frame_is_written_as_documented() -> None:
    frame = encode_frame(Head(41, b"p" * 32), OPERATIONS[1:2], NOW_MS)
    assert struct.unpack(">BQq32sI", frame[:53]) == (1, 42, NOW_MS, b"p" * 32, 1)
    items = msgpack.unpackb(zstandard.decompress(frame[53:]))
    assert [item[:2] + item[3:] for item in items] == [[1, HANDLE, ADMIN.handle, 300, NOW_S]]


def test_every_truncation_and_a_flipped_format_are_errors() -> None:
    frame = encode_frame(GENESIS, OPERATIONS, NOW_MS)
    for length in range(len(frame)):
        with pytest.raises(JournalError):
            decode_frame(frame[:length])
    with pytest.raises(JournalError, match="format 9"):
        decode_frame(b"\x09" + frame[1:])


def test_a_wrong_count_is_an_error() -> None:
    frame = bytearray(encode_frame(GENESIS, OPERATIONS, NOW_MS))
    frame[52] += 1
    with pytest.raises(JournalError, match="announces 5 operations, 4 follow"):
        decode_frame(bytes(frame))


def with_content(content: object) -> bytes:
    head = encode_frame(GENESIS, OPERATIONS[:1], NOW_MS)[:53]
    return head + zstandard.compress(msgpack.packb(content))


@pytest.mark.parametrize(
    "content",
    [
        7,
        [7],
        [[1, b"a/b", b"", b"", 0]],
        [[99, b"a/b", b"", b"", 0, 0]],
        [[1, "a/b", b"", b"", 0, 0]],
        [[1, b"a/b", b"\0\0\0\1", b"", 0, 0]],
        [[1, b"a/b", b"\0\0\0\0\0", b"", 0, 0]],
        [[1, b"a/b", b"", b"", "x", 0]],
    ],
)
def test_content_of_another_form_is_an_error(content: object) -> None:
    with pytest.raises(JournalError):
        decode_frame(with_content(content))


def test_a_frame_that_announces_too_much_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = encode_frame(GENESIS, OPERATIONS, NOW_MS)
    monkeypatch.setattr("registry.journal.FRAME_OCTETS_MAX", 10)
    with pytest.raises(JournalError, match="at most 10"):
        decode_frame(frame)


def test_a_frame_is_bounded() -> None:
    with pytest.raises(AssertionError):
        encode_frame(GENESIS, [], NOW_MS)
    with pytest.raises(AssertionError):
        encode_frame(GENESIS, OPERATIONS[:1] * (FRAME_OPERATIONS_MAX + 1), NOW_MS)


def test_replay_makes_the_changes_again(empty: Store) -> None:
    with empty.write(journaled=False) as view:
        replay(view, OPERATIONS[:3])
        assert view.is_homed(PREFIX)
        assert view.find_record(b"88.118/B") is not None
        replay(view, [OPERATIONS[3], JournalOperation(Kind.UNHOME, PREFIX, (), OWNER, NOW_S)])
        assert not view.is_homed(PREFIX)
    assert set(rows_of(empty)) == {HANDLE}
    assert values_of(empty, HANDLE) == (url(), hidden(2))


def test_the_log_chains_its_frames(empty: Store) -> None:
    with empty.write() as view:
        log = LocalLog(view)
        first = log.append_operations(OPERATIONS[:1], NOW_MS)
        second = log.append_operations(OPERATIONS[1:], NOW_MS + 1)
    with empty.read() as view:
        log = LocalLog(view)
        frames = [frame for _, frame in log.read(0, 0)]
        assert log.head(0) == second == Head(2, frame_digest(frames[1]))
        assert [seq for seq, _ in log.read(0, 1)] == [2]
    assert first == Head(1, frame_digest(frames[0]))
    assert decode_frame(frames[0]).previous == GENESIS_DIGEST
    assert decode_frame(frames[1]).previous == first.digest


def test_the_log_is_a_fence_against_a_second_writer(empty: Store) -> None:
    with empty.write() as view:
        log = LocalLog(view)
        head = log.append_operations(OPERATIONS[:1], NOW_MS)
        frame = encode_frame(head, OPERATIONS[1:], NOW_MS)
        with pytest.raises(JournalError, match="does not follow"):
            log.append(0, 0, GENESIS_DIGEST, frame)
        with pytest.raises(JournalError, match="does not follow"):
            log.append(0, 1, b"x" * 32, frame)
        assert log.append(0, 1, head.digest, frame).seq == 2


def test_the_log_says_what_it_is_worth(empty: Store) -> None:
    with empty.read() as view:
        log = LocalLog(view)
        assert log.label == "not replicated"
        with pytest.raises(AssertionError, match="for reading"):
            log.append_operations(OPERATIONS, NOW_MS)


def test_a_log_is_trimmed_behind_a_sealed_snapshot_only(store: Store) -> None:
    for name in (b"88.118/X", b"88.118/Y", b"88.118/Z"):
        perform(store, create(name, url()))
    with store.write() as view:
        log = LocalLog(view)
        with pytest.raises(JournalError, match="covers those up to 0"):
            log.trim(0, 1)
        head = log.seal_snapshot(NOW_MS)
        assert head.seq == 3
        with pytest.raises(JournalError, match="covers those up to 3"):
            log.trim(0, 4)
        assert log.trim(0, 2) == 2
        with pytest.raises(JournalError, match="not in the journal yet"):
            log.put_snapshot(0, head._replace(seq=9), [])
    with store.read() as view:
        snapshot = LocalLog(view).get_snapshot(0)
        assert snapshot is not None
        kept, frames = snapshot
        octets = list(frames)
        assert [seq for seq, _ in view.frames()] == [3]
        journal_head = view.head()
    assert kept == head
    assert kept.seal == seal_of(journal_head, frame_digest(octets[-1]))


def test_a_snapshot_rebuilds_the_store(
    store: Store, tmp_path_factory: pytest.TempPathFactory
) -> None:
    put(store, {b"88.118/%d" % i: [url(), hidden(2)] for i in range(FRAME_OPERATIONS_MAX + 5)})
    with store.write() as view:
        LocalLog(view).seal_snapshot(NOW_MS)
    with store.read() as view:
        snapshot = view.snapshot()
        assert snapshot is not None
        frames = list(snapshot[1])
        homed = list(view.homed())
    assert len(frames) == 2
    with open_store(tmp_path_factory.mktemp("copy")) as copy:
        with copy.write(journaled=False) as writer:
            for frame in frames:
                replay(writer, decode_frame(frame).operations)
        assert rows_of(copy) == rows_of(store)
        with copy.read() as view:
            assert list(view.homed()) == homed
