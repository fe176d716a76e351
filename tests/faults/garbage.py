"""Making garbage, sending it, and telling that a node took no harm from it; all of it seeded."""

import contextlib
import json
import random
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from protocol.bodies import HandleRequest, ResolutionRequest, UnknownBody
from protocol.codes import OpCode, ResponseCode
from protocol.envelope import ENVELOPE_OCTETS, decode_envelope
from protocol.message import decode_message
from tests.faults.wire_client import (
    TUNNEL_TYPE,
    Address,
    ask_udp,
    data_of,
    expected_data,
    look_up,
    make_request,
    read_answer,
    resolution,
)
from tests.nodes import Node

SEED = 20261121
UDP_BURST = 50  # and one question; with 60,000 octets in one of them 212,992 are enough
VECTORS = Path(__file__).parents[1] / "vectors" / "messages.jsonl"
TIMEOUT_S = 5.0
ASK_AGAIN_S = 1.0
BODY_OCTETS_MAX = 200_000
# A stranger must not fill the disk through the log: a few lines a kind and minute.
LOG_OCTETS_MAX = 65_536
EXTREMES = (0, 1, -1, 20, 492, 1 << 20, (1 << 20) + 1, 262_144, 262_145, 2**31 - 1, -(2**31))

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


@contextmanager
def unharmed(node: Node) -> Iterator[None]:
    """Whatever the block does leaves the same processes, no traceback, and right answers."""
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
    """Send datagrams; return how many answers came, all of them checked.

    No more are sent at once than the node's socket holds: what the kernel sheds is not tested.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(node.address)
        answers = 0
        for start in range(0, len(cases), UDP_BURST):
            for octets in cases[start : start + UDP_BURST]:
                sock.send(octets)
            answers += drain_until_served(sock)
        return answers + drain(sock, 0.5)


def drain_until_served(sock: socket.socket) -> int:
    """Ask an honest question behind the others; return how many answers came before its own.

    A busy machine may shed it, or its answer: as every client over UDP, we ask again.
    """
    question = resolution(b"88/honest").encode()
    sock.settimeout(ASK_AGAIN_S)
    count = 0
    for _ in range(int(TIMEOUT_S / ASK_AGAIN_S)):
        sock.send(question)
        with contextlib.suppress(TimeoutError):
            while (octets := sock.recv(65_535))[8:12] != question[8:12]:
                check_answer(octets)
                count += 1
            return count
    raise AssertionError("the node answers no honest question any more")


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
