import dataclasses
from pathlib import Path

import pytest

from protocol.bodies import ResolutionRequest
from protocol.codes import OpCode, ResponseCode
from protocol.key_files import encode_private_key
from protocol.types.hs_site import (
    KIND_BOTH,
    KIND_QUERY,
    TRANSPORT_HTTP,
    TRANSPORT_HTTPS,
    TRANSPORT_TCP,
    TRANSPORT_UDP,
    SiteInterface,
    SiteServer,
)
from protocol.versions import V2_9, V2_10, Version
from resolver.config import Config, NodeRole
from resolver.node import NOT_ADMIN_WORDS, Node, load_node, must_resolve_for
from resolver.node_files import NodeFilesError, write_site
from tests.resolver.office import SERVER_KEY, make_node, request


def with_interfaces(*interfaces: SiteInterface) -> Node:
    node = make_node()
    server = dataclasses.replace(node.server, interfaces=interfaces)
    return dataclasses.replace(node, site=dataclasses.replace(node.site, servers=(server,)))


@pytest.mark.parametrize(
    ("transport", "answers"),
    [
        (TRANSPORT_TCP, True),
        (TRANSPORT_UDP, False),
        (TRANSPORT_HTTP, True),
        (TRANSPORT_HTTPS, True),
    ],
)
def test_administration_needs_a_connection(transport: int, answers: bool) -> None:
    assert make_node().answers_admin(transport) == answers


def test_the_site_says_where_administration_is_answered() -> None:
    node = with_interfaces(
        SiteInterface(KIND_QUERY, TRANSPORT_TCP, 2641),
        SiteInterface(KIND_BOTH, TRANSPORT_UDP, 2641),
        SiteInterface(KIND_QUERY, TRANSPORT_HTTP, 8000),
    )
    assert not node.answers_admin(TRANSPORT_TCP)
    assert node.answers_admin(TRANSPORT_UDP)
    assert not node.answers_admin(TRANSPORT_HTTPS)


def test_transports_that_the_site_does_not_list_are_connections_or_nothing() -> None:
    node = with_interfaces()
    assert node.answers_admin(TRANSPORT_TCP)
    assert not node.answers_admin(TRANSPORT_UDP)


def test_the_node_is_the_server_with_its_key() -> None:
    node = make_node()
    other = SiteServer(2, bytes(16), b"another key", ())
    pair = dataclasses.replace(node.site, servers=(other, node.server))
    assert dataclasses.replace(node, site=pair).server == node.server
    assert dataclasses.replace(node, site=pair, public_key=b"?").server == other


@pytest.mark.parametrize(
    ("role", "opcode", "transport", "code"),
    [
        (NodeRole.TOP, OpCode.RESOLUTION, TRANSPORT_UDP, None),
        (NodeRole.TOP, OpCode.SESSION_SETUP, TRANSPORT_UDP, None),
        (NodeRole.TOP, OpCode.CREATE_HANDLE, TRANSPORT_TCP, None),
        (NodeRole.TOP, OpCode.CREATE_HANDLE, TRANSPORT_UDP, ResponseCode.PROTOCOL_ERROR),
        (NodeRole.TOP, OpCode.RESERVED, TRANSPORT_TCP, ResponseCode.PROTOCOL_ERROR),
        (NodeRole.TOP, 999, TRANSPORT_TCP, ResponseCode.ERROR),
        (
            NodeRole.RECURSIVE,
            OpCode.CREATE_HANDLE,
            TRANSPORT_TCP,
            ResponseCode.OPERATION_NOT_SUPPORTED,
        ),
    ],
)
def test_what_is_refused_by_opcode(
    role: NodeRole, opcode: int, transport: int, code: int | None
) -> None:
    refusal = make_node(role).refusal(opcode, transport)
    assert (refusal[0] if refusal else None) == code


def test_the_words_are_those_existing_clients_know() -> None:
    refusal = make_node().refusal(OpCode.HOME_NA, TRANSPORT_UDP)
    assert refusal == (ResponseCode.PROTOCOL_ERROR, NOT_ADMIN_WORDS)


@pytest.mark.parametrize(
    ("code", "suggested", "must"),
    [
        (ResponseCode.PREFIX_REFERRAL, V2_9, True),
        (ResponseCode.PREFIX_REFERRAL, V2_10, False),
        (ResponseCode.PREFIX_REFERRAL, Version(5, 1), True),
        (ResponseCode.SUCCESS, V2_9, False),
    ],
)
def test_referrals_are_followed_for_clients_below_2_10(
    code: int, suggested: Version, must: bool
) -> None:
    question = ResolutionRequest(b"0.NA/88.1")
    envelope = request(1, question, suggested=suggested, version=suggested).envelope
    assert must_resolve_for(code, envelope, question) == must


def write_folder(folder: Path) -> Config:
    write_site(folder / "site.json", make_node().site)
    (folder / "server-key.bin").write_bytes(encode_private_key(SERVER_KEY))
    return Config(role=NodeRole.TOP, data_dir=str(folder))


def test_a_node_is_read_from_its_folder(tmp_path: Path) -> None:
    node = load_node(write_folder(tmp_path))
    assert node.site == make_node().site
    assert node.site_octets == node.site.encode()
    assert node.public_key == make_node().public_key
    assert node.registers


@pytest.mark.parametrize(
    ("name", "octets", "words"),
    [
        ("server-key.bin", None, r"server-key\.bin cannot be read: No such file"),
        ("server-key.bin", b"\0\0\0\1junk", r"server-key\.bin is not a private key"),
        ("site.json", None, r"site\.json cannot be read"),
        ("site.json", b"{", r"site\.json is not JSON"),
    ],
)
def test_what_is_wrong_in_the_folder_is_told(
    tmp_path: Path, name: str, octets: bytes | None, words: str
) -> None:
    config = write_folder(tmp_path)
    (tmp_path / name).unlink()
    if octets is not None:
        (tmp_path / name).write_bytes(octets)
    with pytest.raises(NodeFilesError, match=words):
        load_node(config)


def test_a_site_without_a_server_is_told(tmp_path: Path) -> None:
    config = write_folder(tmp_path)
    (tmp_path / "site.json").unlink()
    write_site(tmp_path / "site.json", dataclasses.replace(make_node().site, servers=()))
    with pytest.raises(NodeFilesError, match="lists no server"):
        load_node(config)
