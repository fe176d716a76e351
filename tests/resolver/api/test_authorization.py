import base64
import logging
import time
from urllib.parse import unquote_to_bytes

import pytest

from protocol.bodies import CreatedAnswer
from protocol.codes import ResponseCode
from protocol.value import Reference
from resolver.api.authorization import (
    AuthorizationError,
    parse_basic,
    parse_identity,
    parse_parameters,
)
from resolver.link import LinkDown
from resolver.query import Result
from tests.resolver.api.calls import Api, Call, FakeOperations, refused

PATH = "/api/handles/88.118/x"
NEEDED = refused(ResponseCode.AUTHENTICATION_NEEDED)
NONCE = base64.b64encode(b"0123456789abcdef").decode()
CHALLENGE = f'Handle sessionId="s1", nonce="{NONCE}"'
FAILED = f'{CHALLENGE}, error="Identity not verified"'
PASSWORD = 'Basic realm="handle"'


def basic(user: str, password: str) -> dict[str, str]:
    octets = f"{user}:{password}".encode()
    return {"authorization": "Basic " + base64.b64encode(octets).decode()}


def encoded(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


ADMINISTRATOR = basic("300%3A0.NA/88.118", "pass:word")
ANSWER = (
    f'Handle version="0", sessionId="s1", id="300%3A0.NA/88.118", type="HS_SECKEY", '
    f'cnonce="{encoded(b"cn")}", alg="PBKDF2-HMAC-SHA1", signature="{encoded(b"sig")}", '
    f'salt="{encoded(b"salt")}", iterations="10000", length="160"'
)


def test_a_password_goes_along_with_the_operation() -> None:
    api = Api()
    api.request("DELETE", PATH, headers=ADMINISTRATOR)
    assert api.call.authorization == {"basic": [b"0.NA/88.118", 300, b"pass:word"]}


def test_who_says_who_he_is_reads_what_he_may() -> None:
    api = Api()
    api.request("GET", PATH, headers=ADMINISTRATOR)
    assert api.call.flags == 0


def test_who_is_nobody_is_challenged() -> None:
    api = Api(FakeOperations(NEEDED))
    answer = api.request("DELETE", PATH)
    assert api.call.authorization is None
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == CHALLENGE
    assert answer.json == {"responseCode": 402, "handle": "88.118/x"}
    assert api.operations.session_calls == [("new", {"address": "192.0.2.1"})]


@pytest.mark.parametrize("code", [402, 403, 404, 405, 406, 500])
def test_wrong_credentials_are_challenged_without_json(code: int) -> None:
    api = Api(FakeOperations(refused(code)))
    answer = api.request("DELETE", PATH, headers=ADMINISTRATOR)
    assert answer.status == 401
    assert answer.challenges == (PASSWORD, FAILED)
    assert answer.body == b""


def test_who_may_not_is_told_so() -> None:
    answer = Api(FakeOperations(refused(400, b"no"))).request("DELETE", PATH, headers=ADMINISTRATOR)
    assert (answer.status, answer.json["responseCode"]) == (403, 400)


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic !!!",
        "Basic " + encoded(b"no colon"),
        "Basic " + encoded(b"x%3A0.NA/a:p"),
        "Basic " + encoded(b"99999999999%3A0.NA/a:p"),
        "Basic " + encoded(b"300%3A:p"),
        "Bearer abc",
        'Handle sessionId="s1", signature',
        'Handle sessionId="s1", id="x", signature="!"',
        'Handle sessionId="s1", id="300:0.NA/a", signature="", iterations="99999999999"',
    ],
)
def test_a_malformed_header_is_challenged_and_nothing_is_done(header: str) -> None:
    api = Api()
    answer = api.request("DELETE", PATH, headers={"authorization": header})
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == FAILED
    assert answer.body == b""
    assert not api.operations.calls


def test_an_answer_to_a_challenge_is_checked_and_then_counts() -> None:
    api = Api()
    api.operations.session |= {"authenticated": True, "handle": b"0.NA/88.118", "index": 300}
    api.request("DELETE", PATH, headers={"authorization": ANSWER})
    assert api.call.authorization == {"session": "s1"}
    assert api.operations.session_calls == [
        (
            "answer",
            {
                "session_id": "s1",
                "handle": b"0.NA/88.118",
                "index": 300,
                "type": b"HS_SECKEY",
                "algorithm": "PBKDF2-HMAC-SHA1",
                "signature": b"sig",
                "client_nonce": b"cn",
                "salt": b"salt",
                "rounds": 10_000,
                "key_bits": 160,
                "address": "192.0.2.1",
                "transport": 3,
            },
        )
    ]


def test_a_wrong_answer_gets_the_next_nonce_of_its_session() -> None:
    api = Api()
    api.operations.session |= {"code": 403, "nonce": b"another"}
    answer = api.request("DELETE", PATH, headers={"authorization": ANSWER})
    assert answer.status == 401
    assert f'nonce="{encoded(b"another")}"' in answer.headers["www-authenticate"]
    assert [action for action, _ in api.operations.session_calls] == ["answer"]
    assert not api.operations.calls


def test_an_answer_to_a_session_that_has_gone_gets_a_new_one() -> None:
    api = Api()
    api.operations.session = {"code": 500}
    answer = api.request("DELETE", PATH, headers={"authorization": ANSWER})
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Handle"
    assert [action for action, _ in api.operations.session_calls] == ["answer", "new"]


def test_a_session_is_enough_afterwards() -> None:
    api = Api()
    api.request("DELETE", PATH, headers={"authorization": 'Handle version="0", sessionId="s1"'})
    assert api.call.authorization == {"session": "s1"}
    assert not api.operations.session_calls


def test_on_plain_http_reads_are_answered_writes_refused_and_one_warning_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def decide(call: Call) -> Result:
        assert call.authorization is None
        return api.operations.result if call.opcode == 1 else NEEDED

    api = Api()
    api.operations.decide = decide
    with caplog.at_level(logging.WARNING):
        read = api.request("GET", PATH, headers=ADMINISTRATOR, scheme="http")
        write = api.request("DELETE", PATH, headers=ADMINISTRATOR, scheme="http")
    assert read.status == 200
    assert write.status == 401
    assert write.json["responseCode"] == 402
    assert "https" in write.json["message"]
    assert write.headers["www-authenticate"] == "Handle"
    assert not api.operations.session_calls
    assert len([each for each in caplog.records if "plain HTTP" in each.message]) == 1


@pytest.mark.parametrize(
    ("client", "taken"), [("127.0.0.1", True), ("::1", True), ("192.0.2.1", False)]
)
def test_credentials_in_clear_can_be_allowed_on_loopback(client: str, taken: bool) -> None:
    api = Api(plain_on_loopback=True)
    api.request("DELETE", PATH, headers=ADMINISTRATOR, scheme="http", client=client)
    assert (api.call.authorization is not None) == taken


def test_without_a_registrar_the_refusal_has_no_nonce() -> None:
    class Down(FakeOperations):
        async def rest_session(self, action: str, payload: dict[str, object]) -> dict[str, object]:
            raise LinkDown("the registrar does not answer")

    answer = Api(Down(NEEDED)).request("DELETE", PATH)
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Handle")
    answer = Api(Down(NEEDED)).request("DELETE", PATH, headers={"authorization": ANSWER})
    assert (answer.status, answer.json["responseCode"]) == (503, 3)


@pytest.mark.parametrize(
    ("text", "identity"),
    [
        ("300%3A0.NA/88.118", Reference(b"0.NA/88.118", 300)),
        ("300:0.NA/88.118", Reference(b"0.NA/88.118", 300)),
        ("0%3Aa/b%3Ac", Reference(b"a/b:c", 0)),
        ("1%3A88%2F%E6%A0%87", Reference("88/标".encode(), 1)),
        ("0.NA/88.118", Reference(b"0.NA/88.118", 0)),
    ],
)
def test_identities(text: str, identity: Reference) -> None:
    if ":" in text:
        assert parse_identity(unquote_to_bytes(text)) == identity
        text = text.replace(":", "%3A")
    user = [identity.handle, identity.index, b"pw"]
    assert parse_basic(encoded(text.encode() + b":pw")) == user


@pytest.mark.parametrize(
    ("headers", "asks"),
    [
        ({}, True),
        (ADMINISTRATOR, True),
        ({"x-requested-with": "XMLHttpRequest"}, False),
        ({"authorization": 'Handle sessionId="s1"'}, False),
    ],
)
def test_libraries_that_wait_for_a_challenge_are_asked_for_a_password(
    headers: dict[str, str], asks: bool
) -> None:
    answer = Api(FakeOperations(NEEDED)).request("DELETE", PATH, headers=headers)
    assert (answer.challenges[0] == PASSWORD) == asks
    assert answer.challenges[-1].startswith("Handle sessionId=")


def test_on_plain_http_nobody_is_asked_for_a_password() -> None:
    answer = Api(FakeOperations(NEEDED)).request("DELETE", PATH, scheme="http")
    assert answer.challenges == ("Handle",)


FOREIGN = {"host": "node.example", "origin": "https://evil.example"}


@pytest.mark.parametrize(
    ("kind", "counts"),
    [("", False), ("text/plain", False), ("Text/Plain; x=y", False), ("application/json", True)],
)
def test_a_password_that_a_page_elsewhere_has_sent_unasked_is_nobody_s(
    kind: str, counts: bool
) -> None:
    api = Api()
    headers = {**ADMINISTRATOR, **FOREIGN, **({"content-type": kind} if kind else {})}
    api.request("POST", "/api/prefixes/88.119", b"{}" if counts else b"", headers=headers)
    assert (api.call.authorization is not None) == counts


def test_a_password_in_a_script_s_address_elsewhere_reads_what_is_public() -> None:
    api = Api()
    headers = {**ADMINISTRATOR, "sec-fetch-site": "cross-site"}
    api.request("GET", f"{PATH}?callback=f", headers=headers)
    assert api.call.authorization is None


def test_scripts_of_other_origins_may_send_a_password_themselves() -> None:
    for method in ("GET", "DELETE"):
        api = Api()
        api.request(method, PATH, headers={**ADMINISTRATOR, **FOREIGN})
        assert api.call.authorization is not None


def test_names_of_fields_may_be_written_small() -> None:
    api = Api()
    api.request("DELETE", PATH, headers={"authorization": 'Handle SESSIONID="s1"'})
    assert api.call.authorization == {"session": "s1"}


def test_another_version_of_the_scheme_is_challenged() -> None:
    api = Api()
    headers = {"authorization": 'Handle version="1", sessionId="s1"'}
    assert api.request("DELETE", PATH, headers=headers).status == 401
    assert not api.operations.calls


def test_a_password_may_hold_any_octets() -> None:
    octets = base64.b64encode(b"1%3Aa/b:\xff\x00:x").decode()
    assert parse_basic(octets) == [b"a/b", 1, b"\xff\x00:x"]


def test_parameters_of_a_header() -> None:
    text = r'a="1", b = "x, \"y\"" ,c=plain, d=""'
    assert parse_parameters(text) == {"a": "1", "b": 'x, "y"', "c": "plain", "d": ""}
    assert parse_parameters("") == {}
    with pytest.raises(AuthorizationError):
        parse_parameters('a="unfinished')


def test_a_creation_over_a_session_is_a_creation() -> None:
    created = Result(ResponseCode.SUCCESS, CreatedAnswer(b"88.118/x"), created=True)
    api = Api(FakeOperations(created))
    headers = {"authorization": 'Handle sessionId="s1"'}
    assert api.send_json("PUT", PATH, [], headers=headers).status == 201


@pytest.mark.parametrize("text", ["a=" + " " * 15_000 + '"', "a" * 15_000, 'a="' + "\\" * 15_001])
def test_a_header_that_fits_nothing_is_read_once(text: str) -> None:
    """Tried from every place in it, one would hold a worker for seconds."""
    before_s = time.process_time()
    with pytest.raises(AuthorizationError):
        parse_parameters(text)
    assert time.process_time() - before_s < 0.5


def test_too_many_log_ins_at_once_are_not_failed_ones() -> None:
    api = Api()
    api.operations.session = {"code": ResponseCode.SERVER_TOO_BUSY, "message": b"later"}
    answer = api.request("DELETE", PATH, headers={"authorization": ANSWER})
    assert answer.status == 503
    assert answer.json["message"] == "later"
    assert not api.operations.calls
