"""The hot route of registering: heads, targets and bodies it takes, and the order of answers."""

import asyncio
import json
import socket
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest
import uvloop
from prometheus_client import REGISTRY

from protocol.value import HandleValue, read_values
from protocol.wire import Reader
from registry.range_records import RangeRecord, encode_range, range_key
from registry.schema import encode_record
from resolver.config import LimitsConfig
from resolver.hot_creations import (
    HEADS_MAX,
    Head,
    HotCreations,
    read_head,
    read_pieces,
    read_target,
)
from resolver.http_protocol import HttpProtocol
from resolver.http_server import DEFAULT_HEADERS, HttpServer
from resolver.link import LinkDown, LinkLost
from tests.registry.builders import url
from tests.resolver.http_connections import answers, connect, echo
from tests.resolver.peers import FakeTransport, ListingAnswerer, turns
from tests.resolver.two_paths import Given

ROWS = Given(
    {b"88.118/OLD": encode_record([url()], b"88.118/OLD")},
    frozenset({b"0.NA/88.118"}),
    ranges={range_key(b"88.118/LOT.", b"499"): encode_range(RangeRecord(b"100", b"list"))},
)
VALUE = {"index": 1, "type": "URL", "data": {"format": "string", "value": "https://e.cn/"}}
BODY = json.dumps([VALUE]).encode()
SESSION = b'Handle version="0", sessionId="c2Vzc2lvbg=="'
HEADERS = [
    (b"host", b"n"),
    (b"authorization", SESSION),
    (b"content-type", b"application/json"),
    (b"content-length", b"%d" % len(BODY)),
]
GET = b"GET /slow HTTP/1.1\r\nHost: n\r\n\r\n"
LIMITS = LimitsConfig()


def put(name: bytes, body: bytes = BODY) -> bytes:
    return b"PUT /api/handles/88.118/%s HTTP/1.1\r\n%s\r\n%s" % (
        name,
        b"".join(b"%s: %s\r\n" % header for header in HEADERS),
        body,
    )


class SlowLink:
    """A registrar that replies when it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, asyncio.Future[bool]]] = []
        self.is_down = False

    def begin(self, kind: str, payload: Any) -> "asyncio.Future[bool]":
        if self.is_down:
            raise LinkDown("not running")
        reply: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.asked.append((payload, reply))
        return reply

    async def reply(self, made: bool = True) -> None:
        self.asked[-1][1].set_result(made)
        await turns()


class Scene:
    """A server whose application echoes paths, and one connection that knows the usual head."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.link = SlowLink()
        self.creations = HotCreations(
            cast("Any", ROWS), cast("Any", self.link), DEFAULT_HEADERS, loop
        )
        self.server = HttpServer(
            socket.socket(),
            echo,
            ListingAnswerer(),
            LIMITS,
            cast("Any", None),
            loop,
            creations=self.creations,
        )
        self.stopping: asyncio.Task[None] | None = None
        self.connection: HttpProtocol
        self.transport: FakeTransport
        self.connection, self.transport = connect(self.server, secure=True)

    def statuses(self) -> list[int]:
        """What was answered: 201 here, 200 by the application."""
        return [status for status, *_ in answers(self.transport.written)]


def play(scenario: Callable[[Scene], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        scene = Scene()
        scene.connection.data_received(put(b"first"))
        await turns()
        assert scene.statuses() == [200]  # a head that is not known is parsed
        await scenario(scene)
        scene.transport.abort()
        await turns()
        if scene.stopping is None:
            await scene.server.stop()

    uvloop.run(run())


def test_a_creation_is_answered_once_it_is_durable() -> None:
    async def scenario(scene: Scene) -> None:
        scene.connection.data_received(put(b"a%2Fb?overwrite=false"))
        await turns()
        assert scene.statuses() == [200]
        ((session_id, handle, pieces), _) = scene.link.asked[0]
        assert (session_id, handle) == ("c2Vzc2lvbg==", b"88.118/a/b")
        expected = HandleValue(1, b"URL", b"https://e.cn/", timestamp=5)
        assert read_values(Reader(b"\0\0\0\x05".join(pieces))) == (expected,)
        await scene.link.reply()
        status, headers, body = answers(scene.transport.written)[-1]
        assert (status, headers[b"content-type"]) == (201, b"application/json;charset=UTF-8")
        assert json.loads(body) == {"responseCode": 1, "handle": "88.118/a/b"}

    play(scenario)


def test_a_name_within_a_range_is_the_application_s() -> None:
    async def scenario(scene: Scene) -> None:
        scene.connection.data_received(put(b"lot.250"))
        await turns()
        assert not scene.link.asked
        assert scene.statuses() == [200, 200]
        for name in (b"lot.099", b"lot.500", b"lot.1", b"lot.25X", b"lot", b"a.5"):
            scene.connection.data_received(put(name))
            await turns()
            assert scene.link.asked[-1][0][1] == b"88.118/" + name
            await scene.link.reply()
        assert scene.statuses() == [200, 200] + [201] * 6

    play(scenario)


def test_what_is_there_already_or_not_made_is_the_application_s() -> None:
    async def scenario(scene: Scene) -> None:
        scene.connection.data_received(put(b"old"))
        await turns()
        assert not scene.link.asked
        scene.connection.data_received(put(b"raced"))
        await scene.link.reply(False)
        scene.link.is_down = True
        scene.connection.data_received(put(b"down"))
        await turns()
        assert scene.statuses() == [200] * 4
        bodies = [body.split()[0] for *_, body in answers(scene.transport.written)]
        names = [b"first", b"old", b"raced", b"down"]
        assert bodies == [b"/api/handles/88.118/" + name for name in names]

    play(scenario)


def test_an_outcome_that_is_not_known_is_not_asked_for_again() -> None:
    async def scenario(scene: Scene) -> None:
        scene.connection.data_received(put(b"lost"))
        scene.link.asked[0][1].set_exception(LinkLost("the link was lost"))
        await turns()
        status, _, body = answers(scene.transport.written)[-1]
        assert status >= 500
        assert json.loads(body)["message"] == "the link was lost"

    play(scenario)


@pytest.mark.parametrize("made", [True, False])
def test_what_comes_behind_a_creation_waits_for_it(made: bool) -> None:
    async def scenario(scene: Scene) -> None:
        scene.connection.data_received(put(b"a"))
        scene.connection.data_received(GET[:7])
        scene.connection.data_received(GET[7:] + GET)
        await turns()
        assert not scene.transport.reading
        assert scene.statuses() == [200]
        await scene.link.reply(made)
        await turns(60)
        assert scene.transport.reading
        assert scene.statuses() == [200, 201 if made else 200, 200, 200]

    play(scenario)


def test_a_body_may_come_later_but_not_too_late() -> None:
    async def scenario(scene: Scene) -> None:
        octets = put(b"a")
        now_s = asyncio.get_running_loop().time()
        for start in range(0, len(octets) - 10, 40):
            scene.connection.data_received(octets[: len(octets) - len(BODY)] if not start else b"")
        scene.connection.data_received(BODY[:9])
        assert not scene.link.asked
        scene.server.sweep(now_s + LIMITS.http_body_timeout_s + 1)
        await turns()
        assert b" 408 " in scene.transport.written
        assert scene.statuses() == [200, 408]

    play(scenario)


def test_a_connection_is_idle_after_a_creation() -> None:
    async def scenario(scene: Scene) -> None:
        now_s = asyncio.get_running_loop().time()
        scene.connection.data_received(put(b"a"))
        scene.server.sweep(now_s + 10_000)  # it is us who take their time
        assert not scene.transport.closing
        await scene.link.reply()
        scene.server.sweep(now_s + LIMITS.idle_timeout_s - 1)
        assert not scene.transport.closing
        scene.server.sweep(now_s + LIMITS.idle_timeout_s + 1)
        assert scene.transport.closing

    play(scenario)


def test_a_server_that_stops_waits_for_creations() -> None:
    async def scenario(scene: Scene) -> None:
        scene.connection.data_received(put(b"a"))
        stopping = scene.stopping = asyncio.create_task(scene.server.stop())
        await turns()
        assert not stopping.done()
        await scene.link.reply()
        await stopping
        status, headers, _ = answers(scene.transport.written)[-1]
        assert (status, headers[b"connection"]) == (201, b"close")
        assert scene.transport.closing

    play(scenario)


def test_a_client_that_is_gone_gets_nothing() -> None:
    async def scenario(scene: Scene) -> None:
        for made in (True, False):
            connection, transport = connect(scene.server, secure=True)
            connection.data_received(put(b"a"))
            transport.abort()
            await turns()
            await scene.link.reply(made)
            assert not transport.written

    play(scenario)


def test_creations_are_counted() -> None:
    labels = {"opcode": "create_handle", "response_code": "success", "transport": "https"}

    async def scenario(scene: Scene) -> None:
        before = REGISTRY.get_sample_value("biaoshi_requests_total", labels) or 0
        scene.connection.data_received(put(b"a"))
        await scene.link.reply()
        scene.creations.flush()
        assert REGISTRY.get_sample_value("biaoshi_requests_total", labels) == before + 1

    play(scenario)


def test_so_many_heads_are_remembered() -> None:
    async def run() -> None:
        scene = Scene()
        for number in range(HEADS_MAX + 1):
            head = b" HTTP/1.1\r\nX: %d\r\n\r\n" % number
            scene.creations.learn(head, [(b"x", b"%d" % number), *HEADERS])
        assert len(scene.creations._known) == 1
        await scene.server.stop()

    uvloop.run(run())


def test_heads_of_sessions_are_taken() -> None:
    assert read_head(HEADERS) == Head("c2Vzc2lvbg==", len(BODY))
    assert read_head([*HEADERS, (b"connection", b"Keep-Alive")]) is not None
    changes: list[tuple[bytes, bytes]] = [
        (b"authorization", b"Basic eDp5"),
        (b"authorization", SESSION + b", alg=x"),
        (b"content-length", b"0"),
        (b"content-length", b"16385"),
        (b"content-type", b"text/plain"),
    ]
    for name, value in changes:
        assert read_head([*(each for each in HEADERS if each[0] != name), (name, value)]) is None
    for more in ((b"host", b"m"), (b"connection", b"close"), (b"expect", b"100-continue")):
        assert read_head([*HEADERS, more]) is None


def test_targets_without_anything_to_interpret_are_taken() -> None:
    assert read_target(b"88.118/a%2fb?overwrite=true") == b"88.118/a/b"
    for target in (b"88.118", b"/a", b"88.118/a?index=1", b"88.118/a#b", b"88.118/%0a", b"1/%ff"):
        assert read_target(target) is None
    assert read_target(b"88.118/" + b"a" * 2_042) is None


def test_bodies_of_plain_values_are_taken() -> None:
    assert read_pieces(BODY, b"88.118/A") == read_pieces(
        json.dumps({"values": [VALUE]}).encode(), b"88.118/A"
    )
    in_short = VALUE | {"data": "https://e.cn/"}
    assert read_pieces(json.dumps([in_short]).encode(), b"88.118/A") == read_pieces(
        BODY, b"88.118/A"
    )
    more: list[dict[str, Any]] = [
        {"index": 0},
        {"index": 1.0},
        {"type": "HS_ADMIN"},
        {"type": "T" * 65},
        {"data": None},
        {"data": {"format": "string", "value": None}},
        {"data": {"format": "hex", "value": "00"}},
        {"ttl": "2026-11-21T08:00:00Z"},
        {"timestamp": "2026-11-21T08:00:00Z"},
        {"permissions": "1100"},
        {"references": []},
    ]
    for change in more:
        assert read_pieces(json.dumps([VALUE | change]).encode(), b"88.118/A") is None
    bad: list[Any] = [[], [VALUE, VALUE], [1], {}, 1, [VALUE] * 2_049]
    for items in bad:
        assert read_pieces(json.dumps(items).encode(), b"88.118/A") is None
    assert read_pieces(b"[", b"88.118/A") is None


def test_a_body_that_names_another_handle_is_left() -> None:
    named = json.dumps({"handle": "88.118/é", "values": [VALUE]}).encode()
    assert read_pieces(named, "88.118/é".encode()) == read_pieces(BODY, b"88.118/A")
    assert read_pieces(named, b"88.118/A") is None
    assert read_pieces(b'{"handle": 1, "values": [%b]}' % json.dumps(VALUE).encode(), b"1") is None
