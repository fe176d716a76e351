"""The matrix: who somebody is to a handle, times what he asks for."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from protocol.codes import AdminPermission, OpCode, Permission, ResponseCode
from protocol.value import HandleValue, Reference
from registry.admin import Operation
from registry.answers import Answer, Question, resolve
from registry.authorization import (
    GROUP_DEPTH_MAX,
    GROUP_FOREIGN_HANDLES_MAX,
    Permitted,
    Policy,
    administrators,
    authorize,
)
from registry.knowledge import Knowledge
from registry.operations import Change, Listing, Outcome
from registry.outcomes import Foreign, Need, NeedAuthentication, Refusal, Unavailable, foreign_key
from registry.roles import Role, Roles, matches_identity
from registry.schema import Record
from registry.store import Store
from tests.registry.builders import (
    ADMIN,
    HANDLE,
    POLICY,
    PREFIX,
    ROOT,
    STRANGER,
    add,
    admin_value,
    create,
    decided,
    delete,
    group,
    modify,
    on_handle,
    put,
    remove,
    url,
)

MEMBER = Reference(b"88.118/MEMBER", 301)
GROUPS = b"88.118/GROUPS"
OPERATOR = Reference(b"88.118/OPERATOR", 300)

# Who: the administrator that HS_ADMIN names, and who asks.
WAYS: dict[str, tuple[Reference, Reference, bool]] = {
    "direct": (MEMBER, MEMBER, True),
    "other index": (MEMBER, MEMBER._replace(index=302), False),
    "other case of the prefix": (Reference(b"0.na/88.118", 300), ADMIN, True),
    "other case of the suffix": (Reference(b"88.118/member", 301), MEMBER, False),
    "index 0 is any": (MEMBER._replace(index=0), MEMBER, True),
    "identity of index 0": (MEMBER, MEMBER._replace(index=0), False),
    "index 0 twice": (MEMBER._replace(index=0), MEMBER._replace(index=0), True),
    "group": (Reference(GROUPS, 1), MEMBER, True),
    "nested group": (Reference(GROUPS, 2), MEMBER, True),
    "looping group with the member": (Reference(GROUPS, 3), MEMBER, True),
    "looping group without": (Reference(GROUPS, 5), MEMBER, False),
    "index 0 is no group": (Reference(GROUPS, 0), MEMBER, False),
    "not a group": (Reference(GROUPS, 9), MEMBER, False),
    "damaged group": (Reference(GROUPS, 7), MEMBER, False),
    "group that lists index 0": (Reference(GROUPS, 8), MEMBER, True),
    "node's administrator": (MEMBER, ROOT, True),
    "stranger": (MEMBER, STRANGER, False),
    "stranger and a group": (Reference(GROUPS, 2), STRANGER, False),
}

GROUP_VALUES = [
    group(1, STRANGER._replace(index=7), MEMBER),
    group(2, Reference(GROUPS, 1)),
    group(3, Reference(GROUPS, 4), Reference(GROUPS, 1)),
    group(4, Reference(GROUPS, 3)),
    group(5, Reference(GROUPS, 6), Reference(GROUPS, 5)),
    group(6, Reference(GROUPS, 5)),
    HandleValue(7, b"HS_VLIST", b"\0\0\0\7"),
    group(8, MEMBER._replace(index=0)),
    url(9),
]

# What: the operation, whose HS_ADMIN it looks at, and the permission it takes.
OPERATIONS: dict[str, tuple[Callable[[], Operation], bytes, int]] = {
    "create": (lambda: create(b"88.118/NEW", url()), PREFIX, AdminPermission.ADD_HANDLE),
    "create prefix": (
        lambda: create(b"0.NA/88.118.9", url()),
        PREFIX,
        AdminPermission.ADD_DERIVED_PREFIX,
    ),
    "delete": (lambda: delete(HANDLE), HANDLE, AdminPermission.DELETE_HANDLE),
    "add": (lambda: add(HANDLE, url(7)), HANDLE, AdminPermission.ADD_VALUE),
    "add admin": (lambda: add(HANDLE, admin_value(index=7)), HANDLE, AdminPermission.ADD_ADMIN),
    "remove": (lambda: remove(HANDLE, 1), HANDLE, AdminPermission.REMOVE_VALUE),
    "remove admin": (lambda: remove(HANDLE, 100), HANDLE, AdminPermission.REMOVE_ADMIN),
    "modify": (lambda: modify(HANDLE, url(1, b"new")), HANDLE, AdminPermission.MODIFY_VALUE),
    "modify admin": (
        lambda: modify(HANDLE, admin_value(ROOT)),
        HANDLE,
        AdminPermission.MODIFY_ADMIN,
    ),
    "to admin": (
        lambda: modify(HANDLE, admin_value(ROOT, index=1)),
        HANDLE,
        AdminPermission.MODIFY_VALUE | AdminPermission.ADD_ADMIN,
    ),
    "from admin": (
        lambda: modify(HANDLE, url(100)),
        HANDLE,
        AdminPermission.MODIFY_VALUE | AdminPermission.REMOVE_ADMIN,
    ),
    "add and add admin": (
        lambda: add(HANDLE, url(7), admin_value(index=8)),
        HANDLE,
        AdminPermission.ADD_VALUE | AdminPermission.ADD_ADMIN,
    ),
    "list": (
        lambda: on_handle(OpCode.LIST_HANDLES, PREFIX),
        PREFIX,
        AdminPermission.LIST_HANDLES,
    ),
}


def administer(store: Store, handle: bytes, *admins: HandleValue) -> None:
    """Let HS_ADMIN values administer a handle; the others are the prefix's administrator's."""
    records: dict[bytes, Sequence[HandleValue]] = {
        PREFIX: [admin_value(STRANGER._replace(index=99)), url()],
        HANDLE: [url(), admin_value(STRANGER._replace(index=99))],
        GROUPS: GROUP_VALUES,
    }
    records[handle] = [url(), *admins]
    put(store, records)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("way", WAYS)
def test_who_may_do_what(store: Store, way: str, operation: str) -> None:
    admin, identity, permitted = WAYS[way]
    make, handle, needed = OPERATIONS[operation]
    administer(store, handle, admin_value(admin, needed))
    outcome = decided(store, make(), identity)
    if permitted:
        assert isinstance(outcome, Change | Listing)
    else:
        assert isinstance(outcome, Refusal)
        assert outcome.response_code == ResponseCode.INVALID_ADMIN


def allowed(store: Store, operation: str, identity: Reference | None) -> bool:
    """Say whether an operation, or reading what is not public, is permitted."""
    if operation == "read":
        question = Question(HANDLE, public_only=False)
        with store.read() as view:
            answer = resolve(view, question, identity=identity, policy=POLICY)
        assert isinstance(answer, Answer)
        assert answer.response_code in (
            (ResponseCode.SUCCESS, ResponseCode.INVALID_ADMIN)
            if identity is not None
            else (ResponseCode.AUTHENTICATION_NEEDED,)
        )
        return answer.response_code == ResponseCode.SUCCESS
    outcome = decided(store, OPERATIONS[operation][0](), identity)
    assert isinstance(outcome, Change | Listing | Refusal | NeedAuthentication)
    if isinstance(outcome, Refusal):
        assert outcome.response_code == ResponseCode.INVALID_ADMIN
    return isinstance(outcome, Change | Listing)


@pytest.mark.parametrize("operation", [*OPERATIONS, "read"])
def test_every_permission_bit_of_everybody(store: Store, operation: str) -> None:
    """Operation x permission bits x who: each bit alone, all but each, all, none, all needed."""
    handle, needed = (
        (HANDLE, AdminPermission.READ_VALUE) if operation == "read" else OPERATIONS[operation][1:]
    )
    bits = [1 << bit for bit in range(12)]
    masks = {0, AdminPermission.ALL, needed, *bits, *(AdminPermission.ALL & ~bit for bit in bits)}
    hidden = replace(url(50), permission=Permission.ADMIN_READ | Permission.ADMIN_WRITE)
    wrong = []
    for way, (admin, identity, is_his) in WAYS.items():
        for mask in sorted(masks):
            administer(store, handle, admin_value(admin, mask), hidden)
            assert not allowed(store, operation, None), "nobody is asked who he is"
            has_all = mask & needed == needed
            expected = identity == ROOT or (is_his and has_all)
            if allowed(store, operation, identity) != expected:
                wrong.append((way, f"{mask:03x}", expected))
    assert wrong == []


def test_the_bits_are_needed_in_one_value(store: Store) -> None:
    both = AdminPermission.MODIFY_VALUE, AdminPermission.ADD_ADMIN
    administer(store, HANDLE, admin_value(MEMBER, both[0]), admin_value(MEMBER, both[1], 101))
    assert isinstance(decided(store, modify(HANDLE, admin_value(index=1)), MEMBER), Refusal)


def test_a_handle_without_administrators_is_its_prefixs(store: Store) -> None:
    put(store, {HANDLE: [url()]})
    assert isinstance(decided(store, delete(HANDLE), ADMIN), Change)
    assert isinstance(decided(store, delete(HANDLE), STRANGER), Refusal)
    own = Policy(POLICY.roles, allow_na_admins=False)
    assert isinstance(decided(store, delete(HANDLE), ADMIN, policy=own), Refusal)
    assert isinstance(decided(store, delete(HANDLE), ROOT, policy=own), Change)


def test_a_prefix_without_administrators_is_not_its_parents(store: Store) -> None:
    root = Reference(b"0.NA/0.NA", 300)
    put(store, {PREFIX: [url()]})
    nobody = Policy()
    assert isinstance(decided(store, delete(PREFIX), root, policy=nobody), Refusal)


def test_prefix_administrators_may_be_shut_out(store: Store) -> None:
    own = Policy(POLICY.roles, allow_na_admins=False)
    assert isinstance(decided(store, create(b"88.118/NEW", url()), ADMIN, policy=own), Refusal)
    assert isinstance(decided(store, create(b"88.118/NEW", url()), ROOT, policy=own), Change)
    list_ = on_handle(OpCode.LIST_HANDLES, PREFIX)
    assert isinstance(decided(store, list_, ADMIN, policy=own), Refusal)
    assert isinstance(decided(store, list_, ROOT, policy=own), Listing)


def test_an_operator_lists_and_changes_nothing(store: Store) -> None:
    policy = Policy(Roles({Role.OPERATOR: (OPERATOR,)}))
    for opcode, handle in ((OpCode.LIST_HANDLES, PREFIX), (OpCode.LIST_HOMED_NAS, b"0.NA/0.NA")):
        assert isinstance(
            decided(store, on_handle(opcode, handle), OPERATOR, policy=policy), Listing
        )
    for operation in (
        on_handle(OpCode.HOME_NA, b"0.NA/9"),
        on_handle(OpCode.UNHOME_NA, PREFIX),
        create(b"88.118/NEW", url()),
        delete(PREFIX),
    ):
        assert isinstance(decided(store, operation, OPERATOR, policy=policy), Refusal)


def test_a_role_may_be_held_by_a_group(store: Store) -> None:
    put(store, {GROUPS: GROUP_VALUES})
    policy = Policy(Roles({Role.ADMINISTRATOR: (Reference(GROUPS, 2),)}))
    home = on_handle(OpCode.HOME_NA, b"0.NA/9")
    assert isinstance(decided(store, home, MEMBER, policy=policy), Change)
    assert isinstance(decided(store, home, STRANGER, policy=policy), Refusal)


FOREIGN_GROUP = Reference(b"99/Group", 5)
FOREIGN_KEY = b"99/Group"


def foreign_record(*values: HandleValue) -> Foreign:
    return {FOREIGN_KEY: Record(values)}


def test_a_foreign_group_is_asked_for(store: Store) -> None:
    administer(store, HANDLE, admin_value(FOREIGN_GROUP))
    assert decided(store, delete(HANDLE), MEMBER) == Need(frozenset({FOREIGN_KEY}))
    known = foreign_record(group(5, MEMBER))
    assert isinstance(decided(store, delete(HANDLE), MEMBER, known), Change)
    assert isinstance(decided(store, delete(HANDLE), STRANGER, known), Refusal)


def test_a_foreign_group_is_not_asked_for_when_it_does_not_matter(store: Store) -> None:
    administer(store, HANDLE, admin_value(FOREIGN_GROUP), admin_value(MEMBER, index=101))
    assert isinstance(decided(store, delete(HANDLE), MEMBER), Change)
    assert isinstance(decided(store, delete(HANDLE), ROOT), Change)


def test_foreign_groups_lead_on(store: Store) -> None:
    administer(store, HANDLE, admin_value(FOREIGN_GROUP))
    known = foreign_record(group(5, Reference(b"98/A", 1), Reference(b"98/B", 1)))
    assert decided(store, delete(HANDLE), MEMBER, known) == Need(frozenset({b"98/A", b"98/B"}))


def test_a_role_and_a_record_are_two_ways_in(store: Store) -> None:
    roles = Roles({Role.ADMINISTRATOR: (FOREIGN_GROUP,)})
    administer(
        store, HANDLE, admin_value(Reference(b"98/Other", 1)), admin_value(OPERATOR, index=101)
    )

    def outcome_for(identity: Reference, foreign: Foreign) -> Outcome:
        return decided(store, delete(HANDLE), identity, foreign, Policy(roles))

    assert isinstance(outcome_for(OPERATOR, {}), Change)
    assert outcome_for(MEMBER, {}) == Need(frozenset({FOREIGN_KEY, b"98/Other"}))
    assert outcome_for(MEMBER, {b"98/Other": None}) == Need(frozenset({FOREIGN_KEY}))
    assert outcome_for(MEMBER, {FOREIGN_KEY: None}) == Need(frozenset({b"98/Other"}))
    listed = Record((group(5, MEMBER),))
    gone = Unavailable("192.0.2.7 did not answer")
    assert isinstance(outcome_for(MEMBER, {FOREIGN_KEY: listed}), Change)
    assert isinstance(outcome_for(MEMBER, {FOREIGN_KEY: listed, b"98/Other": gone}), Change)
    refused = outcome_for(MEMBER, {FOREIGN_KEY: gone, b"98/Other": gone})
    assert isinstance(refused, Refusal)
    for name in (b"99/Group", b"98/Other"):
        assert name + b" could not be fetched: 192.0.2.7 did not answer" in refused.message


def test_an_unreachable_group_is_named(store: Store) -> None:
    administer(store, HANDLE, admin_value(FOREIGN_GROUP))
    outcome = decided(
        store, delete(HANDLE), MEMBER, {FOREIGN_KEY: Unavailable("192.0.2.7 did not answer")}
    )
    assert isinstance(outcome, Refusal)
    assert outcome.response_code == ResponseCode.INVALID_ADMIN
    assert b"99/Group" in outcome.message
    assert b"192.0.2.7 did not answer" in outcome.message


def test_a_foreign_group_that_does_not_exist_has_no_members(store: Store) -> None:
    administer(store, HANDLE, admin_value(FOREIGN_GROUP))
    outcome = decided(store, delete(HANDLE), MEMBER, {FOREIGN_KEY: None})
    assert isinstance(outcome, Refusal)


def test_foreign_names_keep_the_case_of_their_suffix() -> None:
    assert foreign_key(b"ab/Key") == b"AB/Key"
    assert foreign_key(b"0.na/key") == b"0.NA/KEY"


def test_groups_are_followed_to_a_depth(store: Store) -> None:
    chain = [group(i, Reference(GROUPS, i + 1)) for i in range(1, GROUP_DEPTH_MAX + 5)]
    for last, permitted in ((GROUP_DEPTH_MAX, True), (GROUP_DEPTH_MAX + 1, False)):
        values = [*chain[: last - 1], group(last, MEMBER)]
        put(store, {GROUPS: values})
        with store.read() as view:
            verdict = authorize(Knowledge(view), MEMBER, [Reference(GROUPS, 1)])
        assert isinstance(verdict, Permitted) == permitted


def test_only_so_many_foreign_handles_are_asked_for(store: Store) -> None:
    admins = [Reference(b"99/%d" % i, 1) for i in range(GROUP_FOREIGN_HANDLES_MAX + 10)]
    with store.read() as view:
        verdict = authorize(Knowledge(view), MEMBER, admins)
    assert isinstance(verdict, Need)
    assert len(verdict.handles) == GROUP_FOREIGN_HANDLES_MAX


def test_only_so_many_members_are_compared(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.authorization.GROUP_MEMBERS_MAX", 5)
    put(store, {GROUPS: [group(1, *[STRANGER] * 5, MEMBER), group(2, *[STRANGER] * 4, MEMBER)]})
    with store.read() as view:
        knowledge = Knowledge(view)
        assert isinstance(authorize(knowledge, MEMBER, [Reference(GROUPS, 1)]), Refusal)
        assert isinstance(authorize(knowledge, MEMBER, [Reference(GROUPS, 2)]), Permitted)


def test_a_damaged_administrator_grants_nothing() -> None:
    damaged = HandleValue(100, b"HS_ADMIN", b"\x0f\xff\0\0\0\x7f")
    record = Record((damaged, admin_value(MEMBER, index=101)))
    assert administrators(record, AdminPermission.DELETE_HANDLE) == [MEMBER]
    assert administrators(None, 0) == []


def test_an_administrator_type_in_another_case_is_none() -> None:
    value = admin_value(MEMBER)
    lower = HandleValue(value.index, b"hs_admin", value.data)
    assert administrators(Record((lower,)), 0) == []


@pytest.mark.parametrize(
    ("named", "identity", "matches"),
    [
        (Reference(b"0.na/AB", 1), Reference(b"0.NA/ab", 1), True),
        (Reference(b"ab", 1), Reference(b"0.NA/AB", 1), True),
        (Reference(b"AB/x", 1), Reference(b"ab/x", 1), True),
        (Reference(b"AB/x", 1), Reference(b"ab/X", 1), False),
        (Reference(b"AB/x", 0), Reference(b"ab/x", 7), True),
        (Reference(b"AB/x", 7), Reference(b"ab/x", 0), False),
    ],
)
def test_how_an_identity_is_matched(named: Reference, identity: Reference, matches: bool) -> None:
    assert matches_identity(named, identity) == matches
