import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any, cast

import uvloop

from resolver.acceptor import Acceptor
from resolver.readiness import Readiness
from resolver.sockets import open_tcp
from resolver.stream_socket import StreamSocket

ADDRESS = ("192.0.2.1", 1_234)


class Recorder(asyncio.Protocol):
    """Remembers what it is told; keeps the connection open when the client ends its half."""

    def __init__(self) -> None:
        self.transport = cast(asyncio.Transport, None)
        self.received = b""
        self.told: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=10_000)

    def data_received(self, data: bytes) -> None:
        self.received += data

    def eof_received(self) -> bool:
        self.told.append("end")
        return True

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append("lost")


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    uvloop.run(scenario())


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(100_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not come to pass")


def connect(before: bytes = b"") -> tuple[Recorder, socket.socket]:
    ours, theirs = socket.socketpair()
    for each in (ours, theirs):
        each.setblocking(False)
    if before:
        theirs.send(before)
    recorder = Recorder()
    loop = asyncio.get_running_loop()
    StreamSocket(ours, ADDRESS, recorder, loop, Readiness(loop)).start()
    return recorder, theirs


def test_what_has_arrived_is_read_at_once_and_the_rest_when_it_comes() -> None:
    async def scenario() -> None:
        recorder, theirs = connect(b"one")
        assert recorder.received == b"one"
        assert recorder.transport.get_extra_info("peername") == ADDRESS
        theirs.send(b"two")
        await until(lambda: recorder.received == b"onetwo")
        theirs.close()
        await until(lambda: recorder.told == ["end"])
        recorder.transport.close()
        await until(lambda: recorder.told == ["end", "lost"])

    run(scenario)


def test_nothing_is_read_while_reading_is_paused() -> None:
    async def scenario() -> None:
        recorder, theirs = connect()
        recorder.transport.pause_reading()
        theirs.send(b"later")
        await asyncio.sleep(0.01)
        assert recorder.received == b""
        recorder.transport.resume_reading()
        await until(lambda: recorder.received == b"later")
        recorder.transport.abort()
        await until(lambda: recorder.told == ["lost"])
        theirs.close()

    run(scenario)


def test_what_the_kernel_does_not_take_waits_and_is_sent_before_the_end() -> None:
    async def scenario() -> None:
        recorder, theirs = connect()
        sent = bytes(range(256)) * 8_000
        recorder.transport.write(sent[:1_500_000])
        recorder.transport.write(sent[1_500_000:])
        assert recorder.told == ["pause"]
        recorder.transport.close()
        recorder.transport.write(b"too late")
        received = b""
        while piece := await asyncio.get_running_loop().sock_recv(theirs, 65_536):
            received += piece
        assert received == sent
        assert recorder.told[-1] == "lost"
        theirs.close()

    run(scenario)


def test_writing_goes_on_once_the_client_reads() -> None:
    async def scenario() -> None:
        recorder, theirs = connect()
        recorder.transport.write(bytes(2_000_000))
        assert recorder.told == ["pause"]
        octets = 0
        while octets < 2_000_000:
            octets += len(await asyncio.get_running_loop().sock_recv(theirs, 65_536))
        await until(lambda: recorder.told == ["pause", "resume"])
        recorder.transport.abort()
        theirs.close()
        await until(lambda: recorder.told[-1] == "lost")

    run(scenario)


def test_a_client_that_is_gone_is_noticed_when_writing() -> None:
    async def scenario() -> None:
        recorder, theirs = connect()
        theirs.close()
        recorder.transport.write(b"to nobody")
        recorder.transport.write(b"to nobody")
        await until(lambda: recorder.told == ["lost"])
        assert recorder.transport.is_closing()

    run(scenario)


def test_connections_are_accepted_until_the_acceptor_stops() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        sock = open_tcp("127.0.0.1", 0)
        accepted: list[socket.socket] = []
        acceptor = Acceptor(sock, loop, lambda each, _: accepted.append(each))
        acceptor.start()
        clients = [socket.create_connection(sock.getsockname()) for _ in range(40)]
        await until(lambda: len(accepted) == 40)
        assert not any(each.getblocking() for each in accepted)
        acceptor.stop()
        clients.append(socket.create_connection(sock.getsockname()))
        await asyncio.sleep(0.01)
        assert len(accepted) == 40
        for each in (sock, *accepted, *clients):
            each.close()

    run(scenario)
