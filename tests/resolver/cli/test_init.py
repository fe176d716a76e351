import json
from pathlib import Path

import pytest

from resolver.cli.errors import ExitCode
from resolver.cli.main import main


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("init") / "top"
    assert main(["init", "top", "--data", str(folder)]) == ExitCode.OK
    return folder


def test_it_says_what_to_do_next(
    top: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    words = ["--prefix", "88.118", "--root", str(top / "bootstrap.json")]
    assert main(["init", "secondary", "--data", str(tmp_path / "s"), *words]) == ExitCode.OK
    printed = capsys.readouterr().out
    assert "biaoshi prefix delegate delegation.json" in printed
    assert f"biaoshi serve {tmp_path / 's'}" in printed
    assert "300:0.NA/88.118" in printed


def test_json(top: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    words = ["--root", str(top / "bootstrap.json"), "--json"]
    assert main(["init", "recursive", "--data", str(tmp_path / "r"), *words]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out) == {
        "folder": str(tmp_path / "r"),
        "role": "recursive",
        "administrator": None,
    }


def test_it_does_not_overwrite(top: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = (top / "admin-key.bin").read_bytes()
    assert main(["init", "top", "--data", str(top)]) == ExitCode.FILES
    assert "is not overwritten" in capsys.readouterr().err
    assert (top / "admin-key.bin").read_bytes() == key


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["secondary", "--prefix", "88.118"], "--root"),
        (["enterprise", "--root", "x.json"], "--prefix"),
        (["recursive", "--root", "x.json", "--prefix", "88"], "--prefix"),
        (["top", "--root", "x.json"], "--root"),
        (["top", "--listen", "localhost"], "IPv4 or IPv6"),
        (["top", "--listen", "0.0.0.0"], "--public-address"),
        (["top", "--handle-port", "8000"], "--http-port"),
    ],
)
def test_what_does_not_fit_is_said_with_the_option(
    words: list[str], hint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", *words, "--data", str(tmp_path / "n")]) == ExitCode.USAGE
    assert hint in capsys.readouterr().err
    assert not (tmp_path / "n").exists()


def test_a_missing_root_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["init", "recursive", "--root", str(tmp_path / "none"), "--data", str(tmp_path / "n")]
    assert main(words) == ExitCode.FILES
    assert "cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "n").exists()


def test_ipv6_and_a_public_address(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    words = ["--listen", "::", "--public-address", "2001:db8::7", "--public-address", "192.0.2.7"]
    assert main(["init", "top", "--data", str(folder), *words]) == ExitCode.OK
    site = json.loads((folder / "site.json").read_bytes())
    assert site["servers"][0]["address"] == "2001:db8::7"
    assert {"name": "alt_addr", "value": "192.0.2.7"} in site["attributes"]
