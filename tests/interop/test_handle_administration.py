"""Creating, changing, deleting, listing: who may, in which order it is checked, what is said."""

import itertools
import time

import pytest

from tests.interop import foreign_wire as wire
from tests.interop.conftest import VERSIONS, Guild, Stand, url
from tests.interop.foreign_crypto import KeyIdentity
from tests.interop.foreign_wire import Answer, Value, admin_data, pack_str, pack_values, vlist_data

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
        assert len(handle) > len(stem)
        assert found(guild, handle)[1] == url().data


# Who may


OPERATIONS = {
    "delete": 0x002,
    "modify": 0x010,
    "remove": 0x020,
    "add": 0x040,
    "modify admin": 0x080,
    "remove admin": 0x100,
    "add admin": 0x200,
}


def attempt(guild: Guild, operation: str, permissions: int) -> int:
    rule = admin_data(guild.stranger.handle, 301, 0)
    handle = guild.make_for(permissions, url(), Value(102, b"HS_ADMIN", rule))
    client, who = guild.client, guild.keeper
    kind = b"HS_ADMIN" if operation.endswith("admin") else b"URL"
    index = 102 if operation.endswith("admin") else 1
    match operation.split()[0]:
        case "delete":
            return client.delete(handle, who).code
        case "modify":
            return client.modify(handle, [Value(index, kind, rule)], who).code
        case "remove":
            return client.remove(handle, [index], who).code
        case _:
            return client.add(handle, [Value(7, kind, rule)], who).code


@pytest.mark.parametrize(("operation", "bit"), OPERATIONS.items())
def test_each_operation_needs_its_permission_and_no_other(
    guild: Guild, operation: str, bit: int
) -> None:
    assert attempt(guild, operation, bit) == 1
    assert attempt(guild, operation, 0xFFF & ~bit) == 400


def test_changing_a_value_into_an_administrator(guild: Guild) -> None:
    rule = Value(1, b"HS_ADMIN", admin_data(guild.keeper.handle, 301))
    for permissions, code in ((0x010 | 0x200, 1), (0x010, 400), (0x200, 400), (0x010 | 0x080, 400)):
        handle = guild.make_for(permissions, url())
        assert guild.client.modify(handle, [rule], guild.keeper).code == code, hex(permissions)


def test_changing_an_administrator_into_a_value(guild: Guild) -> None:
    other = Value(102, b"HS_ADMIN", admin_data(guild.stranger.handle, 301))
    for permissions, code in ((0x010 | 0x100, 1), (0x010, 400), (0x100, 400), (0x010 | 0x080, 400)):
        handle = guild.make_for(permissions, other)
        answer = guild.client.modify(handle, [url(102)], guild.keeper)
        assert answer.code == code, hex(permissions)


def test_creating_needs_the_prefixs_permission(guild: Guild) -> None:
    assert refused(guild.client.create(guild.fresh(), [url()], guild.stranger)) == 400
    assert guild.client.create(guild.fresh(), [url()], guild.keeper).code == 1


def test_creating_below_a_prefix_needs_a_permission_of_its_own(guild: Guild) -> None:
    def create_below(permissions: int, number: int) -> int:
        rule = admin_data(guild.keeper.handle, 301, permissions)
        parent = b"0.NA/96%d" % number
        answer = guild.client.create(parent, [Value(100, b"HS_ADMIN", rule)], guild.admin)
        assert answer.code == 1, answer
        return guild.client.create(parent + b".1", [url()], guild.keeper).code

    assert create_below(0x004, 1) == 1
    assert create_below(0xFFF & ~0x004, 2) == 400


def test_groups_are_followed_and_loops_end(guild: Guild) -> None:
    group = guild.fresh("GROUP")
    loop = vlist_data((group, 2), (group, 1), (b"97/NOWHERE", 5), (b"97/KEEPER", 301))
    values = [Value(1, b"HS_VLIST", vlist_data((group, 2))), Value(2, b"HS_VLIST", loop)]
    assert guild.client.create(group, values, guild.admin).code == 1
    handle = guild.make(url(), Value(101, b"HS_ADMIN", admin_data(group, 1)))
    assert guild.client.modify(handle, [url(1, b"new")], guild.keeper).code == 1
    assert guild.client.modify(handle, [url(1, b"no")], guild.stranger).code == 400


def test_index_zero_in_an_administrator_matches_every_index(guild: Guild) -> None:
    handle = guild.make(url(), Value(101, b"HS_ADMIN", admin_data(b"97/KEEPER", 0)))
    assert guild.client.modify(handle, [url(1, b"new")], guild.keeper).code == 1


def test_index_zero_in_a_login_tries_every_key(guild: Guild) -> None:
    anyone = KeyIdentity(guild.member.handle, 0, guild.member.key)
    rule = Value(101, b"HS_ADMIN", admin_data(guild.member.handle, 0))
    handle = guild.make(url(), rule)
    assert guild.client.modify(handle, [url(1, b"new")], anyone).code == 1


def test_the_administrators_prefix_part_has_no_case(guild: Guild) -> None:
    key = guild.admin
    lower = KeyIdentity(key.handle.lower(), key.index, key.key)
    assert guild.client.create(guild.fresh(), [url()], lower).code == 1


# Values and their permissions


def test_what_everybody_may_write_needs_no_login(guild: Guild) -> None:
    handle = guild.make(url(1, permissions=0b1111))
    changed = pack_str(handle) + pack_values([url(1, b"by anybody", permissions=0b1111)])
    assert plain(guild, wire.MODIFY, changed) == 1
    assert found(guild, handle)[1] == b"by anybody"


def test_what_nobody_may_write_is_refused_to_the_administrator(guild: Guild) -> None:
    handle = guild.make(url(1, permissions=0b1010))
    assert refused(guild.client.modify(handle, [url(1, b"new")], guild.admin)) == 401
    assert found(guild, handle)[1] == url().data


def read(guild: Guild, handle: bytes, who: str, *indexes: int) -> Answer:
    """A resolution without the flag "public values only"."""
    body = pack_str(handle) + wire.pack_indexes([*indexes]) + wire.pack_list([])
    answer = guild.client.ask(wire.RESOLUTION, body)
    if answer.code != 402 or who == "nobody":
        return answer
    identity = guild.keeper if who == "keeper" else guild.admin
    return guild.client.answer_challenge(answer, identity)[0]


def test_reading_what_is_not_public(guild: Guild) -> None:
    hidden, secret = Value(2, b"N", b"hidden", 0b1100), Value(3, b"N", b"secret", 0b0100)
    handle = guild.make_for(0xFFF & ~0x400, url(), hidden, secret)
    assert read(guild, handle, "nobody", 1).values[0].data == url().data
    assert read(guild, handle, "nobody", 1, 2).code == 402
    assert read(guild, handle, "nobody", 1, 2, 3).code == 401
    answer = read(guild, handle, "admin", 1, 2)
    assert [value.data for value in answer.values] == [url().data, b"hidden"]
    assert refused(read(guild, handle, "keeper", 2)) == 400


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
    assert refused(guild.client.list(b"0.NA/99.98", guild.admin)[0]) == 301
    assert guild.client.list(b"0.NA/97", guild.keeper)[0].code == 1


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
