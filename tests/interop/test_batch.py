"""Batch files of Handle.Net run by the command against running nodes; estates carried over."""

import asyncio
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.json_forms import value_from_json
from protocol.key_files import decode_private_key, encode_private_key, generate_rsa_key
from protocol.types.hs_pubkey import encode_public_key
from protocol.types.hs_site import TRANSPORT_HTTP
from protocol.value import TTL_ABSOLUTE, HandleValue, Reference
from resolver.cli.errors import ExitCode
from resolver.cli.main import main
from resolver.client import (
    BlockingClient,
    HandleClient,
    HandleError,
    KeyIdentity,
    OwnKey,
    SecretIdentity,
    SessionOptions,
    fetch_site,
    read_site,
)
from resolver.node_files import NodeFolder
from tests.commands import BIAOSHI, node_environment
from tests.interop.conftest import RUN
from tests.nodes import ADDRESS, ROOT, Node, Topology, make_node, running, wait_until

PREFIX = "88.118.5"


@pytest.fixture(scope="module")
def enterprise(four_nodes: Topology) -> Node:
    return four_nodes.enterprise


def log_in(node: Node) -> str:
    return f"AUTHENTICATE PUBKEY:{node.admin}\n{node.admin_key}\n\n"


def server_of(node: Node) -> str:
    return f"{ADDRESS}:{node.handle_port}"


def resolved(node: Node, handle: str) -> list[HandleValue]:
    answer = node.get(f"/api/handles/{handle}").json
    return [value_from_json(each) for each in answer.get("values", [])]


def outcomes(batch: Path) -> list[tuple[str, int]]:
    text = Path(f"{batch}.log").read_text("utf-8")
    return [(kind, int(line)) for kind, line in re.findall(r"==>(\w+)\[(\d+)\]", text)]


def test_every_kind_of_section_goes_through_the_root(
    four_nodes: Topology, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node = four_nodes.enterprise
    one, two = f"{PREFIX}/B1.{RUN}", f"{PREFIX}/B2.{RUN}"
    encrypted = tmp_path / "encrypted.bin"
    key = decode_private_key(node.admin_key.read_bytes())
    encrypted.write_bytes(encode_private_key(key, b"open", rounds=1_000))
    public = tmp_path / "public.bin"
    public.write_bytes(encode_public_key(generate_rsa_key().public_key()))
    batch = tmp_path / "estate.batch"
    batch.write_text(f"""AUTHENTICATE PUBKEY:{node.admin}
{encrypted}|open

CREATE {one}
100 HS_ADMIN 86400 1110 ADMIN 300:111111111111:{one}
300 HS_SECKEY 86400 1100 UTF8 my password
400 HS_VLIST 60 1110 LIST 300:10.50/USR1; 300:10.50/USR2;
301 HS_PUBKEY 86400 1110 FILE public.bin

CREATE {two}
100 HS_ADMIN 86400 1110 ADMIN 300:111111111111:{node.admin.split(":")[1]}
1 URL 86400 1110 UTF8 https://example.org/one

ADD {two}
2 URL 86400 1110 UTF8 https://example.org/two

MODIFY {two}
1 URL 86400 1110 UTF8 https://example.org/changed

ADD {two}
2 URL 86400 1110 UTF8 taken

REMOVE 2:{two}
AUTHENTICATE SECKEY:300:{one}
my password
SESSIONSETUP
USESESSION:1
OPTIONS:111

DELETE {one}
DELETE {two}
SESSIONSETUP
USESESSION:0

{log_in(node)}DELETE {two}
""")
    words = ["batch", str(batch), "--root", str(four_nodes.top.bootstrap)]
    assert main(words) == ExitCode.REFUSED
    told = capsys.readouterr().out
    assert "7 of 9 operations succeeded" in told, told
    assert outcomes(batch) == [
        *[("SUCCESS", line) for line in (4, 10, 14, 17)],
        ("FAILURE", 20),
        ("SUCCESS", 23),
        ("SUCCESS", 30),
        ("FAILURE", 31),
        ("SUCCESS", 38),
    ]
    log = Path(f"{batch}.log").read_text()
    assert f"add values:{two}: Error(201)" in log
    assert f"delete:{two}: Error(400)" in log
    assert resolved(node, one) == resolved(node, two) == []
    failed = Path(f"{batch}.failed")
    assert failed.stat().st_mode & 0o777 == 0o600
    assert failed.read_text().startswith(f"AUTHENTICATE PUBKEY:{node.admin}\n")
    assert "my password" in failed.read_text()
    assert not Path(f"{batch}.place.json").exists()


def test_what_failed_can_be_mended_and_run_again(enterprise: Node, tmp_path: Path) -> None:
    handle = f"{PREFIX}/B3.{RUN}"
    batch = tmp_path / "a.batch"
    batch.write_text(f"{log_in(enterprise)}CREATE {handle}\n1 URL ttl 1110 UTF8 x\n")
    where = ["--server", server_of(enterprise)]
    assert main(["batch", str(batch), *where]) == ExitCode.REFUSED
    failed = Path(f"{batch}.failed")
    failed.write_text(failed.read_text().replace(" ttl ", " 60 "))
    assert main(["batch", str(failed), *where]) == ExitCode.OK
    assert [value.ttl for value in resolved(enterprise, handle)] == [60]


def test_prefixes_are_homed_at_the_server_that_is_named(enterprise: Node, tmp_path: Path) -> None:
    batch = tmp_path / "homes.batch"
    server = f"{server_of(enterprise)}:TCP"
    over_http = f"{ADDRESS}:{enterprise.http_port}:HTTP"
    name = f"0.NA/{PREFIX}.{RUN}"
    batch.write_text(
        f"{log_in(enterprise)}HOME {server}\n{name}.1\n{name}.2\n\nUNHOME {over_http}\n{name}.1\n"
    )
    # Everything else would go to a place where nobody listens.
    assert main(["batch", str(batch), "--node", str(enterprise.folder)]) == ExitCode.OK
    with client_at(enterprise) as client:
        homed = {each.decode() for each in client.list_homed()}
    assert f"{name}.2".upper() in homed
    assert f"{name}.1".upper() not in homed


def client_at(node: Node) -> BlockingClient:
    return BlockingClient(
        HandleClient(site=read_site(NodeFolder(node.folder).site), identity=me(node))
    )


def me(node: Node) -> KeyIdentity:
    return KeyIdentity.load(node.admin, node.admin_key)


def test_a_dry_run_names_every_mistake_and_asks_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = tmp_path / "wrong.batch"
    text = "DELETE 1/a\nCREATE 1/b\n1 URL x 1110 UTF8 y\n\nNONSENSE\n\nREMOVE 1/a\n"
    batch.write_text(f"{text}AUTHENTICATE PUBKEY:1:a\nnone.bin\n")
    assert main(["batch", str(batch), "--dry-run"]) == ExitCode.REFUSED
    printed = capsys.readouterr()
    assert "4 operations: 4 wrong" in printed.out
    places = [line.partition(": ")[0] for line in printed.err.splitlines()]
    assert places == [f"{batch}:3:7", f"{batch}:5:1", f"{batch}:7:8", f"{batch}:8:1"]
    assert list(tmp_path.iterdir()) == [batch]


def test_stopped_at_an_error_it_goes_on_when_that_is_mended(
    enterprise: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = tmp_path / "stops.batch"
    names = [f"{PREFIX}/S{number}.{RUN}" for number in range(3)]
    sections = [f"CREATE {name}\n1 URL 60 1110 UTF8 x\n\n" for name in names]
    wrong = sections[1].replace(" 60 ", " sixty ")
    batch.write_text(log_in(enterprise) + sections[0] + wrong + sections[2])
    words = ["batch", str(batch), "--server", server_of(enterprise), "--stop-on-error"]
    assert main(words) == ExitCode.REFUSED
    assert [bool(resolved(enterprise, name)) for name in names] == [True, False, False]
    assert main(words) == ExitCode.USAGE
    assert "--resume" in capsys.readouterr().err
    batch.write_text(log_in(enterprise) + "".join(sections).replace(names[0], names[0] + "x"))
    assert main([*words, "--resume"]) == ExitCode.FILES
    assert "was changed before line 4" in capsys.readouterr().err
    batch.write_text(log_in(enterprise) + "".join(sections))
    assert main([*words, "--resume"]) == ExitCode.OK
    assert all(resolved(enterprise, name) for name in names)
    assert "3 of 3 operations succeeded" in capsys.readouterr().out


def test_interrupted_it_goes_on_where_it_stopped(enterprise: Node, tmp_path: Path) -> None:
    batch = tmp_path / "long.batch"
    names = [f"{PREFIX}/L{number}.{RUN}" for number in range(120)]
    batch.write_text(
        log_in(enterprise) + "".join(f"CREATE {name}\n1 URL 60 1110 UTF8 x\n\n" for name in names)
    )
    words = ["batch", str(batch), "--server", server_of(enterprise)]
    place = Path(f"{batch}.place.json")
    process = subprocess.Popen(
        [*BIAOSHI, *words], cwd=ROOT, env=node_environment(), stderr=subprocess.PIPE
    )
    try:
        wait_until(place.exists, "an operation was done", 30)
        os.kill(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == ExitCode.INTERRUPTED, told
    done = json.loads(place.read_bytes())["operations"]
    assert 0 < done < len(names)
    assert main([*words, "--resume"]) == ExitCode.OK
    found = outcomes(batch)
    assert [kind for kind, _ in found] == ["SUCCESS"] * len(names), "each was made once"
    assert all(resolved(enterprise, name) for name in (names[0], names[done], names[-1]))


def test_nothing_is_done_as_somebody_else_when_a_log_in_fails(
    enterprise: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    handle = f"{PREFIX}/N.{RUN}"
    batch = tmp_path / "logins.batch"
    batch.write_text(
        f"{log_in(enterprise)}AUTHENTICATE PUBKEY:300:0.NA/other\nmissing.bin\n\n"
        f"CREATE {handle}\n1 URL 60 1110 UTF8 x\n"
    )
    assert main(["batch", str(batch), "--server", server_of(enterprise)]) == ExitCode.REFUSED
    assert "line 4: the key" in capsys.readouterr().err
    assert not resolved(enterprise, handle)
    for broken, words in (
        ("AUTHENTICATE PUBKY:300:0.NA/other\nother.bin", "how to log in"),
        ("AUTENTICATE PUBKEY:300:0.NA/other\nother.bin", "begins no section"),
        ("SESSIONSETUP\nUSESESION:1", "USESESION"),
    ):
        batch.write_text(f"{log_in(enterprise)}{broken}\n\nCREATE {handle}\n1 URL 60 1110 UTF8 x\n")
        assert main(["batch", str(batch), "--server", server_of(enterprise)]) == ExitCode.REFUSED
        assert words in capsys.readouterr().err
        assert not resolved(enterprise, handle)


def test_an_estate_is_carried_from_one_node_to_another(
    four_nodes: Topology, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a batch without timestamps; as REST answers with them, references and expiry too."""
    source = four_nodes.enterprise
    handles = [f"{PREFIX}/C{number}.{RUN}" for number in range(3)]
    values = [
        HandleValue(100, b"HS_ADMIN", bytes.fromhex("0fff") + Reference(b"0.NA/9", 3).encode()),
        HandleValue(1, b"URL", "https://例.org/".encode(), 0b1111, 17),
        HandleValue(2, b"BIN", bytes(range(40)), ttl=2_000_000_000, ttl_type=TTL_ABSOLUTE),
        HandleValue(3, b"DESC", b"two\nlines ", references=(Reference(b"1/x", 4),)),
    ]
    with client_at(source) as client:
        for handle in handles:
            client.create(handle, values)
    answers = [source.get(f"/api/handles/{handle}").body for handle in handles]
    dump = tmp_path / "dump.ndjson"
    dump.write_bytes(b"\n".join([*answers, b""]))
    target = make_node(tmp_path / "target", "top", "77")
    words = ["takeover", str(dump), "--node", str(target.folder)]
    assert main(words) == ExitCode.REFUSED
    assert f"does not answer for 0.NA/{PREFIX}" in capsys.readouterr().err
    assert main([*words, "--home"]) == ExitCode.OK
    assert "3 handles taken over" in capsys.readouterr().out
    batch = tmp_path / "estate.batch"
    home = f"{server_of(target)}:TCP"
    assert (
        main(["export", str(target.folder), "--format", "batch", "-o", str(batch), "--home", home])
        == 0
    )
    told = capsys.readouterr().err
    assert "the references of 3 values" in told
    assert "the expiry of 3 values" in told
    with running(target):
        for handle, answer in zip(handles, answers, strict=True):
            taken = target.get(f"/api/handles/{handle}").json["values"]
            assert taken == json.loads(answer)["values"], "timestamps and all"
        with client_at(target) as client:
            for handle in handles:
                client.delete(handle)
        assert main(["batch", str(batch), "--node", str(target.folder)]) == ExitCode.REFUSED
        assert "0.NA/0.NA: Error(101)" in Path(f"{batch}.log").read_text()
        for handle in handles:
            found = {value.index: value for value in resolved(target, handle)}
            assert [found[each.index].data for each in values] == [each.data for each in values]
            assert found[1].permission == 0b1111
            assert found[1].ttl == 17


def test_one_conflict_keeps_everything_out_and_all_are_named(
    four_nodes: Topology, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node = make_node(tmp_path / "node", "top", "76")

    def row(handle: str, text: str, **more: object) -> bytes:
        value = {"index": 1, "type": "URL", "data": {"format": "string", "value": text}}
        form = {
            "responseCode": 1,
            "handle": handle,
            "values": [value | {"timestamp": "2020-01-01T00:00:00Z"}],
        }
        return json.dumps(form | more).encode() + b"\n"

    file = tmp_path / "first.ndjson"
    file.write_bytes(row("76/a", "x") + row("76/b", "x"))
    words = ["takeover", str(file), "--node", str(node.folder), "--no-verify"]
    assert main(words) == ExitCode.OK
    assert "2 handles have no HS_ADMIN" in capsys.readouterr().out
    assert main(words) == ExitCode.OK
    assert "0 handles taken over, 2 were here already" in capsys.readouterr().out
    file.write_bytes(
        row("76/c", "new") + row("76/A", "other") + row("76/d", "1") + row("76/D", "2")
        + row("76/e", "x", responseCode=100, message="not there") + b"nonsense\n"
    )  # fmt: skip
    assert main(words) == ExitCode.REFUSED
    told = capsys.readouterr().err
    for words_ in (
        "4 rows stand in the way, nothing was stored",
        "row 2 76/A: the handle is stored with other values",
        "row 4 76/D: it comes twice",
        "row 5 76/e: no record, but the answer 100: not there",
        "row 6",
    ):
        assert words_ in told
    export = tmp_path / "export.ndjson"
    assert main(["export", str(node.folder), "-o", str(export)]) == ExitCode.OK
    assert b"76/C" not in export.read_bytes()
    assert b"76/A" in export.read_bytes()


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.mark.parametrize("kind", ["encrypted", "clear", "short", "own key", "registered key"])
def test_changes_go_through_sessions_that_are_renewed(
    enterprise: Node, loop: asyncio.Runner, kind: str
) -> None:
    identity = me(enterprise)
    key = identity.private_key
    options = {
        "encrypted": SessionOptions(),
        "clear": SessionOptions(encrypt=False),
        "short": SessionOptions(timeout_s=60, fall_back=False),
        "own key": SessionOptions(own_key=OwnKey(key)),  # type: ignore[arg-type]
        "registered key": SessionOptions(own_key=OwnKey(key, identity.reference)),  # type: ignore[arg-type]
    }[kind]
    names = [f"{PREFIX}/{kind}{number}.{RUN}" for number in range(4)]
    value = HandleValue(1, b"URL", b"x")

    async def run() -> None:
        site = await fetch_site(ADDRESS, enterprise.handle_port)
        client = HandleClient(site=site, identity=identity, sessions=options)
        await client.create(names[0], [value])
        await client.create(names[1], [value])
        book = client._sessions
        assert book is not None
        ((_, session),) = book._sessions.values()
        assert session.counter == 3, "the challenge was in the first request only"
        session.number += 1  # as if the node had forgotten it
        await client.create(names[2], [value])
        with pytest.raises(HandleError, match="not homed"):
            await client.create("0.NA/nobody's", [value])
        await client.end_sessions()
        await client.create(names[3], [value])
        await client.end_sessions()
        assert client.session_refusals == ()

    loop.run(run())
    assert all(resolved(enterprise, name.replace(" ", "%20")) for name in names)


def test_a_wrong_secret_is_refused_in_a_session_too(enterprise: Node, loop: asyncio.Runner) -> None:
    async def run() -> None:
        site = await fetch_site(ADDRESS, enterprise.http_port, TRANSPORT_HTTP)
        identity = SecretIdentity(Reference(b"0.NA/88.118.5", 300), b"wrong")
        client = HandleClient(site=site, identity=identity, sessions=SessionOptions())
        with pytest.raises(HandleError) as caught:
            await client.create(f"{PREFIX}/W.{RUN}", [HandleValue(1, b"URL", b"x")])
        assert caught.value.response_code == 403

    loop.run(run())


def test_a_server_that_is_gone_ends_the_batch(
    enterprise: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = tmp_path / "gone.batch"
    lines = [f"HOME {ADDRESS}:1:TCP", *(f"0.NA/{number}" for number in range(20))]
    batch.write_text("\n".join(lines) + "\n")
    assert main(["batch", str(batch), "--node", str(enterprise.folder)]) == ExitCode.UNREACHABLE
    assert "line 6: 5 operations in a row failed so: no answer" in capsys.readouterr().err
