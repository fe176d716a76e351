"""Challenges and answers: the shape of a challenge, every form of an answer, what is refused."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.interop import foreign_wire as wire
from tests.interop.conftest import TRANSPORTS, VERSIONS, Guild, Stand, url
from tests.interop.foreign_client import ForeignClient, answer_body
from tests.interop.foreign_crypto import (
    SECRET_RULES,
    KeyIdentity,
    SecretIdentity,
    digest_request,
    pbkdf2_answer,
    sign,
)
from tests.interop.foreign_wire import Answer, Value, admin_data, pack_str, pack_values
from tests.nodes import wait_until


def challenged(guild: Guild, **speaking: object) -> Answer:
    """A creation up to its challenge."""
    client = guild.client.speaking(**speaking)
    return client.ask(wire.CREATE, pack_str(guild.fresh()) + pack_values([url()]), wire.PUBL)


@pytest.mark.parametrize("transport", ["tcp", "http", "https"])
@pytest.mark.parametrize("version", VERSIONS)
def test_shape_of_a_challenge(guild: Guild, version: tuple[int, int], transport: str) -> None:
    first = challenged(guild, version=version, suggested=version, transport=transport)
    second = challenged(guild, version=version, suggested=version, transport=transport)
    for answer in (first, second):
        assert (answer.opcode, answer.code) == (wire.CREATE, 402)
        assert answer.flags & wire.RRDG, "the digest is there, asked for or not"
        cursor = answer.payload
        assert len(cursor.str()) == 16
        assert cursor.rest == b""
        assert answer.envelope.session > 0
    assert first.envelope.session != second.envelope.session
    assert first.payload.str() != second.payload.str()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_answer_may_come_over_another_connection_and_transport(
    guild: Guild, transport: str
) -> None:
    challenge = challenged(guild)
    other = guild.client.speaking(transport=transport)
    assert other.answer_challenge(challenge, guild.keeper)[0].code == 1


def test_an_answer_counts_once(guild: Guild) -> None:
    challenge = challenged(guild)
    assert guild.client.answer_challenge(challenge, guild.keeper)[0].code == 1
    body = answer_body(challenge, guild.keeper)
    again = guild.client.ask(wire.ANSWER_CHALLENGE, body, session_id=challenge.envelope.session)
    assert again.code >= 400


def test_a_wrong_answer_uses_the_challenge_up(guild: Guild) -> None:
    challenge = challenged(guild)
    wrong = replace(guild.keeper, secret=b"guess")
    assert guild.client.answer_challenge(challenge, wrong)[0].code == 403
    body = answer_body(challenge, guild.keeper)
    again = guild.client.ask(wire.ANSWER_CHALLENGE, body, session_id=challenge.envelope.session)
    assert again.code >= 400


def test_an_answer_to_nothing(guild: Guild) -> None:
    body = answer_body(challenged(guild), guild.keeper)
    for session in (0, 2**31 - 1):
        answer = guild.client.ask(wire.ANSWER_CHALLENGE, body, session_id=session)
        assert answer.code not in (0, 1, 402)


def test_who_you_are_comes_before_what_you_know(guild: Guild) -> None:
    client = guild.client
    nobody = SecretIdentity(b"97/NOBODY", 301, b"x")
    stranger_guessing = replace(guild.stranger, secret=b"guess")
    for who in (guild.stranger, stranger_guessing, nobody):
        assert client.create(guild.fresh(), [url()], who).code == 400
    wrong_secret = replace(guild.keeper, secret=b"guess")
    assert client.create(guild.fresh(), [url()], wrong_secret).code == 403
    wrong_key = replace(guild.member, key=guild.admin.key)
    assert client.create(guild.fresh(), [url()], wrong_key).code == 403


@pytest.mark.parametrize("rule", SECRET_RULES)
def test_every_secret_key_answer(guild: Guild, rule: int) -> None:
    right = replace(guild.keeper, rule=rule)
    wrong = replace(right, secret=right.secret + b"x")
    assert guild.client.create(guild.fresh(), [url()], right).code == 1
    assert guild.client.create(guild.fresh(), [url()], wrong).code == 403


@pytest.mark.parametrize("name", [b"SHA1", b"SHA-1", b"SHA256", b"SHA-256", b"\2", b"\3"])
def test_every_name_of_a_hash(guild: Guild, name: bytes) -> None:
    class Named(KeyIdentity):
        def answer(self, challenge: bytes, version: tuple[int, int]) -> bytes:
            old = name in (b"SHA1", b"SHA-1", b"\2")
            signature = sign(self.key, challenge, (2, 6) if old else (2, 10))[1]
            return pack_str(name) + pack_str(signature)

    who = Named(guild.member.handle, guild.member.index, guild.member.key)
    assert guild.client.create(guild.fresh(), [url()], who).code == 1


def test_the_sender_does_not_choose_how_long_we_compute(guild: Guild) -> None:
    class Costly(SecretIdentity):
        def answer(self, challenge: bytes, version: tuple[int, int]) -> bytes:
            cheap = pbkdf2_answer(self.secret, challenge, 1)
            return cheap[:21] + (2**31 - 1).to_bytes(4, "big") + cheap[25:]

    who = Costly(guild.keeper.handle, guild.keeper.index, guild.keeper.secret)
    start = time.monotonic()
    assert guild.client.create(guild.fresh(), [url()], who).code in (403, 404, 406)
    assert time.monotonic() - start < 5


def test_an_answer_that_cannot_be_read(guild: Guild) -> None:
    class Broken(SecretIdentity):
        def answer(self, challenge: bytes, version: tuple[int, int]) -> bytes:
            return b"\x22\xff\xff\xff\xff"

    who = Broken(guild.keeper.handle, guild.keeper.index, guild.keeper.secret)
    assert guild.client.create(guild.fresh(), [url()], who).code in (403, 404, 406)
    for body in (b"", b"\0\0\0\x7f", pack_str(b"HS_NOKEY") + pack_str(b"97/KEEPER")):
        challenge = challenged(guild)
        session = challenge.envelope.session
        answer = guild.client.ask(wire.ANSWER_CHALLENGE, body, session_id=session)
        assert answer.code not in (0, 1)


# VERIFY_CHALLENGE: one server asks another about a secret key


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("index", [301, 0])
def test_verifying_for_another_server(guild: Guild, transport: str, index: int) -> None:
    client = guild.client.speaking(transport=transport)
    nonce, digest = b"n" * 16, digest_request(b"request", (2, 10))

    def verify(answer: bytes, digest_field: bytes) -> int:
        head = pack_str(guild.keeper.handle) + index.to_bytes(4, "big") + pack_str(nonce)
        body = head + digest_field + pack_str(answer)
        reply = client.ask(wire.VERIFY_CHALLENGE, body, wire.CERT | wire.RRDG)
        assert reply.code == 1, reply
        cursor = reply.payload
        result = cursor.number("B")
        assert cursor.rest == b""
        return result & 1

    right = pbkdf2_answer(guild.keeper.secret, nonce + digest[1])
    wrong = pbkdf2_answer(b"guess", nonce + digest[1])
    for field in (pack_str(digest[1]), bytes([digest[0]]) + digest[1]):
        assert verify(right, field) == 1
        assert verify(wrong, field) == 0


def test_a_secret_that_lives_on_another_node(guild: Guild, enterprise: Stand) -> None:
    """The enterprise asks the top, by VERIFY_CHALLENGE, about a secret it cannot read."""
    rule = Value(101, b"HS_ADMIN", admin_data(guild.keeper.handle, 301))
    handle = enterprise.make(url(), rule)
    assert enterprise.client.modify(handle, [url(1, b"new")], guild.keeper).code == 1
    wrong = replace(guild.keeper, secret=b"guess")
    assert enterprise.client.modify(handle, [url(1, b"no")], wrong).code == 403


@pytest.fixture
def prefix_secret(secondary: Stand, enterprise: Stand) -> Iterator[SecretIdentity]:
    """A secret in the enterprise's prefix handle, which the secondary keeps and the top refers."""
    who = SecretIdentity(b"0.NA/88.118.5", 309, b"the prefix's")
    secret = Value(309, b"HS_SECKEY", who.secret, permissions=0b1100)
    assert secondary.client.add(who.handle, [secret], enterprise.admin).code == 1
    yield who
    assert secondary.client.remove(who.handle, [309], enterprise.admin).code == 1


def test_a_secret_in_a_delegated_prefix(
    top: Stand, secondary: Stand, enterprise: Stand, prefix_secret: SecretIdentity
) -> None:
    """Whichever node asks, the one that has it says whether an answer was made with it."""
    rule = Value(101, b"HS_ADMIN", admin_data(prefix_secret.handle, 309))
    wrong = replace(prefix_secret, secret=b"guess")
    for place in (top, secondary, enterprise):
        handle = place.make(url(), rule)
        assert place.client.modify(handle, [url(1, b"new")], prefix_secret).code == 1
        inside = place.client.open_session(prefix_secret, encrypted=True)
        assert inside.modify(handle, [url(1, b"newer")], prefix_secret).code == 1
        assert place.client.modify(handle, [url(1, b"no")], wrong).code == 403
        key = Value(102, b"HS_ADMIN", admin_data(enterprise.admin.handle, enterprise.admin.index))
        handle = place.make(url(), key)
        assert place.client.modify(handle, [url(1, b"by key")], enterprise.admin).code == 1


@pytest.mark.parametrize(("version", "code"), [((2, 10), 303), ((2, 9), 1), ((2, 1), 1)])
def test_verifying_is_referred_as_resolving_is(
    top: Stand,
    secondary: Stand,
    prefix_secret: SecretIdentity,
    version: tuple[int, int],
    code: int,
) -> None:
    """Peers before 2.10 do not know the referral: it is followed for them."""
    nonce, digest = b"n" * 16, digest_request(b"request", version)
    client = top.client.speaking(version=version, suggested=version)

    def verify(secret: bytes, flags: int = 0, at: ForeignClient = client) -> Answer:
        head = pack_str(prefix_secret.handle) + (309).to_bytes(4, "big") + pack_str(nonce)
        proof = pbkdf2_answer(secret, nonce + digest[1])
        body = head + pack_str(digest[1]) + pack_str(proof)
        return at.ask(wire.VERIFY_CHALLENGE, body, wire.CERT | wire.RRDG | flags)

    here = secondary.client.speaking(version=version, suggested=version)
    assert verify(prefix_secret.secret, at=here).payload.rest == b"\1"
    answer = verify(prefix_secret.secret)
    assert answer.code == code
    if code == 1:
        assert answer.payload.rest == b"\1"
        assert verify(b"guess").payload.rest == b"\0"
    else:
        asked = top.client.resolve(prefix_secret.handle)
        assert (asked.code, asked.payload.rest) == (303, answer.payload.rest)
    told = verify(prefix_secret.secret, wire.DNRF)
    assert (told.code, told.payload.rest) == (1, b"\0"), "what is not here is not valid here"


def test_an_administrator_added_at_the_parent_is_let_in_soon(
    secondary: Stand, enterprise: Stand
) -> None:
    """The enterprise remembers 0.NA/88.118.5 of the secondary; a refusal makes it look again."""
    worker = SecretIdentity(enterprise.make(url(), hint="WORKER"), 301, b"worker's")
    secret = Value(301, b"HS_SECKEY", worker.secret, permissions=0b1100)
    assert enterprise.client.add(worker.handle, [secret], enterprise.admin).code == 1
    assert enterprise.client.create(enterprise.fresh(), [url()], worker).code == 400
    rule = Value(107, b"HS_ADMIN", admin_data(worker.handle, 301))
    added = secondary.client.add(b"0.NA/88.118.5", [rule], enterprise.admin)
    assert added.code == 1

    def let_in() -> bool:
        return enterprise.client.create(enterprise.fresh(), [url()], worker).code == 1

    wait_until(let_in, "the new administrator is let in", 10)
    assert secondary.client.remove(b"0.NA/88.118.5", [107], enterprise.admin).code == 1


def test_the_administrator_of_a_delegated_prefix_is_let_in_at_the_root(
    top: Stand, guild: Guild, enterprise: Stand
) -> None:
    """The root answers for every 0.NA handle, yet 300:0.NA/88.118.5 has its key at its own node."""
    rule = Value(101, b"HS_ADMIN", admin_data(enterprise.admin.handle, enterprise.admin.index))
    handle = guild.make(url(), rule)
    assert top.client.modify(handle, [url(1, b"new")], enterprise.admin).code == 1
    posing = replace(enterprise.admin, key=guild.member.key)
    assert top.client.modify(handle, [url(1, b"no")], posing).code == 403


@pytest.mark.parametrize(("suggested", "code"), [((2, 10), 303), ((2, 9), 1)])
def test_the_root_says_who_verifies_for_a_delegated_prefix(
    top: Stand, secondary: Stand, enterprise: Stand, suggested: tuple[int, int], code: int
) -> None:
    """Handle.Net's servers ask the root first; those below 2.10 have the root ask for them."""
    secret, parent = b"the prefix's own", b"0.NA/88.118.5"
    value = Value(308, b"HS_SECKEY", secret, permissions=0b1100)
    assert secondary.client.add(parent, [value], enterprise.admin, wire.OVRW).code == 1
    nonce, digest = b"n" * 16, digest_request(b"request", (2, 10))
    head = pack_str(parent) + (308).to_bytes(4, "big") + pack_str(nonce) + pack_str(digest[1])
    for guess, holds in ((secret, 1), (b"guess", 0)):
        body = head + pack_str(pbkdf2_answer(guess, nonce + digest[1]))
        asked = top.client.speaking(suggested=suggested)
        answer = asked.ask(wire.VERIFY_CHALLENGE, body, wire.CERT | wire.RRDG)
        assert answer.code == code
        if code == 303:
            assert answer.payload.str() == b"", "what follows are the values"
            answer = secondary.client.ask(wire.VERIFY_CHALLENGE, body, wire.CERT | wire.RRDG)
        assert answer.payload.number("B") == holds


def test_a_kind_of_login_nobody_knows_is_an_invalid_credential(guild: Guild) -> None:
    challenge = challenged(guild)
    who = pack_str(guild.keeper.handle) + guild.keeper.index.to_bytes(4, "big")
    body = pack_str(b"HS_NOKEY") + who + pack_str(b"answer")
    session = challenge.envelope.session
    assert guild.client.ask(wire.ANSWER_CHALLENGE, body, session_id=session).code == 404
