"""Registering ranges that come as rows, in streams and files: many of them in one transaction."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgpack

from protocol.value import HandleValue, Reference
from registry import quotas
from registry.authorization import Counted, Permitted
from registry.checks import CHECKED_TYPES
from registry.creation_rights import CreationRights
from registry.errors import RangeError
from registry.journal import Kind, pack_change
from registry.outcomes import Need, Refusal, refuse
from registry.plain_ranges import FORM_ERRORS, PlainMaker, read_msgpack_form
from registry.range_batches import PlainRange, RangeBatch
from registry.range_changes import REGISTER, pack_changes, put_new_range
from registry.range_documents import Described, Range, read_document
from registry.range_making import make_range
from registry.range_records import RangeChange
from registry.range_shown import read_shown
from registry.ranges import check_free, find_overlapping
from registry.views import View, WriteView


class RangeRows:
    """The ranges of one batch of a stream; plain ones are stored together.

    Before anything else is done in the transaction, and at its end, `take_items`.

    Args:
        view: of the transaction.
        identity: who registers them.
        rights: of this identity, in this transaction.
        now_s: the time of the transaction.
    """

    def __init__(
        self, view: WriteView, identity: Reference, rights: CreationRights, now_s: int
    ) -> None:
        self._view = view
        self._identity = identity
        self._rights = rights
        self._now_s = now_s
        self._maker = PlainMaker(view.fold, identity, now_s)
        self._batch = RangeBatch(view)
        self._items: list[list[Any]] = []
        # By prefix, of those that have a quota: what is left of it, what is not counted yet.
        self._left: dict[bytes, int] = {}
        self._created: dict[bytes, int] = {}

    def take_items(self) -> list[list[Any]]:
        """Have all ranges in the store; return what the journal has to say of them."""
        stored = self._batch.flush()
        if stored:
            self._items.append(pack_new(stored, self._identity, self._now_s))
        for prefix, created in self._created.items():
            quotas.count_created(self._view, prefix + b"/", created, self._now_s)
        self._left.clear()
        self._created.clear()
        items, self._items = self._items, []
        return items

    def register(self, octets: bytes) -> bool | Refusal | Need:
        """Register a range; say whether it is new, False: it is there already.

        Args:
            octets: of its document, in msgpack.

        Raises:
            RecordError: what is in its way is damaged.
        """
        if self._register_plain(octets):
            return True
        self._items = self.take_items()
        return self._register(octets)

    def _register_plain(self, octets: bytes) -> bool:
        """Register a range the short way; False: it is to be looked at closer."""
        try:
            form = read_msgpack_form(octets)
        except FORM_ERRORS:
            return False
        new = self._maker.make(form)
        if new is None:
            return False
        right = self._rights.find((form.stem + form.first).encode(), new.first)
        if not isinstance(right, Permitted):
            return False
        return self._store_counted(new) if isinstance(right, Counted) else self._batch.store(new)

    def _store_counted(self, new: PlainRange) -> bool:
        """Store a range under a prefix with a quota, if that has room for it."""
        left = self._left.get(new.prefix)
        if left is None:
            left = quotas.left_of(self._view, new.prefix, self._now_s)
        self._left[new.prefix] = left
        if new.size > left or not self._batch.store(new):
            return False
        self._left[new.prefix] = left - new.size
        self._created[new.prefix] = self._created.get(new.prefix, 0) + new.size
        return True

    def _register(self, octets: bytes) -> bool | Refusal | Need:
        try:
            described = unpack_document(octets)
            handle = described.stem + described.first
            right = self._rights.find(handle, self._view.fold(handle))
            if not isinstance(right, Permitted):
                return right
            new = make_range(described, self._view.fold, by=self._identity, now_s=self._now_s)
        except RangeError as error:
            return refuse(error.response_code, str(error))
        try:
            kept = check_free(self._view, new, keeps_rows=described.keeps_rows)
        except RangeError as error:
            if is_registered(self._view, new, with_hidden=False):
                return False
            return refuse(error.response_code, str(error))
        created = new.span.size - kept
        refusal = quotas.refuse_beyond(self._view, handle, created, self._now_s)
        if refusal is not None:
            return refusal
        quotas.count_created(self._view, handle, created, self._now_s)
        if any(pattern.value.type in CHECKED_TYPES for pattern in described.patterns):
            self._rights.forget()  # an identifier of it may be a group
        self._items.append(store_new(self._view, new, self._identity, self._now_s))
        return True


def unpack_document(octets: bytes) -> Described:
    """Read a document in msgpack. Raises: RangeError."""
    try:
        document = msgpack.unpackb(octets)
    except (ValueError, msgpack.UnpackException) as error:
        raise RangeError(f"the description of the range is not msgpack: {error}") from None
    if not isinstance(document, dict):
        raise RangeError("the description of a range must be an object")
    return read_document(document)


def store_new(view: WriteView, new: Range, by: Reference, now_s: int) -> list[Any]:
    """Store a range that was found free; return its item for the journal."""
    put_new_range(view, new)
    return pack_new([(new.key, new.octets)], by, now_s)


def pack_new(changes: Sequence[RangeChange], by: Reference, now_s: int) -> list[Any]:
    """Return the item for the journal of new ranges, at least one."""
    stem = changes[0][0].partition(b"\0")[0]
    return pack_change(Kind.RANGES, stem, pack_changes(REGISTER, changes), by, now_s)


def is_registered(view: View, new: Range, *, with_hidden: bool) -> bool:
    """Say whether a range is registered already with the same values, whatever their times.

    Args:
        view: the store.
        new: the range.
        with_hidden: look at values that not everybody may read, too: that a guess at one is right
            would tell it.

    Raises:
        RecordError: a damaged range.
    """
    stored = find_overlapping(view, new)
    if stored is None or (stored.key, stored.record.first) != (new.key, new.record.first):
        return False
    if stored.revoked != new.revoked or stored.span != new.span:
        return False
    before, after = _timeless(stored), _timeless(new)
    hidden = any(not value.is_public for value, _ in before)
    return before == after and (with_hidden or not hidden)


def _timeless(range_: Range) -> list[tuple[HandleValue, bool]]:
    shown = read_shown(range_)
    values = [(replace(value, timestamp=0), is_text) for value, is_text in shown.patterns]
    origin = shown.origin
    values.append((HandleValue(1, origin.stem, origin.first), False))
    return values
