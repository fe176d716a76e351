"""The HTTP and HTTPS transport: one port for both, told apart by the first octet.

    accept ─> admitted? ─> first octet, peeked at ─┬─ 0x16, a TLS handshake ─> TLS ─┬─> HttpProtocol
              (limits)     (in so much time)       └─ anything else ────────────────┘

The octet stays in the kernel, so whoever serves the connection reads it from its beginning. Nothing
is made for a client before it has sent something but a socket and an entry here.
"""

import asyncio
import contextlib
import socket
import ssl
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from resolver.acceptor import Acceptor
from resolver.config import LimitsConfig
from resolver.hot_creations import HotCreations
from resolver.hot_route import HotRoute, PublicRows
from resolver.http_protocol import HttpProtocol
from resolver.limits import Places
from resolver.metrics import CONNECTIONS, REFUSED
from resolver.proxies import Proxies
from resolver.query_counts import QueryCounts
from resolver.tls import Certificate
from resolver.transport import Answerer, TaskSet

SWEEP_S = 1.0  # the fineness of time limits
TLS_FIRST_OCTET = b"\x16"  # content type "handshake", RFC 8446 §5.1
TLS_CLOSE_S = 2  # for the client's closing alert; few send one
GRACE_S = 2  # for answers under way when the server stops
DEFAULT_HEADERS = ((b"server", b"biaoshi"),)


class HttpServer:
    """Serves one listening TCP socket with HTTP and HTTPS.

    Args:
        sock: listening and non-blocking; closed by `stop`.
        app: the ASGI application for all but the tunnel.
        dispatcher: answers the tunnel.
        limits: of connections, time and octets.
        certificate: for TLS; watched for changes by whoever owns it.
        loop: the loop that serves.
        limiter: counts connections; share one among the sockets of a worker.
        rows: of what is answered before `app` when it can be; None: nothing.
        creations: creates handles before `app` when it can; None: `app` does.
        counts: where queries answered before `app` are counted; None: nowhere.
        proxies: reverse proxies that are believed; None: none is.
    """

    def __init__(
        self,
        sock: socket.socket,
        app: Any,
        dispatcher: Answerer,
        limits: LimitsConfig,
        certificate: Certificate,
        loop: asyncio.AbstractEventLoop,
        limiter: Places | None = None,
        rows: PublicRows | None = None,
        creations: HotCreations | None = None,
        counts: QueryCounts | None = None,
        proxies: Proxies | None = None,
    ) -> None:
        self._sock = sock
        self.certificate = certificate
        self._limiter = limiter or Places(
            limits.connections_max, limits.connections_per_address_max
        )
        self._acceptor = Acceptor(sock, loop, self._accept)
        self._silent: dict[socket.socket, tuple[str, float]] = {}
        self._gauge = CONNECTIONS.labels("http")
        self._refused = REFUSED.labels("http_connections")
        self._sweeper: asyncio.TimerHandle | None = None
        self.dispatcher = dispatcher
        self.limits = limits
        self.proxies = proxies or Proxies()
        self.loop = loop
        self.tasks = TaskSet(loop)
        self.state = ServerState()
        self.state.default_headers = list(DEFAULT_HEADERS)
        self.creations = creations
        self.hot_route = None
        if rows is not None:
            self.hot_route = HotRoute(rows, self.state.default_headers, loop, counts)
        self.uvicorn_config = _uvicorn_config(app, limits)

    async def start(self) -> None:
        """Begin to accept."""
        self._acceptor.start()
        self._sweep_again()

    async def stop(self) -> None:
        """Stop accepting, let answers under way end for a moment, cut the rest."""
        self._acceptor.stop()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for sock in list(self._silent):
            self._drop_silent(sock)
        for connection in list(self.state.connections):
            connection.shutdown()
        await self.tasks.wait(GRACE_S)
        if self.state.tasks:
            await asyncio.wait(set(self.state.tasks), timeout=GRACE_S)
        for connection in list(self.state.connections):
            connection.transport.abort()
        await self.tasks.cancel()
        if self.hot_route is not None:
            self.hot_route.flush()
        if self.creations is not None:
            self.creations.flush()
        self._sock.close()

    def forget(self, address: str) -> None:
        """Count a connection that has ended."""
        self._limiter.release(address)
        self._gauge.dec()

    def sweep(self, now_s: float) -> None:
        """End the connections whose time is over."""
        for sock in [each for each, (_, end_s) in self._silent.items() if end_s <= now_s]:
            self._drop_silent(sock)
        for connection in list(self.state.connections):
            assert isinstance(connection, HttpProtocol)
            if connection.write_deadline_s <= now_s:
                connection.time_out_writing()
            elif connection.deadline_s <= now_s:
                connection.time_out()

    def _accept(self, sock: socket.socket, peer: tuple[str, int]) -> None:
        address = peer[0]
        if not self._limiter.admit(address):
            self._refused.inc()
            sock.close()
            return
        self._gauge.inc()
        self._silent[sock] = (address, self.loop.time() + self.limits.http_head_timeout_s)
        if not self._peek(sock):
            self.loop.add_reader(sock.fileno(), self._peek, sock)

    def _peek(self, sock: socket.socket) -> bool:
        """Look at the first octet; False when there is none yet."""
        try:
            first = sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            first = b""
        if not first:
            self._drop_silent(sock)
            return True
        self.loop.remove_reader(sock.fileno())
        address, _ = self._silent.pop(sock)
        self.tasks.start(self._serve(sock, address, is_tls=first == TLS_FIRST_OCTET))
        return True

    def _drop_silent(self, sock: socket.socket) -> None:
        address, _ = self._silent.pop(sock)
        self.loop.remove_reader(sock.fileno())
        sock.close()
        self.forget(address)

    async def _serve(self, sock: socket.socket, address: str, *, is_tls: bool) -> None:
        protocol, tls = self._make_protocol(address, is_tls=is_tls)
        try:
            await self.loop.connect_accepted_socket(lambda: protocol, sock, **tls)
        except (OSError, ssl.SSLError, asyncio.CancelledError) as error:
            if not protocol.is_connected:
                with contextlib.suppress(OSError):
                    sock.close()
                self.forget(address)
            if isinstance(error, asyncio.CancelledError):
                raise
            REFUSED.labels("tls_handshake").inc()

    def _make_protocol(self, address: str, *, is_tls: bool) -> tuple[Any, dict[str, Any]]:
        """Return what serves a connection, and how the loop is to wrap its socket."""
        tls: dict[str, Any] = {}
        if is_tls:
            tls["ssl"] = self.certificate.context
            tls["ssl_handshake_timeout"] = self.limits.tls_handshake_timeout_s
            tls["ssl_shutdown_timeout"] = TLS_CLOSE_S
        return HttpProtocol(self, address), tls

    def _sweep_again(self) -> None:
        self.sweep(self.loop.time())
        self._sweeper = self.loop.call_later(SWEEP_S, self._sweep_again)


def _uvicorn_config(app: Any, limits: LimitsConfig) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        http=HttpProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=limits.idle_timeout_s,
    )
    config.load()
    return config
