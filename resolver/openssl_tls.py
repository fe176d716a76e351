"""TLS through pyOpenSSL, where a client's certificate may be signed by anybody.

    socket ─ loop's transport ─ OpenSslConnection ─┬─ octets, decrypted ─> HttpProtocol
                                (memory BIOs)      └─ OpenSslTransport <─ its answers

Python's `ssl` verifies a client's certificate against authorities or does not ask for it, and those
of Handle clients sign themselves. OpenSSL is told here to ask for one, to take any that is in its
time, and, as always, to have the client prove that it has the certificate's key. Sessions are not
resumed and nothing is renegotiated: every connection proves its client once, at its beginning.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, cast

from cryptography import x509
from OpenSSL import SSL, crypto

from resolver.client_certificates import read_client
from resolver.config import LimitsConfig

_READ_OCTETS = 65_536
# Verification errors of X509_verify_cert: the certificate is not valid yet, or not any more.
_OUT_OF_TIME = (9, 10)

Client = Any  # what `read_client` returns


def make_context(certificate: str, key: str) -> SSL.Context:
    """Return a context that asks every client for a certificate and takes whatever it shows.

    Raises:
        OpenSSL.SSL.Error: the files cannot be used.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.use_certificate_chain_file(certificate)
    context.use_privatekey_file(key)
    context.check_privatekey()
    context.set_verify(SSL.VERIFY_PEER, _take_any)
    return context


def _take_any(_: SSL.Connection, __: crypto.X509, error: int, depth: int, is_ok: int) -> bool:
    return bool(is_ok) or depth > 0 or error not in _OUT_OF_TIME


class OpenSslConnection(asyncio.Protocol):
    """One connection: the handshake, then octets both ways.

    Args:
        context: made by `make_context`.
        limits: of the handshake's time.
        make_protocol: returns what serves the connection, given who its certificate names.
        failed: called once when the connection ends before that was called.
    """

    def __init__(
        self,
        context: SSL.Context,
        limits: LimitsConfig,
        make_protocol: Callable[[Client], Any],
        failed: Callable[[], None],
    ) -> None:
        self._tls = SSL.Connection(context, None)
        self._tls.set_accept_state()
        self._limits = limits
        self._make_protocol = make_protocol
        self._failed = failed
        self._protocol: Any = None
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._is_paused = False
        self.is_connected = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the client's hello."""
        self.is_connected = True
        self._transport = cast("asyncio.Transport", transport)
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(
            self._limits.tls_handshake_timeout_s, self._transport.abort
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever serves the connection, or that nobody came to."""
        self._end_handshake()
        if self._protocol is None:
            self._failed()
        else:
            self._protocol.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Go on with the handshake, or with what it was for."""
        assert self._transport is not None
        self._tls.bio_write(data)
        try:
            if self._protocol is None and not self._shake_hands():
                return
            self.read_on()
        except SSL.Error:
            self._flush()  # the alert that says why
            self._transport.close()

    def eof_received(self) -> bool:
        """End: TLS has no half-closed connections here."""
        return False

    def pause_writing(self) -> None:
        """Pass on that the client does not read."""
        if self._protocol is not None:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that it reads again."""
        if self._protocol is not None:
            self._protocol.resume_writing()

    def pause(self, is_paused: bool) -> None:
        """Stop or go on handing over what is decrypted."""
        assert self._transport is not None
        self._is_paused = is_paused
        if is_paused:
            self._transport.pause_reading()
            return
        self._transport.resume_reading()
        asyncio.get_running_loop().call_soon(self._read_what_waits)

    def read_on(self) -> None:
        """Hand over what can be decrypted. Raises: OpenSSL.SSL.Error."""
        assert self._transport is not None
        while not (self._is_paused or self._transport.is_closing()):
            try:
                octets = self._tls.recv(_READ_OCTETS)
            except SSL.WantReadError:
                break
            except (SSL.ZeroReturnError, SSL.SysCallError):
                self._protocol.eof_received()
                self.close()
                return
            self._protocol.data_received(octets)
        self._flush()

    def write(self, octets: bytes) -> None:
        """Encrypt and send; what has ended takes nothing."""
        assert self._transport is not None
        if self._transport.is_closing():
            return
        rest = memoryview(octets)
        with contextlib.suppress(SSL.Error):
            while rest:
                rest = rest[self._tls.send(rest) :]
        self._flush()

    def close(self) -> None:
        """Say that no more comes, send what is still to be sent, end."""
        assert self._transport is not None
        if not self._transport.is_closing():
            with contextlib.suppress(SSL.Error):
                self._tls.shutdown()
            self._flush()
            self._transport.close()

    def _shake_hands(self) -> bool:
        """Go on with the handshake; True when it is done. Raises: OpenSSL.SSL.Error."""
        assert self._transport is not None
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            self._flush()
            return False
        self._flush()
        self._end_handshake()
        try:
            certificate = self._tls.get_peer_certificate(as_cryptography=True)
        except (ValueError, x509.InvalidVersion):
            certificate = None  # OpenSSL takes what no certificate of X.509 may be
        client = None if certificate is None else read_client(certificate)
        self._protocol = self._make_protocol(client)
        self._protocol.connection_made(OpenSslTransport(self, self._transport))
        return True

    def _end_handshake(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _read_what_waits(self) -> None:
        assert self._transport is not None
        try:
            self.read_on()
        except SSL.Error:
            self._transport.abort()

    def _flush(self) -> None:
        """Send what OpenSSL has encrypted."""
        assert self._transport is not None
        with contextlib.suppress(SSL.WantReadError):
            while True:
                self._transport.write(self._tls.bio_read(_READ_OCTETS))


class OpenSslTransport(asyncio.Transport):
    """What the protocol inside writes to."""

    def __init__(self, connection: OpenSslConnection, below: asyncio.Transport) -> None:
        super().__init__()
        self._connection = connection
        self._below = below

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known of the connection; `sslcontext` says that it is TLS."""
        if name == "sslcontext":
            return self._connection
        return self._below.get_extra_info(name, default)

    def write(self, data: Any) -> None:
        """Send octets."""
        self._connection.write(data)

    def close(self) -> None:
        """End once everything is sent."""
        self._connection.close()

    def abort(self) -> None:
        """End at once."""
        self._below.abort()

    def is_closing(self) -> bool:
        """Say whether it has ended, or is about to."""
        return self._below.is_closing()

    def pause_reading(self) -> None:
        """Hand over nothing for now."""
        self._connection.pause(True)

    def resume_reading(self) -> None:
        """Hand over again."""
        self._connection.pause(False)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Say when `pause_writing` is called."""
        self._below.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Return how many octets wait to be sent."""
        return self._below.get_write_buffer_size()

    def can_write_eof(self) -> bool:
        """Say that TLS ends in both directions at once."""
        return False
