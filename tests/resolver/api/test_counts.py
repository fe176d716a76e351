"""Statistics over REST: what is passed on to the registrar, and what is refused before that."""

from typing import Any

import pytest

from tests.resolver.api.calls import Api

RESULT = {"prefix": "88.118", "days": [], "identifiers": {"inRanges": 10**18}}


def asked(target: str) -> tuple[str, dict[str, Any]]:
    """The act that a request becomes."""
    api = Api()
    api.operations.act_reply["result"] = RESULT
    answer = api.request("GET", target)
    assert (answer.status, answer.json) == (200, {"responseCode": 1, **RESULT})
    (call,) = api.operations.act_calls
    return call["name"], call["parameters"]


@pytest.mark.parametrize(
    ("target", "name", "parameters"),
    [
        ("", "show", {}),
        ("?prefix=88.118&from=2026-01-01&to=x", "show",
         {"prefix": "88.118", "from": "2026-01-01", "to": "x"}),
        ("?prefix=%FF&other=1", "show", {"prefix": "?"}),
        ("/totals", "totals", {"limit": 1_000}),
        ("/totals?prefix=0.NA/88&after=88.1&limit=7", "totals",
         {"prefix": "0.NA/88", "after": "88.1", "limit": 7}),
        ("/sources?day=2026-11-21", "sources", {"day": "2026-11-21"}),
    ],
)  # fmt: skip
def test_questions(target: str, name: str, parameters: dict[str, Any]) -> None:
    assert asked("/api/statistics" + target) == (f"statistics.{name}", parameters)


def test_a_page_of_another_size_is_refused() -> None:
    answer = Api().request("GET", "/api/statistics/totals?limit=1001")
    assert answer.status == 400
    assert "limit is '1001': write a number from 1 to 1000" in answer.json["message"]


def test_who_has_not_said_who_he_is_is_challenged() -> None:
    api = Api()
    api.operations.act_reply = {"code": 402, "message": b"log in"}
    assert api.request("GET", "/api/statistics").status == 401
