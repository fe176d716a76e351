"""TLS for streams between nodes whose handle key is DSA, as Handle.Net's servers have it.

TLS 1.2 alone has suites for such keys (DHE, the certificate signed by the key); browsers and TLS
1.3 have none. The keys have 1,024 bits mostly, at strengths that are refused elsewhere: here the
choice is between this and values that cross the network in clear. Who the other end is shows the
certificate's key, which has to be the one that its site names.
"""

import base64
import ssl
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.dsa import DSAPrivateKey

from resolver.node_files import SECRET_MODE, replace_file
from resolver.tls import make_self_signed

OWN_FILE = "tls-dsa.pem"  # certificate, key and group in one file, like `resolver.tls.OWN_FILE`
_CIPHERS = "DHE-DSS-AES256-GCM-SHA384:DHE-DSS-AES128-GCM-SHA256:DHE+aDSS:@SECLEVEL=0"


def _ffdhe2048() -> bytes:
    """Return the group of RFC 7919 §A.1 in PEM; its prime is 2^2048 - 2^1984 + ... of e."""
    middle = bytes.fromhex(
        "adf85458a2bb4a9aafdc5620273d3cf1d8b9c583ce2d3695a9e13641146433fbcc939dce249b3ef97d2fe363630c"
        "75d8f681b202aec4617ad3df1ed5d5fd65612433f51f5f066ed0856365553ded1af3b557135e7f57c935984f0c70"
        "e0e68b77e2a689daf3efe8721df158a136ade73530acca4f483a797abc0ab182b324fb61d108a94bb2c8e3fbb96a"
        "dab760d7f4681d4f42a3de394df4ae56ede76372bb190b07a7c8ee0a6d709e02fce1cdf7e2ecc03404cd28342f61"
        "9172fe9ce98583ff8e4f1232eef28183c3fe3b1b4c6fad733bb5fcbc2ec22005c58ef1837d1683b2c6f34a26c1b2"
        "effa886b423861285c97"
    )
    prime = b"\xff" * 8 + middle + b"\xff" * 8
    numbers = b"\x02\x82" + (len(prime) + 1).to_bytes(2, "big") + b"\0" + prime + b"\x02\x01\x02"
    group = b"\x30\x82" + len(numbers).to_bytes(2, "big") + numbers
    body = base64.encodebytes(group)
    return b"-----BEGIN DH PARAMETERS-----\n" + body + b"-----END DH PARAMETERS-----\n"


def client_context() -> ssl.SSLContext:
    """Return what asks a server with such a key; the caller checks the certificate's key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return _limited(context)


def server_context(
    run_folder: Path, key: DSAPrivateKey, addresses: Sequence[str], now_s: float
) -> ssl.SSLContext:
    """Return what serves with a certificate of such a key, made now.

    Args:
        run_folder: where it is kept; it is not needed when this returns.
        key: the node's handle key.
        addresses: named in the certificate.
        now_s: the time since 1970.
    """
    certificate = make_self_signed(key, addresses, now_s)
    pem = [
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        _ffdhe2048(),
    ]
    run_folder.mkdir(parents=True, exist_ok=True)
    path = run_folder / OWN_FILE
    replace_file(path, b"".join(pem), SECRET_MODE)
    context = _limited(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    context.load_cert_chain(path)
    context.load_dh_params(str(path))
    return context


def _limited(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    return context
