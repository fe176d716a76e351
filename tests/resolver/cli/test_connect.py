from pathlib import Path

import pytest

from protocol.value import Reference
from resolver.cli.connect import Where, find_identity, find_node, find_target, parse_server
from resolver.cli.errors import CliError, ExitCode
from resolver.cli.main import main
from resolver.client import KeyIdentity, SecretIdentity
from resolver.node_files import read_bootstrap, read_site


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("connect") / ".demo" / "top"
    assert main(["init", "top", "--data", str(folder)]) == ExitCode.OK
    return folder


def test_a_node_is_its_folder_with_its_administrator(top: Path) -> None:
    target = find_target(Where(node=str(top)), log_in=True)
    assert target.site == read_site(top / "site.json")
    assert isinstance(target.identity, KeyIdentity)
    assert target.identity.reference == Reference(b"0.NA/0.NA", 300)


def test_a_node_of_the_demo_goes_by_its_name(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(top.parent.parent)
    assert find_node("top").path == top
    with pytest.raises(CliError, match="no node in nowhere"):
        find_node("nowhere")


def test_a_root_file(top: Path) -> None:
    target = find_target(Where(root=str(top / "bootstrap.json")), log_in=False)
    assert target.roots == read_bootstrap(top / "bootstrap.json")
    assert target.identity is None


@pytest.mark.parametrize("where", [Where(), Where(node="a", server="b:1")])
def test_exactly_one_place(where: Where) -> None:
    with pytest.raises(CliError, match=r"to ask") as caught:
        find_target(where, log_in=False)
    assert caught.value.code is ExitCode.USAGE


def test_keys_and_secrets(top: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"hush\n")
    identity = find_identity(Where(secret=tmp_path / "secret", admin="301:0.NA/88"), log_in=True)
    assert identity == SecretIdentity(Reference(b"0.NA/88", 301), b"hush")
    identity = find_identity(Where(key=top / "admin-key.bin", admin="300:0.NA/88"), log_in=False)
    assert isinstance(identity, KeyIdentity)
    with pytest.raises(CliError, match="whose it is"):
        find_identity(Where(key=top / "admin-key.bin"), log_in=True)
    with pytest.raises(CliError, match="changes need an identity"):
        find_identity(Where(server="127.0.0.1:1"), log_in=True)


def test_servers() -> None:
    assert parse_server("127.0.0.1:2641") == ("127.0.0.1", 2641)
    assert parse_server("[::1]:2641") == ("::1", 2641)


@pytest.mark.parametrize("text", ["", "127.0.0.1", "127.0.0.1:", ":2641", "h:0", "h:70000", "h:x"])
def test_not_a_server(text: str) -> None:
    with pytest.raises(CliError, match="is not a server"):
        parse_server(text)
