"""Who asks behind a reverse proxy: the rightmost address of a header that is no trusted proxy's.

    X-Forwarded-For: 198.51.100.7, 203.0.113.9, 10.0.0.2      over a connection from 10.0.0.1
                     └ anybody's   └ counts     └ trusted     └ trusted: 10.0.0.0/24

Every proxy adds on the right who asked it, so what stands left of the first address that is not
trusted may have been made up by that one. Only what a trusted proxy sent is looked at, and only the
one header that the proxies set (RFC 7239 `Forwarded`, or `X-Forwarded-For`): another one they may
pass on as their client wrote it. Where no address stands the asker is UNKNOWN, and shares what an
address may have with all who are. Without the header it is the proxy itself that asks.
"""

import ipaddress
import re
from collections.abc import Iterator, Sequence

ADDRESS_KEY = "biaoshi.connected_from"  # in an ASGI scope: the proxy's, when "client" is another's
UNKNOWN = "unknown"  # the address of whom a proxy does not name
HOPS_MAX = 16  # proxies behind one another; more are not followed

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# A pair of RFC 7239 §4, or what stands between two: commas and semicolons in quotes separate
# nothing.
_PAIR = re.compile(r'\s*([^\s=,;"]+)=("(?:[^"\\]|\\.)*"|[^\s,;"]*)\s*|([,;])\s*')


class Proxies:
    """The reverse proxies that are believed.

    Args:
        networks: their addresses, as checked by the configuration.
        header: the one that they set, in lower case: x-forwarded-for or forwarded.
    """

    def __init__(self, networks: Sequence[str] = (), header: str = "x-forwarded-for") -> None:
        self._networks = [ipaddress.ip_network(each) for each in networks]
        self._header = header.encode()
        self._read = read_forwarded if header == "forwarded" else read_x_forwarded_for

    def trusts(self, address: str) -> bool:
        """Say whether an address is a trusted proxy's."""
        parsed = parse_address(address) if self._networks else None
        return parsed is not None and self._is_trusted(parsed)

    def find_client(self, address: str, headers: Sequence[tuple[bytes, bytes]]) -> str:
        """Return the address that a request counts as.

        Args:
            address: that the connection is from; a trusted proxy's.
            headers: of the request, names in lower case.
        """
        text = ",".join(value.decode("latin-1") for name, value in headers if name == self._header)
        for hop in reversed(list(self._read(text.strip()))[-HOPS_MAX:]):
            parsed = parse_address(hop)
            if parsed is None:
                return UNKNOWN
            address = str(parsed)
            if not self._is_trusted(parsed):
                break
        return address

    def _is_trusted(self, address: _Address) -> bool:
        return any(
            address.version == network.version and address in network for network in self._networks
        )


def read_x_forwarded_for(text: str) -> Iterator[str]:
    """Iterate over the addresses of X-Forwarded-For, first the farthest."""
    return (each.strip() for each in text.split(",") if each.strip())


def read_forwarded(text: str) -> Iterator[str]:
    """Iterate over what `for=` says in each element of Forwarded; nothing where there is none."""
    at, node, is_element = 0, "", False
    while at < len(text):
        found = _PAIR.match(text, at)
        if found is None:
            yield ""  # nobody knows where the next element begins
            return
        at = found.end()
        name, value, separator = found.groups()
        if name is not None:
            is_element = True
            if name.lower() == "for":
                node = re.sub(r"\\(.)", r"\1", value[1:-1]) if value[:1] == '"' else value
        elif separator == ",":
            if is_element:
                yield node
            node, is_element = "", False
    if is_element:
        yield node


def parse_address(text: str) -> _Address | None:
    """Return the address in `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1` or `[2001:db8::1]:80`."""
    host = text
    if text.startswith("["):
        host = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        host = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
