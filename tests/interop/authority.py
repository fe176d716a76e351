"""A certificate authority for tests: what an operator has bought, made in a moment."""

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NAMES = [
    x509.DNSName("localhost"),
    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    x509.IPAddress(ipaddress.ip_address("::1")),
]


class Authority:
    """Signs server certificates; `path` is its own certificate, for clients to trust."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        usage = _usage(signs_certificates=True)
        key_id = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        builder = _builder(self._name, self._key.public_key(), days=3650)
        builder = builder.issuer_name(self._name).add_extension(constraints, critical=True)
        builder = builder.add_extension(usage, critical=True).add_extension(key_id, critical=False)
        self.path = folder / "authority.pem"
        self.path.write_bytes(self._sign(builder))

    @property
    def certificate(self) -> Path:
        return self._folder / "server.pem"

    @property
    def key(self) -> Path:
        return self._folder / "server-key.pem"

    def issue(self, *, days: int) -> x509.Certificate:
        """Writes a new certificate and key where the node looks for them."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node")])
        builder = _builder(subject, key.public_key(), days=days).issuer_name(self._name)
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        plain = x509.BasicConstraints(ca=False, path_length=None)
        for extension in (x509.SubjectAlternativeName(NAMES), purpose, issuer, plain):
            builder = builder.add_extension(extension, critical=False)
        octets = self._sign(builder)
        form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        replace_file(self.key, key.private_bytes(*form))
        replace_file(self.certificate, octets)
        return x509.load_pem_x509_certificate(octets)

    def _sign(self, builder: x509.CertificateBuilder) -> bytes:
        return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)


def replace_file(path: Path, octets: bytes) -> None:
    """Changes a file as certificate tools do: written beside it, then renamed over it."""
    beside = path.with_suffix(".new")
    beside.write_bytes(octets)
    beside.replace(path)


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePublicKey, *, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
