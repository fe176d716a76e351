"""Accepting connections from a listening socket, some at a time.

Between two batches the loop serves others, so a flood of new connections slows down new
connections and nothing else. While no file can be opened accepting would spin: it rests for a
moment, and connections stay in the kernel's queue.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from typing import Any, cast

ACCEPT_BATCH = 32  # accepted in one go before others get their turn
ACCEPT_PAUSE_S = 0.1

_NO_FILES_LEFT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_log = logging.getLogger(__name__)


class Acceptor:
    """Hands every connection to a listening, non-blocking socket to `on_connection`.

    Args:
        sock: listened on; stays its owner's to close, after `stop`.
        loop: the loop that serves.
        on_connection: called with a non-blocking socket, its own from then on, and the address.
        kind: of the sockets; a `socket.SocketType` has all that reads and writes, and is made in
            less time.
    """

    def __init__(
        self,
        sock: socket.socket,
        loop: asyncio.AbstractEventLoop,
        on_connection: Callable[[Any, tuple[str, int]], None],
        kind: type[socket.SocketType] = socket.socket,
    ) -> None:
        self._sock = sock
        self._kind = kind
        # `socket.accept` asks for these every time, and makes enumerations of them.
        self._family, self._type, self._proto = int(sock.family), int(sock.type), sock.proto
        self._loop = loop
        self._on_connection = on_connection
        self._pause: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to accept."""
        self._pause = None
        self._loop.add_reader(self._sock.fileno(), self._on_acceptable)

    def stop(self) -> None:
        """Stop accepting."""
        self._loop.remove_reader(self._sock.fileno())
        if self._pause is not None:
            self._pause.cancel()

    def _on_acceptable(self) -> None:
        accept, kind = cast("Any", self._sock)._accept, self._kind
        family, type_, proto = self._family, self._type, self._proto
        for _ in range(ACCEPT_BATCH):
            try:
                fileno, address = accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _NO_FILES_LEFT:
                    self._rest(error)
                    return
                continue  # the client has gone already
            sock = kind(family, type_, proto, fileno)
            sock.setblocking(False)
            self._on_connection(sock, address)

    def _rest(self, error: OSError) -> None:
        _log.error("connections wait: %s; raise the limit of open files", error.strerror)
        self._loop.remove_reader(self._sock.fileno())
        self._pause = self._loop.call_later(ACCEPT_PAUSE_S, self.start)
