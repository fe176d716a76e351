"""10320/loc: the documents' own examples, weights by chance, and XML that means harm."""

import itertools
import random
from collections import Counter
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resolver.api.locations import (
    ASKED_MAX,
    Location,
    Locations,
    attributes_asked,
    choose,
    find_locations,
)

# The example of the public proxies' documents.
EXAMPLE = b"""<locations>
  <location id="0" href="http://uk.example.com/" country="gb" weight="0" />
  <location id="1" href="http://www1.example.com/" weight="1" />
  <location id="2" href="http://www2.example.com/" weight="1" />
</locations>"""
CONNEG = b"""<?xml version="1.0" encoding="UTF-8"?>
<locations chooseby="locatt, country,weighted">
  <location id="0" href="https://a.example/" />
  <location weight="0" http_role="conneg" href_template="https://data.example/{hdl}" http_sc="303"/>
</locations>"""
EVERY = [each / 10 for each in range(10)]


def read(data: bytes) -> Locations:
    found = find_locations(data, b"88/x")
    assert found is not None
    return found


def chosen(data: bytes, *asked: str, negotiated: bool = False) -> set[str]:
    """The ids of what may be chosen."""
    attributes = attributes_asked(asked)
    found = set()
    for each in EVERY:
        location = choose(
            read(data), attributes, negotiated=negotiated, random=itertools.repeat(each).__next__
        )
        found.add("" if location is None else location.attributes.get("id", location.target))
    return found


@pytest.mark.parametrize(
    ("asked", "ids"),
    [
        ((), {"1", "2"}),
        (("id:1",), {"1"}),
        (("id:0",), {"0"}),
        (("country:uk",), {"0"}),
        (("country:GB",), {"0"}),
        (("country:us",), {"1", "2"}),
        (("id:7",), {"1", "2"}),
        (("nonsense",), {"1", "2"}),
        (("weight:1", "id:2"), {"2"}),
        (("id:2", "id:1"), {"2"}),
    ],
)
def test_the_documents_example(asked: tuple[str, ...], ids: set[str]) -> None:
    assert chosen(EXAMPLE, *asked) == ids


def test_chooseby_names_the_methods_and_their_order() -> None:
    only_weighted = EXAMPLE.replace(b"<locations>", b'<locations chooseby="weighted">')
    assert chosen(only_weighted, "id:0") == {"1", "2"}
    by_language = EXAMPLE.replace(b"<locations>", b'<locations chooseby="language,locatt">')
    assert chosen(by_language, "id:0") == {"0"}
    without_country = EXAMPLE.replace(b"<locations>", b'<locations chooseby="locatt">')
    assert chosen(without_country) == {"1", "2"}  # the weighted method is always the last


def test_weights_are_how_often_each_is_taken() -> None:
    data = (
        b'<locations><location id="a" href="http://a/" weight="3"/>'
        b'<location id="b" href="http://b/"/><location id="c" href="http://c/" weight="0"/>'
        b'<location id="d" href="http://d/" weight="-5"/></locations>'
    )
    seeded = random.Random(1)
    locations = read(data)
    counts = Counter(
        found.attributes["id"]
        for found in (
            choose(locations, [], negotiated=False, random=seeded.random) for _ in range(4_000)
        )
        if found is not None
    )
    assert set(counts) == {"a", "b"}
    assert 2.6 < counts["a"] / counts["b"] < 3.4


def test_where_all_weigh_nothing_any_is_taken() -> None:
    data = (
        b'<locations><location id="a" href="http://a/" weight="0"/>'
        b'<location id="b" href="http://b/" weight="0"/></locations>'
    )
    assert chosen(data) == {"a", "b"}


@pytest.mark.parametrize("weight", ["", "much", "nan", "inf", "1e999", "-1", "0x1"])
def test_any_weight_leaves_something_to_choose(weight: str) -> None:
    data = f'<locations><location id="a" href="http://a/" weight="{weight}"/>'
    data += '<location id="b" href="http://b/"/></locations>'
    assert chosen(data.encode()) <= {"a", "b"}


def test_a_location_for_other_forms_is_for_those_only() -> None:
    assert chosen(CONNEG) == {"0"}
    assert chosen(CONNEG, negotiated=True) == {"https://data.example/88%2Fx"}
    location = choose(read(CONNEG), [], negotiated=True, random=random.random)
    assert location is not None
    assert location.status == 303
    assert chosen(EXAMPLE, negotiated=True) == {""}


@pytest.mark.parametrize(
    ("status", "used"), [("301", 301), ("308", 308), ("200", 302), ("404", 302), ("x", 302)]
)
def test_only_statuses_that_lead_on_are_used(status: str, used: int) -> None:
    assert Location("https://a/", {"http_sc": status}).status == used


def test_the_handle_in_an_address_is_quoted() -> None:
    data = b'<locations><location href="https://a.example/?h={hdl}"/></locations>'
    found = find_locations(data, "88/a&b 标\r\n".encode())
    assert found is not None
    (location,) = found.entries
    assert location.target == "https://a.example/?h=88%2Fa%26b%20%E6%A0%87%0D%0A"


def test_addresses_that_nobody_is_sent_to_are_left_out() -> None:
    data = (
        b'<locations><location href="javascript:alert(1)"/><location/>'
        b'<location href="https://a/&#10;b"/><location href="https://ok.example/"/></locations>'
    )
    assert [each.target for each in read(data).entries] == ["https://ok.example/"]


BOMB = (
    b'<!DOCTYPE l [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    b'<locations><location href="https://a.example/&b;"/></locations>'
)
OUTSIDE = (
    b'<!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    b'<locations><location href="https://a.example/">&x;</location></locations>'
)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"https://a.example/",
        b"<locations>",
        b"<locations/><locations/>",
        b"<other><location href='https://a.example/'/></other>",
        b"<locations><location href='https://a.example/&undefined;'/></locations>",
        b"<?xml version='1.0' encoding='no-such'?><locations/>",
        b"<?xml version='1.0' encoding='utf-7'?><locations/>",
        b"\xff\xfe\x00",
        b"<!DOCTYPE locations><locations/>",
        BOMB,
        OUTSIDE,
    ],
)
def test_what_is_no_such_xml_is_nothing(data: bytes) -> None:
    assert find_locations(data, b"88/x") is None


def test_only_locations_directly_in_the_root_count() -> None:
    data = b'<locations><x><location href="https://a/"/></x></locations>'
    assert read(data).entries == ()
    deep = b"<locations>" + b"<a>" * 20_000 + b"</a>" * 20_000 + b"</locations>"
    assert read(deep).entries == ()


NAMES = st.sampled_from(["id", "href", "href_template", "weight", "country", "http_role", "x"])
# Characters by hand: hypothesis' own table of all of Unicode takes a second to make.
TEXTS = st.text("a<>&\"'/:?#{}@\\ \t\n\x7f标\u2028", max_size=20) | st.sampled_from(
    ["https://a.example/{hdl}", "0", "gb", "conneg"]
)


@settings(deadline=None)
@given(data=st.binary(max_size=200) | st.lists(st.dictionaries(NAMES, TEXTS), max_size=5))
def test_whatever_is_registered_leads_to_a_safe_place_or_nowhere(
    data: bytes | list[dict[str, str]],
) -> None:
    if isinstance(data, list):
        lines = (" ".join(f"{n}={quoteattr(t)}" for n, t in each.items()) for each in data)
        text = "".join(f"<location {line}/>" for line in lines)
        data = f"<locations>{text}</locations>".encode("utf-8", "replace")
    found = find_locations(data, b"88/x")
    for each in found.entries if found is not None else ():
        assert each.target.lower().startswith(("http://", "https://", "ftp://"))
        assert each.target.isascii()
        assert each.target.isprintable()
        assert " " not in each.target
    if found is not None:
        for negotiated in (False, True):
            fits = [each for each in found.entries if each.is_negotiated == negotiated]
            chosen = choose(found, [], negotiated=negotiated, random=lambda: 0.999_999)
            assert (chosen in fits) if fits else chosen is None


def test_ways_to_choose_count_once_each() -> None:
    data = b'<locations chooseby="locatt,x,locatt,country,locatt"><location href="http://a"/></locations>'
    assert read(data).chooseby == ("locatt", "country")


def test_attributes_beyond_a_number_are_not_asked_for() -> None:
    asked = [f"id:{number}" for number in range(ASKED_MAX)]
    assert len(attributes_asked([*asked, "id:1"])) == ASKED_MAX
    assert chosen(EXAMPLE, *["nobody:x"] * ASKED_MAX, "id:1") == {"1", "2"}


def test_a_handle_does_not_make_an_address_long() -> None:
    def entries(times: int, handle: bytes) -> int:
        data = b'<locations><location href="http://a/%b"/></locations>' % (b"{hdl}" * times)
        found = find_locations(data, handle)
        assert found is not None
        return len(found.entries)

    handle = b"88/" + "标".encode() * 600
    assert entries(1, handle) == 1
    assert entries(2, handle) == 0, "over what browsers take of an address"
    assert entries(13_000, b"88/x") == 0
