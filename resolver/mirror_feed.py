"""Feeding one mirror, in a worker: what `registry.mirror_streams` gives, in the form agreed.

Pieces are made in a thread, one when the one before has been written; a mirror that does not read
thus holds a piece and what the transport's buffer takes, and no transaction of the store. What goes
wrong here breaks the connection off: the mirror asks again from where it is.
"""

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.dsa import DSAPrivateKey

from protocol.replication_stream import STREAM_SIGNED, STREAM_TLS, signed_part, stream_start
from registry.errors import JournalError, RecordError, StoreError
from registry.mirror_plans import LogPlan, unpack_plan
from registry.mirror_streams import DumpStream, LogStream, Piece
from registry.store import Store
from resolver import dsa_tls
from resolver.config import Config
from resolver.connection_streams import Channel
from resolver.metrics import MIRROR_RECORDS
from resolver.node import Node
from resolver.node_files import NodeFilesError
from resolver.tls import open_own_context

SERVER_NUMBER = 0  # ours, counted from 0, in a site that has one

_log = logging.getLogger(__name__)


class FeedError(Exception):
    """A mirror cannot be fed any further; the text says why."""


class Feeding(NamedTuple):
    """What all feeds of a worker share."""

    config: Config
    node: Node
    store: Store
    threads: Executor


class MirrorFeed:
    """One stream; see `resolver.connection_streams`.

    Args:
        feeding: the node's things.
        order: what the registrar says should be sent, `resolver.mirrors`.
        now_s: the time since 1970.
    """

    def __init__(
        self, feeding: Feeding, order: dict[str, Any], now_s: Callable[[], float] = time.time
    ) -> None:
        self._feeding = feeding
        self._form: int = order["form"]
        self._plan = unpack_plan(order["plan"])
        self._who: str = order["who"]
        self._now_s = now_s

    @property
    def _what(self) -> str:
        return "the log" if isinstance(self._plan, LogPlan) else "all handles"

    async def send(self, channel: Channel) -> bool:
        """Send all of it; False: it was broken off."""
        try:
            stream = await self._in_thread(self._open)
            await channel.write(stream_start(self._form))
            if self._form == STREAM_TLS:
                await self._send_in_tls(channel, stream)
            else:
                pieces = stream.pieces()
                while (octets := await self._in_thread(self._next, pieces)) is not None:
                    await channel.write(octets)
        except (FeedError, StoreError, RecordError, JournalError, NodeFilesError) as error:
            _log.error("%s for the mirror %s broke off: %s", self._what, self._who, error)
            return False
        except (ssl.SSLError, ConnectionError, TimeoutError) as error:
            words = str(error) or "no TLS handshake in time"
            _log.warning("%s for the mirror %s broke off: %s", self._what, self._who, words)
            return False
        self._tell(stream)
        return True

    def _tell(self, stream: LogStream | DumpStream) -> None:
        kind = "log" if isinstance(stream, LogStream) else "dump"
        MIRROR_RECORDS.labels(kind).inc(stream.sent)
        if isinstance(stream, LogStream) and stream.needs_redump:
            _log.info("the mirror %s needs a dump: the log does not reach back", self._who)
        elif stream.sent or isinstance(stream, DumpStream):
            _log.info("%s: %d records for the mirror %s", self._what, stream.sent, self._who)
        if stream.left_out:
            unit = "changes of ranges" if isinstance(stream, LogStream) else "identifiers in ranges"
            _log.warning(
                "%d %s were not sent to the mirror %s: its protocol has no ranges",
                stream.left_out,
                unit,
                self._who,
            )

    def _open(self) -> LogStream | DumpStream:
        store, now_ms = self._feeding.store, int(self._now_s() * 1_000)
        if isinstance(self._plan, LogPlan):
            source = f"{SERVER_NUMBER}:{self._feeding.config.mirrors.name}"
            return LogStream(store, self._plan, source, now_ms)
        return DumpStream(store, self._plan, now_ms)

    def _next(self, pieces: Iterator[Piece]) -> bytes | None:
        """Return the next octets to send, signed where they have to be; None: that was all."""
        piece = next(pieces, None)
        if piece is None:
            return None
        if self._form == STREAM_SIGNED:
            piece = [signed_part(part, self._feeding.node.private_key) for part in piece]
        return b"".join(piece)

    async def _send_in_tls(self, channel: Channel, stream: LogStream | DumpStream) -> None:
        context = await self._in_thread(self._open_context)
        tls = _ServerTls(context, channel)
        async with asyncio.timeout(self._feeding.config.limits.tls_handshake_timeout_s):
            await tls.shake_hands()
        pieces = stream.pieces()
        while (octets := await self._in_thread(self._next, pieces)) is not None:
            await tls.write(octets)
        await tls.close()

    def _open_context(self) -> ssl.SSLContext:
        config, key = self._feeding.config, self._feeding.node.private_key
        if isinstance(key, DSAPrivateKey):
            addresses = config.listen.addresses
            return dsa_tls.server_context(config.run_folder, key, addresses, self._now_s())
        return open_own_context(config.run_folder, key, config.listen.addresses, self._now_s())

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._feeding.threads, function, *arguments)


class _ServerTls:
    """The server's end of TLS over a channel."""

    def __init__(self, context: ssl.SSLContext, channel: Channel) -> None:
        self._arrived, self._leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._arrived, self._leaving, server_side=True)
        self._channel = channel

    async def shake_hands(self) -> None:
        """Shake hands. Raises: ssl.SSLError, ConnectionError: the client ended it."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
            else:
                await self._flush()
                return
            octets = await self._channel.read()
            if not octets:
                raise ConnectionError("the mirror ended the TLS handshake")
            self._arrived.write(octets)

    async def write(self, octets: bytes) -> None:
        """Write encrypted. Raises: FeedError, ssl.SSLError."""
        self._take_input()
        if octets:
            self._tls.write(octets)
            await self._flush()

    async def close(self) -> None:
        """Tell the client that this was all."""
        with contextlib.suppress(ssl.SSLError):  # its own end of the line is not waited for
            self._tls.unwrap()
        await self._flush()

    def _take_input(self) -> None:
        """Let TLS read what it sends for itself; a mirror has nothing to say."""
        self._arrived.write(self._channel.take_input())
        if not self._arrived.pending:
            return
        try:
            said = self._tls.read(1)
        except ssl.SSLWantReadError:
            return
        raise FeedError("the mirror spoke" if said else "the mirror closed the connection")

    async def _flush(self) -> None:
        octets = self._leaving.read()
        if octets:
            await self._channel.write(octets)
