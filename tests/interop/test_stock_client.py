"""What the stock client library and tools send, request for request, with their very flags."""

import time
from dataclasses import replace
from struct import pack

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

from tests.interop import foreign_wire as wire
from tests.interop.conftest import TRANSPORTS, Guild, Stand, url
from tests.interop.foreign_client import (
    QUERY_FLAGS,
    ForeignClient,
    Session,
    resolution_body,
    session_data,
)
from tests.interop.foreign_crypto import Identity, check_certified, pack_public_key
from tests.interop.foreign_transport import PIECE, exchange
from tests.interop.foreign_wire import Answer, Cursor, Value, admin_data, pack_str, pack_values

# As recorded: every message in a session asks for a certified answer, though MACs stand in for it.
SESSION_FLAGS = wire.CERT | wire.RECU | wire.CACR | wire.PUBL
SERVICE_TYPES = (b"HS_SITE", b"HS_SITE.6", b"HS_SERV", b"HS_NAMESPACE")
VALUES_MAX = 2048
HANDLE_MAX = 2048


def rule(index: int = 100) -> Value:
    return Value(index, b"HS_ADMIN", admin_data(b"0.NA/97", 200))


def in_session(inside: ForeignClient, opcode: int, body: bytes, who: Identity) -> list[Answer]:
    answers = inside.ask_for_many(opcode, body, SESSION_FLAGS)
    if answers[0].code == 402:
        answers = inside.answer_challenge(answers[0], who, SESSION_FLAGS)
    return answers


def codes(answers: list[Answer]) -> set[int]:
    return {answer.code for answer in answers}


# A tool's run from the bootstrap file on


@pytest.mark.parametrize("encrypted", [False, True], ids=["macs", "encrypted"])
@pytest.mark.parametrize("kind", ["public key", "secret key"])
def test_a_batch_from_the_root_on(guild: Guild, kind: str, encrypted: bool) -> None:
    """The root's site, the prefix's site, a session over UDP, then the batch over TCP."""
    line = guild.client
    root = line.resolve(b"0.NA/0.NA", SERVICE_TYPES, flags=wire.CERT | wire.RRDG)
    found = line.speaking(transport="udp").resolve(b"0.NA/97", SERVICE_TYPES)
    sites = [wire.read_site(answer.values[0].data) for answer in (root, found)]
    assert sites == [line.site()] * 2
    assert root.serial == found.serial == sites[0].serial
    assert root.flags & found.flags & wire.AUTH
    who = guild.members[kind]
    inside = line.speaking(transport="udp").open_session(who, encrypted=encrypted)
    inside = inside.speaking(transport="tcp")
    handle = guild.fresh("BATCH")
    creation = pack_str(handle) + pack_values([url(), rule()])
    assert codes(in_session(inside, wire.CREATE, creation, who)) == {1}
    assert codes(in_session(inside, wire.CREATE, creation, who)) == {101}
    over = inside.ask(wire.CREATE, creation, SESSION_FLAGS | wire.OVRW)
    assert (over.code, bool(over.flags & wire.OVRW)) == (1, True)
    minted = inside.ask(
        wire.CREATE, pack_str(b"97/") + pack_values([rule()]), SESSION_FLAGS | wire.MINT
    )
    assert (minted.code, minted.payload.str()[:3]) == (1, b"97/")
    assert codes(in_session(inside, wire.LIST, pack_str(b"0.NA/97"), who)) == {1}
    assert codes(in_session(inside, wire.DELETE, pack_str(handle), who)) == {1}
    assert codes(in_session(inside, wire.DELETE, pack_str(handle), who)) == {100}


def test_a_session_s_identity_may_be_any_of_its_keys(guild: Guild) -> None:
    who = replace(guild.keeper, index=0)
    inside = guild.client.open_session(who)
    body = pack_str(guild.fresh()) + pack_values([rule()])
    assert codes(in_session(inside, wire.CREATE, body, who)) == {1}
    body = pack_str(guild.fresh()) + pack_values([rule()])
    assert inside.ask(wire.CREATE, body, SESSION_FLAGS).code == 1, "logged in already"


def test_a_set_up_of_several_datagrams(guild: Guild) -> None:
    """A client's key of 4,096 bits: the request has pieces with the truncated bit."""
    key = rsa.generate_private_key(65537, 4096)
    packed = pack_str(pack_public_key(key.public_key()))
    assert len(packed) > PIECE
    client = guild.client.speaking(transport="udp")
    answer = client.set_up_session(1, (guild.keeper.handle, guild.keeper.index), packed)
    clear = Cursor(key.decrypt(session_data(answer, 1).rest, PKCS1v15()))
    cipher_id = clear.number("i")
    place = (answer.envelope.session, answer.envelope.version)
    session = Session(*place, clear.rest, cipher_id, encrypted=True)
    inside = guild.client.speaking(session=session)
    body = pack_str(guild.fresh()) + pack_values([rule()])
    assert codes(in_session(inside, wire.CREATE, body, guild.keeper)) == {1}


# What ends a session, and refusals at all


@pytest.mark.parametrize("encrypted", [False, True], ids=["macs", "encrypted"])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_lost_session_is_said_with_a_signature(
    guild: Guild, transport: str, encrypted: bool
) -> None:
    """So that a client which asked for one believes it, and begins anew."""
    inside = guild.client.open_session(guild.keeper, encrypted=encrypted)
    session = inside.session
    assert session is not None
    for wrong, code in (({"id": 2**31 - 9}, 500), ({"key": bytes(32)}, 502)):
        lost = inside.speaking(session=replace(session, **wrong), transport=transport)
        answer = lost.ask(wire.RESOLUTION, resolution_body(b"0.NA/97"), SESSION_FLAGS)
        assert answer.code == code
        assert inside.server_key is not None
        check_certified(answer, inside.server_key)
    body = pack_str(guild.fresh()) + pack_values([rule()])
    again = guild.client.open_session(guild.keeper, encrypted=encrypted)
    assert codes(in_session(again, wire.CREATE, body, guild.keeper)) == {1}


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_every_refusal_is_certified_when_asked_for(top: Stand, transport: str) -> None:
    client = top.client.speaking(transport=transport)
    flags = QUERY_FLAGS | wire.CERT | wire.RRDG
    for opcode, body, code in (
        (wire.RESOLUTION, b"\xff\xff\xff\xff", 4),
        (wire.RESOLUTION, resolution_body(b"99.9/X"), 301),
        (999, pack_str(b"88/X"), 2),
        (0, pack_str(b"88/X"), 4),
        (wire.LIST, pack_str(b"0.NA/88"), 4 if transport == "udp" else 402),
        (wire.SESSION_SETUP, pack(">hi", 9, 60) + pack_str(b"") + pack(">i", -1), 504),
    ):
        assert client.ask(opcode, body, flags).code == code, (opcode, body)


# Limits, and what nobody checks


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_longest_handle(guild: Guild, transport: str) -> None:
    handle = guild.fresh(f"LONG.{transport}.")
    handle += "é".encode() * ((HANDLE_MAX - len(handle)) // 2)
    handle = handle.ljust(HANDLE_MAX, b"X")
    assert guild.client.create(handle, [url(), rule()], guild.keeper).code == 1
    client = guild.client.speaking(transport=transport)
    answer = client.resolve(handle, flags=wire.CERT | wire.RRDG)
    assert (answer.code, answer.handle) == (1, handle)
    assert client.resolve(handle[:-1]).code == 100
    assert guild.client.create(handle + b"X", [url()], guild.keeper).code == 102
    assert guild.client.delete(handle, guild.keeper).code == 1


@pytest.mark.parametrize("transport", ["tcp", "http", "https"])
def test_the_most_values(guild: Guild, transport: str) -> None:
    handle = guild.fresh("MANY")
    values = [Value(n, b"N", bytes([n % 251]) * 95) for n in range(1, VALUES_MAX)] + [rule(9999)]
    client = guild.client.speaking(transport=transport)
    assert client.create(handle, values, guild.keeper).code == 1
    answer = client.resolve(handle, flags=wire.CERT | wire.RRDG)
    assert [(v.index, v.data) for v in answer.values] == [(v.index, v.data) for v in values]
    assert client.add(handle, [url(10_000)], guild.keeper).code == 202
    asked = tuple(range(1, VALUES_MAX + 1))
    assert len(client.resolve(handle, indexes=asked).values) == VALUES_MAX - 1
    types = (*[b"T%d" % n for n in range(1000)], b"hs_admin")
    assert [value.index for value in client.resolve(handle, types).values] == [9999]
    inside = client.open_session(guild.keeper, encrypted=True)
    assert len(inside.resolve(handle, flags=wire.CERT).values) == VALUES_MAX


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_nobody_looks_at_the_expiry_of_a_request(guild: Guild, transport: str) -> None:
    client = guild.client.speaking(transport=transport)
    for expiration in (0, 1, int(time.time()) - 86_400):
        answer = client.ask(1, resolution_body(b"0.NA/97"), QUERY_FLAGS, expiration=expiration)
        assert answer.code == 1


@pytest.mark.parametrize("version", [(5, 0), (5, 1)])
def test_clients_that_call_themselves_5(top: Stand, version: tuple[int, int]) -> None:
    client = top.client.speaking(version=version, suggested=(0, 0))
    message = wire.pack_message(1, resolution_body(b"0.NA/88"), QUERY_FLAGS | wire.RRDG)
    envelope = wire.Envelope(version, 0, (0, 0), 0, 4711, 0, len(message) + 4)
    (answer,) = exchange(client, envelope, message + bytes(4), Answer)
    assert (answer.code, answer.envelope.version) == (1, version)
    assert answer.digest is None, "flagged digests are younger"
