"""Calls to an ASGI application without a socket, and a node's operations to put behind it."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

from protocol.bodies import Body, ErrorAnswer, ValuesRequest
from protocol.codes import ResponseCode
from protocol.value import HandleValue
from registry.streams import Batch
from resolver.api.app import make_app
from resolver.api.context import Authorization
from resolver.config import Config, MetricsConfig, NodeRole, TlsConfig
from resolver.dispatch import Peer
from resolver.node_receipts import ReceiptFindings
from resolver.query import Result
from resolver.rest_operations import Listing

URL = HandleValue(1, b"URL", b"https://example.org/x", timestamp=1_795_000_000)


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes
    challenges: tuple[str, ...] = ()  # every WWW-Authenticate, in order; `headers` has the last

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Call(NamedTuple):
    opcode: int
    body: Body
    flags: int
    authorization: Authorization
    peer: Peer


class FakeOperations:
    """Answers every operation with `result`, or what `results` has for it, and remembers it."""

    def __init__(self, result: Result | None = None) -> None:
        self.result = result or Result(ResponseCode.SUCCESS, ValuesRequest(b"88.118/x", (URL,)))
        self.decide: Callable[[Call], Result] | None = None
        self.listing = Listing(ResponseCode.SUCCESS, (b"88.118/A", b"88.118/B"), 7)
        self.pages: list[tuple[bytes, int, int]] = []
        self.afters: list[bytes] = []
        self.verifications: list[dict[str, Any]] = []
        self.verification: dict[str, Any] = {"code": 1, "message": b"", "holds": True}
        self.calls: list[Call] = []
        self.session_calls: list[tuple[str, dict[str, Any]]] = []
        self.session: dict[str, Any] = {
            "code": 1,
            "session_id": "s1",
            "nonce": b"0123456789abcdef",
            "authenticated": False,
            "handle": b"",
            "index": 0,
        }
        self.stream_calls: list[tuple[str, dict[str, Any]]] = []
        self.act_calls: list[dict[str, Any]] = []
        self.act_reply: dict[str, Any] = {"code": 1, "message": b"", "result": {}}
        self.stream: dict[str, Any] = {"code": 402, "message": b""}
        self.check: Callable[[str, int], ReceiptFindings] | None = None
        self.state: dict[str, Any] = {"ready": True, "role": "top", "read_only": ""}

    async def perform(
        self, opcode: int, body: Body, flags: int, authorization: Authorization, peer: Peer
    ) -> Result:
        call = Call(opcode, body, flags, authorization, peer)
        self.calls.append(call)
        return self.decide(call) if self.decide is not None else self.result

    async def list_handles(
        self,
        prefix_handle: bytes,
        page: int,
        page_size: int,
        authorization: Authorization,
        peer: Peer,
        after: bytes = b"",
    ) -> Listing:
        self.pages.append((prefix_handle, page, page_size))
        self.afters.append(after)
        return self.listing

    async def verify(self, payload: dict[str, Any]) -> dict[str, Any]:
        self.verifications.append(payload)
        return self.verification

    async def rest_session(self, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        self.session_calls.append((action, payload))
        return self.session

    async def registrations(self, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        self.stream_calls.append((action, payload))
        return self.stream

    async def act(self, payload: dict[str, Any]) -> dict[str, Any]:
        self.act_calls.append(payload)
        return self.act_reply

    def find_verdicts(self, name: bytes, first: int, last: int) -> Batch | None:
        return None

    async def check_receipt(self, token: str, after: int) -> ReceiptFindings:
        assert self.check is not None
        return self.check(token, after)

    async def status(self) -> dict[str, Any]:
        return self.state


def refused(code: int, words: bytes = b"") -> Result:
    return Result(code, ErrorAnswer(words))


class Api:
    def __init__(
        self,
        operations: FakeOperations | None = None,
        *,
        plain_on_loopback: bool = False,
        metrics_allow: tuple[str, ...] = ("127.0.0.0/8",),
        role: NodeRole = NodeRole.TOP,
    ) -> None:
        self.operations = operations or FakeOperations()
        config = Config(
            role=role,
            tls=TlsConfig(allow_plain_credentials_on_loopback=plain_on_loopback),
            metrics=MetricsConfig(allow=metrics_allow),
        )
        self.app = make_app(self.operations, config)

    @property
    def call(self) -> Call:
        """The one operation that was carried out."""
        (call,) = self.operations.calls
        return call

    def request(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        scheme: str = "https",
        client: str = "192.0.2.1",
        state: dict[str, Any] | None = None,
        http_version: str = "1.1",
    ) -> Answer:
        parts = (method, target, body, headers or {}, scheme, client, state or {}, http_version)
        return asyncio.run(self._request(*parts))

    def send_json(self, method: str, target: str, document: Any, **options: Any) -> Answer:
        headers = {"content-type": "application/json", **options.pop("headers", {})}
        return self.request(
            method, target, json.dumps(document).encode(), headers=headers, **options
        )

    async def _request(
        self,
        method: str,
        target: str,
        body: bytes,
        headers: Mapping[str, str],
        scheme: str,
        client: str,
        state: dict[str, Any],
        http_version: str,
    ) -> Answer:
        raw_path, _, query = target.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": http_version,
            "method": method,
            "scheme": scheme,
            "path": unquote(raw_path),
            "raw_path": raw_path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode(), text.encode()) for name, text in headers.items()],
            "client": (client, 50_000),
            "server": ("192.0.2.9", 8_000),
            "state": state,
        }
        events = iter([{"type": "http.request", "body": body, "more_body": False}])
        sent: list[Any] = []

        async def receive() -> Any:
            return next(events, {"type": "http.disconnect"})

        async def send(event: Any) -> None:
            sent.append(event)

        try:
            await self.app(scope, receive, send)
        except RuntimeError:
            if not sent:  # the server logs what is raised after an answer
                raise
        start, *rest = sent
        found = {name.decode(): text.decode() for name, text in start["headers"]}
        challenges = tuple(
            text.decode() for name, text in start["headers"] if name == b"www-authenticate"
        )
        octets = b"".join(each.get("body", b"") for each in rest)
        return Answer(start["status"], found, octets, challenges)
