"""Whatever is done to rows and ranges: the counters are what a look at all identifiers gives."""

import tempfile
from pathlib import Path
from typing import NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.counters import ALL_IDENTIFIERS, TABLE, Events, find_events, find_totals, net_after
from registry.days import day_of
from registry.marks import Mark, State, encode_marked
from registry.range_counts import is_in_range
from registry.range_records import RangeRecord, encode_range, range_key
from registry.range_replacements import replace_ranges
from registry.range_values import range_value
from registry.recount import recount
from registry.schema import encode_record
from registry.space_saving import SpaceSaving
from registry.views import View, WriteView
from tests.registry.builders import ADMIN, NOW_S, open_store, url

LAST = 19
NAMES = [b"88.1/L%02d" % number for number in range(LAST + 1)] + [b"88.1/X", b"88.2/X"]
ROW = encode_record([url()], b"88.1/X")
ROWS = {
    "live": ROW,
    "frozen": encode_marked(Mark(State.FROZEN, NOW_S, ADMIN), ROW),
    "revoked": encode_marked(Mark(State.REVOKED, NOW_S, ADMIN), ROW),
    "deleted": encode_marked(Mark(State.DELETED, NOW_S, ADMIN), b""),
}


class Write(NamedTuple):
    """A row written (its kind), or deleted (empty)."""

    name: bytes
    kind: str


class Ranges(NamedTuple):
    """All ranges of L put in the place of those before, by where each begins, and whether so.

    In one go as the journal has it, or one put or deleted after the other.
    """

    cuts: tuple[tuple[int, bool], ...]
    is_revoked: bool
    at_once: bool


STEPS = st.builds(
    Write, st.sampled_from(NAMES), st.sampled_from(["", *ROWS])
) | st.builds(
    Ranges,
    st.lists(st.tuples(st.integers(0, LAST), st.booleans()), max_size=4, unique_by=lambda c: c[0])
    .map(sorted)
    .map(tuple),
    st.booleans(),
    st.booleans(),
)  # fmt: skip


def there(view: View) -> set[bytes]:
    """All identifiers that answer, each looked at."""
    rows = dict(view.rows())
    found = set()
    for name in NAMES:
        row = rows.get(name)
        in_range = is_in_range(view.table("ranges"), name)
        if in_range if row is None else row in (ROWS["live"], ROWS["frozen"]):
            found.add(name)
    return found


def take(view: WriteView, step: Write | Ranges) -> None:
    if isinstance(step, Write):
        if step.kind:
            view.put_row(step.name, ROWS[step.kind])
        else:
            view.delete_record(step.name)
        return
    table = view.writable("ranges")
    changes = {key: b"" for key, _ in table.items()}
    ends = [first - 1 for first, _ in step.cuts[1:]] + [LAST]
    for (first, is_there), last in zip(step.cuts, ends, strict=False):
        if is_there:
            details = {"revoked": [NOW_S, b"", 0, ""]} if step.is_revoked else {}
            tails = b"%02d" % first, b"%02d" % last
            public = b"\0\0\0\1" + range_value(b"88.1/L", *tails, ADMIN, NOW_S)
            record = encode_range(RangeRecord(tails[0], public, (), details))
            changes[range_key(b"88.1/L", b"%02d" % last)] = record
    if step.at_once:
        replace_ranges(view, list(changes.items()))
        return
    for key, _ in list(table.items()):
        table.delete(key)
    for key, record in changes.items():
        if record:
            table.put(key, record)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(st.integers(-3, 3), st.lists(STEPS, min_size=1, max_size=4)),
        min_size=1,
        max_size=6,
    )
)
def test_counters_are_what_a_look_at_everything_gives(
    batches: list[tuple[int, list[Write | Ranges]]],
) -> None:
    with tempfile.TemporaryDirectory() as place, open_store(Path(place)) as store:
        added: dict[int, int] = {}
        gone: dict[int, int] = {}
        for days, steps in batches:
            time_s = NOW_S + days * 86_400
            with store.write(journaled=False) as view:
                for step in steps:
                    before = there(view)
                    take(view, step)
                    view.changes.date(time_s)
                    _expect(step, before, there(view), day_of(time_s), added, gone)
            with store.read() as view:
                table = view.table(TABLE)
                total = find_totals(table, ALL_IDENTIFIERS)
                assert total.identifiers == len(there(view))
                stored = {name: find_totals(table, name) for name in (b"", b"88.1", b"88.2")}
                counted = recount(view)
                assert {name: each for name, each in stored.items() if any(each)} == counted
                assert net_after(table, ALL_IDENTIFIERS, 0) == total.identifiers
        with store.read() as view:
            for day in {*added, *gone}:
                events = find_events(view.table(TABLE), ALL_IDENTIFIERS, day)
                assert events.added + events.in_ranges_added == added.get(day, 0)
                assert _gone(events) == gone.get(day, 0)


def _expect(
    step: Write | Ranges,
    before: set[bytes],
    after: set[bytes],
    day: int,
    added: dict[int, int],
    gone: dict[int, int],
) -> None:
    """Add what one step made of the identifiers; of ranges only what it comes to counts."""
    more, less = len(after - before), len(before - after)
    if isinstance(step, Ranges):
        more, less = max(more - less, 0), max(less - more, 0)
    added[day] = added.get(day, 0) + more
    gone[day] = gone.get(day, 0) + less


def _gone(events: Events) -> int:
    return events.removed + events.revoked + events.in_ranges_removed + events.in_ranges_revoked


SOURCES = st.dictionaries(st.sampled_from([b"%d" % n for n in range(40)]), st.integers(1, 50))


@given(
    st.lists(st.tuples(st.integers(0, 2), SOURCES), max_size=12),
    st.integers(1, 12),
    st.booleans(),
)
def test_space_saving_says_between_what_every_count_lies(
    pieces: list[tuple[int, dict[bytes, int]]], capacity: int, is_sent: bool
) -> None:
    true: dict[bytes, int] = {}
    workers = [SpaceSaving(capacity) for _ in range(3)]
    for worker, exact in pieces:
        workers[worker].add(exact)
        for source, count in exact.items():
            true[source] = true.get(source, 0) + count
    whole = SpaceSaving(capacity)
    for each in workers:
        whole.merge(SpaceSaving.decode(each.encode(), capacity) if is_sent else each)
    shown = whole.largest()
    total = sum(true.values())
    assert len(shown) <= capacity
    assert whole.total == total
    assert sum(each.at_least for each in shown) + whole.rest == total
    assert whole.rest >= 0
    for counted in shown:
        assert counted.at_least <= true.get(counted.source, 0) <= counted.at_most
    listed = {each.source for each in shown}
    others = [count for source, count in true.items() if source not in listed]
    assert max(others, default=0) <= whole.floor <= total // (capacity + 1)
    if len(true) <= capacity:
        assert {each.source: each.at_least for each in shown} == true
