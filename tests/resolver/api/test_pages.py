import pytest

from protocol.bodies import ErrorAnswer, ResolutionRequest, ValuesRequest
from protocol.codes import MessageFlag, ResponseCode
from protocol.value import HandleValue
from resolver.api.pages import first_url
from resolver.config import NodeRole
from resolver.query import Result
from tests.resolver.api.calls import Api, FakeOperations, refused

BROWSER = {"accept": "text/html,application/xhtml+xml"}
EVIL = "<script>alert(1)</script>"


def found(*values: HandleValue) -> FakeOperations:
    return FakeOperations(Result(ResponseCode.SUCCESS, ValuesRequest(b"88/x", values)))


def test_a_handle_leads_to_its_first_url() -> None:
    values = HandleValue(2, b"EMAIL", b"a@b"), HandleValue(3, b"url", b"https://a.example/1")
    api = Api(found(*values, HandleValue(1, b"URL", b"https://a.example/2")))
    answer = api.request("GET", "/88.118.5/X1?noise", headers=BROWSER)
    assert answer.status == 302
    assert answer.headers["location"] == "https://a.example/1"
    assert api.call.body == ResolutionRequest(b"88.118.5/X1")
    assert api.call.flags == MessageFlag.PUBLIC_ONLY


def test_a_redirect_can_be_declined() -> None:
    api = Api(found(HandleValue(1, b"URL", b"https://a.example/")))
    answer = api.request("GET", "/88/x?noredirect", headers=BROWSER)
    assert answer.status == 200
    assert b"https://a.example/" in answer.body


def test_a_page_shows_a_record_escaped() -> None:
    api = Api(
        found(
            HandleValue(1, EVIL.encode(), EVIL.encode()),
            HandleValue(2, b"BIN", b"\xff\x00\x01"),
            HandleValue(3, b"TEXT", "产品".encode()),
        )
    )
    answer = api.request("GET", f"/88/{EVIL}".replace("<", "%3C").replace(">", "%3E"))
    page = answer.body.decode()
    assert answer.status == 200
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "3 octets" in page
    assert "产品" in page
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_an_unknown_handle_is_a_readable_404() -> None:
    api = Api(FakeOperations(refused(ResponseCode.HANDLE_NOT_FOUND)))
    answer = api.request("GET", "/88/%3Cb%3E", headers=BROWSER)
    assert answer.status == 404
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "<code>88/&lt;b&gt;</code>" in answer.body.decode()


def test_a_refusal_is_told_with_its_words() -> None:
    api = Api(FakeOperations(Result(ResponseCode.SERVER_TOO_BUSY, ErrorAnswer(EVIL.encode()))))
    answer = api.request("GET", "/88/x")
    assert answer.status == 503
    assert "response code 3" in answer.body.decode()
    assert "<script" not in answer.body.decode()


@pytest.mark.parametrize(
    ("data", "target"),
    [
        (b"https://example.org/a?b=c#d", "https://example.org/a?b=c#d"),
        (b"HTTP://example.org", "HTTP://example.org"),
        ("https://例.example/标".encode(), "https://%E4%BE%8B.example/%E6%A0%87"),
        (b'https://example.org/"<>', "https://example.org/%22%3C%3E"),
        (b"javascript:alert(1)", None),
        (b"data:text/html,x", None),
        (b"https://a.example/\r\nSet-Cookie: a=b", None),
        (b"https://a.example/ x", None),
        (b"//evil.example", None),
        (b"", None),
    ],
)
def test_only_harmless_addresses_are_led_to(data: bytes, target: str | None) -> None:
    assert first_url([HandleValue(1, b"URL", data)]) == target


def test_the_front_page_for_people_and_for_machines() -> None:
    api = Api()
    api.operations.state |= {"prefixes": [b"0.NA/88", EVIL.encode()], "read_only": "disk full"}
    page = api.request("GET", "/", headers=BROWSER).body.decode()
    assert "0.NA/88" in page
    assert "disk full" in page
    assert "<script" not in page
    document = api.request("GET", "/").json
    assert document["role"] == "top"
    assert document["prefixes"][0] == "0.NA/88"
    assert document["ready"] is True


def test_what_cannot_be_done_on_a_page_is_told_on_a_page() -> None:
    answer = Api().request("PUT", "/88/x")
    assert answer.status == 405
    assert answer.headers["content-type"].startswith("text/html")


def test_a_recursive_nodes_front_page_speaks_of_no_registrations() -> None:
    api = Api(role=NodeRole.RECURSIVE)
    page = api.request("GET", "/", headers=BROWSER).body.decode()
    assert "recursive" in page
    assert "registrations" not in page
