"""What a running node knows of itself: its role, its site as others find it, its server key."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

from protocol.bodies import ResolutionRequest
from protocol.codes import QUERY_OPCODES, OpCode, ResponseCode
from protocol.envelope import Envelope
from protocol.key_files import PrivateKey
from protocol.types.hs_pubkey import encode_public_key
from protocol.types.hs_site import (
    TRANSPORT_HTTP,
    TRANSPORT_HTTPS,
    TRANSPORT_UDP,
    HsSite,
    SiteServer,
)
from protocol.versions import V2_10
from resolver.config import Config, NodeRole
from resolver.node_files import NodeFilesError, NodeFolder, read_site
from resolver.server_keys import EarlierKey, load_server_keys

MIRROR_WORDS = "this node is a mirror and registers nothing: ask its primary"
NOT_ADMIN_WORDS = b"Received admin request on non-admin interface"
NOT_REGISTERING_WORDS = b"a recursive node registers nothing"
_OPCODES = frozenset(OpCode)
_CHANGING_OPCODES = frozenset(
    {
        OpCode.CREATE_HANDLE,
        OpCode.DELETE_HANDLE,
        OpCode.ADD_VALUE,
        OpCode.REMOVE_VALUE,
        OpCode.MODIFY_VALUE,
        OpCode.HOME_NA,
        OpCode.UNHOME_NA,
    }
)


@dataclass(frozen=True)
class Node:
    """A node's own things. `site_octets` is HS_SITE data, `public_key` HS_PUBKEY data.

    `earlier_keys` are those of the sites before this one (`resolver.server_keys`).
    """

    role: NodeRole
    site: HsSite
    site_octets: bytes
    private_key: PrivateKey
    public_key: bytes
    earlier_keys: tuple[EarlierKey, ...] = ()
    is_mirror: bool = False

    @cached_property
    def _keys_by_serial(self) -> dict[int, PrivateKey]:
        found = ((each.serial, each.private_key) for each in self.earlier_keys)
        return {serial: key for serial, key in found if key is not None}

    def signing_key(self, site_serial: int) -> PrivateKey:
        """Return the key for an answer to who knows our site of a serial; else the current one."""
        return self._keys_by_serial.get(site_serial, self.private_key)

    def find_key(self, key_id: str) -> bytes | None:
        """Return the public key of a name, HS_PUBKEY data: ours, now or earlier."""
        every = (self.public_key, *(each.public_key for each in self.earlier_keys))
        return next((each for each in every if name_key(each) == key_id), None)

    @property
    def registers(self) -> bool:
        """Say whether this node holds records of its own."""
        return self.role.registers

    @property
    def server(self) -> SiteServer:
        """This node's entry in its site: the one with its key, else the first."""
        for server in self.site.servers:
            if server.public_key == self.public_key:
                return server
        return self.site.servers[0]

    @property
    def key_id(self) -> str:
        """The server key's name in what it signs: SHA-256 of its HS_PUBKEY data."""
        return name_key(self.public_key)

    @property
    def name(self) -> str:
        """What people call this node: its site's description, else its key."""
        described = self.site.find_attribute(b"desc")
        return described.decode("utf-8", "replace") if described else self.key_id

    def answers_admin(self, transport: int) -> bool:
        """Say whether administration may come over a transport, by the site's interfaces.

        HTTPS shares the port of HTTP and its entry. A connection over a transport that the site
        does not list is accepted; a datagram is not, as everywhere.
        """
        if transport == TRANSPORT_HTTPS:
            transport = TRANSPORT_HTTP
        listed = [each for each in self.server.interfaces if each.protocol == transport]
        if not listed:
            return transport != TRANSPORT_UDP
        return any(each.answers_admin for each in listed)

    def refusal(self, opcode: int, transport: int) -> tuple[int, bytes] | None:
        """Return (response code, words) for an opcode that is not served over a transport."""
        if opcode == OpCode.RESERVED:
            return ResponseCode.PROTOCOL_ERROR, b"opcode 0 is reserved"
        if opcode not in _OPCODES:
            return ResponseCode.ERROR, b"Server error processing request"
        if opcode in QUERY_OPCODES:
            return None
        if not self.answers_admin(transport):
            return ResponseCode.PROTOCOL_ERROR, NOT_ADMIN_WORDS
        if not self.registers:
            return ResponseCode.OPERATION_NOT_SUPPORTED, NOT_REGISTERING_WORDS
        if self.is_mirror and opcode in _CHANGING_OPCODES:
            return ResponseCode.SERVER_NOT_RESPONSIBLE, MIRROR_WORDS.encode()
        return None


def name_key(public_key: bytes) -> str:
    """Return a server key's name in what it signs: SHA-256 of its HS_PUBKEY data."""
    return "sha256:" + hashlib.sha256(public_key).hexdigest()


def must_resolve_for(code: int, envelope: Envelope, question: ResolutionRequest) -> bool:
    """Say whether a prefix referral has to be followed for a client too old to follow it.

    Clients below 2.10 do not know 303 for derived prefixes: the server asks on their behalf.
    """
    return (
        code == ResponseCode.PREFIX_REFERRAL
        and bool(question.handle)
        and not envelope.best_version.at_least(V2_10)
    )


def load_node(config: Config) -> Node:
    """Read the site and the server key from the data folder.

    Raises:
        NodeFilesError: a file is missing or does not hold what it should, or the site names no key
            that is there.
    """
    folder = NodeFolder(config.folder)
    site = read_site(folder.site)
    if not site.servers:
        raise NodeFilesError(f"{folder.site} lists no server")
    keys = load_server_keys(folder, site)
    public_key = encode_public_key(keys.current.public_key())
    is_mirror = bool(config.follow.site)
    if is_mirror:  # whatever its file says: it speaks with nobody's authority
        site = replace(site, is_primary=False)
    octets = site.encode()
    return Node(config.role, site, octets, keys.current, public_key, keys.earlier, is_mirror)
