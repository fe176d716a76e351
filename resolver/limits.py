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


class ConnectionLimiter:
    """Admits connections up to a number per address and in all; the newest is refused.

    Args:
        connections_max: in all.
        per_address_max: from one address (IPv6: from one /64).
    """

    def __init__(self, connections_max: int, per_address_max: int) -> None:
        self._connections_max = connections_max
        self._per_address_max = per_address_max
        self._held: dict[str, int] = {}
        self.connections = 0
        self.refused = 0

    def admit(self, address: str) -> bool:
        """Count a new connection; False when it is one too many and must be closed."""
        group = address_group(address)
        held = self._held.get(group, 0)
        if self.connections >= self._connections_max or held >= self._per_address_max:
            self.refused += 1
            return False
        self._held[group] = held + 1
        self.connections += 1
        return True

    def release(self, address: str) -> None:
        """Forget a connection that was admitted."""
        group = address_group(address)
        held = self._held.get(group, 0)
        assert held > 0, f"a connection from {address} was released more often than admitted"
        if held == 1:
            del self._held[group]
        else:
            self._held[group] = held - 1
        self.connections -= 1
