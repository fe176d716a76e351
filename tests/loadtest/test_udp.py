"""The generator's UDP clients and its order of rows, against answers made from the formula."""

import contextlib
import json
import shutil
import socket
import struct
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from loadtest.formula import NUMBER_DIGITS, UNLIKE, Shape, make_handle, make_row
from loadtest.load import Tools, compile_tools
from protocol.value import encode_values
from protocol.wire import write_str

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")

SHAPE = Shape(25)
UNLIKE_SHAPE = Shape(25, UNLIKE)
LIMIT_S = 20
MODES = ("udp", "dns", "echo")

Address = tuple[str, int]
Deliver = Callable[[socket.socket, bytes, Address], None]


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Tools:
    return compile_tools(tmp_path_factory.mktemp("tools"))


@dataclass
class Asked:
    """What a server was asked, in the order of arrival."""

    port: int
    rows: list[int] = field(default_factory=list)
    clients: list[int] = field(default_factory=list)  # source ports


@contextlib.contextmanager
def server(mode: str, shape: Shape, deliver: Deliver | None = None) -> Iterator[Asked]:
    """Answer rightly; `deliver` may send what it is given elsewhere, later or not at all."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        asked = Asked(bound.getsockname()[1])

        def serve() -> None:
            while (received := bound.recvfrom(2048))[0]:
                request, client = received
                row = requested_row(mode, request)
                asked.rows.append(row)
                asked.clients.append(client[1])
                answer = make_answer(mode, shape, request, row)
                if deliver:
                    deliver(bound, answer, client)
                else:
                    bound.sendto(answer, client)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield asked
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
                end.sendto(b"", ("127.0.0.1", asked.port))
            thread.join(LIMIT_S)


def requested_row(mode: str, request: bytes) -> int:
    if mode == "dns":
        return int(request[14 : 14 + NUMBER_DIGITS])
    octets = int.from_bytes(request[44:48])
    return int(request[48 : 48 + octets][-NUMBER_DIGITS:])


def make_answer(mode: str, shape: Shape, request: bytes, row: int) -> bytes:
    values = make_row(shape, row)
    if mode == "echo":
        return request
    if mode == "dns":  # the generator looks at the header and finds the texts
        head = struct.pack(">HHHHHH", int.from_bytes(request[:2]), 0x8400, 1, len(values), 0, 0)
        return head + b"".join(value.data for value in values)
    body = write_str(make_handle(shape, row)) + encode_values(values)
    header = struct.pack(">IIIHBxII", 1, 1, 0, 0, 0, 0, len(body))
    envelope = request[:2] + bytes(6) + request[8:12] + bytes(4)
    return envelope + write_str(header + body + bytes(4))


def ask(tools: Tools, mode: str, asked: Asked, shape: Shape, *options: str) -> dict[str, Any]:
    words = [str(tools.generator), mode, "--port", str(asked.port), "--rows", str(shape.rows)]
    words += ["--values", str(shape.values), "--seconds", "0.2", "--warmup", "0", *options]
    ended = subprocess.run(words, capture_output=True, check=True, timeout=LIMIT_S)
    result: dict[str, Any] = json.loads(ended.stdout)
    return result


class Holding:
    """Keeps the first answers back until so many requests have come."""

    def __init__(self, requests: int) -> None:
        self.missing = requests
        self.held: list[tuple[bytes, Address]] = []

    def __call__(self, bound: socket.socket, answer: bytes, client: Address) -> None:
        self.missing -= 1
        self.held.append((answer, client))
        if self.missing <= 0:
            for each in self.held:
                bound.sendto(*each)
            self.held.clear()


class Swapping(Holding):
    """Holds two answers and sends each to the socket that asked for the other."""

    def __call__(self, bound: socket.socket, answer: bytes, client: Address) -> None:
        self.held.append((answer, client))
        if len(self.held) == self.missing:
            (first, one), (second, other) = self.held
            bound.sendto(first, other)
            bound.sendto(second, one)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [SHAPE, UNLIKE_SHAPE])
def test_the_window_is_shared_out_among_the_sockets(tools: Tools, mode: str, shape: Shape) -> None:
    with server(mode, shape, Holding(12)) as asked:
        result = ask(tools, mode, asked, shape, "--sockets", "5", "--window", "12")
    assert sorted(Counter(asked.clients[:12]).values()) == [2, 2, 2, 3, 3]
    assert len(set(asked.clients)) == 5
    assert result["right"] > 12
    assert (result["wrong"], result["lost"], result["stray"]) == (0, 0, 0)


@pytest.mark.parametrize("mode", MODES)
def test_requests_of_an_open_loop_go_round_the_sockets(tools: Tools, mode: str) -> None:
    with server(mode, SHAPE) as asked:
        result = ask(tools, mode, asked, SHAPE, "--sockets", "4", "--rate", "2000")
    shares = Counter(asked.clients).values()
    assert len(shares) == 4
    assert max(shares) - min(shares) <= 1
    assert result["right"] > 0
    assert (result["wrong"], result["stray"]) == (0, 0)


@pytest.mark.parametrize("mode", MODES)
def test_an_answer_at_another_socket_is_astray(tools: Tools, mode: str) -> None:
    with server(mode, SHAPE, Swapping(2)) as asked:
        result = ask(tools, mode, asked, SHAPE, "--sockets", "2", "--window", "2")
    assert (result["right"], result["wrong"], result["stray"]) == (0, 0, 2)


def test_rows_come_in_order_and_again(tools: Tools) -> None:
    with server("udp", SHAPE) as asked:
        ask(tools, "udp", asked, SHAPE, "--order", "sequential")
    assert len(asked.rows) > 2 * SHAPE.rows
    assert asked.rows == [number % SHAPE.rows for number in range(len(asked.rows))]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sockets", ["1", "3"])
def test_once_ends_with_the_last_row(tools: Tools, mode: str, sockets: str) -> None:
    words = ("--order", "sequential", "--once", "--seconds", "600", "--warmup", "600")
    with server(mode, SHAPE) as asked:
        result = ask(tools, mode, asked, SHAPE, *words, "--window", "4", "--sockets", sockets)
    assert sorted(asked.rows) == list(range(SHAPE.rows))
    assert (result["right"], result["lost"], result["stray"]) == (SHAPE.rows, 0, 0)
    assert result["seconds"] < LIMIT_S


def test_once_does_not_wait_for_a_lost_row(tools: Tools) -> None:
    def deliver(bound: socket.socket, answer: bytes, client: Address) -> None:
        if make_handle(SHAPE, 7) not in answer:
            bound.sendto(answer, client)

    with server("udp", SHAPE, deliver) as asked:
        result = ask(
            tools, "udp", asked, SHAPE, "--order", "sequential", "--once", "--seconds", "600"
        )
    assert sorted(asked.rows) == list(range(SHAPE.rows))
    assert (result["right"], result["lost"]) == (SHAPE.rows - 1, 1)


def test_once_ends_with_its_seconds_at_the_latest(tools: Tools) -> None:
    with server("udp", SHAPE, lambda *_: None) as asked:
        result = ask(tools, "udp", asked, SHAPE, "--order", "sequential", "--once")
    assert (result["right"], result["lost"]) == (0, 0)
    assert result["seconds"] >= 0.2


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("tcp --sockets 2", "--sockets is for UDP"),
        ("fresh --sockets 2", "--sockets is for UDP"),
        ("udp --sockets 0", "--sockets is 1 to 256"),
        ("udp --sockets 257 --window 300", "--sockets is 1 to 256"),
        ("udp --sockets 9 --window 8", "--window is less than --sockets"),
        ("udp --order backwards", "--order is random or sequential"),
        ("udp --order sequential --zipf 0.9", "goes without --zipf"),
        ("udp --order sequential --missing 0.1", "goes without --zipf, --missing"),
        ("udp --order sequential --malformed 0.1", "goes without --zipf, --missing"),
        ("udp --once", "with --order sequential"),
        ("tcp --once --order sequential", "--once is for UDP"),
        ("udp --once --order sequential --rate 5", "without --rate"),
        ("udp --values 2", "--values is 3, 1 or 0"),
        ("ndjson --values 0 --prefix 123456789012345678901", "at most 20 octets"),
    ],
)
def test_what_does_not_apply_is_refused(tools: Tools, words: str, complaint: str) -> None:
    command = [str(tools.generator), "--port", "9", "--seconds", "0.1", *words.split()]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert ended.returncode == 2
    assert complaint in ended.stderr.splitlines()[0]
