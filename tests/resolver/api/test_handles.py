import json
from typing import Any
from urllib.parse import unquote

import pytest

from protocol.bodies import (
    ChallengeAnswer,
    CreatedAnswer,
    Empty,
    HandleListAnswer,
    HandleRequest,
    ReferralAnswer,
    RemoveValuesRequest,
    ResolutionRequest,
    ValuesRequest,
)
from protocol.codes import MessageFlag, OpCode, ResponseCode
from protocol.types.hs_site import TRANSPORT_HTTP, TRANSPORT_HTTPS
from resolver.query import Result
from resolver.rest_operations import Listing
from tests.resolver.api.calls import URL, Api, Call, FakeOperations, refused

VALUE = {"index": 1, "type": "URL", "data": {"format": "string", "value": "https://example.org/"}}
SUCCESS = Result(ResponseCode.SUCCESS, Empty())
CREATED = Result(ResponseCode.SUCCESS, CreatedAnswer(b"88.118/x"), created=True)


def test_reading_a_handle() -> None:
    api = Api()
    answer = api.request("GET", "/api/handles/88.118/x", scheme="http")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json;charset=UTF-8"
    assert answer.json == {
        "responseCode": 1,
        "handle": "88.118/x",
        "values": [
            {
                "index": 1,
                "type": "URL",
                "data": {"format": "string", "value": "https://example.org/x"},
                "ttl": 86400,
                "timestamp": "2026-11-18T11:06:40Z",
            }
        ],
    }
    assert api.call.body == ResolutionRequest(b"88.118/x")
    assert api.call.flags == MessageFlag.PUBLIC_ONLY
    assert api.call.peer == ("192.0.2.1", 50_000, TRANSPORT_HTTP)


@pytest.mark.parametrize(
    ("path", "handle"),
    [
        ("88.118/a/b", b"88.118/a/b"),
        ("88.118%2Fa%2Fb", b"88.118/a/b"),
        ("88.118/a%3Fb%23c%25", b"88.118/a?b#c%"),
        ("88.118/%E6%A0%87%E8%AF%86", "88.118/标识".encode()),
        ("88.118/%ff%fe", b"88.118/\xff\xfe"),
        ("88.118/a+b%20c", b"88.118/a+b c"),
        ("88.118/a//b/", b"88.118/a//b/"),
        ("88.118", b"88.118"),
        ("88.118/x%252F", b"88.118/x%2F"),
    ],
)
def test_the_handle_is_the_path_decoded_once(path: str, handle: bytes) -> None:
    api = Api()
    api.request("GET", f"/api/handles/{path}")
    assert api.call.body == ResolutionRequest(handle)


def test_a_handle_that_is_no_utf_8_is_shown_all_the_same() -> None:
    answer = Api().request("GET", "/api/handles/88.118/%ff")
    assert answer.json["handle"] == "88.118/\\xff"


def test_a_handle_too_long_is_refused() -> None:
    answer = Api().request("GET", "/api/handles/" + "x" * 2_049)
    assert (answer.status, answer.json["responseCode"]) == (400, 4)


def test_a_query_selects() -> None:
    api = Api()
    api.request(
        "GET", "/api/handles/88.118/x?type=URL&type=HS_ADMIN&index=1&index=300&auth&cert=true"
    )
    assert api.call.body == ResolutionRequest(b"88.118/x", (1, 300), (b"URL", b"HS_ADMIN"))
    expected = MessageFlag.AUTHORITATIVE | MessageFlag.CERTIFY | MessageFlag.PUBLIC_ONLY
    assert api.call.flags == expected


def test_a_body_selects_as_a_query_does() -> None:
    api = Api()
    document = {"type": ["URL", "EMAIL"], "index": 3, "auth": True, "publicOnly": False}
    api.send_json("POST", "/api/handles/88.118/x", document)
    assert api.call.body == ResolutionRequest(b"88.118/x", (3,), (b"URL", b"EMAIL"))
    assert api.call.flags == MessageFlag.AUTHORITATIVE


@pytest.mark.parametrize("query", ["index=a", "index=-1", "index=2147483648", "auth=perhaps"])
def test_a_parameter_that_makes_no_sense_is_named(query: str) -> None:
    api = Api()
    answer = api.request("GET", f"/api/handles/88.118/x?{query}")
    assert answer.status == 400
    assert query.split("=")[1] in answer.json["message"]
    assert not api.operations.calls


def test_who_asks_for_more_than_the_public_values_may_have_to_log_in() -> None:
    api = Api(FakeOperations(Result(ResponseCode.AUTHENTICATION_NEEDED, ChallengeAnswer(b"n"))))
    answer = api.request("GET", "/api/handles/88.118/x?publicOnly=false")
    assert api.call.flags == 0
    assert answer.status == 401
    assert answer.json == {"responseCode": 402, "handle": "88.118/x"}


def test_no_such_value_is_no_error_when_reading() -> None:
    api = Api(FakeOperations(refused(ResponseCode.VALUES_NOT_FOUND)))
    answer = api.request("GET", "/api/handles/88.118/x?type=EMAIL")
    assert answer.status == 200
    assert answer.json == {"responseCode": 200, "handle": "88.118/x", "values": []}


def test_a_referral_is_shown() -> None:
    result = Result(ResponseCode.PREFIX_REFERRAL, ReferralAnswer(b"", (URL,)))
    answer = Api(FakeOperations(result)).request("GET", "/api/handles/88.118/x")
    assert answer.status == 300
    assert [each["type"] for each in answer.json["values"]] == ["URL"]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (100, 404),
        (101, 409),
        (201, 409),
        (4, 400),
        (102, 400),
        (202, 400),
        (301, 400),
        (200, 400),
        (400, 403),
        (401, 403),
        (403, 403),
        (404, 403),
        (5, 501),
        (3, 503),
        (7, 503),
        (2, 500),
        (6, 500),
        (300, 500),
    ],
)
def test_every_response_code_has_its_status(code: int, status: int) -> None:
    api = Api(FakeOperations(refused(code, b"words")))
    answer = api.request("DELETE", "/api/handles/88.118/x")
    assert answer.status == status
    assert answer.json == {"responseCode": code, "handle": "88.118/x", "message": "words"}


def test_pretty_json_has_lines() -> None:
    answer = Api().request("GET", "/api/handles/88.118/x?pretty")
    assert answer.body.startswith(b'{\n  "responseCode": 1,')


def test_jsonp_calls_a_function_of_harmless_name() -> None:
    api = Api()
    answer = api.request("GET", "/api/handles/88.118/x?callback=my.fn_1$(alert(1))")
    assert answer.body.startswith(b'my.fn_1$_alert_1__({"responseCode":1,')
    assert answer.body.endswith(b");")
    assert answer.headers["content-type"] == "application/javascript;charset=UTF-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    digit = api.request("GET", "/api/handles/88.118/x?callback=1x")
    assert digit.body.startswith(b"_x({")
    plain = api.request("GET", "/api/handles/88.118/x?callback=")
    assert plain.json["responseCode"] == 1


def test_scripts_of_any_origin_may_read() -> None:
    api = Api()
    assert api.request("GET", "/api/handles/x").headers["access-control-allow-origin"] == "*"
    answer = api.request("OPTIONS", "/api/handles/88.118/x")
    assert answer.status == 204
    assert "PUT" in answer.headers["access-control-allow-methods"]
    assert "Authorization" in answer.headers["access-control-allow-headers"]


@pytest.mark.parametrize("document", [VALUE, [VALUE], {"values": [VALUE]}])
def test_creating_a_handle(document: Any) -> None:
    api = Api(FakeOperations(CREATED))
    answer = api.send_json("PUT", "/api/handles/88.118/x", document)
    assert answer.status == 201
    assert answer.json == {"responseCode": 1, "handle": "88.118/x"}
    assert api.call.opcode == OpCode.CREATE_HANDLE
    assert api.call.flags == MessageFlag.OVERWRITE
    assert isinstance(api.call.body, ValuesRequest)
    assert api.call.body.handle == b"88.118/x"
    assert [each.data for each in api.call.body.values] == [b"https://example.org/"]
    assert api.call.peer.transport == TRANSPORT_HTTPS


def test_replacing_a_handle_is_no_creation() -> None:
    api = Api(FakeOperations(Result(ResponseCode.SUCCESS, CreatedAnswer(b"88.118/x"))))
    assert api.send_json("PUT", "/api/handles/88.118/x", VALUE).status == 200


def test_overwriting_can_be_forbidden() -> None:
    api = Api(FakeOperations(refused(ResponseCode.HANDLE_ALREADY_EXISTS)))
    answer = api.send_json("PUT", "/api/handles/88.118/x?overwrite=false", VALUE)
    assert api.call.flags == 0
    assert answer.status == 409


def test_minting_a_suffix_tells_the_handle() -> None:
    minted = Result(ResponseCode.SUCCESS, CreatedAnswer(b"88.118/stem-4711"), created=True)
    api = Api(FakeOperations(minted))
    answer = api.send_json("PUT", "/api/handles/88.118/stem-?mintNewSuffix=true", VALUE)
    assert api.call.flags == MessageFlag.OVERWRITE | MessageFlag.MINT_SUFFIX
    assert answer.json["handle"] == "88.118/stem-4711"


@pytest.mark.parametrize("query", ["index=1", "index=various"])
def test_values_are_added_or_replaced_by_index(query: str) -> None:
    api = Api(FakeOperations(SUCCESS))
    answer = api.send_json("PUT", f"/api/handles/88.118/x?{query}", [VALUE])
    assert answer.status == 200
    assert api.call.opcode == OpCode.ADD_VALUE
    assert api.call.flags == MessageFlag.OVERWRITE


def test_indexes_have_to_be_those_of_the_body() -> None:
    api = Api()
    answer = api.send_json("PUT", "/api/handles/88.118/x?index=1&index=2", [VALUE])
    assert answer.status == 400
    assert answer.json["responseCode"] == 4
    assert "[1, 2]" in answer.json["message"]
    assert not api.operations.calls


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (b"{", 4, "not JSON"),
        (b"", 4, "not JSON"),
        (b"\xff\xfe", 4, "not JSON"),
        (b"[" * 100_000, 4, "nested too deeply"),
        (json.dumps([VALUE, {"index": 0}]).encode(), 202, "values[1]"),
        (b'"text"', 202, "values"),
    ],
)
def test_a_bad_body_is_refused_with_its_place(body: bytes, code: int, words: str) -> None:
    api = Api()
    headers = {"content-type": "application/json; charset=utf-8"}
    answer = api.request("PUT", "/api/handles/88.118/x", body, headers=headers)
    assert answer.status == 400
    assert answer.json["responseCode"] == code
    assert words in answer.json["message"]
    assert not api.operations.calls


def test_a_body_has_to_say_that_it_is_json() -> None:
    answer = Api().request("PUT", "/api/handles/88.118/x", json.dumps(VALUE).encode())
    assert answer.status == 400
    assert "application/json" in answer.json["message"]


def test_a_record_no_client_could_read_is_refused() -> None:
    api = Api()
    long = {**VALUE, "data": "x" * 262_144}
    answer = api.send_json("PUT", "/api/handles/88.118/x", long)
    assert answer.status == 400
    assert not api.operations.calls


def test_deleting_a_handle() -> None:
    api = Api(FakeOperations(SUCCESS))
    answer = api.request("DELETE", "/api/handles/88.118/x")
    assert (answer.status, answer.json) == (200, {"responseCode": 1, "handle": "88.118/x"})
    assert api.call.opcode == OpCode.DELETE_HANDLE
    assert api.call.body == HandleRequest(b"88.118/x")


def test_deleting_values() -> None:
    api = Api(FakeOperations(SUCCESS))
    api.request("DELETE", "/api/handles/88.118/x?index=3&index=4")
    assert api.call.opcode == OpCode.REMOVE_VALUE
    assert api.call.body == RemoveValuesRequest(b"88.118/x", (3, 4))


@pytest.mark.parametrize("prefix", ["88.118", "0.NA/88.118", "0.na%2F88.118"])
def test_listing_all_handles(prefix: str) -> None:
    handles = HandleListAnswer((b"88.118/A", b"88.118/B"))
    api = Api(FakeOperations(Result(ResponseCode.SUCCESS, handles)))
    answer = api.request("GET", f"/api/handles?prefix={prefix}")
    assert answer.json["totalCount"] == "2"
    assert answer.json["handles"] == ["88.118/A", "88.118/B"]
    assert answer.json["responseCode"] == 1
    assert answer.json["prefix"] == unquote(prefix)
    assert isinstance(api.call.body, HandleRequest)
    assert api.call.body.handle.lower() == b"0.na/88.118"


def test_listing_a_page() -> None:
    api = Api()
    answer = api.request("GET", "/api/handles?prefix=88.118&page=2&pageSize=3")
    assert api.operations.pages == [(b"0.NA/88.118", 2, 3)]
    assert answer.json == {
        "responseCode": 1,
        "prefix": "88.118",
        "totalCount": "7",
        "page": 2,
        "pageSize": 3,
        "handles": ["88.118/A", "88.118/B"],
    }


def test_a_list_may_be_refused() -> None:
    api = Api(FakeOperations(refused(ResponseCode.AUTHENTICATION_NEEDED)))
    assert api.request("GET", "/api/handles?prefix=88.118").status == 401
    api.operations.listing = Listing(ResponseCode.INVALID_ADMIN, message=b"not you")
    answer = api.request("GET", "/api/handles?prefix=88.118&page=0")
    assert (answer.status, answer.json["message"]) == (403, "not you")


@pytest.mark.parametrize(
    ("query", "code"),
    [("", 102), ("/", 102), ("?prefix=", 102), ("?prefix=x&page=x", 4), ("?prefix=x&page=", 4)],
)
def test_a_list_needs_a_prefix_and_a_page_that_can_be(query: str, code: int) -> None:
    answer = Api().request("GET", f"/api/handles{query}")
    assert (answer.status, answer.json["responseCode"]) == (400, code)


def test_a_page_of_no_handles_counts_them() -> None:
    answer = Api().request("GET", "/api/handles?prefix=88.118&page=0&pageSize=0")
    assert answer.json["totalCount"] == "7"
    assert answer.json["handles"] == []
    assert "next" not in answer.json


@pytest.mark.parametrize("query", ["page=-1&pageSize=-1", "page=-1&pageSize=10", "pageSize=-1"])
def test_a_negative_page_is_all_of_the_list(query: str) -> None:
    handles = HandleListAnswer((b"88.118/A", b"88.118/B"))
    api = Api(FakeOperations(Result(ResponseCode.SUCCESS, handles)))
    answer = api.request("GET", f"/api/handles?prefix=88.118&{query}")
    assert (answer.json["totalCount"], "page" in answer.json) == ("2", False)
    assert not api.operations.pages


def test_a_list_can_be_asked_for_with_post() -> None:
    api = Api()
    answer = api.send_json("POST", "/api/handles", {"prefix": "88.118", "page": 0, "pageSize": 2})
    assert answer.json["handles"] == ["88.118/A", "88.118/B"]
    assert api.request("POST", "/api/handles/?prefix=88.118&page=0").status == 200


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("", b""),
        ("application/json", b""),
        ("application/json;charset=UTF-8", b'{"index": "3"}'),
        ("application/x-www-form-urlencoded", b"index=3"),
        ("text/plain", b"whatever"),
    ],
)
def test_a_post_reads_with_or_without_a_body(kind: str, body: bytes) -> None:
    api = Api()
    headers = {"content-type": kind} if kind else {}
    path = "/api/handles/88.118/x?type=URL"
    assert api.request("POST", path, body, headers=headers).status == 200
    indexes = (3,) if b"3" in body else ()
    assert api.call.body == ResolutionRequest(b"88.118/x", indexes, (b"URL",))


def test_do_not_refer_is_asked_of_the_node() -> None:
    api = Api()
    api.request("GET", "/api/handles/88.118/x?doNotRefer")
    assert api.call.flags & MessageFlag.DO_NOT_REFER


def test_the_record_of_another_handle_is_refused() -> None:
    api = Api(FakeOperations(Result(1, CreatedAnswer(b"88.118/x"))))
    record = {"handle": "88.118/y", "values": [VALUE]}
    answer = api.send_json("PUT", "/api/handles/88.118/x", record)
    assert (answer.status, answer.json["responseCode"]) == (400, 4)
    assert api.operations.calls == []
    answer = api.send_json("PUT", "/api/handles/88.118/x", record | {"handle": "88.118/X"})
    assert answer.status == 200


def test_a_referral_names_its_handle_as_clients_read_it() -> None:
    api = Api(FakeOperations(Result(302, ReferralAnswer(b"0.SERV/x", ()))))
    answer = api.request("GET", "/api/handles/88.119/x")
    assert (answer.status, answer.json["referralHandle"]) == (300, "0.SERV/x")
    assert "values" not in answer.json


def test_scripts_may_send_the_headers_that_handle_net_allows() -> None:
    allowed = Api().request("OPTIONS", "/api/handles/x").headers["access-control-allow-headers"]
    for name in ("X-Requested-With", "Authorization", "Origin", "Accept", "Content-Type"):
        assert name in allowed.split(", ")


def test_a_method_that_is_not_there_is_told_in_json() -> None:
    answer = Api().request("PATCH", "/api/handles/88.118/x")
    assert (answer.status, answer.json["responseCode"]) == (405, 4)


def test_a_path_that_is_not_there_is_told_in_json() -> None:
    answer = Api().request("GET", "/api/handle/88.118/x")
    assert (answer.status, answer.json["responseCode"]) == (404, 4)


def test_our_own_mistake_shows_no_traceback() -> None:
    def mistake(call: Call) -> Result:
        raise RuntimeError("our mistake")

    api = Api()
    api.operations.decide = mistake
    answer = api.request("GET", "/api/handles/88.118/x")
    assert (answer.status, answer.json["responseCode"]) == (500, 2)
    assert b"our mistake" not in answer.body


def test_head_is_as_get() -> None:
    assert Api().request("HEAD", "/api/handles/88.118/x").status == 200


def test_a_route_written_with_escapes_is_no_such_path() -> None:
    """It matched its route decoded, then an assertion failed: a 500 and a traceback in the log."""
    answer = Api().request("GET", "/api/%68andles/88.118/x", scheme="http")
    assert answer.status == 404
    assert "/api/handles/" in answer.json["message"]


def test_a_page_that_follows_a_handle() -> None:
    api = Api()
    api.operations.listing = Listing(1, (b"88.118/B", b"88.118/C"), 7, next=b"88.118/C")
    answer = api.request("GET", "/api/handles?prefix=88.118&after=88.118%2fA&pageSize=2")
    assert api.operations.afters == [b"88.118/A"]
    assert (answer.json["next"], answer.json["totalCount"]) == ("88.118/C", "7")
    assert "page" not in answer.json


def test_an_empty_page_among_revoked_handles_says_what_to_go_on_after() -> None:
    api = Api()
    api.operations.listing = Listing(1, (), 7, next=b"88.118/R")
    first = api.request("GET", "/api/handles?prefix=88.118&after=88.118%2f&pageSize=2")
    assert api.operations.afters == [b"88.118/"]
    assert (first.json["handles"], first.json["next"]) == ([], "88.118/R")
    api.operations.listing = Listing(1, (b"88.118/Z",), 7)
    last = api.request("GET", "/api/handles?prefix=88.118&after=88.118%2fR&pageSize=2")
    assert (last.json["handles"], "next" in last.json) == (["88.118/Z"], False)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("page=0&after=88.118/A", "do not go together"),
        ("after=88.119/A", "no handle under 0.NA/88.118"),
        ("after=88.118", "no handle under"),
        ("after=88.118/" + "x" * 2_048, "no handle under"),
    ],
)
def test_a_page_that_follows_nothing(query: str, words: str) -> None:
    api = Api()
    answer = api.request("GET", f"/api/handles?prefix=88.118&{query}")
    assert (answer.status, words in answer.json["message"]) == (400, True), answer.json
    assert api.operations.pages == []


@pytest.mark.parametrize("path", ["/api/handles/88.118/x", "/api/site"])
def test_pretty_is_true_or_false(path: str) -> None:
    assert Api().request("GET", f"{path}?pretty=perhaps").status == 400
