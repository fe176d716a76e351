import asyncio
import logging
import math
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from protocol.codes import OpCode
from resolver.config import LimitsConfig
from resolver.limits import Places
from resolver.sockets import open_tcp
from resolver.tcp import TcpConnection, TcpServer
from tests.resolver.peers import (
    FakeTransport,
    ListingAnswerer,
    request,
    request_ids,
    response,
    turns,
)

LIMITS = LimitsConfig()


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    uvloop.run(scenario())


def make_server(answerer: ListingAnswerer, limits: LimitsConfig = LIMITS) -> TcpServer:
    return TcpServer(socket.socket(), answerer, limits, asyncio.get_running_loop())


def connect(
    server: TcpServer, address: str = "192.0.2.1", *, high_water: int = 2**31
) -> tuple[TcpConnection, FakeTransport]:
    connection = TcpConnection(server)
    return connection, FakeTransport(connection, address, high_water=high_water)


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_pipelined_requests_are_answered_in_order_however_they_arrive(step: int) -> None:
    async def scenario() -> None:
        server = make_server(ListingAnswerer())
        connection, transport = connect(server)
        octets = b"".join(request(number) for number in range(1, 11))
        for start in range(0, len(octets), step):
            connection.data_received(octets[start : start + step])
        await turns()
        assert request_ids(transport.written) == list(range(1, 11))
        await server.stop()

    run(scenario)


def test_answers_to_a_pipeline_leave_in_one_write() -> None:
    async def scenario() -> None:
        server = make_server(ListingAnswerer())
        connection, transport = connect(server)
        connection.data_received(b"".join(request(number) for number in range(1, 51)))
        assert len(transport.writes) == 1
        assert request_ids(transport.written) == list(range(1, 51))
        await server.stop()

    run(scenario)


def test_a_long_pipeline_lets_others_have_their_turn() -> None:
    async def scenario() -> None:
        server = make_server(ListingAnswerer(), LimitsConfig(pipelined_max=4))
        connection, transport = connect(server)
        connection.data_received(b"".join(request(number) for number in range(1, 11)))
        assert request_ids(transport.written) == [1, 2, 3, 4]
        other, its_transport = connect(server)
        other.data_received(request(99))
        assert request_ids(its_transport.written) == [99]
        await turns()
        assert request_ids(transport.written) == list(range(1, 11))
        await server.stop()

    run(scenario)


def test_what_comes_after_a_list_waits_for_all_its_messages() -> None:
    async def scenario() -> None:
        server = make_server(ListingAnswerer(messages=3))
        connection, transport = connect(server)
        octets = request(1) + request(2, OpCode.LIST_HANDLES) + request(3)
        connection.data_received(octets)
        assert request_ids(transport.written) == [1]
        await turns()
        assert request_ids(transport.written) == [1, 2, 2, 2, 3]
        await server.stop()

    run(scenario)


def test_a_busy_connection_stops_reading_and_goes_on_afterwards() -> None:
    async def scenario() -> None:
        answerer = ListingAnswerer()
        answerer.may_go_on.clear()
        server = make_server(answerer)
        connection, transport = connect(server)
        connection.data_received(request(1, OpCode.LIST_HANDLES))
        assert transport.reading
        connection.data_received(request(2))
        assert not transport.reading
        answerer.may_go_on.set()
        await turns()
        assert transport.reading
        assert request_ids(transport.written) == [1, 1, 1, 2]
        await server.stop()

    run(scenario)


def test_a_client_that_does_not_read_gets_no_more_and_is_cut() -> None:
    async def scenario() -> None:
        answerer = ListingAnswerer(answer_octets=1_000, messages=100)
        server = make_server(answerer)
        connection, transport = connect(server, high_water=5_000)
        connection.data_received(request(1, OpCode.LIST_HANDLES))
        await turns(300)
        assert answerer.produced <= 7  # six fit, one waits
        now_s = asyncio.get_running_loop().time()
        server.sweep(now_s + LIMITS.write_timeout_s - 1)
        assert not transport.aborted
        server.sweep(now_s + LIMITS.write_timeout_s + 1)
        assert transport.aborted
        await turns()
        assert answerer.ended == 1
        await server.stop()

    run(scenario)


def test_a_slow_reader_gets_everything_in_the_end() -> None:
    async def scenario() -> None:
        answerer = ListingAnswerer(answer_octets=1_000, messages=100)
        server = make_server(answerer)
        connection, transport = connect(server, high_water=5_000)
        connection.data_received(request(1, OpCode.LIST_HANDLES) + request(2))
        while request_ids(transport.written)[-1:] != [2]:
            await turns()
            transport.read_all()
        assert request_ids(transport.written) == [1] * 100 + [2]
        await server.stop()

    run(scenario)


def test_an_idle_connection_is_cut_after_its_time_and_not_before() -> None:
    async def scenario() -> None:
        server = make_server(ListingAnswerer())
        connection, transport = connect(server)
        now_s = asyncio.get_running_loop().time()
        connection.data_received(request(1))
        server.sweep(now_s + LIMITS.idle_timeout_s - 1)
        assert not transport.aborted
        server.sweep(now_s + LIMITS.idle_timeout_s + 1)
        assert transport.aborted
        await server.stop()

    run(scenario)


def test_an_octet_now_and_then_does_not_keep_a_message_open() -> None:
    async def scenario() -> None:
        server = make_server(ListingAnswerer())
        connection, transport = connect(server)
        octets = request(1)
        connection.data_received(octets[:5])
        deadline_s = connection.deadline_s
        connection.data_received(octets[5:9])
        assert connection.deadline_s == deadline_s
        connection.data_received(octets[9:])
        assert connection.deadline_s > deadline_s  # the message is whole: idle time counts
        connection.data_received(octets[:5])
        server.sweep(asyncio.get_running_loop().time() + LIMITS.message_timeout_s + 1)
        assert transport.aborted
        await server.stop()

    run(scenario)


def test_a_request_under_way_is_not_cut() -> None:
    async def scenario() -> None:
        server = make_server(ListingAnswerer())
        connection, transport = connect(server)
        connection.data_received(request(1, OpCode.DELETE_HANDLE))
        server.sweep(asyncio.get_running_loop().time() + 10_000)
        assert not transport.aborted
        await server.stop()

    run(scenario)


def test_garbage_closes_after_the_answers_before_it() -> None:
    async def scenario() -> None:
        server = make_server(ListingAnswerer())
        connection, transport = connect(server)
        connection.data_received(request(1) + b"\xff" * 40 + request(2))
        assert request_ids(transport.written) == [1]
        assert transport.closing
        connection.data_received(request(3))
        await turns()
        assert request_ids(transport.written) == [1]
        await server.stop()

    run(scenario)


def test_silence_is_no_reason_to_close() -> None:
    async def scenario() -> None:
        server = make_server(ListingAnswerer())
        connection, transport = connect(server)
        connection.data_received(response(1) + request(2))
        assert request_ids(transport.written) == [2]
        assert not transport.closing
        await server.stop()

    run(scenario)


def test_a_client_that_closes_its_half_is_answered_first() -> None:
    async def scenario() -> None:
        server = make_server(ListingAnswerer())
        connection, transport = connect(server)
        connection.data_received(request(1, OpCode.LIST_HANDLES) + request(2))
        assert connection.eof_received()
        assert not transport.closing
        await turns()
        assert request_ids(transport.written) == [1, 1, 1, 2]
        assert transport.closing
        assert not transport.aborted
        await server.stop()

    run(scenario)


def test_a_client_that_leaves_ends_what_was_made_for_it() -> None:
    async def scenario() -> None:
        answerer = ListingAnswerer()
        server = make_server(answerer)
        connection, _ = connect(server)
        connection.data_received(request(1, OpCode.DELETE_HANDLE))
        await turns()
        connection.connection_lost(None)
        await turns()
        assert answerer.ended == 1
        assert len(server.tasks) == 0
        await server.stop()

    run(scenario)


def test_our_own_mistake_costs_one_connection(caplog: pytest.LogCaptureFixture) -> None:
    class Mistaken(ListingAnswerer):
        async def answer(self, octets: bytes, peer: Any) -> Any:
            raise RuntimeError("our mistake")
            yield b""

    async def scenario() -> None:
        server = make_server(Mistaken())
        connection, transport = connect(server)
        other, its_transport = connect(server)
        connection.data_received(request(1, OpCode.LIST_HANDLES))
        await turns()
        assert transport.aborted
        other.data_received(request(2))
        assert request_ids(its_transport.written) == [2]
        await server.stop()

    with caplog.at_level(logging.ERROR):
        run(scenario)
    assert "our mistake" in caplog.text


def test_the_newest_connection_is_refused_and_its_place_comes_back() -> None:
    async def scenario() -> None:
        limits = LimitsConfig(connections_max=2, connections_per_address_max=2)
        server = make_server(ListingAnswerer(), limits)
        first, first_transport = connect(server)
        _, second_transport = connect(server)
        _, third_transport = connect(server)
        assert [first_transport.aborted, second_transport.aborted] == [False, False]
        assert third_transport.aborted
        first.connection_lost(None)
        await turns()
        _, fourth_transport = connect(server)
        assert not fourth_transport.aborted
        await server.stop()

    run(scenario)


def test_sockets_share_one_limiter() -> None:
    async def scenario() -> None:
        limiter = Places(1, 1)
        loop = asyncio.get_running_loop()
        one, two = (
            TcpServer(socket.socket(), ListingAnswerer(), LIMITS, loop, limiter) for _ in range(2)
        )
        _, first_transport = connect(one)
        _, second_transport = connect(two)
        assert not first_transport.aborted
        assert second_transport.aborted
        await one.stop()
        await two.stop()

    run(scenario)


# From here on with real sockets on loopback.


async def started(answerer: ListingAnswerer, limits: LimitsConfig = LIMITS) -> tuple[Any, int]:
    sock = open_tcp("127.0.0.1", 0)
    server = TcpServer(sock, answerer, limits, asyncio.get_running_loop())
    await server.start()
    return server, sock.getsockname()[1]


def test_idle_connections_delay_nobody() -> None:
    async def scenario() -> None:
        server, port = await started(ListingAnswerer())
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(230)]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request(7))
        async with asyncio.timeout(5):
            answer = await reader.readexactly(58)
        assert request_ids(answer) == [7]
        for _, each in idle:
            each.close()
        writer.close()
        await server.stop()

    run(scenario)


def test_a_long_list_goes_through_a_real_connection() -> None:
    async def scenario() -> None:
        answerer = ListingAnswerer(answer_octets=100_000, messages=60)
        server, port = await started(answerer, LimitsConfig(write_buffer_octets=65_536))
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**16)
        writer.write(request(1, OpCode.LIST_HANDLES))
        writer.write_eof()
        async with asyncio.timeout(20):
            while not any(math.isfinite(each.deadline_s) for each in server._connections):
                await turns()
        assert answerer.produced < 60  # nobody reads: it does not pile up here
        async with asyncio.timeout(20):
            octets = await reader.read(-1)
        assert request_ids(octets) == [1] * 60
        writer.close()
        await server.stop()

    run(scenario)


class QuickOdd:
    """Answers look-ups with odd request ids, and says what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.flushed = 0

    def answer_many(self, messages: list[bytes], sender: str) -> list[bytes | None]:
        ids = [request_ids(message)[0] for message in messages]
        self.asked.append(ids)
        return [
            response(number, b"quick") if number % 2 and message[20:24] == b"\0\0\0\1" else None
            for number, message in zip(ids, messages, strict=True)
        ]

    def flush(self) -> None:
        self.flushed += 1


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_quick_answers_stand_in_order_among_slow_ones(step: int) -> None:
    async def scenario() -> None:
        quick = QuickOdd()
        server = make_server(ListingAnswerer())
        server.quick = quick
        connection, transport = connect(server)
        octets = b"".join(
            request(number, OpCode.LIST_HANDLES if number in (4, 7) else OpCode.RESOLUTION)
            for number in range(1, 10)
        )
        for start in range(0, len(octets), step):
            connection.data_received(octets[start : start + step])
        await turns(60)
        assert request_ids(transport.written) == [1, 2, 3, 4, 4, 4, 5, 6, 7, 7, 7, 8, 9]
        assert transport.written.count(b"quick") == 4  # 1, 3, 5 and 9
        await server.stop()
        assert quick.flushed

    run(scenario)


def test_what_stands_behind_a_slow_message_is_looked_up_after_it() -> None:
    async def scenario() -> None:
        quick = QuickOdd()
        answerer = ListingAnswerer()
        answerer.may_go_on.clear()
        server = make_server(answerer)
        server.quick = quick
        connection, transport = connect(server)
        connection.data_received(request(1) + request(2, OpCode.LIST_HANDLES) + request(3))
        await turns()
        assert request_ids(transport.written) == [1]
        assert not transport.reading
        assert quick.asked == [[1, 2, 3]]
        answerer.may_go_on.set()
        await turns()
        assert quick.asked == [[1, 2, 3], [3]]
        assert request_ids(transport.written) == [1, 2, 2, 2, 3]
        await server.stop()

    run(scenario)
