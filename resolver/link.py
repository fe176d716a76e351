"""The worker's end of the link to the registrar or keeper (frames: `resolver.link_frames`)."""

import asyncio
import contextlib
import functools
import itertools
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

from resolver.link_frames import (
    CALL,
    CANCEL,
    CREDIT,
    CREDIT_FIRST,
    FAIL,
    ITEM,
    OPEN,
    Frames,
    Payload,
    socket_address,
)

RECONNECT_FIRST_S = 0.01
RECONNECT_LAST_S = 0.5


class LinkDown(Exception):  # noqa: N818 - named for the state, as callers speak of it
    """The registrar or keeper cannot be reached; unless it is a LinkLost, nothing was done."""


class LinkLost(LinkDown):
    """The exchange began and got no reply: what was asked for may have been done."""


class LinkFailed(LinkLost):
    """The other side met an error of its own in this exchange."""


class LinkBusy(LinkDown):
    """As many exchanges are under way as this link allows; nothing was done."""


# Takes a frame of one exchange as it arrives, None when the link is lost.
_Receiver = Callable[[list[Any] | None], None]


class Link:
    """The worker's end. Use from one event loop.

    Args:
        path: the Unix socket.
        exchanges_max: calls and streams under way at once.
    """

    def __init__(self, path: Path, exchanges_max: int = 4_096) -> None:
        self._path = path
        self._exchanges_max = exchanges_max
        self._exchanges: dict[int, _Receiver] = {}
        self._numbers = itertools.count(1)
        self._frames: Frames | None = None
        self._connected = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_up(self) -> bool:
        """Say whether the other side is connected right now."""
        return self._frames is not None

    @property
    def under_way(self) -> int:
        """The number of exchanges under way."""
        return len(self._exchanges)

    def make_end(self, lost: Callable[[], None]) -> Frames:
        """Return this end of a new connection; `lost` is called when it ends."""

        def end() -> None:
            self._lose_all()
            lost()

        def begin() -> None:
            self._frames = frames
            self._connected.set()

        frames = Frames(self._receive, end, begin)
        return frames

    async def start(self) -> None:
        """Begin connecting; returns at once."""
        self._task = asyncio.create_task(self._keep_connected())

    async def wait_up(self) -> None:
        """Return when the link is up."""
        await self._connected.wait()

    async def close(self) -> None:
        """Give up what is under way and close."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._frames is not None:
            self._frames.close()
        self._lose_all()

    async def call(self, kind: str, payload: Payload, timeout_s: float | None = None) -> Payload:
        """Send one request and return its reply.

        Raises:
            LinkDown: not connected, lost on the way, failed there, too many under way, or no reply
                within `timeout_s`.
        """
        frames, number, answer = self._call(kind, payload)
        try:
            async with asyncio.timeout(timeout_s):
                reply: Payload = await answer
        except TimeoutError:
            frames.send(CANCEL, number)
            raise LinkLost(f"no reply to {kind} within {timeout_s} s") from None
        except asyncio.CancelledError:
            frames.send(CANCEL, number)
            raise
        finally:
            self._exchanges.pop(number, None)
        return reply

    def begin(self, kind: str, payload: Any) -> "asyncio.Future[Any]":
        """Send one request; the future ends in its reply, or in LinkDown.

        Raises:
            LinkDown: not connected, or too many under way.
        """
        return self._call(kind, payload)[2]

    def _call(self, kind: str, payload: Any) -> "tuple[Frames, int, asyncio.Future[Any]]":
        frames, number = self._number()
        answer = asyncio.get_running_loop().create_future()

        def receive(frame: list[Any] | None) -> None:
            self._exchanges.pop(number, None)
            if not answer.done():
                try:
                    answer.set_result(_checked(frame, kind)[2])
                except LinkDown as error:
                    answer.set_exception(error)

        self._exchanges[number] = receive
        frames.send(CALL, number, kind, payload)
        return frames, number, answer

    async def stream(self, kind: str, payload: Payload) -> AsyncGenerator[Any, None]:
        """Send one request and yield what the other side streams; closing it early cancels.

        Raises:
            LinkDown: as in `call`.
        """
        frames, number = self._number()
        arrived: asyncio.Queue[list[Any] | None] = asyncio.Queue()
        self._exchanges[number] = arrived.put_nowait
        ended = False
        try:
            frames.send(OPEN, number, kind, payload, CREDIT_FIRST)
            while True:
                frame = await arrived.get()
                ended = frame is None or frame[0] != ITEM
                frame = _checked(frame, kind)
                if ended:
                    return
                yield frame[2]
                frames.send(CREDIT, number, 1)
        finally:
            if not ended:
                frames.send(CANCEL, number)
            self._exchanges.pop(number, None)

    def _number(self) -> tuple[Frames, int]:
        if self._frames is None:
            raise LinkDown("the node's registrar is not running at the moment")
        if len(self._exchanges) >= self._exchanges_max:
            raise LinkBusy(f"{self._exchanges_max} requests are under way, no more are taken")
        return self._frames, next(self._numbers)

    def _receive(self, frame: list[Any]) -> None:
        receive = self._exchanges.get(frame[1])
        if receive is not None:  # otherwise cancelled here while the frame was on its way
            receive(frame)

    def _lose_all(self) -> None:
        self._frames = None
        self._connected.clear()
        for receive in list(self._exchanges.values()):
            receive(None)

    async def _keep_connected(self) -> None:
        pause_s = RECONNECT_FIRST_S
        loop = asyncio.get_running_loop()
        while True:
            lost = asyncio.Event()
            try:
                with socket_address(self._path) as address:
                    await loop.create_unix_connection(
                        functools.partial(self.make_end, lost.set), address
                    )
            except OSError:
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, RECONNECT_LAST_S)
                continue
            pause_s = RECONNECT_FIRST_S
            await lost.wait()


def _checked(frame: list[Any] | None, kind: str) -> list[Any]:
    if frame is None:
        raise LinkLost(f"the link was lost before {kind} was answered; its outcome is not known")
    if frame[0] == FAIL:
        raise LinkFailed(str(frame[2]))
    return frame
