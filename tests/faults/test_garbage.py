"""Octets that are no message, or contradict themselves, over UDP, TCP and the tunnel.

What comes back is the documented error answer or nothing; what must not come is a dead process, a
traceback, memory that grows, or a wrong answer to the next honest client.
"""

import random
import struct

import psutil
import pytest

from protocol.bodies import ResolutionRequest, UnknownBody
from protocol.codes import MessageFlag, OpCode, ResponseCode
from protocol.envelope import ENVELOPE_OCTETS
from tests.faults.garbage import (
    SEED,
    check_stream,
    contradictions,
    flood_udp,
    mutate,
    mutate_http,
    recorded,
    send_tcp,
    tunnel,
)
from tests.faults.wire_client import ask_tcp, make_request, resolution
from tests.nodes import Node, wait_until

UDP_CASES = 6_000
TCP_CASES = 1_500
TUNNEL_CASES = 600
HTTP_CASES = 600
# After a first round has filled caches and pools, further ones must not need more than this.
GROWTH_OCTETS_MAX = 8 * 1_048_576

pytestmark = pytest.mark.usefixtures("no_harm")


def resident_octets(node: Node) -> int:
    return sum(child.memory_info().rss for child in node.children)


def throw_everything(node: Node, seed: int) -> None:
    """All kinds of garbage over all transports once."""
    chance = random.Random(seed)
    messages = recorded()
    flood_udp(node, [mutate(chance.choice(messages), chance) for _ in range(UDP_CASES)])
    for _ in range(TCP_CASES // 2):
        send_tcp(node.address, mutate(chance.choice(messages), chance))
    for _ in range(HTTP_CASES // 2):
        send_tcp(node.http_address, mutate_http(chance))


def test_garbage_over_udp_is_answered_or_ignored(garbled_node: Node) -> None:
    chance = random.Random(SEED)
    messages = recorded()
    cases = [mutate(chance.choice(messages), chance) for _ in range(UDP_CASES)]
    assert flood_udp(garbled_node, contradictions()) > 0
    answers = flood_udp(garbled_node, [*cases, b"", b"\0", bytes(511), bytes(60_000)])
    assert answers > UDP_CASES // 10, "most of what can be read has to be answered"


def test_fragments_that_contradict_each_other_are_ignored(garbled_node: Node) -> None:
    chance = random.Random(SEED)
    long = make_request(
        OpCode.RESOLUTION, ResolutionRequest(b"88/honest", (), (b"T" * 500, b"U" * 500))
    ).encode()
    cases = []
    for _ in range(1_000):
        sequence = chance.choice((0, 1, 2, 3, 600, 2**31 - 1, -1))
        length = chance.choice((len(long) - 20, 100, 493, 262_144, 262_145, 0, -1))
        piece = long[20 : 20 + chance.choice((0, 1, 100, 491, 492))]
        envelope = long[:8] + struct.pack(">iii", chance.randint(1, 5), sequence, length)
        cases.append(envelope + piece)
    flood_udp(garbled_node, cases)


def test_garbage_over_tcp_is_answered_or_closed(garbled_node: Node) -> None:
    chance = random.Random(SEED)
    messages = recorded()
    answers = 0
    for octets in contradictions():
        answers += check_stream(send_tcp(garbled_node.address, octets))
    for _ in range(TCP_CASES):
        answers += check_stream(
            send_tcp(garbled_node.address, mutate(chance.choice(messages), chance))
        )
    assert answers > TCP_CASES // 10


def test_garbage_between_pipelined_requests_spoils_nothing_before_it(garbled_node: Node) -> None:
    good = resolution(b"88/honest").encode()
    too_long = good[:16] + struct.pack(">i", 262_145) + good[20:]
    assert check_stream(send_tcp(garbled_node.address, good * 3 + too_long + good * 3)) == 3
    undecodable = good[: ENVELOPE_OCTETS + 20] + struct.pack(">i", 9_999) + good[44:]
    assert check_stream(send_tcp(garbled_node.address, good + undecodable + good)) == 3


def test_responses_and_own_answers_sent_back_are_not_answered(garbled_node: Node) -> None:
    # Or two nodes could be made to answer each other without end.
    answer = ask_tcp(garbled_node.address, resolution(b"88/honest")).encode()
    assert send_tcp(garbled_node.address, answer) == b""
    assert flood_udp(garbled_node, [answer]) == 0


def test_documented_codes_for_readable_mistakes(garbled_node: Node) -> None:
    def code(opcode: int, octets: bytes) -> int:
        request = make_request(opcode, UnknownBody(octets), MessageFlag.PUBLIC_ONLY)
        return ask_tcp(garbled_node.address, request).header.response_code

    assert code(0, b"") == ResponseCode.PROTOCOL_ERROR
    assert code(77, b"") == ResponseCode.ERROR
    assert code(OpCode.RESOLUTION, b"\0\0\0\x09short") == ResponseCode.PROTOCOL_ERROR
    assert code(OpCode.CREATE_HANDLE, b"\0") == ResponseCode.PROTOCOL_ERROR
    assert code(OpCode.RESPONSE_TO_CHALLENGE, b"\xff" * 9) == ResponseCode.PROTOCOL_ERROR


def test_garbage_in_the_tunnel_is_answered(garbled_node: Node) -> None:
    chance = random.Random(SEED)
    messages = recorded()
    cases = contradictions() + [
        mutate(chance.choice(messages), chance) for _ in range(TUNNEL_CASES)
    ]
    for octets in cases:
        status, body = tunnel(garbled_node, octets)
        assert status in (200, 400, 413), (status, octets)
        if status == 200:
            check_stream(body)


def test_memory_does_not_grow_with_garbage(garbled_node: Node) -> None:
    throw_everything(garbled_node, SEED + 1)
    before = resident_octets(garbled_node)
    for number in range(3):
        throw_everything(garbled_node, SEED + 2 + number)
    wait_until(
        lambda: resident_octets(garbled_node) - before < GROWTH_OCTETS_MAX,
        f"memory back under {before} + {GROWTH_OCTETS_MAX}",
    )


def test_open_files_do_not_grow_with_garbage(garbled_node: Node) -> None:
    (worker,) = garbled_node.worker_pids()
    wait_until(
        lambda: garbled_node.metric("biaoshi_connections") <= 1, "all connections are forgotten"
    )
    before = psutil.Process(worker).num_fds()
    for octets in contradictions():
        send_tcp(garbled_node.address, octets)
        send_tcp(garbled_node.http_address, octets)
    wait_until(lambda: psutil.Process(worker).num_fds() <= before + 1, "descriptors are closed")
