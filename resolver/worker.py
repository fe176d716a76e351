"""A worker process: its own sockets, a read-only view of the store or cache, and a link.

    UDP ──┐                      ┌─ answered here     store or cache, read-only
    TCP ──┼─> Dispatcher ────────┤
    HTTP ─┘                      └─ handed on         link ─> registrar | keeper

It answers over UDP and TCP before it has imported what HTTP needs (`http_part`), and is ready when
it answers over all three.

Nothing is shared between workers but the files they read. A worker that starts before the store is
there, or is of this version, waits for the registrar, which makes and migrates it before it serves
the link; one that starts while the registrar is down answers look-ups all the same.
"""

import asyncio
import gc
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import uvloop

from registry.errors import StoreError
from registry.store import CacheStore, Store
from resolver.config import Config
from resolver.connection_streams import ConnectionStream
from resolver.dispatch import Dispatcher
from resolver.fastpath import FastPathError, open_fast_path
from resolver.large_pages import ask_for_large_pages
from resolver.limits import Places
from resolver.link import Link
from resolver.metrics import RequestMetrics
from resolver.node import load_node
from resolver.node_files import NodeFilesError
from resolver.query import CachedRecords, OwnRecords, Records
from resolver.query_counts import CountSender, QueryCounts
from resolver.quick_answers import open_quick_answers
from resolver.sockets import SocketError, open_tcp, open_udp, raise_file_limit
from resolver.supervisor import EXIT_HOPELESS, Ready, stop_signal
from resolver.tcp import TcpServer
from resolver.transport import TransportServer
from resolver.udp import UdpServer

if TYPE_CHECKING:
    from resolver.http_part import HttpPart

# Files beside connections: sockets listened on, LMDB, the link, metrics, upstream.
OTHER_FILES = 256

_log = logging.getLogger(__name__)


def run(config: Config, ready: Ready) -> None:
    """Run a worker until SIGTERM; called in a forked child."""
    try:
        uvloop.run(_main(config, ready))
    except (StoreError, NodeFilesError, SocketError, FastPathError) as error:
        _log.error("%s", error)
        raise SystemExit(EXIT_HOPELESS) from None


async def _main(config: Config, ready: Ready) -> None:
    stopped = stop_signal()
    worker = Worker(config)
    stopping = asyncio.create_task(stopped.wait())
    starting = asyncio.create_task(worker.start())
    # A start waits for the writer, which may never come: SIGTERM ends that wait too.
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        starting.result()
        ready()
        await stopping
    else:
        starting.cancel()
        await asyncio.wait((starting,))
    await worker.stop()


class Worker:
    """One worker, put together from the node's configuration."""

    def __init__(self, config: Config) -> None:
        """Read the node's files. Raises: NodeFilesError."""
        self._config = config
        self._node = load_node(config)
        self._link = Link(config.link_path, config.limits.handed_on_max)
        self._threads = ThreadPoolExecutor(config.process.crypto_threads, "crypto")
        self._store: Store | CacheStore | None = None
        self._servers: list[TransportServer] = []
        self._count_sender: CountSender | None = None

    async def start(self) -> None:
        """Open the store, then serve: UDP and TCP first, HTTP once it is imported.

        Raises:
            StoreError: the store cannot be used.
            SocketError, FastPathError: the sockets cannot.
            TlsError: the certificate cannot.
        """
        raise_file_limit(self._config.limits.connections_max + OTHER_FILES)
        await self._link.start()
        store, records = await self._open_records()
        self._store = store
        metrics = RequestMetrics()
        counts = self._count_queries() if isinstance(store, Store) else None
        dispatcher = Dispatcher(
            self._node,
            records,
            self._link,
            self._threads,
            metrics,
            counts=counts,
            open_stream=self._open_stream,
        )
        limits = self._config.limits
        limiter = Places(limits.connections_max, limits.connections_per_address_max)
        for server in make_handle_servers(self._config, dispatcher, limiter, store, counts):
            await self._serve(server)
        make_http_part = await asyncio.to_thread(_import_http_part)
        gc.freeze()  # what is imported by now is never looked at again
        await self._serve(
            make_http_part(
                self._config, self._node, records, self._link, dispatcher, metrics, limiter,
                store, counts,
            )
        )  # fmt: skip

    async def stop(self) -> None:
        """Stop serving and close everything."""
        for server in self._servers:
            await server.stop()
        if self._count_sender is not None:
            await self._count_sender.stop()
        await self._link.close()
        self._threads.shutdown(cancel_futures=True)
        if self._store is not None:
            self._store.close()

    def _open_stream(self, order: dict[str, Any]) -> ConnectionStream:
        """Make the stream the registrar orders; few nodes have mirrors, so it is imported late."""
        from resolver.mirror_feed import Feeding, MirrorFeed

        assert isinstance(self._store, Store), "only a node that registers has mirrors"
        return MirrorFeed(Feeding(self._config, self._node, self._store, self._threads), order)

    def _count_queries(self) -> QueryCounts:
        """Begin to count queries, and to tell the registrar of them."""
        counts = QueryCounts()
        self._count_sender = CountSender(counts, self._link)
        self._count_sender.start()
        return counts

    async def _serve(self, server: TransportServer) -> None:
        self._servers.append(server)
        await server.start()

    async def _open_records(self) -> tuple[Store | CacheStore, Records]:
        try:
            return self._open_records_now()
        except StoreError:
            await self._link.wait_up()
            return self._open_records_now()

    def _open_records_now(self) -> tuple[Store | CacheStore, Records]:
        config = self._config
        if not config.role.registers:
            cache = CacheStore(
                config.cache_folder, readonly=True, octets_max=config.recursion.cache_octets
            )
            return cache, CachedRecords(cache)
        store = Store.open(
            config.store_folder,
            readonly=True,
            map_octets=config.store.map_octets,
            case_sensitive=config.case_sensitive,
        )
        ask_for_large_pages(store.data_file)
        return store, OwnRecords(store)


def make_handle_servers(
    config: Config,
    dispatcher: Dispatcher,
    limiter: Places,
    store: Store | CacheStore,
    counts: QueryCounts | None,
) -> list[TransportServer]:
    """Open the UDP and TCP sockets of all addresses. Raises: SocketError, FastPathError."""
    loop = asyncio.get_running_loop()
    limits, listen = config.limits, config.listen
    quick = open_quick_answers(store, dispatcher.replies, counts=counts)
    servers: list[TransportServer] = []
    for address in listen.addresses:
        udp, tcp = open_udp(address, listen.handle_port), open_tcp(address, listen.handle_port)
        fast_path = open_fast_path(udp.fileno(), store, dispatcher.replies, counts=counts)
        servers += [
            UdpServer(udp, dispatcher, limits, loop, fast_path),
            TcpServer(tcp, dispatcher, limits, loop, limiter, quick),
        ]
    return servers


def _import_http_part() -> "type[HttpPart]":
    from resolver.http_part import HttpPart

    return HttpPart
