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
    """

    def __init__(
        self,
        sock: socket.socket,
        loop: asyncio.AbstractEventLoop,
        on_connection: Callable[[socket.socket, tuple[str, int]], None],
    ) -> None:
        self._sock = sock
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
        for _ in range(ACCEPT_BATCH):
            try:
                sock, address = self._sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _NO_FILES_LEFT:
                    self._rest(error)
                    return
                continue  # the client has gone already
            sock.setblocking(False)
            self._on_connection(sock, address)

    def _rest(self, error: OSError) -> None:
        _log.error("connections wait: %s; raise the limit of open files", error.strerror)
        self._loop.remove_reader(self._sock.fileno())
        self._pause = self._loop.call_later(ACCEPT_PAUSE_S, self.start)
