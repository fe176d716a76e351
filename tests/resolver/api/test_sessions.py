import base64
from typing import Any
from urllib.parse import urlencode

import pytest

from protocol.value import Reference
from resolver.client_certificates import CERTIFIED_CLIENT
from tests.resolver.api.calls import Api

THIS = "/api/sessions/this"
NONCE = base64.b64encode(b"0123456789abcdef").decode()
PASSWORD = {"authorization": "Basic " + base64.b64encode(b"300%3A0.NA/88.118:pw").decode()}
SESSION = {"authorization": 'Handle sessionId="s1"'}
FIELDS = {
    "id": "300:0.NA/88.118",
    "type": "HS_PUBKEY",
    "cnonce": "Y24=",
    "alg": "SHA256",
    "signature": "c2ln",
}


def authenticated(api: Api) -> Api:
    api.operations.session |= {"authenticated": True, "handle": b"0.NA/88.118", "index": 300}
    return api


def test_a_new_session_is_nobody_s() -> None:
    api = Api()
    answer = api.request("POST", "/api/sessions")
    assert answer.status == 201
    assert answer.json == {"sessionId": "s1", "nonce": NONCE}
    assert answer.headers["location"] == THIS
    assert api.operations.session_calls == [("new", {"address": "192.0.2.1"})]


def test_too_many_sessions_are_refused() -> None:
    api = Api()
    api.operations.session = {"code": 3}
    assert api.request("POST", "/api/sessions").status == 503


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/api/sessions"), ("GET", THIS), ("PUT", THIS), ("POST", THIS), ("DELETE", THIS)],
)
def test_sessions_are_there_over_https_only(method: str, path: str) -> None:
    api = Api()
    assert api.request(method, path, scheme="http").status == 403
    assert not api.operations.session_calls


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize("in_body", [True, False])
def test_answering_the_challenge(method: str, in_body: bool) -> None:
    api = authenticated(Api())
    fields: dict[str, Any] = dict(FIELDS)
    headers = SESSION
    if in_body:
        fields["sessionId"], headers = "s1", {}
    answer = api.send_json(method, THIS, fields, headers=headers)
    assert answer.status == 200
    assert answer.json == {
        "sessionId": "s1",
        "nonce": NONCE,
        "authenticated": True,
        "id": "300:0.NA/88.118",
    }
    ((action, payload),) = api.operations.session_calls
    assert action == "answer"
    assert payload["session_id"] == "s1"
    assert payload["signature"] == b"sig"


def test_a_wrong_answer_is_challenged() -> None:
    api = Api()
    api.operations.session |= {"code": 403}
    answer = api.send_json("PUT", THIS, FIELDS, headers=SESSION)
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith('Handle sessionId="s1"')
    assert answer.json == {"sessionId": "s1", "nonce": NONCE, "error": "Identity not verified"}


@pytest.mark.parametrize("place", ["header", "form", "query"])
def test_an_answer_may_stand_in_the_header_a_form_or_the_query(place: str) -> None:
    api = authenticated(Api())
    fields = FIELDS | {"sessionId": "s1"}
    if place == "header":
        quoted = ", ".join(f'{name}="{text}"' for name, text in fields.items())
        answer = api.request("PUT", THIS, headers={"authorization": f"Handle {quoted}"})
    elif place == "form":
        kind = {"content-type": "application/x-www-form-urlencoded"}
        answer = api.request("PUT", THIS, urlencode(fields).encode(), headers=kind)
    else:
        answer = api.request("POST", f"{THIS}?{urlencode(fields)}")
    assert (answer.status, answer.json["authenticated"]) == (200, True)
    assert api.operations.session_calls[0][1]["handle"] == b"0.NA/88.118"


def test_a_put_without_an_answer_shows_the_session() -> None:
    api = Api()
    answer = api.send_json("PUT", THIS, {}, headers=SESSION)
    assert answer.json == {"sessionId": "s1", "nonce": NONCE, "authenticated": False}


def test_who_asks_without_a_session_is_told_that_he_is_nobody() -> None:
    answer = Api().request("GET", THIS)
    assert (answer.status, answer.json) == (200, {"authenticated": False})


def test_a_session_begun_with_a_password_is_that_user_s() -> None:
    api = authenticated(Api())
    answer = api.request("POST", "/api/sessions", headers=PASSWORD)
    assert answer.status == 201
    assert (answer.json["authenticated"], answer.json["id"]) == (True, "300:0.NA/88.118")
    ((action, payload),) = api.operations.session_calls
    assert (action, payload["authorization"]) == ("new", {"basic": [b"0.NA/88.118", 300, b"pw"]})


def test_a_password_can_be_tried_without_a_session() -> None:
    api = authenticated(Api())
    answer = api.request("GET", THIS, headers=PASSWORD)
    assert answer.json == {"authenticated": True, "id": "300:0.NA/88.118"}
    assert api.operations.session_calls[0][0] == "who"


def test_a_wrong_password_begins_no_session() -> None:
    api = Api()
    api.operations.session |= {"code": 403}
    for method, path in (("POST", "/api/sessions"), ("GET", THIS)):
        assert api.request(method, path, headers=PASSWORD).status == 401


def test_a_new_session_is_not_named_by_who_begins_it() -> None:
    assert Api().request("POST", "/api/sessions", headers=SESSION).status == 400


def test_what_is_no_object_answers_nothing() -> None:
    assert Api().send_json("PUT", THIS, [1], headers=SESSION).status == 400


def test_showing_a_session() -> None:
    api = Api()
    answer = api.request("GET", THIS, headers=SESSION)
    assert answer.json == {"sessionId": "s1", "nonce": NONCE, "authenticated": False}


def test_a_session_that_is_not_there_is_forbidden() -> None:
    api = Api()
    api.operations.session = {"code": 500}
    assert api.request("GET", THIS, headers=SESSION).status == 403
    assert api.request("DELETE", THIS, headers=SESSION).status == 403
    assert api.send_json("PUT", THIS, FIELDS, headers=SESSION).status == 403
    assert api.request("DELETE", THIS).status == 403


def test_a_malformed_log_in_is_challenged() -> None:
    malformed = {"authorization": "Basic !!!"}
    assert Api().request("GET", THIS, headers=malformed).status == 401
    assert Api().request("POST", "/api/sessions", headers=malformed).status == 401


def test_ending_a_session() -> None:
    api = Api()
    api.operations.session = {"code": 1}
    answer = api.request("DELETE", THIS, headers=SESSION)
    assert (answer.status, answer.body) == (204, b"")
    assert api.operations.session_calls[0][1]["session_id"] == "s1"


COOKIE = {"cookie": '__Host-biaoshi-session="s1"'}


def test_a_new_session_sets_a_cookie_for_pages_of_this_origin_alone() -> None:
    cookie = Api().request("POST", "/api/sessions").headers["set-cookie"]
    name, *attributes = cookie.split("; ")
    assert name == '__Host-biaoshi-session="s1"'
    assert set(attributes) == {"Path=/", "Secure", "HttpOnly", "SameSite=Strict"}
    ended = Api().request("DELETE", THIS, headers=COOKIE).headers["set-cookie"]
    assert ended.startswith('__Host-biaoshi-session=""; ')
    assert ended.endswith("; Max-Age=0")


def test_a_session_by_cookie() -> None:
    api = authenticated(Api())
    assert api.request("GET", THIS, headers=COOKIE).json["sessionId"] == "s1"
    assert api.request("GET", "/api/handles/88.118/x", headers=COOKIE).status == 200
    assert api.call.authorization == {"session": "s1"}


@pytest.mark.parametrize(
    "foreign",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_what_a_browser_sends_for_another_page_is_nobody_s(foreign: dict[str, str]) -> None:
    api = authenticated(Api())
    headers = {"host": "node.example", **COOKIE, **foreign}
    api.request("POST", "/api/prefixes/88.119", headers=headers, state=CERTIFIED)
    assert api.call.authorization is None


def test_jsonp_is_nobody_s() -> None:
    api = authenticated(Api())
    target = "/api/handles/88.118/x?callback=f"
    api.request("GET", target, headers=COOKIE, state=CERTIFIED)
    assert api.call.authorization is None


def test_pages_of_this_origin_are_their_user_s() -> None:
    api = authenticated(Api())
    own = {"host": "node.example", "origin": "https://node.example", **COOKIE}
    api.request("DELETE", "/api/handles/88.118/x", headers={**own, "sec-fetch-site": "same-origin"})
    assert api.call.authorization == {"session": "s1"}


def test_a_cookie_of_nobody_reads_what_is_public() -> None:
    api = Api()
    api.request("GET", "/api/handles/88.118/x", headers=COOKIE)
    assert api.call.authorization is None


def test_no_answer_lets_pages_elsewhere_send_credentials() -> None:
    for method in ("GET", "POST", "OPTIONS"):
        headers = Api().request(method, "/api/sessions", headers={"origin": "https://a"}).headers
        assert headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in headers


CERTIFIED = {CERTIFIED_CLIENT: (Reference(b"0.NA/88.118", 300), b"key")}


def test_a_certificate_is_somebody() -> None:
    for headers in ({}, {"authorization": 'Handle clientCert="true"'}):
        api = Api()
        api.request("DELETE", "/api/handles/88.118/x", headers=headers, state=CERTIFIED)
        assert api.call.authorization == {"certificate": [b"0.NA/88.118", 300, b"key"]}


def test_a_header_comes_before_a_certificate() -> None:
    api = Api()
    api.request("DELETE", "/api/handles/88.118/x", headers=SESSION, state=CERTIFIED)
    assert api.call.authorization == {"session": "s1"}


def test_a_certificate_that_is_announced_and_missing_is_challenged() -> None:
    api = Api()
    headers = {"authorization": 'Handle clientCert="true"'}
    answer = api.request("GET", "/api/handles/88.118/x", headers=headers)
    assert (answer.status, answer.body, api.operations.calls) == (401, b"", [])
