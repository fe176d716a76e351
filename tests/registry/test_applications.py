"""Applying for a prefix, and what a reviewer makes of it."""

from collections.abc import Callable
from typing import Any

import pytest

from protocol.json_forms import key_to_json
from protocol.types.hs_admin import decode_hs_admin
from protocol.value import Reference
from registry.applications import OPEN_MAX, OPEN_PER_ADDRESS_MAX
from registry.offices import OFFICES, SOURCE, number_key
from registry.outcomes import Refusal
from registry.particulars import CONTACTS_MAX, SERVICE_ADDRESSES_MAX
from registry.store import Store
from tests.registry.builders import ADMIN, PREFIX, ROOT, STRANGER, put, url, values_of
from tests.registry.office import (
    APPLICANT_KEY,
    KEY,
    OPERATOR,
    REVIEWER,
    SMALL_KEY,
    act,
    application,
    do,
    give_out,
    particulars,
    person,
    refused,
    site,
)

HANDLE = b"0.NA/88.118.5"
MARKER = b"0.NA/0.NA/88.118"


@pytest.fixture
def office(store: Store) -> Store:
    """A store that gives prefixes below 88.118 out, as a secondary node's."""
    put(store, {}, [MARKER])
    with store.write(journaled=False) as view:
        view.unhome(b"0.NA/0.NA")
    return store


def apply(store: Store, **changes: Any) -> dict[str, Any]:
    return do(store, "applications.apply", application(**changes), None)


def test_anybody_applies_and_gets_a_number_and_a_token(office: Store) -> None:
    first, second = apply(office), apply(office)
    assert (first["number"], second["number"]) == (1, 2)
    assert first["state"] == "in review"
    assert first["token"] != second["token"]


def test_a_hosted_prefix_is_homed_and_its_owner_administers_it(office: Store) -> None:
    number = apply(office)["number"]
    told = do(office, "applications.approve", {"number": number, "mode": "hosted", "reason": "ok"})
    assert (told["state"], told["mode"], told["prefix"]) == ("active", "hosted", "88.118.5")
    values = values_of(office, HANDLE)
    assert values is not None
    by_index = {value.index: value for value in values}
    assert (by_index[1].type, by_index[1].data) == (b"HS_SERV", PREFIX)
    assert decode_hs_admin(by_index[100].data).admin == Reference(HANDLE, 300)
    assert (by_index[300].type, by_index[300].data) == (b"HS_PUBKEY", KEY)
    with office.read() as view:
        assert view.is_homed(HANDLE)


def test_a_delegated_prefix_names_the_applicants_site(office: Store) -> None:
    number = apply(office, site=site(), role="secondary")["number"]
    do(office, "applications.approve", {"number": number, "mode": "delegated"})
    values = values_of(office, HANDLE)
    assert values is not None
    assert [value.type for value in values] == [
        b"HS_SITE", b"HS_SITE.PREFIX", b"HS_ADMIN", b"HS_PUBKEY"
    ]  # fmt: skip
    with office.read() as view:
        assert not view.is_homed(HANDLE)


def test_delegation_json_is_taken_if_it_is_the_applicants(office: Store) -> None:
    number = apply(office)["number"]
    approve = {"number": number, "mode": "delegated"}
    assert "names no site" in refused(office, "applications.approve", approve)[1]
    delegation = {
        "prefix": "88.118.5",
        "role": "enterprise",
        "site": site(),
        "admin_public_key": {"format": "key", "value": APPLICANT_KEY},
    }
    for wrong, words in (
        ({"prefix": "88.118.6"}, "applied is for 88.118.5"),
        ({"admin_public_key": {"value": key_to_json(SMALL_KEY)}}, "another key"),
        ({"site": {}}, "site"),
        ({"role": "top"}, "write enterprise or secondary"),
        ({"admin_index": 200}, "admin_index"),
    ):
        document = approve | {"delegation": delegation | wrong}
        code, told = refused(office, "applications.approve", document)
        assert (code, words in told) == (202, True), told
    do(office, "applications.approve", approve | {"delegation": delegation})
    assert values_of(office, HANDLE) is not None


def test_a_refused_application_says_why_and_makes_nothing(office: Store) -> None:
    made = apply(office)
    do(office, "applications.refuse", {"number": made["number"], "reason": "no licence"})
    asked = {"number": made["number"], "token": made["token"]}
    shown = do(office, "applications.show", asked, None)
    assert (shown["state"], shown["reason"]) == ("rejected", "no licence")
    assert values_of(office, HANDLE) is None
    for verb in ({"mode": "hosted"}, {"reason": "again"}):
        name = "approve" if "mode" in verb else "refuse"
        code, words = refused(office, f"applications.{name}", {"number": 1, **verb})
        assert code == 202
        assert "application 1 is rejected" in words


def test_an_approved_application_cannot_be_decided_again(office: Store) -> None:
    number = give_out(office)
    for name, more in (("approve", {"mode": "hosted"}), ("refuse", {"reason": "late"})):
        code, words = refused(office, f"applications.{name}", {"number": number, **more})
        assert (code, "is active" in words) == (202, True)


@pytest.mark.parametrize(
    ("prefix", "code", "words"),
    [
        ("88.119.5", 301, "apply at the node of 88.119"),
        ("88.118", 301, "apply at the node of 88"),
        ("88.118.5.1", 301, "apply at the node of 88.118.5"),
        ("88.118.7", 101, "88.118.7 is taken"),
        ("88..5", 102, "parts joined by dots"),
        ("", 102, "parts joined by dots"),
        ("88.118.5/x", 102, "parts joined by dots"),
        ("0.NA", 102, "begins with 0"),
        ("0", 102, "begins with 0"),
        ("88.118." + "5" * 390, 102, "at most"),
        ("88.118.\x07", 102, "parts joined by dots"),
    ],
)
def test_only_a_free_prefix_below_a_homed_one_is_given_out(
    office: Store, prefix: str, code: int, words: str
) -> None:
    put(office, {b"0.NA/88.118.7": [url()]})
    found, told = refused(office, "applications.apply", application(prefix), None)
    assert (found, words in told) == (code, True), told


def test_what_was_taken_since_is_not_given_out_twice(office: Store) -> None:
    first, second = apply(office)["number"], apply(office)["number"]
    do(office, "applications.approve", {"number": first, "mode": "hosted"})
    code, _ = refused(office, "applications.approve", {"number": second, "mode": "hosted"})
    assert code == 101


def test_a_node_that_is_not_the_parent_gives_nothing_out(store: Store) -> None:
    with store.write(journaled=False) as view:
        view.unhome(b"0.NA/0.NA")
    code, _ = refused(store, "applications.apply", application(), None)
    assert code == 301


def test_open_applications_are_bounded_by_address_and_in_all(office: Store) -> None:
    for _ in range(OPEN_PER_ADDRESS_MAX):
        apply(office)
    code, words = refused(office, "applications.apply", application(), None)
    assert (code, "from your address" in words) == (3, True)
    do(office, "applications.refuse", {"number": 1, "reason": "double"})
    apply(office)  # a decided one makes room
    with office.write(journaled=False) as view:
        for number in range(1_000, 1_000 + OPEN_MAX):
            view.writable(OFFICES).put(number_key(SOURCE, number), b"198.51.100.1")
    code, words = refused(office, "applications.apply", application(), None, address="192.0.2.77")
    assert (code, f"{OPEN_MAX} applications" in words) == (3, True)


def without(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda document: document.pop(name)


@pytest.mark.parametrize(
    ("addresses", "is_one"),
    [
        (("2001:db8::1", "2001:db8::2"), True),
        (("2001:db8::1", "2001:db8:0:1::1"), False),
        (("192.0.2.1", "::ffff:192.0.2.1"), True),
        (("192.0.2.1", "192.0.2.2"), False),
        (("", "nowhere"), True),
    ],
)
def test_addresses_of_one_owner_are_counted_together(
    office: Store, addresses: tuple[str, str], is_one: bool
) -> None:
    for _ in range(OPEN_PER_ADDRESS_MAX):
        do(office, "applications.apply", application(), None, address=addresses[0])
    outcome = act(office, "applications.apply", application(), None, address=addresses[1])
    assert isinstance(outcome, Refusal) == is_one


def test_a_prefix_with_identifiers_from_before_is_not_hosted(office: Store) -> None:
    put(office, {b"88.118.5/OLD": [url()]})
    number = apply(office, site=site())["number"]
    code, words = refused(office, "applications.approve", {"number": number, "mode": "hosted"})
    assert (code, "88.118.5/OLD" in words) == (101, True)
    do(office, "applications.approve", {"number": number, "mode": "delegated"})


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "particulars.name"),
    ({"name": "x" * 201}, "particulars.name"),
    ({"name": "two\nlines"}, "particulars.name"),
    ({"name": 7}, "particulars.name"),
    ({"kind": "x" * 65}, "particulars.kind"),
    ({"address": {"province": "x", "city": "y"}}, "particulars.address"),
    ({"address": {"province": "x" * 201, "city": "y", "district": "z"}}, "address.province"),
    ({"address": {"province": "x", "city": " ", "district": "z"}}, "address.city"),
    ({"certificate": {"type": "a", "number": "x" * 65}}, "certificate.number"),
    ({"legalPerson": "Han Meimei"}, "particulars.legalPerson"),
    ({"legalPerson": {"name": "x" * 201}}, "legalPerson.name"),
    ({"industry": "3421"}, "particulars.industry"),
    ({"industry": "C34211"}, "particulars.industry"),
    ({"industry": "c3421"}, "particulars.industry"),
    ({"contacts": []}, "particulars.contacts"),
    ({"contacts": [person()] * (CONTACTS_MAX + 1)}, "particulars.contacts"),
    ({"contacts": [person() | {"email": "nobody"}]}, "contacts[0].email"),
    ({"contacts": [person() | {"email": "a@" + "x" * 300}]}, "contacts[0].email"),
    ({"contacts": [person() | {"phone": "call me"}]}, "contacts[0].phone"),
    ({"contacts": [person() | {"phone": "1" * 33}]}, "contacts[0].phone"),
    ({"contacts": [person() | {"idNumber": "x" * 65}]}, "contacts[0].idNumber"),
    ({"contacts": [person() | {"nickname": "L"}]}, "particulars.contacts"),
    ({"systems": {"registration": "a", "data": "b", "backup": "c"}}, "particulars.systems"),
    ({"escrowProvider": "x" * 201}, "particulars.escrowProvider"),
    ({"website": "javascript:alert(1)"}, "particulars.website"),
    ({"website": "https://" + "x" * 300}, "particulars.website"),
    ({"serviceAddresses": ["a"] * (SERVICE_ADDRESSES_MAX + 1)}, "particulars.serviceAddresses"),
    ({"serviceAddresses": ["x" * 301]}, "serviceAddresses"),
    ({"colour": "red"}, "colour"),
]


@pytest.mark.parametrize(("changes", "named"), FAULTS)
def test_every_particular_is_bounded_and_its_fault_named(
    office: Store, changes: dict[str, Any], named: str
) -> None:
    document = application(particulars=particulars(**changes))
    code, words = refused(office, "applications.apply", document, None)
    assert code == 202
    assert named in words, words


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"publicKey": key_to_json(SMALL_KEY)}, "1024 bits, 2048 are the least"),
        ({"publicKey": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"}, "publicKey"),
        ({"publicKey": "x" * 10_000}, "at most 8192"),
        ({"publicKey": {"kty": "EC"}}, "publicKey.kty"),
        ({"publicKey": 5}, "publicKey must be an object"),
        ({"site": {"servers": []}}, "site"),
        ({"site": []}, "site must be an object"),
        ({"role": "top"}, "write enterprise or secondary"),
        ({"prefix": 88}, "prefix"),
        ({"particulars": None}, "particulars"),
        ({"number": 7}, "number"),
    ],
)
def test_key_site_and_role_are_looked_at(
    office: Store, changes: dict[str, Any], named: str
) -> None:
    code, words = refused(office, "applications.apply", application(**changes), None)
    assert code == 202
    assert named in words, words


def test_lists_are_paged_and_filtered(office: Store) -> None:
    for _ in range(5):
        apply(office)
    do(office, "applications.refuse", {"number": 2, "reason": "no"})
    page = do(office, "applications.list", {"limit": 2})
    assert [each["number"] for each in page["applications"]] == [1, 2]
    rest = do(office, "applications.list", {"after": int(page["next"])})
    assert ([each["number"] for each in rest["applications"]], rest["next"]) == ([3, 4, 5], "")
    rejected = do(office, "applications.list", {"state": "rejected"})
    assert [each["number"] for each in rejected["applications"]] == [2]
    assert refused(office, "applications.list", {"state": "new"})[0] == 202
    assert refused(office, "applications.list", {"limit": 1_001})[0] == 202


def test_a_list_says_nothing_about_people(office: Store) -> None:
    apply(office)
    listed = str(do(office, "applications.list", {}))
    assert "Example Machine Works" in listed
    assert "Li Lei" not in listed
    assert "Han Meimei" not in listed


@pytest.mark.parametrize("number", [0, -1, 2, "1", 2**60, None])
def test_a_number_that_is_none_is_refused(office: Store, number: Any) -> None:
    apply(office)
    code, _ = refused(office, "applications.show", {"number": number})
    assert code == (100 if number == 2 else 202)


WHO: dict[str, Reference | None] = {
    "nobody": None, "stranger": STRANGER, "owner": ADMIN,
    "operator": OPERATOR, "reviewer": REVIEWER, "administrator": ROOT,
}  # fmt: skip
REVIEWING = {"reviewer", "administrator"}
SEEING = REVIEWING | {"operator"}
MATRIX: dict[str, tuple[dict[str, Any], set[str]]] = {
    "applications.apply": (application("88.118.9"), set(WHO)),
    "applications.list": ({}, SEEING),
    "applications.show": ({"number": 1}, SEEING),
    "applications.show people": ({"number": 1, "people": True}, REVIEWING),
    "applications.approve": ({"number": 1, "mode": "hosted"}, REVIEWING),
    "applications.refuse": ({"number": 1, "reason": "no"}, REVIEWING),
    "prefixes.show": ({"prefix": "88.118.8"}, SEEING),
    "prefixes.suspend": ({"prefix": "88.118.8", "reason": "x"}, REVIEWING),
    "prefixes.resume": ({"prefix": "88.118.7"}, REVIEWING),
    "prefixes.transfer": ({"prefix": "88.118.8", "publicKey": APPLICANT_KEY}, REVIEWING),
    "prefixes.release": ({"prefix": "88.118.8", "reason": "x"}, REVIEWING),
    "prefixes.remove": ({"prefix": "88.118.6"}, REVIEWING),
    "quotas.set": ({"prefix": "88.118", "identifiersPerDay": 5}, REVIEWING),
    "quotas.show": ({"prefix": "88.118"}, SEEING | {"owner"}),
}


@pytest.mark.parametrize("name", MATRIX)
@pytest.mark.parametrize("who", WHO)
def test_who_may_do_what(office: Store, name: str, who: str) -> None:
    apply(office)
    for prefix in ("88.118.6", "88.118.7", "88.118.8"):
        give_out(office, prefix)
    do(office, "prefixes.suspend", {"prefix": "88.118.7", "reason": "x"})
    do(office, "prefixes.release", {"prefix": "88.118.6", "reason": "x"})
    parameters, allowed = MATRIX[name]
    outcome = act(office, name.partition(" ")[0], parameters, WHO[who])
    if who in allowed:
        assert not hasattr(outcome, "response_code"), outcome
    else:
        code = getattr(outcome, "response_code", None)
        assert code == (402 if who == "nobody" else 400), outcome


def test_an_applicant_with_the_token_sees_how_it_stands_and_nobody_in_clear(office: Store) -> None:
    made = apply(office)
    asked = {"number": made["number"], "token": made["token"]}
    shown = do(office, "applications.show", asked, None)
    assert shown["state"] == "in review"
    assert {each["state"] for each in shown["people"]} == {"encrypted"}
    assert refused(office, "applications.show", asked | {"token": "guess"}, None)[0] == 402
    assert refused(office, "applications.show", asked | {"token": ""}, STRANGER)[0] == 400
    assert refused(office, "applications.show", asked | {"people": True}, None)[0] == 402
    assert refused(office, "applications.show", asked | {"number": 9}, None)[0] == 402


def test_the_journal_says_who_decided_when_and_why(office: Store) -> None:
    number = give_out(office)
    shown = do(office, "applications.show", {"number": number})
    assert shown["reviewer"] == "300:88.118/REVIEWER"
    assert shown["decided"].startswith("20")
    assert shown["mode"] == "hosted"
    assert do(office, "prefixes.show", {"prefix": "88.118.5"})["application"] == number
