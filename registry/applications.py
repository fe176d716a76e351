"""Prefixes applied for: what an applicant says, and who may look at it.

    apply   anybody, logged in or not: a number, and a token to ask with how it stands
    list    reviewers, operators, administrators
    show    the same, and whoever has the token; people in clear only when a reviewer or an
            administrator asks for them with `people`, and each such reading is logged

An application without an identity is bounded by address and in all, so that strangers can fill
neither the store nor a reviewer's day. What becomes of it is `registry.reviews`.
"""

import hashlib
import ipaddress
import secrets
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from protocol.codes import ResponseCode
from protocol.errors import ProtocolError
from protocol.handle import PREFIX_HANDLE_START, ROOT_HANDLE, parent_prefix_handle, to_text
from registry.act_steps import ActOutcome, ActStep, Done
from registry.applicants import ROLES, read_key, read_site
from registry.application_records import (
    FORMAT,
    Application,
    decode_application,
    encipher_people,
    find_application,
    long_form,
    next_number,
    not_known,
    people_form,
    short_form,
    state_of,
)
from registry.authorization import Permitted
from registry.journal import ANONYMOUS, Kind
from registry.office_parameters import Form, Number, Prefix, read, read_prefix
from registry.office_requests import read_from
from registry.offices import (
    APPLICATION,
    OFFICES,
    SOURCE,
    Entries,
    number_key,
    number_of,
    office_payload,
)
from registry.outcomes import Refusal, identity_text, refuse
from registry.particulars import WholeParticulars
from registry.prefixes import find_referral, find_silence, is_responsible
from registry.roles import Role
from registry.standings import Mode, State, find_standing
from registry.views import View

OPEN_MAX = 1_000  # applications that wait for a review, in all
OPEN_PER_ADDRESS_MAX = 10
LISTED_MAX = 1_000
IPV6_NETWORK_BITS = 64  # what one customer has
TOKEN_OCTETS = 24
TOKEN_LETTERS_MAX = 64


def place_fault(view: View, prefix_handle: bytes) -> Refusal | None:
    """Return why a prefix cannot be given out here; None: this node is its parent, it is free."""
    prefix = to_text(prefix_handle[len(PREFIX_HANDLE_START) :])
    parent = parent_prefix_handle(prefix_handle)
    assert parent is not None, "the root is no prefix to apply for"
    silence = find_silence(view, prefix_handle)
    if silence is not None:
        return refuse(ResponseCode.INSUFFICIENT_PERMISSIONS, silence)
    is_parent = view.is_homed(parent) and is_responsible(view, prefix_handle)
    if not is_parent or (parent != ROOT_HANDLE and find_referral(view, prefix_handle)):
        above = to_text(parent[len(PREFIX_HANDLE_START) :])
        words = f"{prefix} is not given out by this node: apply at the node of {above}"
        return refuse(ResponseCode.SERVER_NOT_RESPONSIBLE, words)
    if view.find_record(prefix_handle) is not None or view.is_homed(prefix_handle):
        return refuse(ResponseCode.HANDLE_ALREADY_EXISTS, f"{prefix} is taken")
    if find_standing(view, prefix_handle) is not None:
        words = f"{prefix} is not free yet: it was given out before and not removed"
        return refuse(ResponseCode.HANDLE_ALREADY_EXISTS, words)
    return None


class _Apply(Form):
    prefix: Prefix
    public_key: Any
    particulars: WholeParticulars
    site: Any = None
    role: str = "enterprise"


def decide_apply(step: ActStep) -> ActOutcome:
    """Decide about `applications.apply` {prefix, publicKey, particulars, site?, role?}."""
    form = read(step.parameters, _Apply)
    if isinstance(form, Refusal):
        return form
    handle = read_prefix(form.prefix)
    if isinstance(handle, Refusal):
        return handle
    refusal = place_fault(step.view, handle) or _crowd_fault(step)
    if refusal is not None:
        return refusal
    try:
        public_key, site = read_key(form.public_key), read_site(form.site, form.role)
    except ProtocolError as error:
        return refuse(ResponseCode.INVALID_VALUE, str(error))
    token = secrets.token_urlsafe(TOKEN_OCTETS)
    made = _make(step, handle, form.particulars, public_key, digest=_digest(token))
    made = made.changed(role=form.role, site=site)
    payload = office_payload("apply", (made.entry,))
    people = office_payload("enter people", made.people)
    return Done(
        {"number": made.number, "token": token, "state": State.IN_REVIEW.text},
        (
            step.operation(Kind.PERSON, handle, people),
            step.operation(Kind.APPLICATION, handle, payload),
        ),
        own=(*made.own, (number_key(SOURCE, made.number), _source(step))),
    )


class Made(NamedTuple):
    """A new application, what is journaled of its people, and their keys."""

    number: int
    application: Application
    people: Entries
    own: Entries

    @property
    def entry(self) -> tuple[bytes, bytes]:
        """What the office keeps of it."""
        return self.application.entry(self.number)

    def changed(self, **fields: Any) -> "Made":
        """Return it with other fields of the application."""
        return self._replace(application=msgspec.structs.replace(self.application, **fields))


def transferred_application(
    step: ActStep,
    handle: bytes,
    public_key: bytes,
    particulars: WholeParticulars,
    mode: Mode,
    reason: str,
) -> Made:
    """Return an application that is approved as it is made: a prefix belongs to somebody new."""
    assert step.identity is not None, "a role is somebody's"
    made = _make(step, handle, particulars, public_key)
    return made.changed(
        state=int(State.ACTIVE),
        mode=int(mode),
        decided_s=step.now_s,
        reviewer=(step.identity.handle, step.identity.index),
        reason=reason,
    )


def _make(
    step: ActStep,
    handle: bytes,
    particulars: WholeParticulars,
    public_key: bytes,
    digest: bytes = bytes(32),
) -> Made:
    people, journaled, own = encipher_people(particulars)
    applicant = step.identity or ANONYMOUS
    application = Application(
        FORMAT,
        handle,
        int(State.IN_REVIEW),
        step.now_s,
        (applicant.handle, applicant.index),
        digest,
        public_key,
        ROLES[0],
        b"",
        msgspec.json.encode(particulars.without_people()),
        people,
    )
    return Made(next_number(step.view), application, journaled, own)


def _crowd_fault(step: ActStep) -> Refusal | None:
    """Return why no more applications are taken for now."""
    addresses = [value for _, value in step.view.table(OFFICES).items(prefix=SOURCE)]
    words = ""
    if len(addresses) >= OPEN_MAX:
        words = f"{OPEN_MAX} applications wait for a review already, apply later"
    elif addresses.count(_source(step)) >= OPEN_PER_ADDRESS_MAX:
        words = f"{OPEN_PER_ADDRESS_MAX} applications from your address wait for a review already"
    return refuse(ResponseCode.SERVER_TOO_BUSY, words) if words else None


class _List(Form):
    state: str = ""
    after: Annotated[int, Meta(ge=0, lt=1 << 53)] = 0
    limit: Annotated[int, Meta(ge=1, le=LISTED_MAX)] = 100


def decide_list(step: ActStep) -> ActOutcome:
    """Decide about `applications.list` {state?, after?, limit?}."""
    form = read_from(step, _List, Role.REVIEWER, Role.OPERATOR, Role.ADMINISTRATOR)
    if not isinstance(form, _List):
        return form
    known = [state.text for state in State]
    if form.state and form.state not in known:
        words = f"state is {form.state[:40]!r}: write {', '.join(known)}"
        return refuse(ResponseCode.INVALID_VALUE, words)
    table, found = step.view.table(OFFICES), []
    after = form.after
    page = table.page(number_key(APPLICATION, after), LISTED_MAX, APPLICATION)
    for key, octets in page:
        after, application = number_of(key), decode_application(octets)
        if not form.state or state_of(step.view, after, application).text == form.state:
            found.append(short_form(step.view, after, application))
            if len(found) == form.limit:
                break
    more = table.page(number_key(APPLICATION, after), 1, APPLICATION)
    return Done({"applications": found, "next": str(after) if more else ""})


class _Show(Form):
    number: Number
    token: Annotated[str, Meta(max_length=TOKEN_LETTERS_MAX)] = ""
    people: bool = False


def decide_show(step: ActStep) -> ActOutcome:
    """Decide about `applications.show` {number, token?, people?}."""
    form = read(step.parameters, _Show)
    if isinstance(form, Refusal):
        return form
    application = find_application(step.view, form.number)
    digest = application.token_digest if application is not None else bytes(32)
    has_token = bool(form.token) and secrets.compare_digest(digest, _digest(form.token))
    if not has_token or form.people:
        roles = (Role.REVIEWER, Role.ADMINISTRATOR)
        role = step.role(*roles) if form.people else step.role(Role.OPERATOR, *roles)
        if not isinstance(role, Permitted):
            return role
    if application is None:
        return not_known(form.number)
    document = short_form(step.view, form.number, application)
    document |= long_form(application)
    document["people"] = people_form(step.view, application, in_clear=form.people)
    notes: tuple[str, ...] = ()
    if form.people:
        assert step.identity is not None, "a role is somebody's"
        who = identity_text(step.identity)
        notes = tuple(f"{who} reads person {each.hex()}" for _, each in application.people)
    return Done(document, notes=notes)


def _source(step: ActStep) -> bytes:
    """Return what applications are counted by: an address, of IPv6 the network of its owner."""
    try:
        address = ipaddress.ip_address(step.address)
    except ValueError:
        return b"-"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped).encode()
        return str(ipaddress.ip_network((address, IPV6_NETWORK_BITS), strict=False)).encode()
    return str(address).encode()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
