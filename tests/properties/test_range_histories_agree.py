"""The past of identifiers in ranges, as the journal tells it, is that of a model of all frames.

Ranges are registered around rows, split, shrunk, revoked, loaded with times of their own, with
check characters and without, several times over the same numbers, several changes in one frame;
rows in them are made, changed, marked and deleted. What each identifier was after each frame is
written down as it happens, and compared with what is told of it in the end.
"""

import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgpack
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from protocol.codes import OpCode
from protocol.value import HandleValue, encode_values
from registry.acts import Act, Done, decide_act
from registry.admin import apply, decide
from registry.bulk import register_rows
from registry.check_digits import check_of
from registry.histories import History
from registry.journal import JournalOperation, Kind
from registry.log import LocalLog
from registry.offline import LoadPolicy, LoadRow, load_records
from registry.operations import Change, Operation
from registry.outcomes import NOTHING_FOREIGN
from registry.range_steps import RangeStep
from registry.ranges import find_range_of, find_revocation
from registry.replay import replay
from registry.row_past import Moment
from registry.store import Store
from registry.stream_rows import Row, RowKind
from registry.streams import Stream
from registry.verify import verify
from registry.views import View, WriteView
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
    url,
)
from tests.registry.range_builders import document

STEM = "88.118/S"
LAST = 3
TAILS = [f"{number:02d}" for number in range(LAST + 1)]
NAMES = [(STEM + tail).encode() for tail in TAILS]
NAMES += [b"88.118/S1" + check_of("iso7064-mod11-2", b"88.118/S1"), b"88.118/S3X"]

name = st.sampled_from(NAMES)
bounds = st.tuples(st.integers(0, LAST), st.integers(0, LAST)).map(sorted)
CHECKS = st.sampled_from(["none", "none", "none", "gs1", "iso7064-mod11-2"])
registration = st.tuples(st.just("register"), bounds, CHECKS, st.booleans())
shrinking = st.tuples(st.just("shrink"), name, bounds)
range_change = st.one_of(
    shrinking,
    shrinking,
    shrinking,
    st.tuples(st.just("split"), name),
    st.tuples(st.just("split"), name),
    st.tuples(st.just("revoke"), name),
)
row_change = st.one_of(
    st.tuples(st.sampled_from(["create", "delete", "delete", "modify", "add"]), name),
    st.tuples(st.sampled_from(["life.freeze", "life.thaw", "life.revoke"]), name),
)
SINGLE = st.one_of(registration, registration, range_change, range_change, row_change, row_change)
REVOKED = st.sampled_from([False, False, False, True])
loaded = st.tuples(st.just("load"), bounds, st.sampled_from([0, 30, 500, -5]), REVOKED)
streamed = st.tuples(st.just("stream"), st.lists(st.tuples(st.booleans(), bounds), max_size=3))
STEPS = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 1, 400, 1_000, 90_000, -500, -200_000]),  # ms
        st.one_of(
            st.lists(SINGLE, min_size=1, max_size=1),
            st.lists(SINGLE, min_size=1, max_size=5),  # of one frame
            st.tuples(st.one_of(loaded, streamed)),
        ),
    ),
    min_size=8,
    max_size=24,
)
ROW = [("create", NAMES[0])]
WHOLE = [("register", [0, LAST], "none", False)]

# Each is what a mistake that was made, or could be, takes to be seen.
GONE_AND_BACK = [
    (0, [("delete", NAMES[2])]),
    (0, [("shrink", NAMES[0], [0, 1])]),
    (1_000, [("register", [2, 3], "none", False)]),
]
ANOTHER_OVER_IT = [
    (0, [("shrink", NAMES[0], [0, 2])]),
    (0, [("shrink", NAMES[0], [0, 0])]),
    (0, [("register", [1, 3], "none", False)]),
    (0, [("shrink", NAMES[1], [0, 0])]),
]
BESIDE = [
    (
        0,
        [
            ("register", [0, 1], "none", True),
            ("register", [2, 3], "none", True),
            ("shrink", NAMES[2], [1, 1]),
        ],
    )
]
State = tuple[str, tuple[HandleValue, ...]]


@dataclass
class Model:
    """What each identifier was after every frame; None: it was not there."""

    store: Store
    states: list[dict[bytes, State | None]] = field(default_factory=list)
    answered: list[dict[bytes, bool]] = field(default_factory=list)

    def observe(self) -> None:
        """Remember what is so now, if a frame was written."""
        with self.store.read() as view:
            while len(self.states) <= view.head().seq:
                self.states.append({name: state_of(view, name) for name in NAMES})
                self.answered.append({name: _has_answer(view, name) for name in NAMES})


def state_of(view: View, name: bytes) -> State | None:
    mark, record = view.find_mark(name), view.find_record(name)
    if mark is not None and mark.state.name != "DELETED":
        return mark.state.name.lower(), record.values if record else ()
    if record is not None:
        return "active", record.values
    return ("revoked", ()) if find_revocation(view, name) else None


def _has_answer(view: View, name: bytes) -> bool:
    mark = view.find_mark(name)
    is_revoked = mark is not None and mark.state.name == "REVOKED"
    return is_revoked or view.find_record(name) is not None


class Writer:
    """What is done in one frame: decided and made one after the other, then journaled at once."""

    def __init__(self, view: WriteView, now_ms: int) -> None:
        self._view = view
        self._now_ms = now_ms
        self._entries: list[JournalOperation] = []

    def perform(self, what: tuple[Any, ...], number: int) -> None:
        kind, *arguments = what
        if kind == "register":
            (low, high), check, keep = arguments
            self._act("ranges.register", **range_document(low, high, number, check, keep=keep))
        elif kind == "shrink":
            self._shrink(*arguments)
        elif kind in ("split", "revoke"):
            reason = {"reason": f"why {number}", "existing": "keep"} if kind == "revoke" else {}
            self._act(f"ranges.{kind}", identifier=arguments[0], **reason)
        elif kind.startswith("life."):
            self._act(kind, handle=arguments[0].decode(), reason="why")
        else:
            self._operate(operation(kind, arguments[0], number))

    def _shrink(self, identifier: bytes, bounds: list[int]) -> None:
        """Shrink the range around an identifier, if there is one, to some part of it."""
        range_ = find_range_of(self._view, identifier)
        if range_ is None:
            return
        low, size = range_.span.low, range_.span.size
        first, last = sorted(low + each % size for each in bounds)
        width = range_.span.digits
        serials = {"first": f"{first:0{width}d}", "last": f"{last:0{width}d}"}
        self._act("ranges.shrink", identifier=identifier, existing="keep", **serials)

    def _act(self, name: str, **parameters: Any) -> None:
        outcome = decide_act(
            self._view, Act(name, parameters), ADMIN, NOTHING_FOREIGN, POLICY, self._now_ms
        )
        if isinstance(outcome, Done) and outcome.operations:
            replay(self._view, outcome.operations)
            self._entries += outcome.operations

    def _operate(self, asked: Operation) -> None:
        now_s = self._now_ms // 1_000
        outcome = decide(self._view, asked, ADMIN, NOTHING_FOREIGN, POLICY, now_s)
        if isinstance(outcome, Change):
            self._entries += apply(self._view, outcome, ADMIN, now_s)

    def close(self) -> None:
        if self._entries:
            LocalLog(self._view).append_operations(self._entries, self._now_ms)


def operation(kind: str, name: bytes, number: int) -> Operation:
    value = url(1, b"own %d" % number)
    if kind == "delete":
        return delete(name)
    if kind == "add":
        return add(name, url(7, b"added %d" % number), overwrite=True)
    return create(name, value) if kind == "create" else modify(name, value)


def range_document(
    low: int, high: int, number: int, check: str = "none", *, keep: bool = False
) -> dict[str, Any]:
    """Return a range of two digits; with a check character, of one."""
    form = {"index": 1, "type": "URL", "data": f"{number} {{serial}}"}
    others = {"existing": "keep" if keep else "refuse", "check": check}
    width = 2 if check == "none" else 1
    first, last = (f"{min(each, 10**width - 1):0{width}d}" for each in (low, high))
    return document(STEM, first, last, form, **others)


def carry_out(store: Store, what: Any, now_ms: int, number: int) -> None:
    if what[0][0] == "load":
        _, (low, high), age_s, is_revoked = what[0]
        loaded_range(store, low, high, age_s, is_revoked=is_revoked, now_ms=now_ms, number=number)
    elif what[0][0] == "stream":
        streamed_rows(store, what[0][1], now_ms, number)
    else:
        with store.write() as view:
            writer = Writer(view, now_ms)
            for position, each in enumerate(what):
                writer.perform(each, 10 * number + position)
            writer.close()


def loaded_range(
    store: Store, low: int, high: int, age_s: int, *, is_revoked: bool, now_ms: int, number: int
) -> None:
    now_s = now_ms // 1_000
    stated = range_document(low, high, number, keep=True)
    stated["registered"] = _text(now_s - age_s)
    if is_revoked:
        stated |= {"state": "revoked", "revoked": _text(now_s - age_s), "reason": "loaded"}
    row = LoadRow(1, b"88.118/S", (), RowKind.RANGE, stated)
    gone = LoadRow(2, NAMES[low], (), RowKind.DELETE, {"operation": "delete"})
    list(load_records(store, [row, gone], policy=LoadPolicy.REFUSE, now_s=lambda: now_s))


def _text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def streamed_rows(
    store: Store, what: list[tuple[bool, list[int]]], now_ms: int, number: int
) -> None:
    rows = []
    for is_range, (low, high) in what:
        if is_range:
            octets = msgpack.packb(range_document(low, high, number, keep=True))
            rows.append(Row(RowKind.RANGE, NAMES[low], octets, bytes(32)))
        else:
            octets = encode_values([HandleValue(1, b"URL", b"row", timestamp=now_ms // 1_000)])
            kind = RowKind.REPLACE if high % 2 else RowKind.PLAIN
            rows.append(Row(kind, NAMES[low], octets, bytes(32)))
    if not rows:
        return
    with store.write() as view:
        stream = Stream(ADMIN, b"lot %d" % number, 1)
        register_rows(view, stream, 1, rows, foreign=NOTHING_FOREIGN, policy=POLICY, now_ms=now_ms)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from([ROW, WHOLE]), STEPS)
@example(WHOLE, GONE_AND_BACK)
@example(WHOLE, ANOTHER_OVER_IT)
@example(ROW, [(0, [("delete", NAMES[0]), *WHOLE])])
@example(ROW, [(0, [*WHOLE, ("delete", NAMES[0])])])
@example(ROW, BESIDE)
def test_any_past_in_ranges_is_told_as_it_was(
    first: list[tuple[Any, ...]], steps: list[tuple[int, Any]]
) -> None:
    with tempfile.TemporaryDirectory() as place:
        with open_store(Path(place)) as store:
            home = [on_handle(OpCode.HOME_NA, prefix) for prefix in (b"0.NA/0.NA", PREFIX)]
            perform(store, *home, create(PREFIX, admin_value()), identity=ROOT, now_s=NOW_S)
            model = Model(store)
            model.observe()
            now_ms = NOW_S * 1_000
            for number, (step_ms, what) in enumerate([(0, first), *steps]):
                now_ms += step_ms
                carry_out(store, what, now_ms, number)
                model.observe()
            with store.read() as view:
                for name in NAMES:
                    compare(view, model, name)
        assert verify(Path(place)).problems == []


def compare(view: View, model: Model, name: bytes) -> None:
    head = view.head().seq
    for seq in range(head + 1):
        assert summary(History(view, name).at(seq)) == model.states[seq][name], (name, seq)
    history = History(view, name)
    told = list(history.changes(0))
    assert history.is_whole
    assert [change.seq for change in told] == sorted({change.seq for change in told})
    after = {change.seq: change for change in told}
    for seq in range(1, head + 1):
        before, now = model.states[seq - 1][name], model.states[seq][name]
        change = after.get(seq)
        if change is None:
            assert before == now, (name, seq)
            continue
        assert change.was_there == model.answered[seq - 1][name], (name, seq)
        last = change.deeds()[-1]
        is_marked = isinstance(last, JournalOperation) and last.kind == Kind.MARK
        is_kept = isinstance(last, RangeStep) and last.kept
        if now is not None and not (is_marked or is_kept):
            assert last.values == now[1], (name, seq)
    for cut in range(head + 1):  # any page begins where the one before ended
        assert list(History(view, name).changes(cut)) == [
            change for change in told if change.seq > cut
        ], (name, cut)


def summary(moment: Moment | None) -> State | None:
    assert moment is not None
    return (moment.state, moment.values) if moment.is_there else None
