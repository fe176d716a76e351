"""The foreign client itself, held to the recorded traffic of real clients and servers."""

import base64
import json
import re
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from tests.interop import foreign_crypto as crypto
from tests.interop.foreign_session import AES_CIPHER, decrypt
from tests.interop.foreign_wire import (
    ANSWER_CHALLENGE,
    CERT,
    ENCRYPTED,
    Answer,
    Cursor,
    Envelope,
    read_site,
    read_values,
)

VECTORS = Path(__file__).parents[1] / "vectors"


def session_keys() -> dict[int, bytes]:
    text = (VECTORS / "session-keys.txt").read_text(encoding="ascii")
    pairs = re.findall(r"session=(\d+) key=([0-9A-F]+)", text)
    return {int(number): bytes.fromhex(key) for number, key in pairs}


KEYS = session_keys()


def recorded() -> list[tuple[Envelope, Answer]]:
    """Requests and responses alike; an `Answer` with code 0 is a request."""
    messages = []
    for line in (VECTORS / "messages.jsonl").read_text(encoding="ascii").splitlines():
        octets = bytes.fromhex(json.loads(line)["bytes"])
        envelope, message = Envelope.read(octets), octets[20:]
        if envelope.sequence or envelope.length != len(message):
            continue
        if envelope.flags & ENCRYPTED:
            message = decrypt(KEYS[envelope.session], AES_CIPHER, message, (2, 10))
        messages.append((envelope, Answer(envelope, message)))
    return messages


MESSAGES = recorded()
REQUESTS = {e.request: message for e, message in MESSAGES if message.code == 0}
SERVER_KEY = crypto.read_public_key((VECTORS / "pubkey.bin").read_bytes())
ADMIN_KEY = crypto.read_public_key((VECTORS / "admpub.bin").read_bytes())
VERSIONS = [(2, minor) for minor in range(1, 11)]


def test_the_recording_is_read_whole() -> None:
    assert len(MESSAGES) > 340
    assert {envelope.version for envelope, _ in MESSAGES} == set(VERSIONS)


@pytest.mark.parametrize("version", VERSIONS)
def test_envelopes_are_packed_as_recorded(version: tuple[int, int]) -> None:
    for line in (VECTORS / "messages.jsonl").read_text(encoding="ascii").splitlines():
        octets = bytes.fromhex(json.loads(line)["bytes"])
        envelope = Envelope.read(octets)
        if envelope.version == version:
            assert envelope.pack() == octets[:20]


@pytest.mark.parametrize("version", VERSIONS)
def test_request_digests(version: tuple[int, int]) -> None:
    digests = [
        (REQUESTS[e.request].covered, message.digest)
        for e, message in MESSAGES
        if message.code and e.version == version and message.digest is not None
    ]
    assert digests
    assert all(crypto.same_digest(covered, digest) for covered, digest in digests)


@pytest.mark.parametrize("version", VERSIONS)
def test_server_signatures(version: tuple[int, int]) -> None:
    signed = [
        message
        for e, message in MESSAGES
        if message.code and e.version == version and message.flags & CERT and message.credential
        if crypto.read_credential(message.credential).kind == b"HS_SIGNED"
    ]
    assert signed
    for message in signed:
        crypto.check_certified(message, SERVER_KEY)
        spoilt = Answer(message.envelope, message.message.replace(b"88.118", b"88.119"))
        if spoilt.covered != message.covered:
            with pytest.raises(InvalidSignature):
                crypto.check_certified(spoilt, SERVER_KEY)


def test_session_macs() -> None:
    count = 0
    for envelope, message in MESSAGES:
        parts = crypto.read_credential(message.credential) if message.credential else None
        if parts is not None and parts.kind == b"HS_MAC":
            expected = crypto.mac(KEYS[envelope.session], envelope, parts.counter, message.covered)
            assert (parts.hash_name, parts.signature) == expected, envelope
            count += 1
    assert count > 50


def test_answers_to_challenges_have_no_mac() -> None:
    answers = [m for e, m in MESSAGES if m.opcode == ANSWER_CHALLENGE and e.session in KEYS]
    assert len([m for m in answers if m.code == 0]) == len(KEYS)
    assert not any(message.credential for message in answers if message.code == 0)


def challenge_answers() -> list[tuple[tuple[int, int], Answer, bytes]]:
    """Version, answer and challenge octets of every OC 200 that follows a challenge."""
    found = []
    challenges = {e.session: message for e, message in MESSAGES if message.code == 402}
    for envelope, message in MESSAGES:
        if message.opcode == ANSWER_CHALLENGE and message.code == 0:
            challenge = challenges[envelope.session]
            assert challenge.digest is not None
            version = min(challenge.envelope.version, challenge.envelope.suggested)
            found.append((version, message, challenge.payload.str() + challenge.digest[1]))
    return found


def test_challenge_answers() -> None:
    kinds = set()
    for version, message, challenge in challenge_answers():
        cursor = Cursor(message.body)
        kind, _, _, answer = cursor.str(), cursor.str(), cursor.number("i"), cursor.str()
        kinds.add((kind, version))
        inner = Cursor(answer)
        if kind == b"HS_PUBKEY":
            crypto.check_signature(ADMIN_KEY, inner.str(), inner.str(), challenge)
        elif answer[0] != 0x22:
            assert answer == crypto.SECRET_RULES[answer[0]](b"interop-secret", challenge)
        else:
            inner.take(1)
            salt, rounds = inner.str(), inner.number("i")
            assert answer == crypto.pbkdf2_answer(b"interop-secret", challenge, rounds, salt)
    assert {kind for kind, _ in kinds} == {b"HS_PUBKEY", b"HS_SECKEY"}
    assert len({version for _, version in kinds}) == 10


def test_keys_and_site() -> None:
    assert isinstance(ADMIN_KEY, RSAPublicKey)
    assert crypto.pack_public_key(ADMIN_KEY) == (VECTORS / "admpub.bin").read_bytes()
    private = crypto.read_private_key((VECTORS / "admpriv.bin").read_bytes())
    assert private.public_key() == ADMIN_KEY
    assert (
        crypto.read_private_key((VECTORS / "privkey.bin").read_bytes()).public_key() == SERVER_KEY
    )
    boot = json.loads((VECTORS / "boot.json").read_text(encoding="utf-8"))
    data = boot["handleRecords"]["0.NA/88.118"]["values"][0]["data"]["value"]
    site = read_site(base64.b64decode(data))
    assert (site.version, site.servers[0].address) == ((2, 10), "127.0.0.1")
    assert site.servers[0].port(2) == 8000


def test_values_are_packed_as_recorded() -> None:
    records = [message for _, message in MESSAGES if (message.opcode, message.code) == (1, 1)]
    assert records
    for message in records:
        cursor = message.payload
        cursor.str()
        octets = cursor.rest
        values = read_values(Cursor(octets))
        assert b"".join(value.pack() for value in values) == octets[4:]
