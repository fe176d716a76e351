"""The JSON REST interface as curl finds it: status codes and bodies."""

import json
import shutil
from urllib.parse import quote

import pytest

from tests.interop.conftest import HttpsStand, url
from tests.interop.curl import ADMIN, URL, Curl
from tests.interop.foreign_wire import Value, vlist_data
from tests.nodes import ADDRESS

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@pytest.fixture
def path(https_node: HttpsStand) -> str:
    return "/api/handles/" + https_node.fresh("CURL").decode()


# Reading


def test_reading(https_node: HttpsStand, plain: Curl, secure: Curl) -> None:
    values = [
        url(),
        Value(2, b"BIN", b"\0\xff\x80", ttl=60, permissions=0b1111),
        Value(3, b"END", b"x", ttl_type=1, ttl=2_000_000_000, references=((b"88/OTHER", 4),)),
        Value(4, b"EMAIL", b"hidden", permissions=0b1100),
        Value(5, b"HS_VLIST", vlist_data((b"88/USER", 301))),
    ]
    handle = https_node.make(*values).decode()
    for curl in (plain, secure):
        reply = curl(f"/api/handles/{handle}")
        assert reply.status == 200
        assert reply.headers["content-type"].startswith("application/json")
        record = reply.json
        assert (record["responseCode"], record["handle"]) == (1, handle)
        assert [value["index"] for value in record["values"]] == [1, 2, 3, 5, 100]
    first, binary, ended, group, rule = record["values"]
    assert first["data"] == {"format": "string", "value": "https://example.org/"}
    assert "permissions" not in first
    assert first["ttl"] == 86400
    assert first["timestamp"].endswith("Z")
    assert (binary["data"], binary["ttl"]) == ({"format": "base64", "value": "AP+A"}, 60)
    assert binary["permissions"] == "1111"
    assert ended["ttl"] == "2033-05-18T03:33:20Z"
    assert ended["references"] == [{"handle": "88/OTHER", "index": 4}]
    assert group["data"] == {"format": "vlist", "value": [{"handle": "88/USER", "index": 301}]}
    assert rule["data"]["format"] == "admin"
    assert rule["data"]["value"]["permissions"] == "111111111111"


def test_filters(plain: Curl, record: bytes, https_node: HttpsStand) -> None:
    handle = https_node.make(url(1), url(2), Value(3, b"DESC", b"x")).decode()
    where = f"/api/handles/{handle}"

    def indexes(query: str) -> list[int]:
        return [value["index"] for value in plain(where + query).json["values"]]

    assert indexes("?type=url") == [1, 2]
    assert indexes("?type=URL&index=3") == [1, 2, 3]
    assert indexes("?index=3&index=1") == [1, 3]
    nothing = plain(where + "?type=NONE")
    assert (nothing.status, nothing.code, nothing.json["values"]) == (200, 200, [])
    assert "\n" in plain(where + "?pretty").text
    script = plain(where + "?callback=shown")
    assert "shown(" in script.text
    assert "<" not in plain(where + "?callback=%3Cscript%3E").text.partition("(")[0]


def test_reading_by_post(plain: Curl, https_node: HttpsStand) -> None:
    handle = https_node.make(url(1), Value(3, b"DESC", b"x")).decode()
    reply = plain(f"/api/handles/{handle}", "-X", "POST", body={"type": ["DESC"]})
    assert (reply.status, [value["index"] for value in reply.json["values"]]) == (200, [3])


def test_handles_in_a_path(https_node: HttpsStand, plain: Curl) -> None:
    handle = https_node.fresh() + "/ö ?&%+#".encode()
    values = [url(), https_node.admin_value()]
    assert https_node.client.create(handle, values, https_node.admin).code == 1
    prefix, _, suffix = handle.partition(b"/")
    for text in (quote(handle), quote(handle, safe=""), f"{quote(prefix)}/{quote(suffix)}"):
        reply = plain("/api/handles/" + text)
        assert (reply.status, reply.json.get("handle")) == (200, handle.decode())


def test_what_is_not_there(plain: Curl, path: str) -> None:
    missing = plain(path)
    assert (missing.status, missing.code) == (404, 100)
    assert missing.json["handle"] == path.removeprefix("/api/handles/")
    elsewhere = plain("/api/handles/99.98/X")
    assert (elsewhere.status, elsewhere.code) in {(400, 301), (404, 100)}
    assert plain("/api/nothing").status == 404


# Writing


def test_life_of_a_handle(admin: Curl, plain: Curl, path: str) -> None:
    made = admin(path, "-X", "PUT", body={"values": [URL]})
    assert (made.status, made.code) == (201, 1)
    assert made.json["handle"] == path.removeprefix("/api/handles/")
    assert plain(path).json["values"][0]["data"]["value"] == "https://example.org/一"
    again = admin(path + "?overwrite=false", "-X", "PUT", body=[URL])
    assert (again.status, again.code) == (409, 101)
    replaced = admin(path, "-X", "PUT", body=[{**URL, "data": "new"}, ADMIN])
    assert (replaced.status, replaced.code) == (200, 1)
    added = admin(path + "?index=7", "-X", "PUT", body={**URL, "index": 7})
    assert (added.status, added.code) == (201, 1)
    changed = admin(path + "?index=various", "-X", "PUT", body=[{**URL, "index": 7, "data": "7"}])
    assert (changed.status, changed.code) == (200, 1)
    refused = admin(path + "?index=7&overwrite=false", "-X", "PUT", body=[{**URL, "index": 7}])
    assert (refused.status, refused.code) == (409, 201)
    assert {v["index"]: v["data"]["value"] for v in plain(path + "?type=URL").json["values"]} == {
        1: "new",
        7: "7",
    }
    assert admin(path + "?index=7", "-X", "DELETE").status == 200
    assert [v["index"] for v in plain(path).json["values"]] == [1, 100]
    gone = admin(path, "-X", "DELETE")
    assert (gone.status, gone.code) == (200, 1)
    assert plain(path).status == 404
    assert admin(path, "-X", "DELETE").status == 404


def test_minting(admin: Curl, plain: Curl, path: str) -> None:
    reply = admin(path + "-?mintNewSuffix=true", "-X", "PUT", body=[URL])
    assert reply.status == 201
    handle = reply.json["handle"]
    assert handle.upper().startswith(path.removeprefix("/api/handles/").upper() + "-")
    assert plain("/api/handles/" + handle).status == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ([], 400),
        ([{"index": 1, "type": "URL"}], 400),
        ([{"index": "one", "type": "URL", "data": "x"}], 400),
        ([{"index": 0, "type": "URL", "data": "x"}], 400),
        ([{"index": 1, "type": "URL", "data": {"format": "base64", "value": "§"}}], 400),
        ([{"index": 1, "type": "URL", "data": {"format": "roman", "value": "IV"}}], 400),
        ([URL, URL], 409),
        ("text", 400),
        (7, 400),
    ],
)
def test_what_cannot_be_registered(
    admin: Curl, plain: Curl, path: str, body: object, status: int
) -> None:
    reply = admin(path, "-X", "PUT", body=body)
    if body == []:
        assert reply.status in (201, 400)
        return
    assert (reply.status, bool(reply.json["message"])) == (status, True)
    assert plain(path).status == 404, "a registration that fails changes nothing"


def test_what_is_not_json(admin: Curl, path: str) -> None:
    json_type = ("-H", "Content-Type: application/json")
    assert admin(path, "-X", "PUT", *json_type, "--data-binary", "{").status == 400
    text_type = ("-H", "Content-Type: text/plain")
    reply = admin(path, "-X", "PUT", *text_type, "--data-binary", json.dumps([URL]))
    assert reply.status in (400, 415)


# Lists and the site


def test_lists(https_node: HttpsStand, admin: Curl, secure: Curl) -> None:
    for _ in range(3):
        https_node.make(url(), hint="LISTED")
    reply = admin("/api/handles?prefix=88")
    assert (reply.status, reply.code) == (200, 1)
    assert reply.json["prefix"] in ("88", "0.NA/88")
    handles = reply.json["handles"]
    assert reply.json["totalCount"] == str(len(handles))
    assert sum("LISTED" in handle for handle in handles) == 3
    pages = [admin(f"/api/handles?prefix=0.NA/88&page={n}&pageSize=2").json for n in (0, 1)]
    assert pages[0]["handles"] + pages[1]["handles"] == handles[:4]
    assert secure("/api/handles?prefix=88").status == 401
    assert admin("/api/handles?prefix=99.98").status == 400


def test_site(https_node: HttpsStand, plain: Curl) -> None:
    site = plain("/api/site").json
    found = site.get("site", site)
    server = found["servers"][0]
    assert server["address"] == ADDRESS
    assert {line["port"] for line in server["interfaces"] if line["protocol"] == "TCP"} == {
        https_node.node.handle_port
    }
