"""Who may do what: HS_ADMIN permissions, groups, and the permissions of values."""

import pytest

from tests.interop import foreign_wire as wire
from tests.interop.conftest import Guild, Stand, url
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


def plain(guild: Guild, opcode: int, body: bytes) -> int:
    """The code of a request that nobody answers a challenge for."""
    return guild.client.ask(opcode, body, wire.PUBL).code


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


def test_index_zero_in_an_administrator_is_no_group(guild: Guild) -> None:
    group = guild.fresh("GROUP")
    members = Value(1, b"HS_VLIST", vlist_data((guild.keeper.handle, 301)))
    assert guild.client.create(group, [members], guild.admin).code == 1
    for index, code in ((1, 1), (0, 400)):
        handle = guild.make(url(), Value(101, b"HS_ADMIN", admin_data(group, index)))
        assert guild.client.modify(handle, [url(1, b"new")], guild.keeper).code == code


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


def test_what_administrators_may_not_write_is_refused_to_everybody(guild: Guild) -> None:
    handle = guild.make(url(1, permissions=0b1011))
    changed = pack_str(handle) + pack_values([url(1, b"by anybody", permissions=0b1011)])
    assert plain(guild, wire.MODIFY, changed) == 401
    assert refused(guild.client.modify(handle, [url(1, b"new")], guild.admin)) == 401


def test_overwriting_what_everybody_may_write_takes_any_login(guild: Guild) -> None:
    handle = guild.make(url(1, permissions=0b1111))
    body = pack_str(handle) + pack_values([url(1, b"by anybody", permissions=0b1111)])
    assert guild.client.ask(wire.ADD, body, wire.PUBL | wire.OVRW).code == 402
    answer = guild.client.perform(wire.ADD, body, guild.stranger, wire.OVRW)
    assert (answer.code, answer.flags & wire.OVRW) == (1, wire.OVRW)
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
