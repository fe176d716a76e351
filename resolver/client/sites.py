"""Where to begin: the root's sites from a file, or one node's site asked of itself."""

import ipaddress

from protocol.types.hs_site import (
    KIND_BOTH,
    TRANSPORT_HTTP,
    TRANSPORT_TCP,
    TRANSPORT_UDP,
    HsSite,
    SiteInterface,
    SiteServer,
    address_octets,
)
from protocol.versions import V2_3
from resolver.client.client import HandleClient

HANDLE_PORT = 2641  # registered for the Handle protocol, UDP and TCP


def site_at(
    address: str, port: int = HANDLE_PORT, *, http_port: int | None = None, udp: bool = True
) -> HsSite:
    """Return a stand-in for the site of a node of which only the address is known.

    It names no key, so nothing can be certified with it; `fetch_site` gets the node's own record.

    Raises:
        ValueError: `address` is not an IPv4 or IPv6 address.
    """
    interfaces = [SiteInterface(KIND_BOTH, TRANSPORT_TCP, port)]
    if udp:
        interfaces.append(SiteInterface(KIND_BOTH, TRANSPORT_UDP, port))
    if http_port is not None:
        interfaces.append(SiteInterface(KIND_BOTH, TRANSPORT_HTTP, http_port))
    return _stand_in(address, *interfaces)


def _stand_in(address: str, *interfaces: SiteInterface) -> HsSite:
    octets = address_octets(ipaddress.ip_address(address))
    server = SiteServer(1, octets, b"", interfaces)
    return HsSite(protocol_version=V2_3, serial=0xFFFF, is_primary=True, servers=(server,))


async def fetch_site(
    address: str, port: int = HANDLE_PORT, transport: int = TRANSPORT_TCP
) -> HsSite:
    """Ask a node for its site record. Its key is as trustworthy as the way to it.

    Raises:
        ValueError: `address` is not an IPv4 or IPv6 address.
        HandleError: refused, or nobody answered.
    """
    site = _stand_in(address, SiteInterface(KIND_BOTH, transport, port))
    return await HandleClient(site=site).site_info()
