"""A client of registration streams that knows every octet it sends."""

import contextlib
import hashlib
import http.client
import json
import select
import socket
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import quote, urlencode

from registry.receipts import START, chain
from tests.faults.rest_client import prove_key, read_challenge
from tests.faults.wire_client import Administrator, administrator
from tests.nodes import Node, wait_until

TIMEOUT_S = 30.0
NDJSON = "application/x-ndjson"
PATH = "/api/registrations"
_JSON = {"Content-Type": "application/json"}


class Told(NamedTuple):
    """An answer to a stream: its verdict lines, the last line, and its headers."""

    status: int
    verdicts: list[dict[str, Any]]
    last: dict[str, Any]
    headers: Mapping[str, str] = {}

    def verdict(self, row: int) -> dict[str, Any]:
        """What became of a row."""
        (found,) = [
            each for each in self.verdicts if each["row"] <= row <= each.get("through", each["row"])
        ]
        return found


def told(status: int, body: bytes) -> Told:
    lines = [json.loads(line) for line in body.splitlines()]
    return Told(status, [line for line in lines if "verdict" in line], lines[-1])


def row_by_row(verdicts: Iterable[Mapping[str, Any]], first: int = 1) -> list[str]:
    """The verdict of every row from `first` on; fails when one has none, or has two."""
    found: list[str] = []
    for each in verdicts:
        expected = first + len(found)
        assert each["row"] == expected, f"row {expected} is not told, but {each}"
        found += [each["verdict"]] * (each.get("through", expected) - expected + 1)
    return found


def log_in(node: Node, who: Administrator | None = None) -> str:
    """Return an Authorization header of a session, of the node's administrator or another."""
    header = find_log_in(node, who)
    assert header is not None, "the node could not be logged in to"
    return header


def find_log_in(node: Node, who: Administrator | None = None) -> str | None:
    """Likewise; None when the node cannot say who we are at the moment."""
    who = who or administrator(node)
    connection = http.client.HTTPConnection(*node.http_address, timeout=TIMEOUT_S)
    with contextlib.closing(connection):
        connection.request("PUT", "/api/handles/88/log-in", b"[]", _JSON)
        response = connection.getresponse()
        response.read()
        fields = read_challenge(", ".join(response.headers.get_all("www-authenticate", [])))
        if "nonce" not in fields:
            return None
        proof = prove_key(who, fields)
        connection.request("GET", f"{PATH}/none", headers={"Authorization": proof})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 404:
            return None
    return f'Handle version="0", sessionId="{fields["sessionId"]}"'


class Streams:
    """Streams of one identity on one node, by default of its administrator."""

    def __init__(self, node: Node, who: Administrator | None = None) -> None:
        self.node = node
        self.authorization = log_in(node, who)

    def headers(self, key: str, media_type: str = NDJSON, **more: str) -> dict[str, str]:
        named = {name.replace("_", "-"): value for name, value in more.items()}
        return {
            "Authorization": self.authorization,
            "Idempotency-Key": key,
            "Content-Type": media_type,
            **named,
        }

    def post(
        self,
        key: str,
        body: bytes | Iterable[bytes],
        media_type: str = NDJSON,
        *,
        query: Mapping[str, Any] | None = None,
        **more: str,
    ) -> Told:
        """Send a stream whole and read the answer."""
        connection = http.client.HTTPConnection(*self.node.http_address, timeout=TIMEOUT_S)
        try:
            headers = self.headers(key, media_type, **more)
            connection.request(
                "POST", path_of(query), body, headers, encode_chunked=not isinstance(body, bytes)
            )
            answer = connection.getresponse()
            headers = {name.lower(): text for name, text in answer.getheaders()}
            return told(answer.status, answer.read())._replace(headers=headers)
        finally:
            connection.close()

    def get(self, path: str) -> tuple[int, bytes]:
        answer = self.node.http(
            "GET", path, headers={"Authorization": self.authorization}, timeout_s=TIMEOUT_S
        )
        return answer.status, answer.body

    def state(self, key: str) -> dict[str, Any]:
        """How far a stream has come."""
        status, body = self.get(f"{PATH}/{key}")
        found: dict[str, Any] = json.loads(body)
        assert status == 200, found
        return found

    def rows_durable(self, key: str) -> int:
        """How many rows of a stream are durable, 0 when it has not been begun."""
        status, body = self.get(f"{PATH}/{quote(key)}")
        return int(json.loads(body)["rows"]) if status == 200 else 0

    def wait_for_rows(self, key: str, count: int) -> None:
        """Return when so many rows of a stream are durable."""
        wait_until(lambda: self.rows_durable(key) >= count, f"{count} rows are durable", TIMEOUT_S)

    def verdicts(self, key: str, **query: Any) -> list[dict[str, Any]]:
        status, body = self.get(f"{PATH}/{key}/verdicts?{urlencode(query)}")
        assert status == 200, body
        return [json.loads(line) for line in body.splitlines()]


def path_of(query: Mapping[str, Any] | None) -> str:
    return PATH + (f"?{urlencode(query, doseq=True)}" if query else "")


class Upload:
    """One request on a socket of its own: its octets are sent, and its answer read, piecemeal.

    Raises OSError as sockets do. A `receive_octets` bounds what the kernel takes in of an answer
    that is not read.
    """

    def __init__(
        self,
        streams: Streams,
        key: str,
        *,
        query: Mapping[str, Any] | None = None,
        receive_octets: int = 0,
        **more: str,
    ) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.settimeout(TIMEOUT_S)
        if receive_octets:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_octets)
        self.socket.connect(streams.node.http_address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        headers = {"Host": "node", "Transfer-Encoding": "chunked", **streams.headers(key, **more)}
        lines = [f"POST {path_of(query)} HTTP/1.1", *(f"{n}: {v}" for n, v in headers.items())]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self._response: http.client.HTTPResponse | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def send(self, octets: bytes) -> None:
        self.socket.sendall(b"%x\r\n%b\r\n" % (len(octets), octets))

    def end(self) -> None:
        self.socket.sendall(b"0\r\n\r\n")

    @property
    def response(self) -> http.client.HTTPResponse:
        """The answer, waited for until its head is there."""
        if self._response is None:
            self._response = http.client.HTTPResponse(self.socket, method="POST")
            self._response.begin()
        return self._response

    def can_read(self) -> bool:
        """Whether some of the answer is there, or the connection has ended."""
        return bool(select.select([self.socket], [], [], 0)[0])

    def told(self) -> Told:
        """The whole answer."""
        return told(self.response.status, self.response.read())

    def line(self) -> dict[str, Any] | None:
        """The next line of the answer, None behind the last."""
        octets = self.response.readline()
        if not octets.endswith(b"\n"):
            return None
        found: dict[str, Any] = json.loads(octets)
        return found

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def row(name: str, text: str = "", **more: Any) -> bytes:
    """One line of NDJSON that registers 88/name with three values."""
    values = [
        {"index": 1, "type": "URL", "data": {"format": "string", "value": f"https://e.cn/{name}"}},
        {"index": 2, "type": "DESC", "data": {"format": "string", "value": text or f"no. {name}"}},
        {"index": 3, "type": "SERIAL", "data": {"format": "string", "value": name}},
    ]
    return json.dumps({"handle": f"88/{name}", "values": values, **more}).encode() + b"\n"


def rows(first: int, last: int, stem: str = "P") -> Iterator[bytes]:
    """The lines of some numbered rows."""
    return (row(f"{stem}{number}") for number in range(first, last + 1))


def deletion(name: str) -> bytes:
    return json.dumps({"handle": f"88/{name}", "operation": "delete"}).encode() + b"\n"


def digest_of(lines: Iterable[bytes]) -> bytes:
    """The digest of a stream of these lines, as its receipt has it."""
    return chain(START, [hashlib.sha256(line.strip()).digest() for line in lines])


def values_of(node: Node, name: str) -> list[str] | None:
    """The data of a handle, None when it is not there."""
    answer = node.get(f"/api/handles/88/{name}")
    if answer.status == 404:
        return None
    assert answer.status == 200, answer
    return [value["data"]["value"] for value in answer.json["values"]]
