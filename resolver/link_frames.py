"""The Unix socket between workers and the registrar or keeper.

Frames are msgpack arrays, one after the other on a stream socket; `number` is chosen by the
worker and names one exchange on its connection.

    worker -> registrar                        registrar -> worker
      [CALL,   number, kind, payload]            [REPLY, number, payload]
      [OPEN,   number, kind, payload, credit]    [ITEM,  number, octets]     costs one credit
      [CREDIT, number, more]                     [END,   number]
      [CANCEL, number]                           [FAIL,  number, words]      instead of the rest

A stream sends no item without credit and the worker grants one for each item taken, so a client
that reads slowly holds a few messages in memory, never a whole list. What the transport cannot
write at once is waited for. Exchanges under way are bounded on the worker's side (`LinkBusy`).
A link that breaks fails what is under way (`LinkDown`) and connects again by itself.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import msgpack

CALL, OPEN, CREDIT, CANCEL, REPLY, ITEM, END, FAIL = range(1, 9)

CREDIT_FIRST = 8  # messages of 262,144 octets at most: 2 MiB a stream
FRAME_OCTETS_MAX = 4 * 1_048_576  # a message and what stands around it, many times over
_SOCKET_PATH_MAX = 107  # octets of sun_path without its final zero

_log = logging.getLogger(__name__)

Payload = dict[str, Any]


@contextlib.contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """Yield an address for `path` that fits into sun_path, however deep the data folder lies."""
    if len(os.fsencode(path)) <= _SOCKET_PATH_MAX:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


class Frames(asyncio.Protocol):
    """One end of a connection: takes frames apart and waits where the socket is full.

    Args:
        receive: called with every frame.
        lost: called when the connection ends.
        begun: called once frames can be sent.
    """

    def __init__(
        self,
        receive: Callable[[list[Any]], None],
        lost: Callable[[], None],
        begun: Callable[[], None] = lambda: None,
    ) -> None:
        self._receive = receive
        self._lost = lost
        self._begun = begun
        self._unpacker = msgpack.Unpacker(max_buffer_size=FRAME_OCTETS_MAX, raw=False)
        self._packer = msgpack.Packer(autoreset=True)
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        # uvloop's transports are not subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._begun()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the owner, and whoever waits to write."""
        self._transport = None
        self._writable.set()
        self._lost()

    def data_received(self, data: bytes) -> None:
        """Take frames apart and hand them to the owner."""
        try:
            self._unpacker.feed(data)
            for frame in self._unpacker:
                self._receive(frame)
        except (msgpack.UnpackException, ValueError, TypeError, KeyError, IndexError) as error:
            _log.error("link frame cannot be read, closing the link: %s", error)
            self.close()

    def pause_writing(self) -> None:
        """Make `drain` wait."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let `drain` go on."""
        self._writable.set()

    def send(self, *frame: Any) -> None:
        """Write a frame; on a lost connection it goes nowhere."""
        if self._transport is not None:
            self._transport.write(self._packer.pack(frame))

    async def drain(self) -> None:
        """Wait until the socket takes more."""
        await self._writable.wait()

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()
