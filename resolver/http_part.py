"""The HTTP part of a worker: certificate, REST interface, HTTP and HTTPS on all addresses.

A worker imports it when it answers over UDP and TCP already: the REST interface and its libraries
take nearly as long to import as all the rest.
"""

import asyncio
import signal
import time

from registry.store import CacheStore, Store
from resolver.api.app import make_app
from resolver.config import Config
from resolver.dispatch import Dispatcher
from resolver.hot_creations import HotCreations
from resolver.hot_route import CachedRows, OwnRows, PublicRows
from resolver.http_server import DEFAULT_HEADERS, HttpServer
from resolver.limits import Places
from resolver.link import Link
from resolver.metrics import RequestMetrics
from resolver.node import Node
from resolver.proxies import Proxies
from resolver.query import Records
from resolver.query_counts import QueryCounts
from resolver.rest_operations import RestOperations
from resolver.sockets import open_tcp
from resolver.tls import WATCH_S, open_certificate


class HttpPart:
    """Serves HTTP and HTTPS; SIGHUP has it read its certificate again, and so does time.

    Args:
        config: the node's.
        node: its site and its key.
        records: what is answered without asking anybody.
        link: to the registrar or keeper.
        dispatcher: answers the tunnel.
        metrics: counts what is answered.
        limiter: counts connections of TCP and HTTP.
        store: what `records` are in.
        counts: where queries are counted for statistics; None: nowhere.

    Raises:
        TlsError: the certificate cannot be used.
    """

    def __init__(
        self,
        config: Config,
        node: Node,
        records: Records,
        link: Link,
        dispatcher: Dispatcher,
        metrics: RequestMetrics,
        limiter: Places,
        store: Store | CacheStore,
        counts: QueryCounts | None,
    ) -> None:
        self._config = config
        self._dispatcher = dispatcher
        self._limiter = limiter
        self._counts = counts
        self._certificate = open_certificate(
            config.tls,
            config.folder,
            config.run_folder,
            node.private_key,
            config.listen.addresses,
            time.time(),
        )
        self._rows: PublicRows
        self._creations: HotCreations | None = None
        if isinstance(store, CacheStore):
            self._rows = CachedRows(store)
            operations = RestOperations(node, records, link, metrics)
        else:
            self._rows = OwnRows(store)
            self._creations = HotCreations(store, link, DEFAULT_HEADERS, asyncio.get_running_loop())
            operations = RestOperations(node, records, link, metrics, store, counts)
        self._app = make_app(operations, config)
        self._servers: list[HttpServer] = []
        self._watcher: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the sockets and serve. Raises: SocketError."""
        loop = asyncio.get_running_loop()
        listen = self._config.listen
        proxies = Proxies(listen.trusted_proxies, listen.proxy_header)
        for address in listen.addresses:
            server = HttpServer(
                open_tcp(address, listen.http_port),
                self._app,
                self._dispatcher,
                self._config.limits,
                self._certificate,
                loop,
                self._limiter,
                self._rows,
                self._creations,
                self._counts,
                proxies,
            )
            await self._serve(server)
        if self._config.listen.client_certificate_port:
            await self._start_certificate_servers(loop)
        loop.add_signal_handler(signal.SIGHUP, self._certificate.reload_if_changed)
        self._watcher = asyncio.create_task(self._watch_certificate())

    async def _start_certificate_servers(self, loop: asyncio.AbstractEventLoop) -> None:
        from resolver.certificate_server import CertificateServer  # pyOpenSSL, where it is used

        for address in self._config.listen.addresses:
            server = CertificateServer(
                open_tcp(address, self._config.listen.client_certificate_port),
                self._app,
                self._dispatcher,
                self._config.limits,
                self._certificate,
                loop,
                self._limiter,
            )
            await self._serve(server)

    async def _serve(self, server: HttpServer) -> None:
        self._servers.append(server)
        await server.start()

    async def stop(self) -> None:
        """Stop serving."""
        if self._watcher is not None:
            self._watcher.cancel()
        for server in self._servers:
            await server.stop()

    async def _watch_certificate(self) -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            self._certificate.reload_if_changed()
