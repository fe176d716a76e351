"""Whatever is done, and wherever a mirror breaks off, it ends with what its primary answers."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.bodies import HandleRequest
from protocol.codes import OpCode
from protocol.replication import DumpRecord, LogEnd, LogRecord
from protocol.replication_stream import dump_decoder, log_decoder
from registry.admin import Operation
from registry.follow_states import FollowState
from registry.following import Named, end_dump, note_named, sweep, take_dump, take_log
from registry.log import LocalLog
from registry.mirror_plans import DumpPlan, LogPlan, Share, needs_redump
from registry.mirror_streams import DumpStream, LogStream
from registry.store import Store
from registry.views import View
from tests.registry.builders import NOW_S, ROOT, add, create, delete, open_store, perform, url
from tests.registry.lives import act
from tests.registry.template_builders import ALL, made_row, register, seed, send

NOW_MS = NOW_S * 1_000
WHOLE = Share(2, 1, 0)
HANDLES = [b"88.118/%d" % number for number in range(4)]
HOMED = [b"0.NA/77", b"0.NA/88.118.5"]
ACTS = ["life.freeze", "life.thaw", "life.revoke"]

CHANGES = st.one_of(
    st.tuples(st.just("create"), st.sampled_from(HANDLES), st.integers(1, 3)),
    st.tuples(st.just("overwrite"), st.sampled_from(HANDLES), st.integers(1, 3)),
    st.tuples(st.just("add"), st.sampled_from(HANDLES), st.integers(4, 6)),
    st.tuples(st.just("delete"), st.sampled_from(HANDLES), st.just(0)),
    st.tuples(st.just("home"), st.sampled_from(HOMED), st.booleans()),
    st.tuples(st.just("act"), st.sampled_from(HANDLES), st.sampled_from(ACTS)),
    st.tuples(st.just("template"), st.sampled_from(HANDLES), st.integers(0, 9)),
    st.tuples(st.just("trim"), st.just(b""), st.just(0)),
    # The mirror asks, and is cut off behind so many records.
    st.tuples(st.just("follow"), st.just(b""), st.none() | st.integers(0, 5)),
)


def change(store: Store, verb: str, handle: bytes, what: object) -> None:
    """Try one change; many are refused."""
    if verb in ("create", "overwrite"):
        perform(store, create(handle, url(int(str(what))), overwrite=verb == "overwrite"))
    elif verb == "add":
        perform(store, add(handle, url(int(str(what)))))
    elif verb == "delete":
        perform(store, delete(handle))
    elif verb == "home":
        opcode = OpCode.HOME_NA if what else OpCode.UNHOME_NA
        perform(store, Operation(opcode, HandleRequest(handle)), identity=ROOT)
    elif verb == "act":
        act(store, str(what), handle=handle, reason="r")
    elif verb == "template":
        row = made_row(handle, {**ALL, "serial": str(what)})
        send(store, [row], key=handle + str(what).encode())
    else:
        with store.write(journaled=False) as view:
            log = LocalLog(view)
            log.trim(0, log.seal_snapshot(NOW_MS).seq)


class Mirror:
    """A store that is fed as a follower feeds it, one record a transaction."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.state = FollowState("source")

    def follow(self, primary: Store, most: int | None) -> None:
        with primary.read() as view:
            is_lost = needs_redump(view, self.state.transaction_id)
        if not self.state.is_dumped or is_lost:
            self._dump(primary)
        stream = LogStream(primary, LogPlan(WHOLE, self.state.transaction_id), "", NOW_MS)
        records: list[LogRecord] = []
        decoder = log_decoder()
        for piece in stream.pieces():
            records += decoder.take(b"".join(piece))
        assert isinstance(records[-1], LogEnd)
        for record in records[:most]:
            with self.store.write() as view:
                self.state, taken = take_log(view, [record], self.state, NOW_MS)
            assert not taken.faults

    def _dump(self, primary: Store) -> None:
        records: list[DumpRecord] = []
        decoder = dump_decoder()
        stream = DumpStream(primary, DumpPlan(WHOLE), NOW_MS)
        for piece in stream.pieces():
            records += decoder.take(b"".join(piece))
        named, prefixes = Named(), set[bytes]()
        state = FollowState("source", records[0].transaction_id)  # type: ignore[union-attr]
        with self.store.write() as view:
            note_named(view, records, named, prefixes)
            take_dump(view, records, state, NOW_MS)
        named.sort()
        with self.store.write() as view:
            after, _ = sweep(view, b"", named, NOW_MS)
        assert after is None
        with self.store.write() as view:
            self.state = end_dump(view, prefixes, state, NOW_MS)


def shown(view: View) -> tuple[object, object]:
    records = [(handle, record.values) for handle, record in view.records()]
    return records, list(view.homed())


@settings(max_examples=25, deadline=None)
@given(st.lists(CHANGES, min_size=3, max_size=25))
def test_a_mirror_ends_with_what_its_primary_answers(
    changes: list[tuple[str, bytes, object]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        places = [Path(folder) / name for name in ("primary", "mirror")]
        for place in places:
            seed(place)
        with open_store(places[0]) as primary, open_store(places[1]) as copy:
            register(primary)
            mirror = Mirror(copy)
            for verb, handle, what in changes:
                if verb == "follow":
                    mirror.follow(primary, what)  # type: ignore[arg-type]
                else:
                    change(primary, verb, handle, what)
            mirror.follow(primary, None)
            with primary.read() as theirs, copy.read() as ours:
                assert shown(ours) == shown(theirs)
