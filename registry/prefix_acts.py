"""What reviewers and administrators do with prefixes that this node gave out.

    suspend   the prefix stops answering: its identifiers if they are hosted here, its prefix
              handle in any case, so nobody is referred to its node. Whoever asks is told why
    resume    it answers again; also takes back a release
    transfer  it belongs to somebody else: a new key, perhaps new particulars. Keys and rights of
              the one before are gone, and so are sessions that were begun with them
    release   it is to be deleted: nothing new is registered under it here, what is there answers
    remove    it is gone, once nothing is left under it

`registry.standings` has the table of what may follow what. A prefix that was delegated or homed
without an application is treated alike. Prefixes derived from one stand on their own.
"""

from typing import Any

from protocol.codes import ResponseCode
from protocol.errors import ProtocolError
from protocol.handle import to_text
from registry.act_steps import ActOutcome, ActStep, Done
from registry.applicants import read_key
from registry.applications import transferred_application
from registry.checks import check_record
from registry.journal import JournalOperation, Kind
from registry.marks import kept_row, remarked
from registry.office_parameters import Reason, read_prefix
from registry.office_requests import read_from
from registry.offices import OFFICES, QUOTA, STANDING, Entries, office_payload, prefix_key
from registry.outcomes import Refusal, refuse
from registry.owners import next_owner_entry
from registry.particulars import WholeParticulars
from registry.prefix_records import transferred_values
from registry.prefix_steps import (
    Found,
    Which,
    begin,
    current_standing,
    end,
    find_left,
    not_given_out,
    prefix_text,
    standing_form,
)
from registry.reviews import creation
from registry.roles import Role
from registry.schema import Record, decode_record, encode_record, folded_key
from registry.standings import Mode, State
from registry.views import View


class _Why(Which, kw_only=True):
    reason: Reason


class _Transfer(Which, kw_only=True):
    public_key: Any
    particulars: WholeParticulars | None = None


def decide_show(step: ActStep) -> ActOutcome:
    """Decide about `prefixes.show` {prefix}."""
    form = read_from(step, Which, Role.REVIEWER, Role.OPERATOR, Role.ADMINISTRATOR)
    if not isinstance(form, Which):
        return form
    handle = read_prefix(form.prefix)
    if isinstance(handle, Refusal):
        return handle
    standing = current_standing(step.view, handle)
    return not_given_out(handle) if standing is None else Done(standing_form(handle, standing))


def decide_suspend(step: ActStep) -> ActOutcome:
    """Decide about `prefixes.suspend` {prefix, reason}."""
    found = begin(step, "suspend", _Why)
    if not isinstance(found, Found):
        return found
    key = folded_key(found.handle)
    row = step.view.find_row(key) or b""
    kept = remarked(step.view.stored_row(key), row) if row else b""  # frozen, it stays so
    return end(step, found, silent=True, kept=kept, row=b"")


def decide_resume(step: ActStep) -> ActOutcome:
    """Decide about `prefixes.resume` {prefix, reason?}."""
    found = begin(step, "resume", Which)
    if not isinstance(found, Found):
        return found
    # A record that the owner of the machine made meanwhile is not written over.
    is_free = step.view.find_row(folded_key(found.handle)) is None
    return end(step, found, row=found.standing.row if found.standing.silent and is_free else None)


def decide_release(step: ActStep) -> ActOutcome:
    """Decide about `prefixes.release` {prefix, reason}."""
    found = begin(step, "release", _Why)
    if not isinstance(found, Found):
        return found
    return end(step, found, silent=found.standing.silent, kept=found.standing.row)


def decide_transfer(step: ActStep) -> ActOutcome:
    """Decide about `prefixes.transfer` {prefix, publicKey, particulars?, reason?}."""
    found = begin(step, "transfer", _Transfer)
    if not isinstance(found, Found):
        return found
    record = _record(step.view, found)
    if record is None:
        words = f"{to_text(found.handle)} is not registered"
        return refuse(ResponseCode.HANDLE_NOT_FOUND, words)
    try:
        public_key = read_key(found.form.public_key)
    except ProtocolError as error:
        return refuse(ResponseCode.INVALID_VALUE, str(error))
    values = transferred_values(found.handle, record.values, public_key, now_s=step.now_s)
    refusal = check_record(values)
    if refusal is not None:
        return refusal
    silent = found.standing.silent
    before: list[JournalOperation] = [] if silent else [creation(step, found.handle, values)]
    number: int | None = None
    entries: Entries = ()
    own: Entries = ()
    if found.form.particulars is not None:
        made = transferred_application(
            step, found.handle, public_key, found.form.particulars, found.standing.mode,
            found.reason,
        )  # fmt: skip
        number, entries, own = made.number, (made.entry,), made.own
        payload = office_payload("enter people", made.people)
        before.append(step.operation(Kind.PERSON, found.handle, payload))
    return end(
        step,
        found,
        silent=silent,
        kept=remarked(found.standing.row, encode_record(values, found.handle)) if silent else b"",
        number=number,
        before=before,
        entries=entries,
        own=(*own, next_owner_entry(step.view, found.handle)),
    )


def decide_remove(step: ActStep) -> ActOutcome:
    """Decide about `prefixes.remove` {prefix}."""
    found = begin(step, "remove", Which)
    if not isinstance(found, Found):
        return found
    handle = found.handle
    left = find_left(step.view, handle)
    if left is not None:
        words = f"{prefix_text(handle)} is not empty, there is {left}: delete all under it first"
        return refuse(ResponseCode.INVALID_VALUE, words)
    operations: list[JournalOperation] = []
    if step.view.find_row(folded_key(handle)) is not None:
        operations.append(step.operation(Kind.DELETE, handle, b""))
    if found.standing.mode == Mode.HOSTED:
        operations.append(step.operation(Kind.UNHOME, handle, b""))
    entries: Entries = ((prefix_key(STANDING, handle), b""),)
    if step.view.table(OFFICES).get(prefix_key(QUOTA, handle)) is not None:
        entries += ((prefix_key(QUOTA, handle), b""),)
    payload = office_payload("remove", entries)
    operations.append(step.operation(Kind.APPLICATION, handle, payload))
    result = {"prefix": prefix_text(handle), "state": State.DELETED.text}
    return Done(result, tuple(operations), (next_owner_entry(step.view, handle),))


def _record(view: View, found: Found[Any]) -> Record | None:
    if not found.standing.silent:
        return view.find_record(found.handle)
    return decode_record(kept_row(found.standing.row)) if found.standing.row else None
