"""What mirrors are sent, piece by piece: the log, dumps, shares, places to go on from."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.bodies import HandleRequest
from protocol.codes import OpCode, ResponseCode
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
    LogStatus,
    ResumePoint,
)
from protocol.replication_stream import dump_decoder, log_decoder
from registry import mirror_streams
from registry.admin import Operation, decide
from registry.authorization import Policy
from registry.errors import JournalError
from registry.journal import Kind
from registry.log import LocalLog
from registry.mirror_plans import (
    WHOLE_FRAME,
    DumpPlan,
    LogPlan,
    Share,
    frame_and_place,
    needs_redump,
    pack_plan,
    read_positions,
    transaction_id,
    unpack_plan,
)
from registry.mirror_streams import DumpStream, LogStream
from registry.operations import Told
from registry.outcomes import NeedAuthentication, Refusal
from registry.roles import Role, Roles
from registry.store import Store
from tests.registry.builders import (
    NOW_S,
    PREFIX,
    ROOT,
    STRANGER,
    add,
    create,
    delete,
    hidden,
    open_store,
    perform,
    put,
    url,
)
from tests.registry.lives import act, done
from tests.registry.template_builders import ALL, made_row, register, seed, send

NOW_MS = NOW_S * 1_000
WHOLE = Share(2, 1, 0)
SOURCE = "sha256:00"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    seed(tmp_path)
    with open_store(tmp_path) as store:
        yield store


def log_of(store: Store, after: int = 0, share: Share = WHOLE) -> list[LogRecord]:
    decoder = log_decoder()
    stream = LogStream(store, LogPlan(share, after), SOURCE, NOW_MS)
    records = [record for piece in stream.pieces() for record in decoder.take(b"".join(piece))]
    assert decoder.is_ended
    return records


def told(records: list[LogRecord]) -> list[tuple[Action, bytes]]:
    return [(each.action, each.handle) for each in records if isinstance(each, HandleChange)]


def dump_of(store: Store, plan: DumpPlan | None = None) -> list[DumpRecord]:
    decoder = dump_decoder()
    stream = DumpStream(store, plan or DumpPlan(WHOLE), NOW_MS)
    records = [record for piece in stream.pieces() for record in decoder.take(b"".join(piece))]
    assert isinstance(records[-1], DumpEnd)
    return records


def head(store: Store) -> int:
    with store.read() as view:
        return transaction_id(view.head().seq)


def test_all_values_are_sent_as_they_are_now(store: Store) -> None:
    before = head(store)
    handle = b"88.118/A"
    perform(store, create(handle, url(), hidden(2)))
    perform(store, add(handle, url(3, b"late")))
    records = log_of(store, before)
    assert told(records) == [(Action.CREATE, handle), (Action.UPDATE, handle)]
    for record in records[:-1]:
        assert isinstance(record, HandleChange)
        assert [value.index for value in record.values] == [1, 2, 3]
    assert records[-1] == LogEnd(NOW_MS)
    perform(store, delete(handle))
    assert told(log_of(store, before)) == [(Action.DELETE, handle)] * 3


def test_of_one_frame_a_handle_is_told_once(store: Store) -> None:
    before = head(store)
    a, b = b"88.118/A", b"88.118/B"
    perform(store, create(a, url()), create(b, url()), add(a, url(2)))
    records = log_of(store, before)
    assert told(records) == [(Action.CREATE, b), (Action.CREATE, a)]
    numbers = [each.transaction_id for each in records if isinstance(each, HandleChange)]
    seq = frame_and_place(head(store))[0]
    assert [frame_and_place(each) for each in numbers] == [(seq, 4), (seq, WHOLE_FRAME)]
    # Whoever has taken the first only, gets the second.
    assert told(log_of(store, numbers[0])) == [(Action.CREATE, a)]
    assert told(log_of(store, numbers[1])) == []


def test_a_row_from_a_template_is_sent_expanded(store: Store) -> None:
    register(store)
    before = head(store)
    handle = b"88.118/L.000042"
    send(store, [made_row(handle, ALL)])
    (record,) = [each for each in log_of(store, before) if isinstance(each, HandleChange)]
    assert (record.action, record.handle) == (Action.CREATE, handle)
    with store.read() as view:
        found = view.find_record(handle)
    assert found is not None
    assert record.values == found.values
    assert DumpHandle(handle, found.values) in dump_of(store)


def test_marks_become_what_a_mirror_knows(store: Store) -> None:
    frozen, revoked = b"88.118/F", b"88.118/R"
    perform(store, create(frozen, url()), create(revoked, url()))
    before = head(store)
    done(act(store, "life.freeze", handle=frozen, reason="r"))
    done(act(store, "life.revoke", handle=revoked, reason="r"))
    assert told(log_of(store, before)) == [(Action.UPDATE, frozen), (Action.DELETE, revoked)]
    handles = {each.handle for each in dump_of(store) if isinstance(each, DumpHandle)}
    assert (frozen in handles, revoked in handles) == (True, False)


def test_a_dump_begins_with_where_the_log_goes_on(store: Store) -> None:
    perform(store, create(b"88.118/A", url()))
    first, *records = dump_of(store)
    assert first == DumpServer(NOW_MS, head(store))
    assert told(log_of(store, head(store))) == []
    prefixes = [each.handle for each in records if isinstance(each, DumpPrefix)]
    assert prefixes == [b"0.NA/0.NA", PREFIX, b"0.NA/88.118.5"]


def test_a_dump_of_many_pages_goes_on_anywhere(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_streams, "PIECE_ROWS", 3)
    monkeypatch.setattr(mirror_streams, "PIECE_PREFIXES", 2)
    put(store, {b"88.118/%02d" % number: [url()] for number in range(8)})
    whole = dump_of(store)
    handles = [each for each in whole if isinstance(each, DumpHandle)]
    assert len(handles) == 10
    for at, each in enumerate(handles):
        assert dump_of(store, DumpPlan(WHOLE, each.handle, ResumePoint.HANDLE)) == whole[at + 2 :]
    prefixes = [each for each in whole if isinstance(each, DumpPrefix)]
    for at, prefix in enumerate(prefixes):
        rest = dump_of(store, DumpPlan(WHOLE, prefix.handle, ResumePoint.PREFIX))
        assert rest == [*prefixes[at + 1 :], DumpEnd()]
    # Where dates were taken last, all handles are still to come.
    for point in (ResumePoint.HANDLE_DATE, ResumePoint.PREFIX_DATE):
        assert dump_of(store, DumpPlan(WHOLE, handles[-1].handle, point)) == whole[1:]


def test_pieces_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before = head(store)
    monkeypatch.setattr(mirror_streams, "PIECE_CHANGES", 3)
    perform(store, *(create(b"88.118/%02d" % number, url()) for number in range(8)))
    stream = LogStream(store, LogPlan(WHOLE, before), SOURCE, NOW_MS)
    assert [len(piece) for piece in stream.pieces()] == [1, 3, 3, 2, 1]
    monkeypatch.setattr(mirror_streams, "PIECE_OCTETS", 1)
    stream = LogStream(store, LogPlan(WHOLE, before), SOURCE, NOW_MS)
    assert [len(piece) for piece in stream.pieces()] == [1] * 10


def test_no_transaction_is_open_between_pieces(store: Store) -> None:
    perform(store, create(b"88.118/A", url()))
    log = LogStream(store, LogPlan(WHOLE), SOURCE, NOW_MS)
    dump = DumpStream(store, DumpPlan(WHOLE), NOW_MS)
    for pieces in (log.pieces(), dump.pieces()):
        next(pieces)
        next(pieces)
        # A transaction of this thread that were still open would make the next one fail.
        with store.read() as view:
            assert view.head().seq


@pytest.mark.parametrize("servers", [1, 2, 3, 7])
def test_shares_together_are_all(store: Store, servers: int) -> None:
    handles = [b"88.118/%02d" % number for number in range(12)]
    before = head(store)
    perform(store, *(create(handle, url()) for handle in handles))
    perform(store, Operation(OpCode.HOME_NA, HandleRequest(b"0.NA/77")), identity=ROOT)
    shares = [Share(2, servers, number) for number in range(servers)]
    kept = [
        handle for share in shares for _, handle in told(log_of(store, before, share)) if handle
    ]
    assert sorted(kept) == sorted([b"0.NA/77"] * servers + handles)
    dumped = [
        each.handle
        for share in shares
        for each in dump_of(store, DumpPlan(share))
        if isinstance(each, DumpHandle) and each.handle in handles
    ]
    assert sorted(dumped) == handles


def test_a_trimmed_log_needs_a_dump(store: Store) -> None:
    seen = head(store)
    perform(store, create(b"88.118/A", url()))
    with store.write(journaled=False) as view:
        log = LocalLog(view)
        log.trim(0, log.seal_snapshot(NOW_MS).seq)
    with store.read() as view:
        assert needs_redump(view, 0)
        assert needs_redump(view, seen)
        assert needs_redump(view, transaction_id(view.head().seq, 1))
        assert not needs_redump(view, transaction_id(view.head().seq))
        assert needs_redump(view, transaction_id(view.head().seq + 1, 1))
    perform(store, create(b"88.118/B", url()))
    with store.read() as view:
        assert not needs_redump(view, transaction_id(view.head().seq - 1))


def test_a_mirror_that_is_too_far_behind_is_told_the_end_at_once(store: Store) -> None:
    after = head(store) + (1 << 20)
    for plan, end in (
        (LogPlan(WHOLE, after, asked_ms=77), LogEnd(77)),
        (LogPlan(WHOLE, positions={SOURCE: after}), LogEnd(None)),
    ):
        decoder = log_decoder()
        octets = b"".join(
            b"".join(each) for each in LogStream(store, plan, SOURCE, NOW_MS).pieces()
        )
        assert decoder.take(octets) == [end]
        assert decoder.head is not None
        assert decoder.head.status == LogStatus.NEED_REDUMP


def test_a_mirror_without_a_share_in_what_came_last_moves_on_with_what_it_has(
    store: Store,
) -> None:
    before, handle = head(store), b"88.118/A"
    perform(store, create(handle, url()))
    (other,) = [share for share in (Share(2, 2, 0), Share(2, 2, 1)) if not share.holds(handle)]
    moving, end = log_of(store, before, other)
    assert isinstance(moving, HandleChange)
    assert (moving.action, moving.handle) == (Action.HOME, b"0.NA/0.NA")
    assert moving.transaction_id == head(store)
    assert log_of(store, moving.transaction_id, other) == [end]


def test_dates_never_go_down_though_the_clock_was_set_back(store: Store) -> None:
    before = head(store)
    for name, now_s in ((b"A", NOW_S + 100), (b"B", NOW_S + 50), (b"C", NOW_S + 60)):
        perform(store, create(b"88.118/" + name, url()), now_s=now_s)
    changes = [each for each in log_of(store, before) if isinstance(each, HandleChange)]
    assert {each.date_ms for each in changes} == {(NOW_S + 100) * 1_000}
    # Whoever asks for the last one alone is told no earlier date.
    (last, _) = log_of(store, changes[1].transaction_id)
    assert last == changes[2]


def test_a_log_trimmed_while_it_is_sent_breaks_off(store: Store) -> None:
    for name in (b"88.118/A", b"88.118/B"):
        perform(store, create(name, url()))
    stream = LogStream(store, LogPlan(WHOLE), SOURCE, NOW_MS)
    pieces = stream.pieces()
    next(pieces)
    with store.write(journaled=False) as view:
        log = LocalLog(view)
        log.trim(0, log.seal_snapshot(NOW_MS).seq)
    with pytest.raises(JournalError, match="was trimmed while it was to be sent"):
        list(pieces)


SHARES = st.builds(Share, st.integers(0, 2), st.integers(1, 99), st.integers(0, 98))


@given(
    st.one_of(
        st.builds(
            LogPlan, SHARES, st.integers(-(2**63), 2**63 - 1), asked_ms=st.integers(0, 2**63 - 1)
        ),
        st.builds(
            LogPlan,
            SHARES,
            positions=st.dictionaries(st.text(), st.integers(0, 2**63 - 1)),
        ),
        st.builds(DumpPlan, SHARES, st.none() | st.binary(), st.integers(0, 3)),
    )
)
def test_plans_cross_to_another_process(plan: LogPlan | DumpPlan) -> None:
    assert unpack_plan(pack_plan(plan)) == plan


def test_positions_are_read_as_existing_mirrors_write_them() -> None:
    own = b'"ownName": "4:0.NA/88.118"'
    states = b'{"0:sources": {"lastTxnId": 5, "lastTimestamp": 7}, "1:x": {"lastTxnId": -1}}'
    for members in (
        b'"replicationServerStates": ' + states,
        own + b', "replicationServerStates":' + states,
    ):
        assert read_positions(b"{" + members + b"}") == {"0:sources": 5, "1:x": -1}
    words = read_positions(b'{"replicationServerStates": 1}')
    assert "positions cannot be read" in str(words)


def test_positions_of_a_mirror_are_read() -> None:
    read = read_positions(b'{"a": {"lastTxnId": 5, "lastTimestamp": 7}, "b": {}}')
    assert read == {"a": 5, "b": 0}
    for damaged in (
        b"",
        b"[]",
        b'{"a": 1}',
        b"\xff",
        b'{"a":' * 100_000,
        b'{"a":{"lastTxnId":"x"}}',
    ):
        words = read_positions(damaged)
        assert isinstance(words, str)
        assert "positions cannot be read" in words
    many = b"{" + b",".join(b'"%d":{}' % number for number in range(1_025)) + b"}"
    assert "1025 sources" in str(read_positions(many))


PEER = Policy(Roles({Role.PEER: (STRANGER,)}))


def test_only_who_is_named_is_told_the_next_id(store: Store) -> None:
    operation = Operation(OpCode.GET_NEXT_TXN_ID, HandleRequest(b"0.SITE/NEXT-TXN-ID"))
    with store.read() as view:
        asked = decide(view, operation, None, {}, PEER, NOW_S)
        assert isinstance(asked, NeedAuthentication)
        answer = decide(view, operation, STRANGER, {}, PEER, NOW_S)
        assert isinstance(answer, Told)
        assert answer.body.encode() == transaction_id(view.head().seq + 1, 1).to_bytes(8, "big")
        refused = decide(view, operation, STRANGER, {}, Policy(), NOW_S)
        assert isinstance(refused, Refusal)
        assert refused.response_code == ResponseCode.INVALID_ADMIN


def test_every_kind_of_operation_is_known_to_the_log() -> None:
    assert len(Kind) == 15, "say in mirror_streams what a mirror is told of a new kind"
