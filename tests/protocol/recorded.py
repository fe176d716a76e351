"""The recorded messages of tests/vectors, taken apart, with the keys that belong to them."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from protocol.bodies import Body, decode_request_body, decode_response_body
from protocol.digests import RequestDigest
from protocol.envelope import ENVELOPE_OCTETS, Envelope, decode_envelope
from protocol.message import Message, decode_message
from protocol.session import SessionKey, decrypt_payload

VECTORS = Path(__file__).parents[1] / "vectors"
SECRET = b"interop-secret"
MESSAGES = 360
VERSIONS = tuple(f"2.{minor}" for minor in range(1, 11))


def octets_of(name: str) -> bytes:
    return (VECTORS / name).read_bytes()


def json_of(name: str) -> Any:
    return json.loads(octets_of(name))


@cache
def session_keys() -> dict[int, SessionKey]:
    lines = re.findall(r"session=(\d+) key=(\w+) alg=3", octets_of("session-keys.txt").decode())
    return {int(session): SessionKey(bytes.fromhex(key)) for session, key in lines}


@dataclass(frozen=True)
class Recorded:
    """One message; `message` is in clear, `octets` are as they crossed the wire."""

    octets: bytes
    envelope: Envelope
    message: Message
    is_request: bool
    digest: RequestDigest | None
    body: Body


def decode_body(message: Message, *, is_request: bool) -> tuple[RequestDigest | None, Body]:
    if is_request:
        version = message.envelope.version
        return None, decode_request_body(message.header.opcode, message.body, version)
    return decode_response_body(message.header, message.body)


def decode_any(octets: bytes) -> Message:
    envelope = decode_envelope(octets)
    if envelope.is_encrypted:
        key = session_keys()[envelope.session_id]
        return decrypt_payload(envelope, octets[ENVELOPE_OCTETS:], key)
    return decode_message(octets)


def _read_messages() -> Iterator[Recorded]:
    for line in (VECTORS / "messages.jsonl").read_text().splitlines():
        record = json.loads(line)
        octets = bytes.fromhex(record["bytes"])
        message = decode_any(octets)
        is_request = record["dir"] == "request"
        digest, body = decode_body(message, is_request=is_request)
        yield Recorded(octets, decode_envelope(octets), message, is_request, digest, body)


@cache
def messages() -> tuple[Recorded, ...]:
    return tuple(_read_messages())


def requests_by_id() -> dict[int, Message]:
    return {one.envelope.request_id: one.message for one in messages() if one.is_request}
