"""How the foreign client's messages travel: UDP in pieces, TCP, the HTTP tunnel, HTTPS."""

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import BinaryIO
from urllib.parse import quote_from_bytes

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_der_x509_certificate

from tests.interop.foreign_crypto import PublicKey
from tests.interop.foreign_wire import CONT, TRUNCATED, Answer, Cursor, Envelope

PIECE = 492
UDP_TIMEOUTS = (0.5, 1.0, 1.5)
TUNNEL_TYPE = "application/x-hdl-message"

Opener = Callable[[Envelope, bytes], Answer]


@dataclass
class Line:
    """Where a server is and how to speak to it: "udp", "tcp", "http" or "https"."""

    address: str
    handle_port: int
    http_port: int
    transport: str = "tcp"
    server_key: PublicKey | None = None
    timeout: float = 10.0
    http_version: str = "1.0"
    http_head: bytes = field(default=b"", init=False)


def exchange(line: Line, envelope: Envelope, message: bytes, opened: Opener) -> list[Answer]:
    """Every answer to one message; `opened` takes an answer apart, and says so if more follow."""
    if line.transport == "udp":
        return [opened(*exchange_udp(line, envelope, message))]
    return list(exchange_stream(line, envelope, message, opened))


def exchange_udp(line: Line, envelope: Envelope, message: bytes) -> tuple[Envelope, bytes]:
    pieces = cut(envelope, message)
    family = socket.AF_INET6 if ":" in line.address else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_DGRAM)) as sock:
        sock.connect((line.address, line.handle_port))
        for timeout in UDP_TIMEOUTS:
            for piece in pieces:
                sock.send(piece)
            sock.settimeout(timeout)
            answer = receive_pieces(sock, envelope.request)
            if answer is not None:
                return answer
    raise TimeoutError(f"no answer over UDP from {line.address} port {line.handle_port}")


def cut(envelope: Envelope, message: bytes) -> list[bytes]:
    """Datagrams of at most 512 octets."""
    if len(message) <= PIECE:
        return [envelope.pack() + message]
    several = replace(envelope, flags=envelope.flags | TRUNCATED)
    starts = range(0, len(message), PIECE)
    return [
        replace(several, sequence=number).pack() + message[start : start + PIECE]
        for number, start in enumerate(starts)
    ]


def receive_pieces(sock: socket.socket, request_id: int) -> tuple[Envelope, bytes] | None:
    """A whole answer, in whatever order its pieces come; None when the time is over."""
    pieces: dict[int, bytes] = {}
    while True:
        try:
            datagram = sock.recv(65536)
        except TimeoutError:
            return None
        assert len(datagram) <= 512, f"a datagram of {len(datagram)} octets"
        envelope = Envelope.read(datagram)
        if envelope.request != request_id:
            continue
        pieces[envelope.sequence] = datagram[20:]
        count = max(1, -(-envelope.length // PIECE))
        if len(pieces) == count:
            assert all(len(pieces[n]) == PIECE for n in range(count - 1))
            message = b"".join(pieces[n] for n in range(count))
            assert len(message) == envelope.length
            return envelope, message


def exchange_stream(
    line: Line, envelope: Envelope, message: bytes, opened: Opener
) -> Iterator[Answer]:
    tunnelled = line.transport in ("http", "https")
    port = line.http_port if tunnelled else line.handle_port
    octets = envelope.pack() + message
    with closing(connect(line, port)) as sock, sock.makefile("rb") as stream:
        sock.sendall(http_head(line, message, octets) + octets if tunnelled else octets)
        if tunnelled:
            line.http_head = b"".join(iter(stream.readline, b"\r\n"))
        more = True
        while more:
            answer = read_answer(stream, opened)
            more = bool(answer.flags & CONT)
            yield answer


def connect(line: Line, port: int) -> socket.socket:
    sock = socket.create_connection((line.address, port), line.timeout)
    return wrap(line, sock) if line.transport == "https" else sock


def wrap(line: Line, sock: socket.socket) -> ssl.SSLSocket:
    """TLS as the stock client checks it: the certificate's key is the site's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    wrapped = context.wrap_socket(sock)
    octets = wrapped.getpeercert(binary_form=True)
    assert octets is not None
    shown = load_der_x509_certificate(octets).public_key()
    if line.server_key is not None:
        form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        assert shown.public_bytes(*form) == line.server_key.public_bytes(*form)
    return wrapped


def http_head(line: Line, message: bytes, octets: bytes) -> bytes:
    """The stock client's request head; it names the handle where the message begins with one.

    Later releases speak HTTP/1.1, and read the answer no differently: no chunks, no lengths.
    """
    try:
        handle = Cursor(message[24:]).str()
    except AssertionError:
        handle = b""
    kind = f"Accept: {TUNNEL_TYPE}\r\nContent-Type: {TUNNEL_TYPE}\r\n"
    if line.http_version == "1.1":
        kind = f"Host: {line.address}:{line.http_port}\r\nUser-Agent: CNRI-HCL 2.0\r\n{kind}"
    first = f"POST /{quote_from_bytes(handle, safe='')} HTTP/{line.http_version}"
    return f"{first}\r\n{kind}Content-Length: {len(octets)}\r\n\r\n".encode()


def read_answer(stream: BinaryIO, opened: Opener) -> Answer:
    head = stream.read(20)
    assert len(head) == 20, f"the server closed after {len(head)} octets"
    envelope = Envelope.read(head)
    message = stream.read(envelope.length)
    assert len(message) == envelope.length, f"{len(message)} octets of {envelope.length}"
    return opened(envelope, message)
