"""Ranges as rows of streams and files, in snapshots, and what `verify` says of damaged ones."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import msgspec
import pytest

from protocol.codes import ResponseCode
from protocol.value import Reference
from registry.acts import Done
from registry.bulk import Registered, register_rows
from registry.counters import TABLE, totals_key
from registry.errors import JournalError
from registry.export import export_forms
from registry.journal import ANONYMOUS, JournalOperation, Kind
from registry.log import LocalLog
from registry.offline import LoadedBatch, load_records
from registry.outcomes import NOTHING_FOREIGN
from registry.range_changes import pack_changes
from registry.range_records import decode_range, encode_range
from registry.receipts import START, chain
from registry.replay import replay
from registry.store import Store
from registry.stream_rows import PackedRow, RowKind
from registry.streams import Stream, Verdict, batches
from registry.tables import WritableTable
from registry.verify import verify
from resolver.rows.ndjson import read_load_rows
from resolver.rows.row import BadRow
from tests.registry.builders import (
    ADMIN,
    NOW_S,
    POLICY,
    add,
    create,
    delete,
    open_store,
    perform,
    rows_of,
    url,
)
from tests.registry.range_builders import LOT, act, document, done, prepare, register, url_form


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with open_store(tmp_path / "store") as opened:
        yield prepare(opened)


def row(form: dict[str, Any], handle: bytes = b"88.118/X") -> PackedRow:
    return (RowKind.RANGE.value, handle, msgpack.packb(form), bytes(32))


def stream(
    store: Store, *rows: PackedRow, identity: Reference = ADMIN, key: bytes = b"k"
) -> tuple[Registered, list[tuple[int, int, str]]]:
    """Register rows as a stream of their own; return also (verdict, code, words) of each."""
    with store.write() as view:
        begun = Stream(identity, key, NOW_S * 1000)
        registered = register_rows(
            view, begun, 1, rows, foreign=NOTHING_FOREIGN, policy=POLICY, now_ms=NOW_S * 1000
        )
    with store.read() as view:
        verdicts = [
            (int(run.verdict), int(run.code), run.words.decode())
            for batch in batches(view, begun.name, 1)
            for run in batch.runs
            for _ in range(run.rows)
        ]
    return registered, verdicts


def test_ranges_and_handles_in_one_stream(store: Store) -> None:
    taken = document("88.118/LOT.", "20260500", "20260501")
    hidden = document(
        "88.118/H", "1", "2", {"index": 1, "type": "N", "data": "x", "permissions": "1100"}
    )
    rows = [
        row(document()), row(document()), row(taken), row(hidden), row(hidden),
        row(document(last="0499")), row(document("99.9/a")), row({}), row({"stem": 1}),
        (RowKind.RANGE.value, b"", b"\xc1", bytes(32)),
        (RowKind.RANGE.value, b"", b"\x01", bytes(32)),
    ]  # fmt: skip
    registered, verdicts = stream(store, *rows)
    assert [verdict for verdict, _, _ in verdicts] == [1, 4, 0, 1, 0, 0, 0, 0, 0, 0, 0]
    assert "88.118/LOT.20260001..0500" in verdicts[2][2]
    assert verdicts[4][1] == ResponseCode.HANDLE_ALREADY_EXISTS
    assert "not homed" in verdicts[6][2]
    assert "stem is missing" in verdicts[7][2]
    assert "not msgpack" in verdicts[9][2]
    assert registered.stream.created == 2
    (repeated, again) = stream(store, row(document()), key=b"other")
    assert [verdict for verdict, _, _ in again] == [Verdict.UNCHANGED]
    assert repeated.stream.first_sequence == 0
    assert done(store, "ranges.count", {"prefix": "88.118"})["ranges"] == 2


def test_rows_that_take_too_long_are_left_to_another_transaction(store: Store) -> None:
    looks = iter([False, False, True])
    rows = [row(document(f"88.118/L{number}.", check="gs1")) for number in range(9)]
    with store.write() as view:
        begun = Stream(ADMIN, b"k", NOW_S * 1000)
        registered = register_rows(
            view,
            begun,
            1,
            rows,
            foreign=NOTHING_FOREIGN,
            policy=POLICY,
            now_ms=NOW_S * 1000,
            is_over=lambda: next(looks),
        )
    assert (registered.stream.rows, registered.stream.created) == (3, 3)
    assert registered.stream.digest != chain(START, [bytes(32)] * 9)
    assert registered.stream.digest == chain(START, [bytes(32)] * 3)
    assert done(store, "ranges.count", {"prefix": "88.118"})["ranges"] == 3


def test_a_stranger_s_range_is_refused(store: Store) -> None:
    _, verdicts = stream(store, row(document()), identity=Reference(b"88.118/WHO", 300))
    assert verdicts[0][:2] == (Verdict.REFUSED, ResponseCode.INVALID_ADMIN)


def test_a_plain_row_in_a_range_is_refused_and_around_it_is_not(store: Store) -> None:
    register(store)
    octets = b"\0\0\0\1" + url().encode()
    rows = [
        (RowKind.PLAIN.value, LOT.encode() + serial, octets, bytes(32))
        for serial in (b"0000", b"0001", b"0500", b"0501", b"X")
    ]
    _, verdicts = stream(store, *rows)
    assert [verdict for verdict, _, _ in verdicts] == [1, 0, 0, 1, 1]


def test_rows_inside_are_kept_when_told(store: Store) -> None:
    perform(store, create(f"{LOT}0007".encode(), url()))
    _, verdicts = stream(store, row(document()), row(document(existing="keep")))
    assert [verdict for verdict, _, _ in verdicts] == [Verdict.REFUSED, Verdict.CREATED]
    assert done(store, "ranges.count", {"prefix": "88.118"})["overrides"] == 1


def fill(store: Store) -> None:
    """Make all that can be: plain and checked ranges, hidden values, overrides, tombstones."""
    register(store)
    register(store, "88.118/C", "01", "50", url_form("{number}"), check="iso7064-mod11-2")
    register(
        store, "88.118/H", "1", "9", {"index": 3, "type": "N", "data": "{{", "permissions": "1100"}
    )
    register(store, "88.118/R", "10", "20")
    perform(store, add(f"{LOT}0007".encode(), url(5)), delete(f"{LOT}0008".encode()))
    perform(store, create(b"88.118/PLAIN", url()), add(b"88.118/R11", url(5)))
    revoke = {"identifier": "88.118/R10", "reason": "recalled", "existing": "keep"}
    done(store, "ranges.revoke", revoke, now_s=NOW_S + 9)


def state(store: Store) -> Any:
    with store.read() as view:
        counted = dict(view.table(TABLE).items(prefix=totals_key(b"")))
        return rows_of(store), dict(view.table("ranges").items()), counted


def load(store: Store, text: bytes) -> list[LoadedBatch]:
    rows = list(read_load_rows(text.splitlines(keepends=True), NOW_S))
    assert not [each for each in rows if isinstance(each, BadRow)]
    return list(load_records(store, rows, now_s=lambda: NOW_S + 99))  # type: ignore[arg-type]


def test_an_export_loads_into_the_same_store(store: Store, tmp_path: Path) -> None:
    fill(store)
    text = b"".join(msgspec.json.encode(form) + b"\n" for form in export_forms(store, 2))
    with open_store(tmp_path / "other") as other:
        (batch,) = load(other, text)
        assert not batch.refused
        assert state(other) == state(store)
        (again,) = load(other, text)
        assert (again.stored, again.refused) == (0, [])
    report = verify(tmp_path / "other")
    assert report.is_whole, report.problems


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'{"operation": "range", "stem": "88.118/LOT.2026", "first": "0500", "last": "0501", '
         b'"values": [{"index": 1, "type": "A", "data": "x"}]}', "has identifiers of this one"),
        (b'{"operation": "range"}', "stem is missing"),
        (b'{"operation": "range", "stem": "88.118/Z", "first": "1", "last": "2", "by": "me", '
         b'"values": [{"index": 1, "type": "A", "data": "x"}]}', "by must be an identity"),
        (b'{"operation": "range", "stem": "88.118/Z", "first": "1", "last": "2", "registered": 5, '
         b'"values": [{"index": 1, "type": "A", "data": "x"}]}', "registered must be a time"),
        (b'{"operation": "delete", "handle": "88.118/PLAIN"}', "is in no range"),
        (b'{"operation": "delete", "handle": "88.118/LOT.20260007"}', "has values of its own"),
        (b'{"handle": "88.118/LOT.20260009", "values": [{"index": 1, "type": "A", '
         b'"data": {"format": "string", "value": "x"}}]}', 'says "operation": "replace"'),
    ],
)  # fmt: skip
def test_loaded_rows_that_are_refused(store: Store, text: bytes, words: str) -> None:
    fill(store)
    before = state(store)
    ((refused,),) = [batch.refused for batch in load(store, text + b"\n")]
    assert words in refused.reason
    assert state(store) == before


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"operation": "grow", "handle": "a/b"}', "operation must be one of"),
        (b'{"operation": "delete", "handle": "/b"}', "no prefix"),
        (b'{"operation": "replace", "handle": "a/b"}', "values"),
        (b'{"operation": "range", ', "malformed|truncated|expected|not"),
    ],
)
def test_lines_that_are_no_rows(line: bytes, words: str) -> None:
    (bad,) = read_load_rows([line + b"\n"], NOW_S)
    assert isinstance(bad, BadRow)
    assert re.search(words, bad.reason, re.IGNORECASE)


def test_a_snapshot_rebuilds_ranges_rows_and_tombstones(store: Store) -> None:
    fill(store)
    with store.write() as view:
        log = LocalLog(view)
        log.trim(0, log.seal_snapshot(NOW_S * 1000).seq)
    done(store, "ranges.split", {"identifier": LOT + "0250"})
    store.close()
    report = verify(store.folder)
    assert report.is_whole, report.problems
    assert report.ranges == 5


def damage(store: Store, name: str, key: bytes, value: bytes | None) -> list[str]:
    with store.write(journaled=False) as view:
        table = WritableTable(view._txn, getattr(view._dbs, name))  # nothing is counted
        if value is None:
            table.delete(key)
        else:
            table.put(key, value)
    store.close()
    return verify(store.folder).problems


KEY = b"88.118/LOT.\x00\x0820260500"


@pytest.mark.parametrize(
    ("key", "change", "words"),
    [
        (KEY, lambda octets: octets[:30], "does not decode"),
        (KEY, lambda octets: b"\x20" + octets[1:], "damaged, or of a newer form"),
        (KEY, lambda octets: octets.replace(b"20260001", b"20260501"), "not before its last"),
        (KEY, lambda octets: octets.replace(b"example", b"exomple"), "differs from what"),
        (KEY, lambda octets: octets.replace(b"RANGE", b"RINGE"), "lacks its RANGE value"),
        (KEY, None, "the store lacks it"),
        (b"88.118/LOT.\x00\x0820260600", lambda octets: octets, "identifiers of the range before"),
        (b"88.118/LOT.2\x00\x070260500",
         lambda octets: encode_range(replace(decode_range(octets), first=b"0260001", patches=())),
         "digits are not cut"),
    ],
)  # fmt: skip
def test_verify_finds_damaged_ranges(store: Store, key: bytes, change: Any, words: str) -> None:
    fill(store)
    with store.read() as view:
        octets = view.table("ranges").get(KEY)
    problems = damage(store, "ranges", key, None if change is None else change(octets))
    assert any(words in problem for problem in problems), problems


def test_verify_finds_wrong_counts(store: Store) -> None:
    fill(store)
    with store.read() as view:
        octets = view.table(TABLE).get(totals_key(b"88.118"))
    assert octets is not None
    flipped = octets[:15] + bytes([octets[15] ^ 1]) + octets[16:]
    (problem,) = damage(store, TABLE, totals_key(b"88.118"), flipped)
    assert problem.startswith("counters of 88.118: ")


def test_verify_finds_a_tombstone_without_a_range(store: Store) -> None:
    fill(store)
    problems = damage(store, "ranges", KEY, None)
    assert any("deleted out of a range that is not there" in problem for problem in problems)


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xc1", b"\x93\x01\x90\x80", b"\x93\xa8register\x91\x91\xc4\x01a\x80",
     pack_changes("register", [(b"no key", b"no record")])],
)  # fmt: skip
def test_a_damaged_change_does_not_replay(store: Store, payload: bytes) -> None:
    operation = JournalOperation(Kind.RANGES, b"88.118/", (), ANONYMOUS, NOW_S, payload)
    with pytest.raises(JournalError), store.write(journaled=False) as view:
        replay(view, [operation])


def test_an_act_in_a_transaction_sees_what_the_transaction_did(store: Store) -> None:
    assert isinstance(act(store, "ranges.register", document()), Done)
    with store.write() as view:
        before = view.counts(b"88.118")
        view.delete_record(f"{LOT}0007".encode())
        assert view.counts(b"88.118").deleted == before.deleted + 1
        assert view.counts().identifiers == before.identifiers - 1
        LocalLog(view).append_operations(
            [JournalOperation(Kind.DELETE, f"{LOT}0007".encode(), (), ANONYMOUS, 0)], 0
        )


def test_what_version_3_counted_apart_is_counted_with_the_rest(store: Store) -> None:
    fill(store)
    with store.read() as view:
        before = view.counts(b"88.118"), view.counts()
    assert before[0].revoked_ranges == 1
    assert before[0].in_revoked == 11
    with store.write(journaled=False) as view:
        totals = view.writable(TABLE)
        for key, octets in list(totals.items(prefix=totals_key(b""))):
            totals.put(key, octets[: 6 * 16])
        apart = bytes(5 * 12) + (1).to_bytes(12, "big") + (11).to_bytes(12, "big") + bytes(12)
        for prefix in (b"", b"88.118"):
            view.put_meta(b"tally\0" + prefix, apart)
        view.put_meta(b"version", (3).to_bytes(4, "big"))
    store.close()
    with open_store(store.folder) as migrated, migrated.read() as view:
        assert (view.counts(b"88.118"), view.counts()) == before
        assert list(view.table("meta").items(prefix=b"tally")) == []
    assert verify(store.folder).problems == []
