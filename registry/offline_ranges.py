"""Loading what is not just a handle with its values: ranges, rows in them, and what was deleted.

    {"operation": "range", ...}             registered, with the time, the identity and the
                                            revocation that the row states
    {"handle": .., "operation": "replace"}  a row where a range has the identifier
    {"handle": .., "operation": "delete", "time": .., "by": ..}
                                            an identifier is taken out of its range

That is what `registry.export` writes, in this order; marks are those of `registry.offline_marks`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from protocol.codes import ResponseCode
from protocol.handle import to_text
from protocol.value import Reference
from registry.errors import RangeError
from registry.journal import OWNER, Kind, pack_change
from registry.marks import REASON_OCTETS_MAX, is_deleted
from registry.plain_ranges import PlainMaker, RangeForm
from registry.range_batches import RangeBatch
from registry.range_changes import note_own_time
from registry.range_documents import read_document
from registry.range_making import make_range
from registry.range_registration import is_registered, pack_new, store_new
from registry.ranges import check_free
from registry.schema import folded_key
from registry.views import WriteView

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INDEX_DIGITS_MAX = 10


class LoadedRanges:
    """The plain ranges of one transaction, which are stored together.

    Before anything else is done in the transaction, and at its end, `take_items`.
    """

    def __init__(self, view: WriteView, now_s: int) -> None:
        self._maker = PlainMaker(view.fold, OWNER, now_s)
        self._batch = RangeBatch(view)
        self._now_s = now_s

    def load(self, form: RangeForm) -> bool:
        """Register a range; False: it is not plain, or something may be in its way."""
        new = self._maker.make(form)
        return new is not None and self._batch.store(new)

    def take_items(self) -> list[list[Any]]:
        """Have all ranges in the store; return what the journal has to say of them."""
        stored = self._batch.flush()
        return [pack_new(stored, OWNER, self._now_s)] if stored else []


def load_range(view: WriteView, document: Mapping[str, Any], now_s: int) -> list[Any] | None:
    """Register a range; return its item for the journal, None when it is there already.

    Raises:
        RangeError: it cannot be registered.
        RecordError: what is in its way is damaged.
    """
    described = read_document(document)
    revoked = None
    if document.get("state", "active") != "active":
        by = read_identity(document, "revokedBy")
        reason = str(document.get("reason", ""))
        if len(reason.encode()) > REASON_OCTETS_MAX:
            raise RangeError(f"reason takes more than {REASON_OCTETS_MAX} octets")
        revoked = [read_time(document, "revoked", now_s), by.handle, by.index, reason]
    new = make_range(
        described,
        view.fold,
        by=read_identity(document, "by"),
        now_s=now_s,
        registered_s=read_time(document, "registered", now_s),
        keeps_times=True,
        revoked=revoked,
    )
    try:
        check_free(view, new, keeps_rows=described.keeps_rows)
    except RangeError:
        if is_registered(view, new, with_hidden=True):
            return None
        raise
    note_own_time(view, new, now_s)
    return store_new(view, new, OWNER, now_s)


def load_deletion(
    view: WriteView, handle: bytes, document: Mapping[str, Any], now_s: int
) -> list[Any] | None:
    """Take an identifier out of its range; return its item, None when it is not in it any more.

    Raises:
        RangeError: it is in no range, or stands in it as a row of its own.
        RecordError: the range is damaged.
    """
    folded = view.fold(handle)
    stored = view.stored_row(folded_key(folded))
    if stored is not None and is_deleted(stored):
        return None
    if view.find_range(folded) is None:
        raise RangeError(
            f"{to_text(handle)} is in no range: loading deletes nothing else",
            ResponseCode.HANDLE_NOT_FOUND,
        )
    if stored is not None:
        raise RangeError(
            f"{to_text(handle)} has values of its own, which loading does not delete",
            ResponseCode.HANDLE_ALREADY_EXISTS,
        )
    by, time_s = read_identity(document, "by"), read_time(document, "time", now_s)
    view.changes.date(now_s)  # what was loaded before it came to be when the rest does
    view.delete_record(handle, by, time_s)
    view.changes.date(time_s)
    return pack_change(Kind.DELETE, folded, b"", by, time_s)


def read_identity(document: Mapping[str, Any], name: str) -> Reference:
    """Return the identity that a line states, the owner where it states none.

    Raises: RangeError.
    """
    text = document.get(name) or ""
    if not text:
        return OWNER
    index, colon, handle = str(text).partition(":")
    if not (colon and handle and index.isascii() and index.isdigit()) or (
        len(index) > _INDEX_DIGITS_MAX or int(index) >= 1 << 31
    ):
        raise RangeError(f"{name} must be an identity such as 300:0.NA/88.118, not {text!r}"[:200])
    return Reference(handle.encode("utf-8", "surrogateescape"), int(index))


def read_time(document: Mapping[str, Any], name: str, now_s: int) -> int:
    """Return the time that a line states, in seconds since 1970; `now_s` where it states none.

    Raises: RangeError.
    """
    text = document.get(name)
    if text is None:
        return now_s
    try:
        seconds = int((datetime.fromisoformat(str(text)) - _EPOCH).total_seconds())
    except (ValueError, TypeError, OverflowError):
        seconds = -1
    if not 0 <= seconds < 1 << 31:
        raise RangeError(f"{name} must be a time such as 2026-11-21T08:00:00Z, not {text!r}"[:200])
    return seconds
