"""Strangers who begin and never end: nobody else waits for them, and they are cut in the end.

Whoever asks meanwhile has less patience than any time the node holds an incomplete thing, so an
answer that had to wait for one of them would come too late.
"""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from protocol.bodies import ResolutionRequest
from protocol.codes import MessageFlag, OpCode, ResponseCode
from protocol.framing import split_datagrams
from protocol.message import Message, decode_message
from tests.faults.wire_client import (
    Connection,
    administrator,
    ask_tcp,
    ask_udp,
    look_up,
    make_request,
    read_answer,
    resolution,
    site_info,
)
from tests.nodes import Node, Tables, make_node, running, wait_until

HOLD_S = 4  # every time the node waits for a stranger
PATIENCE_S = 2.0  # of the others
# A connection for which the kernel's queue has no room is tried again after 1 s: too late.
CONNECT_PATIENCE_S = 0.9
CUT_WITHIN_S = HOLD_S + 6.0
FRAGMENTS = 300
IDLE = 230
PER_ADDRESS_MAX = 500
EXCESS = 50
OTHER_ADDRESS = "127.0.0.2"
INCOMPLETE_PER_ADDRESS_MAX = 64
ROUNDS = 10
HANDLE = b"88/short"

LIMITS: Tables = {
    "limits": {
        "idle_timeout_s": HOLD_S,
        "message_timeout_s": HOLD_S,
        "http_head_timeout_s": HOLD_S,
        "http_body_timeout_s": HOLD_S,
        "tls_handshake_timeout_s": HOLD_S,
        "incomplete_timeout_s": HOLD_S,
        "incomplete_messages_per_address_max": INCOMPLETE_PER_ADDRESS_MAX,
        "incomplete_messages_max": 128,
        "connections_per_address_max": PER_ADDRESS_MAX,
        "connections_max": 2 * PER_ADDRESS_MAX,
    }
}


@pytest.fixture(scope="module")
def node(module_folder: Path) -> Iterator[Node]:
    with running(make_node(module_folder / "node", tables=LIMITS)) as node:
        with Connection(node.address) as connection:
            answer = connection.register(administrator(node), "short")
        assert answer.code == ResponseCode.SUCCESS
        yield node


def long_request() -> Message:
    """A resolution that needs two datagrams."""
    body = ResolutionRequest(HANDLE, (), tuple(b"TYPE%03d" % number for number in range(60)))
    return make_request(OpCode.RESOLUTION, body, MessageFlag.PUBLIC_ONLY)


def pieces_of(request: Message) -> list[bytes]:
    pieces = split_datagrams(request.encode(), mark_truncated=True)
    assert len(pieces) == 2
    return pieces


def ask_in_pieces(node: Node) -> int:
    """Resolve with a request of two datagrams; return the response code."""
    request = long_request()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE_S)
        sock.connect(node.address)
        for piece in pieces_of(request):
            sock.send(piece)
        answer = decode_message(sock.recv(512))
    assert answer.envelope.request_id == request.envelope.request_id
    return answer.header.response_code


def check_others_are_served(node: Node) -> None:
    """Ask over every transport, several times, with little patience."""
    for _ in range(ROUNDS):
        started_s = time.monotonic()
        code = read_answer(ask_udp(node.address, resolution(HANDLE), PATIENCE_S)).code
        assert code == ResponseCode.SUCCESS
        assert look_up(node.address, HANDLE, PATIENCE_S).code == ResponseCode.SUCCESS
        answer = node.get("/api/handles/88/short", timeout_s=PATIENCE_S)
        assert answer.json["responseCode"] == ResponseCode.SUCCESS
        assert time.monotonic() - started_s < PATIENCE_S


@contextmanager
def idle_connections(
    address: tuple[str, int], count: int, first: bytes
) -> Iterator[list[socket.socket]]:
    """Open connections that send `first` and then nothing."""
    with ExitStack() as stack:
        opened = []
        for _ in range(count):
            sock = stack.enter_context(socket.create_connection(address, CONNECT_PATIENCE_S))
            if first:
                sock.sendall(first)
            opened.append(sock)
        yield opened


def is_cut(sock: socket.socket) -> bool:
    """Say whether the node closed this connection; never waits."""
    sock.setblocking(False)
    try:
        while True:
            if not sock.recv(4_096):
                return True
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_first_fragments_without_a_second_delay_nobody(node: Node) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.connect(node.address)
        for _ in range(FRAGMENTS):
            stranger.send(pieces_of(long_request())[0])
        check_others_are_served(node)
        for _ in range(ROUNDS):
            # From the very address that holds all it may: its oldest had to make room.
            assert ask_in_pieces(node) == ResponseCode.VALUES_NOT_FOUND


def test_incomplete_messages_are_bounded(node: Node) -> None:
    # A first piece whose second brings no answer was dropped: so one sees what is held.
    requests = [long_request() for _ in range(FRAGMENTS)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.connect(node.address)
        for request in requests:
            stranger.send(pieces_of(request)[0])
        check_others_are_served(node)  # by then all of them have been read
        for request in reversed(requests):
            stranger.send(pieces_of(request)[1])
        assert answers_within(stranger, PATIENCE_S / 4) == INCOMPLETE_PER_ADDRESS_MAX


def test_incomplete_message_is_forgotten_in_time(node: Node) -> None:
    requests = iter([long_request() for _ in range(INCOMPLETE_PER_ADDRESS_MAX // 2)])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.connect(node.address)
        started_s = time.monotonic()
        waiting = list(requests)
        for request in waiting:
            stranger.send(pieces_of(request)[0])

        def is_forgotten() -> bool:
            stranger.send(pieces_of(waiting.pop())[1])
            return answers_within(stranger, 0.2) == 0

        assert not is_forgotten()
        wait_until(is_forgotten, "an incomplete message is forgotten", CUT_WITHIN_S, 0.3)
        assert time.monotonic() - started_s > HOLD_S - 1


def answers_within(sock: socket.socket, seconds: float) -> int:
    """Count the answers until none comes for `seconds`."""
    sock.settimeout(seconds)
    count = 0
    while True:
        try:
            sock.recv(512)
        except TimeoutError:
            return count
        count += 1


@pytest.mark.parametrize(
    ("transport", "first"),
    [
        ("handle", b""),
        ("handle", site_info().encode()[:30]),
        ("http", b""),
        ("http", b"GET /api/handles/88/short HTTP/1.1\r\nHost: x\r\nX-Slow: "),
        ("http", b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf"),
        ("http", b"\x16\x03\x01"),
    ],
    ids=[
        "silent",
        "half a message",
        "silent http",
        "slow headers",
        "slow body",
        "half a TLS hello",
    ],
)
def test_idle_connections_delay_nobody_and_are_cut(
    node: Node, transport: str, first: bytes
) -> None:
    address = node.address if transport == "handle" else node.http_address
    with idle_connections(address, IDLE, first) as idle:
        check_others_are_served(node)
        assert sum(map(is_cut, idle)) == 0, "cut before their time"
        wait_until(lambda: all(map(is_cut, idle)), f"all {transport} cut", CUT_WITHIN_S, 0.2)
    check_others_are_served(node)


def test_both_floods_at_once_delay_nobody(node: Node) -> None:
    with (
        idle_connections(node.address, IDLE, b""),
        idle_connections(node.http_address, IDLE, b"GET / HTTP/1.1\r\n"),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger,
    ):
        stranger.connect(node.address)
        for _ in range(FRAGMENTS):
            stranger.send(pieces_of(long_request())[0])
        check_others_are_served(node)


def are_forgotten(node: Node) -> bool:
    """Say whether the node holds no connection but the one that asks."""
    try:
        return node.metric("biaoshi_connections") <= 1
    except OSError:
        return False  # as many as may be are still held: the one that asks is refused


def test_connections_are_bounded_per_address(node: Node) -> None:
    wait_until(lambda: are_forgotten(node), "earlier ones are forgotten", 10)
    refused_before = node.metric("biaoshi_refused_total")
    with idle_connections(node.address, PER_ADDRESS_MAX + EXCESS, b"") as opened:
        wait_until(lambda: sum(map(is_cut, opened)) == EXCESS, "those beyond the limit are closed")
        with Connection(node.address, PATIENCE_S, source=OTHER_ADDRESS) as elsewhere:
            assert elsewhere.ask(site_info()).header.response_code == ResponseCode.SUCCESS
    wait_until(lambda: are_forgotten(node), "all are forgotten", 10)
    assert node.metric("biaoshi_refused_total") - refused_before >= EXCESS


def test_slow_message_is_cut_though_octets_keep_coming(node: Node) -> None:
    octets = site_info().encode()
    with Connection(node.address) as slow:
        sent = 0
        started_s = time.monotonic()

        def drip() -> bool:
            nonlocal sent
            if time.monotonic() - started_s > sent:  # one octet a second
                try:
                    slow.send(octets[sent : sent + 1])
                except OSError:
                    return True
                sent += 1
            return is_cut(slow.socket)

        wait_until(drip, "the slow message is cut", CUT_WITHIN_S, 0.05)
        assert sent < len(octets)
    assert read_answer(ask_tcp(node.address, site_info())).code == ResponseCode.SUCCESS
