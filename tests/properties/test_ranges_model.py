"""Ranges against a model: a table of every identifier there can be, for small widths.

Whatever is registered, created, deleted, changed, shrunk, split and revoked in whatever order: the
node refuses what the model refuses, answers what the model holds, counts it, and its journal gives
the same store.
"""

import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.acts import Done
from registry.counters import Totals
from registry.export import export_forms
from registry.log import LocalLog
from registry.operations import Change
from registry.range_shown import read_shown
from registry.ranges import find_range_of
from registry.store import Store
from registry.verify import verify
from registry.views import View
from tests.registry.builders import add, create, delete, open_store, perform, url
from tests.registry.range_builders import act, document, prepare

STEM = "88.118/A"
LEADS = ("", "1", "12")
DIGITS_MAX = 3


@dataclass(frozen=True)
class ModelRange:
    digits: int
    low: int
    high: int
    revoked: bool = False

    def holds(self, tail: str) -> bool:
        return len(tail) == self.digits and self.low <= int(tail) <= self.high


@dataclass
class Model:
    rows: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    ranges: list[ModelRange] = field(default_factory=list)

    def around(self, tail: str) -> ModelRange | None:
        return next((each for each in self.ranges if each.holds(tail)), None)

    def active(self, tail: str) -> bool:
        around = self.around(tail)
        return around is not None and not around.revoked

    def is_registered(self, tail: str) -> bool:
        return tail in self.rows or (self.active(tail) and tail not in self.deleted)

    def create(self, tail: str) -> bool:
        around = self.around(tail)
        if self.is_registered(tail) or (around is not None and around.revoked):
            return False
        self.rows.add(tail)
        self.deleted.discard(tail)
        return True

    def add(self, tail: str) -> bool:
        if not self.is_registered(tail):
            return False
        self.rows.add(tail)
        return True

    def delete(self, tail: str) -> bool:
        if not self.is_registered(tail):
            return False
        self.rows.discard(tail)
        if self.active(tail):
            self.deleted.add(tail)
        return True

    def inside(self, range_: ModelRange, tails: set[str]) -> set[str]:
        return {tail for tail in tails if range_.holds(tail)}

    def register(self, new: ModelRange, keep: bool) -> bool:
        for each in self.ranges:
            if each.digits == new.digits and each.low <= new.high and new.low <= each.high:
                return False
        if self.inside(new, self.rows) and not keep:
            return False
        self.ranges.append(new)
        return True

    def put(self, old: ModelRange, news: list[ModelRange], keep: bool) -> bool:
        """Put ranges in the place of one; what is in none of them loses its tombstones."""
        stay = [each for each in news if not each.revoked]
        left = {
            tail
            for tail in self.inside(old, self.rows | self.deleted)
            if not any(each.holds(tail) for each in stay)
        }
        if left & self.rows and not keep:
            return False
        self.ranges.remove(old)
        self.ranges += news
        self.deleted -= left
        return True

    def counts(self) -> Totals:
        active = [each for each in self.ranges if not each.revoked]
        revoked = [each for each in self.ranges if each.revoked]
        return Totals(
            rows=len(self.rows),
            in_ranges=sum(each.high - each.low + 1 for each in active),
            ranges=len(active),
            overrides=sum(self.active(tail) for tail in self.rows) + len(self.deleted),
            deleted=len(self.deleted),
            revoked_ranges=len(revoked),
            in_revoked=sum(each.high - each.low + 1 for each in revoked),
        )


def tails() -> st.SearchStrategy[str]:
    """Identifiers near each other, so that what is done meets what was done."""
    near = st.integers(0, 15).map(lambda number: f"{number:02d}")
    anywhere = st.tuples(st.sampled_from(LEADS), st.integers(1, 2), st.integers(0, 12)).map(
        lambda parts: f"{parts[0]}{parts[2] % 10 ** parts[1]:0{parts[1]}d}"[:DIGITS_MAX]
    )
    return st.one_of(near, near, anywhere)


bounds = st.tuples(st.integers(0, 12), st.integers(0, 99)).map(sorted)
keeps = st.booleans()
registration = st.tuples(
    st.just("register"), st.sampled_from(LEADS), st.integers(1, 2), bounds, keeps
)
operations = st.one_of(
    registration,
    st.tuples(st.sampled_from(["create", "add", "delete"]), tails()),
    st.tuples(st.sampled_from(["create", "add", "delete"]), tails()),
    st.tuples(st.just("shrink"), tails(), bounds, keeps),
    st.tuples(st.just("split"), tails()),
    st.tuples(st.just("revoke"), tails(), keeps),
)
FIRST = ("register", "", 2, [1, 60], False)


def existing(keep: bool) -> str:
    return "keep" if keep else "refuse"


class Both:
    """The store and the model, told the same."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.model = Model()

    def perform(self, operation: tuple[Any, ...]) -> None:
        name, *arguments = operation
        expected, happened = getattr(self, name)(*arguments)
        assert happened == expected, operation

    def _act(self, name: str, parameters: dict[str, Any]) -> bool:
        return isinstance(act(self.store, name, parameters), Done)

    def register(self, lead: str, width: int, bounds: list[int], keep: bool) -> tuple[bool, bool]:
        width = min(width, DIGITS_MAX - len(lead))
        first, last = (f"{min(each, 10**width - 1):0{width}d}" for each in bounds)
        parameters = document(STEM + lead, first, last, existing=existing(keep))
        new = ModelRange(len(lead) + width, int(lead + first), int(lead + last))
        return self.model.register(new, keep), self._act("ranges.register", parameters)

    def _change(self, operation: Any) -> bool:
        return isinstance(perform(self.store, operation)[0], Change)

    def create(self, tail: str) -> tuple[bool, bool]:
        return self.model.create(tail), self._change(create(f"{STEM}{tail}".encode(), url()))

    def add(self, tail: str) -> tuple[bool, bool]:
        """Change a value, be it there or not, which makes a row."""
        new = url(7, tail.encode())
        happened = self._change(add(f"{STEM}{tail}".encode(), new, overwrite=True))
        return self.model.add(tail), happened

    def delete(self, tail: str) -> tuple[bool, bool]:
        return self.model.delete(tail), self._change(delete(f"{STEM}{tail}".encode()))

    def shrink(self, tail: str, bounds: list[int], keep: bool) -> tuple[bool, bool]:
        around = self.model.around(tail)
        identifier = {"identifier": STEM + tail, "existing": existing(keep)}
        if around is None:
            return False, self._act("ranges.shrink", identifier | {"first": "0", "last": "0"})
        # The serials are the last digits of the tail, as many as the owner wrote.
        with self.store.read() as view:
            width = _width(view, tail)
        start = around.high - around.high % 10**width
        low, high = (start + each % 10**width for each in bounds)
        first, last = (f"{each % 10**width:0{width}d}" for each in (low, high))
        happened = self._act("ranges.shrink", identifier | {"first": first, "last": last})
        if around.revoked or not around.low <= low <= high <= around.high:
            return False, happened
        return self.model.put(around, [replace(around, low=low, high=high)], keep), happened

    def split(self, tail: str) -> tuple[bool, bool]:
        around = self.model.around(tail)
        happened = self._act("ranges.split", {"identifier": STEM + tail})
        if around is None or around.revoked or int(tail) == around.low:
            return False, happened
        parts = [replace(around, high=int(tail) - 1), replace(around, low=int(tail))]
        return self.model.put(around, parts, False), happened

    def revoke(self, tail: str, keep: bool) -> tuple[bool, bool]:
        around = self.model.around(tail)
        parameters = {"identifier": STEM + tail, "reason": "why", "existing": existing(keep)}
        happened = self._act("ranges.revoke", parameters)
        if around is None or around.revoked:
            return False, happened
        return self.model.put(around, [replace(around, revoked=True)], keep), happened

    def check(self) -> None:
        model = self.model
        with self.store.read() as view:
            for digits in range(1, DIGITS_MAX + 1):
                for number in range(10**digits):
                    tail = f"{number:0{digits}d}"
                    record = view.find_record(f"{STEM}{tail}".encode())
                    assert (record is not None) == model.is_registered(tail), tail
            counts = view.counts(b"88.118")
            listed = view.list_handles(b"0.NA/88.118", None, 10_000).handles
        assert counts == model.counts()
        assert counts.identifiers == sum(
            model.is_registered(f"{number:0{digits}d}")
            for digits in range(1, DIGITS_MAX + 1)
            for number in range(10**digits)
        )
        assert listed == sorted(f"{STEM}{tail}".encode() for tail in model.rows)


def _width(view: View, tail: str) -> int:
    range_ = find_range_of(view, f"{STEM}{tail}".encode())
    assert range_ is not None
    return len(read_shown(range_).origin.first)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(operations, min_size=12, max_size=40), st.booleans())
def test_ranges_do_what_a_table_of_all_identifiers_does(
    given_operations: list[tuple[Any, ...]], trims: bool
) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "store"
        with open_store(folder) as store:
            both = Both(prepare(store))
            for operation in (FIRST, *given_operations):
                both.perform(operation)
            both.check()
            assert len(list(export_forms(store))) >= len(both.model.ranges) + len(both.model.rows)
            if trims:
                with store.write() as view:
                    log = LocalLog(view)
                    log.trim(0, log.seal_snapshot(0).seq)
        report = verify(folder)
        assert report.is_whole, report.problems
        assert report.ranges == len(both.model.ranges)
