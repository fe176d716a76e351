"""Which node is believed to be the one meant: TLS contexts of the REST client.

a site's key      the certificate has to hold it, whoever issued it, as for the HTTPS tunnel
a PEM file        of an authority, for the names it certifies; or of the one server, as it is
neither           the authorities that this machine trusts
"""

import asyncio
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from protocol.errors import SecurityError
from protocol.types.hs_site import TRANSPORT_HTTPS
from resolver.client.errors import unreachable, untrusted
from resolver.exchanges import Endpoint
from resolver.http_tunnel import check_certificate

CONNECT_S = 10.0


async def pinned_context(host: str, port: int, site_key: bytes) -> ssl.SSLContext:
    """Return a context that trusts the certificate a server shows now, if it holds this key.

    Raises:
        UnreachableError: nobody answered.
        UntrustedNodeError: somebody did, with another key.
    """
    endpoint = Endpoint(host, port, TRANSPORT_HTTPS, site_key)
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(host, port, ssl=blind_context())
    except (OSError, TimeoutError) as error:
        words = str(error) or f"no answer within {CONNECT_S:g} s"
        raise unreachable(f"{endpoint}: {words}") from None
    try:
        connection = writer.get_extra_info("ssl_object")
        check_certificate(connection, endpoint)
        shown: bytes = connection.getpeercert(True)
    except SecurityError as error:
        raise untrusted(str(error)) from None
    finally:
        writer.transport.abort()  # nobody waits for the end of TLS
    return _trusting(shown)


def blind_context() -> ssl.SSLContext:
    """Return a context that takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def file_context(path: Path) -> ssl.SSLContext:
    """Return a context that trusts a file: an authority for the names it certifies, or one server.

    Raises:
        UntrustedNodeError: there are no certificates in the file.
    """
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise untrusted(f"{path} holds no certificates: {error}") from None
    context = _trusting(b"".join(each.public_bytes(Encoding.DER) for each in found))
    context.check_hostname = any(_is_authority(each) for each in found)
    return context


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except x509.ExtensionNotFound:
        return False


def _trusting(certificates: bytes) -> ssl.SSLContext:
    """Return a context that trusts these certificates, a server's own too; names do not count."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=certificates)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = False
    return context
