"""Octets that are no message, or contradict themselves, over every transport.

What comes back is the documented error answer or nothing; what must not come is a dead process, a
traceback, memory that grows, or a wrong answer to the next honest client. Everything is seeded.
"""

import contextlib
import http.client
import json
import random
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from protocol.bodies import HandleRequest, ResolutionRequest, UnknownBody
from protocol.codes import MessageFlag, OpCode, ResponseCode
from protocol.envelope import ENVELOPE_OCTETS, decode_envelope
from protocol.message import decode_message
from tests.faults.rest_client import RestSession
from tests.faults.wire_client import (
    TUNNEL_TYPE,
    Address,
    Connection,
    administrator,
    ask_tcp,
    ask_udp,
    data_of,
    expected_data,
    look_up,
    make_request,
    read_answer,
    resolution,
)
from tests.nodes import HttpAnswer, Node, Tables, make_node, running, wait_until

SEED = 20261121
VECTORS = Path(__file__).parents[1] / "vectors" / "messages.jsonl"
UDP_CASES = 6_000
TCP_CASES = 1_500
TUNNEL_CASES = 600
HTTP_CASES = 600
TIMEOUT_S = 5.0
# After a first round has filled caches and pools, further ones must not need more than this.
GROWTH_OCTETS_MAX = 8 * 1_048_576
# A stranger must not fill the disk through the log: a few lines a kind and minute.
LOG_OCTETS_MAX = 65_536
BODY_OCTETS_MAX = 200_000
EXTREMES = (0, 1, -1, 20, 492, 1 << 20, (1 << 20) + 1, 262_144, 262_145, 2**31 - 1, -(2**31))

TABLES: Tables = {
    "limits": {"http_body_octets_max": BODY_OCTETS_MAX},
    "tls": {"allow_plain_credentials_on_loopback": True},
}


@pytest.fixture(scope="module")
def node(module_folder: Path) -> Iterator[Node]:
    with running(make_node(module_folder / "node", tables=TABLES)) as node:
        with Connection(node.address) as connection:
            answer = connection.register(administrator(node), "honest")
        assert answer.code == ResponseCode.SUCCESS
        yield node


@pytest.fixture(autouse=True)
def unharmed(node: Node) -> Iterator[None]:
    """After every test: the same processes, no traceback, and right answers."""
    before = processes(node)
    seen = len(node.log)
    yield
    assert processes(node) == before, node.log_tail
    news = node.log[seen:]
    assert "Traceback" not in news, news[:4_000]
    assert len(news) < LOG_OCTETS_MAX, news[:4_000]
    check_honest_clients(node)


def processes(node: Node) -> tuple[int | None, list[int]]:
    return node.writer_pid(), node.worker_pids()


def check_honest_clients(node: Node) -> None:
    handle = b"88/honest"
    assert data_of(look_up(node.address, handle).body) == expected_data("honest")
    assert read_answer(ask_udp(node.address, resolution(handle))).code == ResponseCode.SUCCESS
    assert node.get("/api/handles/88/honest").json["responseCode"] == ResponseCode.SUCCESS
    status, octets = tunnel(node, resolution(handle).encode())
    assert status == 200
    assert data_of(read_answer(decode_message(octets)).body) == expected_data("honest")


def recorded() -> list[bytes]:
    """The octets of all recorded messages, requests and responses."""
    lines = VECTORS.read_text("utf-8").splitlines()
    return [bytes.fromhex(json.loads(line)["bytes"]) for line in lines]


def mutate(octets: bytes, chance: random.Random) -> bytes:
    """Damage a message in one of the ways that networks, bugs and people do."""
    damaged = bytearray(octets)
    kind = chance.randrange(6)
    if kind == 0:
        return octets[: chance.randrange(len(octets))]
    if kind == 1:
        for _ in range(chance.randint(1, 8)):
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    elif kind == 2:
        at = chance.randrange(len(damaged) - 3)
        damaged[at : at + 4] = struct.pack(">i", chance.choice(EXTREMES))
    elif kind == 3:
        # The envelope is true to what follows it, which is cut or too long.
        keep = chance.randrange(ENVELOPE_OCTETS, len(damaged))
        damaged[keep:] = chance.randbytes(chance.randrange(64))
        damaged[16:20] = struct.pack(">i", len(damaged) - ENVELOPE_OCTETS)
    elif kind == 4:
        at = chance.randrange(len(damaged))
        damaged[at:at] = chance.randbytes(chance.randint(1, 40))
    else:
        return chance.randbytes(chance.randint(1, 600))
    return bytes(damaged)


def contradictions() -> list[bytes]:
    """Messages each of which breaks one rule and keeps all others."""
    good = resolution(b"88/honest").encode()
    head = ENVELOPE_OCTETS
    made = [good[:16] + struct.pack(">i", length) + good[20:] for length in EXTREMES]
    made += [good[: head + 20] + struct.pack(">i", n) + good[head + 24 :] for n in EXTREMES]
    made += [
        make_request(OpCode.RESOLUTION, UnknownBody(struct.pack(">i", n) + b"88/x")).encode()
        for n in EXTREMES
    ]
    counts = [
        ResolutionRequest(b"88/honest").encode()[:-8] + struct.pack(">i", n) for n in EXTREMES
    ]
    made += [make_request(OpCode.RESOLUTION, UnknownBody(body)).encode() for body in counts]
    made += [
        make_request(code, HandleRequest(b"/")).encode() for code in (0, 7, 199, -5, 2**31 - 1)
    ]
    made += [make_request(OpCode.RESOLUTION, UnknownBody(b"")).encode()]
    made += [make_request(OpCode.RESOLUTION, ResolutionRequest(b"")).encode()]
    made += [make_request(OpCode.RESOLUTION, ResolutionRequest(b"x" * 3_000)).encode()]
    made += [make_request(OpCode.RESOLUTION, ResolutionRequest(b"88/\xff\xfe")).encode()]
    made += [bytes([9, 9]) + good[2:], bytes([2, 0]) + good[2:], bytes([5, 3]) + good[2:]]
    made += [good[:2] + bytes([flag | 2]) + good[3:] for flag in (0x80, 0x40, 0x20, 0xE0)]
    made += [good[:4] + struct.pack(">i", session) + good[8:] for session in (1, -1, 2**31 - 1)]
    made += [good[:8] + struct.pack(">i", request) + good[12:] for request in (0, -1)]
    made += [good[: head + 4] + struct.pack(">i", ResponseCode.SUCCESS) + good[head + 8 :]]
    return made


def check_answer(octets: bytes) -> None:
    """An answer to whatever it was: it decodes, and it is an answer."""
    envelope = decode_envelope(octets)
    if envelope.is_encrypted or len(octets) != ENVELOPE_OCTETS + envelope.length:
        return  # a piece of a longer one
    assert decode_message(octets).header.response_code != ResponseCode.REQUEST


def flood_udp(node: Node, cases: list[bytes]) -> int:
    """Send datagrams; return how many answers came, all of them checked."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(node.address)
        answers = 0
        for number, octets in enumerate(cases):
            sock.send(octets)
            if number % 50 == 49:
                answers += drain(sock, 0.0)
        return answers + drain(sock, 0.5)


def drain(sock: socket.socket, silence_s: float) -> int:
    sock.settimeout(silence_s)
    count = 0
    while True:
        try:
            octets = sock.recv(65_535)
        except (BlockingIOError, TimeoutError):
            return count
        assert len(octets) <= 512
        check_answer(octets)
        count += 1


def send_tcp(address: Address, octets: bytes) -> bytes:
    """Send octets and no more; return all that comes until the node closes, which it has to."""
    with socket.create_connection(address, TIMEOUT_S) as sock:
        received = b""
        try:
            sock.sendall(octets)
            sock.shutdown(socket.SHUT_WR)
            while part := sock.recv(65_536):
                received += part
        except (ConnectionResetError, BrokenPipeError):
            pass
        return received


def check_stream(octets: bytes) -> int:
    """Every octet received belongs to a whole answer; return how many there are."""
    count = 0
    while octets:
        end = ENVELOPE_OCTETS + decode_envelope(octets).length
        assert len(octets) >= end, "an answer was cut"
        check_answer(octets[:end])
        octets = octets[end:]
        count += 1
    return count


def tunnel(node: Node, octets: bytes) -> tuple[int, bytes]:
    answer = node.http(
        "POST",
        "/88/honest",
        octets,
        {"Accept": TUNNEL_TYPE, "Content-Type": TUNNEL_TYPE},
        timeout_s=TIMEOUT_S,
    )
    return answer.status, answer.body


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


def test_garbage_over_udp_is_answered_or_ignored(node: Node) -> None:
    chance = random.Random(SEED)
    messages = recorded()
    cases = [mutate(chance.choice(messages), chance) for _ in range(UDP_CASES)]
    assert flood_udp(node, contradictions()) > 0
    answers = flood_udp(node, [*cases, b"", b"\0", bytes(511), bytes(60_000)])
    assert answers > UDP_CASES // 10, "most of what can be read has to be answered"


def test_fragments_that_contradict_each_other_are_ignored(node: Node) -> None:
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
    flood_udp(node, cases)


def test_garbage_over_tcp_is_answered_or_closed(node: Node) -> None:
    chance = random.Random(SEED)
    messages = recorded()
    answers = 0
    for octets in contradictions():
        answers += check_stream(send_tcp(node.address, octets))
    for _ in range(TCP_CASES):
        answers += check_stream(send_tcp(node.address, mutate(chance.choice(messages), chance)))
    assert answers > TCP_CASES // 10


def test_garbage_between_pipelined_requests_spoils_nothing_before_it(node: Node) -> None:
    good = resolution(b"88/honest").encode()
    too_long = good[:16] + struct.pack(">i", 262_145) + good[20:]
    assert check_stream(send_tcp(node.address, good * 3 + too_long + good * 3)) == 3
    undecodable = good[: ENVELOPE_OCTETS + 20] + struct.pack(">i", 9_999) + good[44:]
    assert check_stream(send_tcp(node.address, good + undecodable + good)) == 3


def test_responses_and_own_answers_sent_back_are_not_answered(node: Node) -> None:
    # Or two nodes could be made to answer each other without end.
    answer = ask_tcp(node.address, resolution(b"88/honest")).encode()
    assert send_tcp(node.address, answer) == b""
    assert flood_udp(node, [answer]) == 0


def test_documented_codes_for_readable_mistakes(node: Node) -> None:
    def code(opcode: int, octets: bytes) -> int:
        request = make_request(opcode, UnknownBody(octets), MessageFlag.PUBLIC_ONLY)
        return ask_tcp(node.address, request).header.response_code

    assert code(0, b"") == ResponseCode.PROTOCOL_ERROR
    assert code(77, b"") == ResponseCode.ERROR
    assert code(OpCode.RESOLUTION, b"\0\0\0\x09short") == ResponseCode.PROTOCOL_ERROR
    assert code(OpCode.CREATE_HANDLE, b"\0") == ResponseCode.PROTOCOL_ERROR
    assert code(OpCode.RESPONSE_TO_CHALLENGE, b"\xff" * 9) == ResponseCode.PROTOCOL_ERROR


def test_garbage_in_the_tunnel_is_answered(node: Node) -> None:
    chance = random.Random(SEED)
    messages = recorded()
    cases = contradictions() + [
        mutate(chance.choice(messages), chance) for _ in range(TUNNEL_CASES)
    ]
    for octets in cases:
        status, body = tunnel(node, octets)
        assert status in (200, 400, 413), (status, octets)
        if status == 200:
            check_stream(body)


HTTP_START = (
    b"GET /api/handles/88/honest HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"PUT /api/handles/88/new HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    b'Content-Type: application/json\r\nContent-Length: 13\r\n\r\n{"values":[]}',
    b"POST /x HTTP/1.0\r\nContent-Type: application/x-hdl-message\r\n"
    b"Accept: application/x-hdl-message\r\nContent-Length: 20\r\n\r\n" + bytes(20),
    b"POST /api/sessions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    b"Connection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
)


def mutate_http(chance: random.Random) -> bytes:
    return mutate(chance.choice(HTTP_START), chance)


def test_garbage_over_http_is_refused_or_closed(node: Node) -> None:
    chance = random.Random(SEED)
    statuses = set()
    for _ in range(HTTP_CASES):
        received = send_tcp(node.http_address, mutate_http(chance))
        if received.startswith(b"HTTP/1.1 "):
            statuses.add(int(received[9:12]))
    assert 400 in statuses
    assert all(status < 500 or status == 501 for status in statuses), statuses


REST_MISTAKES: list[tuple[str, str, bytes | None, dict[str, str], int]] = [
    ("GET", "/api/handles/88/none", None, {}, 404),
    ("GET", "/api/handles/%ff%fe", None, {}, 400),
    ("GET", "/api/handles/88/%ZZ", None, {}, 404),
    ("GET", "/api/handles/88/honest?index=abc", None, {}, 400),
    ("GET", "/api/handles/88/honest?index=99999999999999999999", None, {}, 400),
    ("GET", "/api/handles/" + "x" * 3_000, None, {}, 400),
    ("GET", "/api/nothing", None, {}, 404),
    ("GET", "/api/handles?prefix=%00", None, {}, 400),
    ("GET", "/" + "a" * 40_000, None, {}, 431),
    ("GET", "/", None, {f"X-{number}": "y" for number in range(200)}, 431),
    ("GET", "/", None, {"X-Long": "y" * 40_000}, 431),
    ("PUT", "/api/handles/88/x", b"x" * (BODY_OCTETS_MAX + 1), {}, 413),
    ("TRACE", "/", None, {}, 405),
]


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    REST_MISTAKES,
    ids=[f"{method} {path[:40]} {status}" for method, path, _, _, status in REST_MISTAKES],
)
def test_mistakes_over_rest_have_their_status(
    node: Node, method: str, path: str, body: bytes | None, headers: dict[str, str], status: int
) -> None:
    answer = send_http(node, method, path, body, headers)
    assert answer.status in ({400, 404} if status in (400, 404) else {status}), answer


def send_http(
    node: Node, method: str, path: str, body: bytes | None, headers: dict[str, str]
) -> HttpAnswer:
    """A request written by hand, since http.client refuses to send some of these."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    octets = "\r\n".join([*lines, "", ""]).encode() + (body or b"")
    with socket.create_connection(node.http_address, TIMEOUT_S) as sock:
        # Refused before we were done: the answer is there all the same.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(octets)
        response = http.client.HTTPResponse(sock, method=method)
        response.begin()
        return HttpAnswer(response.status, {}, response.read())


BAD_BODIES = (
    b"",
    b"{",
    b"null",
    b"[1, 2]",
    b'{"values": 5}',
    b'[{"index": 1}]',
    b'[{"index": -1, "type": "URL", "data": "x"}]',
    b'[{"index": 1e99, "type": "URL", "data": "x"}]',
    b'[{"index": 1, "type": "\xff\xfe", "data": "x"}]',
    b'[{"index": 1, "type": "URL", "data": {"format": "base64", "value": "%%%"}}]',
    b'[{"index": 1, "type": "URL", "data": {"format": "hex", "value": "0g"}}]',
    b'[{"index": 1, "type": "HS_ADMIN", "data": {"format": "admin", "value": {"index": "q"}}}]',
    b'[{"index": 1, "type": "HS_SITE", "data": {"format": "site", "value": {"servers": 7}}}]',
    b'[{"index": 1, "type": "URL", "data": "x"}, {"index": 1, "type": "URL", "data": "y"}]',
    b"[" * 50_000,
    b'{"a":' * 20_000,
)


def test_bad_bodies_of_an_administrator_are_refused_and_change_nothing(node: Node) -> None:
    with RestSession(node, administrator(node)) as session:
        for number, body in enumerate(BAD_BODIES):
            answer = session.put_octets(f"88/bad-{number}", body)
            assert 400 <= answer.status < 500, (body[:80], answer)
            assert answer.json["responseCode"] != ResponseCode.SUCCESS
            assert answer.json["message"], "a refusal says which value was wrong"
            found = look_up(node.address, f"88/bad-{number}".encode())
            assert found.code == ResponseCode.HANDLE_NOT_FOUND
        assert session.put("88/good", [{"index": 1, "type": "URL", "data": "x:"}]).status == 201


def test_bad_authorization_is_refused(node: Node) -> None:
    chance = random.Random(SEED)
    headers = ["Basic", "Basic %%%", "Basic Og==", "Handle", 'Handle sessionId="x"', "Bearer x"]
    headers += ['Handle sessionId="1", id="300:x", type="HS_PUBKEY", signature="%"', "\x80\xff"]
    headers += [f"Handle {chance.randbytes(30).hex()}=" for _ in range(10)]
    for header in headers:
        answer = send_http(node, "PUT", "/api/handles/88/x", b"[]", {"Authorization": header})
        assert answer.status in (400, 401), (header, answer)


def test_memory_does_not_grow_with_garbage(node: Node) -> None:
    throw_everything(node, SEED + 1)
    before = resident_octets(node)
    for number in range(3):
        throw_everything(node, SEED + 2 + number)
    wait_until(
        lambda: resident_octets(node) - before < GROWTH_OCTETS_MAX,
        f"memory back under {before} + {GROWTH_OCTETS_MAX}",
    )


def test_open_files_do_not_grow_with_garbage(node: Node) -> None:
    (worker,) = node.worker_pids()
    wait_until(lambda: node.metric("biaoshi_connections") <= 1, "all connections are forgotten")
    before = psutil.Process(worker).num_fds()
    for octets in contradictions():
        send_tcp(node.address, octets)
        send_tcp(node.http_address, octets)
    wait_until(lambda: psutil.Process(worker).num_fds() <= before + 1, "descriptors are closed")
