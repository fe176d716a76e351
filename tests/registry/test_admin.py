"""Each operation: the order of checks, the codes, and what it makes of the values."""

from dataclasses import replace
from uuid import UUID

import pytest

from protocol.bodies import CreatedAnswer, Empty, HandleRequest, ValuesRequest
from protocol.codes import AdminPermission, OpCode, ResponseCode
from protocol.types.hs_admin import HsAdmin
from protocol.value import HandleValue, Reference
from registry.admin import Operation, Policy
from registry.journal import ANONYMOUS, Kind, decode_frame
from registry.operations import Change, Listing, Outcome, Referral, Told
from registry.outcomes import Foreign, Need, NeedAuthentication, Refusal, Unavailable
from registry.schema import RECORD_OCTETS_MAX, REFERENCES_MAX, VALUES_MAX, Record
from registry.store import Store
from tests.registry.builders import (
    ADMIN,
    HANDLE,
    NOW_S,
    POLICY,
    PREFIX,
    ROOT,
    STRANGER,
    add,
    admin_value,
    create,
    decided,
    delete,
    hidden,
    modify,
    on_handle,
    perform,
    put,
    remove,
    rows_of,
    site_value,
    url,
    values_of,
)

LATER_S = NOW_S + 60


def code(outcome: Outcome) -> int:
    """Return the response code an outcome is answered with."""
    if isinstance(outcome, Refusal):
        assert outcome.message, "a refusal has words"
        return outcome.response_code
    if isinstance(outcome, NeedAuthentication):
        return ResponseCode.AUTHENTICATION_NEEDED
    assert isinstance(outcome, Change | Listing), outcome
    return ResponseCode.SUCCESS


@pytest.fixture
def stored(store: Store) -> Store:
    """With 88.118/A: values 1 and 2, a read-only 3, a public-write 4, its administrator."""
    values = [url(1), url(2), url(3, permission=0b1010), url(4, permission=0b1111), admin_value()]
    put(store, {HANDLE: values})
    return store


NEW = b"88.118/new"
ELSEWHERE = b"77/A"

# Nobody has proven anything yet: what is answered at once, and what with a challenge.
BEFORE_CHALLENGE: list[tuple[Operation, int]] = [
    (create(ELSEWHERE, url()), 301),
    (delete(ELSEWHERE), 301),
    (add(ELSEWHERE, url()), 301),
    (remove(ELSEWHERE, 1), 301),
    (modify(ELSEWHERE, url()), 301),
    (on_handle(OpCode.LIST_HANDLES, b"0.NA/77"), 301),
    (on_handle(OpCode.LIST_HANDLES, b"88.118/A"), 301),
    (on_handle(OpCode.HOME_NA, b"88.118/A"), 102),
    (create(b"88.118/\xff", url()), 102),
    (create(b"88.118/" + b"x" * 2_048, url()), 102),
    (create(NEW, url(0)), 202),
    (create(NEW, url(-1)), 202),
    (create(NEW, url(1), url(1)), 201),
    (create(HANDLE, url()), 402),
    (create(NEW), 402),
    (delete(NEW), 402),
    (delete(HANDLE), 402),
    (add(HANDLE), 202),
    (add(HANDLE, url(0)), 202),
    (add(HANDLE, url(7), url(7)), 201),
    (add(HANDLE, url(1)), 402),
    (add(NEW, url(1)), 402),
    (remove(HANDLE, 99), 402),
    (remove(NEW, 99), 402),
    (modify(HANDLE, url(99)), 200),
    (modify(NEW, url(1)), 100),
    (modify(HANDLE, url(0)), 200),
    (modify(HANDLE, url(3, b"x")), 401),
    (modify(HANDLE, url(1, b"x")), 402),
    (modify(HANDLE, url(4, b"x")), 1),
    (modify(HANDLE, url(4, b"x"), url(1)), 402),
    (modify(HANDLE), 1),
    (modify(HANDLE, admin_value(STRANGER, index=4)), 402),
    (on_handle(OpCode.LIST_HANDLES, PREFIX), 402),
    (on_handle(OpCode.HOME_NA, b"0.NA/9"), 402),
    (on_handle(OpCode.UNHOME_NA, PREFIX), 402),
    (on_handle(OpCode.LIST_HOMED_NAS, b"0.NA/0.NA"), 402),
    (on_handle(OpCode.BACKUP_SERVER, b"/"), 402),
]


@pytest.mark.parametrize(("operation", "expected"), BEFORE_CHALLENGE)
def test_what_is_said_before_the_challenge(
    stored: Store, operation: Operation, expected: int
) -> None:
    assert code(decided(stored, operation, None)) == expected


# A stranger has answered: existence and conflicts are looked at before his permission.
AFTER_CHALLENGE: list[tuple[Operation, int]] = [
    (create(HANDLE, url()), 101),
    (create(NEW, url()), 400),
    (delete(NEW), 100),
    (delete(HANDLE), 400),
    (add(NEW, url()), 100),
    (add(HANDLE, url(7), url(1)), 201),
    (add(HANDLE, url(7)), 400),
    (remove(NEW, 1), 100),
    (remove(HANDLE, 1, 99), 200),
    (remove(HANDLE, 1), 400),
    (modify(HANDLE, url(1, b"x")), 400),
    (modify(HANDLE, url(3, b"x")), 401),
    (on_handle(OpCode.LIST_HANDLES, PREFIX), 400),
    (on_handle(OpCode.HOME_NA, b"0.NA/9"), 400),
    (on_handle(OpCode.UNHOME_NA, PREFIX), 400),
    (on_handle(OpCode.LIST_HOMED_NAS, b"0.NA/0.NA"), 400),
    (on_handle(OpCode.BACKUP_SERVER, b"/"), 400),
]


@pytest.mark.parametrize(("operation", "expected"), AFTER_CHALLENGE)
def test_what_is_said_to_a_stranger(stored: Store, operation: Operation, expected: int) -> None:
    assert code(decided(stored, operation, STRANGER)) == expected


def test_a_refusal_names_the_value(stored: Store) -> None:
    bad_admin = HandleValue(5, b"HS_ADMIN", b"\0")
    many = tuple(Reference(b"a/b", i) for i in range(REFERENCES_MAX + 1))
    for operation, index in (
        (create(NEW, url(1), replace(url(3), ttl_type=9)), 3),
        (create(NEW, url(1), bad_admin), 5),
        (create(NEW, replace(url(8), references=many)), 8),
        (create(NEW, url(2), url(6), url(6)), 6),
        (add(HANDLE, url(7), url(2)), 2),
        (modify(HANDLE, url(1), url(77)), 77),
        (modify(HANDLE, url(1), url(3, b"x")), 3),
        (remove(HANDLE, 1, 55), 55),
        (create(NEW, url(1), url(4, b"x" * RECORD_OCTETS_MAX)), 4),
    ):
        outcome = decided(stored, operation)
        assert isinstance(outcome, Refusal)
        assert b"value at index %d: " % index in outcome.message


def test_what_the_node_acts_upon_must_make_sense(store: Store) -> None:
    for type_ in (b"HS_ADMIN", b"HS_VLIST", b"HS_SITE", b"HS_SITE.PREFIX"):
        assert code(decided(store, create(NEW, HandleValue(1, type_, b"\1\2\3")))) == 202
    for type_ in (b"HS_PUBKEY", b"X_UNKNOWN", b"hs_admin"):
        assert code(decided(store, create(NEW, HandleValue(1, type_, b"\1\2\3")))) == 1


def test_old_writers_trailing_zeros_are_kept(store: Store) -> None:
    data = HsAdmin(0xFFF, ADMIN, b"\0\0").encode()
    perform(store, create(NEW, HandleValue(100, b"HS_ADMIN", data)))
    values = values_of(store, NEW)
    assert values is not None
    assert values[0].data == data


def test_create_keeps_the_clients_order_and_sets_the_clock(store: Store) -> None:
    outcomes = perform(store, create(NEW, url(9), url(2), hidden(5)), now_s=LATER_S)
    assert isinstance(outcomes[0], Change)
    assert outcomes[0].body == CreatedAnswer(NEW)
    assert not outcomes[0].overwrote
    assert values_of(store, NEW) == tuple(
        replace(value, timestamp=LATER_S) for value in (url(9), url(2), hidden(5))
    )


def test_creating_without_values_is_allowed(store: Store) -> None:
    perform(store, create(NEW))
    assert values_of(store, NEW) == ()


def test_limits_of_a_handle(store: Store) -> None:
    most = [url(i, b"") for i in range(1, VALUES_MAX + 1)]
    assert code(decided(store, create(NEW, *most))) == 1
    assert code(decided(store, create(NEW, *most, url(VALUES_MAX + 1)))) == 202
    put(store, {HANDLE: [*most[:-1], admin_value(index=VALUES_MAX)]})
    assert code(decided(store, add(HANDLE, url(VALUES_MAX + 1)))) == 202
    large = url(1, b"x" * (RECORD_OCTETS_MAX - 1_000))
    put(store, {HANDLE: [large, url(2), admin_value()]})
    assert code(decided(store, add(HANDLE, url(3, b"x" * 2_000)))) == 202
    assert code(decided(store, modify(HANDLE, url(2, b"x" * 2_000)))) == 202
    assert code(decided(store, remove(HANDLE, *range(1, VALUES_MAX + 2)))) == 202


def test_overwriting_replaces_all_and_keeps_equal_timestamps(stored: Store) -> None:
    kept = replace(url(2), timestamp=5)
    outcomes = perform(
        stored, create(HANDLE, url(8), kept, admin_value(), overwrite=True), now_s=LATER_S
    )
    assert isinstance(outcomes[0], Change)
    assert outcomes[0].overwrote
    assert values_of(stored, HANDLE) == (
        replace(url(8), timestamp=LATER_S),
        url(2),
        admin_value(),
    )


@pytest.mark.parametrize(
    ("bits", "permitted"),
    [
        (
            AdminPermission.ADD_VALUE | AdminPermission.REMOVE_VALUE | AdminPermission.MODIFY_VALUE,
            True,
        ),
        (AdminPermission.ADD_VALUE | AdminPermission.REMOVE_VALUE, False),
        (AdminPermission.MODIFY_VALUE | AdminPermission.REMOVE_VALUE, False),
        (AdminPermission.ADD_ADMIN, True),
        (AdminPermission.DELETE_HANDLE, True),
        (AdminPermission.ADD_HANDLE, False),
    ],
)
def test_who_may_overwrite(store: Store, bits: int, permitted: bool) -> None:
    rule = admin_value(STRANGER, bits)
    put(store, {HANDLE: [url(1), url(2), rule]})
    operation = create(HANDLE, url(1, b"changed"), url(7), rule, overwrite=True)
    assert isinstance(decided(store, operation, STRANGER), Change) == permitted


def test_overwriting_with_the_same_writes_nothing(stored: Store) -> None:
    values = values_of(stored, HANDLE)
    assert values is not None
    (outcome,) = perform(stored, create(HANDLE, *values, overwrite=True))
    assert isinstance(outcome, Change)
    assert outcome.operations == ()
    assert outcome.overwrote
    with stored.read() as view:
        assert view.head().seq == 0


def test_minting_appends_to_the_stem(store: Store) -> None:
    body = ValuesRequest(b"88.118/x-", (url(),))
    first, second = (Operation(OpCode.CREATE_HANDLE, body, mint=True) for _ in range(2))
    assert decided(store, first) == decided(store, first)
    handles = []
    for outcome in perform(store, first, second):
        assert isinstance(outcome, Change)
        assert isinstance(outcome.body, CreatedAnswer)
        assert outcome.body.handle is not None
        handles.append(outcome.body.handle)
    assert handles[0] != handles[1]
    for handle in handles:
        assert handle.startswith(b"88.118/x-")
        assert values_of(store, handle) is not None


def test_adding_sorts_by_index(store: Store) -> None:
    put(store, {HANDLE: [url(9), url(4), admin_value()]})
    (outcome,) = perform(store, add(HANDLE, url(200), url(1)), now_s=LATER_S)
    assert isinstance(outcome, Change)
    assert not outcome.overwrote
    values = values_of(store, HANDLE)
    assert values is not None
    assert [(value.index, value.timestamp) for value in values] == [
        (1, LATER_S),
        (4, NOW_S),
        (9, NOW_S),
        (100, NOW_S),
        (200, LATER_S),
    ]


def test_adding_may_overwrite(stored: Store) -> None:
    operation = add(HANDLE, url(2, b"new"), url(1), url(50), overwrite=True)
    (outcome,) = perform(stored, operation, now_s=LATER_S)
    assert isinstance(outcome, Change)
    assert outcome.overwrote
    values = values_of(stored, HANDLE)
    assert values is not None
    stamps = {value.index: value.timestamp for value in values}
    assert (stamps[1], stamps[2], stamps[50]) == (NOW_S, LATER_S, LATER_S)
    assert code(decided(stored, add(HANDLE, url(3, b"new"), overwrite=True))) == 401


def test_overwriting_by_add_needs_the_permission_to_modify(store: Store) -> None:
    put(store, {HANDLE: [url(1), admin_value(STRANGER, AdminPermission.ADD_VALUE)]})
    new = add(HANDLE, url(5), overwrite=True)
    changed = add(HANDLE, url(1, b"new"), overwrite=True)
    assert code(decided(store, new, STRANGER)) == 1
    assert code(decided(store, changed, STRANGER)) == 400


def test_removing_takes_all_or_nothing(stored: Store) -> None:
    before = rows_of(stored)
    assert code(perform(stored, remove(HANDLE, 1, 99))[0]) == 200
    assert rows_of(stored) == before
    assert code(perform(stored, remove(HANDLE, 1, 2, 1))[0]) == 1
    values = values_of(stored, HANDLE)
    assert values is not None
    assert [value.index for value in values] == [3, 4, 100]


def test_modifying_keeps_the_order(store: Store) -> None:
    put(store, {HANDLE: [url(9), url(2), admin_value()]})
    perform(store, modify(HANDLE, url(2, b"two"), url(9)), now_s=LATER_S)
    assert values_of(store, HANDLE) == (
        replace(url(9), timestamp=LATER_S),
        replace(url(2, b"two"), timestamp=LATER_S),
        admin_value(),
    )


def test_a_value_modified_to_what_it_is_shows_the_time_of_that(stored: Store) -> None:
    """Scripts touch a value so: Handle.Net sets the time of every modified value."""
    perform(stored, modify(HANDLE, url(1)), now_s=LATER_S)
    values = values_of(stored, HANDLE)
    assert values is not None
    assert [value.timestamp for value in values[:2]] == [LATER_S, NOW_S]


def test_of_an_index_modified_twice_in_one_request_the_last_counts(stored: Store) -> None:
    twice = modify(HANDLE, url(1, b"first"), url(1, b"last"))
    assert code(perform(stored, twice)[0]) == 1
    values = values_of(stored, HANDLE)
    assert values is not None
    assert values[0].data == b"last"
    assert len(values) == 5


def test_modifying_nothing_succeeds_and_writes_nothing(stored: Store) -> None:
    before = rows_of(stored)
    assert code(perform(stored, modify(HANDLE), identity=None)[0]) == 1
    assert rows_of(stored) == before


def test_what_administrators_may_not_write_nobody_may(stored: Store) -> None:
    """Public-write without admin-write: Handle.Net refuses even anybody (401)."""
    put(stored, {HANDLE: [url(1, permission=0b1011), admin_value()]})
    for identity in (None, ADMIN, ROOT):
        assert code(decided(stored, modify(HANDLE, url(1, b"x")), identity)) == 401


def test_overwriting_what_anybody_may_write_needs_a_login_and_no_permission(stored: Store) -> None:
    new = url(4, b"by a stranger", permission=0b1111)
    values = values_of(stored, HANDLE)
    assert values is not None
    whole = [new if value.index == 4 else value for value in values]
    for operation in (add(HANDLE, new, overwrite=True), create(HANDLE, *whole, overwrite=True)):
        assert code(decided(stored, operation, None)) == 402
        assert code(decided(stored, operation, STRANGER)) == 1
    others = [add(HANDLE, new, url(1, b"x"), overwrite=True), add(HANDLE, new, url(9))]
    others += [create(HANDLE, *reversed(whole), overwrite=True)]
    others += [create(HANDLE, *whole[1:], overwrite=True)]
    others += [add(HANDLE, admin_value(STRANGER, index=4), overwrite=True)]
    for operation in others:
        assert code(decided(stored, operation, STRANGER)) in (400, 201), operation


def test_removing_nothing_takes_the_permission_to_remove(stored: Store) -> None:
    assert code(decided(stored, remove(HANDLE), ADMIN)) == 1
    put(stored, {HANDLE: [url(), admin_value(STRANGER, AdminPermission.ADD_VALUE)]})
    assert code(decided(stored, remove(HANDLE), STRANGER)) == 400


def test_anybody_may_modify_what_is_public_write(stored: Store) -> None:
    (outcome,) = perform(stored, modify(HANDLE, url(4, b"by anybody", 0b1111)), identity=None)
    assert isinstance(outcome, Change)
    assert outcome.body == Empty()
    values = values_of(stored, HANDLE)
    assert values is not None
    assert values[3].data == b"by anybody"
    with stored.read() as view:
        ((_, frame),) = view.frames()
    assert decode_frame(frame).operations[0].actor == ANONYMOUS


def test_deleting(stored: Store) -> None:
    assert code(perform(stored, delete(b"88.118/a"))[0]) == 1
    assert values_of(stored, HANDLE) is None
    assert code(decided(stored, delete(HANDLE))) == 100


def test_what_was_left_behind_by_an_unhomed_prefix_can_be_deleted(stored: Store) -> None:
    with stored.write(journaled=False) as view:
        view.unhome(PREFIX)
    assert code(decided(stored, delete(NEW), None)) == 301
    assert code(decided(stored, delete(HANDLE), None)) == 402
    assert code(decided(stored, delete(HANDLE), STRANGER)) == 400
    for other in (add(HANDLE, url(9)), modify(HANDLE, url(1)), remove(HANDLE, 1)):
        assert code(decided(stored, other, ADMIN)) == 301
    # What its namesake's new home says of administrators is not asked.
    assert code(decided(stored, delete(HANDLE), ADMIN, {})) == 1
    assert code(perform(stored, delete(HANDLE), foreign={})[0]) == 1
    assert values_of(stored, HANDLE) is None


def test_a_minted_suffix_is_a_uuid_in_lower_case() -> None:
    minted = Operation(OpCode.CREATE_HANDLE, ValuesRequest(b"88.118/", ()), mint=True).minted
    assert str(UUID(minted.decode())) == minted.decode()


def test_lists_can_be_turned_off(stored: Store) -> None:
    policy = Policy(POLICY.roles, allow_list_handles=False)
    for prefix in (PREFIX, b"0.NA/77", b"88.118/A"):
        operation = on_handle(OpCode.LIST_HANDLES, prefix)
        for identity in (None, ADMIN, ROOT):
            assert code(decided(stored, operation, identity, policy=policy)) == 5


def test_the_prefixes_derived_from_one_are_listed_by_its_marker(stored: Store) -> None:
    derived = [b"0.NA/88.118.1", b"0.NA/88.118.1.2", b"0.NA/88.118.5"]
    others = [b"0.NA/88.1180", b"0.NA/88.118/x", b"0.NA/88.11"]
    put(stored, {handle: [url()] for handle in (*derived, *others)})
    marker = b"0.na/0.NA/88.118"
    assert code(decided(stored, on_handle(OpCode.LIST_HANDLES, marker), None)) == 402
    assert code(decided(stored, on_handle(OpCode.LIST_HANDLES, marker), ADMIN)) == 400
    assert decided(stored, on_handle(OpCode.LIST_HANDLES, marker), ROOT) == Listing(marker)
    with stored.read() as view:
        assert view.list_handles(marker, None, 9) == (derived, None)
        first = view.list_handles(marker, None, 2)
        assert view.step_over(marker, None, 2) == (2, first.after)
        assert view.list_handles(marker, first.after, 9) == (derived[2:], None)
        assert view.count_listed(marker) is None, "who pages by number is told what there is"
    with stored.write(journaled=False) as view:
        view.unhome(b"0.NA/0.NA")
    assert code(decided(stored, on_handle(OpCode.LIST_HANDLES, marker), ROOT)) == 301


def test_listing(stored: Store) -> None:
    assert decided(stored, on_handle(OpCode.LIST_HANDLES, b"0.na/88.118")) == Listing(
        b"0.na/88.118"
    )
    assert decided(stored, on_handle(OpCode.LIST_HOMED_NAS, b"/"), ROOT) == Listing(
        b"/", homed=True
    )


def test_a_checkpoint_has_nothing_left_to_do(stored: Store) -> None:
    assert decided(stored, on_handle(OpCode.BACKUP_SERVER, b"/"), ROOT) == Told(Empty())


def test_homing_and_unhoming_are_journaled(store: Store) -> None:
    home, unhome = on_handle(OpCode.HOME_NA, b"0.na/9.x"), on_handle(OpCode.UNHOME_NA, b"0.NA/9.X")
    for operation, homed in ((home, True), (home, True), (unhome, False), (unhome, False)):
        assert code(perform(store, operation, identity=ROOT)[0]) == 1
        with store.read() as view:
            assert view.is_homed(b"0.NA/9.X") == homed
    with store.read() as view:
        kinds = [
            (entry.kind, entry.handle, entry.actor)
            for _, frame in view.frames()
            for entry in decode_frame(frame).operations
        ]
    assert kinds == [(Kind.HOME, b"0.NA/9.X", ROOT), (Kind.UNHOME, b"0.NA/9.X", ROOT)]


def test_a_prefix_has_a_length(store: Store) -> None:
    home = on_handle(OpCode.HOME_NA, b"0.NA/" + b"9" * 500)
    assert code(decided(store, home, ROOT)) == 102


def test_a_refused_operation_leaves_no_trace_in_a_batch(stored: Store) -> None:
    before = rows_of(stored)[HANDLE]
    outcomes = perform(
        stored,
        create(NEW, url(1)),
        create(NEW, url(2)),
        add(HANDLE, url(7), url(1)),
        delete(b"88.118/NEVER"),
        add(NEW, url(3)),
        remove(HANDLE, 1, 99),
        create(b"88.118/B", url()),
    )
    assert [code(outcome) for outcome in outcomes] == [1, 101, 201, 100, 1, 200, 1]
    assert rows_of(stored)[HANDLE] == before
    values = values_of(stored, NEW)
    assert values is not None
    assert [value.index for value in values] == [1, 3]
    with stored.read() as view:
        ((_, frame),) = view.frames()
    entries = decode_frame(frame).operations
    assert [(entry.kind, entry.handle) for entry in entries] == [
        (Kind.CREATE, b"88.118/NEW"),
        (Kind.ADD, b"88.118/NEW"),
        (Kind.CREATE, b"88.118/B"),
    ]
    assert {entry.actor for entry in entries} == {ADMIN}


def test_deciding_changes_nothing(stored: Store) -> None:
    before = rows_of(stored)
    for operation, _ in [*BEFORE_CHALLENGE, *AFTER_CHALLENGE]:
        for identity in (None, ADMIN, ROOT, STRANGER):
            decided(stored, operation, identity)
    assert rows_of(stored) == before


def test_creating_under_a_prefix_that_lives_elsewhere(empty: Store) -> None:
    """An enterprise homes its prefix; the prefix's administrators are at its parent's node."""
    put(empty, {}, [PREFIX])

    def outcome_with(foreign: Foreign, identity: Reference = ADMIN) -> Outcome:
        return decided(empty, create(NEW, url()), identity, foreign, Policy())

    assert outcome_with({}) == Need(frozenset({PREFIX}))
    known = {PREFIX: Record((admin_value(),))}
    assert code(outcome_with(known)) == 1
    assert code(outcome_with(known, STRANGER)) == 400
    assert code(outcome_with({PREFIX: None})) == 400
    outcome = outcome_with({PREFIX: Unavailable("time-out after 2 s")})
    assert isinstance(outcome, Refusal)
    assert outcome.response_code == 400
    assert b"0.NA/88.118 could not be fetched: time-out after 2 s" in outcome.message


def test_a_delegated_prefix_is_administered_elsewhere(store: Store) -> None:
    put(store, {PREFIX: [admin_value(), site_value(b"HS_SITE.PREFIX")]})
    child = b"0.NA/88.118.5"
    outcome = decided(store, create(child, url()), None)
    assert outcome == Referral((site_value(b"HS_SITE.PREFIX"),))
    body = ValuesRequest(child, (url(),))
    old = Operation(OpCode.CREATE_HANDLE, body, knows_referral=False)
    assert code(decided(store, old, None)) == 402, "below 2.10 the parent's node does it itself"
    assert code(decided(store, old, ADMIN)) == 1
    asked = Operation(OpCode.CREATE_HANDLE, body, do_not_refer=True)
    assert code(decided(store, asked, None)) == 402
    gone = Operation(OpCode.DELETE_HANDLE, HandleRequest(child))
    assert isinstance(decided(store, gone, None), Referral)
