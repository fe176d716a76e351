import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from protocol.codes import OpCode
from protocol.framing import Reassembler, split_datagrams
from protocol.types.hs_site import TRANSPORT_UDP
from resolver.config import LimitsConfig
from resolver.fastpath import Batch, Choice, Datagram, FastPath, Lookups, make_batch
from resolver.replies import Replies
from resolver.sockets import open_udp
from resolver.udp import BATCH_DATAGRAMS, UNSENT_DATAGRAMS_MAX, UdpServer, reassembly_limits
from tests.registry.builders import NOW_S
from tests.resolver.peers import ListingAnswerer, request, request_ids, response, turns
from tests.resolver.two_paths import CHOICES, Given

CLIENT = ("192.0.2.1", 5000)
LIMITS = LimitsConfig()


class FakeSocket:
    """A socket whose incoming datagrams are `arrived`; `room` is what the kernel still takes."""

    def __init__(self) -> None:
        self.arrived: deque[tuple[bytes, tuple[str, int]] | OSError] = deque()
        self.sent: list[tuple[bytes, tuple[str, int]]] = []
        self.room = 2**31
        self.error: OSError | None = None
        self.closed = False

    def fileno(self) -> int:
        return 1_000_000

    def recvfrom(self, octets: int) -> tuple[bytes, tuple[str, int]]:
        if not self.arrived:
            raise BlockingIOError
        item = self.arrived.popleft()
        if isinstance(item, OSError):
            raise item
        return item

    def sendto(self, datagram: bytes, address: tuple[str, int]) -> int:
        if self.error is not None:
            raise self.error
        if self.room <= 0:
            raise BlockingIOError
        self.room -= 1
        self.sent.append((datagram, address))
        return len(datagram)

    def close(self) -> None:
        self.closed = True


class FakeLoop:
    """The loop's readers and writers by hand, everything else from the running loop."""

    def __init__(self) -> None:
        self.readers: dict[int, Callable[[], None]] = {}
        self.writers: dict[int, Callable[[], None]] = {}
        self.now_s = 1_000.0

    def add_reader(self, number: int, callback: Callable[[], None]) -> None:
        self.readers[number] = callback

    def add_writer(self, number: int, callback: Callable[[], None]) -> None:
        assert number not in self.writers
        self.writers[number] = callback

    def remove_reader(self, number: int) -> None:
        self.readers.pop(number, None)

    def remove_writer(self, number: int) -> None:
        self.writers.pop(number, None)

    def time(self) -> float:
        return self.now_s

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(delay_s, callback)

    def create_task(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(coroutine)

    def call(self, callbacks: dict[int, Callable[[], None]]) -> None:
        for callback in list(callbacks.values()):
            callback()


class FakeSocketBatch:
    """A batch that moves datagrams through a FakeSocket instead of the kernel."""

    def __init__(self, batch: Batch, sock: FakeSocket) -> None:
        self._batch, self._sock = batch, sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def receive(self) -> int:
        arrived: list[Datagram] = []
        while len(arrived) < BATCH_DATAGRAMS:
            try:
                arrived.append(self._sock.recvfrom(65_535))
            except BlockingIOError:
                break
            except OSError:
                continue
        return self._batch.load(arrived)

    def send(self) -> list[Datagram]:
        answers = self._batch.take()
        for at, (datagram, address) in enumerate(answers):
            try:
                self._sock.sendto(datagram, address[:2])
            except BlockingIOError:
                return answers[at:]
            except OSError:
                pass
        return []


REPLIES = Replies(1, is_primary=True, now_s=lambda: NOW_S)


def fast_path(choice: Choice, sock: FakeSocket, given: Given) -> FastPath | None:
    if choice is Choice.OFF:
        return None
    batch = make_batch(choice, -1, REPLIES, case_sensitive=False, cached=False)
    fake = FakeSocketBatch(batch, sock)
    return FastPath(Lookups(fake, given, REPLIES, TRANSPORT_UDP, cached=False))


class Bench:
    choice = Choice.OFF

    def __init__(self, answerer: ListingAnswerer, limits: LimitsConfig = LIMITS) -> None:
        self.sock, self.loop, self.answerer = FakeSocket(), FakeLoop(), answerer
        self.given = Given({})
        self.server = UdpServer(
            self.sock,  # type: ignore[arg-type]
            answerer,
            limits,
            self.loop,  # type: ignore[arg-type]
            fast_path(self.choice, self.sock, self.given),
        )

    def arrive(self, *datagrams: bytes, client: tuple[str, int] = CLIENT) -> None:
        self.sock.arrived.extend((each, client) for each in datagrams)

    def read(self) -> None:
        self.loop.call(self.loop.readers)

    @property
    def answered(self) -> list[int]:
        reassembler = Reassembler()
        found = []
        for datagram, address in self.sock.sent:
            assert len(datagram) <= 512
            whole = reassembler.receive(datagram, address, 0.0)
            if whole is not None:
                found += request_ids(whole)
        return found


@pytest.fixture(params=CHOICES, autouse=True)
def choice(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Choice:
    """Run every test with each fast path, and without."""
    monkeypatch.setattr(Bench, "choice", request.param)
    return Choice(request.param)


def run(
    scenario: Callable[[Bench], Coroutine[Any, Any, None]],
    answerer: Callable[[], ListingAnswerer] = ListingAnswerer,
    limits: LimitsConfig = LIMITS,
) -> None:
    async def whole() -> None:
        bench = Bench(answerer(), limits)
        await bench.server.start()
        await scenario(bench)
        await bench.server.stop()
        assert bench.sock.closed
        assert not bench.loop.readers
        assert not bench.loop.writers

    uvloop.run(whole())


def test_a_request_is_answered_to_where_it_came_from() -> None:
    async def scenario(bench: Bench) -> None:
        bench.arrive(request(7))
        bench.read()
        assert bench.answered == [7]
        assert bench.sock.sent[0][1] == CLIENT
        assert bench.answerer.peers[0].address == CLIENT[0]
        assert bench.answerer.peers[0].transport == 0

    run(scenario)


def test_a_long_answer_is_cut_into_datagrams() -> None:
    async def scenario(bench: Bench) -> None:
        bench.arrive(request(7))
        bench.read()
        assert len(bench.sock.sent) > 1
        assert bench.answered == [7]

    run(scenario, lambda: ListingAnswerer(answer_octets=3_000))


def test_a_fragmented_request_is_put_together_in_any_order() -> None:
    async def scenario(bench: Bench) -> None:
        pieces = split_datagrams(request(7, body=bytes(2_000)), mark_truncated=True)
        bench.arrive(*reversed(pieces))
        bench.read()
        assert bench.answered == [7]

    run(scenario)


def test_first_fragments_without_a_second_delay_nobody() -> None:
    async def scenario(bench: Bench) -> None:
        for number in range(1, 301):
            client = ("192.0.2.9", number)
            bench.arrive(split_datagrams(request(number, body=bytes(2_000)))[0], client=client)
        bench.arrive(request(999))
        for _ in range(300 // BATCH_DATAGRAMS + 1):
            bench.read()
        assert bench.answered == [999]
        assert len(bench.server._reassembler) <= LIMITS.incomplete_messages_per_address_max

    run(scenario)


def test_a_flood_is_taken_in_batches() -> None:
    async def scenario(bench: Bench) -> None:
        bench.arrive(*(request(number) for number in range(1, 1_000)))
        bench.read()
        assert len(bench.answered) == BATCH_DATAGRAMS

    run(scenario)


@pytest.mark.parametrize(
    "garbage", [b"", b"\x02", bytes(19), bytes(20), b"\xff" * 512, response(5), request(5)[:-1]]
)
def test_garbage_is_met_with_silence(garbage: bytes) -> None:
    async def scenario(bench: Bench) -> None:
        bench.arrive(garbage, request(7))
        bench.read()
        assert bench.answered == [7]

    run(scenario)


def test_what_needs_time_is_answered_by_a_task() -> None:
    async def scenario(bench: Bench) -> None:
        bench.arrive(request(1, OpCode.LIST_HANDLES), request(2))
        bench.read()
        assert bench.answered == [2]
        await turns()
        assert bench.answered == [2, 1, 1, 1]

    run(scenario)


def test_the_newest_request_is_dropped_when_too_many_are_under_way() -> None:
    async def scenario(bench: Bench) -> None:
        bench.arrive(*(request(number, OpCode.DELETE_HANDLE) for number in range(1, 4)))
        bench.arrive(request(9, OpCode.LIST_HANDLES), request(10))
        bench.read()
        await turns()
        assert bench.answered == [10]
        assert len(bench.server._tasks) == 2

    run(scenario, limits=LimitsConfig(handed_on_max=2))


def test_what_the_kernel_cannot_take_is_sent_later_in_order() -> None:
    async def scenario(bench: Bench) -> None:
        bench.sock.room = 2
        bench.arrive(*(request(number) for number in range(1, 6)))
        bench.read()
        assert bench.answered == [1, 2]
        bench.sock.room = 2
        bench.loop.call(bench.loop.writers)
        assert bench.answered == [1, 2, 3, 4]
        bench.arrive(request(6))
        bench.sock.room = 1
        bench.read()
        assert bench.answered == [1, 2, 3, 4]  # 5 is before 6
        bench.sock.room = 100
        bench.loop.call(bench.loop.writers)
        assert bench.answered == [1, 2, 3, 4, 5, 6]
        bench.loop.call(bench.loop.writers)
        assert not bench.loop.writers

    run(scenario)


def test_unsent_datagrams_are_bounded() -> None:
    async def scenario(bench: Bench) -> None:
        bench.sock.room = 0
        for _ in range(10):
            bench.arrive(*(request(number) for number in range(1, 65)))
            bench.read()
        assert len(bench.server._unsent) == UNSENT_DATAGRAMS_MAX

    run(scenario, lambda: ListingAnswerer(answer_octets=5_000))


def test_errors_of_the_network_end_nothing() -> None:
    async def scenario(bench: Bench) -> None:
        bench.sock.error = PermissionError(1, "a firewall")
        bench.arrive(request(1))
        bench.read()
        bench.sock.error = None
        bench.sock.arrived.append(ConnectionRefusedError(111, "port unreachable"))
        bench.arrive(request(2))
        bench.read()
        assert bench.answered == [2]

    run(scenario)


def test_our_own_mistake_in_a_task_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Mistaken(ListingAnswerer):
        async def answer(self, octets: bytes, peer: Any) -> Any:
            raise RuntimeError("our mistake")
            yield b""

    async def scenario(bench: Bench) -> None:
        bench.arrive(request(1, OpCode.LIST_HANDLES))
        bench.read()
        await turns()
        bench.arrive(request(2))
        bench.read()
        assert bench.answered == [2]

    with caplog.at_level(logging.ERROR):
        run(scenario, Mistaken)
    assert "our mistake" in caplog.text


def test_the_configured_limits_reach_the_reassembler() -> None:
    limits = reassembly_limits(
        LimitsConfig(
            incomplete_messages_max=40,
            incomplete_messages_per_address_max=4,
            incomplete_octets_max=400,
            incomplete_timeout_s=7,
        )
    )
    assert (limits.messages_max, limits.messages_per_peer_max) == (40, 4)
    assert (limits.octets_max, limits.expiry_s) == (400, 7)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_real_socket_answers(address: str, choice: Choice) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        try:
            sock = open_udp(address, 0)
        except Exception:
            if address == "::1":
                pytest.skip("this machine has no IPv6")
            raise
        fast = None
        if choice is not Choice.OFF:
            batch = make_batch(choice, sock.fileno(), REPLIES, case_sensitive=False, cached=False)
            fast = FastPath(Lookups(batch, Given({}), REPLIES, TRANSPORT_UDP, cached=False))
        server = UdpServer(sock, ListingAnswerer(answer_octets=5_000), LIMITS, loop, fast)
        await server.start()
        with socket.socket(sock.family, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.connect(sock.getsockname())
            pieces = split_datagrams(request(7, body=bytes(1_500)))
            for piece in pieces:
                client.send(piece)
            reassembler = Reassembler()
            async with asyncio.timeout(5):
                whole = None
                while whole is None:
                    whole = reassembler.receive(await loop.sock_recv(client, 2_048), "server", 0.0)
        assert request_ids(whole) == [7]
        await server.stop()

    uvloop.run(scenario())
