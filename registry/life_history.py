"""The history of an identifier, and its state as of a time or frame, as acts.

    life.history  {"handle", "after" (sequence, 0), "limit"}
        -> {"handle", "events": [E...], "next": sequence to go on after, or 0,
            "complete": whether its creation is known, "knownAfter": sequence}
        E = {"sequence", "time", "operation", "by", "values"?, "hidden"?, "reason"?, "omitted"?,
             "range"?, "kept"?}

    life.as_of    {"handle", "time" (RFC 3339) or "sequence"}
        -> {"handle", "asOf": sequence, "state", "values", "hidden", "sequence", "time", "by",
            "reason"?, "range"?}; "sequence", "time" and "by" are of the change that made it so,
            absent when none is known

    ranges.history {"identifier", "after", "limit"}: of the ranges that held it, from the first on
        -> {"identifier", "events": [{"sequence", "time", "operation", "by", "range", "identifiers",
            "ranges", "reason"?}...], "next", "complete", "knownAfter"}

An operation is create, replace, add, remove, modify, delete, replace-key, freeze, thaw or revoke;
one that gives or takes values has all that were there after it. What was done to the range around
the identifier has `range`, which names the one afterwards: create or, of the range itself,
register, split, shrink, cut (shrunk, and the identifier is not in it any more), revoke; `kept` says
that the identifier had a row of its own, which stayed as it was. Public values are told to
everybody, values for administrators to those who may read them now; the others are left out and
counted in `hidden`. Of several changes in one frame (a bulk commit) the last are told; `omitted`
counts the others.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from protocol.codes import AdminPermission, OpCode, ResponseCode
from protocol.handle import is_prefix_handle, prefix_handle, to_text
from protocol.value import HandleValue
from registry.act_steps import ActDecider, ActOutcome, ActStep, Done
from registry.authorization import Permitted, authorize_on_record
from registry.errors import RangeError
from registry.frame_times import last_at
from registry.histories import History
from registry.history_frames import SEARCHED_OCTETS_MAX, Changes
from registry.history_index import EVENTS_MAX, SEQUENCE_MAX
from registry.life_cycle import find_handle
from registry.life_events import (
    ANSWER_OCTETS_MAX,
    EPOCH,
    Reader,
    deeds_told,
    events_of,
    made_by,
    octets_told,
    range_event,
    shown,
)
from registry.outcomes import Need, Refusal, refuse

# Of the frames read for one answer, in clear: those of bulk registration are many times as large
# as what they say of one handle.
READ_OCTETS_MAX = SEARCHED_OCTETS_MAX


def _refusing(decide: ActDecider) -> ActDecider:
    """Turn a RangeError, of a past that takes too long to look through, into a refusal."""

    def decided(step: ActStep) -> ActOutcome:
        try:
            return decide(step)
        except RangeError as error:
            return refuse(error.response_code, str(error))

    return decided


@_refusing
def decide_history(step: ActStep) -> ActOutcome:
    """Decide about `life.history`."""
    asked = _find_asked(step, "handle")
    if isinstance(asked, Refusal):
        return asked
    history = History(step.view, asked.handle)
    page, following = _page(history, history.changes(asked.after), asked.limit)
    values = [value for change in page for each in deeds_told(change) for value in each.values]
    reader = _find_reader(step, asked.handle, values)
    if isinstance(reader, Need):
        return reader
    events = [event for change in page for event in events_of(change, reader)]
    return Done({"handle": to_text(asked.handle)} | _page_form(history, events, following))


@_refusing
def decide_range_history(step: ActStep) -> ActOutcome:
    """Decide about `ranges.history`."""
    asked = _find_asked(step, "identifier")
    if isinstance(asked, Refusal):
        return asked
    history = History(step.view, asked.handle)
    page, following = _page(history, history.range_changes(asked.after), asked.limit)
    events = [range_event(change, each) for change in page for each in change.steps]
    return Done({"identifier": to_text(asked.handle)} | _page_form(history, events, following))


class _Asked(NamedTuple):
    """Whose history, and which part of it."""

    handle: bytes
    after: int
    limit: int


def _find_asked(step: ActStep, name: str) -> _Asked | Refusal:
    handle = find_handle(step, name)
    if isinstance(handle, Refusal):
        return handle
    after = _number(step, "after", 0, 0, SEQUENCE_MAX)
    if isinstance(after, Refusal):
        return after
    limit = _number(step, "limit", EVENTS_MAX, 1, EVENTS_MAX)
    return limit if isinstance(limit, Refusal) else _Asked(handle, after, limit)


def _page_form(history: History, events: list[dict[str, Any]], following: int) -> dict[str, Any]:
    return {
        "events": events,
        "next": following,
        "complete": history.is_whole and history.first == 1,
        "knownAfter": history.first - 1,
    }


def _page(history: History, changes: Iterable[Changes], limit: int) -> tuple[list[Changes], int]:
    """Return the changes to tell, and the frame to go on after, 0 at the end."""
    page: list[Changes] = []
    octets = 0
    for change in changes:
        page.append(change)
        octets += sum(octets_told(each) for each in deeds_told(change))
        is_full = len(page) == limit or octets >= ANSWER_OCTETS_MAX
        if is_full or history.octets_read >= READ_OCTETS_MAX:
            return page, change.seq
    return page, 0


def _find_reader(step: ActStep, handle: bytes, values: Iterable[HandleValue]) -> Reader | Need:
    """Return who asks; whether he is an administrator is asked only where values are hidden."""
    record = step.view.find_record(handle)
    stored = () if record is None else record.values
    reader = Reader(False, frozenset(each.index for each in stored if not each.is_public))
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


@_refusing
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
    return Done(document | shown(moment.values, reader) | made_by(moment))


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
    return (moment - EPOCH) // timedelta(milliseconds=1)


def _number(step: ActStep, name: str, default: int, smallest: int, largest: int) -> int | Refusal:
    number = step.parameters.get(name, default)
    if type(number) is int and smallest <= number <= largest:
        return number
    words = f"{name} has to be a number from {smallest} to {largest}"
    return refuse(ResponseCode.INVALID_VALUE, words)


ACTS: dict[str, ActDecider] = {
    "life.history": decide_history,
    "life.as_of": decide_as_of,
    "ranges.history": decide_range_history,
}
READING_ACTS = frozenset(ACTS)
