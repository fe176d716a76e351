"""The port on which TLS clients show certificates: the HTTP transport, every request as somebody.

All of the REST interface is there under the identity of the certificate; without one, or with one
that names nobody, it is as on the other port. Nothing is answered before the REST interface, since
the short ways know no identities.
"""

from typing import Any

from OpenSSL import SSL

from resolver.client_certificates import CERTIFIED_CLIENT
from resolver.http_protocol import HttpProtocol
from resolver.http_server import HttpServer
from resolver.metrics import REFUSED
from resolver.openssl_tls import Client, OpenSslConnection, make_context
from resolver.tls import TlsError


class CertificateServer(HttpServer):
    """Serves one listening socket; made without rows and creations, else as an `HttpServer`."""

    _made_for: object = None
    _context: SSL.Context | None = None

    async def start(self) -> None:
        """Begin to accept. Raises: TlsError."""
        assert self.context is not None
        await super().start()

    def _make_protocol(self, address: str, *, is_tls: bool) -> tuple[Any, dict[str, Any]]:
        if not is_tls:
            return super()._make_protocol(address, is_tls=False)

        def make(client: Client) -> HttpProtocol:
            state = {} if client is None else {CERTIFIED_CLIENT: client}
            return HttpProtocol(self, address, state)

        def failed() -> None:
            REFUSED.labels("tls_handshake").inc()
            self.forget(address)

        return OpenSslConnection(self.context, self.limits, make, failed), {}

    @property
    def context(self) -> SSL.Context:
        """OpenSSL's context of the certificate in force. Raises: TlsError."""
        if self._context is None or self._made_for is not self.certificate.context:
            certificate, key = self.certificate.files
            try:
                self._context = make_context(str(certificate), str(key))
            except SSL.Error as error:
                if self._context is None:
                    raise TlsError(f"{certificate} and {key} cannot be used: {error}") from None
            self._made_for = self.certificate.context
        assert self._context is not None
        return self._context
