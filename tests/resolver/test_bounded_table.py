import pytest

from resolver.bounded_table import BoundedTable, Bounds

A, B, C = "192.0.2.1", "192.0.2.2", "192.0.2.3"


def make_table(entries: int = 4, per_address: int = 2, octets: int = 100) -> BoundedTable[str]:
    return BoundedTable(Bounds(entries, per_address, octets, octets // 2))


def test_an_entry_is_found_until_its_deadline() -> None:
    table = make_table()
    assert table.add(1, "one", A, deadline_s=10.0)
    assert table.find(1, 9.9) == "one"
    assert table.find(1, 10.0) is None
    assert 1 not in table


def test_an_entry_that_is_used_lives_on() -> None:
    table = make_table()
    table.add(1, "one", A, 10.0)
    table.touch(1, 20.0)
    assert table.find(1, 15.0) == "one"


def test_an_entry_is_taken_once() -> None:
    table = make_table()
    table.add(1, "one", A, 10.0)
    assert table.take(1, 0.0) == "one"
    assert table.take(1, 0.0) is None


def test_one_address_cannot_fill_the_table() -> None:
    table = make_table()
    assert [table.add(n, "x", A, 10.0) for n in range(3)] == [True, True, False]
    assert table.add(9, "y", B, 10.0)


def test_all_addresses_together_are_bounded() -> None:
    table = make_table()
    added = [table.add(n, "x", address, 10.0) for n, address in enumerate((A, A, B, B, C))]
    assert added == [True, True, True, True, False]
    assert len(table) == 4


def test_an_ipv6_network_counts_as_one_address() -> None:
    table = make_table()
    added = [table.add(n, "x", f"2001:db8::{n + 1}", 10.0) for n in range(3)]
    assert added == [True, True, False]


@pytest.mark.parametrize(
    ("address", "octets", "fits"), [(A, 31, False), (A, 30, True), (B, 50, True), (B, 51, False)]
)
def test_octets_are_bounded_per_address(address: str, octets: int, fits: bool) -> None:
    table = make_table()
    assert table.add(1, "x", A, 10.0, octets=20)
    assert table.add(2, "y", address, 10.0, octets=octets) == fits


def test_octets_are_bounded_in_all() -> None:
    table = make_table()
    assert table.add(1, "x", A, 10.0, octets=50)
    assert table.add(2, "x", B, 10.0, octets=50)
    assert not table.add(3, "x", C, 10.0, octets=1)
    table.drop(1)
    assert table.add(3, "x", C, 10.0, octets=50)


def test_what_is_purged_makes_room() -> None:
    table = make_table()
    table.add(1, "x", A, 10.0, octets=25)
    table.add(2, "y", A, 20.0, octets=25)
    assert table.purge(10.0) == 1
    assert len(table) == 1
    assert table.add(3, "z", A, 20.0, octets=25)
    assert not table.add(4, "z", A, 20.0)


def test_dropping_what_is_not_there_is_nothing() -> None:
    table = make_table()
    table.drop(7)
    assert len(table) == 0


def test_room_is_made_of_the_newcomers_own_first() -> None:
    table = make_table()
    table.add(1, "free", A, 10.0)
    table.add(2, "free", B, 10.0)
    assert table.make_room(lambda entry: entry == "free", B)
    assert 1 in table
    assert 2 not in table


def test_room_is_made_of_anybodys_where_the_newcomer_has_none_to_give() -> None:
    table = make_table()
    table.add(1, "free", A, 10.0)
    table.add(2, "kept", B, 10.0)
    assert table.make_room(lambda entry: entry == "free", B)
    assert 1 not in table
    assert not table.make_room(lambda entry: entry == "free", B)


def test_an_address_with_its_share_takes_nobody_elses_room() -> None:
    table = make_table()
    table.add(1, "free", A, 10.0)
    table.add(2, "kept", B, 10.0)
    table.add(3, "kept", B, 10.0)
    assert not table.make_room(lambda entry: entry == "free", B)
    assert 1 in table
