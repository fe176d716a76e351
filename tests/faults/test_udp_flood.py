"""A flood of datagrams: whoever asks over another transport is answered, the node stays healthy.

Run for each fast path, and without: the flood is made of look-ups that it answers, and of others.
"""

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from protocol.codes import ResponseCode
from protocol.message import decode_message
from resolver.fastpath import VARIABLE, Choice
from resolver.udp import FLUSH_S
from tests.faults.wire_client import (
    Connection,
    administrator,
    ask_tcp,
    ask_udp,
    data_of,
    expected_data,
    look_up,
    read_answer,
    resolution,
)
from tests.nodes import Node, make_node, running, wait_until
from tests.resolver.two_paths import CHOICES

PATIENCE_S = 2.0
FLOOD_S = 2.0
DATAGRAMS = 500


@pytest.fixture(scope="module", params=CHOICES)
def node(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Node]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, Choice(request.param).value)
        with running(make_node(tmp_path_factory.mktemp("node"))) as node:
            with Connection(node.address) as connection:
                answer = connection.register(administrator(node), "first")
            assert answer.code == ResponseCode.SUCCESS
            yield node


@contextmanager
def flood(node: Node, datagrams: list[bytes]) -> Iterator[None]:
    """Send for as long as the block lasts, never reading an answer."""
    over = threading.Event()

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(node.address)
            while not over.is_set():
                for datagram in datagrams:
                    sock.send(datagram)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        over.set()
        sender.join()


@pytest.mark.parametrize("handle", [b"88/first", b"88/none"])
def test_others_are_answered_meanwhile(node: Node, handle: bytes) -> None:
    admin = administrator(node)
    name = f"meanwhile-{handle.decode()[3:]}"
    workers = node.worker_pids()
    datagrams = [resolution(handle).encode() for _ in range(20)]
    with flood(node, [*datagrams, b"garbage"]):
        until_s = time.monotonic() + FLOOD_S
        with Connection(node.address, PATIENCE_S) as connection:
            assert connection.register(admin, name).code == ResponseCode.SUCCESS
        while time.monotonic() < until_s:
            assert look_up(node.address, b"88/first", PATIENCE_S).code == ResponseCode.SUCCESS
            answer = node.get("/api/handles/88/first", timeout_s=PATIENCE_S)
            assert answer.status == 200
    assert node.worker_pids() == workers
    written = f"88/{name}".encode()

    def is_answered() -> bool:
        try:
            found = read_answer(ask_udp(node.address, resolution(written), 0.5))
        except TimeoutError:
            return False  # behind what is left of the flood
        return data_of(found.body) == expected_data(name)

    wait_until(is_answered, "UDP is answered again", 10.0)


def test_every_transport_says_the_same(node: Node) -> None:
    request = resolution(b"88/FIRST")
    over_udp, over_tcp = ask_udp(node.address, request), ask_tcp(node.address, request)
    assert over_udp.body == over_tcp.body
    assert over_udp.envelope == over_tcp.envelope
    assert abs(over_udp.header.expiration - over_tcp.header.expiration) <= PATIENCE_S


def answers_counted(node: Node) -> int:
    page = node.get("/metrics").body.decode()
    pattern = r'^biaoshi_requests_total\{(?=.*"success")(?=.*"udp").*\} ([0-9.e+]+)$'
    return sum(int(float(number)) for number in re.findall(pattern, page, re.MULTILINE))


def settled_count(node: Node) -> int:
    """The count once nothing of earlier tests is on its way into it."""
    counts = [answers_counted(node)]

    def is_settled() -> bool:
        time.sleep(2 * FLUSH_S)
        counts.append(answers_counted(node))
        return counts[-1] == counts[-2]

    wait_until(is_settled, "the count stands still", 10.0)
    return counts[-1]


def test_every_answer_is_counted(node: Node) -> None:
    before = settled_count(node)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE_S)
        sock.connect(node.address)
        for number in range(DATAGRAMS):
            sock.send(resolution(b"88/first").encode())
            if number % 50 == 49:  # no more than any buffer holds
                for _ in range(50):
                    assert decode_message(sock.recv(512)).header.response_code == 1
    assert settled_count(node) == before + DATAGRAMS
