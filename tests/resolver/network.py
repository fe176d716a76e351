"""A network of nodes in memory, to be programmed by tests: no sockets, no waiting."""

import asyncio
import ipaddress
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache

from protocol.bodies import (
    Body,
    ErrorAnswer,
    ReferralAnswer,
    ResolutionRequest,
    ValuesRequest,
    decode_request_body,
)
from protocol.codes import MessageFlag, OpCode, ResponseCode
from protocol.credential import sign_message
from protocol.digests import digest_request
from protocol.envelope import Envelope
from protocol.handle import fold_handle
from protocol.header import Header
from protocol.key_files import PrivateKey, generate_rsa_key
from protocol.message import Message, decode_message
from protocol.types.hs_pubkey import encode_public_key
from protocol.types.hs_site import (
    KIND_BOTH,
    KIND_QUERY,
    TRANSPORT_HTTP,
    TRANSPORT_TCP,
    TRANSPORT_UDP,
    HsSite,
    SiteInterface,
    SiteServer,
    address_octets,
)
from protocol.value import HandleValue, select_values
from protocol.versions import BEST, answer_version
from resolver.exchanges import Endpoint, ExchangeError, ExchangeLimits

Answerer = Callable[[Message], list[Message] | None]
INTERFACES = (
    SiteInterface(KIND_QUERY, TRANSPORT_UDP, 2641),
    SiteInterface(KIND_BOTH, TRANSPORT_TCP, 2641),
    SiteInterface(KIND_BOTH, TRANSPORT_HTTP, 8000),
)


@cache
def server_key(number: int) -> PrivateKey:
    """Return the same key whenever the same number is asked for."""
    return generate_rsa_key(2_048)


def make_site(
    *addresses: str,
    key: PrivateKey | None = None,
    interfaces: tuple[SiteInterface, ...] = INTERFACES,
    is_primary: bool = True,
) -> HsSite:
    public_key = b"" if key is None else encode_public_key(key.public_key())
    servers = tuple(
        SiteServer(number, address_octets(ipaddress.ip_address(address)), public_key, interfaces)
        for number, address in enumerate(addresses, 1)
    )
    return HsSite(protocol_version=BEST, serial=1, is_primary=is_primary, servers=servers)


def site_value(site: HsSite, index: int = 1, type_: bytes = b"HS_SITE") -> HandleValue:
    return HandleValue(index, type_, site.encode())


def make_reply(
    request: Message,
    code: int,
    body: Body,
    *,
    flags: int = 0,
    opcode: int | None = None,
    session_id: int = 0,
) -> Message:
    """Answer as a primary site does."""
    version = answer_version(request.envelope.best_version)
    flags |= MessageFlag.AUTHORITATIVE
    flags |= request.header.flags & (MessageFlag.CERTIFY | MessageFlag.REQUEST_DIGEST)
    octets = body.encode()
    if flags & MessageFlag.REQUEST_DIGEST:
        octets = digest_request(request.covered, version).encode() + octets
    envelope = Envelope(version, BEST, 0, session_id, request.envelope.request_id, 0, 0)
    header = Header(request.header.opcode if opcode is None else opcode, code, flags, 0)
    return Message(envelope, header, octets)


@dataclass
class FakeNode:
    """Answers from its records; `answerer` may answer in its place (None: it does not)."""

    records: dict[bytes, tuple[HandleValue, ...]] = field(default_factory=dict)
    referrals: dict[bytes, ReferralAnswer] = field(default_factory=dict)
    key: PrivateKey | None = None
    answerer: Answerer | None = None
    is_dead: bool = False
    breaks_after: int | None = None
    gate: asyncio.Event | None = None
    asked: list[Message] = field(default_factory=list)

    def handles_asked(self) -> list[bytes]:
        return [
            body.handle
            for message in self.asked
            if isinstance(body := body_of(message), ResolutionRequest)
        ]

    def answer(self, request: Message) -> list[Message]:
        answers = self.answerer(request) if self.answerer else None
        if answers is None:
            answers = [self._resolve(request)]
        if self.key is None:
            return answers
        return [
            sign_message(each, self.key) if each.header.has(MessageFlag.CERTIFY) else each
            for each in answers
        ]

    def _resolve(self, request: Message) -> Message:
        body = body_of(request)
        assert request.header.opcode == OpCode.RESOLUTION
        assert isinstance(body, ResolutionRequest)
        folded = fold_handle(body.handle)
        if folded in self.referrals:
            return make_reply(request, ResponseCode.PREFIX_REFERRAL, self.referrals[folded])
        if folded not in self.records:
            return make_reply(request, ResponseCode.HANDLE_NOT_FOUND, ErrorAnswer())
        values = select_values(self.records[folded], body.indexes, body.types)
        if not values:
            return make_reply(request, ResponseCode.VALUES_NOT_FOUND, ErrorAnswer())
        return make_reply(request, ResponseCode.SUCCESS, ValuesRequest(body.handle, values))


def body_of(message: Message) -> Body:
    return decode_request_body(message.header.opcode, message.body, message.envelope.version)


class FakeNetwork:
    """Moves octets to the node at an address. Use `network.move` as an Upstream's mover."""

    def __init__(self, nodes: Mapping[str, FakeNode]) -> None:
        self.nodes = dict(nodes)
        self.endpoints: list[Endpoint] = []

    async def move(
        self, octets: bytes, endpoint: Endpoint, limits: ExchangeLimits, handle: bytes
    ) -> AsyncGenerator[bytes, None]:
        self.endpoints.append(endpoint)
        node = self.nodes[endpoint.address]
        request = decode_message(octets)
        node.asked.append(request)
        if node.is_dead:
            raise ExchangeError(f"{endpoint}: no answer")
        if node.gate is not None:
            await node.gate.wait()
        for number, answer in enumerate(node.answer(request)):
            if number == node.breaks_after:
                raise ExchangeError(f"{endpoint}: closed")
            yield answer.encode()


def with_records(records: Mapping[bytes, Iterable[HandleValue]]) -> FakeNode:
    return FakeNode({fold_handle(handle): tuple(values) for handle, values in records.items()})


@dataclass
class Tiers:
    """The root at 10.0.0.1, 88.118's secondary at 10.0.0.2, 88.118.5's enterprise at 10.0.0.3."""

    top: FakeNode
    secondary: FakeNode
    enterprise: FakeNode
    root: HsSite
    network: FakeNetwork

    @property
    def all(self) -> tuple[FakeNode, FakeNode, FakeNode]:
        return self.top, self.secondary, self.enterprise


def make_tiers(*, certified: bool = False) -> Tiers:
    keys = [server_key(number) if certified else None for number in range(3)]
    sites = [make_site(f"10.0.0.{number + 1}", key=keys[number]) for number in range(3)]
    top = with_records({b"0.NA/88.118": [site_value(sites[1])]})
    top.referrals[b"0.NA/88.118.5"] = ReferralAnswer(
        b"", (site_value(sites[1], type_=b"HS_SITE.PREFIX"),)
    )
    secondary = with_records({b"0.NA/88.118.5": [site_value(sites[2])]})
    enterprise = with_records(
        {
            b"88.118.5/PUMP-1": [
                HandleValue(1, b"URL", b"https://example.org/pump", ttl=600),
                HandleValue(2, b"NAME", b"pump", ttl=300),
            ]
        }
    )
    nodes = [top, secondary, enterprise]
    for node, key in zip(nodes, keys, strict=True):
        node.key = key
    network = FakeNetwork({f"10.0.0.{number + 1}": nodes[number] for number in range(3)})
    return Tiers(top, secondary, enterprise, sites[0], network)


def spoil(message: Message, **changes: int) -> Message:
    """Return a message with other envelope fields."""
    envelope = message.envelope
    return replace(message, envelope=replace(envelope, **changes))  # type: ignore[arg-type]
