"""Counters of registrations: what is counted, under which name, on which day."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from protocol.value import Reference
from registry.check_digits import check_of
from registry.counters import (
    ALL_IDENTIFIERS,
    ALL_PREFIXES,
    TABLE,
    Events,
    Totals,
    counted_name,
    find_events,
    find_totals,
    list_totals,
    net_after,
    totals_key,
)
from registry.days import DAY_MAX, day_from_text, day_of, day_to_text, start_of
from registry.first_count import KEY, read_progress
from registry.journal import JournalOperation, Kind
from registry.log import LocalLog
from registry.marks import Mark, State, encode_marked
from registry.offline import seed_store
from registry.range_counts import rows_in, span_of
from registry.range_records import RangeRecord, encode_range, range_key
from registry.recount import count_page, recount
from registry.replay import replay
from registry.row_changes import count_names
from registry.schema import encode_record, folded_key
from registry.store import Store
from registry.tables import Table
from registry.verify import verify
from registry.views import WriteView
from tests.registry.builders import (
    ADMIN,
    NOW_S,
    PREFIX,
    ROOT,
    admin_value,
    create,
    delete,
    modify,
    open_store,
    perform,
    put,
    url,
)

TODAY = day_of(NOW_S)
NAME = b"88.118"
ROW = encode_record([url()], b"88.118/A")


def events(store: Store, name: bytes = NAME, day: int = TODAY) -> Events:
    with store.read() as view:
        return find_events(view.table(TABLE), name, day)


def totals(store: Store, name: bytes = NAME) -> Totals:
    with store.read() as view:
        return find_totals(view.table(TABLE), name)


@contextmanager
def writing(store: Store, time_s: int = NOW_S) -> Iterator[WriteView]:
    """A transaction whose changes became true at a time, without a journal."""
    with store.write(journaled=False) as view:
        yield view
        view.changes.date(time_s)


def marked(state: State, row: bytes = ROW) -> bytes:
    return encode_marked(Mark(state, NOW_S, ADMIN), row)


def range_of(first: bytes, last: bytes, **details: object) -> tuple[bytes, bytes]:
    """The key and record of a range of 88.118/L."""
    checked = "check" in details
    record = RangeRecord(first, bytes(4), (), dict(details), checked=checked)
    return range_key(b"88.118/L", last), encode_range(record)


@pytest.mark.parametrize(
    ("utc", "day"),
    [
        ("2026-11-21T15:59:59", "2026-11-21"),
        ("2026-11-21T16:00:00", "2026-11-22"),
        ("1970-01-01T00:00:00", "1970-01-01"),
    ],
)
def test_a_day_ends_at_midnight_in_shanghai(utc: str, day: str) -> None:
    from datetime import datetime

    time_s = datetime.fromisoformat(utc + "+00:00").timestamp()
    assert day_to_text(day_of(time_s)) == day
    assert start_of(day_of(time_s)) <= time_s < start_of(day_of(time_s) + 1)
    assert day_from_text(day) == day_of(time_s)


def test_clocks_that_say_anything_have_a_day() -> None:
    assert (day_of(-(10**18)), day_of(10**18)) == (0, DAY_MAX)
    assert day_to_text(DAY_MAX) == "9999-12-31"
    for text in ("", "2026-02-30", "20261121", "2026-11-21T00", "1969-12-31"):
        with pytest.raises(ValueError, match="day"):
            day_from_text(text)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (b"88.118.5/870101", b"88.118.5"),
        (b"88.118/A/B", b"88.118"),
        (b"0.NA/88.118.5", b"0.NA/88.118"),
        (b"0.NA/88", b"0.NA/0.NA"),
        (b"0.NA/0.NA", b"0.NA/0.NA"),
        (b"0.SITE/X", b"0.SITE"),
        (b"/X", b"/"),
        (b"A" * 450 + b"/X", b"A" * 400),
        (folded_key(b"0.NA/" + b"9." * 300 + b"1"), (b"0.NA/" + b"9." * 300)[:400]),
    ],
)
def test_names(key: bytes, name: bytes) -> None:
    assert counted_name(key) == name


@pytest.mark.parametrize(
    "keys",
    [
        [b"88.118/1", b"88.118/2"],
        [b"88.118/2", b"88.1180/1", b"88.118/1"],
        [b"88.118.5/X", b"88.118/X", b"88.11/X"],
        [b"0.NA/88.1.2", b"0.NA/88.2.3"],
        [b"A" * 450 + b"/X", b"A" * 450 + b"/Y"],
    ],
)
def test_keys_are_counted_together_as_they_are_singly(keys: list[bytes]) -> None:
    expected: dict[bytes, int] = {}
    for key in keys:
        expected[counted_name(key)] = expected.get(counted_name(key), 0) + 1
    assert count_names(keys) == expected


def test_what_a_prefix_sees_of_single_registrations(store: Store) -> None:
    before = totals(store)
    perform(store, create(b"88.118/A", url()), create(b"88.118/B", url()), now_s=NOW_S)
    perform(store, modify(b"88.118/A", url(data=b"x")), delete(b"88.118/B"), now_s=NOW_S)
    perform(store, create(b"88.118/A", url(data=b"y"), overwrite=True), now_s=NOW_S)
    perform(store, create(b"88.118/A", url()), now_s=NOW_S)  # refused: there already
    assert events(store) == Events(added=2, changed=2, removed=1)
    assert totals(store).rows == before.rows + 1
    assert events(store, ALL_IDENTIFIERS) == events(store)


def test_prefixes_are_counted_apart_under_the_one_above(store: Store) -> None:
    identifiers = totals(store, ALL_IDENTIFIERS)
    perform(store, create(b"0.NA/88.118.5", admin_value()), identity=ROOT, now_s=NOW_S)
    assert events(store, b"0.NA/88.118") == Events(added=1)
    assert events(store, ALL_PREFIXES) == Events(added=1)
    assert totals(store, b"0.NA/88.118").rows == 1
    assert totals(store, ALL_IDENTIFIERS) == identifiers
    assert events(store) == Events()


def test_a_late_event_counts_on_the_day_it_became_true(store: Store) -> None:
    yesterday_s = start_of(TODAY) - 1
    operations = [
        JournalOperation(Kind.CREATE, b"88.118/LATE", (url(),), ADMIN, yesterday_s),
        JournalOperation(Kind.CREATE, b"88.118/NOW", (url(),), ADMIN, NOW_S),
        JournalOperation(Kind.DELETE, b"88.118/LATE", (), ADMIN, NOW_S),
    ]
    with store.write() as view:
        replay(view, operations)
        LocalLog(view).append_operations(operations, NOW_S * 1000)
    assert events(store, day=TODAY - 1) == Events(added=1)
    assert events(store) == Events(added=1, removed=1)


def test_a_clock_that_jumps_back_counts_where_it_says(store: Store) -> None:
    perform(store, create(b"88.118/A", url()), now_s=NOW_S)
    perform(store, create(b"88.118/B", url()), now_s=NOW_S - 86_400)
    perform(store, create(b"88.118/C", url()), now_s=NOW_S)
    assert events(store) == Events(added=2)
    assert events(store, day=TODAY - 1) == Events(added=1)
    with store.read() as view:
        table = view.table(TABLE)
        assert net_after(table, NAME, TODAY - 2) == 3
        assert net_after(table, NAME, TODAY - 1) == 2
        assert net_after(table, NAME, TODAY) == 0


def test_marks(store: Store) -> None:
    with writing(store) as view:
        view.put_row(b"88.118/A", ROW)
        view.put_row(b"88.118/A", marked(State.FROZEN))
        view.put_row(b"88.118/A", ROW)
        view.put_row(b"88.118/A", marked(State.REVOKED))
    assert events(store) == Events(added=1, changed=2, revoked=1)
    assert (totals(store).identifiers, totals(store).revoked) == (0, 1)


def test_a_row_in_a_range_changes_it_and_adds_nothing(store: Store) -> None:
    with writing(store) as view:
        view.writable("ranges").put(*range_of(b"001", b"250"))
    assert events(store) == Events(ranges_added=1, in_ranges_added=250)
    with writing(store) as view:
        view.put_row(b"88.118/L007", ROW)
        view.put_row(b"88.118/L251", ROW)
        view.put_row(b"88.118/L0070", ROW)
    assert events(store) == Events(ranges_added=1, in_ranges_added=250, changed=1, added=2)
    assert totals(store) == Totals(rows=3, in_ranges=250, ranges=1, overrides=1)
    assert totals(store).identifiers == 252


def test_out_of_a_range_and_into_it_again(store: Store) -> None:
    with writing(store) as view:
        view.writable("ranges").put(*range_of(b"001", b"250"))
        view.put_row(b"88.118/L007", marked(State.DELETED, b""))
    assert events(store).removed == 1
    assert totals(store).identifiers == 249
    with writing(store) as view:
        view.put_row(b"88.118/L007", ROW)
    assert events(store).added == 1
    assert totals(store) == Totals(rows=1, in_ranges=250, ranges=1, overrides=1)


def test_a_range_keeps_the_rows_inside(store: Store) -> None:
    with writing(store) as view:
        view.put_row(b"88.118/L007", ROW)
        view.put_row(b"88.118/L008", ROW)
    with writing(store) as view:
        view.writable("ranges").put(*range_of(b"001", b"250"))
    assert events(store).in_ranges_added == 248
    assert totals(store).identifiers == 250


def test_a_range_that_is_split_adds_nothing(store: Store) -> None:
    with writing(store) as view:
        view.writable("ranges").put(*range_of(b"001", b"250"))
        view.put_row(b"88.118/L007", ROW)
    before = events(store)
    with writing(store) as view:
        ranges = view.writable("ranges")
        ranges.put(*range_of(b"101", b"250"))
        ranges.put(*range_of(b"001", b"100"))
    assert events(store) == before._replace(ranges_added=before.ranges_added + 1)
    assert totals(store) == Totals(rows=1, in_ranges=250, ranges=2, overrides=1)


def test_a_range_that_is_shrunk_or_revoked(store: Store) -> None:
    with writing(store) as view:
        view.writable("ranges").put(*range_of(b"001", b"250"))
        view.put_row(b"88.118/L200", ROW)
    with writing(store) as view:
        ranges = view.writable("ranges")
        ranges.delete(range_of(b"001", b"250")[0])
        ranges.put(*range_of(b"001", b"150"))
    assert events(store).in_ranges_removed == 99
    assert totals(store) == Totals(rows=1, in_ranges=150, ranges=1)
    with writing(store) as view:
        view.writable("ranges").put(*range_of(b"001", b"150", revoked=[NOW_S, b"X", 1, "why"]))
    assert events(store).in_ranges_revoked == 150
    assert totals(store) == Totals(rows=1, revoked_ranges=1, in_revoked=150)


def test_check_characters_make_no_identifiers(store: Store) -> None:
    scheme = "gs1"
    first, last = (tail + check_of(scheme, b"88.118/L" + tail) for tail in (b"001", b"250"))
    key, record = range_of(first, last, check=scheme)
    assert span_of(key, record).size == 250
    inside = b"88.118/L007" + check_of(scheme, b"88.118/L007")
    wrong = inside[:-1] + b"%d" % ((int(inside[-1:]) + 1) % 10)
    with writing(store) as view:
        view.writable("ranges").put(key, record)
        view.put_row(inside, ROW)
        view.put_row(wrong, ROW)
    assert (events(store).changed, events(store).added) == (1, 1)
    assert totals(store) == Totals(rows=2, in_ranges=250, ranges=1, overrides=1)


def test_what_sorts_between_identifiers_of_a_range_is_not_walked(store: Store) -> None:
    keys = [b"88.118/1%05d" % number for number in range(500)]
    with writing(store) as view:
        view.add_rows(keys, [ROW] * len(keys))
        view.add_row(b"88.118/5", ROW)
        key, record = range_key(b"88.118/", b"9"), encode_range(RangeRecord(b"0", bytes(4)))
        handles = SeeksCounted(view.table("handles"))
        assert rows_in(handles, key, record) == [b"88.118/5"]  # type: ignore[arg-type]
    assert handles.seeks < 30


class SeeksCounted:
    """A table that can be asked for single rows only."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.seeks = 0

    def at_or_after(self, key: bytes) -> tuple[bytes, bytes] | None:
        self.seeks += 1
        return self._table.at_or_after(key)

    def seeker(self) -> Callable[[bytes], tuple[bytes, bytes] | None]:
        return self.at_or_after


def test_ranges_larger_than_any_machine_number(store: Store) -> None:
    with writing(store) as view:
        for stem in range(20):
            record = encode_range(RangeRecord(b"0" * 18, bytes(4)))
            view.writable("ranges").put(range_key(b"88.118/%c" % (65 + stem), b"9" * 18), record)
    assert totals(store).in_ranges == 20 * 10**18
    assert events(store).in_ranges_added == 20 * 10**18


def uncounted(store: Store) -> None:
    """Make a store as a version without counters left it."""
    with store.write(journaled=False) as view:
        table = view.writable(TABLE)
        for key, _ in list(table.items()):
            table.delete(key)


def test_an_older_store_is_counted_in_pages_while_it_is_written(empty: Store) -> None:
    put(empty, {b"88.%d/%c" % (number % 3, 65 + number): [url()] for number in range(26)})
    uncounted(empty)
    with writing(empty) as view:  # before the first page
        view.put_row(b"88.1/NEW", ROW)
        view.delete_record(b"88.0/A")
    is_more, round_ = True, 0
    while is_more:
        with empty.write(journaled=False) as view:
            is_more = count_page(view, NOW_S, 5)
        with writing(empty) as view:
            view.put_row(b"88.0/A%d" % round_, ROW)  # behind the page that is counted
            view.put_row(b"88.9/Z%d" % round_, ROW)  # beyond it
            view.delete_record(b"88.1/%c" % (66 + 3 * round_))
        round_ += 1
    with empty.read() as view:
        table = view.table(TABLE)
        found = {name: each for name, each in list_totals(table, b"", 100) if any(each)}
        found[ALL_IDENTIFIERS] = find_totals(table, ALL_IDENTIFIERS)
        assert found == recount(view)
        assert read_progress(table).since_day == TODAY
    with empty.write(journaled=False) as view:
        assert not count_page(view, NOW_S)


def test_a_new_store_has_nothing_to_count(empty: Store) -> None:
    with empty.write(journaled=False) as view:
        assert not count_page(view, NOW_S)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "node"
    seed_store(place, {PREFIX: [admin_value()]}, [b"0.NA/0.NA", PREFIX], now_s=NOW_S)
    with open_store(place) as store:
        perform(store, create(b"88.118/A", url()), create(b"88.118/B", url()), now_s=NOW_S)
        perform(store, delete(b"88.118/B"), now_s=NOW_S + 86_400)
    assert verify(place).problems == []
    return place


def test_verify_finds_wrong_totals(folder: Path) -> None:
    with open_store(folder) as store, store.write(journaled=False) as view:
        view.writable(TABLE).delete(totals_key(NAME))
    assert verify(folder).problems == ["counters of 88.118: nothing; there are 1 rows"]


def test_verify_finds_wrong_days(folder: Path) -> None:
    with open_store(folder) as store, store.write(journaled=False) as view:
        view.changes.row(b"88.118/X", None, ROW)
        view.changes.row(b"88.118/X", ROW, None)
        view.changes.date(NOW_S)
    day = day_to_text(TODAY)
    assert verify(folder).problems == [
        f"counters of {name} on {day}: 3 added, 1 removed; the journal says 2 added"
        for name in ("the node", "88.118")
    ]


def test_verify_leaves_out_the_days_before_an_older_store_was_counted(folder: Path) -> None:
    with open_store(folder) as store:
        uncounted(store)
        with store.write(journaled=False) as view:
            assert not count_page(view, NOW_S + 86_400)
        perform(store, create(b"88.118/C", url()), now_s=NOW_S + 2 * 86_400)
        assert events(store, day=TODAY + 2) == Events(added=1)
    assert verify(folder).problems == []


def test_damaged_counters_are_named(folder: Path) -> None:
    with open_store(folder) as store, store.write(journaled=False) as view:
        view.writable(TABLE).put(totals_key(NAME), b"\1")
    (problem,) = verify(folder).problems
    assert "counters under b'T88.118' are damaged: 1 octets" in problem
    with open_store(folder) as store, store.write(journaled=False) as view:
        view.writable(TABLE).put(KEY, b"\xc1")
    (problem,) = verify(folder).problems
    assert "how far the store was counted is damaged" in problem


def test_whose_changes_are_undone_counts_nothing(store: Store) -> None:
    before = totals(store)

    def fail() -> None:
        with store.write() as view:
            view.put_record(b"88.118/A", [url()])
            raise RuntimeError("the disk")

    with pytest.raises(RuntimeError):
        fail()
    assert totals(store) == before


def test_who_changes_a_row_is_not_looked_at(store: Store) -> None:
    stranger = Reference(b"", -1)
    operation = JournalOperation(Kind.CREATE, b"88.118/A", (url(),), stranger, NOW_S)
    with store.write() as view:
        replay(view, [operation])
        LocalLog(view).append_operations([operation], NOW_S * 1000)
    assert events(store) == Events(added=1)
