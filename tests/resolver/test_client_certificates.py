import datetime
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from protocol.types.hs_pubkey import encode_public_key
from protocol.value import Reference
from resolver.client_certificates import make_client_certificate, read_client

NOW_S = 1_795_000_000.0
IDENTITY = Reference(b"0.NA/88.118", 300)


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, 2_048)


def certificate(
    *names: tuple[x509.ObjectIdentifier, str],
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | None = None,
) -> x509.Certificate:
    key = key or rsa_key()
    name = x509.Name([x509.NameAttribute(oid, text) for oid, text in names])
    start = datetime.datetime.fromtimestamp(NOW_S, datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    builder = builder.public_key(key.public_key()).serial_number(1)
    builder = builder.not_valid_before(start)
    return builder.not_valid_after(start + datetime.timedelta(1)).sign(key, hashes.SHA256())


@pytest.mark.parametrize(
    "names",
    [
        [(NameOID.USER_ID, "300:0.NA/88.118")],
        [(NameOID.COMMON_NAME, "300:0.NA/88.118")],
        [(NameOID.COMMON_NAME, "301:0.NA/0.NA"), (NameOID.USER_ID, "300:0.NA/88.118")],
        [(NameOID.USER_ID, "somebody"), (NameOID.COMMON_NAME, "300:0.NA/88.118")],
    ],
)
def test_the_subject_says_who(names: list[tuple[x509.ObjectIdentifier, str]]) -> None:
    key = encode_public_key(rsa_key().public_key())
    assert read_client(certificate(*names)) == (IDENTITY, key)


@pytest.mark.parametrize("name", ["somebody", "300:", "300", ":0.NA/88", "9" * 60, "-1:88/x"])
def test_subjects_that_name_nobody(name: str) -> None:
    assert read_client(certificate((NameOID.COMMON_NAME, name))) is None


def test_a_number_of_thousands_of_digits_names_nobody() -> None:
    assert read_client(certificate((NameOID.USER_ID, "9" * 5_000 + ":88/x"))) is None


def test_a_key_that_no_handle_has_names_nobody() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    assert read_client(certificate((NameOID.USER_ID, "300:88/x"), key=key)) is None


@pytest.mark.parametrize("identity", ["300:0.NA/88.118", "300:88.118/" + "x" * 200])
def test_what_we_make_is_what_we_read(identity: str) -> None:
    made = make_client_certificate(rsa_key(), identity, days=30, now_s=NOW_S)
    client = read_client(made)
    assert client is not None
    user, key = client
    assert f"{user.index}:{user.handle.decode()}" == identity
    assert key == encode_public_key(rsa_key().public_key())
    assert made.not_valid_after_utc.timestamp() == NOW_S + 30 * 86_400
