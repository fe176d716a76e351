"""Personal data of the prefix office: each person encrypted under a key of his own.

    "h", subject -> [format, erased at (0: not), nonce and AES-256-GCM ciphertext]   journaled
    "k", subject -> 32 octets, the key                                               this store only

A subject is 16 random octets; the ciphertext is bound to it. Journal, snapshots, replicas and what
is made of them hold ciphertext. Deleting the key makes all of these unreadable at once: that is how
a person is erased. Without the key (on a replica, after a replay) a person cannot be read either.

What LMDB has freed it uses again in its own time, so a deleted key may stay in the data file until
then, and in copies of that file that were made before.
"""

import secrets
from dataclasses import dataclass
from enum import Enum

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protocol.codes import ResponseCode
from protocol.handle import PREFIX_HANDLE_START
from registry.act_steps import ActOutcome, ActStep, Done
from registry.errors import RecordError
from registry.journal import Kind
from registry.office_parameters import Form
from registry.office_requests import read_from
from registry.offices import OFFICES, PERSON, PERSON_KEY, Entries, office_payload
from registry.outcomes import identity_text, refuse
from registry.particulars import Person
from registry.roles import Role
from registry.standings import second_text
from registry.views import View

FORMAT = 1
SUBJECT_OCTETS = 16
KEY_BITS = 256
NONCE_OCTETS = 12


class Unreadable(Enum):
    """Why a person cannot be read. The values are what is shown."""

    ERASED = "erased"
    NO_KEY = "encrypted, the key is not on this node"


@dataclass(frozen=True, slots=True)
class Enciphered:
    """A new person: the subject, what is journaled, and the key, which is not."""

    subject: bytes
    journaled: Entries
    own: Entries


class _Form(msgspec.Struct, array_like=True, frozen=True):
    format: int
    erased_s: int
    octets: bytes


def encipher(person: Person) -> Enciphered:
    """Return a person under a new key."""
    subject = secrets.token_bytes(SUBJECT_OCTETS)
    key = AESGCM.generate_key(KEY_BITS)
    nonce = secrets.token_bytes(NONCE_OCTETS)
    octets = nonce + AESGCM(key).encrypt(nonce, msgspec.json.encode(person), subject)
    value = msgspec.msgpack.encode(_Form(FORMAT, 0, octets))
    return Enciphered(subject, ((PERSON + subject, value),), ((PERSON_KEY + subject, key),))


def find_person(view: View, subject: bytes) -> Person | Unreadable | None:
    """Return a person in clear, or why not; None: there is none of this name.

    Raises:
        RecordError: damaged.
    """
    table = view.table(OFFICES)
    value = table.get(PERSON + subject)
    if value is None:
        return None
    form = _decode(value)
    if form.erased_s:
        return Unreadable.ERASED
    key = table.get(PERSON_KEY + subject)
    if key is None:
        return Unreadable.NO_KEY
    nonce, ciphertext = form.octets[:NONCE_OCTETS], form.octets[NONCE_OCTETS:]
    try:
        clear = AESGCM(key).decrypt(nonce, ciphertext, subject)
        return msgspec.json.decode(clear, type=Person)
    except (InvalidTag, ValueError, msgspec.MsgspecError) as error:
        raise RecordError(f"person {subject.hex()} does not decode: {error}") from None


def _decode(value: bytes) -> _Form:
    try:
        form = msgspec.msgpack.decode(value, type=_Form)
    except msgspec.MsgspecError as error:
        raise RecordError(f"a person does not decode: {error}") from None
    if form.format != FORMAT:
        raise RecordError(f"a person has format {form.format}, this version reads {FORMAT}")
    return form


class _Erase(Form):
    subject: str


def decide_erase(step: ActStep) -> ActOutcome:
    """Decide about `people.erase` {subject}: nobody can read that person ever after."""
    form = read_from(step, _Erase, Role.REVIEWER, Role.ADMINISTRATOR)
    if not isinstance(form, _Erase):
        return form
    try:
        subject = bytes.fromhex(form.subject)
    except ValueError:
        subject = b""
    value = step.view.table(OFFICES).get(PERSON + subject) if subject else None
    if len(subject) != SUBJECT_OCTETS or value is None:
        words = f"no person is known here as {form.subject[: 2 * SUBJECT_OCTETS]!r}"
        return refuse(ResponseCode.HANDLE_NOT_FOUND, words)
    erased_s = _decode(value).erased_s
    if erased_s:
        return Done({"subject": subject.hex(), "erased": second_text(erased_s)})
    erased = msgspec.msgpack.encode(_Form(FORMAT, step.now_s, b""))
    payload = office_payload("erase person", ((PERSON + subject, erased),))
    assert step.identity is not None, "a role is somebody's"
    return Done(
        {"subject": subject.hex(), "erased": second_text(step.now_s)},
        (step.operation(Kind.PERSON, PREFIX_HANDLE_START, payload),),
        own=((PERSON_KEY + subject, b""),),
        notes=(f"{identity_text(step.identity)} erased person {subject.hex()}",),
    )
