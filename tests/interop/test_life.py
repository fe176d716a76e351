"""Frozen and revoked identifiers as strangers and stock clients find them, at a running node."""

import json
from typing import Any
from urllib.parse import quote

import pytest

from resolver.client import HandleError, KeyIdentity, read_site
from resolver.client.administration import AdministrationClient, BlockingAdministrationClient
from tests.interop import foreign_wire as wire
from tests.interop.conftest import TRANSPORTS, Stand, url
from tests.nodes import must_run, run_biaoshi

STREAMS = ["tcp", "http", "https"]


def life(place: Stand, verb: str, handle: bytes, *words: str) -> str:
    return must_run("life", verb, handle.decode(), *words, "--node", str(place.node.folder))


def ask(place: Stand, what: str, handle: bytes, more: str = "") -> Any:
    answer = place.node.get(f"/api/life/{what}?handle={quote(handle.decode(), safe='')}{more}")
    assert answer.status == 200, answer.body
    return answer.json


def test_a_frozen_handle_answers_and_refuses_every_change(top: Stand) -> None:
    handle = top.make(url(1, b"before"))
    said = life(top, "freeze", handle, "--reason", "法院 court order")
    assert said.startswith(f"{handle.decode()}: frozen since ")
    for transport in TRANSPORTS:
        client = top.client.speaking(transport=transport)
        assert client.resolve(handle).values[0].data == b"before"
    for transport in STREAMS:
        client = top.client.speaking(transport=transport)
        for answer in (
            client.modify(handle, [url(1, b"after")], top.admin),
            client.add(handle, [url(2)], top.admin),
            client.remove(handle, [1], top.admin),
            client.delete(handle, top.admin),
            client.create(handle, [url()], top.admin, wire.OVRW),
        ):
            assert answer.code == 401
            assert f"is frozen by {top.node.admin} at " in answer.text
            assert "法院 court order" in answer.text
    command = run_biaoshi("delete", handle.decode(), "-y", "--node", str(top.node.folder))
    assert (command.returncode, "is frozen by" in command.stderr) == (5, True)
    assert top.client.create(handle, [url()], top.admin).code == 101
    life(top, "thaw", handle)
    assert top.client.modify(handle, [url(1, b"after")], top.admin).code == 1
    assert top.client.resolve(handle).values[0].data == b"after"


def test_a_revoked_handle_is_not_found_and_never_given_out_again(top: Stand) -> None:
    handle = top.make(url())
    said = life(top, "revoke", handle, "--reason", "printed twice", "--yes")
    assert said.startswith(f"{handle.decode()}: revoked since ")
    for transport in TRANSPORTS:
        for flags in (wire.PUBL, 0):
            answer = top.client.speaking(transport=transport).resolve(handle, flags=flags)
            assert answer.code == 100
            assert f"was revoked by {top.node.admin} at " in answer.text
            assert "printed twice" in answer.text
    page = top.node.get("/api/handles/" + handle.decode())
    assert (page.status, "printed twice" in page.json["message"]) == (404, True)
    for transport in STREAMS:
        client = top.client.speaking(transport=transport)
        for flags in (0, wire.OVRW):
            answer = client.create(handle, [url()], top.admin, flags)
            assert (answer.code, "never given out again" in answer.text) == (101, True)
        assert client.modify(handle, [url()], top.admin).code == 100
        assert client.delete(handle, top.admin).code == 100
    again = run_biaoshi("life", "thaw", handle.decode(), "--node", str(top.node.folder))
    assert (again.returncode, "printed twice" in again.stderr) == (1, True)


def test_one_identifier_of_a_range_is_frozen_and_another_revoked(top: Stand) -> None:
    stem = f"{top.prefix.decode()}/LIFE.{top.fresh().decode().rpartition('.')[2]}."
    where = ["--node", str(top.node.folder)]
    values = ["-v", "URL=https://example.org/{serial}", "--owner", top.node.admin]
    must_run("range", "register", stem, "001", "900", *values, *where)
    one, other, third = (f"{stem}{serial}".encode() for serial in ("100", "200", "300"))
    before = top.client.resolve(one).values
    life(top, "freeze", one, "--reason", "sample")
    life(top, "revoke", other, "--reason", "lost", "--yes")
    for transport in TRANSPORTS:
        client = top.client.speaking(transport=transport)
        assert client.resolve(one).values == before
        assert (client.resolve(other).code, client.resolve(third).code) == (100, 1)
        assert "lost" in client.resolve(other).text
    assert top.client.modify(one, [url(1, b"x")], top.admin).code == 401
    assert top.client.create(other, [url()], top.admin).code == 101
    life(top, "thaw", one)
    assert top.client.modify(one, [url(1, b"x")], top.admin).code == 1
    assert ask(top, "state", other)["state"] == "revoked"


def test_the_past_is_told_to_everybody_but_for_hidden_values(top: Stand) -> None:
    handle = top.make(url(1, b"one"), url(2, b"secret", 0b1100))
    assert top.client.modify(handle, [url(1, b"two")], top.admin).code == 1
    life(top, "freeze", handle, "--reason", "audit")
    assert ask(top, "state", handle)["reason"] == "audit"
    past = ask(top, "history", handle)
    assert [each["operation"] for each in past["events"]] == ["create", "modify", "freeze"]
    assert [each.get("hidden") for each in past["events"]] == [1, 1, None]
    created = past["events"][0]
    by_sequence = ask(top, "as-of", handle, f"&sequence={created['sequence']}")
    by_time = ask(top, "as-of", handle, f"&time={quote(created['time'])}")
    assert by_sequence["state"] == "active"
    assert by_sequence["values"][0]["data"]["value"] == "one"
    assert by_time["state"] in ("active", "unregistered")  # others write within a millisecond too
    command = ["life", "as-of", handle.decode(), str(created["sequence"]), "--json"]
    seen = json.loads(must_run(*command, "--node", str(top.node.folder)))
    assert (seen["hidden"], seen["values"][1]["data"]["value"]) == (0, "secret")
    table = life(top, "history", handle)
    assert [word in table for word in ("create", "modify", "freeze", "audit", "two")] == [True] * 5


def test_the_client_of_enterprises(top: Stand) -> None:
    handle = top.make(url(1, b"one"))
    identity = KeyIdentity.load(top.node.admin, top.node.admin_key)
    made = AdministrationClient.at(read_site(top.node.folder / "site.json"), identity)
    with BlockingAdministrationClient(made) as client:
        assert client.life(handle).state == "active"
        assert client.freeze(handle, "audit").state == "frozen"
        with pytest.raises(HandleError, match="is frozen by"):
            client.freeze(handle, "again")
        assert client.thaw(handle).by == top.node.admin
        assert client.revoke(handle, "forged").reason == "forged"
        events = list(client.history(handle, page_events=1))
        assert [each.operation for each in events] == ["create", "freeze", "thaw", "revoke"]
        assert events[0].values[0].data == b"one"
        past = client.as_of(handle, events[1].sequence)
        assert (past.state, past.reason, past.values[0].data) == ("frozen", "audit", b"one")
        assert client.as_of(handle, events[3].time).state == "revoked"
        with pytest.raises(HandleError, match="the journal ends at frame"):
            client.as_of(handle, 2**40)


def test_strangers_change_no_state(top: Stand) -> None:
    handle = top.make(url())
    for verb in ("freeze", "thaw", "revoke"):
        body = json.dumps({"handle": handle.decode(), "reason": "x"}).encode()
        headers = {"Content-Type": "application/json"}
        answer = top.node.http("POST", f"/api/life/{verb}", body, headers)
        assert answer.status in (400, 401)
    assert ask(top, "state", handle) == {
        "responseCode": 1,
        "handle": handle.decode(),
        "state": "active",
    }
