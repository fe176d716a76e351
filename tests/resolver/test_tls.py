import datetime
import logging
import os
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from protocol.key_files import generate_rsa_key
from resolver.config import TlsConfig
from resolver.tls import RENEW_DAYS, Certificate, TlsError, make_self_signed, open_certificate

NOW_S = 1_795_000_000.0
DAY_S = 86_400


@pytest.fixture(scope="module")
def handle_key() -> rsa.RSAPrivateKey:
    return generate_rsa_key()


def write_pair(
    folder: Path, key: rsa.RSAPrivateKey, now_s: float = NOW_S, passphrase: bytes = b""
) -> tuple[Path, Path]:
    """Write an operator's certificate as a tool does: a new file each time."""
    made = make_self_signed(key, ["192.0.2.1"], now_s)
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    octets = (
        made.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption),
    )
    paths = folder / "operator.pem", folder / "operator-key.pem"
    for path, each in zip(paths, octets, strict=True):
        new = path.with_suffix(".new")
        new.write_bytes(each)
        os.replace(new, path)
    return paths


def shown(certificate: Certificate) -> x509.Certificate:
    """Return what a client is shown, by a handshake in memory."""
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    client_context.verify_mode = ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = certificate.context.wrap_bio(to_server, to_client, server_side=True)
    client = client_context.wrap_bio(to_client, to_server)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    octets = client.getpeercert(True)
    assert octets is not None
    return x509.load_der_x509_certificate(octets)


def open_own(folder: Path, key: object, now_s: float = NOW_S) -> Certificate:
    addresses = ["192.0.2.1", "0.0.0.0", "::"]
    return open_certificate(TlsConfig(), folder, folder / "run", key, addresses, now_s)  # type: ignore[arg-type]


def test_our_own_certificate_has_the_handle_key(
    tmp_path: Path, handle_key: rsa.RSAPrivateKey
) -> None:
    certificate = open_own(tmp_path, handle_key)
    found = shown(certificate)
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    assert found.public_key().public_bytes(*form) == handle_key.public_key().public_bytes(*form)
    assert found.not_valid_after_utc.timestamp() == certificate.expires_s


def test_our_own_certificate_names_what_the_node_listens_on(
    tmp_path: Path, handle_key: rsa.RSAPrivateKey
) -> None:
    found = shown(open_own(tmp_path, handle_key))
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == [
        "127.0.0.1",
        "::1",
        "192.0.2.1",
    ]
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]


def test_our_own_key_is_for_our_eyes_only(tmp_path: Path, handle_key: rsa.RSAPrivateKey) -> None:
    open_own(tmp_path, handle_key)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "run").iterdir()}
    assert modes == {"tls.pem": 0o600, "tls-certificate.pem": 0o644}
    assert b"PRIVATE" not in (tmp_path / "run" / "tls-certificate.pem").read_bytes()


def test_our_own_certificate_is_kept_until_it_nears_its_end(
    tmp_path: Path, handle_key: rsa.RSAPrivateKey
) -> None:
    first = open_own(tmp_path, handle_key)
    assert shown(open_own(tmp_path, handle_key, NOW_S + DAY_S)) == shown(first)
    late_s = first.expires_s - RENEW_DAYS * DAY_S + 1
    renewed = open_own(tmp_path, handle_key, late_s)
    assert shown(renewed) != shown(first)
    assert renewed.expires_s > first.expires_s


def test_another_handle_key_makes_another_certificate(
    tmp_path: Path, handle_key: rsa.RSAPrivateKey
) -> None:
    first = open_own(tmp_path, handle_key)
    other = generate_rsa_key()
    assert shown(open_own(tmp_path, other)) != shown(first)


def test_a_damaged_file_of_our_own_is_made_anew(
    tmp_path: Path, handle_key: rsa.RSAPrivateKey
) -> None:
    open_own(tmp_path, handle_key)
    (tmp_path / "run" / "tls.pem").write_bytes(b"half a fi")
    assert shown(open_own(tmp_path, handle_key))


def test_a_handle_key_that_cannot_serve_is_replaced_by_one_that_can(tmp_path: Path) -> None:
    key = dsa.generate_private_key(1024)
    certificate = open_own(tmp_path, key)
    assert isinstance(shown(certificate).public_key(), ec.EllipticCurvePublicKey)
    assert shown(open_own(tmp_path, key)) == shown(certificate)


def test_the_operator_s_certificate_is_found_in_the_data_folder(
    tmp_path: Path, handle_key: rsa.RSAPrivateKey
) -> None:
    write_pair(tmp_path, generate_rsa_key())
    config = TlsConfig(certificate="operator.pem", key="operator-key.pem")
    certificate = open_certificate(config, tmp_path, tmp_path / "run", handle_key, [], NOW_S)
    assert not (tmp_path / "run").exists()
    assert certificate.expires_s > NOW_S


def test_a_changed_certificate_serves_those_who_come_after(
    tmp_path: Path, handle_key: rsa.RSAPrivateKey
) -> None:
    certificate = Certificate(*write_pair(tmp_path, handle_key))
    before, context = shown(certificate), certificate.context
    assert not certificate.reload_if_changed()
    assert certificate.context is context
    write_pair(tmp_path, generate_rsa_key(), NOW_S + DAY_S)
    assert certificate.reload_if_changed()
    assert shown(certificate) != before
    assert certificate.expires_s == before.not_valid_after_utc.timestamp() + DAY_S


def test_a_bad_certificate_leaves_the_old_one_and_is_reported_once(
    tmp_path: Path, handle_key: rsa.RSAPrivateKey, caplog: pytest.LogCaptureFixture
) -> None:
    paths = write_pair(tmp_path, handle_key)
    certificate = Certificate(*paths)
    before = shown(certificate)
    paths[0].write_bytes(b"-----BEGIN CERTIFICATE-----\nnonsense\n")
    with caplog.at_level(logging.ERROR):
        assert not certificate.reload_if_changed()
        assert not certificate.reload_if_changed()
    assert len(caplog.records) == 1
    assert shown(certificate) == before
    paths[0].unlink()
    assert not certificate.reload_if_changed()
    write_pair(tmp_path, handle_key, NOW_S + DAY_S)
    assert certificate.reload_if_changed()


def test_a_certificate_and_another_key_are_refused(
    tmp_path: Path, handle_key: rsa.RSAPrivateKey
) -> None:
    path, key_path = write_pair(tmp_path, handle_key)
    other = generate_rsa_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key_path.write_bytes(other)
    with pytest.raises(TlsError, match="cannot be used together: key values mismatch"):
        Certificate(path, key_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TlsError, match=r"here\.pem .* cannot be read: No such file"):
        Certificate(tmp_path / "not-here.pem", tmp_path / "key.pem")


def test_an_encrypted_key_is_refused_without_asking(
    tmp_path: Path, handle_key: rsa.RSAPrivateKey
) -> None:
    with pytest.raises(TlsError, match="store it without a passphrase"):
        Certificate(*write_pair(tmp_path, handle_key, passphrase=b"secret"))


def test_old_versions_of_tls_are_not_spoken(tmp_path: Path, handle_key: rsa.RSAPrivateKey) -> None:
    certificate = Certificate(*write_pair(tmp_path, handle_key))
    assert certificate.context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_the_expiry_is_that_of_the_first_to_expire(
    tmp_path: Path, handle_key: rsa.RSAPrivateKey
) -> None:
    path, key_path = write_pair(tmp_path, handle_key)
    early = make_self_signed(handle_key, [], NOW_S - 100 * DAY_S).public_bytes(Encoding.PEM)
    path.write_bytes(path.read_bytes() + early)
    expected = datetime.datetime.fromtimestamp(NOW_S, datetime.UTC) + datetime.timedelta(days=725)
    assert Certificate(path, key_path).expires_s == expected.timestamp()


def test_an_expired_certificate_that_takes_over_is_warned_of(
    tmp_path: Path, handle_key: rsa.RSAPrivateKey, caplog: pytest.LogCaptureFixture
) -> None:
    certificate = Certificate(*write_pair(tmp_path, handle_key))
    write_pair(tmp_path, handle_key, NOW_S - 10_000 * DAY_S)
    with caplog.at_level(logging.WARNING):
        assert certificate.reload_if_changed()
    assert "expired on" in caplog.text
