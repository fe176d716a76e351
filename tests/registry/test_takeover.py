"""Taking records over: what stands in the way is found before anything is stored."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from protocol.types.hs_admin import HsAdmin
from protocol.value import TTL_ABSOLUTE, HandleValue, Reference, encode_values
from registry.errors import StoreError
from registry.offline import LoadRow, load_records
from registry.store import Store
from registry.stream_rows import RowKind
from registry.takeover import (
    Findings,
    find_differences,
    find_problems,
    home_prefixes,
)
from registry.verify import verify
from tests.registry.builders import NOW_S, create, open_store, perform, url
from tests.registry.lives import act as live
from tests.registry.range_builders import act, document, prepare

ADMIN = HandleValue(
    100, b"HS_ADMIN", HsAdmin(0xFFF, Reference(b"0.NA/88.118", 300)).encode(), timestamp=9
)
VALUE = HandleValue(
    1,
    b"URL",
    b"x",
    0b1100,
    ttl=2_000_000_000,
    ttl_type=TTL_ABSOLUTE,
    timestamp=77,
    references=(Reference(b"1/a", 2),),
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "store") as opened:
        yield prepare(opened)


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "scratch") as opened:
        yield opened


def row(number: int, handle: bytes, *values: HandleValue) -> LoadRow:
    return LoadRow(number, handle, values or (VALUE, ADMIN))


def problems(
    store: Store, scratch: Store, *rows: LoadRow
) -> tuple[list[tuple[int, str]], Findings]:
    findings = Findings()
    found = find_problems(store, scratch, rows, findings, now_s=NOW_S)
    return [(each.row.number, each.reason) for each in found], findings


def test_everything_in_the_way_is_named_and_nothing_is_changed(
    store: Store, scratch: Store
) -> None:
    for handle in (b"88.118/stored", b"88.118/frozen", b"88.118/gone"):
        perform(store, create(handle, url()), now_s=NOW_S)
    live(store, "life.freeze", handle=b"88.118/frozen", reason="recall")
    live(store, "life.revoke", handle=b"88.118/gone", reason="void")
    act(store, "ranges.register", document("88.118/R", "01", "09"), now_s=NOW_S)
    with store.read() as view:
        head, counts = view.head(), view.counts()
    found, findings = problems(
        store,
        scratch,
        row(1, b"88.118/new"),
        row(2, b"88.118/stored"),
        row(3, b"88.118/frozen"),
        row(4, b"88.118/gone"),
        row(5, b"88.118/R05"),
        row(6, b"88.118/NEW", url(3)),
        row(7, b"88.118/twins"),
        row(8, b"88.118/twins"),
        row(9, b"88.118/bad", replace(VALUE, index=0)),
        LoadRow(10, b"88.118/x", b"", RowKind.DELETE),
        row(11, b"99.1/foreign"),
    )
    assert [number for number, _ in found] == [2, 3, 4, 5, 6, 9, 10]
    words = dict(found)
    assert words[2] == "the handle is stored with other values"
    assert "recall" in words[3]
    assert "void" in words[4]
    assert "range" in words[5]
    assert words[6] == "it comes twice in the file, with other values"
    assert "index 0" in words[9]
    assert "biaoshi load takes ranges" in words[10]
    assert findings.unhomed == {b"0.NA/99.1"}
    with store.read() as view:
        assert (view.head(), view.counts()) == (head, counts)
        assert view.find_record(b"88.118/new") is None


def test_what_is_found_beside_is_counted(store: Store, scratch: Store) -> None:
    dated = replace(VALUE, index=2, timestamp=5)
    undated = replace(VALUE, index=3, timestamp=0)
    found, findings = problems(
        store,
        scratch,
        row(1, b"88.118/a", VALUE, dated, undated),
        LoadRow(2, b"88.118/b", encode_values([url()])),
    )
    assert found == []
    assert (findings.rows, findings.values, findings.undated) == (2, 4, 2)
    assert (findings.oldest_s, findings.newest_s) == (5, 77)
    assert findings.without_admin == 2


def test_what_was_taken_over_answers_as_it_was_and_may_be_taken_again(
    store: Store, scratch: Store
) -> None:
    rows = [row(1, b"88.118/a"), row(2, b"77.5/b"), row(3, b"88.118/a")]
    found, findings = problems(store, scratch, *rows)
    assert found == []
    home_prefixes(store, findings.unhomed, NOW_S)
    for stored, existed in ((2, 1), (0, 3)):
        (batch,) = load_records(store, rows, now_s=lambda: NOW_S)
        assert (batch.stored, batch.existed, batch.refused) == (stored, existed, [])
    assert list(find_differences(store, rows)) == []
    with store.read() as view:
        record = view.find_record(b"77.5/b")
        assert record is not None
        assert record.values == (VALUE, ADMIN)
        assert view.is_homed(b"0.NA/77.5")
    store.close()
    assert verify(store.folder).is_whole


def test_rows_without_timestamps_may_be_taken_again_after_a_break(
    store: Store, scratch: Store
) -> None:
    """The second run is at another time, and only some of the rows are stored yet."""
    undated = replace(VALUE, timestamp=0)
    octets = encode_values([replace(url(), timestamp=NOW_S + 60)])
    rows = [row(1, b"88.118/a", undated, ADMIN), row(2, b"88.118/b", undated)]
    list(load_records(store, rows[:1], now_s=lambda: NOW_S))
    list(load_records(store, [LoadRow(3, b"88.118/c", encode_values([url()]))], now_s=lambda: 1))
    rows.append(LoadRow(3, b"88.118/c", octets, filled_s=NOW_S + 60))
    findings = Findings()
    assert list(find_problems(store, scratch, rows, findings, now_s=NOW_S + 60)) == []
    (batch,) = load_records(store, rows, now_s=lambda: NOW_S + 60)
    assert (batch.stored, batch.existed, batch.refused) == (1, 2, [])
    assert list(find_differences(store, rows)) == []
    with store.read() as view:
        record = view.find_record(b"88.118/a")
        assert record is not None
        assert [value.timestamp for value in record.values] == [NOW_S, ADMIN.timestamp]
    dated = [row(1, b"88.118/a", replace(undated, timestamp=5), ADMIN)]
    other = [row(1, b"88.118/a", replace(undated, data=b"y"), ADMIN)]
    for each in (dated, other):
        (batch,) = load_records(store, each, now_s=lambda: NOW_S)
        assert len(batch.refused) == 1
        assert list(find_differences(store, each)) == [
            "row 1: 88.118/a: the value at index 1 is stored otherwise"
        ]


def test_prefixes_of_the_other_server_are_homed_with_what_they_answer_for(
    tmp_path: Path, scratch: Store
) -> None:
    with open_store(tmp_path / "enterprise") as enterprise:
        home_prefixes(enterprise, [b"0.NA/88.118"], NOW_S)
        findings = Findings()
        homes = ["0.na/88.118", "0.NA/9", "0.NA/0.NA/9"]
        rows = [row(1, b"0.NA/9.5"), row(2, b"0.NA/10"), row(3, b"9/x")]
        found = list(find_problems(enterprise, scratch, rows, findings, now_s=NOW_S, homes=homes))
        assert [each.row.number for each in found] == [2]
        assert findings.unhomed == {b"0.NA/9", b"0.NA/0.NA/9"}
        for wrong in ("9/x", "0.NA/" + "9" * 500):
            with pytest.raises(StoreError, match="is no prefix handle"):
                list(find_problems(enterprise, scratch, rows, Findings(), now_s=1, homes=[wrong]))


def test_what_is_stored_otherwise_is_told(store: Store) -> None:
    list(load_records(store, [row(1, b"88.118/a"), row(2, b"88.118/b")], now_s=lambda: NOW_S))
    other = replace(VALUE, timestamp=78)
    rows = [row(1, b"88.118/a", other, ADMIN), row(2, b"88.118/b", VALUE), row(3, b"88.118/c")]
    assert list(find_differences(store, rows)) == [
        "row 1: 88.118/a: the value at index 1 is stored otherwise",
        "row 2: 88.118/b: 2 values are stored, 1 are in the file",
        "row 3: 88.118/c: it is not stored",
    ]


def test_prefix_handles_belong_to_whoever_gives_prefixes_out(
    tmp_path: Path, scratch: Store
) -> None:
    with open_store(tmp_path / "enterprise") as enterprise:
        home_prefixes(enterprise, [b"0.NA/88.118"], NOW_S)
        found, findings = problems(
            enterprise, scratch, row(1, b"0.NA/88.118.5"), row(2, b"88.118/x"), row(3, b"9/" + b"x")
        )
    assert [number for number, _ in found] == [1]
    assert "gives the prefix out" in found[0][1]
    assert findings.unhomed == {b"0.NA/9"}
