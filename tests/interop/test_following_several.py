"""A mirror of a site of two servers: each is dumped and followed by itself, into one store."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from registry.log import LocalLog
from registry.store import Store
from tests.interop import foreign_wire as wire
from tests.interop.conftest import Stand, stand, url
from tests.interop.foreign_client import ForeignClient
from tests.interop.foreign_crypto import pack_public_key
from tests.interop.foreign_wire import Value, pack_str, position_in_site
from tests.nodes import ADDRESS, Node, make_node, running, wait_until

MIRROR = b"88/MIRROR"


@dataclass
class Site:
    """Two nodes that serve one prefix together, and what follows them."""

    servers: list[Stand]
    mirror: Node

    def at(self, handle: bytes) -> Stand:
        """The server that a handle hashes to."""
        return self.servers[position_in_site(handle, 2)]

    def make(self, *values: Value, number: int | None = None) -> bytes:
        """A new handle on the server that it hashes to, or on one that is chosen."""
        while True:
            handle = self.servers[0].fresh()
            if number is None or position_in_site(handle, 2) == number:
                break
        self.put(self.at(handle), handle, *values)
        return handle

    def put(self, server: Stand, handle: bytes, *values: Value) -> None:
        answer = server.client.create(handle, [*values, server.admin_value()], server.admin)
        assert answer.code == 1, answer

    @property
    def client(self) -> ForeignClient:
        return ForeignClient(ADDRESS, self.mirror.handle_port, self.mirror.http_port)

    def text_of(self, handle: bytes) -> bytes | None:
        answer = self.client.resolve(handle)
        return answer.values[0].data if answer.code == 1 else None

    def wait_for(self, *handles: bytes) -> None:
        for handle in handles:
            wait_until(lambda h=handle: self.text_of(h) is not None, f"{handle!r} arrives", 15, 0.1)  # type: ignore[misc]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("several")
    nodes = [
        make_node(folder / name, tables={"roles": {"peers": [f"300:{MIRROR.decode()}"]}})
        for name in ("first", "second")
    ]
    with contextlib.ExitStack() as stack:
        for node in nodes:
            stack.enter_context(running(node))
        servers = [stand(node) for node in nodes]
        key = servers[0].admin.key
        assert isinstance(key, rsa.RSAPrivateKey)
        for server in servers:  # each asks at home who the mirror is
            public = Value(300, b"HS_PUBKEY", pack_public_key(key.public_key()))
            answer = server.client.create(MIRROR, [public, server.admin_value()], server.admin)
            assert answer.code == 1, answer
        both = [json.loads((node.folder / "site.json").read_text()) for node in nodes]
        together = {**both[0], "servers": [each["servers"][0] for each in both]}
        (folder / "site.json").write_text(json.dumps(together))
        follow = {
            "site": str(folder / "site.json"),
            "identity": f"300:{MIRROR.decode()}",
            "key": str(nodes[0].admin_key),
            "poll_s": 1,
        }
        mirror = make_node(folder / "mirror", "top", "99", tables={"follow": follow})
        yield Site(servers, stack.enter_context(running(mirror)))


def test_each_server_is_copied_and_followed(site: Site) -> None:
    made = [site.make(url(text=b"old"), number=number) for number in (0, 1)]
    site.wait_for(*made)
    for handle in made:
        server = site.at(handle)
        assert server.client.modify(handle, [url(text=b"new")], server.admin).code == 1
    wait_until(lambda: [site.text_of(each) for each in made] == [b"new"] * 2, "both change", 10)
    assert site.at(made[0]).client.delete(made[0], site.at(made[0]).admin).code == 1
    wait_until(lambda: site.text_of(made[0]) is None, "it is deleted", 10)
    assert site.text_of(made[1]) == b"new"
    opening = "copying all of"
    assert site.mirror.log.count(opening) == 2
    assert "eof_received" not in site.mirror.log
    assert site.mirror.metric("biaoshi_followed_timestamp_seconds") > 1_700_000_000


def test_a_copy_on_the_wrong_server_is_nobodys(site: Site) -> None:
    right = site.make(url(text=b"right"))
    wrong = site.servers[1 - position_in_site(right, 2)]
    site.put(wrong, right, url(text=b"wrong"))
    site.wait_for(right, site.make(url(), number=0), site.make(url(), number=1))
    assert site.text_of(right) == b"right"
    words = f"{right.decode()}: it hashes to another server of the primary's site"
    wait_until(lambda: words in site.mirror.log, "it is told", 5)
    # Cleaned up there, it stays here.
    assert wrong.client.delete(right, wrong.admin).code == 1
    site.wait_for(site.make(url(), number=0), site.make(url(), number=1))
    assert site.text_of(right) == b"right"


def test_a_prefix_is_homed_by_either_and_given_up_by_its_own(site: Site) -> None:
    handle = b"0.NA/77"
    for opcode, is_homed in ((wire.HOME, True), (wire.UNHOME, False)):
        for server in site.servers:
            assert server.client.perform(opcode, pack_str(handle), server.admin).code == 1
        wait_until(lambda h=is_homed: (handle in homed(site.mirror)) == h, "it is so", 10, 0.2)  # type: ignore[misc]


def homed(mirror: Node) -> list[bytes]:
    with (
        Store.open(mirror.store, readonly=True, case_sensitive=None) as store,
        store.read() as view,
    ):
        return list(view.homed())


def test_one_server_that_is_away_and_trimmed_its_log(site: Site) -> None:
    """The other is followed all the while, and nothing of it is swept away."""
    doomed = site.make(url(), number=1)
    kept = site.make(url(), number=0)
    site.wait_for(doomed, kept)
    away = site.servers[1]
    site.mirror.kill()
    assert away.client.delete(doomed, away.admin).code == 1
    late = site.make(url(), number=1)
    away.node.stop()
    with Store.open(away.node.store) as store, store.write(journaled=False) as view:
        log = LocalLog(view)
        log.trim(0, log.seal_snapshot(1_790_000_000_000).seq)
    site.mirror.start()
    meanwhile = site.make(url(), number=0)
    site.wait_for(meanwhile)
    assert site.text_of(doomed) is not None
    assert site.mirror.log.count("copying all of") == 2, "nothing was copied anew"
    away.node.start()
    site.wait_for(late)
    wait_until(lambda: site.text_of(doomed) is None, "it is swept away", 10)
    assert site.mirror.log.count("copying all of") == 3
    assert site.text_of(kept) is not None
    assert site.text_of(meanwhile) is not None
