"""Templates at a running node: client, command line, streams, and every way of resolving."""

import json
from pathlib import Path
from typing import Any

import pytest

from protocol.handle import to_text
from resolver.client import (
    AlreadyExistsError,
    BlockingClient,
    HandleClient,
    InvalidRequestError,
    KeyIdentity,
    read_site,
)
from resolver.client.administration import AdministrationClient, BlockingAdministrationClient
from resolver.client.registrations import (
    BlockingRegistrationClient,
    CsvColumns,
    RegistrationClient,
)
from tests.nodes import Node, must_run, run_biaoshi
from tests.streams.client import Streams

DOCUMENT: dict[str, Any] = {
    "prefix": "88",
    "code": "pump",
    "title": "泵",
    "industry": "C3441",
    "attributes": [
        {"name": "serial", "type": "string", "alias": "序列号", "required": True},
        {"name": "made", "type": "date", "required": True},
        {"name": "grade", "type": "enumeration", "values": ["A", "B"]},
        {"name": "weight", "type": "number"},
    ],
}


@pytest.fixture
def code(stem: str) -> str:
    """A template's code that no other test has."""
    return f"t{stem[:-1].lower()}"


def administration(node: Node) -> BlockingAdministrationClient:
    site, identity = read_site(node.folder / "site.json"), identity_of(node)
    return BlockingAdministrationClient(AdministrationClient.at(site, identity))


def identity_of(node: Node) -> KeyIdentity:
    return KeyIdentity.load(node.admin, node.folder / "admin-key.bin")


def resolved(node: Node, handle: str) -> dict[int, str]:
    """Values as UDP and HTTP answer them, which is the same."""
    with BlockingClient(HandleClient(site=read_site(node.folder / "site.json"))) as client:
        values = client.resolve(handle).values
    over_udp = {value.index: to_text(value.data) for value in values}
    answer = node.get(f"/api/handles/{handle}")
    form = json.loads(answer.body)
    texts = {each["index"]: each["data"]["value"] for each in form["values"]}
    assert {index: text for index, text in texts.items() if index >= 1_000} == {
        index: text for index, text in over_udp.items() if index >= 1_000
    }
    return over_udp


def test_a_lot_is_made_from_a_template_and_resolved(
    node: Node, streams: Streams, key: str, stem: str, code: str
) -> None:
    with administration(node) as client:
        made = client.register_template({**DOCUMENT, "code": code})
        assert client.register_template({**DOCUMENT, "code": code}) == made
        assert [each.version for each in client.list_templates("88", code=code)] == [1]
    rows = [
        {
            "handle": f"88/{stem}{serial:06}", "template": code,
            "attributes": {"serial": f"{serial:06}", "made": "2026-11-21", "grade": "A"},
        }
        for serial in range(1, 301)
    ]  # fmt: skip
    rows[6]["attributes"] = {"grade": "Z", "weight": "1", "color": "red"}
    body = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    answer = streams.post(key, body)
    assert (answer.last["created"], answer.last["refused"]) == (299, 1)
    said = answer.verdict(7)["message"]
    for words in (
        "'serial' is missing",
        "'made' is missing",
        "'grade' must",
        "'weight' must",
        "color",
    ):
        assert words in said
    assert resolved(node, f"88/{stem}000299") == {
        1000: f"88:{code}", 1001: "1", 2000: "000299", 2001: "2026-11-21", 2002: "A",
    }  # fmt: skip


def test_a_client_makes_one_and_is_told_all_that_is_wrong(node: Node, stem: str, code: str) -> None:
    handle = f"88/{stem}1"
    with administration(node) as client:
        client.register_template({**DOCUMENT, "code": code})
        attributes = {"serial": "1", "made": "2026-11-21", "weight": 2}
        made = client.create_from_template(handle, code, attributes)
        assert (made.template, made.version, made.replaced) == (f"88:{code}", 1, False)
        with pytest.raises(AlreadyExistsError):
            client.create_from_template(handle, code, attributes)
        with pytest.raises(InvalidRequestError, match=r"'made' is missing.*'grade' must"):
            client.create_from_template(f"{handle}x", code, {"serial": "1", "grade": "Z"})
        with pytest.raises(AlreadyExistsError, match="register version 2"):
            client.register_template({**DOCUMENT, "code": code, "version": 1, "title": "x"})
        assert client.register_template({**DOCUMENT, "code": code, "title": "x"}).version == 2
        withdrawn = client.withdraw_template("88", code, 2, "a mistake").withdrawn
        assert withdrawn is not None
        assert withdrawn.reason == "a mistake"
        with pytest.raises(InvalidRequestError, match="withdrawn"):
            client.create_from_template(f"{handle}y", code, attributes)
        first = client.find_template("88", code, 1)
        assert first is not None
        assert (first.title, first.withdrawn) == ("泵", None)
        assert client.find_template("88", "none") is None
    assert resolved(node, handle)[2003] == "2"


def test_rows_of_csv_are_made_from_a_template(
    node: Node, key: str, stem: str, code: str, tmp_path: Path
) -> None:
    with administration(node) as client:
        client.register_template({**DOCUMENT, "code": code})
    table = tmp_path / "pumps.csv"
    table.write_text(
        "serial,made,weight,note\n1,2026-11-21,1.50,x\n2,2026-11-21,heavy,y\n3,2026-11-21,,\n"
    )
    columns = CsvColumns(
        f"88/{stem}{{serial}}",
        ["note=DESC"],
        template=f"{code}@1",
        attributes=["serial", "made", "weight"],
    )
    site, identity = read_site(node.folder / "site.json"), identity_of(node)
    with BlockingRegistrationClient(RegistrationClient.at(site, identity)) as client:
        state = client.register(table, key, columns=columns)
        (refused,) = client.verdicts(key, refused_only=True)
    assert (state.created, state.refused) == (2, 1)
    assert "'weight' must be a number, not 'heavy'" in refused.message
    assert resolved(node, f"88/{stem}1")[2003] == "1.5"
    assert list(resolved(node, f"88/{stem}3")) == [1000, 1001, 2000, 2001]


def test_the_command_line(node: Node, stem: str, code: str, tmp_path: Path) -> None:
    file = tmp_path / "pump.json"
    file.write_text(json.dumps({**DOCUMENT, "code": code}))
    at = ("--node", str(node.folder))
    assert f"88:{code} version 1: 4 attributes" in must_run("template", "register", str(file), *at)
    shown = must_run("template", "show", "88", code, *at)
    assert "2000" in shown
    assert "序列号" in shown
    assert code in must_run("template", "list", "88", *at)
    rows = tmp_path / "rows.ndjson"
    good = {"serial": "1", "made": "2026-11-21"}
    lines = [
        {"handle": f"88/{stem}1", "template": code, "attributes": good},
        {"handle": f"88/{stem}2", "template": code, "attributes": {"grade": "Z"}},
    ]
    rows.write_text("".join(json.dumps(line) + "\n" for line in lines))
    checked = run_biaoshi("template", "check", str(rows), "--template", str(file))
    assert checked.returncode == 1
    assert f"row 2 88/{stem}2: attribute 'serial' is missing" in checked.stdout
    assert "2 rows, 1 would be refused" in checked.stdout
    imported = run_biaoshi("import", str(rows), *at)
    assert imported.returncode == 1
    assert list(resolved(node, f"88/{stem}1")) == [1000, 1001, 2000, 2001]
    assert (tmp_path / "rows.ndjson.refused.ndjson").exists()
    withdrawn = must_run("template", "withdraw", "88", code, "1", "--reason", "old", *at)
    assert "withdrawn" in withdrawn
    file.write_text(json.dumps({**DOCUMENT, "code": "No Code", "industry": "7"}))
    wrong = run_biaoshi("template", "register", str(file), *at)
    assert wrong.returncode == 4
    assert "code is 'No Code'" in wrong.stderr
    assert "industry is '7'" in wrong.stderr


def test_a_table_is_imported_and_what_was_refused_can_be_sent_again(
    node: Node, stem: str, code: str, tmp_path: Path
) -> None:
    at = ("--node", str(node.folder))
    with administration(node) as client:
        client.register_template({**DOCUMENT, "code": code})
    table = tmp_path / "pumps.csv"
    table.write_text("serial,made,weight\n1,2026-11-21,1.50\n2,,2\n")
    names = ("--attribute", "serial", "--attribute", "made", "--attribute", "weight")
    how = ("--handle", f"88/{stem}{{serial}}", "--template", code, *names)
    imported = run_biaoshi("import", str(table), *how, *at)
    assert imported.returncode == 1
    assert resolved(node, f"88/{stem}1")[2003] == "1.5"
    key = node.folder / "server-public-key.bin"
    receipt = ("receipt", "verify", f"{table}.receipt", "--key", str(key), "--rows", str(table))
    assert "verified" in must_run(*receipt, *how)
    assert run_biaoshi(*receipt, *how, "--attribute", "serial:x").returncode == 1
    refused = tmp_path / "pumps.csv.refused.ndjson"
    (line,) = refused.read_text().splitlines()
    form = json.loads(line)
    assert "'made' is missing" in line
    assert form["attributes"] == {"serial": "2", "weight": "2"}
    form["attributes"]["made"] = "2026-11-22"
    mended = tmp_path / "mended.ndjson"
    mended.write_text(json.dumps(form) + "\n")
    must_run("import", str(mended), "--owner", node.admin, *at)
    assert list(resolved(node, f"88/{stem}2")) == [100, 1000, 1001, 2000, 2001, 2003]
