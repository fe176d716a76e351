"""A node's REST interface for ranges, without sockets, that fails as it is told."""

import json
from typing import Any
from urllib.parse import unquote

import httpx

from tests.resolver.client.fake_registry import FakeRegistry, answer

Form = dict[str, Any]


class FakeOffice(FakeRegistry):
    """Keeps ranges without check characters; refuses what is in the way of another.

    `faults` are taken in turn, one for each request that is no log-in:

        refuse   nobody listens         lose     it is done, the answer is lost
        busy     503                    garbage  200, and no JSON
    """

    def __init__(self, *faults: str) -> None:
        super().__init__(*faults)
        self.ranges: list[Form] = []
        self.asked: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        if request.url.path.startswith("/api/sessions"):
            return self._log_in(request)
        fault = self.faults.pop(0) if self.faults else ""
        path = request.url.raw_path.decode().partition("?")[0]
        self.asked.append(f"{request.method} {path}")
        if fault == "refuse":
            raise httpx.ConnectError("connection refused")
        if fault == "busy":
            return answer(503, {"responseCode": 3, "message": "busy"})
        if fault == "garbage":
            return httpx.Response(200, content=b"<html>")
        found = self._serve(request, unquote(path), json.loads(body) if body else {})
        if fault == "lose":
            raise httpx.ReadTimeout("")
        return found

    def _serve(self, request: httpx.Request, path: str, document: Form) -> httpx.Response:
        if path == "/api/ranges" and request.method == "POST":
            return self.make(document)
        if path == "/api/ranges":
            return self._list(request.url.params)
        if path == "/api/ranges/count":
            return answer(200, {"responseCode": 1, **COUNTS})
        found = self.find(document.get("identifier") or path.removeprefix("/api/ranges/of/"))
        if found is None:
            return answer(404, {"responseCode": 100, "message": "no range holds it"})
        return self._change(path, found, document)

    def _change(self, path: str, found: Form, document: Form) -> httpx.Response:
        if path.endswith("/shrink"):
            found |= {"first": document["first"], "last": document["last"]}
        elif path.endswith("/revoke"):
            found |= {"state": "revoked", "reason": document["reason"]}
        elif path.endswith("/split"):
            serial = document["identifier"].removeprefix(found["stem"])
            second = {**found, "first": serial}
            found["last"] = f"{int(serial) - 1:0{len(serial)}}"
            self.ranges.append(second)
            return answer(200, {"responseCode": 1, "ranges": [found, second]})
        return answer(200, {"responseCode": 1, "range": found})

    def find(self, identifier: str) -> Form | None:
        """The range that holds an identifier."""
        for each in self.ranges:
            stem, serial = each["stem"], identifier[len(each["stem"]) :]
            if identifier.startswith(stem) and each["first"] <= serial <= each["last"]:
                return each
        return None

    def make(self, document: Form) -> httpx.Response:
        """Register a range, or refuse it."""
        first = document["stem"] + document["first"]
        if (other := self.find(first)) is not None:
            words = f"{other['stem']}{other['first']}..{other['last']} is in the way"
            return answer(409, {"responseCode": 101, "message": words})
        made = {
            **document,
            "values": [shown(value) for value in document["values"]],
            "identifiers": int(document["last"]) - int(document["first"]) + 1,
            "state": "active",
            "registered": "2026-11-21T08:00:00Z",
            "by": "300:0.NA/88",
        }
        self.ranges.append(made)
        return answer(201, {"responseCode": 1, "range": made})

    def _list(self, params: httpx.QueryParams) -> httpx.Response:
        start, limit = int(params.get("after") or 0), int(params["limit"])
        stem = params.get("stem", "")
        chosen = [each for each in self.ranges if each["stem"].startswith(stem)]
        more = start + limit < len(chosen)
        following = str(start + limit) if more else ""
        page = chosen[start : start + limit]
        return answer(200, {"responseCode": 1, "ranges": page, "next": following})


COUNTS = {
    "rows": 3,
    "ranges": 2,
    "identifiers": 10**18 + 3,
    "inRanges": 10**18 + 2,
    "overrides": 1,
    "deleted": 1,
}


def shown(value: Form) -> Form:
    """A value as a node tells it: with the time, and {prefix} as the constant that it is."""
    data = {**value["data"], "value": value["data"]["value"].replace("{prefix}", "88")}
    return {**value, "timestamp": "2026-11-21T08:00:00Z", "data": data}
