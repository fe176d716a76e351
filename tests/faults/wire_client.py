"""A client of the Handle protocol that keeps its connection and knows every octet it sends.

The fault tests need what a well-behaved client hides: request ids, the moment of an answer,
connections that stay idle, and requests that break off.
"""

import secrets
import socket
from abc import ABC, abstractmethod
from collections.abc import Iterable
from types import TracebackType
from typing import NamedTuple, Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from protocol.bodies import (
    Body,
    ChallengeAnswer,
    ChallengeAnswerRequest,
    HandleRequest,
    ResolutionRequest,
    ValuesRequest,
    decode_response_body,
)
from protocol.codes import MessageFlag, OpCode, ResponseCode
from protocol.digests import digest_request
from protocol.envelope import ENVELOPE_OCTETS, Envelope, decode_envelope
from protocol.header import Header
from protocol.key_files import decode_private_key
from protocol.message import Message, decode_message
from protocol.value import HandleValue
from protocol.versions import BEST
from protocol.wire import write_str
from tests.nodes import Node

TIMEOUT_S = 10.0
EXPIRATION = 0x7FFFFFFF
TUNNEL_TYPE = "application/x-hdl-message"
Address = tuple[str, int]


class Administrator(NamedTuple):
    """Who registers."""

    handle: bytes
    key_index: int
    key: RSAPrivateKey


class Answered(NamedTuple):
    """An answer, and the id of the request that it answers."""

    request_id: int
    code: int
    body: Body


def administrator(node: Node) -> Administrator:
    """The administrator whose key `biaoshi init` made."""
    index, _, handle = node.admin.partition(":")
    key = decode_private_key(node.admin_key.read_bytes())
    assert isinstance(key, RSAPrivateKey)
    return Administrator(handle.encode(), int(index), key)


def make_request(
    opcode: int, body: Body, flags: int = 0, *, session_id: int = 0, request_id: int = 0
) -> Message:
    """A request as a client of the latest version sends it, with a random request id."""
    chosen = request_id or secrets.randbelow(2**31 - 1) + 1
    envelope = Envelope(BEST, BEST, 0, session_id, chosen, 0, 0)
    return Message(envelope, Header(opcode, 0, flags, EXPIRATION), body.encode())


def resolution(handle: bytes) -> Message:
    return make_request(OpCode.RESOLUTION, ResolutionRequest(handle), MessageFlag.PUBLIC_ONLY)


def site_info() -> Message:
    return make_request(OpCode.GET_SITE_INFO, HandleRequest(b"/"))


def creation(handle: bytes, values: Iterable[HandleValue]) -> Message:
    return make_request(OpCode.CREATE_HANDLE, ValuesRequest(handle, tuple(values)))


def product_values(name: str) -> tuple[HandleValue, ...]:
    """Values that no other handle has."""
    return (
        HandleValue(1, b"URL", f"https://example.cn/{name}".encode()),
        HandleValue(2, b"DESC", f"product {name}".encode() * 3),
    )


def answer_challenge(request: Message, challenge: Message, admin: Administrator) -> Message:
    """The message that proves `admin`'s key in answer to a 402."""
    digest, body = decode_response_body(challenge.header, challenge.body)
    assert isinstance(body, ChallengeAnswer)
    assert digest == digest_request(request.covered, challenge.envelope.version), digest
    proof = admin.key.sign(body.nonce + digest.digest, PKCS1v15(), hashes.SHA256())
    answer = ChallengeAnswerRequest(
        b"HS_PUBKEY", admin.handle, admin.key_index, write_str(b"SHA-256") + write_str(proof)
    )
    return make_request(
        OpCode.RESPONSE_TO_CHALLENGE, answer, session_id=challenge.envelope.session_id
    )


def read_answer(message: Message) -> Answered:
    _, body = decode_response_body(message.header, message.body)
    return Answered(message.envelope.request_id, message.header.response_code, body)


class Line(ABC):
    """A way to a node, over which one asks and registers."""

    @abstractmethod
    def ask(self, request: Message) -> Message:
        """Send a request and return its answer."""

    def administer(self, request: Message, admin: Administrator) -> Answered:
        """Send a request, answer the challenge, return what became of it."""
        first = self.ask(request)
        if first.header.response_code != ResponseCode.AUTHENTICATION_NEEDED:
            return read_answer(first)
        return read_answer(self.ask(answer_challenge(request, first, admin)))

    def register(self, admin: Administrator, name: str) -> Answered:
        """Create 88/`name` with its product values."""
        return self.administer(creation(b"88/" + name.encode(), product_values(name)), admin)


class Connection(Line):
    """A TCP connection that is kept open. Raises OSError and EOFError as sockets do."""

    def __init__(self, address: Address, timeout_s: float = TIMEOUT_S, *, source: str = "") -> None:
        self.socket = socket.create_connection(address, timeout_s, (source, 0))
        self.socket.settimeout(timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.socket.close()

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def receive(self) -> Message:
        head = self._read(ENVELOPE_OCTETS)
        return decode_message(head + self._read(decode_envelope(head).length))

    def _read(self, count: int) -> bytes:
        parts = []
        while count:
            part = self.socket.recv(count)
            if not part:
                raise EOFError("the node closed the connection")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def ask(self, request: Message) -> Message:
        """Send a request and return its answer."""
        self.send(request.encode())
        answer = self.receive()
        assert answer.envelope.request_id == request.envelope.request_id, answer
        return answer


class Tunnel(Line):
    """The HTTP tunnel, a connection for every request as existing clients have it."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def ask(self, request: Message) -> Message:
        """Send a request and return its answer."""
        types = {"Accept": TUNNEL_TYPE, "Content-Type": TUNNEL_TYPE}
        answer = self._node.http("POST", "/88", request.encode(), types, timeout_s=TIMEOUT_S)
        assert answer.status == 200, answer
        return decode_message(answer.body)


def ask_tcp(address: Address, request: Message, timeout_s: float = TIMEOUT_S) -> Message:
    """One request over a TCP connection of its own."""
    with Connection(address, timeout_s) as connection:
        return connection.ask(request)


def ask_udp(address: Address, request: Message, timeout_s: float = TIMEOUT_S) -> Message:
    """One request and its one-packet answer, sent once. Raises: TimeoutError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout_s)
        sock.connect(address)
        sock.send(request.encode())
        while True:
            answer = decode_message(sock.recv(512))
            if answer.envelope.request_id == request.envelope.request_id:
                return answer


def look_up(address: Address, handle: bytes, timeout_s: float = TIMEOUT_S) -> Answered:
    """Resolve a handle over TCP, where an answer of any length fits."""
    return read_answer(ask_tcp(address, resolution(handle), timeout_s))


def data_of(body: Body) -> dict[int, tuple[bytes, bytes]]:
    """Type and data of the values in a resolution's answer, by index."""
    assert isinstance(body, ValuesRequest)
    return {value.index: (value.type, value.data) for value in body.values}


def expected_data(name: str) -> dict[int, tuple[bytes, bytes]]:
    """What `data_of` gives for a handle made with `product_values(name)`."""
    return {value.index: (value.type, value.data) for value in product_values(name)}
