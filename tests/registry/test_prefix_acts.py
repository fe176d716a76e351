"""Suspending, resuming, transferring, releasing and removing prefixes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from protocol.codes import OpCode, ResponseCode
from protocol.json_forms import key_to_json
from protocol.key_files import generate_rsa_key
from protocol.types.hs_pubkey import encode_public_key
from protocol.value import Reference
from registry.answers import Question, resolve
from registry.authentication import Keys, find_keys
from registry.offline import LoadRow
from registry.operations import Change
from registry.outcomes import Need, Refusal
from registry.owners import owners_before
from registry.standings import TRANSITIONS, State, find_standing, next_state, second_text
from registry.store import Store
from registry.takeover import Findings, find_problems
from registry.views import View
from tests.registry.builders import (
    NOW_S,
    PREFIX,
    ROOT,
    admin_value,
    create,
    delete,
    modify,
    on_handle,
    open_store,
    perform,
    put,
    site_value,
    url,
    values_of,
)
from tests.registry.office import (
    APPLICANT_KEY,
    OFFICE_POLICY,
    OWNER,
    application,
    do,
    give_out,
    particulars,
    refused,
)
from tests.registry.template_builders import ALL, DOCUMENT, made_row, send

HANDLE = b"0.NA/88.118.5"
ITEM = b"88.118.5/ITEM"
SUSPENDED = f"88.118.5 is suspended since {second_text(NOW_S + 60)}: unpaid"


def answer(store: Store, handle: bytes) -> tuple[int, str]:
    with store.read() as view:
        found = resolve(view, Question(handle))
    assert not isinstance(found, Need)
    return int(found.response_code), found.message.decode()


def suspend(store: Store, reason: str = "unpaid") -> None:
    do(store, "prefixes.suspend", {"prefix": "88.118.5", "reason": reason})


def register(store: Store, handle: bytes = ITEM, identity: Reference = OWNER) -> Any:
    return perform(store, create(handle, url()), identity=identity, policy=OFFICE_POLICY)[0]


@pytest.fixture
def hosted(store: Store) -> Store:
    give_out(store)
    assert isinstance(register(store), Change)
    return store


@pytest.fixture
def delegated(store: Store) -> Store:
    give_out(store, mode="delegated")
    return store


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("verb", sorted({verb for _, verb in TRANSITIONS}))
def test_a_step_leads_where_the_table_says_or_is_refused_with_what_is_possible(
    state: State, verb: str
) -> None:
    after = next_state(state, verb, "88.118.5")
    if (state, verb) in TRANSITIONS:
        assert after == TRANSITIONS[state, verb]
        return
    assert isinstance(after, Refusal)
    words = after.message.decode()
    assert words.startswith(f"88.118.5 is {state.text}: {verb} is not possible")
    assert all(step in words for from_, step in TRANSITIONS if from_ == state)


STEPS: dict[str, dict[str, Any]] = {
    "suspend": {"reason": "x"},
    "resume": {},
    "transfer": {"publicKey": APPLICANT_KEY},
    "release": {"reason": "x"},
    "remove": {},
}
WAYS = {
    State.ACTIVE: [],
    State.SUSPENDED: ["suspend"],
    State.TO_BE_DELETED: ["release"],
}


@pytest.mark.parametrize("mode", ["hosted", "delegated"])
@pytest.mark.parametrize("verb", STEPS)
@pytest.mark.parametrize("state", WAYS)
def test_every_act_keeps_to_the_table(store: Store, state: State, verb: str, mode: str) -> None:
    give_out(store, mode=mode)
    for step in WAYS[state]:
        do(store, f"prefixes.{step}", {"prefix": "88.118.5", **STEPS[step]})
    parameters = {"prefix": "88.118.5", **STEPS[verb]}
    if (state, verb) in TRANSITIONS:
        told = do(store, f"prefixes.{verb}", parameters)
        assert told["state"] == TRANSITIONS[state, verb].text
    else:
        assert refused(store, f"prefixes.{verb}", parameters)[0] == 202
        assert do(store, "prefixes.show", {"prefix": "88.118.5"})["state"] == state.text


def test_a_suspended_hosted_prefix_says_so_and_answers_nothing(hosted: Store) -> None:
    assert answer(hosted, ITEM)[0] == ResponseCode.SUCCESS
    suspend(hosted)
    for handle in (ITEM, b"88.118.5/other", HANDLE, b"0.NA/88.118.5.1", b"0.na/88.118.5"):
        assert answer(hosted, handle) == (ResponseCode.INSUFFICIENT_PERMISSIONS, SUSPENDED)
    rows, homed = hosted.find_rows([HANDLE, ITEM], [HANDLE, PREFIX])
    assert (rows[0], homed) == (None, [False, True])  # the fast path has nothing to answer with
    with hosted.read() as view:
        assert not view.is_homed(HANDLE)
        assert HANDLE not in view.list_homed(None, 10).handles
        assert HANDLE in list(view.homed())
    do(hosted, "prefixes.resume", {"prefix": "88.118.5"})
    assert answer(hosted, ITEM)[0] == ResponseCode.SUCCESS
    assert answer(hosted, HANDLE)[0] == ResponseCode.SUCCESS
    with hosted.read() as view:
        assert view.is_homed(HANDLE)


def test_nobody_is_referred_for_a_suspended_delegated_prefix(delegated: Store) -> None:
    before = values_of(delegated, HANDLE)
    assert answer(delegated, HANDLE)[0] == ResponseCode.SUCCESS
    suspend(delegated)
    for handle in (HANDLE, b"0.NA/88.118.5.77"):
        assert answer(delegated, handle) == (ResponseCode.INSUFFICIENT_PERMISSIONS, SUSPENDED)
    assert answer(delegated, b"0.NA/88.118.6")[0] != ResponseCode.INSUFFICIENT_PERMISSIONS
    do(delegated, "prefixes.resume", {"prefix": "88.118.5"})
    assert values_of(delegated, HANDLE) == before


def test_changes_under_a_suspended_prefix_are_refused_with_the_same_words(hosted: Store) -> None:
    suspend(hosted)
    operations = [
        create(b"88.118.5/new", url()),
        modify(ITEM, url(data=b"https://changed/")),
        delete(ITEM),
        delete(HANDLE),
        create(HANDLE, url(), overwrite=True),
        on_handle(OpCode.LIST_HANDLES, HANDLE),
    ]
    for outcome in perform(hosted, *operations, identity=OWNER, policy=OFFICE_POLICY):
        assert isinstance(outcome, Refusal)
        assert (outcome.response_code, outcome.message.decode()) == (401, SUSPENDED)
    for opcode in (OpCode.HOME_NA, OpCode.UNHOME_NA):
        (outcome,) = perform(hosted, on_handle(opcode, HANDLE), identity=ROOT, policy=OFFICE_POLICY)
        assert isinstance(outcome, Refusal)
        assert outcome.message.decode() == f"{SUSPENDED}; resume it first"
    assert answer(hosted, ITEM)[1] == SUSPENDED


def test_acts_on_templates_of_a_suspended_prefix_say_so(hosted: Store) -> None:
    document = {**DOCUMENT, "prefix": "88.118.5"}
    named = {"prefix": "88.118.5", "code": "auto-part"}
    made = {"handle": "88.118.5/T1", "template": "auto-part", "attributes": ALL}
    below = {**made, "handle": "88.118.5.1/T1", "template": "88.118.5:auto-part"}
    do(hosted, "templates.register", document, OWNER)
    do(hosted, "templates.create_handle", made, OWNER)
    suspend(hosted)
    for name, parameters in (
        ("templates.show", named),
        ("templates.list", {"prefix": "88.118.5"}),
        ("templates.register", document),
        ("templates.register", {**document, "code": "other"}),
        ("templates.withdraw", {**named, "version": 1, "reason": "x"}),
        ("templates.create_handle", {**made, "handle": "88.118.5/T2"}),
        ("templates.create_handle", {**made, "overwrite": True}),
        ("templates.create_handle", below),
    ):
        assert refused(hosted, name, parameters, OWNER) == (401, SUSPENDED), name
    (run,) = send(hosted, [made_row(b"88.118.5/T3", ALL)], identity=OWNER)
    assert (run.code, run.words.decode()) == (401, SUSPENDED)
    do(hosted, "prefixes.resume", {"prefix": "88.118.5"})
    assert do(hosted, "templates.show", named, None)["template"]["code"] == "auto-part"


def test_nothing_is_taken_over_under_a_suspended_prefix(hosted: Store, tmp_path: Path) -> None:
    suspend(hosted)
    rows = [LoadRow(1, b"88.118.5/taken", (url(),))]
    findings = Findings()
    with open_store(tmp_path / "scratch") as scratch:
        (refused,) = find_problems(hosted, scratch, rows, findings, now_s=NOW_S)
    assert refused.reason == SUSPENDED
    assert not findings.unhomed, "homing it would be another way round"


def test_whoever_logs_in_with_a_key_of_a_suspended_prefix_is_known(hosted: Store) -> None:
    suspend(hosted)
    with hosted.read() as view:
        assert isinstance(find_keys(view, {}, OWNER, b"HS_PUBKEY"), Keys)


def test_a_prefix_without_an_application_can_be_suspended(store: Store) -> None:
    put(store, {HANDLE: [admin_value(), site_value(b"HS_SITE")]})
    assert do(store, "prefixes.show", {"prefix": "88.118.5"}) == {
        "prefix": "88.118.5", "state": "active", "mode": "delegated", "answers": True
    }  # fmt: skip
    suspend(store)
    assert answer(store, HANDLE) == (ResponseCode.INSUFFICIENT_PERMISSIONS, SUSPENDED)


@pytest.mark.parametrize("prefix", ["88.118.99", "99", "88.118.5/x", "", "0.NA"])
def test_what_was_not_given_out_here_is_nobodys_to_suspend(store: Store, prefix: str) -> None:
    code, _ = refused(store, "prefixes.suspend", {"prefix": prefix, "reason": "x"})
    assert code in (100, 102)


@pytest.mark.parametrize("reason", ["", " ", "x" * 121, "a\x1b[2J", 5, None])
def test_a_reason_is_text_of_bounded_length(hosted: Store, reason: Any) -> None:
    code, words = refused(hosted, "prefixes.suspend", {"prefix": "88.118.5", "reason": reason})
    assert (code, words.startswith("reason: ")) == (202, True)


def new_key() -> bytes:
    return encode_public_key(generate_rsa_key().public_key())


@pytest.mark.parametrize("is_suspended", [False, True])
def test_a_transfer_leaves_no_right_to_the_owner_before(hosted: Store, is_suspended: bool) -> None:
    other = Reference(HANDLE, 301)
    before = values_of(hosted, HANDLE)
    assert before is not None
    more = [admin_value(other, index=101), replace(before[-1], index=301), url(9)]
    perform(
        hosted, create(HANDLE, *before, *more, overwrite=True), identity=ROOT, policy=OFFICE_POLICY
    )
    if is_suspended:
        suspend(hosted)
    key = new_key()
    do(hosted, "prefixes.transfer", {"prefix": "88.118.5", "publicKey": key_to_json(key)})
    if is_suspended:
        assert values_of(hosted, HANDLE) is None
        do(hosted, "prefixes.resume", {"prefix": "88.118.5"})
    values = values_of(hosted, HANDLE)
    assert values is not None
    assert [(value.index, value.type) for value in values] == [
        (1, b"HS_SERV"), (9, b"URL"), (100, b"HS_ADMIN"), (300, b"HS_PUBKEY")
    ]  # fmt: skip
    assert values[-1].data == key
    assert isinstance(register(hosted, b"88.118.5/b", other), Refusal)
    assert isinstance(register(hosted, b"88.118.5/c"), Change)


def test_new_particulars_are_a_new_application(hosted: Store) -> None:
    parameters = {
        "prefix": "88.118.5",
        "publicKey": APPLICANT_KEY,
        "particulars": particulars(name="Another Works"),
        "reason": "sold",
    }
    told = do(hosted, "prefixes.transfer", parameters)
    assert told["application"] == 2
    states = {
        each["number"]: (each["name"], each["state"])
        for each in do(hosted, "applications.list", {})["applications"]
    }
    assert states == {1: ("Example Machine Works", "deleted"), 2: ("Another Works", "active")}


def test_a_released_prefix_takes_nothing_new_and_answers_what_is_there(hosted: Store) -> None:
    do(hosted, "prefixes.release", {"prefix": "88.118.5", "reason": "closed"})
    outcome = register(hosted, b"88.118.5/new")
    assert isinstance(outcome, Refusal)
    assert b"88.118.5 is to be deleted since" in outcome.message
    assert b"closed" in outcome.message
    assert answer(hosted, ITEM)[0] == ResponseCode.SUCCESS


def test_a_prefix_is_removed_once_nothing_is_under_it(hosted: Store) -> None:
    do(hosted, "prefixes.release", {"prefix": "88.118.5", "reason": "closed"})
    put(hosted, {b"0.NA/88.118.5.1": [url()]})
    code, words = refused(hosted, "prefixes.remove", {"prefix": "88.118.5"})
    assert (code, "88.118.5/ITEM" in words) == (202, True)
    perform(hosted, delete(ITEM), identity=OWNER, policy=OFFICE_POLICY)
    assert "0.NA/88.118.5.1" in refused(hosted, "prefixes.remove", {"prefix": "88.118.5"})[1]
    perform(hosted, delete(b"0.NA/88.118.5.1"), identity=ROOT, policy=OFFICE_POLICY)
    do(hosted, "prefixes.remove", {"prefix": "88.118.5"})
    with hosted.read() as view:
        assert find_standing(view, HANDLE) is None
        assert not view.is_homed(HANDLE)
        assert view.find_record(HANDLE) is None
    give_out(hosted)  # it is free again


def test_a_prefix_is_not_removed_with_handles_behind_many_that_are_revoked(
    hosted: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults = View.list_handles.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "looked_at_max", 2)
    for number in range(3):
        handle = b"88.118.5/A%d" % number
        assert isinstance(register(hosted, handle), Change)
        do(hosted, "life.revoke", {"handle": handle.decode(), "reason": "recalled"}, OWNER)
    do(hosted, "prefixes.release", {"prefix": "88.118.5", "reason": "closed"})
    words = refused(hosted, "prefixes.remove", {"prefix": "88.118.5"})[1]
    assert "there is 1 handles under 88.118.5" in words


def test_a_frozen_prefix_handle_is_frozen_after_it_was_suspended(hosted: Store) -> None:
    do(hosted, "life.freeze", {"handle": "0.NA/88.118.5", "reason": "audit"}, ROOT)
    suspend(hosted)
    do(hosted, "prefixes.transfer", {"prefix": "88.118.5", "publicKey": APPLICANT_KEY})
    with hosted.read() as view:
        assert isinstance(find_keys(view, {}, OWNER, b"HS_PUBKEY"), Keys)
    do(hosted, "prefixes.resume", {"prefix": "88.118.5"})
    shown = do(hosted, "life.show", {"handle": "0.NA/88.118.5"}, None)
    assert (shown["state"], shown["reason"]) == ("frozen", "audit")
    assert answer(hosted, HANDLE)[0] == ResponseCode.SUCCESS
    events = do(hosted, "life.history", {"handle": "0.NA/88.118.5"}, None)["events"]
    assert [each["operation"] for each in events] == ["create", "freeze", "delete", "create"]


def test_a_prefix_is_removed_once_its_ranges_are_revoked(hosted: Store) -> None:
    perform(hosted, delete(ITEM), identity=OWNER, policy=OFFICE_POLICY)
    values = [{"index": 1, "type": "URL", "data": "https://example.cn/{serial}"}]
    lot = {"stem": "88.118.5/LOT.", "first": "1", "last": "9", "values": values}
    do(hosted, "ranges.register", lot, OWNER)
    do(hosted, "prefixes.release", {"prefix": "88.118.5", "reason": "closed"})
    words = refused(hosted, "prefixes.remove", {"prefix": "88.118.5"})[1]
    assert "1 ranges under 88.118.5, which can be revoked" in words
    do(hosted, "ranges.revoke", {"identifier": "88.118.5/LOT.1", "reason": "closed"}, OWNER)
    do(hosted, "prefixes.remove", {"prefix": "88.118.5"})
    with hosted.read() as view:
        assert find_standing(view, HANDLE) is None


def test_a_prefix_with_a_suspended_one_below_is_not_removed(hosted: Store) -> None:
    perform(hosted, delete(ITEM), identity=OWNER, policy=OFFICE_POLICY)
    put(hosted, {b"0.NA/88.118.5.1": [url()]})
    do(hosted, "prefixes.suspend", {"prefix": "88.118.5.1", "reason": "unpaid"})
    do(hosted, "prefixes.release", {"prefix": "88.118.5", "reason": "closed"})
    words = refused(hosted, "prefixes.remove", {"prefix": "88.118.5"})[1]
    assert "0.NA/88.118.5.1, which was given out" in words


def test_a_prefix_that_is_held_is_not_given_out_again(hosted: Store) -> None:
    suspend(hosted)
    assert refused(hosted, "applications.apply", application(), None)[0] == 401


def test_a_prefix_changes_hands_when_it_is_transferred_and_when_it_is_removed(
    hosted: Store,
) -> None:
    def before() -> list[int]:
        with hosted.read() as view:
            asked = (HANDLE, b"0.na/88.118.5", ITEM, b"0.NA/88.118.5.1", PREFIX)
            return [owners_before(view, handle) for handle in asked]

    suspend(hosted)
    do(hosted, "prefixes.resume", {"prefix": "88.118.5"})
    assert before() == [0, 0, 0, 0, 0]
    do(hosted, "prefixes.transfer", {"prefix": "88.118.5", "publicKey": APPLICANT_KEY})
    assert before() == [1, 1, 1, 0, 0]
    perform(hosted, delete(ITEM), identity=OWNER, policy=OFFICE_POLICY)
    do(hosted, "prefixes.release", {"prefix": "88.118.5", "reason": "closed"})
    do(hosted, "prefixes.remove", {"prefix": "88.118.5"})
    give_out(hosted)
    assert before() == [2, 2, 2, 0, 0]
