import contextlib
import copy
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import InvalidValueError, ProtocolError
from protocol.json_forms import (
    admin_from_json,
    admin_to_json,
    key_from_json,
    key_to_json,
    site_from_json,
    site_to_json,
    value_from_json,
    value_to_json,
    values_from_json,
    vlist_from_json,
    vlist_to_json,
)
from protocol.types.hs_admin import HsAdmin
from protocol.types.hs_pubkey import DhPublicKey, encode_public_key
from protocol.types.hs_site import HsSite, SiteInterface, SiteServer, decode_hs_site
from protocol.types.hs_vlist import HsVlist
from protocol.value import TTL_ABSOLUTE, HandleValue, Reference
from protocol.versions import BEST
from tests.protocol import strategies as some
from tests.protocol.recorded import json_of, octets_of

URL = HandleValue(1, b"URL", b"https://a.example/", timestamp=1_795_248_000)
URL_JSON = {
    "index": 1,
    "type": "URL",
    "data": {"format": "string", "value": "https://a.example/"},
    "ttl": 86_400,
    "timestamp": "2026-11-21T08:00:00Z",
}


def test_a_plain_value() -> None:
    assert value_to_json(URL) == URL_JSON
    assert value_from_json(URL_JSON) == URL


def test_what_is_written_only_when_it_is_not_the_usual() -> None:
    value = replace(URL, permission=0b1100, references=(Reference(b"88.118/x", 2),))
    form = URL_JSON | {
        "permissions": "1100",
        "references": [{"handle": "88.118/x", "index": 2}],
    }
    assert value_to_json(value) == form
    assert value_from_json(form) == value


def test_an_absolute_ttl_is_a_time() -> None:
    value = replace(URL, ttl=0, ttl_type=TTL_ABSOLUTE)
    form = URL_JSON | {"ttl": "1970-01-01T00:00:00Z"}
    assert value_to_json(value) == form
    assert value_from_json(form) == value


def test_what_may_be_missing() -> None:
    assert value_from_json({"index": 3, "type": "A", "data": "ä"}) == HandleValue(
        3, b"A", "ä".encode()
    )
    assert value_from_json({"type": "A", "data": ""}, index=9) == HandleValue(9, b"A", b"")
    assert value_from_json({"index": 8, "type": "A", "data": ""}, index=9).index == 8


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T01:00:01+01:00", 1),
        ("2038-01-19T03:14:07Z", 2**31 - 1),
        ("1901-12-13T20:45:52Z", -(2**31)),
    ],
)
def test_times(text: str, seconds: int) -> None:
    assert value_from_json(URL_JSON | {"timestamp": text}).timestamp == seconds
    written = value_to_json(replace(URL, timestamp=seconds))["timestamp"]
    assert value_from_json(URL_JSON | {"timestamp": written}).timestamp == seconds


@pytest.mark.parametrize(
    ("data", "octets"),
    [
        ("bare", b"bare"),
        ({"format": "string", "value": "标识"}, "标识".encode()),
        ({"format": "base64", "value": "AP8="}, b"\x00\xff"),
        ({"format": "hex", "value": "00Ff"}, b"\x00\xff"),
        (
            {"format": "vlist", "value": [{"handle": "a", "index": 1}]},
            HsVlist((Reference(b"a", 1),)).encode(),
        ),
        (
            {"format": "admin", "value": {"handle": "a", "index": 1, "permissions": "10"}},
            HsAdmin(2, Reference(b"a", 1)).encode(),
        ),
    ],
)
def test_formats_read(data: Any, octets: bytes) -> None:
    assert value_from_json({"index": 1, "type": "X", "data": data}).data == octets


@pytest.mark.parametrize(
    ("data", "octets"),
    [
        (5, b"5"),
        (True, b"true"),
        ({"format": "String", "value": 2026}, b"2026"),
        ({"format": "BASE64", "value": "_-8"}, b"\xff\xef"),
        ({"format": "base64", "value": "AA\nBB=\n"}, b"\x00\x00\x41"),
    ],
)
def test_data_that_handle_net_takes_are_taken(data: Any, octets: bytes) -> None:
    assert value_from_json({"index": "1", "type": "X", "data": data}).data == octets


def test_a_key_of_a_kind_in_small_letters_is_read() -> None:
    form = key_to_json(octets_of("pubkey.bin"))
    assert key_from_json(form | {"kty": form["kty"].lower()}) == key_from_json(form)


def test_references_of_null_are_none_and_a_star_permits_all() -> None:
    value = value_from_json(URL_JSON | {"references": None, "permissions": "*"})
    assert (value.references, value.permission) == ((), 0b1111)


def test_a_value_without_a_timestamp_shows_none() -> None:
    assert "timestamp" not in value_to_json(replace(URL, timestamp=0))


@pytest.mark.parametrize("type_", [b"hs_admin", b"HS_ADMIN.OLD", b"Hs_Admin.x"])
def test_administrators_of_other_spelling_are_shown_as_such(type_: bytes) -> None:
    data = HsAdmin(1, Reference(b"a", 1)).encode()
    assert value_to_json(HandleValue(1, type_, data))["data"]["format"] == "admin"


@pytest.mark.parametrize(
    ("permissions", "bits"),
    [("*", 0xFFF), (True, 0xFFF), (False, 0), (None, 0), ([True, False, True], 0b101), ("11", 3)],
)
def test_permissions_that_handle_net_takes_are_taken(permissions: Any, bits: int) -> None:
    form = {"handle": "a", "index": "1", "permissions": permissions}
    assert admin_from_json(form) == HsAdmin(bits, Reference(b"a", 1))


def test_permissions_missing_permit_nothing() -> None:
    assert admin_from_json({"handle": "a", "index": 1}).permissions == 0


@pytest.mark.parametrize("permissions", [[True] * 13, [1], {}, 7])
def test_permissions_of_another_kind_are_refused(permissions: Any) -> None:
    with pytest.raises(InvalidValueError, match="permissions"):
        admin_from_json({"handle": "a", "index": 1, "permissions": permissions})


def test_an_administrator_of_old_writers_survives_reading_and_writing_back() -> None:
    admin = HsAdmin(3, Reference(b"a", 1), b"\0\0")
    form = admin_to_json(admin)
    assert form["legacyByteLength"] is True
    assert admin_from_json(form) == admin


def test_a_site_in_its_oldest_form_is_read() -> None:
    server = {
        "ServerId": "1",
        "Address": "10.0.0.1",
        "PublicKey": octets_of("pubkey.bin").hex(),
        "InterfaceList": [{"Query": "true", "Admin": True, "Protocol": 1, "Port": 2641}],
    }
    site = site_from_json({"ServerList": [server], "Attributes": {"desc": ["x", "y"], "a": "b"}})
    assert site.servers[0].public_key == octets_of("pubkey.bin")
    assert site.servers[0].interfaces == (SiteInterface(3, 1, 2641),)
    assert site.attributes == ((b"desc", b"x"), (b"desc", b"y"), (b"a", b"b"))
    assert (site.protocol_version, site.is_primary, site.serial) == (BEST, False, 0)


def test_a_servers_key_may_be_hexadecimal() -> None:
    key = {"format": "hex", "value": "00ff"}
    server = {"serverId": 1, "address": "::1", "publicKey": key}
    assert site_from_json({"servers": [server]}).servers[0].public_key == b"\x00\xff"


@pytest.mark.parametrize(
    ("type_", "data", "form"),
    [
        (b"X", b"", "string"),
        (b"X", b"a\tb\r\n", "string"),
        (b"X", "标".encode(), "string"),
        (b"X", b"\x00", "base64"),
        (b"X", b"\x1f", "base64"),
        (b"X", b"\x7f", "base64"),
        (b"X", b"\xff", "base64"),
        (b"HS_ADMIN", HsAdmin(1, Reference(b"a", 1)).encode(), "admin"),
        (b"HS_ADMIN", b"no admin", "string"),
        (b"HS_VLIST", HsVlist(()).encode(), "vlist"),
        (b"HS_SITE", HsSite(BEST, 1, True, ()).encode(), "site"),
        (b"HS_SITE", b"\xff", "base64"),
        (b"HS_PUBKEY", octets_of("pubkey.bin"), "key"),
        (b"HS_PUBKEY", encode_public_key(DhPublicKey(7, 2**1024 - 105, 2)), "base64"),
        (b"HS_SECKEY", b"geheim", "string"),
        (b"HS_SERV", b"0.SERV/x", "string"),
    ],
)
def test_formats_written(type_: bytes, data: bytes, form: str) -> None:
    value = HandleValue(1, type_, data)
    written = value_to_json(value)
    assert written["data"]["format"] == form
    assert value_from_json(json.loads(json.dumps(written))) == value


def test_a_type_that_is_not_utf_8_can_be_shown() -> None:
    assert value_to_json(HandleValue(1, b"\xff", b""))["type"] == "\\xff"


def test_bodies_of_requests() -> None:
    assert values_from_json(URL_JSON) == (URL,)
    assert values_from_json([URL_JSON, URL_JSON]) == (URL, URL)
    assert values_from_json({"values": [URL_JSON]}) == (URL,)
    assert values_from_json([]) == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"index": 0}, r"values\[1\].index is 0, allowed are 1 to 2147483647"),
        ({"index": 2**31}, r"values\[1\].index is 2147483648"),
        ({"index": 10**5000}, r"values\[1\].index is a number of 16610 bits"),
        ({"index": "one"}, r"values\[1\].index must be a whole number, not 'one'"),
        ({"index": "0"}, r"values\[1\].index is 0, allowed are 1 to 2147483647"),
        ({"index": True}, "must be a whole number, not True"),
        ({"index": 1.5}, "must be a whole number, not 1.5"),
        ({"index": None}, "must be a whole number, not null"),
        ({"type": 10**5000}, "must be a string, not a number of 16610 bits"),
        ({"type": 5}, r"values\[1\].type must be a string, not 5"),
        ({"type": "\ud800"}, r"values\[1\].type has half a character at 0"),
        ({"data": None}, r"values\[1\].data must be an object, not null"),
        ({"data": {}}, r'values\[1\].data lacks "format"'),
        ({"data": {"format": "string"}}, r'values\[1\].data lacks "value"'),
        ({"data": {"format": "xml", "value": ""}}, "format must be one of string, base64, hex"),
        ({"data": {"format": "base64", "value": "AAAAA"}}, r"data.value is not base64"),
        ({"data": {"format": "base64", "value": "ä"}}, r"data.value is not base64"),
        ({"data": {"format": "hex", "value": "abc"}}, r"data.value is not hex"),
        ({"data": {"format": "string", "value": {}}}, "value must be a string, not an object"),
        ({"data": {"format": "site", "value": []}}, "value must be an object, not an array"),
        ({"data": {"format": "vlist", "value": {}}}, "value must be an array, not an object"),
        ({"data": {"format": "vlist", "value": [7]}}, r"value\[0\] must be an object, not 7"),
        ({"permissions": "111"}, "must be four digits 0 or 1 like \"1110\", not '111'"),
        ({"permissions": "1112"}, "must be four digits"),
        ({"permissions": 1110}, "permissions must be a string, not 1110"),
        ({"ttl": -1}, "ttl is -1, allowed are 0 to"),
        ({"ttl": "soon"}, 'ttl must be a time like "2026-11-21T08:00:00Z"'),
        ({"ttl": []}, "ttl must be seconds or a time, not an array"),
        ({"timestamp": 5}, "timestamp must be a string, not 5"),
        ({"timestamp": "2026-11-21T08:00:00"}, "lacks its time zone"),
        ({"timestamp": "2039-01-01T00:00:00Z"}, "allowed are the years 1901 to 2038"),
        ({"references": {}}, "references must be an array"),
        ({"references": [{"handle": "a"}]}, r'references\[0\] lacks "index"'),
    ],
)
def test_errors_say_where(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidValueError, match=words):
        values_from_json([URL_JSON, URL_JSON | changes])


@pytest.mark.parametrize("item", [None, 5, "x", [5], {"values": {}}, {"index": 1}])
def test_bodies_that_are_none(item: Any) -> None:
    with pytest.raises(InvalidValueError):
        values_from_json(item)


@given(some.VALUES.filter(lambda value: value.index > 0))
def test_any_value_has_a_form(value: HandleValue) -> None:
    json.dumps(value_to_json(value))


JSON_ITEMS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.fixed_dictionaries({"index": JSON_ITEMS, "type": JSON_ITEMS, "data": JSON_ITEMS}))
def test_garbage_is_refused_or_a_value(item: dict[str, Any]) -> None:
    try:
        value = value_from_json(item)
    except InvalidValueError:
        return
    data = item["data"]
    assert value.data.decode() == (json.dumps(data) if isinstance(data, bool) else str(data))


@given(JSON_ITEMS, st.sampled_from(["admin", "vlist", "site", "key", "base64", "hex", "string"]))
def test_garbage_data_are_refused_or_data(item: Any, form: str) -> None:
    with contextlib.suppress(InvalidValueError):
        value_from_json({"index": 1, "type": "X", "data": {"format": form, "value": item}})


# Typed data


def test_permissions_print_list_handles_first() -> None:
    admin = HsAdmin(0x801, Reference(b"0.NA/88", 300))
    form = {"handle": "0.NA/88", "index": 300, "permissions": "100000000001"}
    assert admin_to_json(admin) == form
    assert admin_from_json(form) == admin
    assert admin_to_json(replace(admin, permissions=0x8001))["permissions"] == "1000000000000001"


@pytest.mark.parametrize("digits", ["", "2", "1" * 17, " 1", "1_1"])
def test_permissions_that_are_none(digits: str) -> None:
    with pytest.raises(InvalidValueError, match=r"admin\.permissions must be 12 digits 0 or 1"):
        admin_from_json({"handle": "a", "index": 1, "permissions": digits})


@given(some.VLISTS)
def test_vlists(vlist: HsVlist) -> None:
    if all(is_text(reference.handle) for reference in vlist.references):
        assert vlist_from_json(vlist_to_json(vlist)) == vlist


def is_text(octets: bytes) -> bool:
    try:
        octets.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.parametrize("name", ["admpub.bin", "pubkey.bin"])
def test_keys(name: str) -> None:
    form = key_to_json(octets_of(name))
    assert key_from_json(form) == octets_of(name)
    padded = {field: text if field == "kty" else text + "==" for field, text in form.items()}
    assert key_from_json(padded) == octets_of(name)


def test_the_recorded_keys_are_those_of_the_recorded_site() -> None:
    form = json_of("siteinfo.json")["servers"][0]["publicKey"]["value"]
    assert key_from_json(form) == octets_of("pubkey.bin")
    assert key_to_json(octets_of("pubkey.bin")) == form


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"kty": "EC"}, 'key.kty must be "RSA" or "DSA", not \'EC\''),
        ({"kty": "RSA", "e": "AQAB"}, 'key lacks "n"'),
        ({"kty": "RSA", "e": "A", "n": "AQ"}, "key.e is not base64"),
        ({"kty": "RSA", "e": "AQAB", "n": "_" * 1368}, "key.n has over 8192 bits"),
        ({"kty": "RSA", "e": "AQAB", "n": "AQ"}, "no RSA key"),
        ({"kty": "DSA", "y": "AQ", "p": "AQ", "q": "AQ", "g": "AQ"}, "no DSA key"),
    ],
)
def test_keys_that_are_none(item: Any, words: str) -> None:
    with pytest.raises(InvalidValueError, match=words):
        key_from_json(item)


def test_key_data_that_are_no_key() -> None:
    with pytest.raises(ProtocolError):
        key_to_json(b"")


def test_the_recorded_site() -> None:
    form = json_of("siteinfo.json")
    site = site_from_json(form)
    assert site_to_json(site) == form
    record = json_of("boot.json")["handleRecords"]["0.NA/88.118"]["values"][0]
    assert decode_hs_site(value_from_json(record).data) == site


def test_recorded_records() -> None:
    record = json_of("boot.json")["handleRecords"]["0.NA/88.118"]
    values = values_from_json(record)
    assert [value.index for value in values] == [1, 100, 200, 300, 301]
    written = [value_to_json(value) for value in values]
    assert [form["data"]["format"] for form in written] == [
        *("site", "admin", "vlist", "key", "string"),
    ]
    assert values_from_json(written) == values
    assert "permissions" not in written[0]
    assert written[4]["permissions"] == "1100"


def test_a_site_with_everything_unusual() -> None:
    server = SiteServer(2, bytes(15) + b"\1", b"no key", (SiteInterface(0, 9, 0),))
    site = HsSite(BEST, 2, False, (server,), ((b"a", b"b"),), True, 0, 1, b"filter", 2)
    form = site_to_json(site)
    assert form["hashOption"] == 1
    assert form["hashFilter"] == "filter"
    assert form["servers"][0]["address"] == "::1"
    assert form["servers"][0]["publicKey"] == {"format": "base64", "value": "bm8ga2V5"}
    assert form["servers"][0]["interfaces"][0]["protocol"] == 9
    assert site_from_json(form) == site


def changed(path: str, item: Any) -> Any:
    """Return the recorded site with what stands at a dotted path replaced."""
    form = copy.deepcopy(json_of("siteinfo.json"))
    inner = form
    *steps, last = path.split(".")
    for step in steps:
        inner = inner[int(step)] if step.isdigit() else inner[step]
    inner[int(last) if last.isdigit() else last] = item
    return form


@pytest.mark.parametrize(
    ("path", "item", "words"),
    [
        ("protocolVersion", "2", "protocolVersion must look like \"2.10\", not '2'"),
        ("protocolVersion", "2.x", "must look like"),
        ("protocolVersion", "2.²", "must look like"),
        ("protocolVersion", "2.1000000", "must look like"),
        ("protocolVersion", "2.300", "neither part exceeds 255"),
        ("serialNumber", 65_536, "site.serialNumber is 65536"),
        ("primarySite", "yes", "site.primarySite must be true or false, not 'yes'"),
        ("multiPrimary", 1, "site.multiPrimary must be true or false, not 1"),
        ("hashOption", 3, "site.hashOption is 3, allowed are 0 to 2"),
        ("hashFilter", 3, "site.hashFilter must be a string"),
        ("version", 2**15, "site.version is 32768"),
        ("attributes.0", {"name": "x"}, r'site.attributes\[0\] lacks "value"'),
        ("servers", {}, "site.servers must be an array"),
        ("servers.0.address", "localhost", "is not an IP address: 'localhost'"),
        ("servers.0.serverId", None, "serverId must be a whole number"),
        ("servers.0.publicKey", {"format": "pem", "value": ""}, 'must be "key", "base64" or "hex"'),
        ("servers.0.publicKey.value.kty", "EC", "publicKey.value.kty must be"),
        ("servers.0.interfaces.0.port", 65_536, r"interfaces\[0\].port is 65536"),
        ("servers.0.interfaces.0.protocol", "QUIC", "must be one of UDP, TCP, HTTP, HTTPS"),
        ("servers.0.interfaces.0.protocol", "256", "must be one of UDP, TCP, HTTP, HTTPS"),
        ("servers.0.interfaces.0.query", None, "query must be true or false, not null"),
    ],
)
def test_sites_that_are_none(path: str, item: Any, words: str) -> None:
    with pytest.raises(InvalidValueError, match=words):
        site_from_json(changed(path, item))


def test_a_site_lacks_its_servers() -> None:
    form = json_of("siteinfo.json")
    del form["servers"]
    with pytest.raises(InvalidValueError, match='site lacks "servers"'):
        site_from_json(form)
