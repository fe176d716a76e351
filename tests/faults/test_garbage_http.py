"""Requests over HTTP that are no HTTP, no JSON or too much: refused, and nothing is harmed."""

import contextlib
import http.client
import random
import socket

import pytest

from protocol.codes import ResponseCode
from tests.faults.garbage import BODY_OCTETS_MAX, SEED, TIMEOUT_S, mutate_http, send_tcp
from tests.faults.rest_client import RestSession
from tests.faults.wire_client import administrator, look_up
from tests.nodes import HttpAnswer, Node

HTTP_CASES = 600

pytestmark = pytest.mark.usefixtures("no_harm")


def test_garbage_over_http_is_refused_or_closed(garbled_node: Node) -> None:
    chance = random.Random(SEED)
    statuses = set()
    for _ in range(HTTP_CASES):
        received = send_tcp(garbled_node.http_address, mutate_http(chance))
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
    garbled_node: Node,
    method: str,
    path: str,
    body: bytes | None,
    headers: dict[str, str],
    status: int,
) -> None:
    answer = send_http(garbled_node, method, path, body, headers)
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


def test_bad_bodies_of_an_administrator_are_refused_and_change_nothing(garbled_node: Node) -> None:
    with RestSession(garbled_node, administrator(garbled_node)) as session:
        for number, body in enumerate(BAD_BODIES):
            answer = session.put_octets(f"88/bad-{number}", body)
            assert 400 <= answer.status < 500, (body[:80], answer)
            assert answer.json["responseCode"] != ResponseCode.SUCCESS
            assert answer.json["message"], "a refusal says which value was wrong"
            found = look_up(garbled_node.address, f"88/bad-{number}".encode())
            assert found.code == ResponseCode.HANDLE_NOT_FOUND
        assert session.put("88/good", [{"index": 1, "type": "URL", "data": "x:"}]).status == 201


def test_bad_authorization_is_refused(garbled_node: Node) -> None:
    chance = random.Random(SEED)
    headers = ["Basic", "Basic %%%", "Basic Og==", "Handle", 'Handle sessionId="x"', "Bearer x"]
    headers += ['Handle sessionId="1", id="300:x", type="HS_PUBKEY", signature="%"', "\x80\xff"]
    headers += [f"Handle {chance.randbytes(30).hex()}=" for _ in range(10)]
    for header in headers:
        answer = send_http(
            garbled_node, "PUT", "/api/handles/88/x", b"[]", {"Authorization": header}
        )
        assert answer.status in (400, 401), (header, answer)
