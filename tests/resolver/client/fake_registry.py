"""A node that takes streams of registrations, without sockets, and fails as it is told."""

import base64
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import zstandard

from registry.receipts import START, chain
from registry.stream_rows import PackedRow
from resolver.rows.content_coding import make_decoder
from resolver.rows.readers import make_reader

CSV_OPTIONS = ("handle", "map", "operation", "delimiter")


class Sent(NamedTuple):
    """One request with rows."""

    first: int
    rows: int
    ends: bool
    coding: str


class FakeRegistry(httpx.AsyncBaseTransport):
    """Keeps the rows of one stream.

    `faults` are taken in turn, one for each request with rows:

        refuse   nobody listens             lose  all is done, the answer is lost
        half     half of the rows are done, then the connection breaks
        busy     503                        log out  401: the session has ended
        taken    500: another connection goes on with the stream
    """

    def __init__(self, *faults: str) -> None:
        self.faults = list(faults)
        self.down = False
        self.log_ins = 0
        self.believes = True
        self.sent: list[Sent] = []
        self.key = ""
        self.rows: list[PackedRow] = []
        self.repeated = 0
        self.ended = False
        self._session = 0

    @property
    def handles(self) -> list[str]:
        return [row[1].decode() for row in self.rows]

    def state(self) -> dict[str, Any]:
        return {
            "responseCode": 1,
            "next": len(self.rows) + 1,
            "key": self.key,
            "identity": "300:0.NA/88",
            "rows": len(self.rows),
            "created": len(self.rows),
            **dict.fromkeys(("replaced", "deleted", "unchanged", "refused"), 0),
            "firstSequence": 1,
            "lastSequence": 2,
            "digest": chain(START, [row[3] for row in self.rows]).hex(),
            "begun": "2026-11-21T08:00:00.000Z",
            "ended": "2026-11-21T08:00:01.000Z" if self.ended else None,
            "receipt": "signed" if self.ended else None,
        }

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            raise httpx.ConnectError("connection refused")
        body = await request.aread()
        path = request.url.path
        if path.startswith("/api/sessions"):
            return self._log_in(request)
        if f'sessionId="{self._session}"' not in request.headers["authorization"]:
            return httpx.Response(401)
        if request.method == "GET":
            found = self.key == path.rpartition("/")[2]
            unknown = {"responseCode": 100, "message": "has begun no stream"}
            return answer(200, self.state()) if found else answer(404, unknown)
        return self._register(request, body, self.faults.pop(0) if self.faults else "")

    def _log_in(self, request: httpx.Request) -> httpx.Response:
        if request.method == "PUT" and not self.believes:
            return httpx.Response(401)
        self.log_ins += request.method == "POST"
        self._session = self.log_ins
        nonce = base64.b64encode(bytes(16)).decode()
        session = {"sessionId": str(self._session), "nonce": nonce, "authenticated": True}
        return answer(201, session)

    def _register(self, request: httpx.Request, body: bytes, fault: str) -> httpx.Response:
        query = request.url.params
        rows = list(_read(request, body))
        first, ends = int(query["from"]), query["end"] == "true"
        coding = request.headers.get("content-encoding", "")
        self.sent.append(Sent(first, len(rows), ends, coding))
        if fault == "refuse":
            raise httpx.ConnectError("connection refused")
        if fault == "log out":
            self._session = -1
            return httpx.Response(401)
        if fault in ("busy", "taken"):
            code = {"busy": 3, "taken": 2}[fault]
            return answer(503 if fault == "busy" else 500, {"responseCode": code, "message": fault})
        self.key = request.headers["idempotency-key"]
        if first > len(self.rows) + 1:
            return answer(409, {"responseCode": 2, "message": "gap", "next": len(self.rows) + 1})
        new = rows[len(self.rows) + 1 - first :]
        self.repeated += len(rows) - len(new)
        if new and self.ended:
            return answer(409, {"responseCode": 2, "message": "ended", "next": len(self.rows) + 1})
        self.rows += new[: len(new) // 2] if fault == "half" else new
        if fault == "half":
            raise httpx.ReadError("connection reset by peer")
        self.ended = self.ended or ends
        if fault == "lose":
            raise httpx.ReadTimeout("")
        return answer(200, self.state())


def answer(status: int, document: object) -> httpx.Response:
    return httpx.Response(status, content=json.dumps(document).encode() + b"\n")


def _read(request: httpx.Request, body: bytes) -> Iterator[PackedRow]:
    query = request.url.params
    options = {name: query.get_list(name) for name in CSV_OPTIONS if name in query}
    reader = make_reader(request.headers["content-type"], options, lambda: 0.0)
    coding = request.headers.get("content-encoding", "")
    assert coding != "zstd" or zstandard.get_frame_parameters(body).has_checksum
    for piece in make_decoder(coding).decode(body):
        yield from reader.feed(piece)
    yield from reader.end()
