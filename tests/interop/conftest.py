"""Running nodes as the foreign client sees them."""

import itertools
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.interop import foreign_wire as wire
from tests.interop.authority import Authority
from tests.interop.curl import Curl, login
from tests.interop.foreign_client import ForeignClient
from tests.interop.foreign_crypto import (
    Identity,
    KeyIdentity,
    SecretIdentity,
    pack_public_key,
    read_private_key,
)
from tests.interop.foreign_crypto import read_public_key as read_key
from tests.interop.foreign_wire import Value, admin_data, pack_str, vlist_data
from tests.nodes import ADDRESS, Node, Topology, make_node, running

TRANSPORTS = ["udp", "tcp", "http", "https"]
VERSIONS = [(2, minor) for minor in range(1, 11)]
SECRET = b"open sesame, \xe5\xb0\x8f"
SECRET_INDEX = 301
RUN = os.urandom(3).hex().upper()
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Stand:
    """One node with its administrator, and a line to it."""

    node: Node
    client: ForeignClient
    admin: KeyIdentity
    prefix: bytes

    @property
    def prefix_handle(self) -> bytes:
        return b"0.NA/" + self.prefix

    def fresh(self, hint: str = "H") -> bytes:
        """A handle nobody used yet."""
        return self.prefix + f"/{hint}.{RUN}.{next(_numbers)}".encode()

    def make(self, *values: Value, hint: str = "H") -> bytes:
        """A new handle with the values and an HS_ADMIN for the administrator at 100."""
        handle = self.fresh(hint)
        answer = self.client.create(handle, [*values, self.admin_value()], self.admin)
        assert answer.code == 1, answer
        return handle

    def admin_value(self, permissions: int = 0xFFF, index: int = 100) -> Value:
        data = admin_data(self.admin.handle, self.admin.index, permissions)
        return Value(index, b"HS_ADMIN", data)


def url(index: int = 1, text: bytes = b"https://example.org/", permissions: int = 0b1110) -> Value:
    return Value(index, b"URL", text, permissions)


def stand(node: Node) -> Stand:
    index, handle = node.admin.split(":")
    key = read_private_key(node.admin_key.read_bytes())
    client = ForeignClient(ADDRESS, node.handle_port, node.http_port)
    client.server_key = read_key(client.site().servers[0].public_key)
    admin = KeyIdentity(handle.encode(), int(index), key)
    return Stand(node, client, admin, node.prefix.encode())


@pytest.fixture(scope="session")
def top(four_nodes: Topology) -> Stand:
    """The top node: its own root, home of 88."""
    return stand(four_nodes.top)


@pytest.fixture(scope="session")
def secondary(four_nodes: Topology) -> Stand:
    return stand(four_nodes.secondary)


@pytest.fixture(scope="session")
def enterprise(four_nodes: Topology) -> Stand:
    """The enterprise node; its administrator's key lives at the secondary."""
    return stand(four_nodes.enterprise)


@pytest.fixture(params=["top", "secondary", "enterprise"])
def each(request: pytest.FixtureRequest) -> Stand:
    """Each node that registers, one after the other."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Stand)
    return found


@dataclass(frozen=True)
class Guild(Stand):
    """A prefix of these tests' own, homed at the top, whose administrators are a group."""

    member: KeyIdentity
    keeper: SecretIdentity
    stranger: SecretIdentity

    @property
    def members(self) -> dict[str, Identity]:
        return {"public key": self.member, "secret key": self.keeper}

    def make_for(self, permissions: int, *values: Value) -> bytes:
        """A handle over which the secret key's holder has just these permissions."""
        rule = Value(101, b"HS_ADMIN", admin_data(self.keeper.handle, SECRET_INDEX, permissions))
        return self.make(*values, rule)


@pytest.fixture(scope="session")
def guild(top: Stand) -> Guild:
    """Prefix 97: its group at 200 names a key's holder and a secret's, by way of a second group."""
    place = replace(top, prefix=b"97")
    home = top.client.perform(wire.HOME, pack_str(b"0.NA/97"), top.admin)
    assert home.code == 1, home
    key = rsa.generate_private_key(65537, 2048)
    member = KeyIdentity(b"97/MEMBER", 300, key)
    keeper = SecretIdentity(b"97/KEEPER", SECRET_INDEX, SECRET)
    stranger = SecretIdentity(b"97/STRANGER", SECRET_INDEX, b"the stranger's")
    site = top.client.resolve(b"0.NA/88", (b"HS_SITE",)).values[0]
    groups = [
        site,
        Value(101, b"HS_ADMIN", admin_data(b"0.NA/97", 200)),
        Value(200, b"HS_VLIST", vlist_data((b"0.NA/97", 201), (b"0.NA/97", 200))),
        Value(201, b"HS_VLIST", vlist_data((member.handle, 300), (keeper.handle, 301))),
    ]
    records = {
        b"0.NA/97": [place.admin_value(), *groups],
        member.handle: [Value(300, b"HS_PUBKEY", pack_public_key(key.public_key()))],
        keeper.handle: [Value(301, b"HS_SECKEY", SECRET, permissions=0b1100)],
        stranger.handle: [Value(301, b"HS_SECKEY", stranger.secret, permissions=0b1100)],
    }
    for handle, values in records.items():
        answer = top.client.create(handle, values, top.admin)
        assert answer.code == 1, (handle, answer)
    parts = (place.node, place.client, place.admin, place.prefix)
    return Guild(*parts, member, keeper, stranger)


@dataclass(frozen=True)
class HttpsStand(Stand):
    """A node with an operator's certificate and an administrator who has a password."""

    authority: Authority
    password: str

    @property
    def user(self) -> str:
        """The password's place, as REST clients write it."""
        return f"{SECRET_INDEX}:{self.prefix.decode()}/USER"

    @property
    def https_url(self) -> str:
        return f"https://{ADDRESS}:{self.node.http_port}"

    @property
    def http_url(self) -> str:
        return f"http://{ADDRESS}:{self.node.http_port}"


@pytest.fixture(scope="session")
def https_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpsStand]:
    """A top node on IPv4 and, where the machine has it, IPv6."""
    folder = tmp_path_factory.mktemp("https")
    authority = Authority(folder)
    authority.issue(days=90)
    tables: dict[str, dict[str, object]] = {
        "tls": {"certificate": str(authority.certificate), "key": str(authority.key)},
        "listen": {"addresses": [ADDRESS, *(["::1"] if has_ipv6() else [])]},
    }
    with running(make_node(folder / "node", tables=tables)) as node:
        yield with_password(stand(node), authority)


def with_password(place: Stand, authority: Authority) -> HttpsStand:
    parts = (place.node, place.client, place.admin, place.prefix)
    https = HttpsStand(*parts, authority, SECRET.decode())
    handle = place.prefix + b"/USER"
    secret = Value(SECRET_INDEX, b"HS_SECKEY", SECRET, permissions=0b1100)
    rule = Value(101, b"HS_ADMIN", admin_data(handle, SECRET_INDEX))
    assert place.client.create(handle, [secret, place.admin_value()], place.admin).code == 1
    assert place.client.add(place.prefix_handle, [rule], place.admin).code == 1
    return https


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.fixture(scope="session")
def record(top: Stand) -> bytes:
    """A handle with values of several types, in an order of its own."""
    return top.make(
        url(3, b"https://example.org/3"),
        url(1, b"https://example.org/1"),
        Value(2, b"URL.MIRROR", b"https://mirror.example.org/", ttl=60),
        Value(4, b"DESC", "标识".encode(), ttl=2_000_000_000, ttl_type=1),
        Value(5, b"EMAIL", b"hidden@example.org", permissions=0b1100),
        Value(6, b"X.OPAQUE", bytes(range(256)), references=((b"88/OTHER", 7), (b"0.NA/88", 300))),
    )


@pytest.fixture(scope="session")
def large(top: Stand) -> bytes:
    """A handle whose answer takes many datagrams."""
    return top.make(*[Value(i, b"PART", bytes([i]) * 400) for i in range(1, 41)])


# The same node as curl sees it


@pytest.fixture(scope="module")
def plain(https_node: HttpsStand) -> Curl:
    return Curl(https_node.http_url)


@pytest.fixture(scope="module")
def secure(https_node: HttpsStand) -> Curl:
    return Curl(https_node.https_url, ("--cacert", str(https_node.authority.path)))


@pytest.fixture(scope="module")
def admin(https_node: HttpsStand, secure: Curl) -> Curl:
    return Curl(secure.base, (*secure.options, "-u", login(https_node, https_node.password)))
