"""Ranges over REST: what is passed on to the registrar, and what is refused before that."""

from typing import Any

import pytest

from registry.marks import REASON_OCTETS_MAX
from resolver.api.ranges import PAGE_RANGES, PAGE_RANGES_MAX
from tests.resolver.api.calls import Answer, Api

FORM = {"stem": "88.118/L.", "first": "001", "last": "250", "identifiers": 250}
VALUE = {"index": 1, "type": "URL", "data": "https://example.org/{serial}"}
DOCUMENT = {"stem": "88.118/L.", "first": "001", "last": "250", "values": [VALUE]}
IN_IT = {"identifier": "88.118/L.001"}


def without(document: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != name}


def api_with(result: dict[str, Any]) -> Api:
    api = Api()
    api.operations.act_reply["result"] = result
    return api


def act(api: Api) -> tuple[str, dict[str, Any]]:
    """The one act that was asked of the registrar."""
    (call,) = api.operations.act_calls
    assert (call["address"], call["transport"]) == ("192.0.2.1", 3)
    return call["name"], call["parameters"]


def test_registering() -> None:
    api = api_with({"range": FORM})
    answer = api.send_json("POST", "/api/ranges", {**DOCUMENT, "check": "gs1"})
    assert (answer.status, answer.json) == (201, {"responseCode": 1, "range": FORM})
    name, parameters = act(api)
    expected = {**DOCUMENT, "check": "gs1", "existing": "refuse"}
    assert (name, parameters) == ("ranges.register", expected)


def test_a_row_of_a_stream_is_as_good_a_document() -> None:
    api = api_with({"range": FORM})
    row = {"operation": "range", **DOCUMENT, "existing": "keep"}
    assert api.send_json("POST", "/api/ranges", row).status == 201
    parameters = act(api)[1]
    assert ("operation" in parameters, parameters["existing"]) == (False, "keep")


def test_listing() -> None:
    api = api_with({"ranges": [FORM], "next": "c2"})
    target = "/api/ranges?prefix=0.NA/88.118&stem=88.118/%E6%A0%87&after=c1&limit=7"
    answer = api.request("GET", target)
    assert answer.json == {"responseCode": 1, "ranges": [FORM], "next": "c2"}
    expected = {"prefix": "88.118", "stem": "88.118/标", "after": "c1", "limit": 7}
    assert act(api) == ("ranges.list", expected)


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        ("identifier=a/b.1", {"identifier": "a/b.1", "after": 0, "limit": 100}),
        ("identifier=a%2Fb.1&after=7&limit=3", {"identifier": "a/b.1", "after": 7, "limit": 3}),
    ],
)
def test_the_history_of_ranges(query: str, parameters: dict[str, Any]) -> None:
    api = api_with({"events": [], "next": 0})
    assert api.request("GET", f"/api/ranges/history?{query}").status == 200
    assert act(api) == ("ranges.history", parameters)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "name an identifier of the range"),
        ("identifier=" + "a" * 2_049, "name an identifier of the range"),
        ("identifier=a/b&after=-1", "after"),
        ("identifier=a/b&limit=101", "limit"),
    ],
)
def test_histories_that_cannot_be_asked_for(query: str, words: str) -> None:
    api = Api()
    answer = api.request("GET", f"/api/ranges/history?{query}")
    assert (answer.status, words in answer.json["message"]) == (400, True)
    assert api.operations.act_calls == []


def test_a_listing_begins_at_its_beginning() -> None:
    api = api_with({"ranges": [], "next": ""})
    api.request("GET", "/api/ranges?prefix=88.118")
    assert act(api)[1] == {"prefix": "88.118", "stem": "", "after": "", "limit": PAGE_RANGES}


def test_counting_is_exact_beyond_what_floating_point_is() -> None:
    api = api_with({"identifiers": 10**18 + 1, "inRanges": 2**70})
    answer = api.request("GET", "/api/ranges/count?prefix=88.118")
    assert answer.json == {"responseCode": 1, "identifiers": 10**18 + 1, "inRanges": 2**70}
    assert act(api) == ("ranges.count", {"prefix": "88.118"})


def test_the_range_of_an_identifier() -> None:
    api = api_with({"range": FORM})
    answer = api.request("GET", "/api/ranges/of/88.118/a%2Fb%20/%E6%A0%87.007")
    assert answer.json["range"] == FORM
    assert act(api) == ("ranges.show", {"identifier": "88.118/a/b /标.007"})


@pytest.mark.parametrize(
    ("verb", "document"),
    [
        ("shrink", {**IN_IT, "first": "001", "last": "007", "existing": "keep"}),
        ("split", IN_IT),
        ("revoke", {**IN_IT, "reason": "never produced", "existing": "refuse"}),
    ],
)
def test_changing(verb: str, document: dict[str, Any]) -> None:
    api = api_with({"range": FORM})
    answer = api.send_json("POST", f"/api/ranges/{verb}", document)
    assert (answer.status, answer.json) == (200, {"responseCode": 1, "range": FORM})
    assert act(api) == (f"ranges.{verb}", document)


@pytest.mark.parametrize(
    ("code", "status"), [(100, 404), (101, 409), (202, 400), (301, 400), (400, 403), (7, 503)]
)
def test_what_the_registrar_refuses(code: int, status: int) -> None:
    api = Api()
    api.operations.act_reply = {"code": code, "message": b"88.118/L.001..250 is in the way"}
    answer = api.send_json("POST", "/api/ranges", DOCUMENT)
    assert answer.status == status
    assert answer.json == {"responseCode": code, "message": "88.118/L.001..250 is in the way"}


def test_who_has_not_said_who_he_is_is_challenged() -> None:
    api = Api()
    api.operations.act_reply = {"code": 402, "message": b"log in"}
    answer = api.send_json("POST", "/api/ranges", DOCUMENT)
    assert answer.status == 401
    assert 'sessionId="s1"' in answer.headers["www-authenticate"]


def refused(answer: Answer, api: Api) -> str:
    """The words of a refusal that the registrar never heard of."""
    assert answer.status == 400
    assert api.operations.act_calls == []
    message: str = answer.json["message"]
    return message


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "expected `object`, got `array`"),
        (without(DOCUMENT, "stem"), "missing required field `stem`"),
        ({**DOCUMENT, "stem": ""}, "length >= 1 - at `stem`"),
        ({**DOCUMENT, "stem": "8" * 3_000}, "length <= 2048 - at `stem`"),
        ({**DOCUMENT, "first": 1}, "expected `str`, got `int` - at `first`"),
        ({**DOCUMENT, "last": "9" * 19}, "length <= 18 - at `last`"),
        ({**DOCUMENT, "existing": "drop"}, "invalid enum value 'drop' - at `existing`"),
        ({**DOCUMENT, "exsting": "keep"}, "unknown field `exsting`"),
        ({**DOCUMENT, "operation": "create"}, "invalid enum value 'create'"),
        ({**DOCUMENT, "values": [VALUE] * 2_049}, "length <= 2048 - at `values`"),
    ],
)
def test_documents_of_another_form(document: Any, words: str) -> None:
    api = Api()
    message = refused(api.send_json("POST", "/api/ranges", document), api)
    assert words in message
    assert 'write {"stem": "88.118.5/' in message


def test_what_cannot_be_sent_on() -> None:
    api = Api()
    document = {**DOCUMENT, "values": [{**VALUE, "index": 2**64}]}
    message = refused(api.send_json("POST", "/api/ranges", document), api)
    assert "more than 64 bits" in message


@pytest.mark.parametrize(
    ("verb", "document", "words"),
    [
        ("shrink", IN_IT, "missing required field `first`"),
        ("split", {}, "missing required field `identifier`"),
        ("revoke", IN_IT, "missing required field `reason`"),
        ("revoke", {**IN_IT, "reason": ""}, "length >= 1 - at `reason`"),
        ("revoke", {**IN_IT, "reason": "不" * (REASON_OCTETS_MAX // 3 + 1)}, "1024 octets of UTF"),
    ],
)
def test_changes_of_another_form(verb: str, document: dict[str, Any], words: str) -> None:
    api = Api()
    assert words in refused(api.send_json("POST", f"/api/ranges/{verb}", document), api)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("/api/ranges", "name a prefix"),
        ("/api/ranges?prefix=88.118/x", "name a prefix"),
        ("/api/ranges/count", "name a prefix"),
        ("/api/ranges?prefix=88&limit=0", f"from 1 to {PAGE_RANGES_MAX}"),
        (f"/api/ranges?prefix=88&limit={PAGE_RANGES_MAX + 1}", f"from 1 to {PAGE_RANGES_MAX}"),
        ("/api/ranges?prefix=88&after=" + "c" * 5_000, "longer than any cursor"),
        ("/api/ranges?prefix=88&stem=%ff", "stem is not UTF-8"),
        ("/api/ranges/of/88/%ff1", "not UTF-8"),
    ],
)
def test_questions_of_another_form(target: str, words: str) -> None:
    api = Api()
    assert words in refused(api.request("GET", target), api)
