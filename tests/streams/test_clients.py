"""Clients that read late, never, or not while they send; and curl and requests as they are."""

import contextlib
import gzip
import http.client
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from tests.commands import configure
from tests.nodes import Node, make_node, running, wait_until
from tests.streams.client import (
    NDJSON,
    PATH,
    TIMEOUT_S,
    Streams,
    Told,
    Upload,
    digest_of,
    path_of,
    row,
    row_by_row,
    rows,
    told,
    values_of,
)
from tests.streams.conftest import TABLES
from tests.streams.memory import growth_below

REFUSED_ROWS = 15_000  # whose verdicts are some 16 MB
REFUSED_ROWS_AT_ONCE = 1_000
REFUSED_ROWS_FOR_THE_HASTY = 8_000  # some 9 MB: more than the buffers of a connection hold
LONG = "n" * 900
SMALL_BUFFER = 4_096
GROWTH_MAX = 32 * 1_048_576
ROWS = 200
HASTE_S = 1


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Streams]:
    """A node that waits for clients no longer than it must."""
    made = make_node(tmp_path_factory.mktemp("hasty") / "node", tables=TABLES)
    limits = {"http_body_timeout_s": HASTE_S, "write_timeout_s": HASTE_S}
    configure(made.folder, {"limits": limits})
    with running(made):
        yield Streams(made)
        assert "Traceback" not in made.log, made.log_tail


def refused_rows(count: int) -> Iterator[bytes]:
    """Rows that are refused with words, for each other ones, in pieces."""
    form = '{"handle":"99/%d-%s","values":[{"index":1,"type":"A","data":"a"}]}\n'
    for start in range(0, count, REFUSED_ROWS_AT_ONCE):
        numbers = range(start, min(start + REFUSED_ROWS_AT_ONCE, count))
        yield "".join([form % (number, LONG) for number in numbers]).encode()


# Reading late


def test_client_that_reads_nothing_until_all_rows_are_decided(
    streams: Streams, node: Node, key: str
) -> None:
    with (
        growth_below(node, GROWTH_MAX),
        Upload(streams, key, query={"verdicts": "stream"}, receive_octets=SMALL_BUFFER) as upload,
    ):
        for piece in refused_rows(REFUSED_ROWS):
            upload.send(piece)
        upload.end()
        streams.wait_for_rows(key, REFUSED_ROWS)
        answer = upload.told()
    assert row_by_row(answer.verdicts) == ["refused"] * REFUSED_ROWS
    assert answer.verdict(REFUSED_ROWS)["message"].endswith(
        f"99/{REFUSED_ROWS - 1}-{LONG} is not homed on this node"
    )
    assert (answer.last["refused"], bool(answer.last["receipt"])) == (REFUSED_ROWS, True)


def test_client_that_reads_nothing_for_longer_than_answers_wait(hasty: Streams, key: str) -> None:
    """Who still sends is no client that went away, however long it has not read."""
    with Upload(hasty, key, query={"verdicts": "stream"}, receive_octets=SMALL_BUFFER) as upload:
        for piece in refused_rows(REFUSED_ROWS_FOR_THE_HASTY):
            upload.send(piece)
        send_nothing_until_decided(hasty, key, upload)
        enough_s = time.monotonic() + 3 * HASTE_S
        while time.monotonic() < enough_s:
            send_nothing_until_decided(hasty, key, upload)
        upload.send(next(refused_rows(1)))
        upload.end()
        answer = upload.told()
    assert row_by_row(answer.verdicts) == ["refused"] * (REFUSED_ROWS_FOR_THE_HASTY + 1)


def test_client_that_never_reads_its_answer_is_cut_and_its_rows_are_there(
    hasty: Streams, key: str
) -> None:
    with Upload(hasty, key, query={"verdicts": "stream"}, receive_octets=SMALL_BUFFER) as upload:
        for piece in refused_rows(REFUSED_ROWS_FOR_THE_HASTY):
            upload.send(piece)
        send_nothing_until_decided(hasty, key, upload)
        upload.end()
        wait_until(lambda: not is_connected(hasty.node, upload), "the node has enough of it")
    verdicts = hasty.verdicts(key)
    assert row_by_row(verdicts) == ["refused"] * REFUSED_ROWS_FOR_THE_HASTY


def send_nothing_until_decided(hasty: Streams, key: str, upload: Upload) -> None:
    """Send blank lines, so that the node hears of us, until all rows are decided on."""

    def decided() -> bool:
        upload.send(b"\n")
        return hasty.rows_durable(key) == REFUSED_ROWS_FOR_THE_HASTY

    wait_until(decided, "all rows are decided on", TIMEOUT_S)


def is_connected(node: Node, upload: Upload) -> bool:
    """Whether the node holds its end of a connection."""
    ours = upload.socket.getsockname()[1]
    (worker,) = node.worker_pids()
    held = psutil.Process(worker).net_connections(kind="tcp4")
    return ours in {each.raddr.port for each in held if each.raddr}


def test_verdicts_come_while_rows_are_sent(streams: Streams, key: str, stem: str) -> None:
    with Upload(streams, key, query={"verdicts": "stream"}) as upload:
        for number in range(1, 6):
            upload.send(row(f"{stem}{number}"))
            line = upload.line()
            assert line is not None
            assert (line["row"], line["verdict"]) == (number, "created")
        upload.end()
        last = upload.line()
        assert last is not None
        assert (last["rows"], bool(last["receipt"])) == (5, True)


def test_client_that_waits_to_be_told_to_go_on(streams: Streams, key: str, stem: str) -> None:
    for verdicts in ("after", "stream"):
        query = {"verdicts": verdicts}
        name = f"{key}-{verdicts}"
        with Upload(streams, name, query=query, Expect="100-continue") as upload:
            assert upload.socket.recv(12) == b"HTTP/1.1 100"
            rest = b""
            while not rest.endswith(b"\r\n\r\n"):
                rest += upload.socket.recv(1)
            upload.send(row(f"{stem}{verdicts}"))
            upload.end()
            assert upload.told().last["created"] == 1


# Sending half a row, then nothing


@pytest.mark.parametrize("verdicts", ["after", "stream"])
def test_client_that_falls_silent_inside_a_row(
    hasty: Streams, key: str, stem: str, verdicts: str
) -> None:
    last = row(f"{stem}4")
    with Upload(hasty, key, query={"verdicts": verdicts}) as upload:
        upload.send(b"".join(rows(1, 3, stem)) + last[:20])
        if verdicts == "after":
            assert upload.response.status == 408
        with contextlib.suppress(http.client.IncompleteRead):  # its last line cannot be told
            upload.response.read()
        assert upload.socket.recv(1) == b""
    assert hasty.state(key)["rows"] == 3
    assert values_of(hasty.node, f"{stem}3") is not None
    assert values_of(hasty.node, f"{stem}4") is None
    answer = hasty.post(key, last, query={"from": 4})
    assert answer.last["created"] == 4


def test_client_that_sends_slowly_but_sends(hasty: Streams, key: str, stem: str) -> None:
    body = b"".join(rows(1, 2, stem))
    enough_s = time.monotonic() + 2.5 * HASTE_S
    with Upload(hasty, key) as upload:
        sent = 0
        while time.monotonic() < enough_s or sent < len(body):
            upload.send(body[sent : sent + 1] or b"\n")
            sent += 1
            assert hasty.rows_durable(key) <= 2
        upload.end()
        assert upload.told().last["created"] == 2


# Other people's clients


def whole(count: int, stem: str) -> bytes:
    return b"".join(row(f"{stem}{number}", "long " * 220) for number in range(1, count + 1))


def check(answer: Told, node: Node, body: bytes, stem: str, verdicts: str = "after") -> None:
    lines = body.splitlines(keepends=True)
    expected = ["created"] * (len(lines) - 1) + ["refused"]
    assert answer.status == 200, answer
    assert row_by_row(answer.verdicts) == expected, verdicts
    assert answer.last["digest"] == digest_of(lines).hex()
    assert values_of(node, f"{stem}{len(lines) - 1}") is not None


@pytest.mark.parametrize("verdicts", ["after", "stream"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_http_client_of_the_standard_library(
    streams: Streams, node: Node, key: str, stem: str, verdicts: str, chunked: bool
) -> None:
    body = whole(ROWS, stem) + row(f"{stem}1", "other")
    sent: bytes | Iterator[bytes] = body
    if chunked:
        sent = (body[at : at + 10_000] for at in range(0, len(body), 10_000))
    connection = http.client.HTTPConnection(*node.http_address, timeout=TIMEOUT_S)
    path = path_of({"verdicts": verdicts})
    connection.request("POST", path, sent, streams.headers(key), encode_chunked=chunked)
    answer = connection.getresponse()
    check(told(answer.status, answer.read()), node, body, stem)
    connection.close()


@pytest.mark.parametrize("verdicts", ["after", "stream"])
@pytest.mark.parametrize("way", ["length", "chunked", "gzip"])
def test_requests(
    streams: Streams, node: Node, key: str, stem: str, verdicts: str, way: str
) -> None:
    body = whole(ROWS, stem) + row(f"{stem}1", "other")
    headers = streams.headers(key)
    sent: bytes | Iterator[bytes] = body
    if way == "gzip":
        sent = gzip.compress(body)
        headers["Content-Encoding"] = "gzip"
    elif way == "chunked":
        sent = (body[at : at + 10_000] for at in range(0, len(body), 10_000))
    host, port = node.http_address
    address = f"http://{host}:{port}{path_of({'verdicts': verdicts})}"
    with requests.post(address, data=sent, headers=headers, timeout=TIMEOUT_S, stream=True) as got:
        lines = [json.loads(line) for line in got.iter_lines()]
    check(Told(got.status_code, lines[:-1], lines[-1]), node, body, stem)


CURL = {
    "upload": ("-X", "POST", "-T", "{file}"),
    "upload chunked": ("-X", "POST", "-T", "-"),
    "data": ("--data-binary", "@{file}"),
    "data chunked": ("-H", "Transfer-Encoding: chunked", "--data-binary", "@{file}"),
    "asks first": ("-H", "Expect: 100-continue", "--data-binary", "@{file}"),
    "asks first, chunked": ("-X", "POST", "-H", "Expect: 100-continue", "-T", "-"),
    "never asks": ("-H", "Expect:", "--data-binary", "@{file}"),
    "gzip": ("-H", "Content-Encoding: gzip", "--data-binary", "@{file}.gz"),
}


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("verdicts", ["after", "stream"])
@pytest.mark.parametrize("way", sorted(CURL))
def test_curl(
    streams: Streams, node: Node, tmp_path: Path, key: str, stem: str, way: str, verdicts: str
) -> None:
    body = whole(ROWS, stem) + row(f"{stem}1", "other")
    file = tmp_path / "rows"
    file.write_bytes(body)
    file.with_suffix(".gz").write_bytes(gzip.compress(body, 1))
    words = [word.format(file=file) for word in CURL[way]]
    if way.startswith("asks"):
        words += ["--expect100-timeout", "25"]  # to be told is not the same as to lose patience
    for name, value in streams.headers(key).items():
        words += ["-H", f"{name}: {value}"]
    host, port = node.http_address
    ended = subprocess.run(
        [
            "curl",
            "-sS",
            "-v",
            "--max-time",
            "20",
            *words,
            f"http://{host}:{port}{path_of({'verdicts': verdicts})}",
        ],
        input=body,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2_000:]
    if way.startswith("asks"):
        assert b"< HTTP/1.1 100 Continue" in ended.stderr
    check(told(200, ended.stdout), node, body, stem)


def test_refused_before_it_was_read(streams: Streams, node: Node, key: str, stem: str) -> None:
    """Who sends a whole body that nobody wants finds out why, and not a broken connection."""
    headers = streams.headers(key) | {"Content-Type": "text/plain"}
    connection = http.client.HTTPConnection(*node.http_address, timeout=TIMEOUT_S)
    connection.request("POST", PATH, whole(50 * ROWS, stem), headers)
    answer = connection.getresponse()
    assert answer.status == 400
    assert "text/plain" in json.loads(answer.read())["message"]
    connection.request("POST", PATH, row(f"{stem}1"), headers | {"Content-Type": NDJSON})
    assert connection.getresponse().status == 200
    connection.close()
