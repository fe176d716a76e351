"""Attacks on challenges and sessions: the code each gets, and that it costs the node little."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psutil
import pytest

from tests.interop import foreign_wire as wire
from tests.interop.conftest import Guild, Stand, stand, url
from tests.interop.foreign_client import ForeignClient, Session, answer_body
from tests.interop.foreign_crypto import KeyIdentity, SecretIdentity, pbkdf2_answer
from tests.interop.foreign_wire import Answer, pack_str, pack_values
from tests.nodes import Node, make_node, running, wait_until

CHALLENGES_MAX = 50
SESSIONS_MAX = 20
TIMEOUT_S = 1
BUSY = 3
LATE = 405


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """A node that keeps few challenges and sessions, and not for long."""
    limits = {
        "challenges_per_address_max": CHALLENGES_MAX,
        "sessions_per_address_max": SESSIONS_MAX,
        "challenge_timeout_s": TIMEOUT_S,
    }
    folder = tmp_path_factory.mktemp("strict") / "top"
    with running(make_node(folder, tables={"limits": limits})) as node:
        yield stand(node)


def creation(place: Stand) -> tuple[bytes, bytes]:
    """A fresh handle and the body of the request that creates it."""
    handle = place.fresh("A")
    return handle, pack_str(handle) + pack_values([url()])


def challenged(place: Stand) -> tuple[bytes, Answer]:
    """A fresh handle, and the challenge to its creation."""
    handle, body = creation(place)
    challenge = place.client.ask(wire.CREATE, body, wire.PUBL)
    assert challenge.code == 402, challenge
    return handle, challenge


def answered(place: Stand, challenge: Answer, body: bytes) -> int:
    number = challenge.envelope.session
    return place.client.ask(wire.ANSWER_CHALLENGE, body, session_id=number).code


def is_there(place: Stand, handle: bytes) -> bool:
    return place.client.resolve(handle).code == 1


# Challenges


def test_an_answer_for_another_request(guild: Guild) -> None:
    mine, first = challenged(guild)
    other, second = challenged(guild)
    assert answered(guild, second, answer_body(first, guild.keeper)) == 403
    assert not is_there(guild, mine)
    assert not is_there(guild, other)
    assert answered(guild, first, answer_body(first, guild.keeper)) == 1, "it was not used up"
    assert is_there(guild, mine)


def test_an_answer_by_another_user(guild: Guild) -> None:
    handle, challenge = challenged(guild)
    assert answered(guild, challenge, answer_body(challenge, guild.stranger)) == 400
    posing = replace(guild.stranger, handle=guild.keeper.handle, index=guild.keeper.index)
    for secret in (guild.stranger.secret, b"", bytes(1_000)):
        handle, challenge = challenged(guild)
        who = replace(posing, secret=secret)
        assert answered(guild, challenge, answer_body(challenge, who)) == 403
        assert not is_there(guild, handle)


def test_an_answer_with_a_key_of_the_wrong_kind(guild: Guild) -> None:
    handle, challenge = challenged(guild)
    posing = KeyIdentity(guild.keeper.handle, guild.keeper.index, guild.member.key)
    assert answered(guild, challenge, answer_body(challenge, posing)) in (403, 404, 406)
    assert not is_there(guild, handle)


def test_an_answer_given_twice_at_once_does_its_work_once(guild: Guild) -> None:
    """Many copies of one answer race over connections of their own."""
    handle, challenge = challenged(guild)
    body = answer_body(challenge, guild.keeper)
    with ThreadPoolExecutor(8) as pool:
        codes = sorted(pool.map(lambda _: answered(guild, challenge, body), range(8)))
    assert codes == [1] + [LATE] * 7
    assert is_there(guild, handle)


def test_an_answer_after_its_time(strict: Stand) -> None:
    handle, challenge = challenged(strict)
    body = answer_body(challenge, strict.admin)

    def is_forgotten() -> bool:  # by the node's own clock
        now = strict.client.resolve(b"0.NA/88").expiration
        return now - challenge.expiration > TIMEOUT_S

    wait_until(is_forgotten, "the time for an answer is over", 10.0)
    assert answered(strict, challenge, body) == LATE
    assert not is_there(strict, handle)


def test_challenges_that_nobody_answers_are_bounded(strict: Stand) -> None:
    def codes() -> list[int]:
        return [
            strict.client.ask(wire.CREATE, creation(strict)[1], wire.PUBL).code
            for _ in range(CHALLENGES_MAX + 10)
        ]

    assert {402, BUSY} >= set(codes()) >= {BUSY}
    assert strict.client.resolve(b"0.NA/88").code == 1, "who only asks is not concerned"
    wait_until(lambda: challenge_code(strict) == 402, "there is room again", 10.0)


def challenge_code(place: Stand) -> int:
    return place.client.ask(wire.CREATE, creation(place)[1], wire.PUBL).code


def cpu_s(node: Node) -> float:
    """What all processes of a node have used."""
    times = [child.cpu_times() for child in (psutil.Process(node.pid), *node.children)]
    return float(sum(each.user + each.system for each in times))


def test_a_million_rounds_are_not_computed(guild: Guild) -> None:
    """Forty answers of a million PBKDF2 rounds would take the node some fifteen seconds."""

    class Costly(SecretIdentity):
        def answer(self, challenge: bytes, version: tuple[int, int]) -> bytes:
            cheap = pbkdf2_answer(self.secret, challenge, 1)
            return cheap[:21] + (1_000_000).to_bytes(4, "big") + cheap[25:]

    who = Costly(guild.keeper.handle, guild.keeper.index, guild.keeper.secret)
    before_s = cpu_s(guild.node)
    for _ in range(40):
        handle, challenge = challenged(guild)
        assert answered(guild, challenge, answer_body(challenge, who)) == 403
        assert not is_there(guild, handle)
    assert cpu_s(guild.node) - before_s < 4


# Sessions


def session_of(client: ForeignClient) -> Session:
    assert client.session is not None
    return client.session


def test_a_session_s_id_is_worth_nothing_without_its_key(guild: Guild) -> None:
    """Somebody who knows the id of another's session, with a session of his own."""
    victim = guild.client.open_session(guild.keeper)
    _, body = creation(guild)
    challenge = victim.ask(wire.CREATE, body, wire.PUBL)
    assert victim.answer_challenge(challenge, guild.keeper)[0].code == 1
    thief = guild.client.open_session(guild.stranger)
    stolen = thief.speaking(session=replace(session_of(thief), id=session_of(victim).id))
    for opcode, content in (
        (wire.CREATE, creation(guild)[1]),
        (wire.SESSION_TERMINATE, pack_str(b"97/STRANGER")),
        (wire.RESOLUTION, pack_str(b"97/KEEPER") + bytes(8)),
    ):
        assert stolen.ask(opcode, content, wire.PUBL).code == 502
    # Without a credential, and with the counter that comes next.
    number = session_of(victim).id
    handle, body = creation(guild)
    assert guild.client.ask(wire.CREATE, body, wire.PUBL, session_id=number).code == 404
    assert not is_there(guild, handle)
    assert victim.ask(wire.CREATE, body, wire.PUBL).code == 1, "it goes on, logged in"


def test_a_challenge_in_a_session_is_answered_by_who_may(guild: Guild) -> None:
    """Answers have no MAC, so anybody may answer: as nobody but himself, and logging nobody in."""
    inside = guild.client.open_session(guild.keeper)
    posing = replace(guild.keeper, secret=b"guess")
    for outsider, code in ((guild.stranger, 400), (posing, 403)):
        handle, body = creation(guild)
        challenge = inside.ask(wire.CREATE, body, wire.PUBL)
        assert challenge.code == 402
        assert answered(guild, challenge, answer_body(challenge, outsider)) == code
        assert not is_there(guild, handle)
    handle, body = creation(guild)
    challenge = inside.ask(wire.CREATE, body, wire.PUBL)
    assert inside.answer_challenge(challenge, guild.keeper)[0].code == 1
    assert inside.ask(wire.DELETE, pack_str(handle), wire.PUBL).code == 1, "logged in now"


def test_a_request_that_was_recorded_is_not_taken_again(guild: Guild) -> None:
    """The very octets of a change, sent again by who listened: also in another session."""
    inside = guild.client.open_session(guild.keeper)
    handle, body = creation(guild)
    challenge = inside.ask(wire.CREATE, body, wire.PUBL)
    assert inside.answer_challenge(challenge, guild.keeper)[0].code == 1
    session = session_of(inside)
    used = session.counter
    add = pack_str(handle) + pack_values([url(2)])
    assert inside.ask(wire.ADD, add, wire.PUBL).code == 1
    assert guild.client.remove(handle, [2], guild.keeper).code == 1
    session.counter = used
    assert inside.ask(wire.ADD, add, wire.PUBL).code == 505
    other = session_of(guild.client.open_session(guild.keeper))
    elsewhere = inside.speaking(session=replace(session, id=other.id, counter=used))
    assert elsewhere.ask(wire.ADD, add, wire.PUBL).code == 502
    assert [value.index for value in guild.client.resolve(handle).values] == [1]


def test_counters_may_come_in_another_order_once_each(guild: Guild) -> None:
    inside = guild.client.open_session(guild.keeper)
    session = session_of(inside)

    def code(counter: int) -> int:
        session.counter = counter - 1
        return inside.resolve(b"0.NA/97").code

    assert [code(counter) for counter in (9, 3, 200, 8, 2)] == [1] * 5
    assert [code(counter) for counter in (9, 3, 200, 8, 2)] == [505] * 5
    assert code(2**31 - 2) == 1
    assert code(201) == 505, "far behind the window"
    assert code(2**31 - 3) == 1


def test_a_version_that_changes_in_mid_session_weakens_nothing(guild: Guild) -> None:
    """Each message is held to the rules of the version it says it has."""
    inside = guild.client.open_session(guild.keeper)
    for minor in (10, 7, 8, 6, 10):
        changed = inside.speaking(version=(2, minor), suggested=(2, minor))
        assert changed.resolve(b"0.NA/97").code == 1, minor
        wrong = replace(session_of(inside), key=bytes(32), counter=1_000 + minor)
        assert changed.speaking(session=wrong).resolve(b"0.NA/97").code == 502, minor


def test_sessions_that_nobody_uses_are_bounded(strict: Stand) -> None:
    """The oldest of the same address make room; a session that is logged in is not among them."""
    wait_until(lambda: challenge_code(strict) == 402, "there is room for a challenge", 10.0)
    kept = strict.client.open_session(strict.admin)
    challenge = kept.ask(wire.CREATE, creation(strict)[1], wire.PUBL)
    assert kept.answer_challenge(challenge, strict.admin)[0].code == 1
    before = psutil.Process(strict.node.writer_pid()).memory_info().rss
    first = strict.client.open_session(None)
    for _ in range(SESSIONS_MAX):
        assert strict.client.open_session(None).resolve(b"0.NA/88").code == 1
    assert first.resolve(b"0.NA/88").code == 500, "it made room"
    assert kept.ask(wire.CREATE, creation(strict)[1], wire.PUBL).code == 1
    grown = psutil.Process(strict.node.writer_pid()).memory_info().rss - before
    assert grown < 16 * 1_048_576
