"""Making the changes of the journal again: `verify`, replicas and the offline commands.

A kind with a payload of its own is replayed by the function that `REPLAYERS` names; its module
also makes the change in the first place by that function, so that both give the same store.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from registry.errors import JournalError
from registry.journal import (
    FRAME_OPERATIONS_MAX,
    WITH_PAYLOAD,
    JournalOperation,
    Kind,
    has_own_times,
)
from registry.log import LocalLog
from registry.mark_changes import replay_mark
from registry.office_replay import replay_office
from registry.range_changes import replay_ranges
from registry.schema import folded_key
from registry.template_lots import replay_creation, replay_entries
from registry.views import WriteView

Replayer = Callable[[WriteView, JournalOperation], None]

REPLAYERS: Mapping[Kind, Replayer] = {
    Kind.RANGES: replay_ranges,
    Kind.MARK: replay_mark,
    Kind.APPLICATION: replay_office,
    Kind.QUOTA: replay_office,
    Kind.PERSON: replay_office,
    Kind.TEMPLATE: replay_entries,
    Kind.CREATE_FROM_TEMPLATE: replay_creation,
}


def replay(view: WriteView, operations: Iterable[JournalOperation]) -> None:
    """Make the changes of a frame again.

    Raises:
        JournalError: a payload does not decode.
    """
    for operation in operations:
        if operation.kind in WITH_PAYLOAD:
            _replay_payload(view, operation)
        elif operation.kind == Kind.DELETE:
            view.delete_record(operation.handle, operation.actor, operation.time_s)
        elif operation.kind == Kind.HOME:
            view.home(operation.handle)
        elif operation.kind == Kind.UNHOME:
            view.unhome(operation.handle)
        else:
            if has_own_times(operation):
                view.note_change(folded_key(view.fold(operation.handle)), was_made=True)
            view.put_record(operation.handle, operation.values)
        view.changes.date(operation.time_s)


def _replay_payload(view: WriteView, operation: JournalOperation) -> None:
    replayer = REPLAYERS.get(operation.kind)
    if replayer is None:
        raise JournalError(f"operations of kind {operation.kind} are not known here")
    replayer(view, operation)
    view.unjournaled = True


def make_changes(view: WriteView, operations: Sequence[JournalOperation], time_ms: int) -> None:
    """Make changes and append them to the journal, in as many frames as they need.

    Raises: JournalError.
    """
    for start in range(0, len(operations), FRAME_OPERATIONS_MAX):
        frame = operations[start : start + FRAME_OPERATIONS_MAX]
        replay(view, frame)
        LocalLog(view).append_operations(frame, time_ms)
