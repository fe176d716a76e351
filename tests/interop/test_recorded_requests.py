"""The recorded requests of a real client, octet for octet, to a node: are its answers like those
that a real server gave? Challenges are answered with the recorded administrator's keys."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.interop import foreign_wire as wire
from tests.interop.conftest import VERSIONS, Stand, stand
from tests.interop.foreign_client import ForeignClient
from tests.interop.foreign_crypto import (
    Identity,
    KeyIdentity,
    SecretIdentity,
    read_credential,
    read_private_key,
)
from tests.interop.foreign_session import AES_CIPHER, decrypt
from tests.interop.foreign_transport import exchange
from tests.interop.foreign_wire import (
    Answer,
    Cursor,
    Envelope,
    Value,
    admin_data,
    pack_str,
    vlist_data,
)
from tests.interop.test_foreign_client import session_keys
from tests.nodes import make_node, running

VECTORS = Path(__file__).parents[1] / "vectors"
PREFIX = b"0.NA/88.118"
KEYS = session_keys()


@dataclass(frozen=True)
class Exchange:
    """A request, the answer it got, and the request that was challenged, if this answers one."""

    transport: str
    envelope: Envelope
    request: Answer
    answer: Answer
    challenged: "Exchange | None" = None

    @property
    def name(self) -> str:
        return f"opcode {self.request.opcode} over {self.transport}"


def read_exchanges() -> Iterator[Exchange]:
    """What was said, in clear; all recorded messages are whole."""
    requests: dict[int, tuple[str, Envelope, Answer]] = {}
    challenges: dict[int, Exchange] = {}
    for line in (VECTORS / "messages.jsonl").read_text(encoding="ascii").splitlines():
        record = json.loads(line)
        octets = bytes.fromhex(record["bytes"])
        envelope = Envelope.read(octets)
        clear = octets[20:]
        assert envelope.length == len(clear)
        if envelope.flags & wire.ENCRYPTED:
            clear = decrypt(KEYS[envelope.session], AES_CIPHER, clear, (2, 10))
        message = Answer(envelope, clear)
        if record["dir"] == "request":
            requests[envelope.request] = record["transport"], envelope, message
            continue
        transport, asked, request = requests.pop(envelope.request)
        is_proof = request.opcode == wire.ANSWER_CHALLENGE
        challenged = challenges[asked.session] if is_proof else None
        found = Exchange(transport, asked, request, message, challenged)
        if message.code == 402:
            challenges[envelope.session] = found
        yield found


EXCHANGES = list(read_exchanges())
OUTSIDE = [each for each in EXCHANGES if each.envelope.session not in KEYS]


def boot_values() -> list[Value]:
    """The record that the recorded server had from the start."""
    boot = json.loads((VECTORS / "boot.json").read_text(encoding="utf-8"))
    values = []
    for value in boot["handleRecords"][PREFIX.decode()]["values"]:
        form, data = value["data"]["format"], value["data"]["value"]
        if form == "admin":
            who = data["handle"].encode(), data["index"]
            octets = admin_data(*who, int(data["permissions"], 2))
        elif form == "vlist":
            octets = vlist_data(*((each["handle"].encode(), each["index"]) for each in data))
        else:
            octets = base64.b64decode(data) if form == "base64" else data.encode()
        permissions = int(value.get("permissions", "1110"), 2)
        values.append(Value(value["index"], value["type"].encode(), octets, permissions))
    return values


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with running(make_node(tmp_path_factory.mktemp("recorded") / "top")) as node:
        top = stand(node)
        assert top.client.perform(wire.HOME, pack_str(PREFIX), top.admin).code == 1
        assert top.client.create(PREFIX, boot_values(), top.admin).code == 1
        yield top


def recorded_identity(request: Answer) -> Identity:
    cursor = Cursor(request.body)
    kind, handle, index = cursor.str(), cursor.str(), cursor.number("i")
    if kind == b"HS_SECKEY":
        return SecretIdentity(handle, index, b"interop-secret")
    return KeyIdentity(handle, index, read_private_key((VECTORS / "admpriv.bin").read_bytes()))


def ask_again(client: ForeignClient, recorded: Exchange, challenges: dict[int, Answer]) -> Answer:
    """Our node's answer to a recorded request; to an answer to a challenge, one to our own."""
    speaking = client.speaking(transport=recorded.transport)
    challenged = recorded.challenged
    if challenged is None:
        (answer,) = exchange(speaking, recorded.envelope, recorded.request.message, Answer)
        return answer
    versions = {"version": recorded.envelope.version, "suggested": recorded.envelope.suggested}
    challenge = challenges[id(challenged)]
    identity = recorded_identity(recorded.request)
    answers = speaking.speaking(**versions).answer_challenge(
        challenge, identity, recorded.request.flags
    )
    return answers[0]


@pytest.mark.parametrize("version", VERSIONS)
def test_recorded_requests_are_answered_as_recorded(place: Stand, version: tuple[int, int]) -> None:
    challenges: dict[int, Answer] = {}
    compared = proven = 0
    for recorded in OUTSIDE:
        if recorded.envelope.version != version:
            continue
        answer, expected = ask_again(place.client, recorded, challenges), recorded.answer
        challenges[id(recorded)] = answer
        compared += 1
        proven += recorded.challenged is not None
        assert form_of(answer) == form_of(expected), recorded.name
        if expected.opcode == wire.RESOLUTION and expected.code == 1:
            assert values_of(answer) == values_of(expected), recorded.name
    assert (compared, proven) == (12, 4)


@pytest.mark.parametrize("number", KEYS)
def test_recorded_requests_in_sessions_are_answered_as_recorded(place: Stand, number: int) -> None:
    """In a session of our own, set up in the version of the recorded one."""
    set_up = next(each for each in EXCHANGES if each.answer.envelope.session == number)
    said = [each for each in EXCHANGES if each.envelope.session == number]
    envelope, is_encrypted = set_up.envelope, bool(said[0].envelope.flags & wire.ENCRYPTED)
    proof = next(each.request for each in said if each.challenged is not None)
    who = recorded_identity(proof)
    line = place.client.speaking(version=envelope.version, suggested=envelope.suggested)
    inside = line.open_session(who, encrypted=is_encrypted)
    challenges: dict[int, Answer] = {}
    for recorded in said:
        asked, request = recorded.envelope, recorded.request
        speaking = inside.speaking(version=asked.version, suggested=asked.suggested)
        if recorded.challenged is not None:
            challenge = challenges[id(recorded.challenged)]
            (answer,) = speaking.answer_challenge(challenge, who, request.flags)
        else:
            answer = speaking.ask(request.opcode, request.body, request.flags)
        challenges[id(recorded)] = answer
        assert form_of(answer) == form_of(recorded.answer), recorded.name
    assert [each.answer.code for each in said] == [402, 1, 1]


def form_of(answer: Answer) -> dict[str, object]:
    """All of an answer that does not depend on keys, numbers and the time."""
    envelope = answer.envelope
    return {
        "opcode": answer.opcode,
        "code": answer.code,
        "flags": hex(answer.flags),
        "recursion": answer.recursion,
        "version": envelope.version,
        "suggested": envelope.suggested,
        "envelope flags": hex(envelope.flags),
        "session": envelope.session > 0,
        "digest": answer.digest and answer.digest[0],
        "credential": kind_of(answer),
    }


def kind_of(answer: Answer) -> bytes:
    """What kind of credential an answer has."""
    return read_credential(answer.credential).kind if answer.credential else b""


def values_of(answer: Answer) -> tuple[bytes, list[Value]]:
    """The handle and its values, but for when they were written."""
    cursor = answer.payload
    handle = cursor.str()
    return handle, [replace(value, timestamp=0) for value in wire.read_values(cursor)]
