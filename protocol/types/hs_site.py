"""HS_SITE: a site's servers and how to reach them.

HS_SITE, HS_SITE.6, HS_SITE.PREFIX and HS_NA_DELEGATE share this form:

     format      i16  1                       server:     id          i32
     version     u8 major, u8 minor                       address     16 octets
     serial      u16                                      public key  str (HS_PUBKEY data)
     flags       u8   0x80 primary,                       interfaces  list of interface
                      0x40 multi-primary
     hash option u8   0 prefix, 1 suffix, 2 whole handle
     hash filter str  empty                   interface:  kind        u8  1 admin, 2 query
     attributes  list of (str name, str value)            protocol    u8  TRANSPORT_x
     servers     list of server                           port        i32

An IPv4 address stands right-aligned in 12 zero octets.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from protocol.errors import InvalidValueError
from protocol.versions import Version
from protocol.wire import Reader, write_i16, write_i32, write_list, write_str, write_u8, write_u16

TRANSPORT_UDP = 0
TRANSPORT_TCP = 1
TRANSPORT_HTTP = 2
TRANSPORT_HTTPS = 3

KIND_OUT_OF_SERVICE = 0
KIND_ADMIN = 1
KIND_QUERY = 2
KIND_BOTH = KIND_ADMIN | KIND_QUERY

HASH_BY_PREFIX = 0
HASH_BY_SUFFIX = 1
HASH_BY_HANDLE = 2

SITE_FORMAT = 1
ADDRESS_OCTETS = 16

_PRIMARY = 0x80
_MULTI_PRIMARY = 0x40
_IPV4_PADDING = bytes(12)
_IPV6_LOOPBACK = IPv6Address("::1")
_INTERFACE_OCTETS = 6
_SERVER_OCTETS_MIN = 4 + ADDRESS_OCTETS + 4 + 4
_ATTRIBUTE_OCTETS_MIN = 8
_PORT_MAX = 65_535


@dataclass(frozen=True, slots=True)
class SiteInterface:
    """One way to reach a server: what it answers there, over which transport, on which port."""

    kind: int
    protocol: int
    port: int

    @property
    def answers_queries(self) -> bool:
        """Say whether resolutions are answered here."""
        return bool(self.kind & KIND_QUERY)

    @property
    def answers_admin(self) -> bool:
        """Say whether administration is answered here."""
        return bool(self.kind & KIND_ADMIN)

    def encode(self) -> bytes:
        """Return the 6 octets."""
        return write_u8(self.kind) + write_u8(self.protocol) + write_i32(self.port)


@dataclass(frozen=True, slots=True)
class SiteServer:
    """One server of a site; `address` has 16 octets, `public_key` is HS_PUBKEY data."""

    id: int
    address: bytes
    public_key: bytes
    interfaces: tuple[SiteInterface, ...]

    @property
    def ip(self) -> IPv4Address | IPv6Address:
        """The address; 0.0.0.0 when the site names the server by its `domain` attribute."""
        if self.address.startswith(_IPV4_PADDING) and self.address != _IPV6_LOOPBACK.packed:
            return IPv4Address(self.address[-4:])
        address = IPv6Address(self.address)
        return address.ipv4_mapped or address

    def encode(self) -> bytes:
        """Return the server's octets."""
        assert len(self.address) == ADDRESS_OCTETS, f"{len(self.address)} octets of address"
        return (
            write_i32(self.id)
            + self.address
            + write_str(self.public_key)
            + write_list(interface.encode() for interface in self.interfaces)
        )


@dataclass(frozen=True, slots=True)
class HsSite:
    """A site. `flags_rest` keeps the flag bits that have no meaning here."""

    protocol_version: Version
    serial: int
    is_primary: bool
    servers: tuple[SiteServer, ...]
    attributes: tuple[tuple[bytes, bytes], ...] = ()
    is_multi_primary: bool = False
    flags_rest: int = 0
    hash_option: int = HASH_BY_HANDLE
    hash_filter: bytes = b""
    format: int = SITE_FORMAT

    def find_attribute(self, name: bytes) -> bytes | None:
        """Return the value of the first attribute `name`, or None."""
        return next((value for key, value in self.attributes if key == name), None)

    def encode(self) -> bytes:
        """Return the value's data."""
        flags = self.flags_rest
        flags |= _PRIMARY if self.is_primary else 0
        flags |= _MULTI_PRIMARY if self.is_multi_primary else 0
        return (
            write_i16(self.format)
            + bytes(self.protocol_version)
            + write_u16(self.serial)
            + bytes([flags, self.hash_option])
            + write_str(self.hash_filter)
            + write_list(write_str(name) + write_str(value) for name, value in self.attributes)
            + write_list(server.encode() for server in self.servers)
        )


def address_octets(ip: IPv4Address | IPv6Address) -> bytes:
    """Return the 16 octets of an address, IPv4 right-aligned in zeros."""
    return ip.packed.rjust(ADDRESS_OCTETS, b"\0")


def _read_interface(reader: Reader) -> SiteInterface:
    interface = SiteInterface(
        reader.read_u8("interface kind"),
        reader.read_u8("interface protocol"),
        reader.read_i32("interface port"),
    )
    if not 0 <= interface.port <= _PORT_MAX:
        raise InvalidValueError(f"interface port is {interface.port}, allowed are 0 to {_PORT_MAX}")
    return interface


def _read_server(reader: Reader) -> SiteServer:
    return SiteServer(
        reader.read_i32("server id"),
        reader.read_octets(ADDRESS_OCTETS, "server address"),
        reader.read_str("server public key"),
        reader.read_list(_read_interface, "interfaces", _INTERFACE_OCTETS),
    )


def _read_attribute(reader: Reader) -> tuple[bytes, bytes]:
    return reader.read_str("attribute name"), reader.read_str("attribute value")


def decode_hs_site(data: bytes) -> HsSite:
    """Decode the data of HS_SITE and of the types that share its form.

    Raises:
        DecodeError: truncated, a count out of range, or octets left over.
        InvalidValueError: an unknown hash option, or a port out of range.
    """
    reader = Reader(data)
    format_ = reader.read_i16("site format")
    version = Version(reader.read_u8("site major version"), reader.read_u8("site minor version"))
    serial = reader.read_u16("site serial number")
    flags = reader.read_u8("site flags")
    hash_option = reader.read_u8("hash option")
    if hash_option > HASH_BY_HANDLE:
        raise InvalidValueError(f"hash option is {hash_option}, allowed are 0, 1 and 2")
    hash_filter = reader.read_str("hash filter")
    attributes = reader.read_list(_read_attribute, "attributes", _ATTRIBUTE_OCTETS_MIN)
    servers = reader.read_list(_read_server, "servers", _SERVER_OCTETS_MIN)
    reader.expect_end("HS_SITE")
    return HsSite(
        protocol_version=version,
        serial=serial,
        is_primary=bool(flags & _PRIMARY),
        servers=servers,
        attributes=attributes,
        is_multi_primary=bool(flags & _MULTI_PRIMARY),
        flags_rest=flags & ~(_PRIMARY | _MULTI_PRIMARY),
        hash_option=hash_option,
        hash_filter=hash_filter,
        format=format_,
    )
