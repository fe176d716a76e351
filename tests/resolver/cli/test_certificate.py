import json
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from protocol.key_files import encode_private_key, generate_rsa_key
from protocol.types.hs_pubkey import encode_public_key
from protocol.value import Reference
from resolver.cli.errors import ExitCode
from resolver.cli.main import main
from resolver.client_certificates import read_client

IDENTITY = "300:0.NA/88.118.5"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "me-key.bin"
    path.write_bytes(encode_private_key(generate_rsa_key(2_048)))
    return path


def test_one_file_with_certificate_and_key(
    key_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["certificate", str(key_file), IDENTITY, "--json", "--days", "7"]) == ExitCode.OK
    made = Path(json.loads(capsys.readouterr().out)["file"])
    assert made == key_file.with_suffix(".pem")
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    key = load_pem_private_key(made.read_bytes(), None).public_key()
    client = read_client(x509.load_pem_x509_certificate(made.read_bytes()))
    assert client == (Reference(b"0.NA/88.118.5", 300), encode_public_key(key))  # type: ignore[arg-type]


@pytest.mark.parametrize("identity", ["somebody", "300", "300:"])
def test_an_identity_that_is_none(
    key_file: Path, identity: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["certificate", str(key_file), identity]) == ExitCode.USAGE
    assert "index:handle" in capsys.readouterr().err
    assert not key_file.with_suffix(".pem").exists()


def test_nothing_is_overwritten(key_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key_file.with_suffix(".pem").write_text("precious")
    assert main(["certificate", str(key_file), IDENTITY]) == ExitCode.FILES
    assert "another --output" in capsys.readouterr().err
    assert key_file.with_suffix(".pem").read_text() == "precious"


def test_a_key_that_tls_does_not_take(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "old-key.bin"
    path.write_bytes(encode_private_key(dsa.generate_private_key(1_024)))
    assert main(["certificate", str(path), IDENTITY]) == ExitCode.FILES
    assert "no RSA key" in capsys.readouterr().err
