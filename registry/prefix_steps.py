"""What every act on a prefix that this node gave out begins and ends with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic

from protocol.codes import ResponseCode
from protocol.handle import PREFIX_HANDLE_START, ROOT_HANDLE, to_text
from registry.act_steps import ActStep, Done
from registry.journal import ANONYMOUS, JournalOperation, Kind
from registry.office_parameters import Form, FormType, Prefix, Reason, read_prefix
from registry.office_requests import read_from
from registry.offices import OFFICES, STANDING, Entries, office_payload, prefix_key
from registry.outcomes import Need, Refusal, identity_text, refuse
from registry.prefixes import is_responsible
from registry.roles import Role
from registry.schema import folded_key
from registry.standings import Mode, Standing, State, find_standing, next_state, second_text
from registry.views import View


class Which(Form):
    """Names a prefix, and why something is done to it."""

    prefix: Prefix
    reason: Reason = "asked for"


@dataclass(frozen=True, slots=True)
class Found(Generic[FormType]):
    """A prefix that the step may be taken with."""

    verb: str
    form: FormType
    handle: bytes
    standing: Standing
    after: State
    reason: str


def prefix_text(prefix_handle: bytes) -> str:
    """Return `88.118.5` for `0.NA/88.118.5`."""
    return to_text(prefix_handle[len(PREFIX_HANDLE_START) :])


def current_standing(view: View, handle: bytes) -> Standing | None:
    """Return how a prefix stands, noted or not; None: this node did not give it out."""
    standing = find_standing(view, handle)
    if standing is not None:
        return standing
    if handle == ROOT_HANDLE or not is_responsible(view, handle):
        return None
    if view.find_row(folded_key(handle)) is None:
        return None
    mode = Mode.HOSTED if view.is_homed(handle) else Mode.DELEGATED
    return Standing(State.ACTIVE, mode, 0, 0, ANONYMOUS)


def not_given_out(handle: bytes) -> Refusal:
    """Return the refusal of a prefix that is not this node's to decide about."""
    words = f"{prefix_text(handle)} was not given out by this node"
    return refuse(ResponseCode.HANDLE_NOT_FOUND, words)


def begin(step: ActStep, verb: str, form_type: type[FormType]) -> Found[FormType] | Refusal | Need:
    """Find the prefix a step is to be taken with; `form_type` is a `Which`."""
    form = read_from(step, form_type, Role.REVIEWER, Role.ADMINISTRATOR)
    if isinstance(form, Refusal | Need):
        return form
    assert isinstance(form, Which)
    handle = read_prefix(form.prefix)
    if isinstance(handle, Refusal):
        return handle
    standing = current_standing(step.view, handle)
    if standing is None:
        return not_given_out(handle)
    after = next_state(standing.state, verb, prefix_text(handle))
    if isinstance(after, Refusal):
        return after
    return Found(verb, form, handle, standing, after, form.reason)


def end(
    step: ActStep,
    found: Found[Any],
    *,
    silent: bool = False,
    kept: bytes = b"",
    row: bytes | None = None,
    number: int | None = None,
    before: Sequence[JournalOperation] = (),
    entries: Entries = (),
    own: Entries = (),
) -> Done:
    """Return the step as it is done.

    Args:
        step: who asks, and when.
        found: the prefix.
        silent: it does not answer from now on.
        kept: the row of its handle, while it is silent.
        row: what is in that row's place afterwards; None: what was there.
        number: of its application from now on; None: as before.
        before: what is done before.
        entries: of the prefix office, beside the standing.
        own: entries that stay out of the journal.
    """
    assert step.identity is not None, "a role is somebody's"
    number = found.standing.number if number is None else number
    standing = Standing(
        found.after, found.standing.mode, number, step.now_s, step.identity, found.reason,
        silent, kept,
    )  # fmt: skip
    entries = (*entries, (prefix_key(STANDING, found.handle), standing.encode()))
    payload = office_payload(found.verb, entries, row)
    operation = step.operation(Kind.APPLICATION, found.handle, payload)
    return Done(standing_form(found.handle, standing), (*before, operation), own)


def standing_form(handle: bytes, standing: Standing) -> dict[str, Any]:
    """Return how a prefix stands as the REST interface shows it."""
    form: dict[str, Any] = {
        "prefix": prefix_text(handle),
        "state": standing.state.text,
        "mode": standing.mode.text,
        "answers": not standing.silent,
    }
    if standing.number:
        form["application"] = standing.number
    if standing.since_s:
        form["since"] = second_text(standing.since_s)
        form["reason"] = standing.reason
        form["by"] = identity_text(standing.actor)
    return form


def find_left(view: View, handle: bytes) -> str | None:
    """Return the name of something under a prefix or derived from it, None when nothing is.

    What was revoked is not something: its name stays taken, and nobody can take it away.
    """
    handles = view.list_handles(handle, None, 1).handles
    if handles:
        return to_text(handles[0])
    prefix = handle[len(PREFIX_HANDLE_START) :]
    counts = view.counts(prefix)
    if counts.rows:  # beyond more revoked ones than are looked at
        return f"{counts.rows:,} handles under {to_text(prefix)}"
    if counts.ranges:
        return f"{counts.ranges} ranges under {to_text(prefix)}, which can be revoked"
    derived = next(view.table("handles").items(prefix=handle + b"."), None)
    if derived is not None:
        return to_text(derived[0])
    # A suspended one has no row.
    noted = next(view.table(OFFICES).items(prefix=prefix_key(STANDING, handle + b".")), None)
    return None if noted is None else f"{to_text(noted[0][1:])}, which was given out"
