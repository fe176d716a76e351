"""How the past of an identifier is told: events, states, and which values whoever asks may see.

Of a frame that did more than fits into an answer the last is told.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from protocol.codes import Permission
from protocol.json_forms import value_to_json
from protocol.value import HandleValue
from registry.history_frames import Changes, Deed
from registry.journal import JournalOperation, Kind
from registry.life_cycle import who
from registry.mark_changes import read_mark
from registry.range_changes import REGISTER, REVOKE
from registry.range_documents import Range, read_range
from registry.range_shown import name_range
from registry.range_steps import RangeStep
from registry.row_past import Moment

# Of the values in one answer, as they are told; an answer goes from process to process whole.
ANSWER_OCTETS_MAX = 512 * 1_024
_VALUE_OCTETS = 200  # what a value's form takes beside its data

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAMES = {Kind.CREATE: "create", Kind.REPLACE_KEY: "replace-key"}
_MARKS = {0: "thaw", 1: "freeze", 2: "revoke", 3: "delete"}


class Reader(NamedTuple):
    """Who reads: an administrator who may read hidden values, or somebody else.

    `hidden_now` are the indexes at which the handle has hidden values today: what stood there is
    not shown to others either, whoever could read it then.
    """

    reads_hidden: bool
    hidden_now: frozenset[int]

    def may_read(self, value: HandleValue) -> bool:
        """Say whether a value is shown."""
        if self.reads_hidden:
            return value.is_public or bool(value.permission & Permission.ADMIN_READ)
        return self.is_open(value)

    def is_open(self, value: HandleValue) -> bool:
        """Say whether a value is shown to everybody."""
        return value.is_public and value.index not in self.hidden_now


def deeds_told(change: Changes) -> list[Deed]:
    """Return the last of what a frame did that fits into an answer, at least one deed."""
    deeds = change.deeds()
    octets = 0
    for position, deed in reversed(list(enumerate(deeds))):
        octets += octets_told(deed)
        if octets > ANSWER_OCTETS_MAX and position + 1 < len(deeds):
            return deeds[position + 1 :]
    return deeds


def octets_told(deed: Deed) -> int:
    """Return how much telling of a deed takes, about."""
    told = sum(_VALUE_OCTETS + len(each.data) * 4 // 3 for each in deed.values)
    return _VALUE_OCTETS + told


def events_of(change: Changes, reader: Reader) -> Iterable[dict[str, Any]]:
    """Iterate over what is told of a frame."""
    told = deeds_told(change)
    omitted = len(change.operations) + len(change.steps) - len(told)
    was_there = change.was_there or omitted > 0
    for deed in told:
        operation = deed.operation if isinstance(deed, RangeStep) else deed
        event = {"sequence": change.seq, "time": moment_text(change.time_ms)}
        if isinstance(deed, RangeStep):
            event |= _step_form(deed, reader)
            was_there = deed.kept or deed.answers
        else:
            event |= _operation_form(deed, was_there, reader)
            was_there = deed.kind != Kind.DELETE
        event["by"] = who(operation.actor)
        if omitted:
            event["omitted"] = omitted
            omitted = 0
        yield event


def _operation_form(operation: JournalOperation, was_there: bool, reader: Reader) -> dict[str, Any]:
    form: dict[str, Any] = {"operation": _name(operation, was_there)}
    if operation.kind == Kind.MARK:
        form["reason"] = read_mark(operation)[1].reason
    elif operation.kind != Kind.DELETE:
        form |= shown(operation.values, reader)
    return form


def _step_form(step: RangeStep, reader: Reader) -> dict[str, Any]:
    range_ = step.range
    form: dict[str, Any] = {"operation": _step_name(step), "range": name_range(range_)}
    if step.kept:
        form["kept"] = True
    elif step.answers:
        form |= shown(step.values, reader)
    return form | _revoked(range_)


def _step_name(step: RangeStep) -> str:
    """Return what a change of its range was to an identifier."""
    if step.verb != REGISTER or step.kept:
        return step.verb
    return "create" if step.answers else REVOKE  # one that was revoked is loaded so


def _revoked(range_: Range) -> dict[str, str]:
    """Return why a range was revoked, if it was."""
    return {} if range_.revoked is None else {"reason": range_.revoked[3]}


def range_event(change: Changes, step: RangeStep) -> dict[str, Any]:
    """Return what is told of a change of a range: of that around an identifier, and all parts."""
    parts = [read_range(*part) for part in step.parts]
    return {
        "sequence": change.seq,
        "time": moment_text(change.time_ms),
        "operation": step.verb,
        "by": who(step.operation.actor),
        "range": name_range(step.range),
        "identifiers": step.range.span.size,
        "ranges": [name_range(part) for part in parts],
    } | _revoked(step.range)


def _name(operation: JournalOperation, was_there: bool) -> str:
    if operation.kind == Kind.MARK:
        return _MARKS[read_mark(operation)[0]]
    if operation.kind == Kind.CREATE and was_there:
        return "replace"
    return _NAMES.get(operation.kind, operation.kind.name.lower())


def shown(values: Iterable[HandleValue], reader: Reader) -> dict[str, Any]:
    """Return the values that a reader may see, and how many others there are."""
    values = tuple(values)
    seen = [each for each in values if reader.may_read(each)]
    return {"values": [value_to_json(each) for each in seen], "hidden": len(values) - len(seen)}


def made_by(moment: Moment) -> dict[str, Any]:
    """Return what is told of the change that made a state, and of the range that it is of."""
    made: dict[str, Any] = {}
    change, operation = moment.change, moment.operation
    if moment.step is not None:
        operation = moment.step.operation
        made = {"range": name_range(moment.step.range)} | _revoked(moment.step.range)
    elif moment.held is not None:
        range_ = read_range(moment.held.key, moment.held.octets)
        made = {"range": name_range(range_)} | _revoked(range_)
    if change is None or operation is None:
        return made
    made |= {
        "sequence": change.seq,
        "time": moment_text(change.time_ms),
        "by": who(operation.actor),
    }
    if operation.kind == Kind.MARK:
        made["reason"] = read_mark(operation)[1].reason
    return made


def moment_text(time_ms: int) -> str:
    """Return milliseconds since 1970 as a time in UTC."""
    moment = EPOCH + timedelta(milliseconds=time_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
