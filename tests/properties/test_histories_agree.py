"""The past of a handle, as the journal tells it, is that of a model that remembers everything.

The clock goes any way. Creations are made the short ways that keep no entry in the history too.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.codes import OpCode
from protocol.value import HandleValue, encode_values
from registry.admin import apply, decide
from registry.bulk import register_rows
from registry.frame_times import last_at
from registry.histories import History
from registry.journal import Kind
from registry.log import LocalLog
from registry.offline import LoadPolicy, LoadRow, load_records
from registry.operations import Change
from registry.outcomes import NOTHING_FOREIGN
from registry.row_past import Moment
from registry.store import Store
from registry.stream_rows import Row, RowKind
from registry.streams import Stream
from registry.verify import verify
from tests.registry.builders import (
    ADMIN,
    NOW_S,
    POLICY,
    PREFIX,
    ROOT,
    add,
    admin_value,
    create,
    delete,
    modify,
    on_handle,
    open_store,
    perform,
    remove,
    url,
)
from tests.registry.lives import act

NAMES = [b"88.118/A", b"88.118/B", b"88.118/" + b"L" * 600, b"88.118/" + b"M" * 500]
ONE = st.sampled_from(NAMES)
VALUES = st.lists(
    st.builds(lambda i, d, p: url(i, d, p), st.integers(1, 3), st.binary(max_size=2),
              st.sampled_from([0b1110, 0b1100])),
    max_size=2, unique_by=lambda value: value.index,
)  # fmt: skip
SINGLE = st.one_of(
    st.builds(lambda h, v, o: create(h, *v, overwrite=o), ONE, VALUES, st.booleans()),
    st.builds(lambda h, v: add(h, *v), ONE, VALUES),
    st.builds(lambda h, v: modify(h, *v), ONE, VALUES),
    st.builds(lambda h, i: remove(h, i), ONE, st.integers(1, 3)),
    st.builds(delete, ONE),
    st.builds(delete, ONE),
)
ROWS = st.lists(
    st.tuples(
        st.sampled_from([RowKind.PLAIN, RowKind.CREATE, RowKind.REPLACE, RowKind.DELETE]),
        ONE,
        st.binary(min_size=1, max_size=1),
    ),
    min_size=1,
    max_size=4,
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 1, 400, 1_000, 90_000, -500, -3_000, -200_000]),  # ms
        st.one_of(
            st.tuples(st.just("operations"), st.lists(SINGLE, min_size=1, max_size=3)),
            st.tuples(st.just("rows"), ROWS),
            st.tuples(st.sampled_from(["life.freeze", "life.thaw", "life.revoke"]), ONE),
            st.tuples(st.just("load"), st.tuples(ONE, st.integers(0, 200))),
        ),
    ),
    max_size=14,
)


@dataclass
class Model:
    """What each handle was after every frame, and which frames changed it."""

    store: Store
    times: list[int] = field(default_factory=lambda: [0])
    states: list[dict[bytes, tuple[str, tuple[HandleValue, ...]]]] = field(default_factory=list)

    def observe(self, time_ms: int) -> None:
        """Remember what is so now, if a frame was written; its time is what it was made at."""
        with self.store.read() as view:
            head = view.head().seq
            now = {}
            for name in NAMES:
                mark, record = view.find_mark(name), view.find_record(name)
                state = mark.state.name.lower() if mark else "active"
                if mark or record:
                    now[name] = (state, record.values if record else ())
        while len(self.times) <= head:
            self.times.append(time_ms)
        while len(self.states) <= head:
            self.states.append(now)


def carry_out(store: Store, kind: str, what: object, now_ms: int, number: int) -> None:
    now_s = now_ms // 1_000
    if kind == "operations":
        assert isinstance(what, list)
        with store.write() as view:
            entries = []
            for operation in what:
                outcome = decide(view, operation, ADMIN, NOTHING_FOREIGN, POLICY, now_s)
                if isinstance(outcome, Change):
                    entries += apply(view, outcome, ADMIN, now_s)
            if entries:
                LocalLog(view).append_operations(entries, now_ms)
    elif kind == "rows":
        assert isinstance(what, list)
        register(store, what, now_ms, number)
    elif kind == "load":
        assert isinstance(what, tuple)
        handle, age_s = what
        value = HandleValue(1, b"URL", b"loaded", timestamp=now_s - age_s)
        row = LoadRow(1, handle, encode_values([value]))
        list(load_records(store, [row], policy=LoadPolicy.REPLACE, now_s=lambda: now_s))
    else:
        act(store, kind, handle=what, reason="why", now_ms=now_ms)


def register(
    store: Store, rows: Sequence[tuple[RowKind, bytes, bytes]], now_ms: int, number: int
) -> None:
    packed = []
    for kind, handle, data in rows:
        value = HandleValue(1, b"URL", data, timestamp=now_ms // 1_000)
        octets = b"" if kind == RowKind.DELETE else encode_values([value])
        packed.append(Row(kind, handle, octets, bytes(32)))
    with store.write() as view:
        stream = Stream(ADMIN, b"lot %d" % number, 1)
        register_rows(
            view, stream, 1, packed, foreign=NOTHING_FOREIGN, policy=POLICY, now_ms=now_ms
        )


def summary(moment: Moment | None) -> tuple[str, tuple[HandleValue, ...]] | None:
    assert moment is not None
    if moment.state in ("unregistered", "deleted"):
        return None
    return moment.state, moment.values


@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(STEPS)
def test_any_past_is_told_as_it_was(steps: list[tuple[int, tuple[str, object]]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        with open_store(Path(place)) as store:
            home = [on_handle(OpCode.HOME_NA, prefix) for prefix in (b"0.NA/0.NA", PREFIX)]
            perform(store, *home, create(PREFIX, admin_value()), identity=ROOT, now_s=NOW_S)
            model = Model(store)
            model.observe(NOW_S * 1_000)
            now_ms = NOW_S * 1_000
            for number, (step_ms, (kind, what)) in enumerate(steps):
                now_ms += step_ms
                carry_out(store, kind, what, now_ms, number)
                model.observe(now_ms // 1_000 * 1_000 if kind == "load" else now_ms)
            compare(model)
        assert verify(Path(place)).problems == []


def compare(model: Model) -> None:
    with model.store.read() as view:
        head = view.head().seq
        for name in NAMES:
            for seq in range(head + 1):
                expected = model.states[seq].get(name)
                assert summary(History(view, name).at(seq)) == expected, (name, seq)
            compare_changes(model, History(view, name), name)
        for time_ms in {*model.times[1:], *(time + 1 for time in model.times)}:
            expected_seq = max(seq for seq, made in enumerate(model.times) if made <= time_ms)
            assert last_at(view, time_ms) == expected_seq


def compare_changes(model: Model, history: History, name: bytes) -> None:
    """Frames told are those after which it was something else, and what they did leads there."""
    head = len(model.states) - 1
    told = list(history.changes(0))
    assert history.is_whole
    assert [change.seq for change in told] == sorted({change.seq for change in told})
    after = {change.seq: change for change in told}
    for seq in range(1, head + 1):
        before, now = model.states[seq - 1].get(name), model.states[seq].get(name)
        change = after.get(seq)
        if change is None:
            assert before == now, (name, seq)
            continue
        assert change.was_there == (before is not None), (name, seq)
        last = change.operations[-1]
        assert (last.kind == Kind.DELETE) == (now is None), (name, seq)
        if now is not None and last.kind != Kind.MARK:
            assert last.values == now[1]
    for cut in range(head + 1):  # any page begins where the one before ended
        with model.store.read() as view:
            page = [change.seq for change in History(view, name).changes(cut)]
        assert page == [change.seq for change in told if change.seq > cut]
