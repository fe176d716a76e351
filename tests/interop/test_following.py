"""A node follows a primary: one of ours, killed at will, and a stranger's with its own manners."""

import base64
import contextlib
import datetime
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, rsa

from protocol.key_files import decode_private_key
from registry.log import LocalLog
from registry.store import Store
from resolver.tls import make_self_signed
from tests.interop import foreign_wire as wire
from tests.interop.conftest import Stand, stand, url
from tests.interop.foreign_client import ForeignClient
from tests.interop.foreign_crypto import read_public_key
from tests.interop.foreign_mirror import AT_HANDLE, ForeignMirror, Refused
from tests.interop.foreign_primary import (
    ForeignPrimary,
    Parts,
    change_record,
    handle_record,
    server_record,
)
from tests.interop.foreign_wire import Cursor, Value, pack_str
from tests.nodes import ADDRESS, Node, Tables, make_node, must_run, run_biaoshi, running, wait_until

COPYING = "copying all of"
MIRROR_WORDS = "this node is a mirror and registers nothing"


def make_mirror(folder: Path, site: Path, identity: str, key: Path, **more: object) -> Node:
    follow = {"site": str(site), "identity": identity, "key": str(key), "poll_s": 1, **more}
    tables: Tables = {"follow": follow, "roles": {"administrators": ["300:0.NA/0.NA"]}}
    return make_node(folder, "top", "99", tables=tables)


def make_mirror_of(primary: Node, folder: Path) -> Node:
    return make_mirror(folder, primary.folder / "site.json", primary.admin, primary.admin_key)


@pytest.fixture(scope="module")
def primary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with running(make_node(tmp_path_factory.mktemp("primary") / "node")) as node:
        yield stand(node)


@pytest.fixture(scope="module")
def mirror(primary: Stand, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    node = make_mirror_of(primary.node, tmp_path_factory.mktemp("mirror") / "node")
    with running(node):
        yield node


def ask(node: Node) -> ForeignClient:
    return ForeignClient(ADDRESS, node.handle_port, node.http_port)


def digest_of(node: Node, primary: Stand) -> str:
    """All that a node has; the primary's administrator may have it from the mirror too."""
    client = ask(node)
    client.server_key = read_public_key(client.site().servers[0].public_key)
    copy = ForeignMirror(client, primary.admin)
    copy.dump()
    return copy.digest()


def wait_until_same(primary: Stand, mirror: Node) -> None:
    expected = digest_of(primary.node, primary)

    def is_same() -> bool:
        try:
            return digest_of(mirror, primary) == expected
        except (AssertionError, OSError, Refused):  # its administrator is not there yet
            return False

    wait_until(is_same, f"the mirror has what the primary has\n{mirror.log_tail}", 15, 0.2)


def test_a_mirror_has_what_its_primary_has(primary: Stand, mirror: Node) -> None:
    secret = Value(3, b"HS_SECKEY", b"secret", permissions=0b1100, ttl=60)
    early = primary.make(url(), secret)
    wait_until(lambda: ask(mirror).resolve(early).code == 1, "the handle arrives", 10, 0.1)
    answer, original = ask(mirror).resolve(early), primary.client.resolve(early)
    assert answer.values == original.values
    assert original.flags & wire.AUTH
    assert not answer.flags & wire.AUTH
    assert not ask(mirror).site().flags & 0x80
    # What `biaoshi init` made of the mirror is gone: it is a copy.
    assert ask(mirror).resolve(b"0.NA/99").code != 1

    doomed, frozen = primary.make(url()), primary.make(url())
    assert primary.client.delete(doomed, primary.admin).code == 1
    assert primary.client.modify(early, [url(text=b"new")], primary.admin).code == 1
    for handle in (b"0.NA/77", b"0.NA/76"):
        assert primary.client.perform(wire.HOME, pack_str(handle), primary.admin).code == 1
    assert primary.client.perform(wire.UNHOME, pack_str(b"0.NA/76"), primary.admin).code == 1
    must_run("life", "revoke", frozen.decode(), "-r", "r", "-y", "--node", str(primary.node.folder))
    wait_until_same(primary, mirror)
    assert mirror.metric("biaoshi_followed_timestamp_seconds") > 1_700_000_000
    assert primary.node.metric("biaoshi_mirror_records_total") > 0
    for gone in (doomed, frozen):
        assert ask(mirror).resolve(gone).code == 100


def test_a_mirror_registers_nothing_itself(primary: Stand, mirror: Node, tmp_path: Path) -> None:
    handle = primary.make(url())
    wait_until_same(primary, mirror)
    new = primary.fresh()
    client = ask(mirror)
    answers = [
        client.create(new, [url()], primary.admin),
        client.delete(handle, primary.admin),
        client.add(handle, [url(2)], primary.admin),
        client.modify(handle, [url()], primary.admin),
        client.remove(handle, [1], primary.admin),
        client.perform(wire.HOME, pack_str(b"0.NA/71"), primary.admin),
        client.perform(wire.UNHOME, pack_str(b"0.NA/88"), primary.admin),
    ]
    assert {(answer.code, MIRROR_WORDS in answer.text) for answer in answers} == {(301, True)}
    rows = tmp_path / "rows.ndjson"
    values = [{"index": 1, "type": "URL", "data": "x"}]
    rows.write_text(json.dumps({"handle": new.decode(), "values": values}) + "\n")
    key = ["--admin", primary.node.admin, "--key", str(primary.node.admin_key)]
    for words in (
        ["register", new.decode(), "-v", "URL=x"],
        ["delete", handle.decode(), "-y"],
        ["import", str(rows)],
        ["life", "freeze", handle.decode(), "-r", "r"],
        ["range", "register", "88/RANGED.", "1", "9", "-v", "URL=https://a.cn/{serial}"],
    ):
        ended = run_biaoshi(*words, "--node", str(mirror.folder), *key)
        assert ended.returncode != 0, (words, ended.stdout)
        assert MIRROR_WORDS in ended.stdout + ended.stderr, (words, ended.stdout, ended.stderr)
    assert client.resolve(new).code == 100
    wait_until_same(primary, mirror)


def test_a_killed_mirror_goes_on_where_it_was(primary: Stand, mirror: Node) -> None:
    wait_until_same(primary, mirror)
    copied = mirror.log.count(COPYING)
    mirror.kill()
    made = primary.make(url())
    mirror.start()
    wait_until_same(primary, mirror)
    assert ask(mirror).resolve(made).code == 1
    assert mirror.log.count(COPYING) == copied
    with (
        Store.open(mirror.store, readonly=True, case_sensitive=None) as store,
        store.read() as view,
    ):
        assert view.find_record(made) is not None


def test_a_primary_that_was_away_and_trimmed_its_log(tmp_path: Path) -> None:
    node = make_node(tmp_path / "primary")
    with contextlib.ExitStack() as stack:
        stack.enter_context(running(node))
        place = stand(node)
        doomed = place.make(url())
        mirror = make_mirror_of(node, tmp_path / "mirror")
        stack.enter_context(running(mirror))
        wait_until_same(place, mirror)
        mirror.kill()
        assert place.client.delete(doomed, place.admin).code == 1
        late = place.make(url())
        node.stop()
        with Store.open(node.store) as store, store.write(journaled=False) as view:
            log = LocalLog(view)
            log.trim(0, log.seal_snapshot(1_790_000_000_000).seq)
        mirror.start()  # while the primary is away it answers from what it has
        assert ask(mirror).resolve(doomed).code == 1
        wait_until(lambda: "cannot be followed" in mirror.log, "the mirror says so", 10)
        node.start()
        wait_until(lambda: ask(mirror).resolve(late).code == 1, "it is followed again", 15, 0.1)
        wait_until_same(place, mirror)
        assert ask(mirror).resolve(doomed).code == 100
        assert "does not reach back to us" in mirror.log
        must_run("verify", str(mirror.folder))


# A stranger's primary

KEY = rsa.generate_private_key(65537, 2048)
OTHER = rsa.generate_private_key(65537, 2048)
A, B, C = b"88/A", b"88/B", b"88/C"


@contextlib.contextmanager
def followed(
    folder: Path,
    admin_key: Path,
    dump: object,
    log: object,
    form: str,
    signer: object = None,
    version: str = "2.10",
    before_tls: bytes = b"",
) -> Iterator[tuple[ForeignPrimary, Node]]:
    key = decode_private_key(admin_key.read_bytes())
    primary = ForeignPrimary(
        KEY,
        key.public_key(),  # type: ignore[arg-type]
        dump,  # type: ignore[arg-type]
        log,  # type: ignore[arg-type]
        form,
        version,
        before_tls,
        signer,  # type: ignore[arg-type]
    )
    folder.mkdir()
    with primary.running():
        primary.write_site(folder / "site.json")
        node = make_mirror(folder / "node", folder / "site.json", "300:0.NA/M", admin_key)
        with running(node):
            yield primary, node


def pem_of(key: rsa.RSAPrivateKey, folder: Path) -> str:
    path = folder / "tls.pem"
    made = make_self_signed(key, [ADDRESS], 1_790_000_000)
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return str(path)


HEAD = (2).to_bytes(4, "big")
SENDING = (1).to_bytes(4, "big") + (2).to_bytes(4, "big")
LOG_END = b"\0" + (1_790_000_000_000).to_bytes(8, "big")
OLD = Value(1, b"URL", b"old", permissions=0b1110, ttl=7, timestamp=1_000_000_000)
HOMED = b"\2" + pack_str(b"0.NA/88")
DATES = b"\3" + pack_str(B) + bytes(8) + bytes(4) + b""


def test_a_stranger_is_followed_through_a_broken_dump(primary: Stand, tmp_path: Path) -> None:
    """Handles in no order, records we have no use for, a dump that breaks off, all deleted."""
    resumed: list[bytes] = []
    state = {"deleted": False}

    def dump(body: Cursor) -> Parts:
        assert body.take(9) == b"\2" + bytes(3) + b"\1" + bytes(4)
        if state["deleted"]:
            return [HEAD, server_record(9), handle_record(C, OLD), HOMED, b"\xff"]
        if not body.rest:
            return [HEAD, server_record(5), handle_record(B, OLD)]
        resumed.append(body.str())
        assert body.number("i") == AT_HANDLE
        too_large = Value(0, b"URL", b"an index of 0 is none")
        rest = [handle_record(A, OLD), handle_record(b"88/BAD", too_large), DATES]
        return [HEAD, *rest, b"\5" + pack_str(b"{}"), HOMED, b"\xff"]

    def log(body: Cursor) -> Parts:
        after = body.number("q")  # before 2.9 no mode stands before it
        if after == 5:
            return [SENDING, change_record(6, A, 3, url(text=b"new")), LOG_END]
        if after == 6:
            state["deleted"] = True
            return [SENDING, change_record(7, b"", 6), LOG_END]
        return [SENDING, LOG_END]

    place = followed(tmp_path / "m", primary.node.admin_key, dump, log, "signed", version="2.7")
    with place as (_, node):
        wait_until(lambda: ask(node).resolve(C).code == 1, "the second dump", 15, 0.1)
        wait_until(lambda: ask(node).resolve(A).code == 100, "what it did not name is gone", 5)
        assert resumed == [B]
        assert ask(node).resolve(C).values == [OLD]
        assert ask(node).resolve(B).code == 100
        assert "88/BAD: value at index 0" in node.log


def test_a_stream_that_is_not_the_primarys_is_not_believed(primary: Stand, tmp_path: Path) -> None:
    def dump(body: Cursor) -> Parts:
        return [HEAD, server_record(5), handle_record(A, OLD), HOMED, b"\xff"]

    place = followed(tmp_path / "m", primary.node.admin_key, dump, dump, "unsigned", OTHER)
    with place as (stranger, node):
        for form, words in (
            ("unsigned", "neither signed nor in TLS"),
            ("signed", "in clear, though it speaks 2.8"),
            (pem_of(OTHER, tmp_path), "not made with its HS_SITE key"),
        ):
            stranger.form = form
            wait_until(lambda words=words: words in node.log, words, 10, 0.1)  # type: ignore[misc]
        assert ask(node).resolve(A).code != 1
        assert ask(node).resolve(b"0.NA/99").code == 1, "nothing is deleted either"


def test_a_signature_of_another_is_not_believed(primary: Stand, tmp_path: Path) -> None:
    def dump(body: Cursor) -> Parts:
        return [HEAD, server_record(5), handle_record(A, OLD), HOMED, b"\xff"]

    admin_key = primary.node.admin_key
    place = followed(tmp_path / "m", admin_key, dump, dump, "signed", OTHER, version="2.7")
    with place as (_, node):
        wait_until(lambda: "signature does not hold" in node.log, "the refusal", 10, 0.1)
        assert ask(node).resolve(A).code != 1


def test_what_somebody_puts_before_the_handshake_is_not_taken(
    primary: Stand, tmp_path: Path
) -> None:
    """A whole dump in clear, and behind it the handshake of the real primary."""

    def dump(body: Cursor) -> Parts:
        return [HEAD, server_record(5), handle_record(B, OLD), HOMED, b"\xff"]

    forged = HEAD + server_record(5) + handle_record(A, OLD) + HOMED + b"\xff"
    folder = tmp_path / "tls"
    folder.mkdir()
    place = followed(
        tmp_path / "m",
        primary.node.admin_key,
        dump,
        lambda body: [SENDING, LOG_END],
        pem_of(KEY, folder),
        before_tls=forged,
    )
    with place as (stranger, node):
        wait_until(lambda: len(stranger.asked) >= 2, "it tried more than once", 15, 0.1)
        assert ask(node).resolve(A).code != 1
        stranger.before_tls = b""
        wait_until(lambda: ask(node).resolve(B).code == 1, "the primary's own dump", 15, 0.1)
        assert ask(node).resolve(A).code != 1


def der(tag: int, octets: bytes) -> bytes:
    length = len(octets)
    size = bytes([length]) if length < 128 else b"\x82" + length.to_bytes(2, "big")
    return bytes([tag]) + size + octets


def der_number(number: int) -> bytes:
    return der(2, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def dsa_pem(key: dsa.DSAPrivateKey, folder: Path) -> str:
    """A certificate as servers with old keys show it, its key, and numbers for Diffie-Hellman."""
    path, name = folder / "dsa.pem", x509.Name([])
    start = datetime.datetime(2026, 1, 1)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start.replace(2030))
    numbers = key.parameters().parameter_numbers()
    parts = [
        made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        b"-----BEGIN DH PARAMETERS-----\n",
        base64.encodebytes(der(0x30, der_number(numbers.p) + der_number(numbers.g))),
        b"-----END DH PARAMETERS-----\n",
    ]
    path.write_bytes(b"".join(parts))
    return str(path)


def test_a_primary_with_a_dsa_key_is_known_by_its_certificate(
    primary: Stand, tmp_path: Path
) -> None:
    key, other = (dsa.generate_private_key(1_024) for _ in range(2))

    def dump(body: Cursor) -> Parts:
        return [HEAD, server_record(5), handle_record(B, OLD), HOMED, b"\xff"]

    admin_key = decode_private_key(primary.node.admin_key.read_bytes())
    stranger = ForeignPrimary(
        key,
        admin_key.public_key(),  # type: ignore[arg-type]
        dump,
        lambda body: [SENDING, LOG_END],
        dsa_pem(other, tmp_path),
    )
    with stranger.running():
        stranger.write_site(tmp_path / "site.json")
        node = make_mirror(
            tmp_path / "node", tmp_path / "site.json", "300:0.NA/M", primary.node.admin_key
        )
        with running(node):
            words = "not made with its HS_SITE key"
            wait_until(lambda: words in node.log, "another key is refused", 10, 0.1)
            assert ask(node).resolve(B).code != 1
            stranger.form = dsa_pem(key, tmp_path)
            wait_until(lambda: ask(node).resolve(B).code == 1, "its own is believed", 10, 0.1)


def test_a_mirror_that_has_become_a_node_of_its_own_is_no_mirror_again(
    primary: Stand, tmp_path: Path
) -> None:
    """What it registered meanwhile would be swept away."""

    def dump(body: Cursor) -> Parts:
        return [HEAD, server_record(5), handle_record(B, OLD), HOMED, b"\xff"]

    folder = tmp_path / "tls"
    folder.mkdir()
    log = lambda body: [SENDING, LOG_END]  # noqa: E731
    place = followed(tmp_path / "m", primary.node.admin_key, dump, log, pem_of(KEY, folder))
    with place as (_, node):
        wait_until(lambda: ask(node).resolve(B).code == 1, "the dump", 15, 0.1)
        node.stop()
        followed_config = (node.folder / "biaoshi.toml").read_text("utf-8")
        alone = re.sub(r"(?ms)^\[follow\].*?(?=^\[|\Z)", "", followed_config)
        (node.folder / "biaoshi.toml").write_text(alone, "utf-8")
        node.start()
        assert "follows nobody any more" in node.log
        assert ask(node).resolve(B).code == 1
        node.stop()
        rows = tmp_path / "own.ndjson"
        for number in range(8):
            value = {"index": 1, "type": "URL", "data": "https://example.org/"}
            rows.write_text(json.dumps({"handle": f"88/OWN{number}", "values": [value]}) + "\n")
            must_run("load", str(rows), "--node", str(node.folder))
        (node.folder / "biaoshi.toml").write_text(followed_config, "utf-8")
        node.start(wait=False)
        wait_until(lambda: "has registered for itself" in node.log, "the refusal", 15, 0.1)


def test_who_is_not_named_by_the_primary_is_told_so(primary: Stand, tmp_path: Path) -> None:
    site = primary.node.folder / "site.json"
    node = make_mirror(tmp_path / "node", site, "300:0.NA/88", primary.node.admin_key)
    with running(node):
        wait_until(lambda: "it answered with code 400" in node.log, "the refusal", 10, 0.1)
