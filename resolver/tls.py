"""The certificate of the HTTPS port: the operator's, or one made from the node's handle key.

Handle clients do not ask who issued a certificate: they compare its key with the one the site's
HS_SITE names. So a node without an operator's certificate makes one from that key (RSA only; other
keys cannot serve here, and clients let them pass). A browser needs the operator's.

Files are looked at now and then; when they have changed, a new context serves the connections that
come after. Files that cannot be used leave the certificate in force and are reported once.
"""

import datetime
import ipaddress
import logging
import ssl
import time
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from protocol.key_files import PrivateKey
from resolver.config import TlsConfig
from resolver.metrics import CERTIFICATE_EXPIRY
from resolver.node_files import PUBLIC_MODE, SECRET_MODE, NodeFilesError, replace_file

WATCH_S = 5.0  # how often the files are looked at: two stat() calls
SELF_SIGNED_DAYS = 825  # the longest that Apple's systems accept of a private certificate
RENEW_DAYS = 30
# Our own certificate and its key in one file: workers that make them at once cannot mix theirs.
OWN_FILE = "tls.pem"
CERTIFICATE_FILE = "tls-certificate.pem"  # the certificate alone, for clients to trust
_WILDCARDS = ("0.0.0.0", "::")

_log = logging.getLogger(__name__)


class TlsError(NodeFilesError):
    """A certificate or key that cannot be used; its text says what to do."""


class Certificate:
    """A certificate and key in PEM files, perhaps one, and the context that serves them.

    Args:
        certificate: PEM, the server's certificate first, then those between it and the root.
        key: PEM, unencrypted.

    Raises:
        TlsError: the files are missing, are not PEM, or do not belong together.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self.files = (certificate, key)
        self._stamps = self._read_stamps()
        self.context = _make_context(certificate, key)
        self.expires_s = _expiry(certificate)
        CERTIFICATE_EXPIRY.set(self.expires_s)

    def reload_if_changed(self) -> bool:
        """Take up changed files; True when they serve from now on."""
        stamps = self._read_stamps()
        if stamps == self._stamps:
            return False
        self._stamps = stamps
        try:
            context, expires_s = _make_context(*self.files), _expiry(self.files[0])
        except TlsError as error:
            _log.error("the certificate stays as it was: %s", error)
            return False
        self.context, self.expires_s = context, expires_s
        CERTIFICATE_EXPIRY.set(expires_s)
        until = datetime.datetime.fromtimestamp(expires_s, datetime.UTC)
        if expires_s <= time.time():
            _log.warning("the new certificate serves, and expired on %s: renew it", until.date())
        else:
            _log.info("a new certificate serves, valid until %s", until.date())
        return True

    def _read_stamps(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(path) for path in self.files]


def open_certificate(
    config: TlsConfig,
    data_folder: Path,
    run_folder: Path,
    handle_key: PrivateKey,
    addresses: Sequence[str],
    now_s: float,
) -> Certificate:
    """Return the operator's certificate, or one made from the handle key and kept in `run_folder`.

    Args:
        config: paths are relative to `data_folder`; empty ones ask for our own.
        data_folder: the node's.
        run_folder: where our own certificate is kept from start to start.
        handle_key: the key that the node's HS_SITE names.
        addresses: what the node listens on, named in our own certificate.
        now_s: seconds since 1970.

    Raises:
        TlsError: the operator's files cannot be used.
    """
    if config.certificate:
        return Certificate(data_folder / config.certificate, data_folder / config.key)
    own = _make_own(run_folder, handle_key, addresses, now_s)
    return Certificate(own, own)


def open_own_context(
    run_folder: Path, handle_key: PrivateKey, addresses: Sequence[str], now_s: float
) -> ssl.SSLContext:
    """Return what serves with our own certificate, whatever the operator's is; see above."""
    own = _make_own(run_folder, handle_key, addresses, now_s)
    return _make_context(own, own)


def _make_own(
    run_folder: Path, handle_key: PrivateKey, addresses: Sequence[str], now_s: float
) -> Path:
    """Return the file of our own certificate, made anew unless it is still good."""
    own = run_folder / OWN_FILE
    if not _is_usable(own, handle_key, now_s):
        run_folder.mkdir(parents=True, exist_ok=True)
        tls_key = handle_key if isinstance(handle_key, rsa.RSAPrivateKey) else _new_key()
        made = make_self_signed(tls_key, addresses, now_s)
        pem = made.public_bytes(serialization.Encoding.PEM)
        replace_file(own, pem + _key_pem(tls_key), SECRET_MODE)
        replace_file(run_folder / CERTIFICATE_FILE, pem, PUBLIC_MODE)
    return own


def make_self_signed(
    key: PrivateKey | ec.EllipticCurvePrivateKey, addresses: Sequence[str], now_s: float
) -> x509.Certificate:
    """Make a certificate that `key` signs for itself, named for loopback and `addresses`."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "biaoshi")])
    start = datetime.datetime.fromtimestamp(now_s, datetime.UTC)
    public_key = key.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - datetime.timedelta(days=1))  # clients' clocks may be slow
        .not_valid_after(start + datetime.timedelta(days=SELF_SIGNED_DAYS))
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(public_key)
    authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    for extension, critical in (
        (x509.SubjectAlternativeName(_names(addresses)), False),
        # It signs itself, so a client told to trust it needs to see that it may sign.
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (_KEY_USAGE, True),
        (usage, False),
        (identifier, False),
        (authority, False),
    ):
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(key, hashes.SHA256())


_KEY_USAGE = x509.KeyUsage(
    digital_signature=True,
    key_encipherment=True,
    key_cert_sign=True,
    crl_sign=False,
    content_commitment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


def _names(addresses: Sequence[str]) -> list[x509.GeneralName]:
    shown = dict.fromkeys(["127.0.0.1", "::1", *addresses])
    return [
        x509.DNSName("localhost"),
        *(x509.IPAddress(ipaddress.ip_address(each)) for each in shown if each not in _WILDCARDS),
    ]


def _make_context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, _refuse_passphrase)
    except ssl.SSLError as error:
        reason = (error.reason or str(error)).lower().replace("_", " ")
        raise TlsError(f"{certificate} and {key} cannot be used together: {reason}") from None
    except OSError as error:
        raise TlsError(f"{certificate} or {key} cannot be read: {error.strerror}") from None
    return context


def _refuse_passphrase() -> str:
    # OpenSSL would ask on the terminal; a server has nobody there.
    raise TlsError("the TLS key is encrypted: store it without a passphrase, readable by us alone")


def _expiry(certificate: Path) -> float:
    try:
        chain = x509.load_pem_x509_certificates(certificate.read_bytes())
    except OSError as error:
        raise TlsError(f"{certificate} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise TlsError(f"{certificate} is not a PEM certificate: {error}") from None
    return min(each.not_valid_after_utc.timestamp() for each in chain)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _is_usable(own: Path, handle_key: PrivateKey, now_s: float) -> bool:
    """Say whether our own certificate of an earlier start is still good."""
    try:
        found = x509.load_pem_x509_certificate(own.read_bytes())
        _make_context(own, own)
    except (OSError, ValueError, TlsError):
        return False
    if found.not_valid_after_utc.timestamp() - now_s < RENEW_DAYS * 86_400:
        return False
    if not isinstance(handle_key, rsa.RSAPrivateKey):
        return True
    return _public_octets(found) == _public_octets(handle_key)


def _public_octets(owner: x509.Certificate | rsa.RSAPrivateKey) -> bytes:
    return owner.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _key_pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
