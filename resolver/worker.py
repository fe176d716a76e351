"""A worker process: its own sockets, a read-only view of the store or cache, and a link.

    UDP ──┐                      ┌─ answered here     store or cache, read-only
    TCP ──┼─> Dispatcher ────────┤
    HTTP ─┘                      └─ handed on         link ─> registrar | keeper

Nothing is shared between workers but the files they read. A worker that starts before the store is
there, or is of this version, waits for the registrar, which makes and migrates it before it serves
the link; one that starts while the registrar is down answers look-ups all the same.
"""

import asyncio
import logging
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import uvloop
from starlette.applications import Starlette

from registry.errors import StoreError
from registry.store import CacheStore, Store
from resolver.api.app import make_app
from resolver.config import Config
from resolver.dispatch import Dispatcher
from resolver.fastpath import FastPath, FastPathError, open_fast_path
from resolver.hot_creations import HotCreations
from resolver.hot_route import CachedRows, OwnRows, PublicRows
from resolver.http_server import DEFAULT_HEADERS, HttpServer
from resolver.limits import ConnectionLimiter
from resolver.link import Link
from resolver.metrics import RequestMetrics
from resolver.node import load_node
from resolver.node_files import NodeFilesError
from resolver.query import CachedRecords, OwnRecords, Records
from resolver.query_counts import CountSender, QueryCounts
from resolver.quick_answers import open_quick_answers
from resolver.rest_operations import RestOperations
from resolver.sockets import SocketError, open_tcp, open_udp, raise_file_limit
from resolver.supervisor import EXIT_HOPELESS, Ready, stop_signal
from resolver.tcp import TcpServer
from resolver.tls import WATCH_S, Certificate, TlsError, open_certificate
from resolver.transport import TransportServer
from resolver.udp import UdpServer

# Files beside connections: sockets listened on, LMDB, the link, metrics, upstream.
OTHER_FILES = 256

_log = logging.getLogger(__name__)


def run(config: Config, ready: Ready) -> None:
    """Run a worker until SIGTERM; called in a forked child."""
    try:
        uvloop.run(_main(config, ready))
    except (StoreError, NodeFilesError, SocketError, TlsError, FastPathError) as error:
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
        """Read the node's files and the certificate. Raises: NodeFilesError, TlsError."""
        self._config = config
        self._node = load_node(config)
        self._certificate = open_certificate(
            config.tls,
            config.folder,
            config.run_folder,
            self._node.private_key,
            config.listen.addresses,
            time.time(),
        )
        self._link = Link(config.link_path, config.limits.handed_on_max)
        self._threads = ThreadPoolExecutor(config.process.crypto_threads, "crypto")
        self._store: Store | CacheStore | None = None
        self._servers: list[TransportServer] = []
        self._watcher: asyncio.Task[None] | None = None
        self._count_sender: CountSender | None = None

    async def start(self) -> None:
        """Open the store and the sockets, and serve. Raises: StoreError, SocketError."""
        raise_file_limit(self._config.limits.connections_max + OTHER_FILES)
        await self._link.start()
        records = await self._open_records()
        metrics = RequestMetrics()
        store = self._store if isinstance(self._store, Store) else None
        counts = self._count_queries() if store is not None else None
        dispatcher = Dispatcher(
            self._node, records, self._link, self._threads, metrics, counts=counts
        )
        operations = RestOperations(self._node, records, self._link, metrics, store, counts)
        app = make_app(operations, self._config)
        self._servers = make_servers(
            self._config,
            dispatcher,
            app,
            self._certificate,
            public_rows(self._store),
            self._store,
            hot_creations(self._store, self._link),
            counts,
        )
        for server in self._servers:
            await server.start()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._certificate.reload_if_changed)
        self._watcher = asyncio.create_task(self._watch_certificate())

    async def stop(self) -> None:
        """Stop serving and close everything."""
        if self._watcher is not None:
            self._watcher.cancel()
        for server in self._servers:
            await server.stop()
        if self._count_sender is not None:
            await self._count_sender.stop()
        await self._link.close()
        self._threads.shutdown(cancel_futures=True)
        if self._store is not None:
            self._store.close()

    def _count_queries(self) -> QueryCounts:
        """Begin to count queries, and to tell the registrar of them."""
        counts = QueryCounts()
        self._count_sender = CountSender(counts, self._link)
        self._count_sender.start()
        return counts

    async def _open_records(self) -> Records:
        try:
            return self._open_records_now()
        except StoreError:
            await self._link.wait_up()
            return self._open_records_now()

    def _open_records_now(self) -> Records:
        config = self._config
        if not config.role.registers:
            cache = self._store = CacheStore(
                config.cache_folder, readonly=True, octets_max=config.recursion.cache_octets
            )
            return CachedRecords(cache)
        store = self._store = Store.open(
            config.store_folder,
            readonly=True,
            map_octets=config.store.map_octets,
            case_sensitive=config.case_sensitive,
        )
        return OwnRecords(store)

    async def _watch_certificate(self) -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            self._certificate.reload_if_changed()


def public_rows(store: Store | CacheStore | None) -> PublicRows:
    """Return where the hot route of HTTP looks handles up."""
    assert store is not None, "the store is opened before the sockets"
    return CachedRows(store) if isinstance(store, CacheStore) else OwnRows(store)


def hot_creations(store: Store | CacheStore | None, link: Link) -> HotCreations | None:
    """Return the hot route of registering, None where nothing is registered."""
    if not isinstance(store, Store):
        return None
    return HotCreations(store, link, DEFAULT_HEADERS, asyncio.get_running_loop())


def fast_path(
    sock: socket.socket,
    dispatcher: Dispatcher,
    store: Store | CacheStore | None,
    counts: QueryCounts | None = None,
) -> FastPath | None:
    """Return the fast path of a UDP socket, None when there is none. Raises: FastPathError."""
    if store is None:
        return None
    return open_fast_path(sock.fileno(), store, dispatcher.replies, counts=counts)


def make_servers(
    config: Config,
    dispatcher: Dispatcher,
    app: Starlette,
    certificate: Certificate,
    rows: PublicRows | None = None,
    store: Store | CacheStore | None = None,
    creations: HotCreations | None = None,
    counts: QueryCounts | None = None,
) -> list[TransportServer]:
    """Open the sockets of all addresses. Raises: SocketError, FastPathError."""
    loop = asyncio.get_running_loop()
    limits, listen = config.limits, config.listen
    limiter = ConnectionLimiter(limits.connections_max, limits.connections_per_address_max)
    quick = None
    if store is not None:
        quick = open_quick_answers(store, dispatcher.replies, counts=counts)
    servers: list[TransportServer] = []
    for address in listen.addresses:
        udp, tcp = open_udp(address, listen.handle_port), open_tcp(address, listen.handle_port)
        http = open_tcp(address, listen.http_port)
        servers += [
            UdpServer(udp, dispatcher, limits, loop, fast_path(udp, dispatcher, store, counts)),
            TcpServer(tcp, dispatcher, limits, loop, limiter, quick),
            HttpServer(
                http, app, dispatcher, limits, certificate, loop, limiter, rows, creations, counts
            ),
        ]
    return servers
