"""Loading marks: identifiers that were frozen or revoked in the store that a file was written of.

    {"handle": .., "operation": "freeze", "reason": .., "time": .., "by": ..}
    {"handle": .., "operation": "revoke", "reason": .., "time": .., "by": ..}

The row comes before its mark. The mark says who made it, when and why as the line does, and the
owner of the machine where `by` is missing; that it was loaded, and when, the journal says.
"""

from collections.abc import Mapping
from typing import Any

from protocol.codes import ResponseCode
from protocol.handle import is_prefix_handle, to_text
from registry.errors import StoreError
from registry.journal import OWNER, Kind, pack_change
from registry.mark_changes import pack_mark, replay_mark
from registry.marks import (
    NEVER_AGAIN,
    Mark,
    State,
    find_reason_fault,
    frozen_words,
    revoked_words,
)
from registry.ranges import find_revocation
from registry.stated import read_identity, read_time
from registry.views import View, WriteView


class MarkError(StoreError):
    """A mark that cannot be made; `response_code` is the one to tell with it."""

    def __init__(self, words: str, code: ResponseCode = ResponseCode.INVALID_VALUE) -> None:
        super().__init__(words)
        self.response_code = code


def load_mark(
    view: WriteView, handle: bytes, state: State, document: Mapping[str, Any], now_s: int
) -> list[Any] | None:
    """Freeze or revoke an identifier; return the item for the journal, None when it is so already.

    Raises:
        MarkError: it cannot be marked so.
        RangeError: the line states a time or an identity that is none.
        RecordError: the row is damaged.
    """
    reason = _read_reason(handle, state, document)
    mark = Mark(state, read_time(document, "time", now_s), read_identity(document, "by"), reason)
    present = view.find_mark(handle)
    if present == mark:
        return None
    if present is not None and present.state == State.REVOKED:
        words = f"{revoked_words(handle, present)}; {NEVER_AGAIN}"
        raise MarkError(words, ResponseCode.HANDLE_ALREADY_EXISTS)
    if present is not None and present.state == state:
        raise MarkError(frozen_words(handle, present), ResponseCode.HANDLE_ALREADY_EXISTS)
    if view.find_record(handle) is None:
        raise MarkError(_not_there(view, handle), ResponseCode.HANDLE_NOT_FOUND)
    operation = pack_mark(view.fold(handle), mark, OWNER, now_s)
    replay_mark(view, operation)
    return pack_change(Kind.MARK, operation.handle, operation.payload, OWNER, now_s)


def _read_reason(handle: bytes, state: State, document: Mapping[str, Any]) -> str:
    """Return why. Raises: MarkError."""
    if state == State.REVOKED and is_prefix_handle(handle):
        words = f"{to_text(handle)} is a prefix: prefixes are suspended and released, not revoked"
        raise MarkError(words, ResponseCode.INVALID_HANDLE)
    reason = document.get("reason", "")
    if not isinstance(reason, str):
        raise MarkError("the reason is no text")
    fault = find_reason_fault(reason)
    if fault or (state == State.REVOKED and not reason.strip()):
        raise MarkError(fault or "say why: revoking needs a reason")
    return reason


def _not_there(view: View, handle: bytes) -> str:
    words = find_revocation(view, handle)
    return words or f"{to_text(handle)} is not registered: its row comes before its mark"
