"""Counting what strangers hold, per address and in all.

One host of IPv6 owns a /64 at least, 2**64 addresses, so addresses are counted by /64 there and one
by one in IPv4 (an IPv4 address mapped into IPv6 counts as the IPv4 address it is).
"""

import ipaddress
import math

_IPV6_GROUP_BITS = 64  # the smallest network an Internet provider gives to one customer
PAGE_HANDLES_MAX = 10_000  # in one page of a list, over REST
NEVER = math.inf  # a deadline that does not come


def address_group(address: str) -> str:
    """Return the name under which an address is counted: itself, or its IPv6 /64."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    if parsed.is_loopback:
        return address
    host_bits = ipaddress.IPV6LENGTH - _IPV6_GROUP_BITS
    return str(ipaddress.IPv6Address(int(parsed) >> host_bits << host_bits))


class Places:
    """Gives out places up to a number per address and in all; the newest is refused.

    Args:
        places_max: in all.
        per_address_max: for one address (IPv6: for one /64).
    """

    def __init__(self, places_max: int, per_address_max: int) -> None:
        self._places_max = places_max
        self._per_address_max = per_address_max
        self._held: dict[str, int] = {}
        self.taken = 0
        self.refused = 0

    def admit(self, address: str) -> bool:
        """Give a place to somebody; False when it would be one too many."""
        group = address_group(address)
        held = self._held.get(group, 0)
        if self.taken >= self._places_max or held >= self._per_address_max:
            self.refused += 1
            return False
        self._held[group] = held + 1
        self.taken += 1
        return True

    def has_its_share(self, address: str) -> bool:
        """Say whether an address has as many places as it may."""
        return self._held.get(address_group(address), 0) >= self._per_address_max

    def release(self, address: str) -> None:
        """Take a place back that was given."""
        group = address_group(address)
        held = self._held.get(group, 0)
        assert held > 0, f"a place of {address} was released more often than given"
        if held == 1:
            del self._held[group]
        else:
            self._held[group] = held - 1
        self.taken -= 1
