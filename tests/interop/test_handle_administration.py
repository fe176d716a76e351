"""Creating, changing, deleting, listing: who may, in which order it is checked, what is said."""

import itertools
import time
from uuid import UUID

import pytest

from tests.interop import foreign_wire as wire
from tests.interop.conftest import VERSIONS, Guild, Stand, url
from tests.interop.foreign_wire import Answer, Value, admin_data, pack_str, pack_values
from tests.nodes import wait_until

STREAMS = ["tcp", "http", "https"]
FAR_FUTURE = 2_000_000_000


def found(guild: Stand, handle: bytes) -> dict[int, bytes]:
    answer = guild.client.resolve(handle)
    assert answer.code == 1, answer
    return {value.index: value.data for value in answer.values}


def refused(answer: Answer) -> int:
    """The code of a refusal, which has words."""
    assert answer.code != 1
    assert answer.text
    return answer.code


# The whole life of a handle


@pytest.mark.parametrize("who", ["public key", "secret key"])
@pytest.mark.parametrize("transport", STREAMS)
@pytest.mark.parametrize("version", VERSIONS)
def test_life_of_a_handle(guild: Guild, version: tuple[int, int], transport: str, who: str) -> None:
    client = guild.client.speaking(transport=transport, version=version, suggested=version)
    identity = guild.members[who]
    handle = guild.fresh()
    values = [url(5), url(2), Value(100, b"HS_ADMIN", admin_data(b"0.NA/97", 200))]
    assert client.create(handle, values, identity, wire.CERT | wire.RRDG).code == 1
    assert client.add(handle, [url(9, b"nine"), url(3, b"three")], identity, wire.CERT).code == 1
    assert client.modify(handle, [url(5, b"five")], identity).code == 1
    assert client.remove(handle, [9], identity).code == 1
    left = client.resolve(handle).values
    assert [(value.index, value.data) for value in left if value.type == b"URL"] == [
        (2, url().data),
        (3, b"three"),
        (5, b"five"),
    ]
    assert client.delete(handle, identity).code == 1
    assert client.resolve(handle).code == 100


def test_every_node_lets_its_administrator_in(each: Stand) -> None:
    """The enterprise's administrator has his key at the secondary: the node fetches it."""
    handle = each.make(url())
    assert each.client.modify(handle, [url(1, b"new")], each.admin).code == 1
    assert each.client.delete(handle, each.admin).code == 1


def test_create_answers_with_the_handle(guild: Guild) -> None:
    handle = guild.fresh()
    answer = guild.client.create(handle, [url()], guild.admin)
    rest = answer.payload.rest
    assert rest in (b"", pack_str(handle))


def test_timestamps_are_the_servers(guild: Guild) -> None:
    handle = guild.make(Value(1, b"URL", b"one", timestamp=FAR_FUTURE))
    changed = Value(1, b"URL", b"changed", timestamp=5)
    assert guild.client.modify(handle, [changed], guild.admin).code == 1
    assert guild.client.add(handle, [Value(2, b"URL", b"two", timestamp=5)], guild.admin).code == 1
    now = time.time()
    stamps = [value.timestamp for value in guild.client.resolve(handle).values]
    assert all(now - 60 < stamp <= now + 1 for stamp in stamps), stamps


# What is wrong before anybody asks who you are


def plain(guild: Guild, opcode: int, body: bytes) -> int:
    """The code of a request that nobody answers a challenge for."""
    return guild.client.ask(opcode, body, wire.PUBL).code


def test_checks_before_the_challenge(guild: Guild) -> None:
    handle = guild.make(url())
    new, old = pack_str(guild.fresh()), pack_str(handle)
    elsewhere = pack_str(b"99.98/ELSEWHERE")
    assert plain(guild, wire.CREATE, elsewhere + pack_values([url()])) == 301
    assert plain(guild, wire.DELETE, elsewhere) == 301
    assert plain(guild, wire.CREATE, pack_str(b"97/\xff\xfe") + pack_values([url()])) == 102
    for index in (0, -1):
        assert plain(guild, wire.CREATE, new + pack_values([url(index)])) == 202
        assert plain(guild, wire.ADD, old + pack_values([url(index)])) == 202
    assert plain(guild, wire.CREATE, new + pack_values([url(), url()])) == 201
    assert plain(guild, wire.ADD, old + pack_values([url(7), url(7)])) == 201
    assert plain(guild, wire.ADD, old + pack_values([])) == 202
    assert plain(guild, wire.MODIFY, old + pack_values([url(77)])) == 200
    assert plain(guild, wire.CREATE, new + pack_values([url()])) == 402
    assert found(guild, handle)[1] == url().data


def test_checks_after_the_challenge(guild: Guild) -> None:
    handle, missing = guild.make(url(), url(2, b"two")), guild.fresh()
    client, admin = guild.client, guild.admin
    before = found(guild, handle)
    assert refused(client.create(handle, [url()], admin)) == 101
    assert refused(client.delete(missing, admin)) == 100
    assert refused(client.add(missing, [url()], admin)) == 100
    assert refused(client.modify(missing, [url()], admin)) == 100
    assert refused(client.remove(missing, [1], admin)) == 100
    assert refused(client.add(handle, [url(3), url(1)], admin)) == 201
    assert refused(client.remove(handle, [1, 77], admin)) == 200
    assert refused(client.modify(handle, [url(1, b"new"), url(77)], admin)) == 200
    assert found(guild, handle) == before


def test_a_strangers_request_is_challenged_before_the_handle_is_looked_for(guild: Guild) -> None:
    assert plain(guild, wire.DELETE, pack_str(guild.fresh())) == 402
    old = pack_str(guild.make(url()))
    assert plain(guild, wire.CREATE, old + pack_values([url()])) == 402
    assert plain(guild, wire.ADD, old + pack_values([url()])) == 402


def test_modifying_as_old_scripts_do(guild: Guild) -> None:
    """The same value again, one index twice, nothing at all, an index no value can have."""
    client, admin = guild.client, guild.admin
    handle = guild.make(url())
    old = pack_str(handle)
    stamp = client.resolve(handle, indexes=(1,)).values[0].timestamp
    wait_until(lambda: time.time() >= stamp + 1, "the server's clock has moved on", 3)
    assert client.modify(handle, [url()], admin).code == 1
    assert client.resolve(handle, indexes=(1,)).values[0].timestamp > stamp
    assert client.modify(handle, [url(1, b"first"), url(1, b"last")], admin).code == 1
    assert found(guild, handle)[1] == b"last"
    assert plain(guild, wire.MODIFY, old + pack_values([])) == 1
    assert plain(guild, wire.MODIFY, old + pack_values([url(0)])) == 200
    assert plain(guild, wire.MODIFY, pack_str(guild.fresh()) + pack_values([])) == 100


def test_what_an_unhomed_prefix_left_behind(guild: Guild) -> None:
    client, admin = guild.client, guild.admin
    handle, prefix = b"93/LEFT", pack_str(b"0.NA/93")
    rule = admin_data(guild.keeper.handle, 301)
    assert client.create(b"0.NA/93", [Value(100, b"HS_ADMIN", rule)], admin).code == 1
    assert client.perform(wire.HOME, prefix, admin).code == 1
    assert client.create(handle, [url(), Value(100, b"HS_ADMIN", rule)], guild.keeper).code == 1
    assert client.perform(wire.UNHOME, prefix, admin).code == 1
    assert client.resolve(handle).code == 301
    assert refused(client.modify(handle, [url(1, b"new")], guild.keeper)) == 301
    assert refused(client.delete(handle, guild.stranger)) == 400
    assert client.delete(handle, guild.keeper).code == 1
    assert refused(client.delete(handle, guild.keeper)) == 301
    assert client.delete(b"0.NA/93", guild.keeper).code == 1


def test_overwriting_says_so(guild: Guild) -> None:
    client, admin = guild.client, guild.admin
    handle = guild.fresh()
    values = [url(), guild.admin_value()]
    first = client.create(handle, values, admin, wire.OVRW)
    assert (first.code, first.flags & wire.OVRW) == (1, 0)
    second = client.create(handle, [url(4, b"four"), guild.admin_value()], admin, wire.OVRW)
    assert (second.code, second.flags & wire.OVRW) == (1, wire.OVRW)
    assert sorted(found(guild, handle)) == [4, 100]
    third = client.add(handle, [url(4, b"vier"), url(5)], admin, wire.OVRW)
    assert (third.code, third.flags & wire.OVRW) == (1, wire.OVRW)
    assert found(guild, handle)[4] == b"vier"
    fourth = client.add(handle, [url(6)], admin, wire.OVRW)
    assert (fourth.code, fourth.flags & wire.OVRW) == (1, 0)


def test_minting(guild: Guild) -> None:
    stem = guild.fresh("MINT-")
    minted = [
        guild.client.create(stem, [url()], guild.admin, wire.MINT).payload.str() for _ in range(3)
    ]
    assert len(set(minted)) == 3
    for handle in minted:
        assert handle.startswith(stem)
        assert str(UUID(handle.removeprefix(stem).decode())).encode() == handle.removeprefix(stem)
        assert found(guild, handle)[1] == url().data
    answer = guild.client.create(stem, [url()], guild.admin, wire.MINT)
    assert answer.flags & wire.MINT, "the answer repeats the flag"


# Lists


@pytest.mark.parametrize("transport", STREAMS)
def test_long_lists_come_in_several_messages(guild: Guild, transport: str) -> None:
    client = guild.client.speaking(transport=transport)
    number = STREAMS.index(transport)
    prefix = b"95%d" % number
    if client.resolve(b"0.NA/" + prefix).code != 1:
        rule = Value(100, b"HS_ADMIN", admin_data(guild.keeper.handle, 301))
        assert client.create(b"0.NA/" + prefix, [rule], guild.admin).code == 1
        assert client.perform(wire.HOME, pack_str(b"0.NA/" + prefix), guild.admin).code == 1
        inside = client.open_session(guild.keeper)
        for i in range(120):
            assert inside.create(prefix + b"/h%03d" % i, [url()], guild.keeper).code == 1
    answers = client.list(b"0.NA/" + prefix, guild.keeper)
    lists = [answer.payload.strs() for answer in answers]
    assert [len(handles) for handles in lists] == [50, 50, 20]
    assert [bool(answer.flags & wire.CONT) for answer in answers] == [True, True, False]
    assert sorted(itertools.chain(*lists)) == [prefix + b"/H%03d" % i for i in range(120)]


def test_listing_needs_its_permission(guild: Guild) -> None:
    assert refused(guild.client.list(b"0.NA/97", guild.stranger)[0]) == 400
    for nowhere in (b"0.NA/99.98", b"97/KEEPER", b"99.98"):
        assert refused(guild.client.list(nowhere, guild.admin)[0]) == 301
    assert guild.client.list(b"0.NA/97", guild.keeper)[0].code == 1


def test_the_prefixes_below_one_are_listed(guild: Guild) -> None:
    for derived in (b"0.NA/97.1", b"0.NA/97.1.2"):
        assert guild.client.create(derived, [url()], guild.admin).code == 1
    (answer,) = guild.client.list(b"0.NA/0.NA/97", guild.admin)
    assert answer.payload.strs() == [b"0.NA/97.1", b"0.NA/97.1.2"]
    assert refused(guild.client.list(b"0.NA/0.NA/97", guild.keeper)[0]) == 400


# Prefixes homed here


def test_homing_and_unhoming(guild: Guild) -> None:
    client, admin = guild.client, guild.admin
    prefix = pack_str(b"0.NA/94")

    def homed() -> set[bytes]:
        answers = client.list(b"0.NA/0.NA", admin, wire.LIST_HOMED)
        return {handle for answer in answers for handle in answer.payload.strs()}

    assert {b"0.NA/0.NA", b"0.NA/88", b"0.NA/97"} <= homed()
    assert client.resolve(b"94/X").code == 301
    assert refused(client.perform(wire.HOME, prefix, guild.stranger)) == 400
    assert client.perform(wire.HOME, prefix, admin).code == 1
    assert b"0.NA/94" in homed()
    assert client.resolve(b"94/X").code == 100
    assert client.perform(wire.UNHOME, prefix, admin).code == 1
    assert client.resolve(b"94/X").code == 301
    assert b"0.NA/94" not in homed()
