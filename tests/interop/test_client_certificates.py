"""TLS client certificates on their own port: curl and requests, with what openssl has made."""

import select
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from cryptography.hazmat.primitives import serialization

from tests.interop.authority import Authority
from tests.interop.conftest import Stand, stand
from tests.interop.curl import Curl
from tests.interop.foreign_wire import Value
from tests.nodes import ADDRESS, free_port, make_node, must_run, running

pytestmark = [
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed"),
]
ADMIN = "300:0.NA/0.NA"
VALUES = [{"index": 1, "type": "URL", "data": "https://example.org/"}]
HANDSHAKE_S = 1
CONNECTIONS = 30


class Port:
    """The node's port for certificates, and certificates by name."""

    def __init__(self, place: Stand, folder: Path, authority: Authority, number: int) -> None:
        self.place = place
        self.folder = folder
        self.authority = authority
        self.number = number

    @property
    def url(self) -> str:
        return f"https://{ADDRESS}:{self.number}"

    def curl(self, name: str, *options: str) -> Curl:
        trust = ("--cacert", str(self.authority.path))
        shown = ("--cert", str(self.folder / f"{name}.pem")) if name else ()
        return Curl(self.url, (*trust, *shown, *options))

    def make(self, name: str, subject: str, key: Path | None, days: int = 30) -> None:
        """Have openssl make a certificate that signs itself; without a key a new one."""
        made, new_key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        source = ["-newkey", "rsa:2048", "-keyout", str(new_key)]
        if key is not None:
            source, new_key = ["-new", "-key", str(key)], key
        words = ["openssl", "req", "-x509", "-nodes", *source, "-days", str(days)]
        subprocess.run(
            [*words, "-subj", subject, "-out", str(made)], check=True, capture_output=True
        )
        pem = made.read_bytes() + new_key.read_bytes()
        (self.folder / f"{name}.pem").write_bytes(pem)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Port]:
    folder = tmp_path_factory.mktemp("certificates")
    authority = Authority(folder)
    authority.issue(days=90)
    number = free_port()
    tables: dict[str, dict[str, object]] = {
        "tls": {"certificate": str(authority.certificate), "key": str(authority.key)},
        "listen": {"client_certificate_port": number},
        "limits": {
            "tls_handshake_timeout_s": HANDSHAKE_S,
            "connections_per_address_max": CONNECTIONS,
        },
    }
    with running(make_node(folder / "node", tables=tables)) as node:
        place = stand(node)
        found = Port(place, folder, authority, number)
        key = folder / "admin.key"
        key.write_bytes(
            place.admin.key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        found.make("uid", f"/UID={ADMIN.replace('/', chr(92) + '/')}", key)
        found.make("cn", f"/CN={ADMIN.replace('/', chr(92) + '/')}", key)
        found.make("wrong-key", f"/UID={ADMIN.replace('/', chr(92) + '/')}", None)
        found.make("wrong-index", "/UID=301:0.NA\\/0.NA", key)
        found.make("nobody", "/CN=Some Body", key)
        yield found


@pytest.mark.parametrize("name", ["uid", "cn"])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_curl_is_the_administrator(port: Port, name: str, version: str) -> None:
    curl = port.curl(name, f"--tlsv{version}", "--tls-max", version)
    path = f"/api/handles/{port.place.fresh('CERT').decode()}"
    assert curl(path, "-X", "PUT", body=VALUES).status == 201
    asking = curl(path, "-H", 'Authorization: Handle clientCert="true"')
    assert asking.json["values"][0]["data"]["value"] == "https://example.org/"
    assert curl(path, "-X", "DELETE").status == 200
    assert curl("/api/prefixes").json["prefixes"] == ["0.NA/0.NA", "0.NA/88"]


def test_prefixes_are_homed_and_no_more(port: Port) -> None:
    curl = port.curl("uid")
    assert curl("/api/prefixes/0.NA/88.5555", "-X", "POST").json["handle"] == "0.NA/88.5555"
    assert "0.NA/88.5555" in curl("/api/prefixes").json["prefixes"]
    assert curl("/api/prefixes/88.5555", "-X", "DELETE").status == 200
    assert "0.NA/88.5555" not in curl("/api/prefixes").json["prefixes"]


def test_requests_is_the_administrator(port: Port) -> None:
    path = f"{port.url}/api/handles/{port.place.fresh('CERT').decode()}"
    with requests.Session() as session:
        session.trust_env = False  # a bundle named there would come before `verify`
        session.verify = str(port.authority.path)
        session.cert = str(port.folder / "uid.pem")
        hidden = {"index": 2, "type": "NOTE", "data": "hidden", "permissions": "1100"}
        assert session.put(path, json=[*VALUES, hidden], timeout=10).status_code == 201
        assert len(session.get(path, timeout=10).json()["values"]) == 2
        assert session.delete(path, timeout=10).status_code == 200


def test_a_certificate_that_the_command_made(port: Port) -> None:
    key = port.place.node.admin_key
    made = port.folder / "command.pem"
    must_run("certificate", str(key), ADMIN, "--output", str(made))
    assert made.stat().st_mode & 0o077 == 0
    assert port.curl("command")("/api/prefixes").status == 200


@pytest.mark.parametrize(
    ("name", "status"), [("wrong-key", 401), ("wrong-index", 403), ("nobody", 401), ("", 401)]
)
def test_others_may_not(port: Port, name: str, status: int) -> None:
    curl = port.curl(name)
    path = f"/api/handles/{port.place.fresh('CERT').decode()}"
    assert curl(path, "-X", "PUT", body=VALUES).status == status
    assert curl("/api/prefixes").status == status
    assert curl(path).status == 404


@pytest.mark.parametrize("name", ["wrong-key", "nobody", ""])
def test_a_certificate_that_is_announced_has_to_hold(port: Port, name: str) -> None:
    path = f"/api/handles/{port.place.make(Value(4, b'EMAIL', b'x', 0b1100)).decode()}"
    reply = port.curl(name)(path, "-H", 'Authorization: Handle clientCert="true"')
    assert (reply.status, reply.text) == (401, "")
    assert reply.headers["www-authenticate"].startswith("Handle sessionId=")


def test_an_expired_certificate_ends_the_handshake(port: Port) -> None:
    expired = port.folder / "expired.crt"
    words = ["openssl", "req", "-new", "-key", str(port.folder / "admin.key"), "-subj", "/CN=x"]
    request = subprocess.run(words, check=True, capture_output=True).stdout
    signing = ["openssl", "x509", "-req", "-signkey", str(port.folder / "admin.key")]
    made = subprocess.run(
        [*signing, "-days", "-1"], input=request, check=False, capture_output=True
    )
    if made.returncode:
        pytest.skip("this openssl makes no certificate of the past")
    expired.write_bytes(made.stdout)
    (port.folder / "expired.pem").write_bytes(
        made.stdout + (port.folder / "admin.key").read_bytes()
    )
    with pytest.raises(AssertionError, match="expired"):
        port.curl("expired")("/api/site")


def test_the_tunnel_and_large_bodies_are_there_too(port: Port) -> None:
    path = f"/api/handles/{port.place.fresh('CERT').decode()}"
    large = port.folder / "large.json"
    large.write_text('[{"index": 1, "type": "NOTE", "data": "' + "x" * 200_000 + '"}]')
    sent = ("-H", "Content-Type: application/json", "--data-binary", f"@{large}")
    assert port.curl("uid")(path, "-X", "PUT", *sent).status == 201
    assert len(port.curl("")(path).json["values"][0]["data"]["value"]) == 200_000
    kind = "application/x-hdl-message"
    tunnel = ("-H", f"Content-Type: {kind}", "-H", f"Accept: {kind}")
    reply = port.curl("")("/88/x", *tunnel, "--data-binary", "no message")
    assert (reply.status, reply.text) == (400, "the body is not a handle message\n")


def test_requests_on_one_connection_are_answered_in_order(port: Port) -> None:
    raw = _connect(port)
    with _trusting(port).wrap_socket(raw, server_hostname="localhost") as tls:
        tls.sendall(b"GET /api/site HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        received = b""
        while received.count(b'"site"') < 3:
            piece = tls.recv(65_536)
            assert piece, received
            received += piece
    assert received.count(b"HTTP/1.1 200 OK") == 3


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_every_connection_proves_its_client_anew(port: Port, version: ssl.TLSVersion) -> None:
    trusting = _trusting(port)
    trusting.minimum_version = trusting.maximum_version = version
    session = None
    for _ in range(3):
        raw = _connect(port)
        with trusting.wrap_socket(raw, server_hostname="localhost", session=session) as tls:
            tls.sendall(b"GET /api/site HTTP/1.1\r\nHost: x\r\n\r\n")
            assert tls.recv(65_536).startswith(b"HTTP/1.1 200 OK")
            assert not tls.session_reused
            session = tls.session


def test_a_handshake_takes_only_so_long(port: Port) -> None:
    hello = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="x")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    with _connect(port) as raw:
        raw.sendall(hello.read()[:40])
        started = time.monotonic()
        assert raw.recv(1) == b""
        assert time.monotonic() - started < 10 * HANDSHAKE_S


def test_garbage_ends_a_connection_and_nothing_else(port: Port) -> None:
    for garbage in (b"\x16" + b"\xff" * 600, b"\x16\x03\x01\x00\x05hello", b"\x16"):
        with _connect(port) as raw:
            raw.sendall(garbage)
            raw.shutdown(socket.SHUT_WR)
            while raw.recv(4_096):
                pass
    assert port.curl("uid")("/api/site").status == 200


def test_one_address_has_only_so_many_connections(port: Port) -> None:
    with ThreadPoolExecutor(CONNECTIONS + 10) as pool:
        held = list(pool.map(lambda _: _connect(port), range(CONNECTIONS + 10)))
    ended: set[socket.socket] = set()
    deadline = time.monotonic() + 10
    while len(ended) < 10 and time.monotonic() < deadline:
        waiting = [raw for raw in held if raw not in ended]
        ended.update(select.select(waiting, [], [], 0.5)[0])
    for raw in held:
        raw.close()
    assert 10 <= len(ended) < CONNECTIONS
    assert port.curl("uid", "--retry", "5", "--retry-all-errors")("/api/site").status == 200


def _connect(port: Port) -> socket.socket:
    return socket.create_connection((ADDRESS, port.number), timeout=10)


def _trusting(port: Port) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(port.authority.path))
