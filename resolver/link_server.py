"""The registrar's or keeper's end of the link: a task for every call and stream.

Calls that are many and short have a handler that is no coroutine but returns a future: a task costs
more than they do.
"""

import asyncio
import contextlib
import functools
import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from resolver.link_frames import (
    CALL,
    CANCEL,
    CREDIT,
    END,
    FAIL,
    ITEM,
    OPEN,
    REPLY,
    Frames,
    Payload,
    socket_address,
)

CallHandler = Callable[[Payload], Awaitable[Payload]]
StreamHandler = Callable[[Payload], AsyncGenerator[Any, None]]
ShortHandler = Callable[[Any], "asyncio.Future[Any]"]

_log = logging.getLogger(__name__)


class LinkServer:
    """The registrar's or keeper's end: runs a handler for every call and stream.

    Args:
        path: the Unix socket; one that a dead process left behind is replaced.
        calls: handlers by kind, for `Link.call`.
        streams: handlers by kind, for `Link.stream`; each an asynchronous generator of octets.
        short: handlers by kind, for `Link.begin`; they return a future at once, which ends in the
            reply. What was begun is not cancelled.
    """

    def __init__(
        self,
        path: Path,
        calls: Mapping[str, CallHandler],
        streams: Mapping[str, StreamHandler] | None = None,
        short: Mapping[str, ShortHandler] | None = None,
    ) -> None:
        self._path = path
        self._calls = calls
        self._streams = streams or {}
        self._short = short or {}
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()

    async def start(self) -> None:
        """Bind the socket, readable by this user alone, and serve it."""
        self._path.unlink(missing_ok=True)
        loop = asyncio.get_running_loop()
        before = os.umask(0o177)
        try:
            with socket_address(self._path) as address:
                self._server = await loop.create_unix_server(self.accept, address)
        finally:
            os.umask(before)

    async def stop(self) -> None:
        """Stop accepting, end what runs, close."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._connections):
            connection.close()
        await asyncio.sleep(0)
        self._path.unlink(missing_ok=True)

    def accept(self) -> Frames:
        """Return this end of a new connection."""
        connection = _Connection(self._calls, self._streams, self._short, self._connections.discard)
        self._connections.add(connection)
        return connection.frames


class _Connection:
    """One worker's connection and the tasks that run for it."""

    def __init__(
        self,
        calls: Mapping[str, CallHandler],
        streams: Mapping[str, StreamHandler],
        short: Mapping[str, ShortHandler],
        forget: "Callable[[_Connection], None]",
    ) -> None:
        self.frames = Frames(self._receive, self._lost)
        self._calls = calls
        self._streams = streams
        self._short = short
        self._forget = forget
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._credit: dict[int, asyncio.Semaphore] = {}

    def close(self) -> None:
        self.frames.close()

    def _lost(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        self._forget(self)

    def _receive(self, frame: list[Any]) -> None:
        kind, number = frame[0], frame[1]
        if kind == CALL and frame[2] in self._short:
            self._begin(number, self._short[frame[2]], frame[3])
        elif kind == CREDIT:
            if number in self._credit:
                for _ in range(frame[2]):
                    self._credit[number].release()
        elif kind == CANCEL:
            if number in self._tasks:
                self._tasks[number].cancel()
        elif kind == OPEN:
            self._credit[number] = asyncio.Semaphore(frame[4])
            self._run(number, self._stream(number, frame[2], frame[3]))
        else:
            self._run(number, self._call(number, frame[2], frame[3]))

    def _begin(self, number: int, handler: ShortHandler, payload: Any) -> None:
        try:
            reply = handler(payload)
        except Exception as error:
            self._fail(number, error)
        else:
            reply.add_done_callback(functools.partial(self._reply, number))

    def _reply(self, number: int, reply: "asyncio.Future[Any]") -> None:
        error = reply.exception()
        if error is None:
            self.frames.send(REPLY, number, reply.result())
        else:
            self._fail(number, error)

    def _fail(self, number: int, error: BaseException) -> None:
        # One request's mishap must not end the others': it is logged whole and reported.
        _log.error("request over the link failed", exc_info=error)
        self.frames.send(FAIL, number, f"{type(error).__name__} in the node's registrar")

    def _run(self, number: int, work: Any) -> None:
        task = self._tasks[number] = asyncio.create_task(self._guarded(number, work))
        task.add_done_callback(lambda _: self._end(number))

    def _end(self, number: int) -> None:
        self._tasks.pop(number, None)
        self._credit.pop(number, None)

    async def _guarded(self, number: int, work: Awaitable[None]) -> None:
        try:
            await work
        except asyncio.CancelledError:
            self.frames.send(FAIL, number, "cancelled")
        except Exception as error:
            self._fail(number, error)

    async def _call(self, number: int, kind: str, payload: Payload) -> None:
        handler = self._calls.get(kind)
        if handler is None:
            self.frames.send(FAIL, number, f"nothing here answers {kind}")
            return
        self.frames.send(REPLY, number, await handler(payload))

    async def _stream(self, number: int, kind: str, payload: Payload) -> None:
        handler = self._streams.get(kind)
        if handler is None:
            self.frames.send(FAIL, number, f"nothing here streams {kind}")
            return
        credit = self._credit[number]
        async with contextlib.aclosing(handler(payload)) as items:
            async for item in items:
                await credit.acquire()
                await self.frames.drain()
                self.frames.send(ITEM, number, item)
        self.frames.send(END, number)
