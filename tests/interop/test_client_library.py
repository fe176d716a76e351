"""Paths of the stock client library beside those of its tools: what it sends, what it accepts."""

import socket
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, rsa
from cryptography.x509 import load_der_x509_certificate

from tests.interop import foreign_wire as wire
from tests.interop.conftest import TRANSPORTS, VERSIONS, Guild, Stand, url
from tests.interop.foreign_client import QUERY_FLAGS, ForeignClient, answer_body, resolution_body
from tests.interop.foreign_crypto import KeyIdentity, pack_public_key, read_public_key
from tests.interop.foreign_session import DhPair
from tests.interop.foreign_transport import connect, receive_pieces
from tests.interop.foreign_wire import Answer, Cursor, Value, admin_data, pack_str, pack_values

SESSION_FLAGS = wire.CERT | wire.RECU | wire.CACR | wire.PUBL
READ_FLAGS = wire.CERT | wire.RECU | wire.CACR  # not for public values only: needs an identity
VECTORS = Path(__file__).parents[1] / "vectors"


def creation(guild: Guild, hint: str = "LIB") -> bytes:
    """The body of a request for a handle that is not there yet."""
    return pack_str(guild.fresh(hint)) + pack_values([url(), guild.admin_value()])


def create_in(guild: Guild, inside: ForeignClient) -> Answer:
    """A creation in a session, and the challenge to it where there is one."""
    answer = inside.ask(wire.CREATE, creation(guild), SESSION_FLAGS)
    if answer.code == 402:
        answer = inside.answer_challenge(answer, guild.keeper, SESSION_FLAGS)[0]
    return answer


# Session set-ups


@pytest.mark.parametrize("encrypted", [False, True], ids=["macs", "encrypted"])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_options_of_a_session_are_changed_by_a_set_up_inside_it(
    guild: Guild, transport: str, encrypted: bool
) -> None:
    """The set-up has the old session's MAC, and its encryption; the answer is the server's."""
    inside = guild.client.open_session(guild.keeper, encrypted=not encrypted)
    assert create_in(guild, inside).code == 1
    changed = inside.speaking(transport=transport).open_session(guild.keeper, encrypted=encrypted)
    assert changed.session is not None
    assert inside.session is not None
    assert changed.session.id != inside.session.id
    assert create_in(guild, changed.speaking(transport="tcp")).code == 1
    assert create_in(guild, inside).code == 1, "the old one lives until it times out"


@pytest.mark.parametrize("version", [(2, 1), (2, 4), (2, 10)])
def test_the_group_of_older_clients(guild: Guild, version: tuple[int, int]) -> None:
    """Java up to 8 makes Diffie-Hellman keys in the group of its DSA keys: a generator as long."""
    key = read_public_key((VECTORS / "pubkey.bin").read_bytes())
    assert isinstance(key, dsa.DSAPublicKey)
    group = key.public_numbers().parameter_numbers
    client = guild.client.speaking(transport="udp", version=version, suggested=version)
    inside = client.open_session(guild.keeper, encrypted=True, pair=DhPair.make(group.p, group.g))
    assert create_in(guild, inside.speaking(transport="tcp")).code == 1


@pytest.mark.parametrize("encrypted", [False, True], ids=["macs", "encrypted"])
def test_clients_of_a_later_release(guild: Guild, encrypted: bool) -> None:
    """They suggest 2.11, which is covered by their MACs, and are answered in 2.10."""
    later = guild.client.speaking(suggested=(2, 11))
    assert later.speaking(version=(2, 3)).site() == guild.client.site()
    for transport in ("tcp", "http", "https"):
        line = later.speaking(transport=transport, http_version="1.1")
        inside = line.open_session(guild.keeper, encrypted=encrypted)
        assert create_in(guild, inside).code == 1
        assert create_in(guild, inside).code == 1
    assert later.delete(guild.make(url()), guild.admin).code == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_the_session_of_a_server_known_as_older(guild: Guild, version: tuple[int, int]) -> None:
    """The site says an old version: the set-up is in it, what follows in that of its answer."""
    known = guild.client.speaking(version=version)
    inside = known.open_session(guild.keeper, encrypted=True)
    assert inside.session is not None
    assert inside.session.version == (2, 10)
    assert create_in(guild, inside.speaking(version=inside.session.version)).code == 1


# Reading what is not public, as it is read over UDP


@pytest.mark.parametrize("encrypted", [False, True], ids=["macs", "encrypted"])
@pytest.mark.parametrize("version", VERSIONS)
def test_reading_with_an_identity_over_udp(
    guild: Guild, version: tuple[int, int], encrypted: bool
) -> None:
    large = [Value(n, b"PART", bytes([n]) * 400, 0b1100) for n in range(1, 6)]
    handle = guild.make_for(0x400, *large)
    client = guild.client.speaking(transport="udp", version=version, suggested=version)
    inside = client.open_session(guild.keeper, encrypted=encrypted)
    body = resolution_body(handle, (b"PART",))
    challenge = inside.ask(wire.RESOLUTION, body, READ_FLAGS)
    assert challenge.code == 402
    answer = inside.answer_challenge(challenge, guild.keeper, READ_FLAGS)[0]
    again = inside.ask(wire.RESOLUTION, body, READ_FLAGS)
    assert [value.data for value in answer.values] == [value.data for value in large]
    assert again.values == answer.values


def twice(inside: ForeignClient, message: bytes, *, recount: bool) -> list[Answer]:
    """The answers to a request that is sent twice over UDP, with one request id."""
    first = inside._seal(message, 0)
    second = inside._seal(message, 0, first[0].request) if recount else first
    answers = []
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.connect((inside.address, inside.handle_port))
        sock.settimeout(3)
        for envelope, octets in (first, second):
            sock.send(envelope.pack() + octets)
        for _ in range(2):
            received = receive_pieces(sock, first[0].request)
            assert received is not None
            answers.append(inside._open(*received))
    return answers


@pytest.mark.parametrize("version", [(2, 1), (2, 4), (2, 5), (2, 10)])
def test_a_request_that_is_repeated_over_udp(guild: Guild, version: tuple[int, int]) -> None:
    """From 2.5 on a repeated request is counted anew, before it is the same octets."""
    hidden = guild.make_for(0x400, Value(2, b"N", b"hidden", 0b1100))
    client = guild.client.speaking(transport="udp", version=version, suggested=version)
    inside = client.open_session(guild.keeper)
    recount = version >= (2, 5)
    asked = wire.pack_message(wire.RESOLUTION, resolution_body(hidden), READ_FLAGS)
    first, second = twice(inside, asked, recount=recount)
    assert (first.code, second.code) == (402, 402)
    assert first.payload.str() == second.payload.str(), "whichever is answered, it is this one"
    answer = inside.answer_challenge(first, guild.keeper, READ_FLAGS)[0]
    assert answer.code == 1
    assert {answer.code for answer in twice(inside, asked, recount=recount)} == {1}


# What answers to challenges promise


@pytest.mark.parametrize("kind", ["public key", "secret key"])
@pytest.mark.parametrize("transport", ["tcp", "http", "https"])
@pytest.mark.parametrize("version", VERSIONS)
def test_certified_administration_without_a_session(
    guild: Guild, version: tuple[int, int], transport: str, kind: str
) -> None:
    """Challenge and answer are signed, and each has the digest of what it answers."""
    client = guild.client.speaking(version=version, suggested=version, transport=transport)
    body, who = creation(guild), guild.members[kind]
    answer = client.perform(wire.CREATE, body, who, wire.CERT | wire.RRDG | wire.CACR)
    assert (answer.code, answer.payload.str()) == (1, Cursor(body).str())
    assert answer.digest is not None


@pytest.mark.parametrize("version", [(2, 1), (2, 6), (2, 10)])
@pytest.mark.parametrize(("kind", "bits"), [("DSA", 1024), ("DSA", 2048), ("RSA", 3072)])
def test_keys_of_other_kinds_and_sizes(
    guild: Guild, kind: str, bits: int, version: tuple[int, int]
) -> None:
    key: rsa.RSAPrivateKey | dsa.DSAPrivateKey
    key = dsa.generate_private_key(bits) if kind == "DSA" else rsa.generate_private_key(65537, bits)
    holder = guild.make(Value(300, b"HS_PUBKEY", pack_public_key(key.public_key())), hint="KEY")
    who = KeyIdentity(holder, 300, key)
    rule = Value(101, b"HS_ADMIN", admin_data(holder, 300))
    handle = guild.make(url(), rule)
    client = guild.client.speaking(version=version, suggested=version)
    assert client.modify(handle, [url(1, b"outside")], who).code == 1
    inside = client.open_session(who, encrypted=True)
    assert inside.modify(handle, [url(1, b"inside")], who).code == 1
    assert inside.modify(handle, [url(1, b"again")], who).code == 1
    other = replace(who, key=guild.admin.key)
    assert client.modify(handle, [url(1, b"wrong")], other).code == 403


def test_an_identity_of_its_own_in_the_session_of_another(guild: Guild) -> None:
    """An anonymous session that somebody uses is challenged each time, and answered each time."""
    inside = guild.client.open_session(None, encrypted=True)
    for _ in range(2):
        challenge = inside.ask(wire.CREATE, creation(guild), SESSION_FLAGS)
        assert challenge.code == 402
        assert inside.answer_challenge(challenge, guild.member, SESSION_FLAGS)[0].code == 1


def test_the_second_challenge_of_a_session_takes_the_place_of_the_first(guild: Guild) -> None:
    inside = guild.client.open_session(guild.keeper)
    first = inside.ask(wire.CREATE, creation(guild), SESSION_FLAGS)
    second = inside.ask(wire.CREATE, creation(guild), SESSION_FLAGS)
    assert first.payload.str() != second.payload.str()
    assert inside.answer_challenge(second, guild.keeper, SESSION_FLAGS)[0].code == 1
    late = inside.ask(wire.ANSWER_CHALLENGE, answer_body(first, guild.keeper), SESSION_FLAGS)
    assert late.code == 405


@pytest.mark.parametrize("transport", ["tcp", "http"])
def test_the_flags_of_what_was_created(guild: Guild, transport: str) -> None:
    client = guild.client.speaking(transport=transport)
    body, stem = creation(guild), creation(guild, "MINT-")
    marks = wire.OVRW | wire.MINT
    for content, flags, marked in (
        (body, 0, 0),
        (body, wire.OVRW, wire.OVRW),
        (stem, wire.MINT, wire.MINT),
        (stem, wire.MINT | wire.OVRW, wire.MINT),
    ):
        answer = client.perform(wire.CREATE, content, guild.admin, flags)
        assert (answer.code, answer.flags & marks) == (1, marked)


# The tunnel


@pytest.mark.parametrize("transport", ["http", "https"])
def test_lists_in_the_tunnel_of_http_1_1(guild: Guild, transport: str) -> None:
    """The client reads envelopes as soon as the head ends, whatever the head says."""
    for _ in range(60):
        assert guild.client.create(guild.fresh("LIST"), [url()], guild.keeper).code == 1
    client = guild.client.speaking(transport=transport, http_version="1.1")
    for line in (client, client.open_session(guild.keeper, encrypted=True)):
        answers = line.list(b"0.NA/97", guild.keeper)
        assert len(answers) >= 2
        assert {answer.code for answer in answers} == {1}
        head = line.http_head.lower()
        assert b"chunked" not in head
        assert b"connection: close" in head


def test_the_certificate_has_the_octets_of_the_site_s_key(top: Stand) -> None:
    """The client writes the certificate's key as it writes every key, and compares octets."""
    line = top.client.speaking(transport="https")
    with closing(connect(line, line.http_port)) as sock:
        octets = sock.getpeercert(binary_form=True)  # type: ignore[attr-defined]
    shown = load_der_x509_certificate(octets).public_key()
    assert isinstance(shown, rsa.RSAPublicKey)
    assert pack_public_key(shown) == top.client.site().servers[0].public_key


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_what_asks_for_encryption_outside_a_session_is_answered_in_clear(
    top: Stand, transport: str
) -> None:
    client = top.client.speaking(transport=transport)
    answer = client.resolve(b"0.NA/88", flags=wire.ENCR)
    assert (answer.code, answer.envelope.flags & wire.ENCRYPTED) == (1, 0)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_encrypted_message_outside_a_session(guild: Guild, transport: str) -> None:
    inside = guild.client.open_session(guild.keeper, encrypted=True)
    assert inside.session is not None
    lost = inside.speaking(transport=transport, session=replace(inside.session, id=0))
    answer = lost.ask(wire.RESOLUTION, resolution_body(b"0.NA/97"), QUERY_FLAGS)
    assert answer.code in (500, 501)


# Every operation in every way


def operations(guild: Guild) -> list[tuple[int, bytes, int, int]]:
    """Opcode, body, flags and the response code of the best version, to be asked in this order."""
    handle, missing = guild.fresh("EACH"), pack_str(guild.fresh("MISSING"))
    there = pack_str(handle)
    rule = Value(101, b"HS_ADMIN", admin_data(guild.keeper.handle, 301))
    sealed = Value(5, b"N", b"sealed", 0b1010)
    hidden = Value(6, b"N", b"hidden", 0b1100)
    secret = Value(7, b"N", b"nobody's", 0b0100)
    values = pack_values([url(), sealed, hidden, secret, rule])
    prefix, public = pack_str(b"0.NA/97"), wire.PUBL
    return [
        (wire.CREATE, there + values, public, 1),
        (wire.CREATE, there + values, public, 101),
        (wire.CREATE, pack_str(b"97/\xff") + values, public, 102),
        (wire.CREATE, missing + pack_values([url(), url()]), public, 201),
        (wire.CREATE, missing + pack_values([url(0)]), public, 202),
        (wire.CREATE, pack_str(b"99.9/X") + values, public, 301),
        (wire.RESOLUTION, resolution_body(handle), public, 1),
        (wire.RESOLUTION, resolution_body(handle, (b"NONE",)), public, 200),
        (wire.RESOLUTION, resolution_body(handle, (), (6,)), public, 200),
        (wire.RESOLUTION, resolution_body(handle, (), (6,)), 0, 1),
        (wire.RESOLUTION, resolution_body(handle, (), (7,)), 0, 401),
        (wire.RESOLUTION, missing + bytes(8), public, 100),
        (wire.ADD, there + pack_values([url(2)]), public, 1),
        (wire.ADD, there + pack_values([url(2)]), public, 201),
        (wire.ADD, there + pack_values([url(2, b"new")]), public | wire.OVRW, 1),
        (wire.ADD, there + pack_values([]), public, 202),
        (wire.ADD, missing + pack_values([url(2)]), public, 100),
        (wire.MODIFY, there + pack_values([url(2, b"newer")]), public, 1),
        (wire.MODIFY, there + pack_values([url(9)]), public, 200),
        (wire.MODIFY, there + pack_values([replace(sealed, data=b"x")]), public, 401),
        (wire.REMOVE, there + wire.pack_indexes([2]), public, 1),
        (wire.REMOVE, there + wire.pack_indexes([2]), public, 200),
        (wire.LIST, prefix, public, 1),
        (wire.LIST, pack_str(b"0.NA/99.9"), public, 301),
        (wire.HOME, pack_str(b"0.NA/97.1"), public, 400),
        (wire.DELETE, there, public, 1),
        (wire.DELETE, there, public, 100),
    ]


def expected_code(opcode: int, flags: int, code: int, version: tuple[int, int]) -> int:
    """What a peer of this version is told: some codes and the overwrite flag are younger."""
    if flags & wire.OVRW and version < (2, 3):
        return 201
    return 201 if code == 202 and version < (2, 5) else code


@pytest.mark.parametrize("way", ["plain", "certified", "macs", "encrypted", "anonymous"])
@pytest.mark.parametrize("version", VERSIONS)
def test_every_operation_in_every_way(guild: Guild, version: tuple[int, int], way: str) -> None:
    """Sessions and versions change how it is said, not what."""
    client = guild.client.speaking(version=version, suggested=version)
    flags = wire.CACR | wire.RECU
    if way == "certified":
        flags |= wire.CERT | wire.RRDG
    elif way != "plain":
        who = None if way == "anonymous" else guild.keeper
        client = client.open_session(who, encrypted=way == "encrypted")
        flags |= wire.CERT
    for opcode, body, more, code in operations(guild):
        answers = client.ask_for_many(opcode, body, flags | more)
        if answers[0].code == 402:
            answers = client.answer_challenge(answers[0], guild.keeper, flags | more)
        codes = {answer.code for answer in answers}
        assert codes == {expected_code(opcode, more, code, version)}, (opcode, body)
        assert {answer.opcode for answer in answers} == {opcode}
