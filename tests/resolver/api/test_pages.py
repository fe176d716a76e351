import itertools

import pytest

from protocol.bodies import ErrorAnswer, ResolutionRequest, ValuesRequest
from protocol.codes import MessageFlag, ResponseCode
from protocol.value import HandleValue
from resolver.config import NodeRole
from resolver.query import Result
from tests.resolver.api.calls import Api, Call, FakeOperations, refused

BROWSER = {"accept": "text/html,application/xhtml+xml"}
CHINESE = {**BROWSER, "accept-language": "zh-CN,zh;q=0.9,en;q=0.8"}
JSON = {"accept": "application/json"}
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


def test_a_form_leads_to_the_handles_own_page() -> None:
    answer = Api().request("GET", "/?handle=88/%E6%A0%87+1", headers=BROWSER)
    assert (answer.status, answer.headers["location"]) == (303, "/88/%E6%A0%87%201")


@pytest.mark.parametrize(
    ("handle", "target"),
    [
        ("//evil.example/x", "/evil.example/x"),
        ("/%5Cevil.example", "/%5Cevil.example"),
        ("hdl:/%2Fevil.example", "/%2F%2Fevil.example"),
        ("%5Cevil.example", "/%5Cevil.example"),
        ("88/x%0D%0Aa:b", "/88/x%0D%0Aa:b"),
    ],
)
def test_the_form_leads_nowhere_else(handle: str, target: str) -> None:
    answer = Api().request("GET", f"/?handle={handle}", headers=BROWSER)
    assert answer.headers["location"] == target


# Values asked for


def several() -> Api:
    return Api(
        found(
            HandleValue(1, b"URL", b"https://a.example/1"),
            HandleValue(2, b"URL", b"https://a.example/2"),
            HandleValue(3, b"EMAIL", b"a@b.example"),
        )
    )


@pytest.mark.parametrize(
    ("query", "target"),
    [
        ("", "https://a.example/1"),
        ("?index=2", "https://a.example/2"),
        ("?type=URL", "https://a.example/1"),
        ("?type=url&index=3", "https://a.example/1"),
        ("?urlappend=%3Fa%3D1", "https://a.example/1?a=1"),
        ("?noredirect=false", "https://a.example/1"),
    ],
)
def test_which_url_is_led_to(query: str, target: str) -> None:
    answer = several().request("GET", "/88/x" + query, headers=BROWSER)
    assert (answer.status, answer.headers["location"]) == (302, target)
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["vary"] == "Accept, Accept-Language"


def test_only_the_values_asked_for_are_shown() -> None:
    page = several().request("GET", "/88/x?type=EMAIL", headers=BROWSER)
    assert page.status == 200
    assert b"a@b.example" in page.body
    assert b"https://a.example" not in page.body
    nothing = several().request("GET", "/88/x?type=PHONE", headers=BROWSER)
    assert nothing.status == 200
    assert b"nothing to show" in nothing.body


def test_asking_the_primary_for_a_signed_answer() -> None:
    api = several()
    api.request("GET", "/88/x?auth&cert=true", headers=BROWSER)
    flags = MessageFlag.PUBLIC_ONLY | MessageFlag.AUTHORITATIVE | MessageFlag.CERTIFY
    assert api.call.flags == flags


def test_what_cannot_be_appended_is_told() -> None:
    page = several().request("GET", "/88/x?urlappend=%0d%0aa:b", headers=BROWSER)
    assert page.status == 400
    assert "location" not in page.headers


@pytest.mark.parametrize("query", ["?index=x", "?index=1&index=", "?action=toolbar", "?action="])
def test_what_the_public_proxies_pass_over_is_passed_over(query: str) -> None:
    answer = several().request("GET", "/88/x" + query, headers=BROWSER)
    assert (answer.status, answer.headers["location"]) == (302, "https://a.example/1")


@pytest.mark.parametrize("query", ["?auth=perhaps", "?cert&auth=1", "?auth="])
def test_a_switch_is_on_whatever_its_value(query: str) -> None:
    api = several()
    api.request("GET", "/88/x" + query, headers=BROWSER)
    assert api.call.flags & MessageFlag.AUTHORITATIVE


@pytest.mark.parametrize("query", ["?action=showvalues", "?action=ShowValues", "?noredirect=yes!"])
def test_values_are_shown_where_that_is_asked_for(query: str) -> None:
    answer = several().request("GET", "/88/x" + query, headers=BROWSER)
    assert (answer.status, b"a@b.example" in answer.body) == (200, True)


def test_the_api_is_an_action() -> None:
    answer = several().request("GET", "/88/x?action=api&type=EMAIL", headers=BROWSER)
    assert [each["index"] for each in answer.json["values"]] == [3]


@pytest.mark.parametrize(
    "path",
    [
        *("/88/x", "///88/x", "/hdl:88/x", "/HDL:88/x", "/doi:88/x", "/info:hdl/88/x"),
        *("/info%3Adoi/88/x", "/urn:hdl:88/x", "/urn:hdl:88:x", "/urn:eidr:88:x", "/%2088/x%20"),
    ],
)
def test_a_handle_may_be_named_as_people_write_it(path: str) -> None:
    api = several()
    assert api.request("GET", path, headers=BROWSER).status == 302
    assert api.call.body == ResolutionRequest(b"88/x")


def test_a_plus_in_what_is_appended_stays_one_and_semicolons_separate() -> None:
    target = "/88/x?noise;urlappend=?q=a+b"
    answer = several().request("GET", target, headers=BROWSER)
    assert answer.headers["location"] == "https://a.example/1?q=a+b"


def test_the_form_of_handle_net_s_proxies_is_taken() -> None:
    form = {"content-type": "application/x-www-form-urlencoded", **BROWSER}
    answer = Api().request("POST", "/", b"hdl=doi:88/x", headers=form)
    assert (answer.status, answer.headers["location"]) == (303, "/88/x")
    answer = several().request("POST", "/88/x", b"noredirect=", headers=form)
    assert (answer.status, b"a@b.example" in answer.body) == (200, True)


@pytest.mark.parametrize("path", ["/favicon.ico", "/robots.txt"])
def test_what_browsers_and_robots_ask_every_host_for_is_no_handle(path: str) -> None:
    api = several()
    assert api.request("GET", path).status == 404
    assert api.operations.calls == []


def test_urls_of_special_kinds_are_led_to_where_there_is_no_plain_one() -> None:
    special = HandleValue(1, b"URL.metadata", b"https://special.example/")
    answer = Api(found(special)).request("GET", "/88/x", headers=BROWSER)
    assert answer.headers["location"] == "https://special.example/"
    typed = HandleValue(2, b"0.TYPE/URL", b"https://typed.example/")
    answer = Api(found(special, typed)).request("GET", "/88/x", headers=BROWSER)
    assert answer.headers["location"] == "https://typed.example/"


def test_a_redirect_has_a_link_for_who_does_not_follow_it() -> None:
    answer = several().request("GET", "/88/x", headers=BROWSER)
    assert b'<a href="https://a.example/1">' in answer.body
    assert answer.headers["access-control-allow-origin"] == "*"


# JSON and languages


def test_json_by_negotiation_is_that_of_the_rest_interface() -> None:
    answer = several().request("GET", "/88/x?type=EMAIL", headers=JSON)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json;charset=UTF-8"
    assert answer.headers["vary"] == "Accept, Accept-Language"
    assert answer.json["handle"] == "88/x"
    assert [each["index"] for each in answer.json["values"]] == [3]
    nothing = several().request("GET", "/88/x?type=PHONE", headers=JSON)
    assert (nothing.status, nothing.json["responseCode"], nothing.json["values"]) == (200, 200, [])
    missing = Api(FakeOperations(refused(ResponseCode.HANDLE_NOT_FOUND)))
    answer = missing.request("GET", "/88/x", headers=JSON)
    assert (answer.status, answer.json["responseCode"]) == (404, 100)


def test_pages_are_in_the_browsers_language() -> None:
    missing = Api(FakeOperations(refused(ResponseCode.HANDLE_NOT_FOUND)))
    chinese = missing.request("GET", "/88/x/", headers=CHINESE)
    assert chinese.headers["content-language"] == "zh-Hans"
    assert '<html lang="zh-Hans">' in chinese.body.decode()
    assert "未找到" in chinese.body.decode()
    assert 'href="/88/x"' in chinese.body.decode()
    english = Api(missing.operations).request("GET", "/88/x", headers=BROWSER)
    assert "There is no identifier" in english.body.decode()
    front = Api().request("GET", "/", headers=CHINESE).body.decode()
    assert "前缀" in front


# Aliases


def aliases(**records: bytes) -> Api:
    """Handles 88/a, 88/b ...: each an alias of what is given, or with a URL."""
    operations = FakeOperations()

    def decide(call: Call) -> Result:
        assert isinstance(call.body, ResolutionRequest)
        data = records[call.body.handle.decode().partition("/")[2].lower()]
        type_ = b"URL" if data.startswith(b"https:") else b"HS_ALIAS"
        values = (HandleValue(1, type_, data),)
        return Result(ResponseCode.SUCCESS, ValuesRequest(call.body.handle, values))

    operations.decide = decide
    return Api(operations)


def test_an_alias_leads_to_what_it_stands_for() -> None:
    api = aliases(a=b"88/b", b=b"88/c", c=b"https://c.example/")
    answer = api.request("GET", "/88/a", headers=BROWSER)
    assert answer.headers["location"] == "https://c.example/"
    page = api.request("GET", "/88/a?noredirect", headers=BROWSER).body.decode()
    assert "<title>88/c</title>" in page
    assert "88/a</code></a> stands for this identifier" in page
    assert api.request("GET", "/88/a", headers=JSON).json["handle"] == "88/c"
    page = api.request("GET", "/88/a?ignore_aliases", headers=BROWSER).body.decode()
    assert "HS_ALIAS" in page


@pytest.mark.parametrize("records", [{"a": b"88/a"}, {"a": b"88/b", "b": b"88/c", "c": b"88/b"}])
def test_aliases_that_go_round_end(records: dict[str, bytes]) -> None:
    api = aliases(**records)
    answer = api.request("GET", "/88/a", headers=CHINESE)
    assert answer.status == 508
    assert "绕回" in answer.body.decode()
    assert len(api.operations.calls) <= 3


def test_aliases_are_followed_so_far_and_not_further() -> None:
    names = "abcdefghijklmnop"
    chain = {one: f"88/{two}".encode() for one, two in itertools.pairwise(names)}
    api = aliases(**chain, p=b"https://p.example/")
    assert api.request("GET", "/88/a", headers=BROWSER).status == 508
    assert len(api.operations.calls) == 11
    near = aliases(**chain, p=b"https://p.example/")
    assert near.request("GET", "/88/f", headers=BROWSER).status == 302


# Locations

LOCATIONS = b"""<locations>
<location id="0" href="https://gb.example/" country="gb" weight="0"/>
<location id="1" href="https://www.example/" weight="1" http_sc="303"/>
<location http_role="conneg" href_template="https://data.example/{hdl}" weight="0"/>
</locations>"""


def located(data: bytes = LOCATIONS) -> Api:
    return Api(
        found(HandleValue(1, b"URL", b"https://plain.example/"), HandleValue(2, b"10320/loc", data))
    )


@pytest.mark.parametrize(
    ("query", "headers", "status", "target"),
    [
        ("", BROWSER, 303, "https://www.example/"),
        ("?locatt=id:0", BROWSER, 302, "https://gb.example/"),
        ("?locatt=country:gb&urlappend=x", BROWSER, 302, "https://gb.example/x"),
        ("", {"accept": "text/turtle"}, 302, "https://data.example/88%2Fx"),
        ("", JSON, 302, "https://data.example/88%2Fx"),
        ("?type=URL", BROWSER, 302, "https://plain.example/"),
    ],
)
def test_a_location_is_led_to(
    query: str, headers: dict[str, str], status: int, target: str
) -> None:
    answer = located().request("GET", "/88/x" + query, headers=headers)
    assert (answer.status, answer.headers["location"]) == (status, target)


@pytest.mark.parametrize(
    "data",
    [
        b"<locations/>",
        b"no xml",
        b'<locations><location http_role="conneg" href="https://d.example/"/></locations>',
        b"<locations>" + b" " * 65_536 + b'<location href="https://b.example/"/></locations>',
    ],
)
def test_without_a_location_the_url_is_led_to(data: bytes) -> None:
    answer = located(data).request("GET", "/88/x", headers=BROWSER)
    assert answer.headers["location"] == "https://plain.example/"


def test_no_redirect_shows_json_in_spite_of_locations() -> None:
    answer = located().request("GET", "/88/x?noredirect", headers=JSON)
    assert [each["index"] for each in answer.json["values"]] == [1, 2]


def test_what_a_handle_may_lead_to_as_xml() -> None:
    answer = located().request("GET", "/88/x?action=showurls", headers=BROWSER)
    assert answer.headers["content-type"] == "text/xml; charset=utf-8"
    lines = answer.body.decode().splitlines()
    assert 'href="https://data.example/88%2Fx"' in lines[3]
    assert lines[4] == '<location href="https://plain.example/" weight="0.0" mode="legacy"/>'
    urls = several().request("GET", "/88/x?action=showurls", headers=BROWSER).body.decode()
    assert urls.splitlines()[1:3] == [
        '<location href="https://a.example/1" weight="1" mode="legacy"/>',
        '<location href="https://a.example/2" weight="0" mode="legacy"/>',
    ]
    values = Api(found(HandleValue(3, b"EMAIL", b"a@b.example")))
    page = values.request("GET", "/88/x?action=showurls", headers=BROWSER)
    assert b"a@b.example" in page.body
    evil = b'<locations><location href="https://a/" x="&lt;script&gt;&quot;"/></locations>'
    shown = located(evil).request("GET", "/88/x?action=showurls", headers=BROWSER).body.decode()
    assert "<script" not in shown


def test_a_head_is_answered_like_a_get() -> None:
    answer = located().request("HEAD", "/88/x", headers=BROWSER)
    assert (answer.status, answer.headers["location"]) == (303, "https://www.example/")


METADATA = b"""<locations http_sc="303">
<location href="https://www.example/"/>
<location role="metadata" http_role="conneg" href="https://meta.example/{hdl:path}" weight="0"/>
</locations>"""


@pytest.mark.parametrize("action", ["metadata", "showmetadata", "SHOWMETADATA"])
def test_metadata_are_where_the_record_says(action: str) -> None:
    answer = located(METADATA).request("GET", f"/88/x?action={action}", headers=BROWSER)
    assert (answer.status, answer.headers["location"]) == (303, "https://meta.example/88/x")


def test_without_a_place_for_metadata_the_values_are_shown() -> None:
    shown = several().request("GET", "/88/x?action=showmetadata", headers=BROWSER)
    assert (shown.status, b"a@b.example" in shown.body) == (200, True)
    document = several().request("GET", "/88/x?action=showmetadata", headers=JSON)
    assert len(document.json["values"]) == 3
    led = several().request("GET", "/88/x?action=metadata", headers=BROWSER)
    assert led.headers["location"] == "https://a.example/1"


PREFERRED = b"""<locations>
<location id="html" media-type="text/html" href="https://html.example/"/>
<location id="ttl" media-type="text/turtle" href="https://ttl.example/"/>
<location id="zh" language="zh-cn" href="https://zh.example/"/>
<location id="near" addresses="192.0.2.0/24, 2001:db8::/32, x" href="https://near.example/"/>
<location id="gb" country="gb" href="https://gb.example/"/>
</locations>"""


@pytest.mark.parametrize(
    ("query", "headers", "target"),
    [
        ("", BROWSER, "https://html.example/"),
        ("?locatt=id:ttl", BROWSER, "https://ttl.example/"),
        ("?locatt=addresses", BROWSER, "https://near.example/"),
        ("", {"accept": "text/turtle, */*;q=0.1"}, "https://ttl.example/"),
        ("?locatt=language", CHINESE, "https://zh.example/"),
    ],
)
def test_headers_choose_among_locations(query: str, headers: dict[str, str], target: str) -> None:
    answer = located(PREFERRED).request("GET", "/88/x" + query, headers=headers)
    assert answer.headers["location"] == target


@pytest.mark.parametrize(
    ("chooseby", "query", "target"),
    [
        ("address", "", "https://near.example/"),
        ("country", "?country=GB", "https://gb.example/"),
    ],
)
def test_clients_choose_among_locations(chooseby: str, query: str, target: str) -> None:
    data = PREFERRED.replace(b"<locations>", f'<locations choose_by="{chooseby}">'.encode())
    answer = located(data).request("GET", "/88/x" + query, headers=BROWSER)
    assert answer.headers["location"] == target


def test_the_highest_score_wins() -> None:
    data = b"""<locations><location href="https://low.example/" score="1"/>
    <location href="https://high.example/" score="2.5"/><location href="https://none.example/"/>
    </locations>"""
    answer = located(data).request("GET", "/88/x", headers=BROWSER)
    assert answer.headers["location"] == "https://high.example/"


def test_urls_stand_among_locations_or_not_at_all() -> None:
    both = b'<locations urlWeight="1"><location href="https://a.example/" weight="0"/></locations>'
    answer = located(both).request("GET", "/88/x", headers=BROWSER)
    assert answer.headers["location"] == "https://plain.example/"
    none = b'<locations no_legacy="true"/>'
    assert located(none).request("GET", "/88/x", headers=BROWSER).status == 200


def test_clients_of_http_1_0_are_not_sent_on_with_later_statuses() -> None:
    answer = located().request("GET", "/88/x", headers=BROWSER, http_version="1.0")
    assert (answer.status, answer.headers["location"]) == (302, "https://www.example/")


def test_the_methods_of_a_handles_page_are_told() -> None:
    assert Api().request("OPTIONS", "/88/x").headers["allow"] == "GET, HEAD, POST, OPTIONS"
    assert Api().request("PUT", "/88/x").headers["allow"] == "GET, HEAD, POST, OPTIONS"
