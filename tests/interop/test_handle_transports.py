"""The transports one by one: UDP in pieces, TCP pipelined, the tunnel; and what is no request."""

import re
import socket

import pytest

from tests.interop import foreign_wire as wire
from tests.interop.conftest import TRANSPORTS, Stand, url
from tests.interop.foreign_client import QUERY_FLAGS, resolution_body
from tests.interop.foreign_transport import cut, receive_pieces
from tests.interop.foreign_wire import Envelope, pack_str

HANDLE = pack_str(b"88/X")


# UDP


def test_a_large_answer_comes_in_pieces_over_udp(top: Stand, large: bytes) -> None:
    values = top.client.speaking(transport="udp").resolve(large, (b"PART",)).values
    assert [value.data for value in values] == [bytes([i]) * 400 for i in range(1, 41)]


def test_a_large_request_comes_in_pieces_over_udp(top: Stand, record: bytes) -> None:
    types = (b"URL", *[b"%050d" % n for n in range(60)])
    answer = top.client.speaking(transport="udp").resolve(record, types, flags=wire.RRDG)
    assert [value.index for value in answer.values] == [3, 1]


@pytest.mark.parametrize("order", [(2, 1, 0), (0, 0, 2, 1, 1)])
def test_pieces_may_come_in_any_order_and_twice(
    top: Stand, record: bytes, order: tuple[int, ...]
) -> None:
    types = (b"URL", *[b"%032d" % n for n in range(30)])
    message = wire.pack_message(1, resolution_body(record, types), QUERY_FLAGS) + bytes(4)
    pieces = cut(Envelope((2, 10), 0, (2, 10), 0, 4712, 0, len(message)), message)
    assert len(pieces) == 3
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(top.node.address)
        sock.settimeout(3)
        for position in order:
            sock.send(pieces[position])
        answer = receive_pieces(sock, 4712)
    assert answer is not None
    assert wire.Answer(*answer).code == 1


def test_administration_over_udp_is_refused(top: Stand) -> None:
    answer = top.client.speaking(transport="udp").create(top.fresh(), [url()], top.admin)
    assert (answer.opcode, answer.code) == (wire.CREATE, 4)
    assert answer.text == "Received admin request on non-admin interface"


# TCP


def test_tcp_connections_are_kept_and_pipelined(top: Stand, record: bytes) -> None:
    message = wire.pack_message(1, resolution_body(record, (b"URL",)), QUERY_FLAGS) + bytes(4)
    requests = [
        Envelope((2, 10), 0, (2, 10), 0, number, 0, len(message)).pack() + message
        for number in range(1, 51)
    ]
    with socket.create_connection(top.node.address, 5) as sock, sock.makefile("rb") as stream:
        sock.sendall(b"".join(requests))
        for number in range(1, 51):
            envelope = Envelope.read(stream.read(20))
            assert envelope.request == number
            assert wire.Answer(envelope, stream.read(envelope.length)).code == 1


def test_octets_may_come_one_by_one(top: Stand, record: bytes) -> None:
    message = wire.pack_message(1, resolution_body(record, (b"URL",)), QUERY_FLAGS) + bytes(4)
    octets = Envelope((2, 10), 0, (2, 10), 0, 9, 0, len(message)).pack() + message
    with socket.create_connection(top.node.address, 5) as sock, sock.makefile("rb") as stream:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in octets:
            sock.send(bytes([octet]))
        assert Envelope.read(stream.read(20)).request == 9


# The HTTP tunnel


@pytest.mark.parametrize("transport", ["http", "https"])
def test_the_tunnel_answers_what_the_stock_client_reads(
    top: Stand, large: bytes, transport: str
) -> None:
    client = top.client.speaking(transport=transport)
    assert len(client.resolve(large).values) == 41
    status, *lines = client.http_head.decode("ascii").lower().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines if line)
    assert re.match(r"http/1\.[01] 200 ", status)
    assert headers["content-type"] == "application/x-hdl-message"
    assert "transfer-encoding" not in headers


def test_the_tunnel_bears_line_ends_before_the_envelope(top: Stand, record: bytes) -> None:
    message = wire.pack_message(1, resolution_body(record, (b"URL",)), QUERY_FLAGS) + bytes(4)
    octets = b"\r\n" + Envelope((2, 10), 0, (2, 10), 0, 9, 0, len(message)).pack() + message
    kind = b"Accept: application/x-hdl-message\r\nContent-Type: application/x-hdl-message\r\n"
    head = b"POST / HTTP/1.0\r\n%bContent-Length: %d\r\n\r\n" % (kind, len(octets))
    with socket.create_connection(top.node.http_address, 5) as sock, sock.makefile("rb") as stream:
        sock.sendall(head + octets)
        assert b" 200 " in stream.readline()
        while stream.readline() != b"\r\n":
            pass
        assert Envelope.read(stream.read(20)).request == 9


# What is not a request


def raw_exchange(top: Stand, octets: bytes) -> bytes:
    """What comes back over TCP until the server closes or says nothing for a second."""
    with socket.create_connection(top.node.address, 5) as sock:
        sock.settimeout(1)
        sock.sendall(octets)
        try:
            return sock.recv(65536)
        except (TimeoutError, ConnectionError):
            return b""


@pytest.mark.parametrize(("opcode", "code", "echoed"), [(0, 4, 0), (999, 2, 0)])
def test_opcodes_that_mean_nothing(top: Stand, opcode: int, code: int, echoed: int) -> None:
    for transport in TRANSPORTS:
        answer = top.client.speaking(transport=transport).ask(opcode, pack_str(b"88/X"))
        assert (answer.code, answer.opcode) == (code, echoed), transport


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x7f\xff\xff\xff",
        pack_str(b"88/X") + b"\xff\xff\xff\xff",
        pack_str(b"88/X") + b"\0\0",
    ],
)
def test_a_body_that_is_cut_short_or_contradicts_itself(
    top: Stand, record: bytes, body: bytes
) -> None:
    for transport in TRANSPORTS:
        answer = top.client.speaking(transport=transport).ask(1, body)
        assert answer.code in (2, 4), transport
        assert answer.text


def test_an_envelope_that_promises_too_much(top: Stand, record: bytes) -> None:
    octets = Envelope((2, 10), 0, (2, 10), 0, 9, 0, 262_145).pack()
    answer = raw_exchange(top, octets + bytes(100))
    assert answer == b"" or wire.Answer(Envelope.read(answer), answer[20:]).code in (2, 4)
    assert top.client.resolve(record).code == 1


def test_garbage_harms_nobody(top: Stand, record: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(top.node.address)
        for octets in (b"", b"\0", bytes(20), b"\xff" * 512, b"GET / HTTP/1.1\r\n\r\n", bytes(600)):
            sock.send(octets)
    for octets in (b"\xff" * 600, bytes(100), b"GET / HTTP/1.1\r\n\r\n"):
        raw_exchange(top, octets)
    for transport in TRANSPORTS:
        assert top.client.speaking(transport=transport).resolve(record).code == 1
