"""What a reviewer decides about an application for a prefix.

    approve  delegated   0.NA/88.118.5 with the applicant's site: another node serves the prefix
             hosted      0.NA/88.118.5 with the service of the prefix above; homed here
    refuse   with a reason, which the applicant sees

Both take a reviewer or an administrator. Approving makes the prefix handle, homes the prefix and
notes how it stands in one frame of the journal.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from protocol.codes import ResponseCode
from protocol.errors import InvalidValueError, ProtocolError
from protocol.handle import parent_prefix_handle, to_text
from protocol.json_forms import key_from_json
from protocol.types.hs_site import decode_hs_site
from protocol.value import HandleValue, Reference
from registry.act_steps import ActOutcome, ActStep, Done
from registry.applicants import is_same_key, read_site
from registry.application_records import Application, find_application, not_known
from registry.applications import place_fault
from registry.checks import check_record, check_values
from registry.journal import JournalOperation, Kind
from registry.office_parameters import Form, Number, Reason, read_prefix
from registry.office_requests import read_from
from registry.offices import SOURCE, STANDING, number_key, office_payload, prefix_key
from registry.outcomes import Refusal, refuse
from registry.prefix_records import ADMIN_INDEX, hosted_values, prefix_values
from registry.prefix_steps import find_left, prefix_text
from registry.roles import Role
from registry.standings import Mode, Standing, State, next_state


@dataclass(frozen=True, slots=True)
class _Review:
    """An application that may be decided about, and by whom."""

    number: int
    application: Application
    reviewer: Reference

    def decided(self, step: ActStep, state: State, mode: int, reason: str) -> Application:
        """Return the application as it is afterwards."""
        return msgspec.structs.replace(
            self.application,
            state=int(state),
            mode=mode,
            decided_s=step.now_s,
            reviewer=(self.reviewer.handle, self.reviewer.index),
            reason=reason,
        )


class _Approve(Form):
    number: Number
    mode: Literal["delegated", "hosted"]
    reason: Reason = "approved"
    delegation: dict[str, Any] | None = None


def decide_approve(step: ActStep) -> ActOutcome:
    """Decide about `applications.approve` {number, mode, reason?, delegation?}.

    `delegation` is delegation.json of the applicant's node; without it the site counts that the
    application names.
    """
    form = read_from(step, _Approve, Role.REVIEWER, Role.ADMINISTRATOR)
    if not isinstance(form, _Approve):
        return form
    review = _find(step, form.number, "approve")
    if isinstance(review, Refusal):
        return review
    handle = review.application.prefix_handle
    mode = Mode[form.mode.upper()]
    refusal = place_fault(step.view, handle)
    if refusal is not None:
        return refusal
    left = find_left(step.view, handle) if mode == Mode.HOSTED else None
    if left is not None:
        words = f"{prefix_text(handle)} cannot be hosted: {left} is there from before, delete it"
        return refuse(ResponseCode.HANDLE_ALREADY_EXISTS, words)
    try:
        values = _values(step, review.application, mode, form.delegation)
    except ProtocolError as error:
        return refuse(ResponseCode.INVALID_VALUE, str(error))
    refusal = check_values(values) or check_record(values)
    if refusal is not None:
        return refusal
    decided = review.decided(step, State.ACTIVE, int(mode), form.reason)
    standing = Standing(State.ACTIVE, mode, form.number, step.now_s, review.reviewer, form.reason)
    entries = (
        decided.entry(form.number),
        (prefix_key(STANDING, handle), standing.encode()),
    )
    homing = [step.operation(Kind.HOME, handle, b"")] if mode == Mode.HOSTED else []
    return Done(
        {
            "number": form.number,
            "prefix": prefix_text(handle),
            "state": State.ACTIVE.text,
            "mode": mode.text,
            "handle": to_text(handle),
        },
        (
            creation(step, handle, values),
            *homing,
            step.operation(Kind.APPLICATION, handle, office_payload("approve", entries)),
        ),
        own=((number_key(SOURCE, form.number), b""),),
    )


class _Refuse(Form):
    number: Number
    reason: Reason


def decide_refuse(step: ActStep) -> ActOutcome:
    """Decide about `applications.refuse` {number, reason}."""
    form = read_from(step, _Refuse, Role.REVIEWER, Role.ADMINISTRATOR)
    if not isinstance(form, _Refuse):
        return form
    review = _find(step, form.number, "refuse")
    if isinstance(review, Refusal):
        return review
    handle = review.application.prefix_handle
    decided = review.decided(step, State.REJECTED, 0, form.reason)
    payload = office_payload("refuse", (decided.entry(form.number),))
    return Done(
        {"number": form.number, "prefix": prefix_text(handle), "state": State.REJECTED.text},
        (step.operation(Kind.APPLICATION, handle, payload),),
        own=((number_key(SOURCE, form.number), b""),),
    )


def creation(step: ActStep, handle: bytes, values: Sequence[HandleValue]) -> JournalOperation:
    """Return what makes a record, or puts other values in its place, in store and journal."""
    assert step.identity is not None, "a role is somebody's"
    return JournalOperation(Kind.CREATE, handle, tuple(values), step.identity, step.now_s)


def _find(step: ActStep, number: int, verb: str) -> _Review | Refusal:
    application = find_application(step.view, number)
    if application is None:
        return not_known(number)
    state = next_state(State(application.state), verb, f"application {number}")
    assert step.identity is not None, "a role is somebody's"
    return state if isinstance(state, Refusal) else _Review(number, application, step.identity)


def _values(
    step: ActStep, application: Application, mode: Mode, delegation: dict[str, Any] | None
) -> tuple[HandleValue, ...]:
    """Return the values of the new prefix handle. Raises: ProtocolError."""
    handle, now_s = application.prefix_handle, step.now_s
    if mode == Mode.HOSTED:
        parent = parent_prefix_handle(handle)
        assert parent is not None, "it was looked at before"
        return hosted_values(handle, parent, application.public_key, now_s=now_s)
    octets, role = application.site, application.role
    if delegation is not None:
        octets, role = _read_delegation(delegation, application)
    if not octets:
        raise InvalidValueError(
            f"application {prefix_text(handle)} names no site: give delegation.json of the "
            "applicant's node, or have the prefix hosted"
        )
    site = decode_hs_site(octets)
    return prefix_values(
        Reference(handle, ADMIN_INDEX),
        now_s=now_s,
        site=site,
        public_key=application.public_key,
        prefix_site=site if role == "secondary" else None,
    )


class _Delegation(msgspec.Struct):
    """delegation.json, as far as it matters here."""

    prefix: str
    site: dict[str, Any]
    admin_public_key: dict[str, Any] | None = None
    admin_index: int = ADMIN_INDEX
    role: str = "enterprise"


def _read_delegation(document: dict[str, Any], application: Application) -> tuple[bytes, str]:
    """Return (HS_SITE data, role) of a delegation. Raises: ProtocolError: not the applicant's."""
    try:
        form = msgspec.convert(document, _Delegation)
    except msgspec.ValidationError as error:
        raise InvalidValueError(f"delegation: {error}") from None
    handle = read_prefix(form.prefix)
    if handle != application.prefix_handle:
        prefix = prefix_text(application.prefix_handle)
        raise InvalidValueError(f"delegation is of {form.prefix[:80]!r}, applied is for {prefix}")
    if form.admin_index != ADMIN_INDEX:
        raise InvalidValueError(f"delegation.admin_index is not {ADMIN_INDEX}")
    if form.admin_public_key is not None:
        where = "delegation.admin_public_key.value"
        key = key_from_json(form.admin_public_key.get("value"), where)
        if not is_same_key(key, application.public_key):
            raise InvalidValueError(f"{where} is another key than the application has")
    return read_site(form.site, form.role, "delegation.site"), form.role
