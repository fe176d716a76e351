"""A server key is replaced at a running node, as the foreign client sees it.

The key before is RSA and the new one DSA: so every version's rules are held to both kinds.
"""

import json
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import dsa, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from resolver.cli.main import main
from resolver.key_rotation import rotate_key
from resolver.node_files import NodeFolder
from tests.interop import foreign_wire as wire
from tests.interop.conftest import VERSIONS, Stand, stand, url
from tests.interop.foreign_client import ForeignClient
from tests.interop.foreign_crypto import (
    PublicKey,
    check_certified,
    read_credential,
    read_public_key,
)
from tests.interop.foreign_session import DhPair
from tests.interop.foreign_wire import Answer, pack_str
from tests.nodes import (
    ADDRESS,
    Node,
    delegate,
    make_node,
    running,
    wait_until,
)

EVERY_VERSION = [(2, 0), *VERSIONS]
UNKNOWN = 0xFFFF


@dataclass(frozen=True)
class Rotated:
    """A node during its overlap: what it signed with before, and signs with now."""

    place: Stand
    old: PublicKey
    new: PublicKey
    handle: bytes

    @property
    def client(self) -> ForeignClient:
        """A client that checks no signature by itself."""
        return self.place.client.speaking(server_key=None)


def make_dsa_key() -> dsa.DSAPrivateKey:
    return dsa.generate_private_key(1024)  # the size of Handle.Net's DSA keys


@pytest.fixture(scope="module")
def rotated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rotated]:
    node = make_node(tmp_path_factory.mktemp("rotation") / "top")
    with running(node):
        before = stand(node)
        handle = before.make(url())
        old = before.client.server_key
        assert old is not None
        node.stop()
        rotate_key(NodeFolder(node.folder), make_dsa_key)
        node.start()
        after = stand(node)
        assert after.client.server_key is not None
        yield Rotated(after, old, after.client.server_key, handle)


def check_signed(answer: Answer, key: PublicKey, other: PublicKey) -> None:
    check_certified(answer, key)
    with pytest.raises((InvalidSignature, AssertionError)):
        check_certified(answer, other)


@pytest.mark.parametrize("transport", ["udp", "tcp", "http"])
@pytest.mark.parametrize("version", EVERY_VERSION)
def test_every_version_with_either_key(
    rotated: Rotated, version: tuple[int, int], transport: str
) -> None:
    client = rotated.client.speaking(version=version, suggested=version, transport=transport)
    flags = wire.CERT | (wire.RRDG if version > (2, 0) else 0)
    for serial, key, other in (
        (1, rotated.old, rotated.new),
        (2, rotated.new, rotated.old),
        (UNKNOWN, rotated.new, rotated.old),
        (3, rotated.new, rotated.old),
    ):
        answer = client.resolve(rotated.handle, flags=flags, serial=serial)
        assert (answer.code, answer.serial) == (1, 2)
        assert answer.envelope.version == version
        check_signed(answer, key, other)
        is_sha256 = version >= (2, 7) and isinstance(key, rsa.RSAPublicKey)
        name = read_credential(answer.credential).hash_name
        assert name == (b"SHA-256" if is_sha256 else b"SHA1")


@pytest.mark.parametrize("serial", [1, 2, UNKNOWN])
def test_refusals_and_sessions_are_signed_with_the_same_key(rotated: Rotated, serial: int) -> None:
    key = rotated.old if serial == 1 else rotated.new
    other = rotated.new if serial == 1 else rotated.old
    missing = rotated.client.resolve(b"88/MISSING", flags=wire.CERT, serial=serial)
    assert missing.code == 100
    check_signed(missing, key, other)
    pair = DhPair.make()
    fields = pack_str(pair.pack())
    set_up = rotated.client.set_up_session(4, (b"", -1), fields, serial=serial)
    assert set_up.code == 1
    check_signed(set_up, key, other)
    stale = rotated.client.ask_for_many(
        wire.SESSION_TERMINATE, pack_str(b"/"), wire.CERT, session_id=4711, serial=serial
    )
    assert stale[0].code >= 500
    check_signed(stale[0], key, other)


def test_a_session_works_under_either_site(rotated: Rotated) -> None:
    for key in (rotated.old, rotated.new):
        inside = rotated.place.client.speaking(server_key=None).open_session(rotated.place.admin)
        handle = rotated.place.fresh("SESSION")
        made = inside.create(handle, [url(), rotated.place.admin_value()], rotated.place.admin)
        assert made.code == 1, key


def test_the_site_published_is_the_one_of_the_new_key(rotated: Rotated) -> None:
    site = rotated.client.site()
    assert site.serial == 2
    assert isinstance(read_public_key(site.servers[0].public_key), dsa.DSAPublicKey)


# The whole of it with the commands


@pytest.fixture(scope="module")
def node(module_folder: Path) -> Iterator[Node]:
    """A node of these commands' own; each test leaves one key that signs."""
    with running(make_node(module_folder / "top")) as made:
        yield made


class Ended(NamedTuple):
    code: int
    words: str

    def must_succeed(self) -> None:
        assert self.code == 0, self.words


Command = Callable[..., Ended]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """The command, without a process of its own."""

    def run(*words: str) -> Ended:
        capsys.readouterr()
        code = main(list(words))
        told = capsys.readouterr()
        return Ended(code, told.out + told.err)

    return run


def sites_at(place: Stand, handle: bytes) -> list[int]:
    answer = place.client.resolve(handle, (b"HS_SITE",))
    return [wire.read_site(value.data).serial for value in answer.values]


def shown_certificate(node: Node) -> bytes:
    pem = ssl.get_server_certificate((ADDRESS, node.http_port))
    shown = x509.load_pem_x509_certificate(pem.encode()).public_key()
    return shown.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def test_a_node_below_publishes_at_its_parent(node: Node, command: Command, tmp_path: Path) -> None:
    child = make_node(tmp_path / "child", "enterprise", "88.7", root=node.bootstrap)
    delegate(node, child)
    place = stand(node)
    assert sites_at(place, b"0.NA/88.7") == [1]
    with running(child):
        command("admin", "rotate-key", "--node", str(child.folder)).must_succeed()
        command("admin", "publish-site", "--node", str(child.folder)).must_succeed()
    assert sites_at(place, b"0.NA/88.7") == [2]
    assert sites_at(place, b"0.NA/88") == [1]


def test_a_key_from_its_replacement_to_its_end(
    node: Node, command: Command, tmp_path: Path
) -> None:
    words = ("--node", str(node.folder))
    old = stand(node)
    rows = tmp_path / "rows.ndjson"
    row = {"handle": "88/RECEIPT", "values": [{"index": 1, "type": "URL", "data": "https://x/"}]}
    rows.write_text(json.dumps(row) + "\n", encoding="utf-8")
    receipt = tmp_path / "receipt.jwt"
    command("import", str(rows), "--receipt", str(receipt), *words).must_succeed()
    processes = {each.pid for each in node.children}
    command("admin", "rotate-key", *words).must_succeed()  # the node takes it up while it serves
    assert processes.isdisjoint(each.pid for each in node.children)
    new = stand(node)
    assert sites_at(new, b"0.NA/88") == [1]
    command("admin", "publish-site", *words).must_succeed()
    assert sites_at(new, b"0.NA/88") == sites_at(new, b"0.NA/0.NA") == [2]
    assert old.client.resolve(b"88/RECEIPT", flags=wire.CERT, serial=1).code == 1
    assert new.client.resolve(b"88/RECEIPT", flags=wire.CERT, serial=2).code == 1
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert new.client.server_key is not None
    assert shown_certificate(node) == new.client.server_key.public_bytes(*form)
    secure = new.client.speaking(transport="https")
    assert secure.resolve(b"88/RECEIPT", flags=wire.CERT).code == 1
    command("receipt", "verify", str(receipt), *words).must_succeed()
    refused = command("admin", "retire-key", *words)
    assert (refused.code, "wait" in refused.words) == (1, True)
    assert "signs too" in command("doctor", str(node.folder)).words
    processes = {each.pid for each in node.children}
    command("admin", "retire-key", "--at-once", *words).must_succeed()
    wait_until(lambda: processes.isdisjoint(each.pid for each in node.children), "all are new", 15)
    node.wait_until_ready()
    check_certified(
        new.client.speaking(server_key=None).resolve(b"88/RECEIPT", flags=wire.CERT, serial=1),
        new.client.server_key,
    )
    command("receipt", "verify", str(receipt), *words).must_succeed()
    assert "signs too" not in command("doctor", str(node.folder)).words


def test_nothing_is_published_before_its_key_signs(node: Node, command: Command) -> None:
    words = ("--node", str(node.folder))
    before = stand(node).client.site().serial
    rotate_key(NodeFolder(node.folder), make_dsa_key)  # and nobody tells the node
    doctor = command("doctor", str(node.folder)).words
    assert "start the node again" in doctor
    assert f"bootstrap.json has its site of serial {before + 1}, it has serial {before}" in doctor
    early = command("admin", "publish-site", *words)
    assert (early.code, "start it again" in early.words) == (1, True)
    assert stand(node).client.site().serial == before
