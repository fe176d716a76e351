"""Loading what is not just a handle with its values: ranges, rows in them, and what was deleted.

    {"operation": "range", ...}             registered, with the time, the identity and the
                                            revocation that the row states
    {"handle": .., "operation": "replace"}  a row where a range has the identifier
    {"handle": .., "operation": "delete", "time": .., "by": ..}
                                            an identifier is taken out of its range

That is what `registry.export` writes, in this order; marks are those of `registry.offline_marks`.
"""

from collections.abc import Mapping
from typing import Any

from protocol.codes import ResponseCode
from protocol.handle import to_text
from registry.errors import RangeError
from registry.exported_ranges import ExportedForm, ExportedMaker
from registry.journal import OWNER, Kind, is_own_time, pack_change
from registry.marks import REASON_OCTETS_MAX, is_deleted
from registry.plain_ranges import RangeForm
from registry.range_batches import RangeBatch
from registry.range_changes import note_own_time, note_plain
from registry.range_documents import read_document
from registry.range_making import make_range
from registry.range_registration import is_registered, pack_new, store_new
from registry.ranges import check_free
from registry.schema import folded_key
from registry.stated import read_identity, read_time
from registry.views import WriteView

LoadedForm = RangeForm | ExportedForm
"""What a line is read as when its range may be plain."""


class LoadedRanges:
    """The plain ranges of one transaction, which are stored together.

    Before anything else is done in the transaction, and at its end, `take_items`.
    """

    def __init__(self, view: WriteView, now_s: int) -> None:
        self._view = view
        self._maker = ExportedMaker(view.fold, now_s)
        self._batch = RangeBatch(view)
        self._now_s = now_s

    def load(self, form: LoadedForm) -> bool:
        """Register a range; False: it is not plain, or something may be in its way."""
        if isinstance(form, RangeForm):
            new = self._maker.make(form)
            return new is not None and self._batch.store(new)
        made = self._maker.make_exported(form)
        if made is None or not self._batch.store(made[0]):
            return False
        if is_own_time(made[1], self._now_s):
            note_plain(self._view, *made)
        return True

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
