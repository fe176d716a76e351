"""Exports against the store they were written of: loaded into a new one they give the same.

Whatever was created, registered as a range, changed, deleted, frozen, thawed and revoked in
whatever order: every identifier answers as before and has the mark it had, the counts are the
same, a second export is the first octet for octet, and nothing is new when it is loaded again.
"""

import tempfile
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.value import HandleValue
from registry.counters import Totals
from registry.export import export_answers, export_forms
from registry.marks import Mark
from registry.offline import LoadRow, load_records
from registry.store import Store
from registry.verify import verify
from resolver.rows.ndjson import read_load_rows
from tests.registry.builders import (
    ADMIN,
    NOW_S,
    PREFIX,
    ROOT,
    add,
    create,
    delete,
    open_store,
    perform,
    url,
)
from tests.registry.lives import act as live
from tests.registry.range_builders import act, document, prepare

DAY_S = 86_400
STEM = "88.118/A"
LONG = "88.118/" + "L" * 600
HANDLES = [*(f"{STEM}{tail:02d}" for tail in range(16)), "88.118/PLAIN", LONG, PREFIX.decode()]
KEPT = {"existing": "keep"}

handles = st.sampled_from(HANDLES)
identities = st.sampled_from([ADMIN, ROOT])
days = st.integers(0, 3)
numbers = (st.integers(0, 1), st.integers(10, 15), st.integers(0, 15))
bounds = st.one_of([st.tuples(each, each).map(sorted) for each in numbers])
inside = st.sampled_from([f"{STEM}{tail:02d}" for tail in range(2, 10)])  # of the first range
operations = st.one_of(
    st.tuples(st.sampled_from(["create", "add", "delete"]), handles, days),
    st.tuples(st.just("range"), bounds, days),
    st.tuples(st.just("delete"), inside, days),
    st.tuples(st.just("revoke range"), st.sampled_from([f"{STEM}09", f"{STEM}12"]), days),
    st.tuples(st.sampled_from(["freeze", "thaw", "revoke"]), handles, identities, days),
    st.tuples(st.sampled_from(["freeze", "revoke"]), handles, identities, days),
)
Known = tuple[tuple[HandleValue, ...] | None, Mark | None]


def carry_out(store: Store, operation: tuple[Any, ...]) -> None:
    """Do it, or have it refused."""
    name, what, *identity, day = operation
    now_s = NOW_S + 60 + day * DAY_S
    if name == "range":
        first, last = (f"{each:02d}" for each in what)
        act(store, "ranges.register", document(STEM, first, last, **KEPT), now_s=now_s)
    elif name == "revoke range":
        parameters = {"identifier": what, "reason": "the lot is void", **KEPT}
        act(store, "ranges.revoke", parameters, now_s=now_s)
    elif name in ("freeze", "thaw", "revoke"):
        reason = f"以后不再用 {name}"
        live(store, f"life.{name}", *identity, now_ms=now_s * 1000, handle=what, reason=reason)
    elif name == "delete":
        perform(store, delete(what.encode()), now_s=now_s)
    elif name == "add":
        perform(store, add(what.encode(), url(7, b"more"), overwrite=True), now_s=now_s)
    else:
        perform(store, create(what.encode(), url()), now_s=now_s)


def known(store: Store) -> tuple[dict[str, Known], Totals]:
    """Return what is known of every identifier there can be, and how many there are."""
    found: dict[str, Known] = {}
    with store.read() as view:
        for handle in HANDLES:
            record, mark = view.find_record(handle.encode()), view.find_mark(handle.encode())
            found[handle] = (None if record is None else record.values, mark)
        return found, view.counts()


def check_answers(store: Store) -> None:
    """What is told to those who know no ranges is what every identifier answers, each once."""
    answers = list(export_answers(store, 3))
    with store.read() as view:
        there = {view.fold(handle.encode()) for handle in HANDLES}
        answering = {each: view.find_record(each) for each in there}
        told = {view.fold(handle): values for handle, values in answers}
    assert len(told) == len(answers)
    assert {each: values for each, values in told.items() if each in there} == {
        each: record.values for each, record in answering.items() if record is not None
    }


def exported(store: Store) -> bytes:
    return b"".join(msgspec.json.encode(form) + b"\n" for form in export_forms(store, 3))


def load(store: Store, text: bytes) -> int:
    """Load all rows; return how many were not there."""
    rows = [each for each in read_load_rows(text.splitlines(), 1) if isinstance(each, LoadRow)]
    assert len(rows) == text.count(b"\n")
    batches = list(load_records(store, rows, now_s=lambda: NOW_S + 9 * DAY_S))
    assert [each.reason for batch in batches for each in batch.refused] == []
    return sum(batch.stored for batch in batches)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(operations, min_size=4, max_size=40))
def test_a_loaded_export_is_the_store_it_was_written_of(
    given_operations: list[tuple[Any, ...]],
) -> None:
    with tempfile.TemporaryDirectory() as place:
        first, second = Path(place) / "first", Path(place) / "second"
        with open_store(first) as store, open_store(second) as other:
            prepare(store)
            for operation in (("range", [2, 9], 0), *given_operations):
                carry_out(store, operation)
            check_answers(store)
            text = exported(store)
            assert load(other, text) == text.count(b"\n")
            assert known(other) == known(store)
            assert exported(other) == text
            assert load(other, text) == 0
        for folder in (first, second):
            report = verify(folder)
            assert report.is_whole, report.problems
