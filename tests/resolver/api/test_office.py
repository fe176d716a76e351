"""The prefix office over REST: which act a request asks for, and what is refused before."""

from typing import Any

import pytest

from tests.resolver.api.calls import Api

NUMBER = "/api/applications/7"


@pytest.mark.parametrize(
    ("method", "path", "document", "name", "parameters"),
    [
        ("POST", "/api/applications", {"prefix": "88.5"}, "applications.apply", {"prefix": "88.5"}),
        ("POST", f"{NUMBER}/approve", {"mode": "hosted"}, "applications.approve",
         {"mode": "hosted", "number": 7}),
        ("POST", f"{NUMBER}/refuse", {"reason": "x"}, "applications.refuse",
         {"reason": "x", "number": 7}),
        ("POST", "/api/prefixes/88.5/suspend", {"reason": "x"}, "prefixes.suspend",
         {"reason": "x", "prefix": "88.5"}),
        ("POST", "/api/prefixes/88.5/remove", {}, "prefixes.remove", {"prefix": "88.5"}),
        ("PUT", "/api/quotas/88.5", {"requestsPerDay": 5}, "quotas.set",
         {"requestsPerDay": 5, "prefix": "88.5"}),
    ],
)  # fmt: skip
def test_what_is_sent_becomes_an_act(
    method: str, path: str, document: Any, name: str, parameters: dict[str, Any]
) -> None:
    api = Api()
    answer = api.send_json(method, path, document)
    assert answer.status == (201 if name == "applications.apply" else 200)
    (call,) = api.operations.act_calls
    assert (call["name"], call["parameters"]) == (name, parameters)
    assert call["address"] == "192.0.2.1"


@pytest.mark.parametrize(
    ("path", "name", "parameters"),
    [
        ("/api/applications?state=in+review&after=3&limit=5", "applications.list",
         {"state": "in review", "after": 3, "limit": 5}),
        (f"{NUMBER}?people=true", "applications.show",
         {"number": 7, "token": "secret", "people": True}),
        ("/api/prefixes/88.5", "prefixes.show", {"prefix": "88.5"}),
        ("/api/quotas/88.5", "quotas.show", {"prefix": "88.5"}),
    ],
)  # fmt: skip
def test_what_is_asked_becomes_an_act(path: str, name: str, parameters: dict[str, Any]) -> None:
    api = Api()
    assert api.request("GET", path, headers={"application-token": "secret"}).status == 200
    (call,) = api.operations.act_calls
    assert (call["name"], call["parameters"]) == (name, parameters)


def test_a_person_is_erased_by_the_subject() -> None:
    api = Api()
    assert api.request("DELETE", "/api/people/00ff").status == 200
    assert api.operations.act_calls[0]["parameters"] == {"subject": "00ff"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/applications"), ("GET", "/api/applications"), ("GET", NUMBER),
        ("POST", f"{NUMBER}/approve"), ("GET", "/api/prefixes/88.5"),
        ("POST", "/api/prefixes/88.5/suspend"), ("GET", "/api/quotas/88.5"),
        ("PUT", "/api/quotas/88.5"), ("DELETE", "/api/people/00"),
    ],
)  # fmt: skip
def test_nothing_of_it_goes_over_plain_http(method: str, path: str) -> None:
    api = Api()
    answer = api.request(method, path, b"{}", scheme="http",
                         headers={"content-type": "application/json"})  # fmt: skip
    assert (answer.status, "https only" in answer.json["message"]) == (403, True)
    assert api.operations.act_calls == []


@pytest.mark.parametrize(
    ("path", "document", "words"),
    [
        (f"{NUMBER}/approve", {"number": 8}, "number stands in the path"),
        ("/api/prefixes/88.5/suspend", {"prefix": "88.6"}, "prefix stands in the path"),
        ("/api/applications", ["x"], "not a JSON object"),
        ("/api/applications", {"x": "y" * 70_000}, "at most 65536"),
        ("/api/applications/x/approve", {}, "no number of an application"),
        ("/api/applications/" + "9" * 30 + "/approve", {}, "no number of an application"),
        (f"{NUMBER}/delete", {}, "known are approve, refuse"),
        ("/api/prefixes/88.5/explode", {}, "known are suspend"),
    ],
)
def test_what_cannot_be_an_act_is_refused(path: str, document: Any, words: str) -> None:
    api = Api()
    answer = api.send_json("POST", path, document)
    assert answer.status in (400, 404)
    assert words in answer.json["message"]
    assert api.operations.act_calls == []
