import os
import time
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from resolver.cli.checks import NODE_CHECKS
from resolver.cli.findings import Level, Subject
from resolver.cli.tls_checks import check_tls
from resolver.config import Config, NodeRole, TlsConfig
from resolver.node_files import NodeFolder
from resolver.tls import SELF_SIGNED_DAYS, make_self_signed

DAY_S = 86_400
TLS = TlsConfig(certificate="operator.pem", key="operator-key.pem")


def write_pair(folder: Path, left_days: float) -> None:
    """Write a certificate with so many days left, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    made = make_self_signed(key, [], time.time() - (SELF_SIGNED_DAYS - left_days) * DAY_S)
    (folder / "operator.pem").write_bytes(made.public_bytes(Encoding.PEM))
    path = folder / "operator-key.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    config = Config(role=NodeRole.TOP, data_dir=str(tmp_path), tls=TLS)
    return Subject(NodeFolder(tmp_path), config)


def test_doctor_looks_at_tls(subject: Subject) -> None:
    assert check_tls in NODE_CHECKS
    own = msgspec.structs.replace(subject.config, tls=TlsConfig())
    (found,) = check_tls(Subject(subject.folder, own))
    assert found.level is Level.OK


@pytest.mark.parametrize(
    ("left_days", "level", "words"),
    [
        (200, Level.OK, "valid until"),
        (29.5, Level.WARNING, "valid until"),
        (-1, Level.PROBLEM, "expired on"),
    ],
)
def test_how_long_a_certificate_serves(
    subject: Subject, left_days: float, level: Level, words: str
) -> None:
    write_pair(subject.folder.path, left_days)
    (found,) = check_tls(subject)
    assert found.level is level
    assert words in found.words


def test_a_tls_key_others_can_read(subject: Subject) -> None:
    write_pair(subject.folder.path, 200)
    key = subject.folder.path / "operator-key.pem"
    key.chmod(0o640)
    mode, term = check_tls(subject)
    assert (mode.level, mode.hint) == (Level.PROBLEM, f"chmod 600 {key}")
    assert term.level is Level.OK


@pytest.mark.parametrize("name", ["operator.pem", "operator-key.pem"])
def test_a_missing_file(subject: Subject, name: str) -> None:
    write_pair(subject.folder.path, 200)
    (subject.folder.path / name).unlink()
    (found,) = check_tls(subject)
    assert found.level is Level.PROBLEM
    assert "cannot be read" in found.words


def test_halves_of_two_pairs(subject: Subject, tmp_path: Path) -> None:
    write_pair(tmp_path, 200)
    other = tmp_path / "other"
    other.mkdir()
    write_pair(other, 200)
    os.replace(other / "operator-key.pem", tmp_path / "operator-key.pem")
    (found,) = check_tls(subject)
    assert found.level is Level.PROBLEM
    assert "cannot be used together" in found.words
