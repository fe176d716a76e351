"""The history of an identifier, and its state as of a time or frame, as acts.

    life.history  {"handle", "after" (sequence, 0), "limit"}
        -> {"handle", "events": [E...], "next": sequence to go on after, or 0,
            "complete": whether its creation is known, "knownAfter": sequence}
        E = {"sequence", "time", "operation", "by", "values"?, "hidden"?, "reason"?, "omitted"?}

    life.as_of    {"handle", "time" (RFC 3339) or "sequence"}
        -> {"handle", "asOf": sequence, "state", "values", "hidden", "sequence", "time", "by",
            "reason"?}; the last four are of the change that made it so, absent when none is known

An operation is create, replace, add, remove, modify, delete, replace-key, freeze, thaw or revoke;
one that gives or takes values has all that were there after it. Public values are told to
everybody, values for administrators to those who may read them now; the others are left out and
counted in `hidden`. Of several changes in one frame (a bulk commit) the last are told; `omitted`
counts the others.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from protocol.codes import AdminPermission, OpCode, Permission, ResponseCode
from protocol.handle import is_prefix_handle, prefix_handle, to_text
from protocol.json_forms import value_to_json
from protocol.value import HandleValue
from registry.act_steps import ActDecider, ActOutcome, ActStep, Done
from registry.authorization import Permitted, authorize_on_record
from registry.frame_times import last_at
from registry.histories import SEARCHED_OCTETS_MAX, Changes, History, Moment
from registry.history_index import EVENTS_MAX, SEQUENCE_MAX
from registry.journal import JournalOperation, Kind
from registry.life_cycle import find_handle, who
from registry.mark_changes import read_mark
from registry.outcomes import Need, Refusal, refuse

# Of the values in one answer, as they are told; an answer goes from process to process whole.
ANSWER_OCTETS_MAX = 512 * 1_024
# Of the frames read for one answer, in clear: those of bulk registration are many times as large
# as what they say of one handle.
READ_OCTETS_MAX = SEARCHED_OCTETS_MAX
_VALUE_OCTETS = 200  # what a value's form takes beside its data

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAMES = {Kind.CREATE: "create", Kind.REPLACE_KEY: "replace-key"}
_MARKS = {0: "thaw", 1: "freeze", 2: "revoke", 3: "delete"}


class _Reader(NamedTuple):
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


def decide_history(step: ActStep) -> ActOutcome:
    """Decide about `life.history`."""
    handle = find_handle(step)
    if isinstance(handle, Refusal):
        return handle
    after = _number(step, "after", 0, 0, SEQUENCE_MAX)
    if isinstance(after, Refusal):
        return after
    limit = _number(step, "limit", EVENTS_MAX, 1, EVENTS_MAX)
    if isinstance(limit, Refusal):
        return limit
    history = History(step.view, handle)
    page, following = _page(history, after, limit)
    values = [value for change in page for each in _told(change) for value in each.values]
    reader = _find_reader(step, handle, values)
    if isinstance(reader, Need):
        return reader
    events = [event for change in page for event in _events(change, reader)]
    return Done(
        {
            "handle": to_text(handle),
            "events": events,
            "next": following,
            "complete": history.is_whole and history.first == 1,
            "knownAfter": history.first - 1,
        }
    )


def _page(history: History, after: int, limit: int) -> tuple[list[Changes], int]:
    """Return the changes to tell, and the frame to go on after, 0 at the end."""
    page: list[Changes] = []
    octets = 0
    for change in history.changes(after):
        page.append(change)
        octets += sum(_octets(each) for each in _told(change))
        is_full = len(page) == limit or octets >= ANSWER_OCTETS_MAX
        if is_full or history.octets_read >= READ_OCTETS_MAX:
            return page, change.seq
    return page, 0


def _told(change: Changes) -> tuple[JournalOperation, ...]:
    """Return the last operations of a frame that fit into an answer, at least one."""
    octets = 0
    for position, operation in reversed(list(enumerate(change.operations))):
        octets += _octets(operation)
        if octets > ANSWER_OCTETS_MAX and position + 1 < len(change.operations):
            return change.operations[position + 1 :]
    return change.operations


def _octets(operation: JournalOperation) -> int:
    told = sum(_VALUE_OCTETS + len(each.data) * 4 // 3 for each in operation.values)
    return _VALUE_OCTETS + told


def _events(change: Changes, reader: _Reader) -> Iterable[dict[str, Any]]:
    told = _told(change)
    omitted = len(change.operations) - len(told)
    was_there = change.was_there or omitted > 0
    for operation in told:
        event: dict[str, Any] = {
            "sequence": change.seq,
            "time": moment_text(change.time_ms),
            "operation": _name(operation, was_there),
            "by": who(operation.actor),
        }
        if operation.kind == Kind.MARK:
            event["reason"] = read_mark(operation)[1].reason
        elif operation.kind != Kind.DELETE:
            event |= _shown(operation.values, reader)
        if omitted:
            event["omitted"] = omitted
            omitted = 0
        was_there = operation.kind != Kind.DELETE
        yield event


def _name(operation: JournalOperation, was_there: bool) -> str:
    if operation.kind == Kind.MARK:
        return _MARKS[read_mark(operation)[0]]
    if operation.kind == Kind.CREATE and was_there:
        return "replace"
    return _NAMES.get(operation.kind, operation.kind.name.lower())


def _shown(values: Iterable[HandleValue], reader: _Reader) -> dict[str, Any]:
    values = tuple(values)
    shown = [each for each in values if reader.may_read(each)]
    return {"values": [value_to_json(each) for each in shown], "hidden": len(values) - len(shown)}


def _find_reader(step: ActStep, handle: bytes, values: Iterable[HandleValue]) -> _Reader | Need:
    """Return who asks; whether he is an administrator is asked only where values are hidden."""
    record = step.view.find_record(handle)
    stored = () if record is None else record.values
    reader = _Reader(False, frozenset(each.index for each in stored if not each.is_public))
    if step.identity is None or all(reader.is_open(value) for value in values):
        return reader
    # Of a handle that is not there any more, its prefix's administrators are.
    there = record is not None or is_prefix_handle(handle)
    verdict = authorize_on_record(
        step.knowledge,
        step.policy,
        step.identity,
        OpCode.RESOLUTION,
        handle if there else prefix_handle(handle),
        AdminPermission.READ_VALUE,
    )
    if isinstance(verdict, Need):
        return verdict
    return reader._replace(reads_hidden=isinstance(verdict, Permitted))


def decide_as_of(step: ActStep) -> ActOutcome:
    """Decide about `life.as_of`."""
    handle = find_handle(step)
    if isinstance(handle, Refusal):
        return handle
    history = History(step.view, handle)
    seq = _find_sequence(step, history)
    if isinstance(seq, Refusal):
        return seq
    moment = history.at(seq)
    if moment is None:
        words = f"the state of {to_text(handle)} after frame {seq} is not known: {_known(history)}"
        return refuse(ResponseCode.ERROR, words)
    reader = _find_reader(step, handle, moment.values)
    if isinstance(reader, Need):
        return reader
    document = {"handle": to_text(handle), "asOf": seq, "state": moment.state}
    return Done(document | _shown(moment.values, reader) | _made_by(moment))


def _made_by(moment: Moment) -> dict[str, Any]:
    """Return what is told of the change that made a state."""
    change, operation = moment.change, moment.operation
    if change is None or operation is None:
        return {}
    made: dict[str, Any] = {
        "sequence": change.seq,
        "time": moment_text(change.time_ms),
        "by": who(operation.actor),
    }
    if operation.kind == Kind.MARK:
        made["reason"] = read_mark(operation)[1].reason
    return made


def _find_sequence(step: ActStep, history: History) -> int | Refusal:
    """Return the frame that is asked for, by its number or a time."""
    time, number = step.parameters.get("time"), step.parameters.get("sequence")
    if (time is None) == (number is None):
        return refuse(ResponseCode.INVALID_VALUE, "say as of when: either a time or a sequence")
    if number is not None:
        seq = _number(step, "sequence", 0, 0, SEQUENCE_MAX)
    else:
        time_ms = _milliseconds(time)
        seq = time_ms if isinstance(time_ms, Refusal) else last_at(step.view, time_ms)
    if isinstance(seq, Refusal):
        return seq
    if seq > history.head:
        words = f"the journal ends at frame {history.head}: nothing is known of frame {seq}"
        return refuse(ResponseCode.INVALID_VALUE, words)
    if seq < history.first - 1:
        words = f"that is too long ago: {_known(history)}"
        return refuse(ResponseCode.INVALID_VALUE, words)
    return seq


def _known(history: History) -> str:
    if history.is_ranged:
        return "it is or was in a range, and of identifiers in ranges no past is kept one by one"
    if history.first == 1:
        return "its creation was not found within what one request may search"
    return f"this node's history begins after frame {history.first - 1} of its journal"


def _milliseconds(text: Any) -> int | Refusal:
    words = 'the time has to be one like "2026-11-21T08:00:00Z"'
    if not isinstance(text, str):
        return refuse(ResponseCode.INVALID_VALUE, words)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return refuse(ResponseCode.INVALID_VALUE, f"{words}, not {text[:40]!r}")
    if moment.tzinfo is None:
        return refuse(ResponseCode.INVALID_VALUE, f"{text[:40]!r} lacks its zone: write Z for UTC")
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _number(step: ActStep, name: str, default: int, smallest: int, largest: int) -> int | Refusal:
    number = step.parameters.get(name, default)
    if type(number) is int and smallest <= number <= largest:
        return number
    words = f"{name} has to be a number from {smallest} to {largest}"
    return refuse(ResponseCode.INVALID_VALUE, words)


def moment_text(time_ms: int) -> str:
    """Return milliseconds since 1970 as a time in UTC."""
    moment = _EPOCH + timedelta(milliseconds=time_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


ACTS: dict[str, ActDecider] = {"life.history": decide_history, "life.as_of": decide_as_of}
READING_ACTS = frozenset(ACTS)
