"""The rest of the JSON REST interface with curl: paging, prefixes, verifications, cookies, CORS."""

import base64
import hashlib
import hmac
import json
import shutil
import ssl
import urllib.request
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.interop.conftest import SECRET, HttpsStand, url
from tests.interop.curl import ADMIN, URL, Curl, login

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def test_a_list_is_read_from_page_to_page(https_node: HttpsStand, admin: Curl) -> None:
    for _ in range(3):
        https_node.make(url(), hint="PAGED")
    everything = admin("/api/handles?prefix=88").json["handles"]
    found: list[str] = []
    page = admin("/api/handles?prefix=88&pageSize=2").json
    while True:
        assert page["totalCount"] == str(len(everything))
        found += page["handles"]
        if "next" not in page:
            break
        assert page["next"] == page["handles"][-1]
        page = admin(f"/api/handles?prefix=88&pageSize=2&after={quote(page['next'])}").json
    assert found == everything
    assert admin("/api/handles?prefix=88&page=999&pageSize=2").json["handles"] == []
    counted = admin("/api/handles?prefix=88&page=0&pageSize=0").json
    assert (counted["totalCount"], counted["handles"]) == (str(len(everything)), [])
    assert admin("/api/handles?prefix=88&page=-1&pageSize=-1").json["handles"] == everything
    for query in ("page=0&after=88/X", "after=99/X", "page=x", "pageSize=100001"):
        assert admin(f"/api/handles?prefix=88&{query}").status == 400, query


def test_strangers_home_nothing(plain: Curl, secure: Curl) -> None:
    assert plain("/api/prefixes").status == 401
    assert secure("/api/prefixes/88.5555", "-X", "POST").code == 402
    assert secure("/api/prefixes/88.5555", "-X", "DELETE").code == 402


def test_somebody_who_is_no_administrator_of_the_node_homes_nothing(admin: Curl) -> None:
    reply = admin("/api/prefixes/88.5555", "-X", "POST")
    assert (reply.status, reply.code) == (403, 400)
    assert admin("/api/prefixes").status == 403


@pytest.mark.parametrize("by", ["SHA256", "HMAC-SHA256", "PBKDF2-HMAC-SHA1"])
def test_answers_are_verified(https_node: HttpsStand, plain: Curl, by: str) -> None:
    nonce, cnonce, salt = b"n" * 16, b"c" * 16, b"s" * 16
    data = nonce + cnonce
    more = ""
    if by == "SHA256":
        signature = hashlib.sha256(SECRET + data + SECRET).digest()
    elif by == "HMAC-SHA256":
        signature = hmac.digest(SECRET, data, "sha256")
    else:
        key = hashlib.pbkdf2_hmac("sha1", _as_latin_1(SECRET), salt, 1_000, 20)
        signature = hmac.digest(key, data, "sha1")
        more = f"&salt={_base64(salt)}&iterations=1000&length=160"

    def ask(signature: bytes) -> object:
        query = f"nonce={_base64(nonce)}&cnonce={_base64(cnonce)}&alg={by}"
        path = f"/api/verifications/{https_node.user}?{query}&signature={_base64(signature)}"
        reply = plain(path + more)
        assert (reply.status, reply.code) == (200, 1)
        return reply.json["isValid"]

    assert ask(signature) is True
    assert ask(signature[:-1] + bytes([signature[-1] ^ 1])) is False


def test_a_million_rounds_are_not_computed(https_node: HttpsStand, plain: Curl) -> None:
    answer = "nonce=bm8=&cnonce=Y24=&alg=PBKDF2-HMAC-SHA1&signature=c2ln&salt=c2FsdA=="
    path = f"/api/verifications/{https_node.user}?{answer}&iterations=1000000&length=160"
    assert plain(path, "--max-time", "2").json["isValid"] is False


def test_a_session_by_cookie(https_node: HttpsStand, secure: Curl, tmp_path: Path) -> None:
    jar = str(tmp_path / "jar")
    begun = secure("/api/sessions", "-X", "POST", "-c", jar)
    assert begun.status == 201
    nonce, cnonce = base64.b64decode(begun.json["nonce"]), b"c" * 16
    answer = {
        "id": quote(https_node.user, safe=""),
        "type": "HS_SECKEY",
        "cnonce": base64.b64encode(cnonce).decode(),
        "alg": "HMAC-SHA256",
        "signature": base64.b64encode(hmac.digest(SECRET, nonce + cnonce, "sha256")).decode(),
    }
    browser = Curl(secure.base, (*secure.options, "-b", jar, "-c", jar))
    shown = browser("/api/sessions/this", "-X", "PUT", body=answer)
    assert (shown.status, shown.json["id"]) == (200, https_node.user)
    path = "/api/handles/" + https_node.fresh("COOKIE").decode()
    assert browser(path, "-X", "PUT", body=[URL, ADMIN]).status == 201
    assert browser(path, "-H", "Origin: https://evil.example", "-X", "DELETE").status == 401
    assert browser(path, "-H", f"Origin: {secure.base}", "-X", "DELETE").status == 200
    assert browser("/api/sessions/this", "-X", "DELETE").status == 204
    assert browser("/api/sessions/this").json == {"authenticated": False}


def test_a_library_that_waits_for_a_challenge_is_asked_for_its_password(
    https_node: HttpsStand, secure: Curl
) -> None:
    """As wget and Java do it, Python's own sends a password only once it is asked for one."""
    certificate = secure.options[secure.options.index("--cacert") + 1]
    context = ssl.create_default_context(cafile=certificate)
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    user, _, password = login(https_node, https_node.password).partition(":")
    passwords.add_password(None, secure.base, user, password)
    opener = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=context),
        urllib.request.HTTPBasicAuthHandler(passwords),
    )
    handle = https_node.fresh("WAITING").decode()
    asked = urllib.request.Request(
        f"{secure.base}/api/handles/{handle}",
        json.dumps([URL, ADMIN]).encode(),
        {"Content-Type": "application/json"},
        method="PUT",
    )
    with opener.open(asked, timeout=10) as answer:
        assert (answer.status, json.load(answer)["handle"]) == (201, handle)


def test_a_session_begun_with_a_password(https_node: HttpsStand, secure: Curl, admin: Curl) -> None:
    begun = admin("/api/sessions", "-X", "POST")
    assert (begun.status, begun.headers["location"]) == (201, "/api/sessions/this")
    assert (begun.json["authenticated"], begun.json["id"]) == (True, https_node.user)
    session = ("-H", f'Authorization: Handle sessionId="{begun.json["sessionId"]}"')
    path = "/api/handles/" + https_node.fresh("SESSION").decode()
    assert secure(path, *session, "-X", "PUT", body=[URL, ADMIN]).status == 201
    assert secure("/api/sessions/this", *session).json["id"] == https_node.user
    assert secure("/api/sessions/this", *session, "-X", "DELETE").status == 204
    assert secure("/api/sessions/this", *session).status == 403
    wrong = Curl(secure.base, (*secure.options, "-u", login(https_node, "wrong")))
    assert wrong("/api/sessions", "-X", "POST").status == 401
    assert wrong("/api/sessions/this").status == 401


@pytest.mark.parametrize("path", ["/api/handles/88/x", "/api/sessions/this", "/88/x"])
def test_browsers_may_ask_from_pages_of_other_origins(plain: Curl, path: str) -> None:
    asking = ("-H", "Origin: https://a.example", "-H", "Access-Control-Request-Method: POST")
    preflight = plain(path, "-X", "OPTIONS", *asking)
    assert preflight.status == 204
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert "Content-Type" in preflight.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in preflight.headers


def _base64(octets: bytes) -> str:
    return quote(base64.b64encode(octets).decode(), safe="")


def _as_latin_1(secret: bytes) -> bytes:
    """Octets go into PBKDF2 as Latin-1 characters, these as UTF-8."""
    return secret.decode("latin-1").encode()
