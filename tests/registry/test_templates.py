"""Templates: documents with all their faults, versions that never change, withdrawal, lists."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from protocol.codes import ResponseCode
from registry import template_acts
from registry.acts import Done
from registry.log import LocalLog
from registry.outcomes import Refusal
from registry.store import Store
from registry.template_documents import parse_template
from registry.templates import Registered, decode_template, encode_template
from registry.verify import verify
from tests.registry.builders import ADMIN, NOW_S, ROOT, STRANGER, open_store
from tests.registry.template_builders import DOCUMENT, act, made_row, register, seed, send

NAMED = {"prefix": "88.118", "code": "auto-part"}


@pytest.fixture
def seeded(tmp_path: Path) -> Iterator[Store]:
    seed(tmp_path / "seeded")
    with open_store(tmp_path / "seeded") as store:
        yield store


def done(outcome: object) -> dict[str, Any]:
    assert isinstance(outcome, Done), outcome
    return outcome.result


def refusal(outcome: object) -> tuple[int, str]:
    assert isinstance(outcome, Refusal), outcome
    return outcome.response_code, outcome.message.decode()


def test_a_template_is_shown_as_it_was_registered(seeded: Store) -> None:
    made = done(register(seeded))
    assert made["registered"]
    form = done(act(seeded, "templates.show", NAMED, identity=None))["template"]
    assert form == made["template"]
    assert form["by"] == "300:0.NA/88.118"
    assert (form["version"], form["industry"], form["activeCarrier"]) == (1, "C3670", False)
    again = {key: form[key] for key in DOCUMENT}
    assert parse_template(again) == parse_template(DOCUMENT)


def test_types_are_named_in_any_case() -> None:
    attributes = [
        {"name": "page", "type": "URL"},
        {"name": "on", "type": "List", "itemType": "DATE"},
    ]
    template = parse_template(DOCUMENT | {"attributes": attributes}).template
    assert template is not None
    assert [each.type for each in template.attributes] == ["url", "list"]
    assert template.attributes[1].item == "date"


def test_entries_encode_and_decode_invert_each_other() -> None:
    template = parse_template(DOCUMENT).template
    assert template is not None
    registered = Registered(template, NOW_S, ADMIN)
    assert decode_template(encode_template(registered)) == registered


def test_the_same_again_changes_nothing(seeded: Store) -> None:
    first = done(register(seeded))
    with seeded.read() as view:
        head = view.head()
    for version in (1, None):
        again = done(register(seeded, version=version))
        assert (again["registered"], again["template"]) == (False, first["template"])
    with seeded.read() as view:
        assert view.head() == head


@pytest.mark.parametrize("change", [{"title": "x"}, {"industry": "C36"}, {"activeCarrier": True}])
def test_a_version_never_changes(seeded: Store, change: dict[str, Any]) -> None:
    first = done(register(seeded))["template"]
    code, words = refusal(register(seeded, **change))
    assert code == ResponseCode.HANDLE_ALREADY_EXISTS
    assert "88.118:auto-part version 1" in words
    assert "register version 2" in words
    assert done(register(seeded, **change, version=None))["template"]["version"] == 2
    shown = act(seeded, "templates.show", {**NAMED, "version": 1})
    assert done(shown)["template"] == first


def test_no_version_is_left_out(seeded: Store) -> None:
    for version in (2, 7):
        assert "the next one is version 1" in refusal(register(seeded, version=version))[1]
    done(register(seeded))
    assert "the next one is version 2" in refusal(register(seeded, version=3, title="x"))[1]


def test_whoever_may_not_create_handles_registers_none(seeded: Store) -> None:
    for identity, code in (
        (None, ResponseCode.AUTHENTICATION_NEEDED),
        (STRANGER, ResponseCode.INVALID_ADMIN),
    ):
        for name, parameters in (
            ("templates.register", DOCUMENT),
            ("templates.withdraw", {**NAMED, "version": 1, "reason": "x"}),
        ):
            if name == "templates.withdraw":
                done(register(seeded))
            assert refusal(act(seeded, name, parameters, identity=identity))[0] == code
    assert done(act(seeded, "templates.register", {**DOCUMENT, "code": "b"}, identity=ROOT))


def test_a_prefix_that_is_not_homed_has_none(seeded: Store) -> None:
    code, words = refusal(register(seeded, prefix="77.1"))
    assert (code, words) == (
        ResponseCode.SERVER_NOT_RESPONSIBLE,
        "prefix 77.1 is not homed on this node",
    )


def test_all_faults_of_a_document_are_said_at_once() -> None:
    document = {
        "prefix": "88/118",
        "code": "Auto Part",
        "version": 0,
        "title": "t" * 257,
        "industry": "36",
        "activeCarrier": "no",
        "color": "red",
        "attributes": [
            {"name": "serial", "type": "string"},
            {"name": "SERIAL", "type": "text"},
            {"name": "hs_admin", "type": "string"},
            {"name": "TEMPLATE", "type": "string"},
            {"name": "1st", "type": "string", "itemType": "string"},
            {"name": "a", "type": "date", "length": 5},
            {"name": "b", "type": "string", "length": 0},
            {"name": "c", "type": "enumeration", "values": []},
            {"name": "d", "type": "enumeration", "values": ["x", "x"]},
            {"name": "e", "type": "list", "itemType": "list"},
            {"name": "f", "type": "string", "values": ["x"]},
            {"name": "g", "type": "enumeration", "values": ["x", ""]},
            {"name": "h", "type": "list", "itemType": "string", "length": 1_025},
            "i",
        ],
    }
    faults = "\n".join(parse_template(document).faults)
    for start in ("prefix", "code", "version", "title", "industry", "activeCarrier"):
        assert f"\n{start} is" in f"\n{faults}", start
    assert "'color'" in faults
    for number in range(1, 14):
        assert f"attributes[{number}]" in faults, number
    assert "attributes[0]" not in faults


@pytest.mark.parametrize(
    ("industry", "is_code"),
    [("C", True), ("C36", True), ("C367", True), ("C3670", True), ("A0111", True), ("T", True)]
    + [(each, False) for each in ("", "c36", "C3", "C36700", "U36", "C36x", "36", None, 36)],
)
def test_industry_codes_have_up_to_four_levels(industry: Any, is_code: bool) -> None:
    assert (parse_template({**DOCUMENT, "industry": industry}).template is not None) is is_code


@pytest.mark.parametrize("attributes", [None, [], {}, "a", [{"name": "a", "type": "date"}] * 257])
def test_the_number_of_attributes_is_bounded(attributes: Any) -> None:
    (fault,) = parse_template({**DOCUMENT, "attributes": attributes}).faults
    assert fault.startswith("attributes: ")
    assert "1 to 256" in fault


def test_256_attributes_are_possible_and_two_of_a_name_are_not(seeded: Store) -> None:
    attributes = [{"name": f"a{number}", "type": "number"} for number in range(256)]
    assert done(register(seeded, attributes=attributes))
    attributes[255] = {"name": "A7", "type": "number"}
    (fault,) = parse_template({**DOCUMENT, "attributes": attributes}).faults
    assert fault == "attributes[255]: there is a 'A7' already, case aside"


def test_a_template_has_bounded_octets(seeded: Store) -> None:
    values = [f"{number:03}" + "v" * 253 for number in range(1_000)]
    attributes = [{"name": "a", "type": "enumeration", "values": values}]
    words = refusal(register(seeded, attributes=attributes))[1]
    assert "at most 131,072 fit" in words


def test_the_number_of_templates_is_bounded(seeded: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_acts, "CODES_MAX", 2)
    for code in ("a", "b"):
        for title in ("1", "2", "3"):  # versions are not counted
            done(register(seeded, code=code, version=None, title=title))
    assert "has 2 templates already" in refusal(register(seeded, code="c"))[1]
    assert done(register(seeded, code="a", version=4, title="4"))
    monkeypatch.setattr(template_acts, "VERSIONS_MAX", 4)
    assert "4 versions already" in refusal(register(seeded, code="a", version=5, title="5"))[1]


def test_a_list_is_paged_in_the_order_of_codes_and_versions(seeded: Store) -> None:
    expected = []
    for code in ("pump", "auto-part"):
        for version in (1, 2, 3):
            done(register(seeded, code=code, version=version, title=str(version)))
            expected.append((code, version))
    found, after = [], ""
    while True:
        asked = {"prefix": "88.118", "after": after, "limit": 2}
        page = done(act(seeded, "templates.list", asked, identity=None))
        found += [(each["code"], each["version"]) for each in page["templates"]]
        after = page["next"]
        if not after:
            break
    assert found == sorted(expected)
    one = done(act(seeded, "templates.list", {"prefix": "88.118", "code": "pump"}))
    assert [each["code"] for each in one["templates"]] == ["pump"] * 3
    assert done(act(seeded, "templates.list", {"prefix": "88.11"}))["templates"] == []


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"prefix": 7},
        {"prefix": "x" * 600},
        {"prefix": "88.118", "code": "No Code"},
        {"prefix": "88.118", "limit": 0},
        {"prefix": "88.118", "limit": 1_001},
        {"prefix": "88.118", "limit": True},
        {"prefix": "88.118", "after": "zz"},
        {"prefix": "88.118", "after": "00" * 600},
        {"prefix": "88.118", "after": 7},
    ],
)
def test_lists_of_another_form_are_refused(seeded: Store, parameters: dict[str, Any]) -> None:
    assert refusal(act(seeded, "templates.list", parameters))[0] == ResponseCode.INVALID_VALUE


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"prefix": "88.118", "code": "none"}, ResponseCode.HANDLE_NOT_FOUND),
        ({**NAMED, "version": 9}, ResponseCode.HANDLE_NOT_FOUND),
        ({**NAMED, "version": 0}, ResponseCode.INVALID_VALUE),
        ({**NAMED, "version": 10**30}, ResponseCode.INVALID_VALUE),
        ({**NAMED, "code": "a\0b"}, ResponseCode.INVALID_VALUE),
        ({"code": "auto-part"}, ResponseCode.INVALID_VALUE),
    ],
)
def test_what_is_not_there_is_not_shown(
    seeded: Store, parameters: dict[str, Any], code: int
) -> None:
    done(register(seeded))
    assert refusal(act(seeded, "templates.show", parameters))[0] == code


def test_nothing_is_made_from_what_was_withdrawn(seeded: Store) -> None:
    done(register(seeded))
    attributes = {"serial": "1", "made": "2026-11-21"}
    assert send(seeded, [made_row(b"88.118/1", attributes)])[0].verdict == 1
    asked = {**NAMED, "version": 1, "reason": "grades were wrong"}
    withdrawn = done(act(seeded, "templates.withdraw", asked))["template"]["withdrawn"]
    assert (withdrawn["reason"], withdrawn["by"]) == ("grades were wrong", "300:0.NA/88.118")
    for version in (0, 1):
        run = send(seeded, [made_row(b"88.118/2", attributes, version=version)])[0]
        assert run.verdict == 0
        assert b"version 1 of 88.118:auto-part was withdrawn (grades were wrong)" in run.words
    with seeded.read() as view:
        record = view.find_record(b"88.118/1")
        assert record is not None
        assert record.find_value(2000) is not None
        head = view.head()
    again = done(act(seeded, "templates.withdraw", {**asked, "reason": "another"}))
    assert again["template"]["withdrawn"] == withdrawn
    with seeded.read() as view:
        assert view.head() == head
    done(register(seeded, version=2, title="right"))
    assert send(seeded, [made_row(b"88.118/2", attributes)])[0].verdict == 1


@pytest.mark.parametrize("changes", [{"reason": ""}, {"reason": 7}, {"reason": "x" * 1_025}])
def test_a_withdrawal_says_why(seeded: Store, changes: dict[str, Any]) -> None:
    done(register(seeded))
    asked = {**NAMED, "version": 1, **changes}
    assert "say why" in refusal(act(seeded, "templates.withdraw", asked))[1]


def test_a_withdrawal_names_a_version(seeded: Store) -> None:
    done(register(seeded))
    words = refusal(act(seeded, "templates.withdraw", {**NAMED, "reason": "x"}))[1]
    assert words == "say which version is withdrawn"


def test_templates_are_replayed_from_the_journal_and_from_a_snapshot(tmp_path: Path) -> None:
    seed(tmp_path)
    with open_store(tmp_path) as store:
        done(register(store))
        done(act(store, "templates.withdraw", {**NAMED, "version": 1, "reason": "x"}))
    assert verify(tmp_path).problems == []
    with open_store(tmp_path) as store, store.write() as view:
        sealed = LocalLog(view).seal_snapshot(NOW_S * 1000)
        LocalLog(view).trim(0, sealed.seq)
    assert verify(tmp_path).problems == []
    with open_store(tmp_path) as store, store.write(journaled=False) as view:
        view.writable("templates").put(b"\x82\0\0\0\x02", b"x")
    (problem,) = verify(tmp_path).problems
    assert problem.startswith("entry of templates")
    assert "no journal entry made it" in problem
