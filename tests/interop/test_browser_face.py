"""Handles as paths, as curl finds them: at the node that has them, and at a recursive one."""

import shutil

import pytest

from tests.interop.conftest import Stand, url
from tests.interop.curl import Curl
from tests.interop.foreign_wire import Value
from tests.nodes import ADDRESS, Topology

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

JSON = ("-H", "Accept: application/json")
CHINESE = ("-H", "Accept: text/html", "-H", "Accept-Language: zh-CN,zh;q=0.9,en;q=0.8")
LOCATIONS = (
    b'<locations><location id="a" href="https://a.example/" weight="0"/>'
    b'<location id="b" href="https://b.example/"/></locations>'
)


@pytest.fixture(params=["enterprise", "recursive"])
def browser(four_nodes: Topology, request: pytest.FixtureRequest) -> Curl:
    """curl at the node that has the handles, and at one that has to fetch them."""
    node = getattr(four_nodes, request.param)
    return Curl(f"http://{ADDRESS}:{node.http_port}")


def path_of(handle: bytes) -> str:
    return "/" + handle.decode()


def test_a_handle_leads_to_its_url(enterprise: Stand, browser: Curl) -> None:
    path = path_of(enterprise.make(url(text="https://例.example/一".encode())))
    answer = browser(path)
    assert answer.status == 302
    assert answer.headers["location"] == "https://xn--fsq.example/%E4%B8%80"
    assert answer.headers["vary"] == "Accept, Accept-Language"
    assert browser(path + "?urlappend=%3Fx").headers["location"].endswith("?x")
    head = browser(path, "--head")
    assert (head.status, head.text) == (302, "")
    shown = browser(path + "?noredirect", *CHINESE)
    assert shown.status == 200
    assert '<html lang="zh-Hans">' in shown.text
    document = browser(path, *JSON)
    assert (document.status, document.code) == (200, 1)
    assert document.json["values"] == browser("/api/handles" + path).json["values"]


def test_a_location_is_chosen(enterprise: Stand, browser: Curl) -> None:
    values = url(), Value(2, b"10320/loc", LOCATIONS)
    path = path_of(enterprise.make(*values))
    assert browser(path).headers["location"] == "https://b.example/"
    assert browser(path + "?locatt=id:a").headers["location"] == "https://a.example/"
    assert browser(path + "?type=URL").headers["location"] == "https://example.org/"
    assert browser(path + "?action=showurls").text.count("<location ") == 3


def test_an_alias_is_followed_to_another_node(
    enterprise: Stand, top: Stand, browser: Curl, four_nodes: Topology
) -> None:
    target = top.make(url(text=b"https://target.example/"))
    path = path_of(enterprise.make(Value(1, b"HS_ALIAS", target)))
    answer = browser(path)
    if browser.base.endswith(f":{four_nodes.recursive.http_port}"):
        assert (answer.status, answer.headers["location"]) == (302, "https://target.example/")
    else:  # a node that registers walks nowhere
        assert answer.status == 400
        assert target.decode() in answer.text
    assert "HS_ALIAS" in browser(path + "?ignore_aliases").text


def test_what_is_not_there(enterprise: Stand, browser: Curl) -> None:
    missing = browser(path_of(enterprise.fresh("MISSING")), *CHINESE)
    assert missing.status == 404
    assert "未找到" in missing.text
    document = browser(path_of(enterprise.fresh("MISSING")), *JSON)
    assert (document.status, document.code) == (404, 100)


def test_no_record_writes_a_header(enterprise: Stand, browser: Curl) -> None:
    evil = b"https://a.example/\r\nSet-Cookie: stolen=1"
    locations = (
        b'<locations><location href="https://a.example/&#13;&#10;Set-Cookie: a"/></locations>'
    )
    for value in (url(text=evil), Value(2, b"10320/loc", locations)):
        answer = browser(path_of(enterprise.make(value)))
        assert answer.status == 200
        assert "set-cookie" not in answer.headers
        assert "location" not in answer.headers
