"""What every transport needs of the node behind it, and what they have in common.

A transport moves whole messages (envelope and message, in one piece) between a peer and an
`Answerer`; it knows nothing of handles. Most requests are answered in the call that read them
(`answer_now`); what needs another process, a thread or many messages is an asynchronous iterator
(`answer`). A new transport is one more file with a class that has `start` and `stop`.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, Protocol

from resolver.connection_streams import ConnectionStream
from resolver.dispatch import Peer

_log = logging.getLogger(__name__)


class Answerer(Protocol):
    """The part of the dispatcher that transports use."""

    def answer_now(self, octets: bytes, peer: Peer) -> bytes | None:
        """Answer at once: a message, `b""` to stay silent, or None: use `answer`."""
        ...

    def answer(self, octets: bytes, peer: Peer) -> AsyncGenerator[bytes | ConnectionStream, None]:
        """Answer everything else, message by message; a stream is the last and ends the line."""
        ...


class TransportServer(Protocol):
    """A running transport."""

    async def start(self) -> None:
        """Begin to serve."""
        ...

    async def stop(self) -> None:
        """Stop accepting, end what is under way, close."""
        ...


class TaskSet:
    """The tasks of one transport: kept alive, told of when they fail, ended together."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine as a task."""
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def wait(self, timeout_s: float) -> None:
        """Wait until all have ended by themselves, or the time is over."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=timeout_s)

    async def cancel(self) -> None:
        """End all tasks and wait until they have ended."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # A mistake of ours: the peer sees a closed connection or silence, the log the place.
            _log.error("a request could not be answered", exc_info=task.exception())
