"""The TCP transport: envelope and message one after the other, in both directions.

Connections are kept open and may be pipelined; answers leave in the order of the requests.

    data_received ─> StreamDecoder ─> next message ─> answer_now ─┬─> gathered, one write
                                           ^                      └─> a task: answer, message by
                                           └── when it is answered ── message; the rest waits

A message is taken out of the decoder only when the one before is answered and the client reads its
answers, so a connection holds one chunk of input and one answer beyond the write buffer's mark.
Deadlines (idle, a message begun, answers not read) are plain numbers that `TcpServer.sweep` looks
at once a second: no timer is set for a request. Handle.Net closes after one answer; clients that
want that close themselves.
"""

import asyncio
import socket
from typing import cast

from protocol.errors import ProtocolError
from protocol.framing import StreamDecoder
from protocol.types.hs_site import TRANSPORT_TCP
from resolver.config import LimitsConfig
from resolver.dispatch import Peer
from resolver.limits import NEVER, ConnectionLimiter
from resolver.metrics import CONNECTIONS, REFUSED
from resolver.sockets import BACKLOG
from resolver.transport import Answerer, TaskSet

SWEEP_S = 1.0  # the fineness of time limits


class TcpConnection(asyncio.Protocol):
    """One client's connection. `deadline_s` is when `TcpServer.sweep` cuts it."""

    def __init__(self, server: "TcpServer") -> None:
        self._server = server
        self._decoder = StreamDecoder()
        self._transport: asyncio.Transport | None = None
        self._peer = Peer("", 0, TRANSPORT_TCP)
        self._task: asyncio.Task[None] | None = None
        self._turn_scheduled = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._reading_paused = False
        self._input_ended = False
        self._message_begun_s: float | None = None
        self.deadline_s = NEVER

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the connection, or cut it."""
        # uvloop's transports are not subclasses of asyncio's.
        connected = cast("asyncio.Transport", transport)
        address = connected.get_extra_info("peername") or ("", 0)
        self._peer = Peer(str(address[0]), int(address[1]), TRANSPORT_TCP)
        if not self._server.admit(self, self._peer.address):
            connected.abort()
            return
        self._transport = connected
        connected.set_write_buffer_limits(high=self._server.limits.write_buffer_octets)
        self._settle()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client and what is made for it."""
        if self._transport is None:
            return  # never admitted
        self._transport = None
        self._server.forget(self, self._peer.address)
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        """Take octets in and answer what they complete."""
        if self._input_ended:
            return
        try:
            self._decoder.feed(data)
        except ProtocolError:  # more than was ever read at once: reading was paused before
            self.abort()
            return
        if not self._is_busy:
            self._take_turn()
        self._balance_reading()

    def eof_received(self) -> bool:
        """Answer what has been asked, then close: a client may close its sending half early."""
        self._input_ended = True
        self._settle()
        return True

    def pause_writing(self) -> None:
        """Stop answering: the client does not read."""
        self._writable.clear()
        self.deadline_s = self._server.loop.time() + self._server.limits.write_timeout_s

    def resume_writing(self) -> None:
        """Go on answering."""
        self._writable.set()
        self.deadline_s = NEVER
        self._schedule_turn()

    def abort(self) -> None:
        """Cut the connection, whatever waits to be written."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def _is_busy(self) -> bool:
        """Whether the next message has to wait."""
        return self._task is not None or self._turn_scheduled or not self._writable.is_set()

    def _schedule_turn(self) -> None:
        if not self._is_busy and self._transport is not None:
            self._turn_scheduled = True
            self._server.loop.call_soon(self._take_turn)

    def _take_turn(self) -> None:
        """Answer what has arrived, up to a number of messages, with one write."""
        self._turn_scheduled = False
        if self._transport is None or self._transport.is_closing():
            return
        answers: list[bytes] = []
        more = self._answer_messages(answers)
        if answers:
            self._transport.write(b"".join(answers))
        if more:
            self._schedule_turn()
        self._settle()
        self._balance_reading()

    def _answer_messages(self, answers: list[bytes]) -> bool:
        """Append answers; True when the turn is over before the messages are."""
        octets_gathered = 0
        for _ in range(self._server.limits.pipelined_max):
            octets = self._next_message()
            if octets is None:
                return False
            answer = self._server.dispatcher.answer_now(octets, self._peer)
            if answer is None:
                self._hand_on(octets)
                return False
            answers.append(answer)
            octets_gathered += len(answer)
            if octets_gathered >= self._server.limits.write_buffer_octets:
                break
        return True

    def _next_message(self) -> bytes | None:
        try:
            octets = next(self._decoder, None)
        except ProtocolError:
            # Where the next message begins is not known any more: answer what came before, close.
            REFUSED.labels("tcp_not_a_message").inc()
            self._decoder = StreamDecoder()
            self._input_ended = True
            return None
        if octets is not None:
            self._message_begun_s = None
        return octets

    def _hand_on(self, octets: bytes) -> None:
        self.deadline_s = NEVER
        self._task = self._server.tasks.start(self._answer(octets))
        self._task.add_done_callback(self._answered)

    async def _answer(self, octets: bytes) -> None:
        async for answer in self._server.dispatcher.answer(octets, self._peer):
            await self._writable.wait()
            if self._transport is not None:
                self._transport.write(answer)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if task.cancelled() or task.exception() is not None:
            self.abort()
        else:
            self._schedule_turn()

    def _settle(self) -> None:
        """When nothing is under way: close if the client is done, else set the time to wait."""
        if self._transport is None or self._is_busy:
            return
        if self._input_ended:
            self._transport.close()
            return
        now_s = self._server.loop.time()
        if not self._decoder.buffered_octets:
            self.deadline_s = now_s + self._server.limits.idle_timeout_s
            return
        # Counted from its first octet: one octet now and then does not keep a message open.
        if self._message_begun_s is None:
            self._message_begun_s = now_s
        self.deadline_s = self._message_begun_s + self._server.limits.message_timeout_s

    def _balance_reading(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._is_busy and not self._reading_paused:
            if self._decoder.buffered_octets:
                self._reading_paused = True
                self._transport.pause_reading()
        elif self._reading_paused and not self._is_busy:
            self._reading_paused = False
            self._transport.resume_reading()


class TcpServer:
    """Serves one listening TCP socket.

    Args:
        sock: listening and non-blocking; closed by `stop`.
        dispatcher: answers.
        limits: of connections, time and octets.
        loop: the loop that serves.
        limiter: counts connections; share one among the sockets of a worker.
    """

    def __init__(
        self,
        sock: socket.socket,
        dispatcher: Answerer,
        limits: LimitsConfig,
        loop: asyncio.AbstractEventLoop,
        limiter: ConnectionLimiter | None = None,
    ) -> None:
        self._sock = sock
        self.dispatcher = dispatcher
        self.limits = limits
        self.loop = loop
        self.tasks = TaskSet(loop)
        self._limiter = limiter or ConnectionLimiter(
            limits.connections_max, limits.connections_per_address_max
        )
        self._connections: set[TcpConnection] = set()
        self._gauge = CONNECTIONS.labels("tcp")
        self._refused = REFUSED.labels("tcp_connections")
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Begin to accept."""
        # The loop listens anew, and with its own default a burst of 100 makes others wait 1 s.
        self._server = await self.loop.create_server(
            lambda: TcpConnection(self), sock=self._sock, backlog=BACKLOG
        )
        self._sweep_again()

    async def stop(self) -> None:
        """Stop accepting, cut the connections."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.abort()
        await self.tasks.cancel()
        self._sock.close()

    def admit(self, connection: TcpConnection, address: str) -> bool:
        """Count a new connection; False when it is one too many."""
        if not self._limiter.admit(address):
            self._refused.inc()
            return False
        self._connections.add(connection)
        self._gauge.inc()
        return True

    def forget(self, connection: TcpConnection, address: str) -> None:
        """Count a connection that has ended."""
        self._connections.discard(connection)
        self._limiter.release(address)
        self._gauge.dec()

    def sweep(self, now_s: float) -> None:
        """Cut the connections whose time is over."""
        for connection in [each for each in self._connections if each.deadline_s <= now_s]:
            connection.abort()

    def _sweep_again(self) -> None:
        self.sweep(self.loop.time())
        self._sweeper = self.loop.call_later(SWEEP_S, self._sweep_again)
