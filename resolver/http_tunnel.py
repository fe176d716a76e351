"""Asking through the HTTP tunnel, where only web traffic passes.

    POST /<percent-encoded handle> HTTP/1.0      type application/x-hdl-message, both ways
    Content-Length: ...
                                                 then the same octets as over TCP
    envelope, message

Version 1.0 forbids the server to send chunks; a list's messages follow one another until one has
no CONT. HTTPS is the same inside TLS, and the certificate must hold the key HS_SITE names.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from protocol.errors import SecurityError
from protocol.types.hs_pubkey import decode_public_key
from protocol.types.hs_site import TRANSPORT_HTTPS
from resolver.exchanges import Endpoint, ExchangeError, ExchangeLimits, connect, read_messages

HTTP_HEAD_OCTETS_MAX = 16_384  # the order of magnitude web servers allow for a whole head
HTTP_TYPE = "application/x-hdl-message"


async def stream_http(
    octets: bytes, endpoint: Endpoint, limits: ExchangeLimits, handle: bytes
) -> AsyncGenerator[bytes, None]:
    """Send a request through the HTTP or HTTPS tunnel and yield each message of the answer.

    Raises:
        ExchangeError: refused, closed early, silent for too long, or not answered as a tunnel.
        ProtocolError: octets that are no message, another request's, or a foreign certificate.
    """
    secure = endpoint.transport == TRANSPORT_HTTPS
    reader, writer = await connect(endpoint, limits, tls_context() if secure else None)
    try:
        if secure:
            check_certificate(writer.get_extra_info("ssl_object"), endpoint)
        writer.write(http_head(endpoint, handle, len(octets)) + octets)
        await _read_http_head(reader, endpoint, limits)
        async for message in read_messages(reader, octets, endpoint, limits):
            yield message
    finally:
        writer.close()


def http_head(endpoint: Endpoint, handle: bytes, octets: int) -> bytes:
    """Return the head of a tunnel request."""
    host = f"[{endpoint.address}]" if ":" in endpoint.address else endpoint.address
    return (
        f"POST /{quote(handle)} HTTP/1.0\r\nHost: {host}:{endpoint.port}\r\n"
        f"Accept: {HTTP_TYPE}\r\nContent-Type: {HTTP_TYPE}\r\nContent-Length: {octets}\r\n\r\n"
    ).encode("ascii")


async def _read_http_head(
    reader: asyncio.StreamReader, endpoint: Endpoint, limits: ExchangeLimits
) -> None:
    octets_read = 0
    tunnel = False
    deadline_s = time.monotonic() + limits.silence_s
    while True:
        try:
            async with asyncio.timeout(max(0.0, deadline_s - time.monotonic())):
                line = await reader.readline()
        except (TimeoutError, ValueError, OSError) as error:
            raise ExchangeError(f"{endpoint}: no HTTP answer ({error or 'too late'})") from None
        octets_read += len(line)
        if not line.endswith(b"\n") or octets_read > HTTP_HEAD_OCTETS_MAX:
            raise ExchangeError(f"{endpoint}: HTTP head ended badly after {octets_read} octets")
        name, _, value = line.decode("latin-1").partition(":")
        tunnel |= name.lower() == "content-type" and HTTP_TYPE in value
        if not line.strip():
            break
    if not tunnel:
        raise ExchangeError(f"{endpoint}: a web server without the Handle tunnel answered")


def tls_context() -> ssl.SSLContext:
    """Return what asks a server that is known by its key; see `check_certificate`."""
    # Handle's certificates are self-signed: the key, not an issuer, is what is checked.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def check_certificate(connection: ssl.SSLObject, endpoint: Endpoint) -> None:
    """Check that a server's certificate holds the key its HS_SITE names.

    As existing clients do it, DSA keys (which TLS 1.3 lacks) and sites without a key are let
    through: HTTPS then protects from those who merely listen.

    Raises:
        SecurityError: another key.
    """
    if not endpoint.public_key:
        return
    expected = decode_public_key(endpoint.public_key)
    if not isinstance(expected, RSAPublicKey):
        return
    certificate = connection.getpeercert(True)
    if certificate is None:
        raise SecurityError(f"{endpoint} showed no certificate")
    shown = x509.load_der_x509_certificate(certificate).public_key()
    if not isinstance(shown, RSAPublicKey) or shown.public_numbers() != expected.public_numbers():
        raise SecurityError(f"the certificate of {endpoint} is not made with its HS_SITE key")
