"""A plain creation makes what deciding and applying would make, or it does nothing."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.bodies import ValuesRequest
from protocol.codes import AdminPermission, OpCode
from protocol.value import HandleValue, Reference, encode_values
from registry.admin import apply, decide
from registry.authorization import Policy
from registry.errors import RecordError
from registry.journal import decode_frame
from registry.operations import Change, Operation
from registry.outcomes import NOTHING_FOREIGN
from registry.plain_creations import PlainCreation
from registry.range_records import RangeRecord, encode_range, range_key
from registry.roles import Role, Roles
from registry.schema import encode_record, folded_key
from registry.views import Databases, WriteView
from resolver.group_commit import GroupCommit, Submitted
from resolver.hot_creations import read_pieces
from tests.registry.builders import ADMIN, NOW_S, ROOT, STRANGER, admin_value, group, hidden, url
from tests.resolver.two_paths import GivenCursor

PREFIX_HANDLES = [b"0.NA/88.118", b"0.NA/88", b"0.NA/99"]
HANDLES = [
    b"88.118/a",
    b"88.118/A",
    b"88.118/b",
    b"88/x",
    b"99/x",
    "88.118/\N{LATIN SMALL LETTER E WITH ACUTE}".encode(),
    b"88.118/" + b"l" * 600,
    b"0.NA/88.118",
    b"0.NA/88.118.5",
    b"88.118",
    b"88.118/LOT.3",
    b"88.118/LOT.7",
]
RANGES = {
    range_key(b"88.118/LOT.", b"4"): encode_range(RangeRecord(b"0", encode_values([url()]))),
}
GROUP = Reference(b"88.118/GROUP", 200)
IDENTITIES = [ADMIN, ROOT, STRANGER, Reference(ADMIN.handle, 0), Reference(b"88.119/AFAR", 300)]
BITS = [AdminPermission.ALL, AdminPermission.ADD_HANDLE, AdminPermission.DELETE_HANDLE]
ADMINS = st.builds(
    admin_value,
    st.sampled_from([*IDENTITIES, GROUP]),
    st.sampled_from([int(bits) for bits in BITS]),
    st.sampled_from([100, 101]),
)
VALUES = st.lists(
    st.one_of(ADMINS, st.just(url()), st.just(hidden(2)), st.just(group(200, ADMIN, STRANGER))),
    max_size=3,
    unique_by=lambda value: value.index,
)
BODY = (
    b'[{"index":1,"type":"URL","data":{"format":"string","value":"https://example.com/"}},'
    b'{"index":7,"type":"TEXT","ttl":5,"data":{"format":"string","value":"\xc3\xa9"}}]'
)
PLAIN = (
    HandleValue(1, b"URL", b"https://example.com/"),
    HandleValue(7, b"TEXT", b"\xc3\xa9", ttl=5),
)


class Memory:
    """A transaction over dictionaries, as far as creations and changes need one."""

    def __init__(self, handles: Mapping[bytes, bytes], homed: frozenset[bytes]) -> None:
        self.databases: dict[str, dict[bytes, bytes]] = {name: {} for name in Databases._fields}
        self.databases["handles"].update(handles)
        self.databases["prefixes"].update((prefix, prefix) for prefix in homed)
        self.databases["ranges"].update(RANGES)

    def cursor(self, db: str = "") -> GivenCursor:
        return GivenCursor(self.databases[db])

    def get(self, key: bytes, default: None = None, db: str = "") -> bytes | None:
        return self.databases[db].get(key)

    def put(self, key: bytes, value: bytes, *, overwrite: bool = True, db: str = "") -> bool:
        if not overwrite and key in self.databases[db]:
            return False
        self.databases[db][key] = value
        return True

    def delete(self, key: bytes, *, db: str = "") -> bool:
        return self.databases[db].pop(key, None) is not None


class MemoryStore:
    """A store of one such transaction."""

    def __init__(self, memory: Memory, *, case_sensitive: bool) -> None:
        self.memory = memory
        self.case_sensitive = case_sensitive

    @contextmanager
    def write(self) -> Iterator[WriteView]:
        names = Databases(*Databases._fields)
        yield WriteView(cast("Any", self.memory), names, case_sensitive=self.case_sensitive)

    @property
    def handles(self) -> dict[bytes, bytes]:
        return self.memory.databases["handles"]

    @property
    def journal(self) -> list[Any]:
        frames = self.memory.databases["journal"].values()
        return [operation for frame in frames for operation in decode_frame(frame).operations]


@st.composite
def rows(draw: st.DrawFn, *, case_sensitive: bool) -> dict[bytes, bytes]:
    made = {}
    names = st.sampled_from([*PREFIX_HANDLES, *HANDLES, GROUP.handle])
    drawn = {PREFIX_HANDLES[0]: [admin_value()]} | draw(st.dictionaries(names, VALUES, max_size=3))
    memory = MemoryStore(Memory({}, frozenset()), case_sensitive=case_sensitive)
    with memory.write() as view:
        for handle, values in drawn.items():
            folded = view.fold(handle)
            made[folded_key(folded)] = encode_record(values, folded)
    if draw(st.integers(0, 4)) == 0:
        made[draw(st.sampled_from(sorted(made)))] = b"\x7f damaged"
    return made


OPERATIONS = st.one_of(
    st.sampled_from(HANDLES[:3]),
    st.sampled_from(HANDLES),
    st.builds(
        lambda handle, values: Operation(
            OpCode.CREATE_HANDLE, ValuesRequest(handle, tuple(values)), overwrite=True
        ),
        st.sampled_from([*PREFIX_HANDLES, GROUP.handle]),
        VALUES,
    ),
)


def operation_of(asked: bytes | Operation) -> Operation:
    if isinstance(asked, Operation):
        return asked
    return Operation(OpCode.CREATE_HANDLE, ValuesRequest(asked, PLAIN))


def plain_of(asked: bytes | Operation) -> Operation | PlainCreation:
    if isinstance(asked, Operation):
        return asked
    pieces = read_pieces(BODY, b"88.118/A")
    assert pieces is not None
    return PlainCreation(asked, pieces)


@settings(deadline=None)
@given(st.data(), st.booleans(), st.booleans())
def test_what_is_made_is_what_would_have_been_made(
    data: st.DataObject, case_sensitive: bool, allow_na_admins: bool
) -> None:
    handles = data.draw(rows(case_sensitive=case_sensitive))
    homed = data.draw(st.frozensets(st.sampled_from([b"0.NA/0.NA", *PREFIX_HANDLES])))
    holders = tuple(data.draw(st.lists(st.sampled_from([ROOT, GROUP]), max_size=2)))
    policy = Policy(Roles({Role.ADMINISTRATOR: holders}), allow_na_admins)
    asked = data.draw(
        st.lists(st.tuples(OPERATIONS, st.sampled_from(IDENTITIES)), min_size=1, max_size=6)
    )
    short = MemoryStore(Memory(handles, homed), case_sensitive=case_sensitive)
    whole = MemoryStore(Memory(handles, homed), case_sensitive=case_sensitive)
    commit = GroupCommit(cast("Any", short), policy, now_s=lambda: NOW_S)
    journal = []
    with whole.write() as view:
        for what, identity in asked:
            try:
                outcome = decide(view, operation_of(what), identity, NOTHING_FOREIGN, policy, NOW_S)
            except RecordError:
                if isinstance(what, Operation):
                    return  # a batch of one each: nothing to compare
                outcome = None
            batch = [Submitted(plain_of(what), identity, NOTHING_FOREIGN, 0, cast("Any", None))]
            (made,) = commit.commit(batch)
            if made is False:
                continue
            assert isinstance(outcome, Change) == (made is True or isinstance(made, Change))
            if isinstance(outcome, Change):
                journal += apply(view, outcome, identity, NOW_S)
    assert short.handles == whole.handles
    assert short.journal == journal


@settings(deadline=None)
@given(st.data())
def test_a_batch_knows_what_changed_within_it(data: st.DataObject) -> None:
    handles = data.draw(
        rows(case_sensitive=False).filter(lambda made: b"\x7f damaged" not in made.values())
    )
    homed = frozenset({b"0.NA/0.NA", b"0.NA/88.118"})
    policy = Policy(Roles({Role.ADMINISTRATOR: (ROOT,)}))
    asked = data.draw(
        st.lists(st.tuples(OPERATIONS, st.sampled_from(IDENTITIES)), min_size=2, max_size=8)
    )
    short = MemoryStore(Memory(handles, homed), case_sensitive=False)
    whole = MemoryStore(Memory(handles, homed), case_sensitive=False)
    commit = GroupCommit(cast("Any", short), policy, now_s=lambda: NOW_S)
    batch = [
        Submitted(plain_of(what), identity, NOTHING_FOREIGN, 0, cast("Any", None))
        for what, identity in asked
    ]
    outcomes = commit.commit(batch)
    journal = []
    with whole.write() as view:
        for (what, identity), made in zip(asked, outcomes, strict=True):
            if made is False:
                continue
            outcome = decide(view, operation_of(what), identity, NOTHING_FOREIGN, policy, NOW_S)
            assert isinstance(outcome, Change) == (made is True or isinstance(made, Change))
            if isinstance(outcome, Change):
                journal += apply(view, outcome, identity, NOW_S)
    assert short.handles == whole.handles
    assert short.journal == journal
