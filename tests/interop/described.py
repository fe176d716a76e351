"""Answers of a node held against the OpenAPI document that it serves itself."""

import base64
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import jsonschema_rs

from tests.nodes import HttpAnswer, Node


class Described:
    """A node's REST interface, asked as one user; each answer has to be as it is described.

    Args:
        node: takes credentials in clear.
        user: `300:88/USER`.
        secret: the user's.
    """

    def __init__(self, node: Node, user: str, secret: str) -> None:
        self._node = node
        self._document = node.get("/api/openapi.json").json
        credentials = f"{quote(user, safe='')}:{secret}".encode()
        self._headers = {"Authorization": "Basic " + base64.b64encode(credentials).decode()}
        self.asked: set[tuple[str, str]] = set()

    def send(
        self, method: str, target: str, body: bytes | None, headers: dict[str, str]
    ) -> HttpAnswer:
        """Return an answer, whatever it is."""
        return self._node.http(method, target, body, {**self._headers, **headers})

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        at: Mapping[str, object] | None = None,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Return what a request is answered; `at` stands in the braces of the path."""
        target = path.format(**{name: quote(str(text)) for name, text in (at or {}).items()})
        if query:
            target += "?" + urlencode(query)
        sent = dict(headers or {})
        octets = body.encode() if isinstance(body, str) else None
        if body is not None and octets is None:
            octets, sent = json.dumps(body).encode(), {"Content-Type": "application/json", **sent}
        answer = self.send(method, target, octets, sent)
        assert answer.status in (200, 201), (method, target, answer)
        described = self._document["paths"][path][method.lower()]["responses"]
        assert str(answer.status) in described, (method, target, answer.status)
        content = described[str(answer.status)]["content"]["application/json"]
        schema = {**content["schema"], "components": self._document["components"]}
        faults = list(jsonschema_rs.validator_for(schema).iter_errors(answer.json))
        assert not faults, (method, target, [str(each) for each in faults], answer.json)
        self.asked.add((method, path))
        return answer.json
