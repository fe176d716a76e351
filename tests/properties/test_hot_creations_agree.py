"""The hot route of registering writes and asks for what Starlette would, or leaves it to it."""

import asyncio
import json
import socket
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.bodies import ChallengeAnswer, CreatedAnswer, ErrorAnswer, ValuesRequest
from protocol.body_shapes import read_values_body
from protocol.codes import MessageFlag, OpCode, ResponseCode
from protocol.json_fields import I32_MAX
from protocol.value import HandleValue, read_values
from protocol.wire import Reader
from registry.schema import encode_record
from resolver.api.app import make_app
from resolver.config import Config, LimitsConfig, MetricsConfig, NodeRole, TlsConfig
from resolver.hot_creations import HotCreations
from resolver.http_server import DEFAULT_HEADERS, HttpServer
from resolver.link import LinkDown, LinkLost
from resolver.metrics import RequestMetrics
from resolver.query import OwnRecords
from resolver.rest_operations import RestOperations
from tests.properties.test_hot_route_agrees import exchange
from tests.registry.builders import url
from tests.resolver.office import make_node
from tests.resolver.two_paths import Given

OLD, TAKEN, LOST = b"88.118/OLD", b"88.118/TAKEN", b"88.118/LOST"
SESSION = "c2Vzc2lvbg=="
STORE = Given(
    {OLD: encode_record([url()], OLD)}, frozenset({b"0.NA/88.118", b"0.NA/0.NA", b"0.NA/0.NA/88"})
)
AUTHORIZATION = f'Handle version="0", sessionId="{SESSION}"'
AUTHORIZATIONS = [
    f"Authorization: {AUTHORIZATION}\r\n",
    f"Authorization: {AUTHORIZATION.lower()}\r\n",
    f'Authorization: Handle sessionId="{SESSION}"\r\n',
    'Authorization: Handle version="0", sessionId="Z3Vlc3M="\r\n',
    f"Authorization: {AUTHORIZATION}, type=x\r\n",
    f'Authorization: {AUTHORIZATION}, signature="eA=="\r\n',
    f"Authorization: {AUTHORIZATION}\r\nAuthorization: Basic eDp5\r\n",
    "Authorization: Basic eDp5\r\n",
    "",
]
OTHER_HEADERS = [
    "Content-Type: application/json\r\n",
    "Content-Type: application/json\r\n",
    "Content-Type: Application/JSON; charset=utf-8\r\nConnection: keep-alive\r\n",
    "Content-Type: application/json\r\nConnection: close\r\n",
    "Content-Type: application/json\r\nExpect: 100-continue\r\n",
    "Content-Type: text/plain\r\n",
    "",
]
TARGETS = [
    b"88.118/NEW",
    b"88.118/NEW",
    b"88.118/new%2Fer",
    b"88.118/OLD",
    b"88.118/TAKEN",
    b"88.118/LOST",
    b"88.118/%C3%A9",
    b"88.118/%ff",
    b"88.118/a%0a",
    b"88.118/" + b"l" * 600,
    b"88.118/" + b"l" * 2_100,
    b"99/NEW",
    b"0.NA/88.118.5",
    b"88.118",
    b"/x",
    b"",
]
QUERIES = [b"", b"?", b"?overwrite=false", b"?overwrite=true", b"?overwrite=maybe", b"?index=1",
           b"?mintNewSuffix=true", b"?pretty", b"?callback=f", b"#x"]  # fmt: skip
TEXT = {"format": "string", "value": "https://example.com/"}
FIELDS = st.fixed_dictionaries(
    {
        "index": st.sampled_from([1, 1, 2, 3, 0, -1, I32_MAX, I32_MAX + 1, 1.0, True, "1"]),
        "type": st.sampled_from(["URL", "URL", "É", "HS_ADMIN", "HS_PUBKEY", "", 7, "T" * 100]),
        "data": st.sampled_from(
            [TEXT, TEXT, TEXT | {"more": 1}, {"format": "string", "value": "é\0"}, "bare",
             {"format": "base64", "value": "AAAA"}, {"format": "string"}, {"value": "x"}, None,
             {"format": "string", "value": 5}, {"format": ["string"], "value": ""}]
        ),
    },
    optional={
        "ttl": st.sampled_from([0, 86_400, -1, 1.5, True, None, "2026-11-21T08:00:00Z"]),
        "timestamp": st.sampled_from([None, "2026-11-21T08:00:00Z", "then"]),
        "permissions": st.sampled_from([None, "1110", "1100", "9"]),
        "references": st.sampled_from([[], None, [{"handle": "88.118/x", "index": 1}]]),
        "unknown": st.just([1]),
    },
)  # fmt: skip
GOOD = {"index": 1, "type": "URL", "data": TEXT}
VALUES = st.one_of(
    st.just([GOOD]),
    st.just([GOOD, GOOD | {"index": 2, "ttl": 60, "unknown": {}}]),
    st.lists(st.one_of(st.just(GOOD), FIELDS), max_size=3),
)
DOCUMENTS = st.one_of(
    VALUES,
    VALUES,
    VALUES.map(lambda values: {"values": values}),
    VALUES.map(lambda values: {"handle": "88.118/x", "values": values}),
    FIELDS,
    st.sampled_from([None, 1, {}, {"values": None}, [[]], [None]]),
)
MANY = json.dumps([GOOD, *(GOOD | {"index": index} for index in range(2, 300))])
TWICE = '[{"index": 1, "index": 2, "type": "URL", "data": ' + json.dumps(TEXT) + "}]"
BODIES = st.one_of(
    DOCUMENTS.map(lambda document: json.dumps(document).encode()),
    DOCUMENTS.map(lambda document: json.dumps(document, ensure_ascii=False).encode()),
    st.sampled_from([b"", b"[", b"\xff", b" [] ", b"[" * 5_000, MANY.encode(), TWICE.encode()]),
)
USUAL_BODY = json.dumps([GOOD]).encode()


def make_request(
    target: bytes, query: bytes, authorization: str, headers: str, body: bytes, method: bytes
) -> bytes:
    length = f"Content-Length: {len(body)}\r\n"
    head = f" HTTP/1.1\r\nHost: n\r\n{authorization}{headers}{length}\r\n".encode()
    return method + b" /api/handles/" + target + query + head + body


REQUESTS = st.one_of(
    st.builds(
        make_request,
        st.sampled_from(TARGETS),
        st.sampled_from(QUERIES[:4]),
        st.just(AUTHORIZATIONS[0]),
        st.just(OTHER_HEADERS[0]),
        BODIES,
        st.just(b"PUT"),
    ),
    st.builds(
        make_request,
        st.sampled_from(TARGETS),
        st.sampled_from(QUERIES),
        st.sampled_from(AUTHORIZATIONS),
        st.sampled_from(OTHER_HEADERS),
        st.just(USUAL_BODY),
        st.sampled_from([b"PUT", b"PUT", b"PUT", b"GET", b"POST"]),
    ),
)


class Registrar:
    """A registrar that knows one session, and writes down what is asked for."""

    is_up = True

    def __init__(self) -> None:
        self.created: list[Any] = []
        self.short = 0

    async def call(self, kind: str, payload: Any, timeout_s: float | None = None) -> dict[str, Any]:
        await asyncio.sleep(0)
        if kind == "rest_session":
            return {"code": 1, "session_id": "new", "nonce": b"nonce"}
        if payload["opcode"] == OpCode.RESOLUTION:
            return self._reply(ResponseCode.HANDLE_NOT_FOUND, ErrorAnswer(b"not here"))
        return self._change(payload)

    def _change(self, payload: dict[str, Any]) -> dict[str, Any]:
        if payload["authorization"] != {"session": SESSION}:
            return self._reply(ResponseCode.AUTHENTICATION_NEEDED, ChallengeAnswer(b""))
        if payload["opcode"] != OpCode.CREATE_HANDLE:
            return self._reply(ResponseCode.INVALID_ADMIN, ErrorAnswer(b"no"))
        body = read_values_body(Reader(payload["body"]))
        assert isinstance(body, ValuesRequest)
        if body.handle == LOST:
            raise LinkLost("the link was lost")
        if body.handle == TAKEN or (
            body.handle == OLD and not payload["flags"] & MessageFlag.OVERWRITE
        ):
            return self._reply(ResponseCode.HANDLE_ALREADY_EXISTS, ErrorAnswer(b"is there"))
        if payload["flags"] & MessageFlag.MINT_SUFFIX:
            return self._reply(ResponseCode.ERROR, ErrorAnswer(b"no minting"))
        self._keep(body.handle, body.values)
        return self._reply(1, CreatedAnswer(body.handle), created=body.handle != OLD)

    def _reply(self, code: int, body: Any, *, created: bool = False) -> dict[str, Any]:
        return {"code": int(code), "body": body.encode(), "created": created}

    def _keep(self, handle: bytes, values: tuple[HandleValue, ...]) -> None:
        self.created.append((handle, list(values)))

    def begin(self, kind: str, payload: Any) -> "asyncio.Future[bool]":
        assert kind == "creation"
        session_id, handle, pieces = payload
        if handle == b"88.118/new/er" and self.short:
            raise LinkDown("not running")
        reply: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.short += 1
        if handle == LOST:
            reply.set_exception(LinkLost("the link was lost"))
        elif session_id != SESSION or handle == TAKEN:
            reply.set_result(False)
        else:
            self._keep(handle, read_values(Reader(bytes(4).join(pieces))))
            reply.set_result(True)
        return reply


def make_server(registrar: Registrar, *, hot: bool) -> HttpServer:
    found, link = cast("Any", STORE), cast("Any", registrar)
    operations = RestOperations(make_node(NodeRole.TOP), OwnRecords(found), link, RequestMetrics())
    loop = asyncio.get_running_loop()
    return HttpServer(
        socket.socket(),
        make_app(operations, Config(role=NodeRole.TOP, tls=TlsConfig(), metrics=MetricsConfig())),
        cast("Any", None),
        LimitsConfig(pipelined_max=8),
        cast("Any", None),
        loop,
        creations=HotCreations(found, link, DEFAULT_HEADERS, loop) if hot else None,
    )


async def compare(chunks: list[bytes], *, secure: bool = True) -> int:
    """Send to a server with the hot route and to one without; return what the route took."""
    outcomes = []
    for hot in (False, True):
        registrar = Registrar()
        written, closing = await exchange(make_server(registrar, hot=hot), chunks, secure=secure)
        outcomes.append((written, closing, registrar.created))
    assert outcomes[0] == outcomes[1]
    return registrar.short


@settings(deadline=None)
@given(st.lists(REQUESTS, min_size=1, max_size=4), st.booleans())
def test_requests_one_by_one(requests: list[bytes], secure: bool) -> None:
    twice = [request for request in requests for _ in range(2)]  # the second has a known head
    asyncio.run(compare(twice, secure=secure))


@settings(deadline=None)
@given(st.lists(REQUESTS, min_size=1, max_size=4), st.integers(1, 600))
def test_requests_pipelined_and_in_pieces(requests: list[bytes], step: int) -> None:
    first = make_request(b"88.118/A", b"", AUTHORIZATIONS[0], OTHER_HEADERS[0], USUAL_BODY, b"PUT")
    octets = b"".join(requests)
    chunks = [octets[start : start + step] for start in range(0, len(octets), step)]
    asyncio.run(compare([first, *chunks]))


def test_the_usual_request_goes_the_short_way() -> None:
    def usual(target: bytes) -> bytes:
        authorization, headers = AUTHORIZATIONS[0], OTHER_HEADERS[0]
        return make_request(target, b"?overwrite=false", authorization, headers, USUAL_BODY, b"PUT")

    requests = [usual(b"88.118/%d" % number) for number in range(4)]
    assert asyncio.run(compare(requests)) == 3
    assert asyncio.run(compare(requests, secure=False)) == 0
    in_halves = [half for each in requests for half in (each[:-50], each[-50:])]
    assert asyncio.run(compare([requests[0], *in_halves])) == 4
