"""A client that registers: logs in once, then sends a stream of rows over one connection."""

import base64
import http.client
import json
import secrets
import ssl
import time
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from loadtest.startup import MeasurementError
from protocol.key_files import decode_private_key

TIMEOUT_S = 600.0  # a stream of many rows is answered at its end
NONCE_OCTETS = 16


@dataclass(frozen=True, slots=True)
class Administrator:
    """Who registers: `300:0.NA/88.118.5` and its key."""

    identity: str
    key: RSAPrivateKey


@dataclass(frozen=True, slots=True)
class Streamed:
    """A stream that has ended: what its last line says, and the seconds from first octet to it."""

    last: dict[str, Any]
    seconds: float


def find_administrator(node: Path, config: str) -> Administrator:
    """Return the administrator whose key `biaoshi init` made. Raises: MeasurementError."""
    key = decode_private_key((node / "admin-key.bin").read_bytes())
    names = tomllib.loads((node / config).read_text("utf-8"))["roles"]["administrators"]
    if not isinstance(key, RSAPrivateKey) or not names:
        raise MeasurementError(f"{node} has no administrator with an RSA key")
    return Administrator(names[0], key)


def connect(port: int, *, tls: bool) -> http.client.HTTPConnection:
    """Return a connection to 127.0.0.1, whose certificate is nobody's but its own."""
    if not tls:
        return http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT_S, context=context)


def log_in(port: int, administrator: Administrator, *, tls: bool) -> str:
    """Return the Authorization header of a new session. Raises: MeasurementError."""
    connection = connect(port, tls=tls)
    try:
        challenge = _ask(connection, "POST", None)
        session = _ask(connection, "PUT", prove(administrator, challenge))
    finally:
        connection.close()
    if not session.get("authenticated"):
        raise MeasurementError(f"{administrator.identity} could not log in: {session}")
    return f'Handle version="0", sessionId="{challenge["sessionId"]}"'


def prove(administrator: Administrator, challenge: dict[str, str]) -> dict[str, str]:
    """Return what answers a session's challenge."""
    mine = secrets.token_bytes(NONCE_OCTETS)
    signed = base64.b64decode(challenge["nonce"]) + mine
    signature = administrator.key.sign(signed, PKCS1v15(), hashes.SHA256())
    return {
        "sessionId": challenge["sessionId"],
        "id": quote(administrator.identity, safe=""),
        "type": "HS_PUBKEY",
        "cnonce": base64.b64encode(mine).decode(),
        "alg": "SHA256",
        "signature": base64.b64encode(signature).decode(),
    }


def _ask(
    connection: http.client.HTTPConnection, method: str, form: dict[str, str] | None
) -> dict[str, Any]:
    path = "/api/sessions" if form is None else "/api/sessions/this"
    headers = {"Content-Type": "application/json"}
    connection.request(method, path, None if form is None else json.dumps(form), headers)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status not in (200, 201):
        raise MeasurementError(f"log-in is answered with {answer.status}: {body[:200]!r}")
    document: dict[str, Any] = json.loads(body)
    return document


def ask(
    port: int, method: str, path: str, authorization: str = "", form: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Send one request over plain HTTP; return its answer. Raises: MeasurementError."""
    headers = {"Content-Type": "application/json"}
    if authorization:
        headers["Authorization"] = authorization
    connection = connect(port, tls=False)
    try:
        connection.request(method, path, None if form is None else json.dumps(form), headers)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status not in (200, 201):
        raise MeasurementError(f"{method} {path} is answered with {answer.status}: {body[:200]!r}")
    document: dict[str, Any] = json.loads(body)
    return document


def send_stream(port: int, authorization: str, key: str, rows: Iterable[bytes]) -> Streamed:
    """Send NDJSON as one stream over plain HTTP; return once its receipt is here.

    Raises:
        MeasurementError: a row was refused, or the stream did not end.
    """
    headers = {
        "Authorization": authorization,
        "Idempotency-Key": key,
        "Content-Type": "application/x-ndjson",
    }
    connection = connect(port, tls=False)
    try:
        connection.connect()
        begun = time.monotonic()
        path = "/api/registrations?verdicts=refused"
        connection.request("POST", path, rows, headers, encode_chunked=True)
        answer = connection.getresponse()
        body = answer.read()
        seconds = time.monotonic() - begun
    finally:
        connection.close()
    return Streamed(read_end(answer.status, body), seconds)


def read_end(status: int, body: bytes) -> dict[str, Any]:
    """Return the last line of an answer to a stream. Raises: MeasurementError."""
    lines = body.splitlines()
    if status != 200 or not lines:
        raise MeasurementError(f"the stream is answered with {status}: {body[:200]!r}")
    last: dict[str, Any] = json.loads(lines[-1])
    if len(lines) > 1 or last.get("created") != last.get("rows") or not last.get("receipt"):
        raise MeasurementError(f"not every row was created: {lines[0][:200]!r}")
    return last
