"""Templates over REST: what is passed on to the registrar, and what is refused before that."""

from typing import Any

import pytest

from tests.resolver.api.calls import Api

FORM = {"prefix": "88.118", "code": "auto-part", "version": 1, "attributes": []}
BODY = {"template": "auto-part", "attributes": {"serial": "1"}}
MADE = {"handle": "88.118/x", "template": "88.118:auto-part", "version": 1, "replaced": False}


def api_with(result: dict[str, Any]) -> Api:
    api = Api()
    api.operations.act_reply["result"] = result
    return api


def act(api: Api) -> tuple[str, dict[str, Any]]:
    """The one act that was asked of the registrar."""
    (call,) = api.operations.act_calls
    return call["name"], call["parameters"]


@pytest.mark.parametrize(("is_new", "status"), [(True, 201), (False, 200)])
def test_registering(is_new: bool, status: int) -> None:
    api = api_with({"template": FORM, "registered": is_new})
    answer = api.send_json("POST", "/api/templates", FORM)
    assert answer.status == status
    assert answer.json == {"responseCode": 1, "template": FORM, "registered": is_new}
    assert act(api) == ("templates.register", FORM)


def test_listing() -> None:
    api = api_with({"templates": [FORM], "next": "c2"})
    answer = api.request("GET", "/api/templates?prefix=88.118&code=a&after=c1&limit=7")
    assert answer.json == {"responseCode": 1, "templates": [FORM], "next": "c2"}
    expected = {"prefix": "88.118", "code": "a", "after": "c1", "limit": 7}
    assert act(api) == ("templates.list", expected)


@pytest.mark.parametrize(
    ("path", "expected"), [("", {}), ("/2", {"version": 2}), ("/10000", {"version": 10_000})]
)
def test_showing(path: str, expected: dict[str, int]) -> None:
    api = api_with({"template": FORM})
    answer = api.request("GET", f"/api/templates/88.118/auto-part{path}")
    assert answer.json["template"] == FORM
    named = {"prefix": "88.118", "code": "auto-part", **expected}
    assert act(api) == ("templates.show", named)


def test_withdrawing() -> None:
    api = api_with({"template": FORM})
    path = "/api/templates/88.118/auto-part/1/withdrawal"
    assert api.send_json("PUT", path, {"reason": "错"}).status == 200
    expected = {"prefix": "88.118", "code": "auto-part", "version": 1, "reason": "错"}
    assert act(api) == ("templates.withdraw", expected)


@pytest.mark.parametrize(("replaced", "status"), [(False, 201), (True, 200)])
def test_a_handle_from_a_template(replaced: bool, status: int) -> None:
    api = api_with({**MADE, "replaced": replaced})
    answer = api.send_json("PUT", "/api/handles/88.118/x?overwrite=false", {**BODY, "version": 1})
    assert (answer.status, answer.json) == (
        status,
        {"responseCode": 1, **MADE, "replaced": replaced},
    )
    name, parameters = act(api)
    assert name == "templates.create_handle"
    assert parameters == {
        **BODY,
        "version": 1,
        "values": None,
        "handle": b"88.118/x",
        "overwrite": False,
    }
    assert not api.operations.calls


@pytest.mark.parametrize(
    ("method", "path", "document", "words"),
    [
        ("POST", "/api/templates", [], "not a JSON object"),
        ("POST", "/api/templates", {"version": 2**64}, "more than 64 bits"),
        ("POST", "/api/templates", {"a": {"b": [{"c": 2**70}]}}, "more than 64 bits"),
        ("PUT", "/api/templates/88.118/a/x/withdrawal", {}, "version is 'x'"),
        ("PUT", "/api/templates/88.118/a/123456/withdrawal", {}, "version is '123456'"),
        ("PUT", "/api/handles/88.118/x", {"template": "a"}, "attributes is missing"),
        ("PUT", "/api/handles/88.118/x?index=1", BODY, "do not go together"),
        ("PUT", "/api/handles/88.118/x?mintNewSuffix=true", BODY, "do not go together"),
        ("PUT", "/api/handles/88.118/x", {**BODY, "attributes": {"a": 2**64}}, "64 bits"),
        ("PUT", "/api/handles/88.118/x", {**BODY, "attributes": {"a": {}}}, "neither text"),
    ],
)
def test_what_is_refused_at_once(method: str, path: str, document: Any, words: str) -> None:
    api = api_with({})
    answer = api.send_json(method, path, document)
    assert answer.status == 400
    assert words in answer.json["message"]
    assert not api.operations.act_calls


def test_a_list_names_a_prefix() -> None:
    answer = api_with({}).request("GET", "/api/templates")
    assert (answer.status, "name a prefix" in answer.json["message"]) == (400, True)


def test_a_document_nested_deep_is_refused() -> None:
    document: Any = {}
    for _ in range(40):
        document = {"a": document}
    answer = api_with({}).send_json("POST", "/api/templates", document)
    assert (answer.status, "nested too deep" in answer.json["message"]) == (400, True)


def test_what_the_registrar_refuses_is_told() -> None:
    api = api_with({})
    api.operations.act_reply = {"code": 101, "message": b"never changes"}
    answer = api.send_json("POST", "/api/templates", FORM)
    assert (answer.status, answer.json) == (409, {"responseCode": 101, "message": "never changes"})
