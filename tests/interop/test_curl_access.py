"""Who may write over REST, and over which connections: credentials, TLS and plain, IPv6."""

import base64
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.interop.conftest import HttpsStand, has_ipv6
from tests.interop.curl import ADMIN, URL, Curl, login
from tests.interop.foreign_crypto import sign
from tests.interop.foreign_wire import Value

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@pytest.fixture
def path(https_node: HttpsStand) -> str:
    return "/api/handles/" + https_node.fresh("CURL").decode()


# Who may write


def test_who_may_write(https_node: HttpsStand, secure: Curl, admin: Curl, path: str) -> None:
    unknown = secure(path, "-X", "PUT", body=[URL])
    assert unknown.status == 401
    assert unknown.headers["www-authenticate"].startswith("Handle sessionId=")
    wrong = secure(path, "-u", login(https_node, "guess"), "-X", "PUT", body=[URL])
    assert wrong.status == 401
    assert "www-authenticate" in wrong.headers
    broken = secure(path, "-H", "Authorization: Basic %%%", "-X", "PUT", body=[URL])
    assert broken.status == 401
    other = https_node.make(Value(301, b"HS_SECKEY", b"another", permissions=0b1100))
    user = f"{quote('301:' + other.decode(), safe='')}:another"
    stranger = secure(path, "-u", user, "-X", "PUT", body=[URL])
    assert (stranger.status, stranger.code) == (403, 400)
    assert admin(path).status == 404


def test_plain_http_ignores_credentials(https_node: HttpsStand, plain: Curl, path: str) -> None:
    who = ("-u", login(https_node, https_node.password))
    reply = plain(path, *who, "-X", "PUT", body=[URL])
    assert (reply.status, reply.code) == (401, 402)
    assert plain("/api/handles/88/USER", *who).status == 200
    assert plain(path).status == 404
    assert https_node.node.log.count("plain") >= 1


def test_reading_what_is_not_public(https_node: HttpsStand, admin: Curl, secure: Curl) -> None:
    handle = https_node.make(Value(1, b"EMAIL", b"hidden", permissions=0b1100)).decode()
    where = f"/api/handles/{handle}?index=1&publicOnly=false"
    assert admin(where).status in (200, 403)
    assert secure(f"/api/handles/{handle}?index=1").code == 200


# Authorization: Handle


def test_challenge_and_response(https_node: HttpsStand, secure: Curl, path: str) -> None:
    asked = secure(path, "-X", "PUT", body=[URL])
    assert asked.status == 401
    challenge = asked.headers["www-authenticate"]
    fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge.removeprefix("Handle ")))
    session, nonce = fields["sessionId"], base64.b64decode(fields["nonce"])
    cnonce = b"c" * 16
    signature = sign(https_node.admin.key, nonce + cnonce, (2, 10))[1]
    parts = {
        "sessionId": session,
        "id": quote(https_node.node.admin, safe=""),
        "type": "HS_PUBKEY",
        "cnonce": base64.b64encode(cnonce).decode(),
        "alg": "SHA256",
        "signature": base64.b64encode(signature).decode(),
    }
    value = ", ".join(f'{name}="{text}"' for name, text in parts.items())
    logged_in = ("-H", f"Authorization: Handle {value}")
    assert secure(path, *logged_in, "-X", "PUT", body=[URL, ADMIN]).status == 201
    onwards = ("-H", f'Authorization: Handle version="0", sessionId="{session}"')
    assert secure(path, *onwards, "-X", "DELETE").status == 200


# Ways to connect


@pytest.mark.parametrize("version", ["--http1.0", "--http1.1"])
def test_http_versions(plain: Curl, secure: Curl, version: str) -> None:
    for curl in (plain, secure):
        reply = curl("/api/handles/88/USER", version)
        assert (reply.status, reply.code) == (200, 1)
        assert "transfer-encoding" not in reply.headers or version == "--http1.1"


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")
def test_ipv6(https_node: HttpsStand, secure: Curl) -> None:
    port = https_node.node.http_port
    assert Curl(f"http://[::1]:{port}")("/api/handles/88/USER").status == 200
    assert Curl(f"https://[::1]:{port}", secure.options)("/api/handles/88/USER").status == 200


def test_the_certificate_is_really_checked(https_node: HttpsStand, tmp_path: Path) -> None:
    words = ["curl", "-sS", "--max-time", "10", f"{https_node.https_url}/healthz"]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 60, "an authority that nobody trusts"


def test_health_and_metrics(plain: Curl) -> None:
    assert plain("/healthz").status == 200
    assert plain("/readyz").status == 200
    metrics = plain("/metrics")
    assert metrics.status == 200
    assert "biaoshi_requests_total" in metrics.text
