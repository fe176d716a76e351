"""A stream transport for connections that live for one request as well as for a million.

uvloop's own transports cost more to make and to end than one answer does. This one is a socket, an
entry in an epoll (`readiness`), and a buffer for what the kernel does not take at once; whatever
has arrived when the connection is accepted is read right away:

    accept ─> read ─> protocol ─> write, at once if the kernel takes it ─> wait for more

It calls its protocol as asyncio's transports do, with the same promises, and has what
`TcpConnection` needs of them.
"""

import asyncio
import socket
from typing import Any

from resolver.readiness import READ, WRITE, Readiness

# What one client may bring before others get their turn. The C library takes larger buffers from
# the kernel, each time anew.
READ_OCTETS_MAX = 65_536


class StreamSocket(asyncio.Transport):
    """One connection. Call `start` once.

    Args:
        sock: connected and non-blocking; closed in the end.
        address: the client's, as `accept` told.
        protocol: is told what happens.
        loop: the loop that serves.
        readiness: of that loop, tells when there is something to read or room to write.
    """

    def __init__(
        self,
        sock: socket.SocketType,
        address: tuple[str, int],
        protocol: asyncio.Protocol,
        loop: asyncio.AbstractEventLoop,
        readiness: Readiness,
    ) -> None:
        self._sock = sock
        self._fileno = sock.fileno()
        self._address = address
        self._protocol = protocol
        self._loop = loop
        self._readiness = readiness
        self._unsent = bytearray()
        self._high = 65_536
        self._is_read = False  # we are to be told when something arrives
        self._is_paused = False  # the protocol has been asked to stop writing
        self._input_ended = False
        self._closing = False
        self._is_ended = False

    def start(self) -> None:
        """Introduce itself to the protocol and read what has arrived."""
        self._protocol.connection_made(self)
        if not self._closing:
            self._is_read = True
            self._on_readable()
            self._watch()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return the client's address as "peername"."""
        return self._address if name == "peername" else default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set how many octets may wait before the protocol is asked to stop writing."""
        assert high is not None, "there is no default"
        assert low is None, "writing goes on at a quarter of the limit"
        self._high = high

    def is_closing(self) -> bool:
        """Say whether the connection is ending or has ended."""
        return self._closing

    def pause_reading(self) -> None:
        """Leave what arrives to the kernel."""
        if self._is_read:
            self._is_read = False
            self._watch()

    def resume_reading(self) -> None:
        """Read again."""
        if not (self._is_read or self._closing or self._input_ended):
            self._is_read = True
            self._watch()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write, now as far as the kernel takes it."""
        if self._closing or not data:
            return
        if self._unsent:
            self._unsent += data
        else:
            sent = self._send(data)
            if sent == len(data) or self._closing:
                return
            self._unsent += memoryview(data)[sent:]
            self._watch()
        if len(self._unsent) > self._high and not self._is_paused:
            self._is_paused = True
            self._protocol.pause_writing()

    def close(self) -> None:
        """Send what waits, then close."""
        if not self._closing:
            self._closing = True
            self._is_read = False
            if self._unsent:
                self._watch()
            else:  # and what is closed need not be told first that nothing is waited for
                self._loop.call_soon(self._end, None)

    def abort(self) -> None:
        """Close now, whatever waits to be sent."""
        self._fail(None)

    def on_ready(self, *, readable: bool, writable: bool) -> None:
        """Read or write; called by `Readiness`."""
        if writable and self._unsent:
            self._on_writable()
        if readable and self._is_read:
            self._on_readable()

    def _watch(self) -> None:
        """Be told what we wait for."""
        interest = (READ if self._is_read else 0) | (WRITE if self._unsent else 0)
        self._readiness.watch(self._fileno, self, interest)

    def _on_readable(self) -> None:
        try:
            data = self._sock.recv(READ_OCTETS_MAX)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._fail(error)
            return
        if data:
            self._protocol.data_received(data)
            return
        self._input_ended = True
        self._is_read = False  # or we would be told of the end again and again
        if not self._protocol.eof_received():
            self.close()
        if not self._closing:
            self._watch()

    def _on_writable(self) -> None:
        del self._unsent[: self._send(self._unsent)]
        if not self._unsent:
            self._watch()
            if self._closing:
                self._end(None)
                return
        if self._is_paused and len(self._unsent) <= self._high // 4:
            self._is_paused = False
            self._protocol.resume_writing()

    def _send(self, data: bytes | bytearray | memoryview) -> int:
        try:
            return self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            self._fail(error)
            return 0

    def _fail(self, error: OSError | None) -> None:
        if self._is_ended:
            return
        self._closing = True
        self._is_read = False
        self._unsent.clear()
        self._loop.call_soon(self._end, error)

    def _end(self, error: OSError | None) -> None:
        if self._is_ended:
            return
        self._is_ended = True
        try:
            self._protocol.connection_lost(error)
        finally:
            self._readiness.forget(self._fileno)
            self._sock.close()
