"""The octets of the Handle protocol as a stranger writes and reads them: struct and nothing else.

Part of the foreign client of these tests. It was written from the protocol alone and imports
nothing of this project's packages, so that a mistake of the product cannot hide in its own test.
"""

import hashlib
import struct
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

RESOLUTION, GET_SITE_INFO = 1, 2
CREATE, DELETE, ADD, REMOVE, MODIFY, LIST = 100, 101, 102, 103, 104, 105
ANSWER_CHALLENGE, VERIFY_CHALLENGE = 200, 201
HOME, UNHOME, LIST_HOMED = 300, 301, 302
NEXT_TXN_ID, RETRIEVE_TXN_LOG, DUMP_HANDLES = 1000, 1001, 1002
SESSION_SETUP, SESSION_TERMINATE, SESSION_EXCHANGE_KEY = 400, 401, 402

AUTH, CERT, ENCR, RECU = 0x80000000, 0x40000000, 0x20000000, 0x10000000
CACR, CONT, PUBL, RRDG = 0x08000000, 0x04000000, 0x01000000, 0x00800000
OVRW, MINT, DNRF = 0x00400000, 0x00200000, 0x00100000

ENVELOPE = struct.Struct(">BBBBiiii")
HEADER = struct.Struct(">iIIHBBII")
TRUNCATED, ENCRYPTED = 0x20, 0x40
DIGEST_OCTETS = {1: 16, 2: 20, 3: 32}

Version = tuple[int, int]


def pack_str(octets: bytes) -> bytes:
    return struct.pack(">i", len(octets)) + octets


def pack_list(items: list[bytes]) -> bytes:
    return struct.pack(">i", len(items)) + b"".join(items)


def pack_indexes(indexes: list[int]) -> bytes:
    return pack_list([struct.pack(">i", index) for index in indexes])


class Cursor:
    """Reads forward through octets; a server that lets it run out fails an assertion."""

    def __init__(self, octets: bytes) -> None:
        self.octets, self.at = octets, 0

    def take(self, count: int) -> bytes:
        assert 0 <= count <= len(self.octets) - self.at, (count, self.at, self.octets)
        self.at += count
        return self.octets[self.at - count : self.at]

    def number(self, layout: str) -> int:
        return int(struct.unpack(">" + layout, self.take(struct.calcsize(">" + layout)))[0])

    def str(self) -> bytes:
        return self.take(self.number("i"))

    def strs(self) -> list[bytes]:
        return [self.str() for _ in range(self.number("i"))]

    @property
    def rest(self) -> bytes:
        return self.octets[self.at :]


@dataclass(frozen=True)
class Value:
    """A handle value; permissions 0b1110 are what the stock tools write."""

    index: int
    type: bytes
    data: bytes
    permissions: int = 0b1110
    ttl: int = 86400
    ttl_type: int = 0
    timestamp: int = 0
    references: tuple[tuple[bytes, int], ...] = ()

    def pack(self) -> bytes:
        head = (self.index, self.timestamp, self.ttl_type, self.ttl, self.permissions)
        references = [pack_str(handle) + struct.pack(">i", at) for handle, at in self.references]
        return (
            struct.pack(">iiBiB", *head)
            + pack_str(self.type)
            + pack_str(self.data)
            + pack_list(references)
        )

    @classmethod
    def read(cls, cursor: Cursor) -> "Value":
        index, timestamp = cursor.number("i"), cursor.number("i")
        ttl_type, ttl, permissions = cursor.number("B"), cursor.number("i"), cursor.number("B")
        kind, data = cursor.str(), cursor.str()
        references = tuple((cursor.str(), cursor.number("i")) for _ in range(cursor.number("i")))
        return cls(index, kind, data, permissions, ttl, ttl_type, timestamp, references)


def pack_values(values: list[Value]) -> bytes:
    return pack_list([value.pack() for value in values])


def read_values(cursor: Cursor) -> list[Value]:
    return [Value.read(cursor) for _ in range(cursor.number("i"))]


def admin_data(handle: bytes, index: int, permissions: int = 0xFFF) -> bytes:
    return struct.pack(">H", permissions) + pack_str(handle) + struct.pack(">i", index)


def vlist_data(*references: tuple[bytes, int]) -> bytes:
    return pack_list([pack_str(handle) + struct.pack(">i", index) for handle, index in references])


@dataclass(frozen=True)
class Envelope:
    version: Version
    flags: int
    suggested: Version
    session: int
    request: int
    sequence: int
    length: int

    def pack(self) -> bytes:
        (major, minor), (best_major, best_minor) = self.version, self.suggested
        middle = (self.flags | best_major, best_minor)
        return ENVELOPE.pack(
            major, minor, *middle, self.session, self.request, self.sequence, self.length
        )

    @classmethod
    def read(cls, octets: bytes) -> "Envelope":
        major, minor, mixed, best_minor, session, request, sequence, length = ENVELOPE.unpack(
            octets[:20]
        )
        return cls(
            (major, minor),
            mixed & 0xE0,
            (mixed & 3, best_minor),
            session,
            request,
            sequence,
            length,
        )


@dataclass(frozen=True)
class Answer:
    """A response taken apart; `message` is header, body and credential in clear text."""

    envelope: Envelope
    message: bytes
    opcode: int = field(init=False)
    code: int = field(init=False)
    flags: int = field(init=False)
    serial: int = field(init=False)
    recursion: int = field(init=False)
    expiration: int = field(init=False)
    body: bytes = field(init=False)
    credential: bytes = field(init=False)

    def __post_init__(self) -> None:
        opcode, code, flags, serial, recursion, _, expiration, length = HEADER.unpack_from(
            self.message
        )
        cursor = Cursor(self.message)
        cursor.take(HEADER.size)
        body = cursor.take(length)
        credential = cursor.str()
        assert cursor.rest == b"", "octets after the credential"
        parts = {"opcode": opcode, "code": code, "flags": flags, "serial": serial}
        parts |= {"recursion": recursion, "expiration": expiration}
        for name, part in {**parts, "body": body, "credential": credential}.items():
            object.__setattr__(self, name, part)

    @property
    def covered(self) -> bytes:
        """Header and body: what digests, signatures and MACs are over."""
        return self.message[: HEADER.size + len(self.body)]

    @property
    def digest(self) -> tuple[int, bytes] | None:
        if not self.flags & RRDG:
            return None
        return self.body[0], self.body[1 : 1 + DIGEST_OCTETS[self.body[0]]]

    @property
    def payload(self) -> Cursor:
        """The body behind its request digest."""
        digest = self.digest
        return Cursor(self.body if digest is None else self.body[1 + len(digest[1]) :])

    @property
    def text(self) -> str:
        """The words of an error answer."""
        cursor = self.payload
        words = cursor.str().decode()
        assert cursor.rest == b""
        return words

    @property
    def values(self) -> list[Value]:
        cursor = self.payload
        cursor.str()
        values = read_values(cursor)
        assert cursor.rest == b""
        return values

    @property
    def handle(self) -> bytes:
        return self.payload.str()


def pack_message(
    opcode: int,
    body: bytes,
    flags: int,
    *,
    serial: int = 0xFFFF,
    recursion: int = 0,
    expiration: int = 0x7FFFFFFF,
) -> bytes:
    """Header and body of a request; the credential is the caller's."""
    return HEADER.pack(opcode, 0, flags, serial, recursion, 0, expiration, len(body)) + body


@dataclass(frozen=True)
class Interface:
    kind: int
    protocol: int
    port: int


@dataclass(frozen=True)
class Server:
    id: int
    address: str
    public_key: bytes
    interfaces: tuple[Interface, ...]

    def port(self, protocol: int, kind: int = 2) -> int | None:
        """The first port of the protocol (0 UDP, 1 TCP, 2 HTTP, 3 HTTPS) that serves the kind."""
        ports = (i.port for i in self.interfaces if i.protocol == protocol and i.kind & kind)
        return next(ports, None)


@dataclass(frozen=True)
class Site:
    version: Version
    serial: int
    flags: int
    attributes: tuple[tuple[bytes, bytes], ...]
    servers: tuple[Server, ...]


def _read_server(cursor: Cursor) -> Server:
    number, address, key = cursor.number("i"), cursor.take(16), cursor.str()
    text = str(IPv4Address(address[12:]) if address[:12] == bytes(12) else IPv6Address(address))
    interfaces = tuple(
        Interface(cursor.number("B"), cursor.number("B"), cursor.number("i"))
        for _ in range(cursor.number("i"))
    )
    return Server(number, text, key, interfaces)


def read_site(octets: bytes) -> Site:
    cursor = Cursor(octets)
    assert cursor.number("H") == 1
    version = (cursor.number("B"), cursor.number("B"))
    serial, flags = cursor.number("H"), cursor.number("B")
    assert cursor.number("B") in (0, 1, 2)
    cursor.str()
    attributes = tuple((cursor.str(), cursor.str()) for _ in range(cursor.number("i")))
    servers = tuple(_read_server(cursor) for _ in range(cursor.number("i")))
    assert cursor.rest == b"", "octets after the site"
    return Site(version, serial, flags, attributes, servers)


def position_in_site(handle: bytes, servers: int, hash_option: int = 2) -> int:
    """Which of a site's servers has the handle: MD5 of the upper-cased part."""
    prefix, slash, suffix = handle.upper().partition(b"/")
    part = (prefix if slash else b"0.NA", suffix, handle.upper())[hash_option]
    number = int.from_bytes(hashlib.md5(part).digest()[-4:], "big", signed=True)
    return abs(number) % servers
