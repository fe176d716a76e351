"""Streams of registrations against a running node, over HTTP."""

import gzip
import hashlib
import json
import secrets
from pathlib import Path

import msgpack
import pytest
import zstandard

from protocol import jws
from protocol.types.hs_pubkey import decode_public_key
from registry.receipts import START, chain, from_payload
from tests.nodes import Node, must_run
from tests.streams.client import NDJSON, Streams, deletion, row, row_by_row, rows, values_of


@pytest.fixture
def key() -> str:
    return f"lot {secrets.token_hex(8)}"


@pytest.fixture
def stem() -> str:
    """Names that no other test has."""
    return secrets.token_hex(6) + "-"


def test_every_row_has_a_verdict_and_the_stream_a_receipt(
    streams: Streams, node: Node, key: str, stem: str
) -> None:
    lines = [*rows(1, 5, stem), row(f"{stem}5", "another"), b"no JSON\n", deletion(f"{stem}2")]
    answer = streams.post(key, b"".join(lines))
    assert answer.status == 200
    assert [each["verdict"] for each in answer.verdicts] == [
        "created",
        "refused",
        "refused",
        "deleted",
    ]
    assert answer.verdict(6)["responseCode"] == 101
    assert "is registered already" in answer.verdict(6)["message"]
    assert answer.verdict(7)["message"]
    assert values_of(node, f"{stem}2") is None
    assert values_of(node, f"{stem}5") == [f"https://e.cn/{stem}5", f"no. {stem}5", f"{stem}5"]
    last = answer.last
    counts = {name: last[name] for name in ("rows", "created", "deleted", "refused", "next")}
    assert counts == {"rows": 8, "created": 5, "deleted": 1, "refused": 2, "next": 9}
    public = decode_public_key((node.folder / "server-public-key.bin").read_bytes())
    receipt = from_payload(jws.verify(last["receipt"], public))
    assert (receipt.key, receipt.rows, receipt.refused) == (key, 8, 2)
    assert receipt.identity == node.admin
    digests = [hashlib.sha256(line.strip()).digest() for line in lines]
    assert receipt.digest == chain(START, digests)
    assert streams.state(key.replace(" ", "%20"))["receipt"] == last["receipt"]


def test_a_receipt_is_verified_with_the_node(
    streams: Streams, node: Node, key: str, stem: str, tmp_path: Path
) -> None:
    receipt = tmp_path / "lot.receipt"
    receipt.write_text(streams.post(key, b"".join(rows(1, 3, stem))).last["receipt"])
    address, port = node.address
    for where in (["--node", str(node.folder)], ["--server", f"{address}:{port}"]):
        printed = must_run("receipt", "verify", str(receipt), *where)
        assert "node, stream: the node keeps it with the same counts" in printed
        assert "node, journal: frame" in printed
        assert printed.endswith("\nverified\n")


def test_the_same_stream_again_does_nothing_and_says_the_same(
    streams: Streams, node: Node, key: str, stem: str
) -> None:
    body = b"".join([*rows(1, 4, stem), deletion(f"{stem}3")])
    first = streams.post(key, body)
    before = node.metric("biaoshi_commits_total")
    again = streams.post(key, body)
    assert again.last == first.last
    assert again.verdicts == first.verdicts
    assert values_of(node, f"{stem}3") is None
    assert node.metric("biaoshi_commits_total") - before <= 2  # nothing but looks


@pytest.mark.parametrize("verdicts", ["after", "stream", "refused"])
def test_a_row_changed_under_an_old_number_is_refused(
    streams: Streams, node: Node, key: str, stem: str, verdicts: str
) -> None:
    streams.post(key, b"".join(rows(1, 4, stem)), query={"end": "false"})
    body = [row(f"{stem}1"), row(f"{stem}2", "changed"), row(f"{stem}3"), row(f"{stem}4")]
    answer = streams.post(key, b"".join([*body, row(f"{stem}5")]), query={"verdicts": verdicts})
    assert (answer.last["changed"], answer.last["changedCount"]) == ([2], 1)
    assert (answer.last["rows"], answer.last["refused"]) == (5, 0)
    told = [(each["row"], each["verdict"]) for each in answer.verdicts]
    expected = [(1, "created"), (2, "refused"), (3, "created"), (5, "created")]
    assert told == (expected if verdicts != "refused" else [(2, "refused")])
    assert "another row was sent under this number" in answer.verdict(2)["message"]
    before = streams.verdicts(key.replace(" ", "%20"))  # what became of those of before
    assert row_by_row(before) == ["created"] * 5
    assert values_of(node, f"{stem}2") == [f"https://e.cn/{stem}2", f"no. {stem}2", f"{stem}2"]


def test_a_stream_goes_on_where_it_stood(streams: Streams, key: str, stem: str) -> None:
    streams.post(key, b"".join(rows(1, 30, stem)), query={"end": "false"})
    state = streams.state(key.replace(" ", "%20"))
    assert (state["next"], state["ended"], state["receipt"]) == (31, None, None)
    answer = streams.post(key, b"".join(rows(31, 50, stem)), query={"from": 31})
    assert [each["row"] for each in answer.verdicts] == [31]
    whole = [hashlib.sha256(line.strip()).digest() for line in rows(1, 50, stem)]
    assert answer.last["digest"] == chain(START, whole).hex()


def test_rows_may_not_be_left_out(streams: Streams, key: str, stem: str) -> None:
    streams.post(key, b"".join(rows(1, 3, stem)), query={"end": "false"})
    answer = streams.post(key, b"".join(rows(6, 8, stem)), query={"from": 6})
    assert (answer.status, answer.last["next"]) == (409, 4)
    assert "rows 4 to 5 are missing" in answer.last["message"]


def test_nothing_follows_the_end(streams: Streams, key: str, stem: str) -> None:
    streams.post(key, b"".join(rows(1, 3, stem)))
    answer = streams.post(key, b"".join(rows(1, 4, stem)))
    assert answer.status == 409
    assert "ended with row 3" in answer.last["message"]


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_compressed_streams(streams: Streams, node: Node, key: str, stem: str, coding: str) -> None:
    body = b"".join(rows(1, 500, stem))
    packed = gzip.compress(body) if coding == "gzip" else zstandard.compress(body)
    answer = streams.post(key, packed, Content_Encoding=coding)
    assert answer.last["created"] == 500
    assert values_of(node, f"{stem}500") is not None


def test_csv_with_a_mapping(streams: Streams, node: Node, key: str, stem: str) -> None:
    table = f'code,name,note\n{stem}1,"a, b",x\n{stem}2,,\n'
    options = {"handle": "88/{code}", "map": ["name=DESC:1", "code,note=META:2"]}
    answer = streams.post(key, table.encode(), "text/csv; charset=utf-8", query=options)
    assert answer.last["created"] == 2, answer
    assert values_of(node, f"{stem}1") == ["a, b", f'{{"code":"{stem}1","note":"x"}}']


def test_csv_again_under_another_map_is_other_rows(
    streams: Streams, node: Node, key: str, stem: str
) -> None:
    table = f"code,name,note\n{stem}1,a,b\n".encode()
    options = {"handle": "88/{code}", "map": "name=DESC", "end": "false"}
    assert streams.post(key, table, "text/csv", query=options).last["created"] == 1
    assert not streams.post(key, table, "text/csv", query=options).last.get("changed")
    answer = streams.post(key, table, "text/csv", query=options | {"map": "note=DESC"})
    assert answer.last["changed"] == [1]
    assert values_of(node, f"{stem}1") == ["a"]


def test_msgpack(streams: Streams, node: Node, key: str, stem: str) -> None:
    body = b"".join(msgpack.packb(json.loads(line)) for line in rows(1, 20, stem))
    answer = streams.post(key, body, "application/msgpack")
    assert answer.last["created"] == 20
    assert values_of(node, f"{stem}20") == [f"https://e.cn/{stem}20", f"no. {stem}20", f"{stem}20"]


def test_verdicts_can_be_fetched_in_part(streams: Streams, key: str, stem: str) -> None:
    streams.post(key, b"".join([*rows(1, 9, stem), row(f"{stem}3", "x"), *rows(10, 12, stem)]))
    path = key.replace(" ", "%20")
    assert [each["row"] for each in streams.verdicts(path)] == [1, 10, 11]
    assert streams.verdicts(path, **{"from": 5})[0] | {"sequence": 0} == {
        "row": 5,
        "through": 9,
        "verdict": "created",
        "sequence": 0,
    }
    assert [each["row"] for each in streams.verdicts(path, refused="true")] == [10]


def test_only_what_is_wanted_is_told(streams: Streams, key: str, stem: str) -> None:
    body = b"".join([*rows(1, 3, stem), row(f"{stem}1", "x")])
    refused = streams.post(key, body, query={"verdicts": "refused"})
    assert [each["row"] for each in refused.verdicts] == [4]
    assert streams.post(key, body, query={"verdicts": "none"}).verdicts == []


def test_a_stream_belongs_to_its_identity(streams: Streams, node: Node, key: str) -> None:
    answer = node.get(f"/api/registrations/{key.replace(' ', '%20')}")
    assert answer.status == 401
    assert (
        node.http(
            "POST", "/api/registrations", b"", {"Idempotency-Key": "x", "Content-Type": NDJSON}
        ).status
        == 401
    )
    status, body = streams.get("/api/registrations/unknown")
    assert status == 404
    assert b"has begun no stream" in body


@pytest.mark.parametrize(
    ("headers", "query", "words"),
    [
        ({"Idempotency-Key": ""}, "", "name the stream"),
        ({"Idempotency-Key": "x" * 129}, "", "at most 128"),
        ({"Content-Type": "text/plain"}, "", "text/plain"),
        ({"Content-Encoding": "br"}, "", "br"),
        ({}, "?from=0", "from is '0'"),
        ({}, "?verdicts=some", "verdicts is 'some'"),
        ({"Content-Type": "text/csv"}, "?map=x", "map"),
    ],
)
def test_what_cannot_be_begun_says_why(
    streams: Streams, node: Node, key: str, headers: dict[str, str], query: str, words: str
) -> None:
    sent = {name: value for name, value in (streams.headers(key) | headers).items() if value}
    answer = node.http("POST", f"/api/registrations{query}", b"", sent)
    assert answer.status == 400
    assert words in answer.json["message"]


def test_an_empty_stream_has_a_receipt(streams: Streams, key: str) -> None:
    answer = streams.post(key, b"")
    assert (answer.status, answer.last["rows"], answer.verdicts) == (200, 0, [])
    assert answer.last["receipt"]
