"""One request to one server, without I/O: what is asked, of whom, and the check of the answer.

A `Request` knows neither server nor version; `build_message` makes it a message for one site, in
the version that site's record names (2.3 when it names none) and suggesting the best we speak.
`check_answer` believes an answer when its request digest, if any, is that of what was sent and,
certified, when it is signed with the key the site's record names for the server.
"""

import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import NamedTuple, Protocol

from protocol.bodies import Body, ResolutionRequest, ValuesRequest, decode_response_body
from protocol.codes import QUERY_OPCODES, MessageFlag, OpCode, ResponseCode
from protocol.credential import verify_message
from protocol.digests import RequestDigest
from protocol.envelope import Envelope
from protocol.errors import DecodeError, ProtocolError, SecurityError
from protocol.handle import fold_handle, hash_position, to_text
from protocol.header import EXPIRY_DEFAULT_S, Header
from protocol.message import Message, decode_message
from protocol.types.hs_pubkey import decode_public_key
from protocol.types.hs_site import HsSite, SiteServer
from protocol.versions import BEST, V2_0, V2_3, Version
from resolver.exchanges import Endpoint

_REQUEST_ID_MAX = 2**31 - 1


class Hop(NamedTuple):
    """One attempt, for people who want to see the way; `response_code` 0 means no answer."""

    endpoint: Endpoint
    handle: bytes
    opcode: int
    response_code: int
    elapsed_ms: float
    problem: str = ""


class Channel(Protocol):
    """A session with one server, as the asking side keeps it (`client.sessions`)."""

    @property
    def number(self) -> int:
        """The session's id."""
        ...

    @property
    def flags(self) -> int:
        """Header flags that every request in it carries."""
        ...

    def seal(self, request: Message) -> bytes:
        """Return the octets to send. Raises: DecodeError, larger than any peer takes."""
        ...

    def open(self, octets: bytes) -> Message:
        """Return an answer in clear. Raises: SecurityError, it is not one of this session."""
        ...


class UnsendableError(ProtocolError):
    """A request that no server takes, so it is not sent."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask, before a server, its protocol version and a request id are known.

    `handle` decides on the server of a site. `challenged` is header and body of the request whose
    challenge this one answers: the reply's digest may be of either. `channel` is the session it
    is sent in, with the one server that has it.
    """

    handle: bytes
    opcode: int
    body: Body
    flags: int = 0
    session_id: int = 0
    recursion_count: int = 0
    challenged: bytes = b""
    channel: Channel | None = None

    @property
    def is_query(self) -> bool:
        """Say whether an interface without the admin bit answers this."""
        return self.opcode in QUERY_OPCODES

    @property
    def needs_primary(self) -> bool:
        """Say whether only a primary site may be asked."""
        return not self.is_query or bool(self.flags & MessageFlag.AUTHORITATIVE)


class Candidate(NamedTuple):
    """Somewhere a request may go."""

    endpoint: Endpoint
    site: HsSite
    server: SiteServer


@dataclass(frozen=True, slots=True)
class Answer:
    """A checked message of an answer, what it answers, and who gave it."""

    sent: Message
    message: Message
    body: Body
    digest: RequestDigest | None
    candidate: Candidate
    elapsed_ms: float

    @property
    def response_code(self) -> int:
        """How the request ended."""
        return self.message.header.response_code


def choose_server(site: HsSite, handle: bytes) -> SiteServer:
    """Return the server of a site that a handle hashes to; the site must have servers."""
    return site.servers[hash_position(handle, site.hash_option, len(site.servers))]


def addresses_of(site: HsSite, server: SiteServer) -> tuple[str, ...]:
    """Return a server's address and its second one, which stands in `alt_addr` (or `.<id>`)."""
    found = [] if server.ip.is_unspecified else [str(server.ip)]
    own, common = b"alt_addr.%d" % server.id, b"alt_addr"
    second = site.find_attribute(own)
    if second is None and len(site.servers) == 1:
        second = site.find_attribute(common)
    if second is not None:
        with suppress(ValueError):
            found.append(str(ip_address(second.decode("ascii", "replace"))))
    return tuple(found)


def interfaces_of(
    site: HsSite, server: SiteServer, transport: int, *, admin: bool
) -> Iterator[Candidate]:
    """Yield where a server takes requests over one transport."""
    for interface in server.interfaces:
        usable = interface.answers_admin if admin else interface.answers_queries
        if usable and interface.protocol == transport:
            for address in addresses_of(site, server):
                endpoint = Endpoint(address, interface.port, transport, server.public_key)
                yield Candidate(endpoint, site, server)


def version_for(site: HsSite) -> Version:
    """Return the version to write a request in: what both sides are believed to know."""
    version = site.protocol_version
    if not version.at_least(V2_0):
        return V2_3
    return version if BEST.at_least(version) else BEST


def build_message(request: Request, site: HsSite, *, certify: bool, now_s: float) -> Message:
    """Make a request a message for one site, with a request id nobody can guess."""
    flags, session_id = request.flags, request.session_id
    if certify:
        flags |= MessageFlag.CERTIFY | MessageFlag.REQUEST_DIGEST
    if request.channel is not None:
        flags |= request.channel.flags
        session_id = request.channel.number
    request_id = 1 + secrets.randbelow(_REQUEST_ID_MAX)
    expires_s = int(now_s) + EXPIRY_DEFAULT_S
    return Message(
        Envelope(version_for(site), BEST, 0, session_id, request_id, 0, 0),
        Header(
            request.opcode,
            ResponseCode.REQUEST,
            flags,
            expires_s,
            site.serial,
            request.recursion_count,
        ),
        request.body.encode(),
    )


def encode_request(request: Request, message: Message) -> bytes:
    """Return the octets to send, sealed when it is one of a session. Raises: UnsendableError."""
    try:
        return message.encode() if request.channel is None else request.channel.seal(message)
    except DecodeError as error:
        raise UnsendableError(f"the request cannot be sent: {error}") from None


def check_answer(
    request: Request,
    sent: Message,
    received: bytes,
    candidate: Candidate,
    *,
    certify: bool,
    elapsed_ms: float,
) -> Answer:
    """Decode an answer and check that it is one to what was sent.

    Raises:
        DecodeError: not a response, damaged, or about another operation or handle.
        SecurityError: the digest of another request, or a signature that is missing or false.
    """
    in_session = request.channel is not None
    message = request.channel.open(received) if request.channel else decode_message(received)
    digest, body = decode_response_body(message.header, message.body)
    _check_opcode(request, message)
    _check_handle(request, body)
    answers = [sent.covered, request.challenged] if request.challenged else [sent.covered]
    if digest is not None and not any(digest.matches(covered) for covered in answers):
        raise SecurityError("the answer's digest is that of another request")
    if certify:
        if digest is None:
            raise SecurityError("the certified answer does not say which request it is for")
        if not in_session:
            verify_message(message, decode_public_key(server_key(candidate)))
    return Answer(sent, message, body, digest, candidate, elapsed_ms)


def server_key(candidate: Candidate) -> bytes:
    """Return the HS_PUBKEY data of a server. Raises: SecurityError, its site names none."""
    if not candidate.server.public_key:
        raise SecurityError("the site names no key to check the certified answer with")
    return candidate.server.public_key


def _check_opcode(request: Request, message: Message) -> None:
    """Refuse a success of another operation: its body would be misread.

    The reply to a challenge's answer bears the opcode of the request that was challenged, and some
    servers report an error under opcode 0.
    """
    if message.header.response_code != ResponseCode.SUCCESS:
        return
    if request.opcode not in (message.header.opcode, OpCode.RESPONSE_TO_CHALLENGE):
        raise DecodeError(
            f"the answer is for opcode {message.header.opcode}, asked was {request.opcode}"
        )


def _check_handle(request: Request, body: Body) -> None:
    """Refuse values of another handle than was asked for; servers may repeat it in another case."""
    if isinstance(request.body, ResolutionRequest) and isinstance(body, ValuesRequest):
        asked, answered = request.body.handle, body.handle
        if fold_handle(asked) != fold_handle(answered):
            raise DecodeError(f"the answer is about {to_text(answered)}, not {to_text(asked)}")
