import pytest

from resolver.limits import Places, address_group


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::1", "2001:db8:1:2::"),
        ("2001:db8:1:3::1", "2001:db8:1:3::"),
        ("::1", "::1"),
        ("fe80::1%eth0", "fe80::"),
        ("", ""),
        ("not:an:address", "not:an:address"),
    ],
)
def test_addresses_are_counted_by_what_one_host_owns(address: str, group: str) -> None:
    assert address_group(address) == group


def test_the_newest_connection_from_one_address_is_refused() -> None:
    limiter = Places(places_max=10, per_address_max=2)
    assert [limiter.admit("192.0.2.1") for _ in range(3)] == [True, True, False]
    assert limiter.admit("192.0.2.2")
    assert limiter.taken == 3
    assert limiter.refused == 1


def test_a_released_place_is_free_again() -> None:
    limiter = Places(places_max=10, per_address_max=1)
    assert limiter.admit("192.0.2.1")
    assert not limiter.admit("192.0.2.1")
    limiter.release("192.0.2.1")
    assert limiter.admit("192.0.2.1")


def test_all_addresses_together_are_limited() -> None:
    limiter = Places(places_max=3, per_address_max=2)
    addresses = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"]
    assert [limiter.admit(each) for each in addresses] == [True, True, True, False]


def test_addresses_of_one_ipv6_network_share_their_places() -> None:
    limiter = Places(places_max=10, per_address_max=1)
    assert limiter.admit("2001:db8::1")
    assert not limiter.admit("2001:db8::2")


def test_nothing_is_remembered_of_who_has_gone() -> None:
    limiter = Places(places_max=10, per_address_max=5)
    for number in range(100):
        limiter.admit(f"192.0.2.{number}")
        limiter.release(f"192.0.2.{number}")
    assert limiter.taken == 0
    assert not limiter._held


def test_a_connection_cannot_be_released_twice() -> None:
    limiter = Places(places_max=10, per_address_max=5)
    with pytest.raises(AssertionError, match="released more often"):
        limiter.release("192.0.2.1")
