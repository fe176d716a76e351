import stat
from ipaddress import ip_address
from pathlib import Path

import pytest

from protocol.key_files import decode_private_key, generate_rsa_key
from protocol.types.hs_pubkey import decode_public_key
from protocol.types.hs_site import TRANSPORT_UDP
from resolver.node_files import (
    Delegation,
    NodeFilesError,
    make_site,
    read_bootstrap,
    read_delegation,
    read_json,
    read_site,
    write_bootstrap,
    write_delegation,
    write_key_pair,
    write_new_file,
    write_site,
)

VECTORS = Path(__file__).parents[1] / "vectors"
KEY = (VECTORS / "admpub.bin").read_bytes()
SITE = make_site(
    KEY, [ip_address("192.0.2.1"), ip_address("2001:db8::1")], 2641, 8000, description="标识"
)


def test_the_site_of_a_node() -> None:
    (server,) = SITE.servers
    assert server.ip == ip_address("192.0.2.1")
    assert SITE.find_attribute(b"alt_addr") == b"2001:db8::1"
    assert SITE.is_primary
    udp = [each for each in server.interfaces if each.protocol == TRANSPORT_UDP]
    assert [each.answers_admin for each in udp] == [False]
    assert all(each.answers_queries for each in server.interfaces)


def test_files_read_as_they_were_written(tmp_path: Path) -> None:
    write_site(tmp_path / "site.json", SITE)
    assert read_site(tmp_path / "site.json") == SITE
    write_bootstrap(tmp_path / "bootstrap.json", [SITE, SITE])
    assert read_bootstrap(tmp_path / "bootstrap.json") == (SITE, SITE)
    delegation = Delegation("88.118", "secondary", SITE, KEY, 301)
    write_delegation(tmp_path / "delegation.json", delegation)
    assert read_delegation(tmp_path / "delegation.json") == delegation


def test_a_recorded_site_is_read() -> None:
    assert read_site(VECTORS / "siteinfo.json").servers[0].ip == ip_address("127.0.0.1")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    write_new_file(tmp_path / "file", b"one")
    with pytest.raises(NodeFilesError, match="exists and is not overwritten"):
        write_new_file(tmp_path / "file", b"two")
    assert (tmp_path / "file").read_bytes() == b"one"


def test_a_private_key_is_for_its_owner_only(tmp_path: Path) -> None:
    key = generate_rsa_key()
    public = write_key_pair(tmp_path / "key", tmp_path / "public", key)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert decode_private_key((tmp_path / "key").read_bytes()).public_key() == key.public_key()
    assert (tmp_path / "public").read_bytes() == public
    assert decode_public_key(public) == key.public_key()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense", "is not JSON"),
        ("[]", 'has no "sites"'),
        ('{"sites": []}', 'has no "sites"'),
        ('{"sites": [{}]}', "cannot be read"),
    ],
)
def test_a_bootstrap_file_that_is_none(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "bootstrap.json"
    path.write_text(text)
    with pytest.raises(NodeFilesError, match=words):
        read_bootstrap(path)


@pytest.mark.parametrize("text", ["{}", "[]", '{"prefix": 1}', '{"prefix": "88", "site": {}}'])
def test_a_delegation_that_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "delegation.json"
    path.write_text(text)
    with pytest.raises(NodeFilesError, match="is not a delegation"):
        read_delegation(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(NodeFilesError, match="cannot be read: No such file"):
        read_json(tmp_path / "none")
    with pytest.raises(NodeFilesError, match="cannot be read: No such file"):
        read_site(tmp_path / "none")


def test_a_site_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "site.json").write_text('{"servers": 5}')
    with pytest.raises(NodeFilesError, match="is not a site"):
        read_site(tmp_path / "site.json")
