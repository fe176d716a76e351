import asyncio
import json
import socket
from collections.abc import Callable, Coroutine
from typing import Any, cast

import uvloop

from protocol.types.hs_site import TRANSPORT_HTTP
from registry.schema import encode_record
from resolver.config import LimitsConfig
from resolver.hot_route import HotRoute, OwnRows
from resolver.http_protocol import HOT_ANSWERS_MAX
from resolver.http_server import HttpServer
from tests.registry.builders import hidden, url
from tests.resolver.http_connections import answers, connect, echo
from tests.resolver.peers import ListingAnswerer, turns
from tests.resolver.two_paths import Given

HOMED = frozenset({b"0.NA/88.118"})
ROWS = Given({b"88.118/A": encode_record([url(), hidden(2)], b"88.118/A")}, HOMED)
HOT = b"GET /api/handles/88.118/a HTTP/1.1\r\nHost: n\r\n\r\n"
SLOW = b"GET /slow HTTP/1.1\r\nHost: n\r\n\r\n"
LIMITS = LimitsConfig()


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    uvloop.run(scenario())


def make_server() -> HttpServer:
    """Return a server whose application echoes paths: what is JSON was answered before it."""
    return HttpServer(
        socket.socket(),
        echo,
        ListingAnswerer(),
        LIMITS,
        cast("Any", None),
        asyncio.get_running_loop(),
        rows=OwnRows(cast("Any", ROWS)),
    )


def is_hot(body: bytes) -> bool:
    return body.startswith(b"{")


def test_a_hot_answer_is_written_at_once_with_what_is_public() -> None:
    async def scenario() -> None:
        server = make_server()
        connection, transport = connect(server)
        connection.data_received(HOT)
        ((status, headers, body),) = answers(transport.written)
        assert (status, headers[b"content-type"]) == (200, b"application/json;charset=UTF-8")
        document = json.loads(body)
        assert document["handle"] == "88.118/a"
        assert [value["index"] for value in document["values"]] == [1]
        await server.stop()

    run(scenario)


def test_a_head_that_comes_again_is_not_parsed_again() -> None:
    async def scenario() -> None:
        server = make_server()
        connection, transport = connect(server)
        connection.data_received(HOT)
        parser, connection.parser = connection.parser, cast("Any", None)
        connection.data_received(HOT)
        connection.data_received(HOT.replace(b"88.118/a", b"88.118%2FA"))
        connection.parser = parser
        connection.data_received(HOT.replace(b"88.118/a", b"88.118/b"))  # Starlette's
        connection.data_received(HOT)  # waits behind it
        await turns()
        assert [is_hot(body) for *_, body in answers(transport.written)] == [1, 1, 1, 0, 0]
        await server.stop()

    run(scenario)


def test_answers_keep_their_order_behind_slow_ones_whole_or_in_pieces() -> None:
    async def scenario() -> None:
        octets = HOT + SLOW + HOT + HOT + SLOW + HOT
        for step in (1, 30, len(octets)):
            server = make_server()
            connection, transport = connect(server)
            for start in range(0, len(octets), step):
                connection.data_received(octets[start : start + step])
            await turns(60)
            bodies = [body for *_, body in answers(transport.written)]
            slow = [body.startswith(b"/slow") for body in bodies]
            assert slow == [False, True, False, False, True, False]
            await server.stop()

    run(scenario)


def test_one_read_brings_so_many_hot_answers_and_the_rest_waits_its_turn() -> None:
    async def scenario() -> None:
        server = make_server()
        connection, transport = connect(server)
        connection.data_received(HOT * (HOT_ANSWERS_MAX + 2))
        assert len(answers(transport.written)) == HOT_ANSWERS_MAX
        await turns(60)
        assert len(answers(transport.written)) == HOT_ANSWERS_MAX + 2
        await server.stop()

    run(scenario)


def test_a_client_that_does_not_read_gets_no_hot_answers() -> None:
    async def scenario() -> None:
        server = make_server()
        connection, transport = connect(server, high_water=100)
        connection.data_received(HOT)
        assert transport.paused
        connection.data_received(HOT)
        assert len(answers(transport.written)) == 1
        transport.read_all()
        await turns()
        assert len(answers(transport.written)) == 2
        await server.stop()

    run(scenario)


def test_an_idle_connection_is_closed_after_its_time_and_a_new_head_has_its_own() -> None:
    async def scenario() -> None:
        server = make_server()
        connection, transport = connect(server)
        connection.data_received(HOT)
        now_s = asyncio.get_running_loop().time()
        server.sweep(now_s + LIMITS.idle_timeout_s - 1)
        assert not transport.closing
        server.sweep(now_s + LIMITS.idle_timeout_s + 1)
        assert transport.closing
        assert not transport.aborted
        connection, transport = connect(server)
        connection.data_received(HOT)
        connection.data_received(HOT[:9])
        server.sweep(now_s + LIMITS.http_head_timeout_s + 1)
        assert b" 408 " in transport.written
        await server.stop()

    run(scenario)


def test_what_was_counted_is_passed_on_before_anything_else_is_answered() -> None:
    class Counted(OwnRows):
        answers = 0

        def count(self, answers: int) -> None:
            self.answers += answers

    async def scenario() -> None:
        rows = Counted(cast("Any", ROWS))
        server = make_server()
        route = HotRoute(rows, [], asyncio.get_running_loop())
        server.hot_route = route
        connection, _ = connect(server)
        connection.data_received(HOT + HOT)
        assert rows.answers == 0
        connection.data_received(SLOW)
        assert rows.answers == 2
        assert route.answer(b"88.118/A", TRANSPORT_HTTP, keep_alive=True)
        await turns()
        await server.stop()
        assert rows.answers == 3

    run(scenario)


def test_a_request_that_may_be_somebody_s_is_not_hot() -> None:
    async def scenario() -> None:
        server = make_server()
        connection, transport = connect(server)
        for header in (b"Cookie: __Host-biaoshi-session=x", b"Authorization: Basic eDp5"):
            connection.data_received(HOT.replace(b"Host: n", b"Host: n\r\n" + header))
            await turns()
        assert [is_hot(body) for *_, body in answers(transport.written)] == [0, 0]
        await server.stop()

    run(scenario)
