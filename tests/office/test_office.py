"""The prefix office of running nodes: applied for, given out, registered under, suspended."""

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from protocol.codes import ResponseCode
from protocol.key_files import decode_private_key
from protocol.message import Message
from tests.faults.rest_client import RestSession
from tests.faults.wire_client import (
    Administrator,
    Connection,
    administrator,
    ask_tcp,
    ask_udp,
    creation,
    product_values,
    read_answer,
    resolution,
)
from tests.nodes import Node, Tables, make_node, must_run, run_biaoshi, running
from tests.registry.office import particulars
from tests.streams.client import Streams

TABLES: Tables = {"tls": {"allow_plain_credentials_on_loopback": True}}
EFFECT_S = 1.0
PREFIX = "88.77"
ITEM = b"88.77/ITEM"


class Stand(NamedTuple):
    top: Node
    recursive: Node
    folder: Path
    owner: Administrator
    token: str


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """A top node and a recursive one, and an enterprise that has been given 88.77."""
    folder = tmp_path_factory.mktemp("office")
    top = make_node(folder / "top", tables=TABLES)
    with running(top):
        recursive = make_node(folder / "recursive", "recursive", "", root=top.bootstrap)
        with running(recursive):
            must_run("keygen", str(folder / "owner"))
            token = apply(folder, top)
            place = ["--node", str(top.folder)]
            must_run("prefix", "approve", "1", "--mode", "hosted", *place)
            key = decode_private_key((folder / "owner-key.bin").read_bytes())
            owner = Administrator(b"0.NA/88.77", 300, key)  # type: ignore[arg-type]
            yield Stand(top, recursive, folder, owner, token)
        assert "Traceback" not in top.log, top.log_tail
        assert top.stop() == 0
        must_run("verify", str(top.folder))


def apply(folder: Path, top: Node) -> str:
    (folder / "application.json").write_text(
        json.dumps({"prefix": PREFIX, "particulars": particulars()})
    )
    told = must_run(
        "prefix", "apply", str(folder / "application.json"), "--json",
        "--public-key", str(folder / "owner-public-key.bin"),
        "--server", f"{top.address[0]}:{top.address[1]}",
    )  # fmt: skip
    document = json.loads(told)
    assert (document["number"], document["state"]) == (1, "in review")
    token: str = document["token"]
    return token


def over_udp(node: Node, request: Message) -> tuple[int, str]:
    return told(ask_udp(node.address, request))


def over_tcp(node: Node, request: Message) -> tuple[int, str]:
    return told(ask_tcp(node.address, request))


def told(answer: Message) -> tuple[int, str]:
    _, code, body = read_answer(answer)
    return code, (getattr(body, "message", b"") or b"").decode()


def over_http(node: Node, handle: bytes) -> tuple[int, str]:
    document = node.get(f"/api/handles/{handle.decode()}").json
    return document["responseCode"], document.get("message", "")


def everywhere(node: Node, handle: bytes) -> set[tuple[int, str]]:
    request = resolution(handle)
    return {over_udp(node, request), over_tcp(node, request), over_http(node, handle)}


def office(stand: Stand, *words: str) -> Any:
    return json.loads(must_run("prefix", *words, "--node", str(stand.top.folder), "--json"))


def register(stand: Stand, handle: bytes) -> tuple[int, str]:
    with Connection(stand.top.address) as line:
        answered = line.administer(creation(handle, product_values("x")), stand.owner)
    return answered.code, (getattr(answered.body, "message", b"") or b"").decode()


def test_an_enterprise_is_given_a_prefix_registers_is_suspended_and_resumed(stand: Stand) -> None:
    assert register(stand, ITEM) == (ResponseCode.SUCCESS, "")
    assert everywhere(stand.top, ITEM) == {(ResponseCode.SUCCESS, "")}
    assert over_udp(stand.recursive, resolution(ITEM))[0] == ResponseCode.SUCCESS
    with RestSession(stand.top, stand.owner) as session:
        suspend_and_resume(stand, session)


def suspend_and_resume(stand: Stand, session: RestSession) -> None:
    assert session.put("88.77/BY-REST", []).status == 201

    suspended = office(stand, "suspend", PREFIX, "--reason", "unpaid")
    began = time.monotonic()
    words = f"88.77 is suspended since {suspended['since']}: unpaid"
    said = {(int(ResponseCode.INSUFFICIENT_PERMISSIONS), words)}
    for handle in (ITEM, b"88.77/never-there", b"0.NA/88.77"):
        assert everywhere(stand.top, handle) == said
    assert time.monotonic() - began < EFFECT_S
    assert stand.top.get("/api/handles/88.77/ITEM").status == 403
    # What a recursive node did not have is refused with the words of the node above.
    assert over_udp(stand.recursive, resolution(b"88.77/BY-REST")) in (
        *said, (ResponseCode.SUCCESS, ""),
    )  # fmt: skip
    assert register(stand, b"88.77/NEW") == next(iter(said))
    answer = session.put("88.77/NEW", [])
    assert (answer.status, answer.json["message"]) == (403, words)
    refused = run_biaoshi("resolve", "88.77/ITEM", "--root", str(stand.top.bootstrap))
    assert words in refused.stderr

    assert office(stand, "resume", PREFIX)["state"] == "active"
    assert everywhere(stand.top, ITEM) == {(ResponseCode.SUCCESS, "")}
    assert register(stand, b"88.77/NEW")[0] == ResponseCode.SUCCESS


def test_a_recursive_node_says_why_a_prefix_it_does_not_know_is_suspended(stand: Stand) -> None:
    node = make_node(stand.folder / "below", "enterprise", "88.78", root=stand.top.bootstrap)
    document = {"particulars": particulars(name="Below")}
    (stand.folder / "below.json").write_text(json.dumps(document))
    made = office(
        stand, "apply", str(stand.folder / "below.json"), "--delegation", str(node.delegation)
    )
    office(stand, "approve", str(made["number"]), "--mode", "delegated")
    assert over_tcp(stand.top, resolution(b"0.NA/88.78")) == (ResponseCode.SUCCESS, "")
    suspended = office(stand, "suspend", "88.78", "-r", "licence expired")
    words = f"88.78 is suspended since {suspended['since']}: licence expired"
    said = (int(ResponseCode.INSUFFICIENT_PERMISSIONS), words)
    assert everywhere(stand.top, b"0.NA/88.78") == {said}
    assert over_udp(stand.recursive, resolution(b"88.78/x")) == said
    assert over_http(stand.recursive, b"88.78/x") == said


def test_people_are_read_by_reviewers_logged_and_erased(stand: Stand) -> None:
    place = ["--node", str(stand.top.folder)]
    shown = json.loads(must_run("prefix", "application", "1", "--token", stand.token, *place))
    assert "Li Lei" not in json.dumps(shown)
    assert shown["particulars"]["name"] == "Example Machine Works"
    shown = json.loads(must_run("prefix", "application", "1", "--people", *place))
    contact = shown["people"][1]
    assert contact["name"] == "Li Lei"
    assert f"300:0.NA/0.NA reads person {contact['subject']}" in stand.top.log
    must_run("prefix", "erase-person", contact["subject"], *place)
    shown = json.loads(must_run("prefix", "application", "1", "--people", *place))
    assert shown["people"][1]["state"] == "erased"
    assert b"Li Lei" not in (stand.top.store / "data.mdb").read_bytes()
    assert "Li Lei" not in stand.top.log


def stream_row(handle: str) -> bytes:
    values = [{"index": 1, "type": "URL", "data": "https://example.org/"}]
    return json.dumps({"handle": handle, "values": values}).encode() + b"\n"


def test_quotas_are_visible_before_they_bite(stand: Stand) -> None:
    told = office(stand, "quota", "88", "--identifiers", "3", "--requests", "6")
    assert told["identifiers"]["left"] == 3
    with RestSession(stand.top, administrator(stand.top)) as session:
        answers = [session.put(f"88/Q{number}", []) for number in range(4)]
    assert [answer.status for answer in answers] == [201, 201, 201, 403]
    left = [int(answer.headers["ratelimit-remaining"]) for answer in answers]
    assert left == [2, 1, 0, 0]
    assert int(answers[0].headers["ratelimit-limit"]) == 3
    assert 0 < int(answers[0].headers["ratelimit-reset"]) <= 86_400
    assert answers[3].json["message"].startswith("88 has used 3 of 3 identifiers today; its quota")
    streams = Streams(stand.top)
    answer = streams.post("quota", stream_row("88/Q9"))
    told = answer.last
    assert (told["created"], told["refused"]) == (0, 1)
    assert answer.verdict(1)["message"].startswith("88 has used 3 of 3 identifiers today")
    assert answer.headers["ratelimit-remaining"] == "0"
    assert (told["quotas"]["identifiers"]["limit"], told["quotas"]["requests"]["limit"]) == (3, 6)
    office(stand, "quota", "88", "--requests", "6")
    with RestSession(stand.top, administrator(stand.top)) as session:
        answers = [session.put(f"88/R{number}", []) for number in range(3)]
    assert [answer.status for answer in answers] == [201, 201, 403]
    assert answers[2].json["message"].startswith("88 has used 6 of 6 requests today")
    office(stand, "quota", "88", "--no-limit")
    with RestSession(stand.top, administrator(stand.top)) as session:
        unlimited = session.put("88/UNLIMITED", [])
    assert unlimited.status == 201
    assert "ratelimit-limit" not in unlimited.headers
    answer = streams.post("no-quota", stream_row("88/Q10"))
    assert (answer.last["created"], "quotas" in answer.last) == (1, False)
    assert "ratelimit-limit" not in answer.headers


@pytest.mark.parametrize("verdicts", ["after", "stream", "none"])
def test_a_stream_tells_what_is_left_of_the_quota_of_identifiers(
    stand: Stand, verdicts: str
) -> None:
    streams = Streams(stand.top, stand.owner)
    used = office(stand, "quota", PREFIX, "--identifiers", "1000", "--requests", "7")
    left = used["identifiers"]["left"]
    name = f"quota-{verdicts}"
    rows = b"".join(stream_row(f"88.77/{name}.{number}") for number in range(5))
    told = streams.post(name, rows, query={"verdicts": verdicts})
    office(stand, "quota", PREFIX, "--no-limit")
    assert told.last["created"] == 5
    assert told.last["quotas"]["identifiers"]["remaining"] == left - 5
    # With verdicts=stream the head is sent before a row is read.
    expected = left if verdicts == "stream" else left - 5
    assert int(told.headers["ratelimit-limit"]) == 1000
    assert int(told.headers["ratelimit-remaining"]) == expected
    assert 0 < int(told.headers["ratelimit-reset"]) <= 86_400


def test_strangers_are_refused_and_personal_data_taken_over_tls_only(stand: Stand) -> None:
    who = ["--admin", "300:0.NA/88.77", "--key", str(stand.folder / "owner-key.bin")]
    server = f"{stand.top.address[0]}:{stand.top.address[1]}"
    for words in (
        ["suspend", "88.77", "-r", "x"],
        ["applications"],
        ["approve", "1", "--mode", "hosted"],
    ):
        ended = run_biaoshi("prefix", *words, "--server", server, *who)
        assert ended.returncode == 5, ended.stderr
        assert "is not an administrator" in ended.stderr
    body = json.dumps({"prefix": "88.99", "particulars": particulars()}).encode()
    headers = {"Content-Type": "application/json"}
    answer = stand.recursive.http("POST", "/api/applications", body, headers)
    assert answer.status == 403
    assert "https only" in answer.json["message"]


def test_who_a_prefix_belonged_to_is_logged_out_when_it_changes_hands(stand: Stand) -> None:
    must_run("keygen", str(stand.folder / "next"))
    with RestSession(stand.top, stand.owner) as session:
        assert session.put("88.77/BEFORE", []).status == 201
        key = str(stand.folder / "next-public-key.bin")
        office(stand, "transfer", PREFIX, "--public-key", key, "--reason", "sold")
        assert session.put("88.77/AFTER", []).status == 401
    assert stand.top.get("/api/handles/88.77/AFTER").status == 404
    assert (
        "1 sessions ended and 0 streams stopped: changed or gone: 300:0.NA/88.77" in stand.top.log
    )


def test_who_changes_a_key_ends_the_sessions_begun_with_it(stand: Stand) -> None:
    for name in ("third", "fourth"):
        must_run("keygen", str(stand.folder / name))
    key = str(stand.folder / "third-public-key.bin")
    office(stand, "transfer", PREFIX, "--public-key", key, "--reason", "sold again")
    private = decode_private_key((stand.folder / "third-key.bin").read_bytes())
    owner = Administrator(stand.owner.handle, 300, private)  # type: ignore[arg-type]
    other = base64.b64encode((stand.folder / "fourth-public-key.bin").read_bytes()).decode()
    value = {"index": 300, "type": "HS_PUBKEY", "data": {"format": "base64", "value": other}}
    target = "0.NA/88.77?index=300&overwrite=true"
    with RestSession(stand.top, owner) as session, RestSession(stand.top, owner) as second:
        assert session.put("88.77/WITH-IT", []).status == 201
        assert second.put("88.77/WITH-IT-TOO", []).status == 201
        assert session.put_at(target, [value]).status == 200
        assert second.put("88.77/WITHOUT", []).status == 401
        assert session.put("88.77/WITHOUT", []).status == 401
    assert "2 sessions ended and 0 streams stopped: changed or gone: 300:" in stand.top.log
