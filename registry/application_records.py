"""What is stored of an application for a prefix, and how it is shown."""

from typing import Any

import msgspec

from protocol.codes import ResponseCode
from protocol.handle import PREFIX_HANDLE_START, to_text
from protocol.json_forms import key_to_json
from protocol.value import Reference
from registry.errors import RecordError
from registry.journal import ANONYMOUS
from registry.offices import APPLICATION, OFFICES, Entries, number_key, number_of
from registry.outcomes import Refusal, identity_text, refuse
from registry.particulars import Person, WholeParticulars
from registry.people import encipher, find_person
from registry.standings import Mode, State, find_standing, second_text
from registry.views import View

FORMAT = 1
_LEGAL_PERSON, _CONTACT = "legal person", "contact"


class Application(msgspec.Struct, array_like=True, frozen=True):
    """What is stored of one. `state` is IN_REVIEW, REJECTED, or ACTIVE once it was approved."""

    format: int
    prefix_handle: bytes
    state: int
    made_s: int
    applicant: tuple[bytes, int]
    token_digest: bytes
    public_key: bytes
    role: str
    site: bytes
    particulars: bytes
    people: tuple[tuple[str, bytes], ...]
    mode: int = 0
    decided_s: int = 0
    reviewer: tuple[bytes, int] = (b"", -1)
    reason: str = ""

    def entry(self, number: int) -> tuple[bytes, bytes]:
        """Return what the office keeps under its number."""
        return number_key(APPLICATION, number), msgspec.msgpack.encode(self)


def find_application(view: View, number: int) -> Application | None:
    """Return an application, None when there is none of that number. Raises: RecordError."""
    octets = view.table(OFFICES).get(number_key(APPLICATION, number))
    return None if octets is None else decode_application(octets)


def decode_application(octets: bytes) -> Application:
    """Take a stored application apart. Raises: RecordError."""
    try:
        application = msgspec.msgpack.decode(octets, type=Application)
    except msgspec.MsgspecError as error:
        raise RecordError(f"an application does not decode: {error}") from None
    if application.format != FORMAT:
        raise RecordError(f"an application has format {application.format}, not {FORMAT}")
    return application


def encipher_people(
    particulars: WholeParticulars,
) -> tuple[tuple[tuple[str, bytes], ...], Entries, Entries]:
    """Return (part and subject of each person, what is journaled of them, their keys)."""
    persons: list[tuple[str, Person]] = [(_LEGAL_PERSON, particulars.legal_person)]
    persons += [(_CONTACT, contact) for contact in particulars.contacts]
    enciphered = [(part, encipher(person)) for part, person in persons]
    return (
        tuple((part, each.subject) for part, each in enciphered),
        tuple(entry for _, each in enciphered for entry in each.journaled),
        tuple(entry for _, each in enciphered for entry in each.own),
    )


def next_number(view: View) -> int:
    """Return the number of the next application."""
    last = view.table(OFFICES).before(bytes([APPLICATION[0] + 1]))
    return 1 if last is None or last[0][:1] != APPLICATION else number_of(last[0]) + 1


def not_known(number: int) -> Refusal:
    """Return the refusal of a number that no application has."""
    return refuse(ResponseCode.HANDLE_NOT_FOUND, f"there is no application {number}")


def state_of(view: View, number: int, application: Application) -> State:
    """Return how an application stands: once approved, as its prefix does."""
    if application.state != State.ACTIVE:
        return State(application.state)
    standing = find_standing(view, application.prefix_handle)
    return standing.state if standing and standing.number == number else State.DELETED


def short_form(view: View, number: int, application: Application) -> dict[str, Any]:
    """Return an application as a list shows it."""
    particulars: dict[str, Any] = msgspec.json.decode(application.particulars)
    return {
        "number": number,
        "prefix": to_text(application.prefix_handle[len(PREFIX_HANDLE_START) :]),
        "state": state_of(view, number, application).text,
        "name": particulars["name"],
        "made": second_text(application.made_s),
    }


def long_form(application: Application) -> dict[str, Any]:
    """Return what is shown of one application beside that, people left out."""
    form: dict[str, Any] = {
        "publicKey": key_to_json(application.public_key),
        "role": application.role,
        "hasSite": bool(application.site),
        "particulars": msgspec.json.decode(application.particulars),
    }
    applicant = Reference(*application.applicant)
    if applicant != ANONYMOUS:
        form["applicant"] = identity_text(applicant)
    if application.decided_s:
        form["decided"] = second_text(application.decided_s)
        form["reviewer"] = identity_text(Reference(*application.reviewer))
        form["reason"] = application.reason
    if application.mode:
        form["mode"] = Mode(application.mode).text
    return form


def people_form(view: View, application: Application, *, in_clear: bool) -> list[dict[str, Any]]:
    """Return an application's people, or how they stand. Raises: RecordError."""
    people: list[dict[str, Any]] = []
    for part, subject in application.people:
        form: dict[str, Any] = {"part": part, "subject": subject.hex()}
        person = find_person(view, subject)
        if not isinstance(person, Person):
            form["state"] = "missing" if person is None else person.value
        elif in_clear:
            form |= msgspec.to_builtins(person)
        else:
            form["state"] = "encrypted"
        people.append(form)
    return people
