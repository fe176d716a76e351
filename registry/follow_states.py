"""How far another primary has been followed, each server of its site by itself.

    meta "follow"   msgpack [state, ...]
    state           [source, transaction id, date in ms, is the dump whole?]

One state may stand alone, without the list, as stores of earlier releases have it. A source is
named `group` when its site has one server, else `group/number`; states of other groups than the one
followed are dropped.
"""

from typing import Any

import msgspec

from registry.errors import StoreError
from registry.store import Store
from registry.views import View, WriteView

FRESH_FRAMES_MAX = 1  # of a store that `biaoshi init` made and nobody has registered in

_STATE = b"follow"


class FollowState(msgspec.Struct, array_like=True, frozen=True):
    """How far a source has been followed. `source` names its key; `is_dumped`: it was all copied
    once, and the log goes on behind `transaction_id`.
    """

    source: str
    transaction_id: int = 0
    date_ms: int = 0
    is_dumped: bool = False

    @property
    def group(self) -> str:
        """What the sources of one site have in common."""
        return self.source.partition("/")[0]


def find_states(view: View) -> list[FollowState]:
    """Return how far we have come; none: nobody was ever followed. Raises: StoreError."""
    octets = view.find_meta(_STATE)
    if octets is None:
        return []
    try:
        read = msgspec.msgpack.decode(octets, type=list[Any])
        states = [read] if read and isinstance(read[0], str) else read
        return msgspec.convert(states, list[FollowState])
    except msgspec.MsgspecError as error:
        raise StoreError(f"the state of following is damaged: {error}") from error


def begin_state(store: Store, source: str) -> FollowState:
    """Return the state to go on from; that of another source is not one.

    Raises:
        StoreError: this node has registered something itself, which would be deleted.
    """
    with store.read() as view:
        states = find_states(view)
        if not states and view.head().seq > FRESH_FRAMES_MAX:
            raise StoreError(
                f"this node has registered for itself ({view.count_records()} handles), and a dump "
                "would delete what the primary does not have: begin with a folder fresh from "
                "biaoshi init, or empty [follow]"
            )
    return next((each for each in states if each.source == source), FollowState(source))


def forget_state(view: WriteView) -> None:
    """Forget who was followed, by a node that follows nobody any more.

    What it registers from now on is its own, and no dump may delete it.
    """
    view.delete_meta(_STATE)


def put_state(view: WriteView, state: FollowState) -> None:
    """Keep how far a source was followed. Raises: StoreError."""
    others = [each for each in find_states(view) if each.group == state.group]
    kept = [each for each in others if each.source != state.source]
    view.put_meta(_STATE, msgspec.msgpack.encode([*kept, state]))
