"""A REST client that proves its key with `Authorization: Handle`, over plain HTTP on loopback."""

import base64
import http.client
import json
import re
import secrets
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

from tests.faults.wire_client import TIMEOUT_S, Administrator
from tests.nodes import HttpAnswer, Node

_FIELD = re.compile(r'(\w+)="([^"]*)"')


class RestSession:
    """One kept connection and one session in the node's name for the administrator."""

    def __init__(self, node: Node, admin: Administrator) -> None:
        self._connection = http.client.HTTPConnection(*node.http_address, timeout=TIMEOUT_S)
        self._admin = admin
        self._authorization = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connection.close()

    def put(self, handle: str, values: list[dict[str, Any]]) -> HttpAnswer:
        """PUT a handle's values, answering a challenge when there is one."""
        return self.put_octets(handle, json.dumps(values).encode())

    def put_octets(self, handle: str, body: bytes) -> HttpAnswer:
        """PUT a body as it is."""
        return self._put(f"/api/handles/{quote(handle)}", body)

    def put_at(self, target: str, values: list[dict[str, Any]]) -> HttpAnswer:
        """PUT values at a handle that is written with its query."""
        return self._put(f"/api/handles/{target}", json.dumps(values).encode())

    def _put(self, path: str, body: bytes) -> HttpAnswer:
        answer = self._request("PUT", path, body)
        if answer.status == 401 and "nonce" in answer.headers.get("www-authenticate", ""):
            self._answer(read_challenge(answer.headers["www-authenticate"]))
            answer = self._request("PUT", path, body)
        return answer

    def _request(self, method: str, path: str, body: bytes) -> HttpAnswer:
        headers = {"Content-Type": "application/json"}
        if self._authorization:
            headers["Authorization"] = self._authorization
        self._connection.request(method, path, body, headers)
        response = self._connection.getresponse()
        names = {name.lower(): value for name, value in response.getheaders()}
        return HttpAnswer(response.status, names, response.read())

    def _answer(self, challenge: dict[str, str]) -> None:
        self._authorization = prove_key(self._admin, challenge)


def read_challenge(header: str) -> dict[str, str]:
    """The fields of a WWW-Authenticate header."""
    return dict(_FIELD.findall(header))


def prove_key(admin: Administrator, challenge: Mapping[str, str]) -> str:
    """The Authorization header that answers a challenge."""
    mine = secrets.token_bytes(16)
    signed = base64.b64decode(challenge["nonce"]) + mine
    proof = admin.key.sign(signed, PKCS1v15(), hashes.SHA256())
    fields = {
        "sessionId": challenge["sessionId"],
        "id": quote(f"{admin.key_index}:{admin.handle.decode()}", safe=""),
        "type": "HS_PUBKEY",
        "cnonce": base64.b64encode(mine).decode(),
        "alg": "SHA256",
        "signature": base64.b64encode(proof).decode(),
    }
    return "Handle " + ", ".join(f'{name}="{value}"' for name, value in fields.items())
