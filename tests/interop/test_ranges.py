"""Identifiers in ranges as strangers find them: over every transport, through curl, one by one."""

import itertools
import json
import shutil
from dataclasses import dataclass
from typing import Any

import pytest

from tests.interop import foreign_wire as wire
from tests.interop.conftest import TRANSPORTS, VERSIONS, HttpsStand, Stand, url
from tests.interop.curl import Curl, login
from tests.interop.foreign_client import ForeignClient
from tests.interop.foreign_wire import Value
from tests.nodes import ADDRESS, Topology, must_run, run_biaoshi

STREAMS = ["tcp", "http", "https"]
STEM = "870101.M1.20261121."
TEMPLATE = "URL=https://example.org/{serial}?id={handle}"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Lot:
    """A range of a node, registered as a person does."""

    place: Stand
    stem: str

    def handle(self, serial: str) -> bytes:
        return (self.stem + serial).encode()

    def data(self, serial: str, client: ForeignClient | None = None) -> dict[int, bytes] | int:
        """The data of an identifier's values, or the response code."""
        answer = (client or self.place.client).resolve(self.handle(serial))
        if answer.code != 1:
            return answer.code
        return {value.index: value.data for value in answer.values}

    def expected(self, serial: str, name: bytes = b"000001..000500") -> dict[int, bytes]:
        link = b"https://example.org/%b?id=%b" % (serial.encode(), self.handle(serial))
        return {1: link, 100: self.place.admin_value().data, 1002: self.stem.encode() + name}


def register(place: Stand, *words: str, stem: str = STEM) -> Lot:
    full = f"{place.prefix.decode()}/{stem}{next(_numbers)}."
    options = ["-v", TEMPLATE, "--owner", place.node.admin, *words]
    where = ["--node", str(place.node.folder)]
    said = must_run("range", "register", full, "000001", "000500", *options, *where)
    assert said == f"{full}000001..000500: registered, 500 identifiers\n"
    return Lot(place, full)


@pytest.fixture(scope="module")
def lot(top: Stand) -> Lot:
    """A range that tests read, or change single identifiers of that are their own."""
    return register(top)


# Resolving


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_every_transport_answers(lot: Lot, transport: str) -> None:
    client = lot.place.client.speaking(transport=transport)
    for serial in ("000001", "000042", "000500"):
        assert lot.data(serial, client) == lot.expected(serial)
    for serial in ("000000", "000501", "00001", "0000001", "00004x", "", "00005X"):
        assert lot.data(serial, client) == 100, serial


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_answers(lot: Lot, version: tuple[int, int]) -> None:
    client = lot.place.client.speaking(transport="udp", version=version, suggested=version)
    assert lot.data("000007", client) == lot.expected("000007")


def test_an_answer_is_certified_and_may_be_asked_for_by_type_and_index(lot: Lot) -> None:
    client, handle = lot.place.client, lot.handle("000009")
    for transport in ("udp", "tcp"):
        speaking = client.speaking(transport=transport)
        whole = speaking.resolve(handle, flags=wire.CERT | wire.RRDG)
        assert [value.index for value in whole.values] == [1, 100, 1002]
        assert [value.index for value in speaking.resolve(handle, (b"RANGE",)).values] == [1002]
        assert [value.index for value in speaking.resolve(handle, (), (100,)).values] == [100]
        assert speaking.resolve(handle, (b"EMAIL",)).code == 200


def test_the_range_value_cannot_be_mistaken_for_the_owners(lot: Lot) -> None:
    (origin,) = lot.place.client.resolve(lot.handle("000002"), (b"RANGE",)).values
    assert (origin.index, origin.ttl, origin.ttl_type, origin.permissions) == (1002, 86_400, 0, 0xA)
    assert origin.data.decode() == f"{lot.stem}000001..000500"


def test_json_and_the_browser(lot: Lot) -> None:
    handle = lot.handle("000123").decode()
    answer = lot.place.node.get(f"/api/handles/{handle}")
    data = {each["index"]: each["data"]["value"] for each in answer.json["values"]}
    link = f"https://example.org/000123?id={handle}"
    assert (data[1], data[1002]) == (link, f"{lot.stem}000001..000500")
    page = lot.place.node.get(f"/{handle}")
    assert (page.status, page.headers["location"]) == (302, link)
    assert lot.place.node.get(f"/api/handles/{lot.stem}000501").json["responseCode"] == 100


def test_handles_differ_in_case_as_those_of_rows_do(lot: Lot) -> None:
    handle = lot.handle("000003").lower()
    answers = [lot.place.client.resolve(each).code for each in (handle, lot.handle("000003"))]
    own = lot.place.make(url(), hint="case")
    assert answers == [lot.place.client.resolve(own.lower()).code, 1]


def test_check_characters_belong_to_the_identifier(top: Stand) -> None:
    lot = register(top, "--check", "gs1")
    weights = itertools.cycle((3, 1))  # from the right; the stem ends in no digit
    total = sum(int(digit) * weight for digit, weight in zip("000042"[::-1], weights, strict=False))
    check = str(-total % 10)
    for transport in TRANSPORTS:
        client = top.client.speaking(transport=transport)
        found = lot.data("000042" + check, client)
        assert isinstance(found, dict)
        assert found[1].startswith(b"https://example.org/000042?id=")
        assert found[1].endswith(b".000042" + check.encode())
        wrong = str((int(check) + 1) % 10)
        assert lot.data("000042" + wrong, client) == 100
        assert lot.data("000042", client) == 100


# Down the tree


def test_from_the_root_and_through_the_recursive_node(
    four_nodes: Topology, enterprise: Stand
) -> None:
    """The enterprise's administrator, whose key is at the secondary, registers from the root."""
    stem = f"{enterprise.prefix.decode()}/ROOT.{next(_numbers)}."
    who = ["--key", str(enterprise.node.admin_key), "--admin", enterprise.node.admin]
    where = ["--root", str(four_nodes.top.bootstrap), *who]
    must_run("range", "register", stem, "01", "99", "-v", TEMPLATE, *where)
    handle = f"{stem}07".encode()
    for transport in ("udp", "tcp", "http"):
        recursive = four_nodes.recursive
        client = ForeignClient(ADDRESS, recursive.handle_port, recursive.http_port, transport)
        answer = client.resolve(handle)
        link = b"https://example.org/07?id=" + handle
        assert [value.data for value in answer.values] == [link, f"{stem}01..99".encode()]
    assert json.loads(must_run("range", "show", handle.decode(), "--json", *where))["last"] == "99"
    counts = json.loads(must_run("range", "count", enterprise.prefix.decode(), "--json", *where))
    assert (counts["ranges"], counts["inRanges"]) == (1, 99)


# One identifier of it


@pytest.mark.parametrize("transport", STREAMS)
def test_creating_one_that_a_range_holds_is_a_conflict(lot: Lot, transport: str) -> None:
    client = lot.place.client.speaking(transport=transport)
    answer = client.create(lot.handle("000042"), [url()], lot.place.admin)
    assert (answer.code, bool(answer.text)) == (101, True)
    assert lot.data("000042") == lot.expected("000042")


@pytest.mark.parametrize("transport", STREAMS)
def test_changing_one_leaves_the_others_as_they_are(lot: Lot, transport: str) -> None:
    client, admin = lot.place.client.speaking(transport=transport), lot.place.admin
    serial = f"0002{STREAMS.index(transport):02}"
    handle = lot.handle(serial)
    assert client.add(handle, [Value(7, b"DESC", b"seven")], admin).code == 1
    assert lot.data(serial) == {**lot.expected(serial), 7: b"seven"}
    assert client.modify(handle, [url(1, b"https://example.org/own")], admin).code == 1
    assert client.remove(handle, [7], admin).code == 1
    own = {**lot.expected(serial), 1: b"https://example.org/own"}
    for each in TRANSPORTS:
        speaking = lot.place.client.speaking(transport=each)
        assert lot.data(serial, speaking) == own
        assert lot.data("000249", speaking) == lot.expected("000249")


@pytest.mark.parametrize("transport", STREAMS)
def test_deleting_one_leaves_a_hole_that_may_be_filled(lot: Lot, transport: str) -> None:
    client, admin = lot.place.client.speaking(transport=transport), lot.place.admin
    serial = f"0003{STREAMS.index(transport):02}"
    handle = lot.handle(serial)
    assert client.delete(handle, admin).code == 1
    for each in TRANSPORTS:
        assert lot.data(serial, lot.place.client.speaking(transport=each)) == 100
    assert client.delete(handle, admin).code == 100
    assert client.add(handle, [url(5)], admin).code == 100
    assert client.create(handle, [url(1, b"https://example.org/anew")], admin).code == 1
    for each in TRANSPORTS:
        found = lot.data(serial, lot.place.client.speaking(transport=each))
        assert found == {1: b"https://example.org/anew"}


def test_strangers_change_nothing(top: Stand, lot: Lot) -> None:
    handle = wire.pack_str(lot.handle("000400"))
    added = wire.pack_values([Value(7, b"DESC", b"stranger's")])
    for opcode, body in ((wire.DELETE, handle), (wire.ADD, handle + added)):
        assert top.client.ask(opcode, body, wire.PUBL).code == 402
    assert lot.data("000400") == lot.expected("000400")


# The whole of it


def test_shrinking_splitting_and_revoking_are_seen_at_once(top: Stand) -> None:
    lot, where = register(top), ["--node", str(top.node.folder)]
    assert top.client.add(lot.handle("000007"), [url(7)], top.admin).code == 1
    must_run("range", "split", lot.stem + "000301", *where)
    cut = ["range", "shrink", lot.stem + "000400", "000301", "000400", "--yes", *where]
    must_run(*cut)
    revoke = ["range", "revoke", lot.stem + "000002", "--reason", "not made", "--yes", *where]
    refused = run_biaoshi(*revoke)
    assert refused.returncode == 1, "an identifier of its own is in the way"
    assert lot.stem + "000007" in refused.stderr
    must_run(*revoke, "--existing", "keep")
    for transport in TRANSPORTS:
        client = top.client.speaking(transport=transport)
        assert lot.data("000400", client) == lot.expected("000400", b"000301..000400")
        assert lot.data("000401", client) == 100
        revoked = client.resolve(lot.handle("000300"))
        assert (revoked.code, "not made" in revoked.text) == (100, True)
        kept = lot.data("000007", client)
        assert isinstance(kept, dict)
        assert kept[7] == url(7).data
    again = top.client.create(lot.handle("000300"), [url()], top.admin)
    assert (again.code, "not made" in again.text) == (101, True)


# curl


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_registers_and_reads(https_node: HttpsStand) -> None:
    tls = ("--cacert", str(https_node.authority.path))
    plain = Curl(https_node.http_url)
    admin = Curl(https_node.https_url, (*tls, "-u", login(https_node, https_node.password)))
    document: dict[str, Any] = {
        "stem": "88/CURL.",
        "first": "0001",
        "last": "2500",
        "values": [{"index": 1, "type": "URL", "data": "https://example.org/{number}"}],
    }
    assert Curl(https_node.https_url, tls)("/api/ranges", body=document).status == 401
    made = admin("/api/ranges", body=document)
    assert (made.status, made.json["range"]["identifiers"]) == (201, 2_500)
    conflict = admin("/api/ranges", body={**document, "first": "2500", "last": "2600"})
    assert (conflict.status, conflict.code) == (409, 101)
    assert "88/CURL.0001..2500" in conflict.json["message"]
    values = plain("/api/handles/88/CURL.0042").json["values"]
    assert values[0]["data"]["value"] == "https://example.org/42"
    assert plain("/api/ranges/of/88/CURL.0042").json["range"]["stem"] == "88/CURL."
    assert plain("/api/ranges/of/88/CURL.2501").status == 404
    assert plain("/api/ranges?prefix=88").status == 401
    listed = admin("/api/ranges?prefix=88&stem=88/CURL.").json
    assert ([each["last"] for each in listed["ranges"]], listed["next"]) == (["2500"], "")
    assert admin("/api/ranges/count?prefix=88").json["inRanges"] == 2_500
    parts = admin("/api/ranges/split", body={"identifier": "88/CURL.1001"}).json["ranges"]
    assert [(each["first"], each["last"]) for each in parts] == [("0001", "1000"), ("1001", "2500")]
    wrong = admin("/api/ranges/shrink", body={"identifier": "88/CURL.0001", "first": "0001"})
    assert (wrong.status, "`last`" in wrong.json["message"]) == (400, True)
