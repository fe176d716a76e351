"""Who a TLS client's certificate says he is, as Handle clients write it.

    subject   UID or CN = index:handle, such as 300:0.NA/88.118.5
    key       the identity's HS_PUBKEY, RSA or DSA

Such certificates sign themselves: nobody vouches for the name, and nobody has to. The handshake
proves that the client has the private key, and the registrar compares the public one with the
HS_PUBKEY of that handle (`registry.authentication.find_key_holder`).
"""

import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.dsa import DSAPublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from protocol.errors import ProtocolError
from protocol.types.hs_pubkey import decode_public_key, encode_public_key
from protocol.value import Reference
from registry.roles import identity_from_text

CERTIFIED_CLIENT = "certified_client"  # in the ASGI scope's state: what `read_client` returned
COMMON_NAME_CHARACTERS_MAX = 64  # RFC 5280's; a UID may be longer


def read_client(certificate: x509.Certificate) -> tuple[Reference, bytes] | None:
    """Return the identity in a certificate's subject and its key as HS_PUBKEY data.

    None when it names nobody, or its key is of a kind that no handle has.
    """
    try:
        subject, key = certificate.subject, certificate.public_key()
        if not isinstance(key, RSAPublicKey | DSAPublicKey):
            return None
        octets = encode_public_key(key)
        decode_public_key(octets)  # a key that no handle may have names nobody
    except (ValueError, TypeError, UnsupportedAlgorithm, ProtocolError):
        return None
    for name in (NameOID.USER_ID, NameOID.COMMON_NAME):
        for attribute in subject.get_attributes_for_oid(name):
            try:
                return identity_from_text(str(attribute.value)), octets
            except (ProtocolError, ValueError):
                continue
    return None


def make_client_certificate(
    key: RSAPrivateKey, identity: str, *, days: int, now_s: float
) -> x509.Certificate:
    """Make a certificate for an identity, "300:0.NA/88.118.5", that `key` signs for itself."""
    names = [x509.NameAttribute(NameOID.USER_ID, identity)]
    if len(identity) <= COMMON_NAME_CHARACTERS_MAX:
        names.append(x509.NameAttribute(NameOID.COMMON_NAME, identity))
    name = x509.Name(names)
    start = datetime.datetime.fromtimestamp(now_s, datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - datetime.timedelta(hours=1))  # the node's clock may be slow
        .not_valid_after(start + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
