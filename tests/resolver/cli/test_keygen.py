import stat
from pathlib import Path

import pytest

from protocol.key_files import decode_private_key, is_encrypted
from protocol.types.hs_pubkey import decode_public_key
from resolver.cli.errors import CliError, ExitCode
from resolver.cli.keys import PASSPHRASE_VARIABLE, read_private_key
from resolver.cli.main import main


def test_both_halves_of_a_key(tmp_path: Path) -> None:
    assert main(["keygen", str(tmp_path / "me")]) == ExitCode.OK
    private = tmp_path / "me-key.bin"
    public = tmp_path / "me-public-key.bin"
    key = decode_private_key(private.read_bytes())
    assert decode_public_key(public.read_bytes()) == key.public_key()
    assert stat.S_IMODE(private.stat().st_mode) == 0o600


def test_it_does_not_overwrite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "me-public-key.bin").write_bytes(b"precious")
    assert main(["keygen", str(tmp_path / "me")]) == ExitCode.FILES
    assert "give another NAME" in capsys.readouterr().err
    assert not (tmp_path / "me-key.bin").exists()


def test_a_passphrase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "correct horse 马")
    assert main(["keygen", str(tmp_path / "me"), "--encrypt"]) == ExitCode.OK
    path = tmp_path / "me-key.bin"
    assert is_encrypted(path.read_bytes())
    read_private_key(path)
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "wrong")
    with pytest.raises(CliError, match="passphrase"):
        read_private_key(path)


def test_nobody_to_ask_for_the_passphrase(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(PASSPHRASE_VARIABLE, raising=False)
    assert main(["keygen", str(tmp_path / "me"), "--encrypt"]) == ExitCode.USAGE
    assert PASSPHRASE_VARIABLE in capsys.readouterr().err


def test_a_file_that_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"nonsense")
    with pytest.raises(CliError, match="not a key file") as caught:
        read_private_key(tmp_path / "key")
    assert caught.value.code is ExitCode.FILES
