"""The life of identifiers over REST: what is passed on to the registrar, and what is refused."""

from typing import Any

import pytest

from registry.marks import REASON_OCTETS_MAX
from tests.resolver.api.calls import Api

FROZEN = {"handle": "88.118/x", "state": "frozen", "since": "2026-11-18T11:06:40Z"}


def act(api: Api) -> tuple[str, dict[str, Any]]:
    """The one act that was asked of the registrar."""
    (call,) = api.operations.act_calls
    return call["name"], call["parameters"]


@pytest.mark.parametrize("verb", ["freeze", "thaw", "revoke"])
def test_changes_of_the_state(verb: str) -> None:
    api = Api()
    api.operations.act_reply["result"] = FROZEN
    body = {"handle": "88.118/标 x", "reason": "why"}
    answer = api.send_json("POST", f"/api/life/{verb}", body)
    assert (answer.status, answer.json) == (200, {"responseCode": 1, **FROZEN})
    assert act(api) == (f"life.{verb}", body)


def test_a_reason_may_be_missing() -> None:
    api = Api()
    assert api.send_json("POST", "/api/life/freeze", {"handle": "88.118/x"}).status == 200
    assert act(api)[1]["reason"] == ""


@pytest.mark.parametrize(
    ("target", "name", "parameters"),
    [
        ("state?handle=88.118/a%2Fb", "life.show", {"handle": "88.118/a/b"}),
        ("history?handle=a/b", "life.history", {"handle": "a/b", "after": 0, "limit": 100}),
        (
            "history?handle=a/b&after=7&limit=3",
            "life.history",
            {"handle": "a/b", "after": 7, "limit": 3},
        ),
        ("as-of?handle=a/b&sequence=7", "life.as_of", {"handle": "a/b", "sequence": 7}),
        (
            "as-of?handle=a/b&time=2026-11-18T11:06:40%2B08:00",
            "life.as_of",
            {"handle": "a/b", "time": "2026-11-18T11:06:40+08:00"},
        ),
    ],
)
def test_reading(target: str, name: str, parameters: dict[str, Any]) -> None:
    api = Api()
    assert api.request("GET", f"/api/life/{target}").status == 200
    assert act(api) == (name, parameters)


@pytest.mark.parametrize(
    ("code", "status"), [(100, 404), (101, 409), (202, 400), (301, 400), (400, 403), (401, 403)]
)
def test_refusals_have_their_status(code: int, status: int) -> None:
    api = Api()
    api.operations.act_reply = {"code": code, "message": b"frozen by"}
    answer = api.send_json("POST", "/api/life/thaw", {"handle": "88.118/x"})
    assert (answer.status, answer.json) == (status, {"responseCode": code, "message": "frozen by"})


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "handle"),
        ({"handle": ""}, "handle"),
        ({"handle": 7}, "handle"),
        ({"handle": "a" * 2_049}, "handle"),
        ({"handle": "a/b", "reason": "x" * (REASON_OCTETS_MAX + 1)}, "reason"),
        ({"handle": "a/b", "reason": None}, "reason"),
        ({"handle": "a/b", "raison": "x"}, "raison"),
        ([], "object"),
    ],
)
def test_bodies_that_are_wrong(body: Any, words: str) -> None:
    api = Api()
    answer = api.send_json("POST", "/api/life/revoke", body)
    assert (answer.status, words in answer.json["message"]) == (400, True), answer.json
    assert api.operations.act_calls == []


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("state", "name the handle"),
        ("history?handle=", "name the handle"),
        ("state?handle=%FF", "not UTF-8"),
        ("state?handle=" + "a" * 2_049, "at most 2048 octets"),
        ("history?handle=a/b&limit=101", "from 1 to 100"),
        ("history?handle=a/b&after=x", "write a number"),
        ("as-of?handle=a/b", "say as of when"),
        ("as-of?handle=a/b&time=x&sequence=1", "say as of when"),
        ("as-of?handle=a/b&sequence=-1", "write a number"),
    ],
)
def test_queries_that_are_wrong(target: str, words: str) -> None:
    api = Api()
    answer = api.request("GET", f"/api/life/{target}")
    assert (answer.status, words in answer.json["message"]) == (400, True), answer.json
    assert api.operations.act_calls == []


def test_other_paths_and_methods_are_not_known() -> None:
    answer = Api().request("GET", "/api/life/kill?handle=a/b")
    assert (answer.status, "/api/life" in answer.json["message"]) == (404, True)
    answer = Api().request("GET", "/api/life/revoke?handle=a/b")
    assert (answer.status, answer.headers["allow"]) == (405, "POST, OPTIONS")
