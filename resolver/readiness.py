"""Which of many sockets can be read or written: one epoll of our own within the loop's.

    socket ─┐
    socket ─┼─> epoll ──> loop.add_reader ──> at most EVENTS_MAX of them are told, then others' turn
    socket ─┘

The loop's own readers take six system calls and two objects for a connection's life; here it is one
call, because a closed socket leaves an epoll by itself. Level-triggered, so whoever does not read
all is told again.
"""

import asyncio
import select
from typing import Protocol

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
EVENTS_MAX = 64  # told in one go: TCP does not keep UDP and HTTP waiting for longer

_READ_OR_ENDED = select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR
_NOTHING = 0


class Watcher(Protocol):
    """Is told what its socket can do."""

    def on_ready(self, *, readable: bool, writable: bool) -> None:
        """Read or write; an error or hang-up counts as what was asked for."""
        ...


class Readiness:
    """Tells watchers about their sockets, from the loop's callbacks.

    Args:
        loop: the loop that serves.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._watched: dict[int, tuple[Watcher, int]] = {}
        loop.add_reader(self._epoll.fileno(), self._on_events)

    def close(self) -> None:
        """Tell nobody anything any more."""
        self._loop.remove_reader(self._epoll.fileno())
        self._watched.clear()
        self._epoll.close()

    def watch(self, fileno: int, watcher: Watcher, interest: int) -> None:
        """Tell `watcher` when its socket can do what it is interested in, until told otherwise.

        Args:
            fileno: of an open socket.
            watcher: told.
            interest: READ, WRITE, both, or 0 for nothing.
        """
        known = self._watched.get(fileno)
        if known is None:
            if interest:
                self._epoll.register(fileno, interest)
                self._watched[fileno] = watcher, interest
        elif not interest:
            # Not only its interest: of a broken connection an epoll would tell for ever.
            self._epoll.unregister(fileno)
            del self._watched[fileno]
        elif interest != known[1]:
            self._epoll.modify(fileno, interest)
            self._watched[fileno] = watcher, interest

    def forget(self, fileno: int) -> None:
        """Forget a socket that is closed next, which takes it out of the epoll."""
        self._watched.pop(fileno, None)

    def _on_events(self) -> None:
        for fileno, events in self._epoll.poll(0, EVENTS_MAX):
            watcher, interest = self._watched.get(fileno, (None, _NOTHING))
            if watcher is None:
                continue  # forgotten by one that was told before
            try:
                watcher.on_ready(
                    readable=bool(interest & READ and events & _READ_OR_ENDED),
                    writable=bool(interest & WRITE and events & ~READ),
                )
            except Exception as error:
                context = {"message": "a connection's handler failed", "exception": error}
                self._loop.call_exception_handler(context)
