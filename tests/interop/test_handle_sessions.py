"""Sessions: set-up, MACs, encryption, replay; as the stock administration tools open them."""

from dataclasses import replace
from struct import pack

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

from tests.interop import foreign_wire as wire
from tests.interop.conftest import TRANSPORTS, VERSIONS, Guild, Stand, url
from tests.interop.foreign_client import ForeignClient, Session, session_data
from tests.interop.foreign_crypto import pack_public_key
from tests.interop.foreign_wire import Answer, Cursor, Value, admin_data, pack_str, pack_values


def work(guild: Guild, inside: ForeignClient) -> None:
    """What the batch tool does: log in once, then one request after the other."""
    handle = guild.fresh("S")
    rule = Value(100, b"HS_ADMIN", admin_data(b"0.NA/97", 200))
    creation = pack_str(handle) + pack_values([url(), rule])
    challenge = inside.ask(wire.CREATE, creation, wire.PUBL)
    session = inside.session
    assert session is not None
    assert (challenge.code, challenge.envelope.session) == (402, session.id)
    assert inside.answer_challenge(challenge, guild.keeper)[0].code == 1
    answer = inside.ask(wire.ADD, pack_str(handle) + pack_values([url(2)]), wire.PUBL)
    assert (answer.code, answer.envelope.session) == (1, session.id), "logged in already"
    assert inside.modify(handle, [url(1, b"new")], guild.keeper).code == 1
    assert inside.remove(handle, [2], guild.keeper).code == 1
    assert [value.data for value in inside.resolve(handle, (b"URL",)).values] == [b"new"]
    assert inside.delete(handle, guild.keeper).code == 1
    assert inside.resolve(handle).code == 100
    assert inside.ask(wire.SESSION_TERMINATE, pack_str(b"0.NA/97")).code == 1
    inside.session = session
    assert plain_code(inside, handle) == 500


def plain_code(inside: ForeignClient, handle: bytes) -> int:
    return inside.ask(wire.DELETE, pack_str(handle), wire.PUBL).code


@pytest.mark.parametrize("encrypted", [False, True], ids=["macs", "encrypted"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_at_every_version(
    guild: Guild, version: tuple[int, int], encrypted: bool
) -> None:
    client = guild.client.speaking(version=version, suggested=version)
    work(guild, client.open_session(guild.keeper, encrypted=encrypted))


@pytest.mark.parametrize("encrypted", [False, True], ids=["macs", "encrypted"])
@pytest.mark.parametrize("transport", ["http", "https"])
def test_a_session_over_every_transport(guild: Guild, transport: str, encrypted: bool) -> None:
    client = guild.client.speaking(transport=transport)
    work(guild, client.open_session(guild.keeper, encrypted=encrypted))


@pytest.mark.parametrize("encrypted", [False, True], ids=["macs", "encrypted"])
def test_a_session_is_set_up_over_udp_and_used_over_tcp(guild: Guild, encrypted: bool) -> None:
    client = guild.client.speaking(transport="udp")
    inside = client.open_session(guild.keeper, encrypted=encrypted)
    assert inside.resolve(b"97/KEEPER").code == 200
    work(guild, inside.speaking(transport="tcp"))


@pytest.mark.parametrize("version", VERSIONS)
def test_an_encrypted_session_of_2_10_goes_on_in_other_versions(
    guild: Guild, version: tuple[int, int]
) -> None:
    # The recorded clients do so: what encrypts is the version of the set-up's answer.
    outside = guild.client.speaking(version=version, suggested=(2, 10))
    inside = outside.open_session(guild.keeper, encrypted=True)
    work(guild, inside.speaking(version=(2, 10), suggested=version))


@pytest.mark.parametrize("encrypted", [False, True], ids=["macs", "encrypted"])
def test_an_answer_to_a_challenge_may_have_a_mac(guild: Guild, encrypted: bool) -> None:
    """As the stock client's has it when it repeats one over UDP."""
    inside = guild.client.open_session(guild.keeper, encrypted=encrypted)
    assert inside.session is not None
    inside.session.macs_answers = True
    work(guild, inside)


def test_each_node_opens_sessions_for_its_administrator(each: Stand) -> None:
    inside = each.client.open_session(each.admin, encrypted=True)
    handle = each.fresh()
    assert inside.create(handle, [url(), each.admin_value()], each.admin).code == 1
    assert inside.delete(handle, each.admin).code == 1


def test_only_the_identity_of_the_set_up_stays_logged_in(guild: Guild) -> None:
    inside = guild.client.open_session(guild.keeper)
    assert inside.create(guild.fresh(), [url()], guild.member).code == 1
    body = pack_str(guild.fresh()) + pack_values([url()])
    assert inside.ask(wire.CREATE, body, wire.PUBL).code == 402


def test_an_anonymous_session(guild: Guild) -> None:
    inside = guild.client.open_session(None, encrypted=True)
    assert inside.resolve(b"0.NA/97").code == 1
    assert inside.create(guild.fresh(), [url()], guild.keeper).code == 1


def test_reading_what_is_not_public_in_a_session(guild: Guild) -> None:
    handle = guild.make_for(0x400, Value(2, b"N", b"hidden", 0b1100))
    inside = guild.client.open_session(guild.keeper, encrypted=True)
    body = pack_str(handle) + wire.pack_indexes([2]) + wire.pack_list([])
    challenge = inside.ask(wire.RESOLUTION, body)
    assert challenge.code == 402
    answer = inside.answer_challenge(challenge, guild.keeper)[0]
    assert answer.values[0].data == b"hidden"
    assert inside.ask(wire.RESOLUTION, body).values[0].data == b"hidden"


@pytest.mark.parametrize("encrypted", [False, True], ids=["macs", "encrypted"])
def test_long_lists_in_a_session(guild: Guild, encrypted: bool) -> None:
    inside = guild.client.open_session(guild.keeper, encrypted=encrypted)
    for _ in range(60):
        assert inside.create(guild.fresh("LIST"), [url()], guild.keeper).code == 1
    answers = inside.list(b"0.NA/97", guild.keeper)
    assert len(answers) >= 2
    assert {answer.code for answer in answers} == {1}
    assert sum(len(answer.payload.strs()) for answer in answers) >= 60


# What is rejected


def in_session(guild: Guild, **changes: object) -> tuple[ForeignClient, Session]:
    inside = guild.client.open_session(guild.keeper)
    session = inside.session
    assert session is not None
    changed = replace(session, **changes)  # type: ignore[arg-type]
    return inside.speaking(session=changed), changed


def test_a_counter_counts_once(guild: Guild) -> None:
    inside, session = in_session(guild)
    assert inside.resolve(b"0.NA/97").code == 1
    session.counter -= 1
    assert inside.resolve(b"0.NA/97").code == 505
    session.counter = 500
    assert inside.resolve(b"0.NA/97").code == 1
    session.counter = 400
    assert inside.resolve(b"0.NA/97").code == 1, "new, and within the window of 200"
    session.counter = 250
    assert inside.resolve(b"0.NA/97").code == 505, "older than the window"


def test_a_wrong_mac(guild: Guild) -> None:
    inside, _ = in_session(guild, key=bytes(32))
    assert inside.resolve(b"0.NA/97").code == 502


def test_an_unknown_session(guild: Guild) -> None:
    inside, _ = in_session(guild, id=2**31 - 7)
    assert inside.resolve(b"0.NA/97").code == 500


def test_a_session_without_a_credential(guild: Guild) -> None:
    _, session = in_session(guild)
    body = pack_str(guild.fresh()) + pack_values([url()])
    assert guild.client.ask(wire.CREATE, body, session_id=session.id).code == 404


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_set_ups_that_make_no_sense(guild: Guild, transport: str) -> None:
    client = guild.client.speaking(transport=transport)
    for mode, fields in ((4, pack_str(b"no key")), (9, b""), (1, b""), (4, b"\xff\xff\xff\xff")):
        body = pack(">hi", mode, 60) + pack_str(b"97/KEEPER") + pack(">i", 301) + fields
        answer = client.ask(wire.SESSION_SETUP, body, wire.RRDG)
        assert answer.code in (2, 4, 501, 503, 504), (mode, fields)
        assert answer.text


# Modes 1 and 3: the server makes the key and encrypts it to an RSA key


def rsa_session(guild: Guild, answer: Answer, mode: int, key: rsa.RSAPrivateKey) -> ForeignClient:
    clear = Cursor(key.decrypt(session_data(answer, mode).rest, PKCS1v15()))
    cipher_id = clear.number("i")
    place = (answer.envelope.session, answer.envelope.version)
    return guild.client.speaking(session=Session(*place, clear.rest, cipher_id, encrypted=True))


def test_a_session_with_the_clients_rsa_key(guild: Guild) -> None:
    key = rsa.generate_private_key(65537, 2048)
    fields = pack_str(pack_public_key(key.public_key()))
    answer = guild.client.set_up_session(1, (guild.keeper.handle, 301), fields)
    work(guild, rsa_session(guild, answer, 1, key))


def test_a_session_with_a_key_in_a_handle(guild: Guild) -> None:
    key = guild.member.key
    assert isinstance(key, rsa.RSAPrivateKey)
    fields = pack_str(guild.member.handle) + pack(">i", 300)
    answer = guild.client.set_up_session(3, (guild.keeper.handle, 301), fields)
    work(guild, rsa_session(guild, answer, 3, key))
