import hashlib
import io
import ipaddress
import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from protocol import jws
from protocol.key_files import PrivateKey, decode_private_key
from protocol.types.hs_pubkey import encode_public_key
from protocol.types.hs_site import HsSite
from registry.receipts import PAYLOAD_OCTETS_MAX, START, Receipt, chain, to_payload
from resolver.cli.errors import ExitCode
from resolver.cli.main import main
from resolver.client.receipts import NodeCheck
from resolver.node_files import NodeFolder, make_site, write_bootstrap, write_site
from resolver.rows.readers import make_reader
from tests.protocol.recorded import octets_of

KEY = decode_private_key(octets_of("admpriv.bin"))
DSA_KEY = decode_private_key(octets_of("privkey.bin"))
RECEIPT = Receipt(
    node="enterprise 88.118.5",
    identity="300:0.NA/88.118.5",
    key="lot-4711",
    rows=1_200,
    created=1_100,
    replaced=0,
    deleted=98,
    unchanged=0,
    refused=2,
    first_sequence=17,
    last_sequence=19,
    digest=bytes(range(32)),
    begun="2026-11-21T08:00:00.000Z",
    ended="2026-11-21T08:00:01.250Z",
)
TOKEN = jws.sign(to_payload(RECEIPT), KEY, key_id="server-1")


@dataclass
class Printed:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.out)
        return document


class Desk:
    """A folder with files, and the command."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys

    def file(self, name: str, octets: bytes | str) -> str:
        path = self.folder / name
        path.write_bytes(octets if isinstance(octets, bytes) else octets.encode())
        return str(path)

    def key_file(self, key: PrivateKey = KEY) -> str:
        return self.file("server-public-key.bin", encode_public_key(key.public_key()))

    def run(self, *words: str) -> Printed:
        self._capsys.readouterr()
        code = main(["receipt", *words])
        return Printed(code, *self._capsys.readouterr())

    def verify(self, token: str, *words: str) -> Printed:
        return self.run("verify", self.file("receipt", token), *words)


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, capsys)


def test_show(desk: Desk) -> None:
    shown = desk.run("show", desk.file("receipt", TOKEN))
    assert shown.code == ExitCode.OK
    for words in (
        "lot-4711",
        "300:0.NA/88.118.5",
        "1,200: 1,100 created, 98 deleted, 2 refused",
        "frames 17 to 19",
        bytes(range(32)).hex(),
        "not verified",
    ):
        assert words in shown.out
    assert "replaced" not in shown.out


def test_show_as_json(desk: Desk) -> None:
    document = desk.run("show", desk.file("receipt", TOKEN), "--json").document
    assert document["verified"] is False
    assert (document["algorithm"], document["keyId"]) == ("RS256", "server-1")
    assert document["receipt"] == json.loads(to_payload(RECEIPT))


def test_show_of_a_stream_that_wrote_nothing(desk: Desk) -> None:
    receipt = replace(RECEIPT, rows=0, created=0, deleted=0, refused=0)
    receipt = replace(receipt, first_sequence=0, last_sequence=0, key="\x1b[2J")
    token = jws.sign(to_payload(receipt), KEY, key_id="")
    shown = desk.run("show", desk.file("receipt", token))
    assert "nothing was written" in shown.out
    assert "\x1b" not in shown.out


def test_the_node_s_answer(desk: Desk) -> None:
    answer = {"key": "lot-4711", "rows": 1_200, "receipt": TOKEN}
    verdict = json.dumps({"row": 1, "through": 4_096, "verdict": "created"}) + "\n"
    for text in (
        json.dumps(answer),
        json.dumps(answer, indent=2) + "\n",
        verdict + json.dumps(answer) + "\n",
        verdict * 3_000 + json.dumps(answer) + "\n",
    ):
        assert desk.verify(text, "--key", desk.key_file()).code == ExitCode.OK


def test_standard_input(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = SimpleNamespace(buffer=io.BytesIO(f"{TOKEN}\n".encode()))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert desk.run("verify", "-", "--key", desk.key_file()).code == ExitCode.OK


@pytest.mark.parametrize("command", [["show"], ["verify", "--key"]])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "holds no receipt"),
        (b'{"receipt": null}', "once the stream had ended"),
        (b'{"rows": 1}', "once the stream had ended"),
        (b'{"receipt": 1}', "holds no receipt: Expected"),
        (b'{"receipt": ', "holds no receipt: Input data was truncated"),
        (b'{"x":' + b"[" * 20_000, "holds no receipt"),
        (b"\xff", "holds no receipt"),
        (None, "cannot be read: No such file"),
    ],
)
def test_files_without_a_receipt(
    desk: Desk, command: list[str], content: bytes | None, words: str
) -> None:
    path = str(desk.folder / "none") if content is None else desk.file("receipt", content)
    printed = desk.run(*command, *([desk.key_file()] if "--key" in command else []), path)
    assert printed.code == ExitCode.FILES
    assert words in printed.err


@pytest.mark.parametrize(
    "token", ["nonsense", "a" * 70_000, f"{TOKEN}=", jws.sign(b"{}", KEY, key_id="")]
)
def test_show_of_what_is_no_receipt(desk: Desk, token: str) -> None:
    printed = desk.run("show", desk.file("receipt", token))
    assert printed.code == ExitCode.FILES
    assert "is not a receipt" in printed.err


def test_verify_with_a_key(desk: Desk) -> None:
    verified = desk.verify(TOKEN, "--key", desk.key_file())
    assert verified.code == ExitCode.OK
    assert "signature: holds under the key of" in verified.out
    assert "server-public-key.bin" in verified.out
    assert "rows: not compared" in verified.out
    assert verified.out.endswith("\nverified\n")
    assert verified.err == ""


@pytest.mark.parametrize("name", ["site.json", "bootstrap.json"])
def test_verify_with_a_site(desk: Desk, name: str) -> None:
    sites = []
    for number, key in enumerate((b"no key", octets_of("admpub.bin"), DSA_KEY.public_key())):
        octets = key if isinstance(key, bytes) else encode_public_key(key)
        site = make_site(octets, [_address(number)], 2641, 8000, description="d")
        sites.append(site)
    path = desk.folder / name
    if name == "site.json":
        write_site(path, sites[1])
    else:
        write_bootstrap(path, sites)
    verified = desk.verify(TOKEN, "--site", str(path))
    assert verified.code == ExitCode.OK
    assert f"the key of server 1 at 10.0.0.1 in {path}" in verified.out


def _address(number: int) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(f"10.0.0.{number}")


def test_a_site_whose_keys_did_not_sign(desk: Desk) -> None:
    path = desk.folder / "bootstrap.json"
    other = encode_public_key(DSA_KEY.public_key())
    write_bootstrap(path, [make_site(other, [_address(1)], 1, 2, description="d")] * 2)
    printed = desk.verify(TOKEN, "--site", str(path))
    assert printed.code == ExitCode.REFUSED
    assert "signature: holds under none of 2 keys: DSA keys sign no tokens" in printed.err
    write = make_site(b"no key", [_address(1)], 1, 2, description="d")
    (desk.folder / "site.json").unlink(missing_ok=True)
    write_site(desk.folder / "site.json", write)
    printed = desk.verify(TOKEN, "--site", str(desk.folder / "site.json"))
    assert printed.code == ExitCode.FILES
    assert "names no server with a key" in printed.err


def test_a_changed_receipt(desk: Desk) -> None:
    head, _, signature = TOKEN.split(".")
    better = jws.sign(to_payload(replace(RECEIPT, refused=0)), KEY, key_id="").split(".")[1]
    printed = desk.verify(f"{head}.{better}.{signature}", "--key", desk.key_file())
    assert printed.code == ExitCode.REFUSED
    assert "problem: signature: the token's signature does not hold" in printed.err
    assert printed.out == "does not verify: signature\n"


def test_a_damaged_receipt_as_json(desk: Desk) -> None:
    printed = desk.verify(TOKEN[:-1], "--key", desk.key_file(), "--json")
    assert printed.code == ExitCode.REFUSED
    assert printed.document["verified"] is False
    assert printed.document["receipt"] is None
    assert [check["name"] for check in printed.document["checks"]] == ["signature"]


def test_something_else_that_the_node_signed(desk: Desk) -> None:
    for payload in (b"{}", b"x" * (PAYLOAD_OCTETS_MAX + 1)):
        token = jws.sign(payload, KEY, key_id="")
        printed = desk.verify(token, "--key", desk.key_file())
        assert printed.code == ExitCode.REFUSED
        assert "problem: receipt:" in printed.err
        assert printed.out.endswith("does not verify: receipt\n")


def test_no_key_is_a_wrong_command_line(desk: Desk) -> None:
    printed = desk.verify(TOKEN)
    assert printed.code == ExitCode.USAGE
    assert "server-public-key.bin" in printed.err
    key = desk.key_file()
    assert desk.verify(TOKEN, "--key", key, "--site", key).code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("content", "words"), [(b"nonsense", "is not a public key"), (None, "cannot be read")]
)
def test_keys_that_are_none(desk: Desk, content: bytes | None, words: str) -> None:
    key = str(desk.folder / "none") if content is None else desk.file("key", content)
    printed = desk.verify(TOKEN, "--key", key)
    assert printed.code == ExitCode.FILES
    assert words in printed.err
    assert "server-public-key.bin" in printed.err


def test_the_private_half_is_not_a_public_key(desk: Desk) -> None:
    printed = desk.verify(TOKEN, "--key", desk.file("key", octets_of("admpriv.bin")))
    assert printed.code == ExitCode.FILES
    assert "is not a public key" in printed.err


ROWS = [b'{"handle":"88.118.5/1","values":[]}', b'{"handle":"88.118.5/2","values":[]}']


def token_of(rows: list[bytes]) -> str:
    return token_of_digests([hashlib.sha256(row).digest() for row in rows])


def token_of_digests(digests: list[bytes]) -> str:
    count = len(digests)
    receipt = replace(RECEIPT, rows=count, digest=chain(START, digests), created=count)
    return jws.sign(to_payload(receipt), KEY, key_id="")


def test_verify_with_rows(desk: Desk) -> None:
    files = [desk.file(f"{number}.ndjson", row) for number, row in enumerate(ROWS)]
    words = ["--key", desk.key_file(), "--rows", files[0], "--rows", files[1]]
    verified = desk.verify(token_of(ROWS), *words)
    assert verified.code == ExitCode.OK
    assert "rows: 2 in the files\ndigest: the rows in the files are those" in verified.out
    assert "not compared" not in verified.out
    document = desk.verify(token_of(ROWS), *words, "--json").document
    assert document["verified"] is True
    assert {check["name"]: check["holds"] for check in document["checks"]} == {
        "signature": True,
        "rows": True,
        "digest": True,
    }


@pytest.mark.parametrize(
    ("sent", "failed"),
    [
        (ROWS[::-1], "digest"),
        ([ROWS[0], ROWS[1].replace(b"/2", b"/3")], "digest"),
        (ROWS[:1], "rows, digest"),
        ([*ROWS, ROWS[0]], "rows, digest"),
    ],
)
def test_other_rows_than_those_of_the_receipt(desk: Desk, sent: list[bytes], failed: str) -> None:
    words = ["--key", desk.key_file(), "--rows", desk.file("rows.ndjson", b"\n".join(sent))]
    printed = desk.verify(token_of(ROWS), *words)
    assert printed.code == ExitCode.REFUSED
    assert printed.out.endswith(f"\ndoes not verify: {failed}\n")
    assert "problem: digest: the files hold other rows" in printed.err
    if "rows" in failed:
        assert f"problem: rows: {len(sent)} in the files, 2 in the receipt" in printed.err


def test_rows_mean_nothing_without_the_signature(desk: Desk) -> None:
    words = ["--key", desk.key_file(DSA_KEY), "--rows", str(desk.folder / "none.ndjson")]
    printed = desk.verify(token_of(ROWS), *words)
    assert printed.code == ExitCode.REFUSED
    assert printed.out == "does not verify: signature\n"


TABLE = b"id;name;do\n1;M4;\n2;;delete\n3;M5\n"
CSV_WORDS = ["--handle", "88/{id}", "--map", "name=DESC", "-m", "id,name=META:7"]
CSV_WORDS += ["--operation", "do", "--delimiter", ";"]


def token_of_table() -> str:
    options = {"handle": ["88/{id}"], "map": ["name=DESC:1", "id,name=META:7"]}
    options |= {"operation": ["do"], "delimiter": [";"]}
    reader = make_reader("text/csv", options, time.time)
    return token_of_digests([row[3] for row in [*reader.feed(TABLE), *reader.end()]])


def test_verify_with_csv(desk: Desk) -> None:
    words = ["--key", desk.key_file(), "--rows", desk.file("lot.csv", TABLE)]
    verified = desk.verify(token_of_table(), *words, *CSV_WORDS)
    assert (verified.code, verified.err) == (ExitCode.OK, "")
    assert "rows: 3 in the files\ndigest: the rows in the files are those" in verified.out


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name=DESC", "id=DESC"),
        ("name=DESC", "name=TEXT"),
        ("name=DESC", "name=DESC:2"),
        ("id,name=META:7", "name,id=META:7"),
        ("88/{id}", "88/A{id}"),
        ("do", ""),
    ],
)
def test_csv_sent_with_other_options_is_not_that_of_the_receipt(
    desk: Desk, old: str, new: str
) -> None:
    words = ["--key", desk.key_file(), "--rows", desk.file("lot.csv", TABLE)]
    changed = [new if word == old else word for word in CSV_WORDS]
    printed = desk.verify(token_of_table(), *words, *changed)
    assert printed.code == ExitCode.REFUSED
    assert printed.out.endswith("\ndoes not verify: digest\n")


@pytest.mark.parametrize("words", [[], CSV_WORDS[:2], CSV_WORDS[2:]])
def test_csv_without_what_its_columns_are(desk: Desk, words: list[str]) -> None:
    sent = ["--key", desk.key_file(), "--rows", desk.file("lot.csv", TABLE)]
    printed = desk.verify(token_of_table(), *sent, *words)
    assert printed.code == ExitCode.USAGE
    assert "CSV needs to know what its columns are" in printed.err


@pytest.mark.parametrize("delimiter", ["", ";;", '"', "\n", "é"])
def test_a_delimiter_that_is_none(desk: Desk, delimiter: str) -> None:
    words = ["--key", desk.key_file(), "--rows", desk.file("lot.csv", TABLE), *CSV_WORDS]
    printed = desk.verify(TOKEN, *words[:-1], delimiter)
    assert printed.code == ExitCode.USAGE
    assert "is not one ASCII character" in printed.err


class Node:
    """What a node that is asked answers; `site.json` is that of its folder."""

    def __init__(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        self.checks = [
            NodeCheck("signature", True, "office signed it"),
            NodeCheck("stream", None, "the node keeps nothing of this stream any more"),
            NodeCheck("journal", True, "frames 17 to 19 are there"),
        ]
        self.tokens: list[str] = []
        address = ipaddress.ip_address("127.0.0.1")
        key = encode_public_key(KEY.public_key())
        folder = NodeFolder(desk.folder)
        write_site(folder.site, make_site(key, [address], 2641, 8000, description="office"))
        folder.config.write_text('role = "top"\n')
        self.words = ["--node", str(desk.folder)]
        monkeypatch.setattr("resolver.client.receipts.check_receipt", self._check)

    async def _check(self, site: HsSite, token: str) -> list[NodeCheck]:
        assert site.servers[0].public_key == encode_public_key(KEY.public_key())
        self.tokens.append(token)
        return self.checks


@pytest.fixture
def node(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Node:
    return Node(desk, monkeypatch)


def test_the_node_is_asked_too(desk: Desk, node: Node) -> None:
    verified = desk.verify(TOKEN, *node.words)
    assert (verified.code, verified.err) == (ExitCode.OK, "")
    assert node.tokens == [TOKEN]
    assert "in the node that is asked" in verified.out
    assert (
        "node, signature: office signed it\n"
        "node, stream: not known: the node keeps nothing of this stream any more\n"
        "node, journal: frames 17 to 19 are there\n"
    ) in verified.out
    assert verified.out.endswith("\nverified\n")


def test_what_differs_at_the_node_is_said(desk: Desk, node: Node) -> None:
    node.checks[1] = NodeCheck("stream", False, "the node kept another one: rows 7")
    printed = desk.verify(TOKEN, *node.words, "--key", desk.key_file())
    assert printed.code == ExitCode.REFUSED
    assert "problem: node, stream: the node kept another one: rows 7" in printed.err
    assert printed.out.endswith("\ndoes not verify: node, stream\n")
    document = desk.verify(TOKEN, *node.words, "--json").document
    assert document["verified"] is False
    assert document["checks"][2] == {
        "name": "node, stream",
        "holds": False,
        "words": "the node kept another one: rows 7",
    }


def test_the_node_is_not_asked_about_what_nobody_signed(desk: Desk, node: Node) -> None:
    header, payload, signature = TOKEN.split(".")
    forged = f"{header}.{payload}.{signature[:-8]}AAAAAAAA"
    assert desk.verify(forged, *node.words).code == ExitCode.REFUSED
    assert node.tokens == []


def test_one_node_is_asked_at_most(desk: Desk, node: Node) -> None:
    printed = desk.verify(TOKEN, *node.words, "--server", "127.0.0.1:2641")
    assert printed.code == ExitCode.USAGE
    assert "2 places to ask, only one is possible" in printed.err
