"""schemathesis against a running node, as its administrator: what is described is what is answered.

`make api-check` runs more of it, for some minutes.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from resolver.api.routes import ENDPOINTS
from tests.interop.conftest import SECRET_INDEX, stand
from tests.interop.described import Described
from tests.interop.foreign_wire import Value, admin_data
from tests.nodes import ADDRESS, Node, make_node, running
from tests.registry.office import APPLICANT_KEY, application, particulars

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
USER = f"{SECRET_INDEX}:88/USER"
SECRET = "open sesame"
GIVEN_OUT = {"prefix": "88.1"}
END = {"first": "0001", "last": "0090"}
VALUES = ({"index": 1, "type": "URL", "data": "https://example.org/"},)
EXAMPLES = 3
PHASES = "fuzzing"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node that anything may be done to."""
    tables: dict[str, dict[str, object]] = {
        "tls": {"allow_plain_credentials_on_loopback": True},
        "roles": {"administrators": ["300:0.NA/0.NA", USER], "reviewers": [USER]},
    }
    with running(make_node(tmp_path_factory.mktemp("openapi") / "node", tables=tables)) as node:
        place = stand(node)
        secret = Value(SECRET_INDEX, b"HS_SECKEY", SECRET.encode(), permissions=0b1100)
        rule = Value(101, b"HS_ADMIN", admin_data(b"88/USER", SECRET_INDEX))
        assert place.client.create(b"88/USER", [secret, rule], place.admin).code == 1
        yield node


def test_what_acts_answer_is_described(node: Node) -> None:
    told = Described(node, USER, SECRET)
    ranges_are_told(told)
    lives_are_told(told)
    templates_are_told(told)
    statistics_are_told(told)
    prefixes_are_told(told)
    streams_are_told(told)
    records_are_told(told)
    typed = {(each.method, each.shown_path) for each in ENDPOINTS if isinstance(each.answer, type)}
    assert typed <= told.asked, typed - told.asked


def ranges_are_told(told: Described) -> None:
    data = {"format": "string", "value": "https://example.org/{serial}"}
    lot = {"stem": "88/LOT.", "first": "0001", "last": "0100", "check": "gs1"}
    url = {"index": 1, "type": "URL", "data": data}
    told.ask("POST", "/api/ranges", lot | {"values": [url]})
    first = told.ask("GET", "/api/ranges", query={"prefix": "88", "limit": 1})["ranges"][0]
    assert (first["stem"], first["values"][0]["data"]) == ("88/LOT.", data)
    told.ask("GET", "/api/ranges/count", query={"prefix": "88"})
    told.ask("GET", "/api/ranges/of/{identifier}", at={"identifier": "88/LOT.00017"})
    told.ask("POST", "/api/ranges/shrink", {"identifier": "88/LOT.00017"} | END)
    told.ask("POST", "/api/ranges/split", {"identifier": "88/LOT.00505"})
    revoked = {"identifier": "88/LOT.00505", "reason": "never made"}
    assert told.ask("POST", "/api/ranges/revoke", revoked)["range"]["reason"] == "never made"
    query = {"identifier": "88/LOT.00505"}
    events = told.ask("GET", "/api/ranges/history", query=query)["events"]
    assert [each["operation"] for each in events] == ["register", "shrink", "split", "revoke"]
    events = told.ask("GET", "/api/life/history", query={"handle": "88/LOT.00505"})["events"]
    assert events[-1]["range"] == "88/LOT.0050..0090"
    told.ask("GET", "/api/life/as-of", query={"handle": "88/LOT.00505", "sequence": 4})


def lives_are_told(told: Described) -> None:
    named = {"handle": "88/LIFE"}
    told.ask("PUT", "/api/handles/{handle}", [*VALUES], at={"handle": "88/LIFE"})
    for verb in ("freeze", "thaw", "revoke"):
        assert told.ask("POST", f"/api/life/{verb}", named | {"reason": "why"})["handle"]
        told.ask("GET", "/api/life/state", query=named)
    assert len(told.ask("GET", "/api/life/history", query=named)["events"]) == 4
    told.ask("GET", "/api/life/as-of", query=named | {"time": "2099-01-01T00:00:00Z"})
    told.ask("GET", "/api/life/as-of", query=named | {"sequence": 1})


def templates_are_told(told: Described) -> None:
    attributes = [
        {"name": "NAME", "type": "string", "required": True, "length": 20},
        {"name": "KIND", "type": "list", "itemType": "enumeration", "values": ["a", "b"]},
    ]
    document = {"prefix": "88", "code": "part", "industry": "C36", "attributes": attributes}
    assert told.ask("POST", "/api/templates", document)["registered"] is True
    named = {"prefix": "88", "code": "part"}
    path = "/api/templates/{prefix}/{code}"
    told.ask("GET", path, at=named)
    told.ask("GET", path + "/{version}", at=named | {"version": 1})
    made = {"template": "part", "attributes": {"NAME": "x", "KIND": ["a"]}}
    told.ask("PUT", "/api/handles/{handle}", made, at={"handle": "88/MADE"})
    told.ask("PUT", path + "/{version}/withdrawal", {"reason": "old"}, at=named | {"version": 1})
    listed = told.ask("GET", "/api/templates", query={"prefix": "88"})["templates"]
    assert listed[0]["withdrawn"]["reason"] == "old"


def statistics_are_told(told: Described) -> None:
    for query in ({}, {"prefix": "88"}):
        assert told.ask("GET", "/api/statistics", query=query)["days"]
        told.ask("GET", "/api/statistics/totals", query=query)
    told.ask("GET", "/api/statistics/sources")


def prefixes_are_told(told: Described) -> None:
    numbers = []
    for prefix in ("88.1", "88.2"):
        applied = told.ask("POST", "/api/applications", application(prefix))
        numbers.append(applied["number"])
        token = {"Application-Token": applied["token"]}
        told.ask("GET", "/api/applications/{number}", at={"number": numbers[-1]}, headers=token)
    decide = "/api/applications/{number}/{verb}"
    refused = {"number": numbers[1], "verb": "refuse"}
    told.ask("POST", decide, {"reason": "no"}, at=refused)
    told.ask("POST", decide, {"mode": "hosted"}, at={"number": numbers[0], "verb": "approve"})
    shown = told.ask(
        "GET", "/api/applications/{number}", at={"number": numbers[0]}, query={"people": "true"}
    )
    assert shown["people"][0]["name"] == "Han Meimei"
    assert len(told.ask("GET", "/api/applications")["applications"]) == 2
    told.ask("GET", "/api/prefixes/{prefix}", at=GIVEN_OUT)
    quota = {"identifiersPerDay": 10, "requestsPerDay": None}
    told.ask("PUT", "/api/quotas/{prefix}", quota, at=GIVEN_OUT)
    assert told.ask("GET", "/api/quotas/{prefix}", at=GIVEN_OUT)["requests"]["perDay"] is None
    key = {"publicKey": APPLICANT_KEY, "particulars": particulars()}
    for verb, body in (
        ("suspend", {"reason": "unpaid"}),
        ("resume", {}),
        ("transfer", key),
        ("release", {"reason": "unused"}),
        ("remove", {}),
    ):
        told.ask("POST", "/api/prefixes/{prefix}/{verb}", body, at=GIVEN_OUT | {"verb": verb})
    subject = shown["people"][0]["subject"]
    told.ask("DELETE", "/api/people/{subject}", at={"subject": subject})
    shown = told.ask("GET", "/api/applications/{number}", at={"number": numbers[0]})
    assert {each["state"] for each in shown["people"]} == {"erased", "encrypted"}


def streams_are_told(told: Described) -> None:
    row = json.dumps({"handle": "88/ROW", "values": [*VALUES]}) + "\n"
    kind = {"Content-Type": "application/x-ndjson", "Idempotency-Key": "one"}
    sent = told.send("POST", "/api/registrations", row.encode(), kind)
    assert sent.status == 200, sent
    stream = told.ask("GET", "/api/registrations/{key}", at={"key": "one"})
    assert (stream["rows"], stream["next"]) == (1, 2)
    kind = {"Content-Type": "text/plain"}
    checked = told.ask("POST", "/api/receipts/verify", stream["receipt"], headers=kind)
    assert checked["verified"] is True


def records_are_told(told: Described) -> None:
    told.ask("GET", "/api/site")
    record = told.ask("GET", "/api/handles/{handle}", at={"handle": "0.NA/88"})
    assert {"admin", "site"} <= {each["data"]["format"] for each in record["values"]}
    told.ask("POST", "/api/handles/{handle}", {"index": ["1"]}, at={"handle": "88/ROW"})
    for method in ("GET", "POST"):
        query = {"prefix": "88", "page": 0, "pageSize": 1}
        body = query if method == "POST" else None
        listed = told.ask(method, "/api/handles", body, query=None if body else query)
        assert listed["totalCount"] != "0"
    assert "0.NA/88" in told.ask("GET", "/api/prefixes")["prefixes"]
    told.ask("DELETE", "/api/handles/{handle}", at={"handle": "88/ROW"})


def test_schemathesis_finds_nothing(node: Node, tmp_path: Path) -> None:
    examples = os.environ.get("BIAOSHI_API_EXAMPLES", str(EXAMPLES))
    phases = os.environ.get("BIAOSHI_API_PHASES", PHASES)
    ended = subprocess.run(
        [
            *(sys.executable, "-W", "ignore", "-m", "schemathesis.cli"),
            *("--config-file", str(CONFIGURATION), "run"),
            f"http://{ADDRESS}:{node.http_port}/api/openapi.json",
            *("--auth", f"{quote(USER, safe='')}:{SECRET}"),
            *("--phases", phases, "--max-examples", examples, "--no-color"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    tested = re.search(r"Tested: (\d+)", ended.stdout)
    assert tested is not None, ended.stdout
    assert int(tested[1]) > 50
    assert "Traceback" not in node.log
