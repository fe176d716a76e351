"""Moving one request to one server and its answer back, over UDP or TCP.

    UDP    a connected socket of its own for each exchange, so the kernel picks a random port and
           drops what others send; the request again after 500 and 1,500 ms; at 3,000 ms it is over
    TCP    envelope and message, nothing between; messages follow while CONT is set
    HTTP   as over TCP, inside a POST: `http_tunnel`

Only octets are moved here: what an answer says, and whether it may be believed, is for `upstream`.
Runs on asyncio and uvloop alike. A datagram with a foreign request id is ignored (anybody can send
one); over TCP and HTTP it is the server's mistake and ends the exchange.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import NamedTuple

from protocol.codes import EnvelopeFlag, MessageFlag
from protocol.envelope import ENVELOPE_OCTETS, Envelope, decode_envelope
from protocol.errors import DecodeError, SecurityError
from protocol.framing import DATAGRAM_OCTETS_MAX, split_datagrams
from protocol.header import decode_header
from protocol.types.hs_site import TRANSPORT_HTTP, TRANSPORT_HTTPS, TRANSPORT_TCP, TRANSPORT_UDP

UDP_WAITS_S = (0.5, 1.0, 1.5)  # what existing clients use, so servers are tuned to it
PACKET_OCTETS = DATAGRAM_OCTETS_MAX - ENVELOPE_OCTETS
# Over 16 packets (7.8 KB) one lost packet in a hundred costs a whole resend; TCP is cheaper.
UDP_PACKETS_MAX = 16
DATAGRAM_READ_OCTETS = 65_535
TRANSPORT_NAMES = {
    TRANSPORT_UDP: "udp",
    TRANSPORT_TCP: "tcp",
    TRANSPORT_HTTP: "http",
    TRANSPORT_HTTPS: "https",
}


class ExchangeError(Exception):
    """No answer came back: refused, unreachable, closed early or too late."""


class NotSentError(ExchangeError):
    """No connection was made, so the server cannot have acted on the request."""


class AnswerTooLargeError(ExchangeError):
    """The answer does not suit UDP; ask over TCP."""


class Endpoint(NamedTuple):
    """One interface of one server; `public_key` is its HS_PUBKEY data, perhaps empty."""

    address: str
    port: int
    transport: int
    public_key: bytes = b""

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{TRANSPORT_NAMES.get(self.transport, self.transport)}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ExchangeLimits:
    """What one exchange may take at most."""

    connect_s: float = 3.0
    """Seconds for a connection to be made, TLS included."""
    silence_s: float = 10.0
    """Seconds without a whole message before a TCP or HTTP exchange is given up."""
    udp_waits_s: tuple[float, ...] = UDP_WAITS_S
    """Seconds to wait after each sending of the request's datagrams."""


async def exchange_udp(octets: bytes, endpoint: Endpoint, limits: ExchangeLimits) -> bytes:
    """Send a request and return the answer's envelope and message.

    Raises:
        ExchangeError: no answer within all waits, or the port is closed.
        AnswerTooLargeError: the answer takes more than 16 packets, or says it was truncated.
    """
    family = socket.AF_INET6 if ":" in endpoint.address else socket.AF_INET
    request_id = decode_envelope(octets).request_id
    datagrams = split_datagrams(octets)
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect((endpoint.address, endpoint.port))
            answer = PacketCollector(request_id)
            for wait_s in limits.udp_waits_s:
                for datagram in datagrams:
                    sock.send(datagram)
                received = await _collect(sock, answer, wait_s)
                if received is not None:
                    return received
    except OSError as error:
        raise ExchangeError(f"{endpoint}: {error.strerror or error}") from None
    raise ExchangeError(
        f"{endpoint}: no answer within {sum(limits.udp_waits_s):g} s, asked "
        f"{len(limits.udp_waits_s)} times"
    )


async def _collect(sock: socket.socket, answer: "PacketCollector", wait_s: float) -> bytes | None:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(wait_s):
            while True:
                datagram = await loop.sock_recv(sock, DATAGRAM_READ_OCTETS)
                received = answer.receive(datagram)
                if received is not None:
                    return received
    except TimeoutError:
        return None


class PacketCollector:
    """Puts one answer's packets together, whatever their order and repetition.

    A server's `Reassembler` serves thousands of strangers; this knows the one id it waits for.
    """

    def __init__(self, request_id: int) -> None:
        self._request_id = request_id
        self._envelope: Envelope | None = None
        self._packets: dict[int, bytes] = {}

    def receive(self, datagram: bytes) -> bytes | None:
        """Take a datagram; return envelope and message when it completes the answer.

        Raises:
            AnswerTooLargeError: announced longer than 16 packets, or flagged as truncated.
        """
        try:
            envelope = decode_envelope(datagram)
        except DecodeError:
            return None
        if envelope.request_id != self._request_id:
            return None
        packets = max(1, -(-envelope.length // PACKET_OCTETS))
        if packets > UDP_PACKETS_MAX or (packets == 1 and envelope.flags & EnvelopeFlag.TRUNCATED):
            raise AnswerTooLargeError(f"the answer has {envelope.length} octets, too many for UDP")
        if not self._fits(envelope, packets, len(datagram) - ENVELOPE_OCTETS):
            return None
        self._packets[envelope.sequence] = datagram[ENVELOPE_OCTETS:]
        if len(self._packets) < packets:
            return None
        payload = b"".join(self._packets[number] for number in range(packets))
        return envelope.with_packet(0, len(payload)).encode() + payload

    def _fits(self, envelope: Envelope, packets: int, octets: int) -> bool:
        """Say whether a packet has its place; another length than before starts afresh."""
        if self._envelope is None or self._envelope.length != envelope.length:
            self._envelope = envelope
            self._packets.clear()
        last = packets - 1
        expected = (
            PACKET_OCTETS if envelope.sequence < last else envelope.length - (PACKET_OCTETS * last)
        )
        return envelope.sequence <= last and octets == expected


async def stream_tcp(
    octets: bytes, endpoint: Endpoint, limits: ExchangeLimits
) -> AsyncGenerator[bytes, None]:
    """Send a request over a new connection and yield each message of the answer.

    Raises:
        ExchangeError: refused, closed early, or silent for too long.
        ProtocolError: octets that are no message, or another request's.
    """
    reader, writer = await connect(endpoint, limits, None)
    try:
        writer.write(octets)
        async for message in read_messages(reader, octets, endpoint, limits):
            yield message
    finally:
        writer.close()


async def connect(
    endpoint: Endpoint, limits: ExchangeLimits, context: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection, with TLS when a context is given. Raises: NotSentError."""
    try:
        async with asyncio.timeout(limits.connect_s):
            return await asyncio.open_connection(
                endpoint.address,
                endpoint.port,
                ssl=context,
                server_hostname=endpoint.address if context else None,
            )
    except TimeoutError:
        raise NotSentError(f"{endpoint}: no connection within {limits.connect_s:g} s") from None
    except OSError as error:
        raise NotSentError(f"{endpoint}: {error.strerror or error}") from None


async def read_messages(
    reader: asyncio.StreamReader, request: bytes, endpoint: Endpoint, limits: ExchangeLimits
) -> AsyncGenerator[bytes, None]:
    """Yield messages until one comes without CONT.

    Raises:
        ExchangeError: closed early or silent for too long.
        ProtocolError: octets that are no message, or another request's.
    """
    request_id = decode_envelope(request).request_id
    more = True
    while more:
        head = await _read(reader, ENVELOPE_OCTETS, endpoint, limits)
        envelope = decode_envelope(head)
        if envelope.request_id != request_id:
            raise SecurityError(
                f"{endpoint} answered request {envelope.request_id}, asked was {request_id}"
            )
        payload = await _read(reader, envelope.length, endpoint, limits)
        more = not envelope.is_encrypted and decode_header(payload)[0].has(MessageFlag.CONTINUOUS)
        yield head + payload


async def _read(
    reader: asyncio.StreamReader, count: int, endpoint: Endpoint, limits: ExchangeLimits
) -> bytes:
    try:
        async with asyncio.timeout(limits.silence_s):
            return await reader.readexactly(count)
    except TimeoutError:
        raise ExchangeError(f"{endpoint}: silent for {limits.silence_s:g} s") from None
    except asyncio.IncompleteReadError as error:
        raise ExchangeError(
            f"{endpoint}: closed after {len(error.partial)} of {count} octets"
        ) from None
    except OSError as error:
        raise ExchangeError(f"{endpoint}: {error.strerror or error}") from None
