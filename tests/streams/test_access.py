"""Who may register in streams, and where nobody can."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from protocol.codes import ResponseCode
from protocol.types.hs_pubkey import encode_public_key
from protocol.value import HandleValue
from tests.faults.wire_client import Administrator, Connection, administrator, creation
from tests.nodes import Node, make_node, running
from tests.streams.client import (
    NDJSON,
    PATH,
    Streams,
    deletion,
    log_in,
    row,
    row_by_row,
    rows,
    values_of,
)
from tests.streams.conftest import TABLES


@pytest.fixture(scope="module")
def stranger(node: Node) -> Administrator:
    """Somebody whose key the node knows, and who administers nothing."""
    key = generate_private_key(65_537, 2_048)
    who = Administrator(b"88/stranger", 300, key)
    value = HandleValue(300, b"HS_PUBKEY", encode_public_key(key.public_key()))
    with Connection(node.address) as connection:
        asked = creation(who.handle, [value])
        assert connection.administer(asked, administrator(node)).code == ResponseCode.SUCCESS
    return who


def test_without_credentials_there_is_a_challenge(node: Node, key: str, stem: str) -> None:
    headers = {"Idempotency-Key": key, "Content-Type": NDJSON}
    answer = node.http("POST", PATH, b"".join(rows(1, 3, stem)), headers)
    assert answer.status == 401
    assert 'nonce="' in answer.headers["www-authenticate"]
    assert values_of(node, f"{stem}1") is None
    for path in (f"{PATH}/{key}", f"{PATH}/{key}/verdicts"):
        answer = node.get(path)
        assert answer.status == 401
        assert 'sessionId="' in answer.headers["www-authenticate"]


@pytest.mark.parametrize(
    "header",
    [
        'Handle version="0", sessionId="made-up"',
        "Basic bm9ib2R5Om5vdGhpbmc=",
        "Bearer token",
        "Handle sessionId=",
    ],
)
def test_credentials_that_prove_nothing(node: Node, key: str, stem: str, header: str) -> None:
    headers = {"Idempotency-Key": key, "Content-Type": NDJSON, "Authorization": header}
    answer = node.http("POST", PATH, b"".join(rows(1, 3, stem)), headers)
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Handle")
    assert values_of(node, f"{stem}1") is None


def test_who_administers_nothing_has_every_row_refused(
    streams: Streams, node: Node, stranger: Administrator, key: str, stem: str
) -> None:
    streams.post(f"{key}-theirs", row(f"{stem}there"))
    other = Streams(node, stranger)
    lines = [
        *rows(1, 3, stem),
        row(f"{stem}there", "other"),
        row(f"{stem}there", "other", operation="replace"),
        row(f"{stem}there"),
        deletion(f"{stem}there"),
    ]
    answer = other.post(key, b"".join(lines))
    assert answer.status == 200
    assert row_by_row(answer.verdicts) == ["refused"] * len(lines)
    # That a handle is there is no secret, so that may be said instead.
    may_not = {ResponseCode.INVALID_ADMIN, ResponseCode.INSUFFICIENT_PERMISSIONS}
    codes = {row: answer.verdict(row)["responseCode"] for row in range(1, len(lines) + 1)}
    assert {codes[row] for row in (1, 2, 3, 5, 7)} <= may_not
    assert {codes[row] for row in (4, 6)} <= {*may_not, ResponseCode.HANDLE_ALREADY_EXISTS}
    assert all(each["message"] for each in answer.verdicts)
    assert (answer.last["refused"], answer.last["firstSequence"]) == (len(lines), 0)
    assert answer.last["identity"] == "300:88/stranger"
    assert values_of(node, f"{stem}1") is None
    found = values_of(node, f"{stem}there")
    assert found is not None
    assert found[1] == f"no. {stem}there"


def test_nobody_sees_or_changes_the_stream_of_another(
    streams: Streams, node: Node, stranger: Administrator, key: str, stem: str
) -> None:
    streams.post(key, row(f"{stem}1"), query={"end": "false"})
    other = Streams(node, stranger)
    status, body = other.get(f"{PATH}/{key}")
    assert (status, b"has begun no stream" in body) == (404, True)
    assert other.get(f"{PATH}/{key}/verdicts")[0] == 404
    assert other.post(key, row(f"{stem}2")).last["rows"] == 1  # a stream of their own
    assert streams.state(key)["rows"] == 1
    assert streams.state(key)["ended"] is None


def test_a_recursive_node_registers_nothing(tmp_path: Path, node: Node, key: str) -> None:
    made = make_node(tmp_path / "node", "recursive", "", root=node.bootstrap, tables=TABLES)
    headers = {"Idempotency-Key": key, "Content-Type": NDJSON}
    with running(made):
        posted = made.http("POST", PATH, row("x"), headers)
        shown = [made.get(f"{PATH}/{key}"), made.get(f"{PATH}/{key}/verdicts")]
    for answer in (posted, *shown):
        assert answer.status == 501, answer
        assert answer.json["responseCode"] == ResponseCode.OPERATION_NOT_SUPPORTED
        assert "registers nothing" in answer.json["message"]


def test_a_log_in_is_for_one_identity(node: Node, stranger: Administrator) -> None:
    assert log_in(node) != log_in(node, stranger)
