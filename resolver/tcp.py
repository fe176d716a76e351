"""The TCP transport: envelope and message one after the other, in both directions.

Connections are kept open and may be pipelined; answers leave in the order of the requests.

    data_received ─> StreamDecoder ─> a turn's messages ─┬─> quick ───────┬─> gathered, one write
                                           ^             └─> answer_now ──┤
                                           │                              └─> a task: answer,
                                           └── when it is answered ── message by message; the
                                                                      rest of the turn waits

A turn's messages are looked up together (`QuickAnswers`); what came behind a message that has to
be awaited is looked up anew afterwards, because that message may have changed it. Messages are
taken out of the decoder only when those before are answered and the client reads its answers, so a
connection holds one chunk of input and one answer beyond the write buffer's mark.
Deadlines (idle, a message begun, answers not read) are plain numbers that `TcpServer.sweep` looks
at once a second: no timer is set for a request. Handle.Net closes after one answer; clients that
want that close themselves.
"""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Protocol

from protocol.errors import ProtocolError
from protocol.framing import StreamDecoder
from protocol.types.hs_site import TRANSPORT_TCP
from resolver.acceptor import Acceptor
from resolver.config import LimitsConfig
from resolver.connection_streams import ConnectionStream, Input
from resolver.dispatch import Peer
from resolver.limits import NEVER, Places
from resolver.metrics import CONNECTIONS, REFUSED
from resolver.readiness import Readiness
from resolver.stream_socket import StreamSocket
from resolver.transport import Answerer, TaskSet

SWEEP_S = 1.0  # the fineness of time limits
# Looked up together. More would not be cheaper, and is lost when a message has to be awaited.
QUICK_MESSAGES_MAX = 64


_NOBODY = Peer("", 0, TRANSPORT_TCP)


class QuickAnswers(Protocol):
    """Answers many plain look-ups at once, exactly as the dispatcher would."""

    def answer_many(self, messages: list[bytes], sender: str) -> list[bytes | None]:
        """Return an answer for each of a sender's messages; None: the dispatcher must be asked."""
        ...

    def flush(self) -> None:
        """Pass on what was counted."""
        ...


class TcpConnection(asyncio.Protocol):
    """One client's connection. `deadline_s` is when `TcpServer.sweep` cuts it."""

    def __init__(self, server: "TcpServer") -> None:
        self._server = server
        self._decoder = StreamDecoder()
        self._waiting: list[bytes] = []  # taken out of the decoder and not answered
        self._transport: asyncio.Transport | None = None
        self._peer = _NOBODY
        self._task: asyncio.Task[None] | None = None
        self._turn_scheduled = False
        self._room: asyncio.Event | None = None  # waited for while the client does not read
        self._reading_paused = False
        self._input_ended = False
        self._input: Input | None = None  # of a stream that has the connection to its end
        self._message_begun_s: float | None = None
        self.deadline_s = NEVER

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the connection, or cut it."""
        assert isinstance(transport, asyncio.Transport)
        server = self._server
        address, port = (transport.get_extra_info("peername") or ("", 0))[:2]
        self._peer = Peer(address, port, TRANSPORT_TCP)
        if not server.admit(self, address):
            transport.abort()
            return
        self._transport = transport
        transport.set_write_buffer_limits(high=server.limits.write_buffer_octets)
        self.deadline_s = server.loop.time() + server.limits.idle_timeout_s

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
        if self._input is not None:
            if not self._input.feed(data):
                self.abort()
            return
        try:
            self._decoder.feed(data)
        except ProtocolError:  # more than was ever read at once: reading was paused before
            self.abort()
            return
        if self._is_busy:
            self._balance_reading()
        else:
            self._take_turn()

    def eof_received(self) -> bool:
        """Answer what has been asked, then close: a client may close its sending half early."""
        self._input_ended = True
        if self._input is not None:
            self._input.end()
        self._settle()
        return True

    def pause_writing(self) -> None:
        """Stop answering: the client does not read."""
        self._room = asyncio.Event()
        self.deadline_s = self._server.loop.time() + self._server.limits.write_timeout_s

    def resume_writing(self) -> None:
        """Go on answering."""
        if self._room is not None:
            self._room.set()
            self._room = None
        self.deadline_s = NEVER
        self._schedule_turn()

    def abort(self) -> None:
        """Cut the connection, whatever waits to be written."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def _is_busy(self) -> bool:
        """Whether the next message has to wait."""
        return self._task is not None or self._turn_scheduled or self._room is not None

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
            self._transport.write(b"".join(answers) if len(answers) > 1 else answers[0])
        if more:
            self._schedule_turn()
        self._settle()
        self._balance_reading()

    def _answer_messages(self, answers: list[bytes]) -> bool:
        """Append answers; True when the turn is over before the messages are."""
        limits = self._server.limits
        answered = octets_gathered = 0
        while answered < limits.pipelined_max:
            messages = self._take_messages(limits.pipelined_max - answered)
            if not messages:
                return False
            answered += len(messages)
            for position, answer in enumerate(self._answers_now(messages), 1):
                if answer is None:
                    self._waiting = messages[position:]
                    self._hand_on(messages[position - 1])
                    return False
                answers.append(answer)
                octets_gathered += len(answer)
                if octets_gathered >= limits.write_buffer_octets:
                    self._waiting = messages[position:]
                    return True
        return True

    def _answers_now(self, messages: list[bytes]) -> Iterator[bytes | None]:
        """Iterate over the answers that take no waiting; None for one that does."""
        dispatcher, quick = self._server.dispatcher, self._server.quick
        if quick is None:
            for octets in messages:
                yield dispatcher.answer_now(octets, self._peer)
            return
        for start in range(0, len(messages), QUICK_MESSAGES_MAX):
            batch = messages[start : start + QUICK_MESSAGES_MAX]
            answers = quick.answer_many(batch, self._peer.address)
            for octets, answer in zip(batch, answers, strict=True):
                yield dispatcher.answer_now(octets, self._peer) if answer is None else answer

    def _take_messages(self, messages_max: int) -> list[bytes]:
        messages, self._waiting = self._waiting, []
        if messages:
            return messages
        try:
            messages = self._decoder.take(messages_max)
        except ProtocolError:
            # Where the next message begins is not known any more: answer what came before, close.
            REFUSED.labels("tcp_not_a_message").inc()
            self._decoder = StreamDecoder()
            self._input_ended = True
            return []
        if messages:
            self._message_begun_s = None
        return messages

    def _hand_on(self, octets: bytes) -> None:
        self.deadline_s = NEVER
        self._task = self._server.tasks.start(self._answer(octets))
        self._task.add_done_callback(self._answered)

    async def _answer(self, octets: bytes) -> None:
        answers = self._server.dispatcher.answer(octets, self._peer)
        async with contextlib.aclosing(answers):
            async for answer in answers:
                if isinstance(answer, bytes):
                    await self.write(answer)
                else:
                    await self._stream(answer)

    async def _stream(self, stream: ConnectionStream) -> None:
        """Let a stream have the connection; it is closed behind it."""
        self._input = Input()
        self._decoder = StreamDecoder()
        self._waiting = []
        self._balance_reading()
        is_whole = await stream.send(self)
        self._input_ended = True
        if not is_whole:
            self.abort()

    async def write(self, octets: bytes) -> None:
        """Write, once the client has read what was written before."""
        if self._room is not None:
            await self._room.wait()
        if self._transport is not None:
            self._transport.write(octets)

    async def read(self) -> bytes:
        """Return what the client sends during a stream."""
        assert self._input is not None
        return await self._input.read()

    def take_input(self) -> bytes:
        """Return what the client has sent by now during a stream."""
        assert self._input is not None
        return self._input.take()

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
        now_s = self._server.loop.time()
        if self._input_ended:
            self.deadline_s = now_s + self._server.limits.write_timeout_s
            self._transport.close()
            return
        if not self._decoder.buffered_octets:  # nothing is waiting either: a turn would be due
            self.deadline_s = now_s + self._server.limits.idle_timeout_s
            return
        # Counted from its first octet: one octet now and then does not keep a message open.
        if self._message_begun_s is None:
            self._message_begun_s = now_s
        self.deadline_s = self._message_begun_s + self._server.limits.message_timeout_s

    def _balance_reading(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._is_busy and self._input is None and not self._reading_paused:
            if self._decoder.buffered_octets or self._waiting:
                self._reading_paused = True
                self._transport.pause_reading()
        elif self._reading_paused and (not self._is_busy or self._input is not None):
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
        quick: answers what it can before the dispatcher; None: nothing.
    """

    def __init__(
        self,
        sock: socket.socket,
        dispatcher: Answerer,
        limits: LimitsConfig,
        loop: asyncio.AbstractEventLoop,
        limiter: Places | None = None,
        quick: QuickAnswers | None = None,
    ) -> None:
        self._sock = sock
        self.dispatcher = dispatcher
        self.limits = limits
        self.loop = loop
        self.quick = quick
        self.tasks = TaskSet(loop)
        self._limiter = limiter or Places(
            limits.connections_max, limits.connections_per_address_max
        )
        self._connections: set[TcpConnection] = set()
        self._gauge = CONNECTIONS.labels("tcp")
        self._refused = REFUSED.labels("tcp_connections")
        self._shown = 0  # connections that the metrics know of
        self._acceptor = Acceptor(sock, loop, self._accept, socket.SocketType)
        self._readiness: Readiness | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Begin to accept."""
        # Connections inherit it: answers are written whole, nothing is gained by waiting for more.
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._readiness = Readiness(self.loop)
        self._acceptor.start()
        self._sweep_again()

    async def stop(self) -> None:
        """Stop accepting, cut the connections."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._acceptor.stop()
        for connection in list(self._connections):
            connection.abort()
        await self.tasks.cancel()
        await asyncio.sleep(0)  # connections end a moment after they are cut
        if self._readiness is not None:
            self._readiness.close()
        self._show_metrics()
        self._sock.close()

    def admit(self, connection: TcpConnection, address: str) -> bool:
        """Count a new connection; False when it is one too many."""
        if not self._limiter.admit(address):
            self._refused.inc()
            return False
        self._connections.add(connection)
        return True

    def forget(self, connection: TcpConnection, address: str) -> None:
        """Count a connection that has ended."""
        self._connections.discard(connection)
        self._limiter.release(address)

    def sweep(self, now_s: float) -> None:
        """Cut the connections whose time is over."""
        for connection in [each for each in self._connections if each.deadline_s <= now_s]:
            connection.abort()

    def _accept(self, sock: socket.SocketType, address: tuple[str, int]) -> None:
        assert self._readiness is not None, "connections are accepted between start and stop"
        StreamSocket(sock, address, TcpConnection(self), self.loop, self._readiness).start()

    def _show_metrics(self) -> None:
        """Tell the metrics; for each connection that would take as long as a look-up."""
        self._gauge.inc(len(self._connections) - self._shown)
        self._shown = len(self._connections)
        if self.quick is not None:
            self.quick.flush()

    def _sweep_again(self) -> None:
        self.sweep(self.loop.time())
        self._show_metrics()
        self._sweeper = self.loop.call_later(SWEEP_S, self._sweep_again)
