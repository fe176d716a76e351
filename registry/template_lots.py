"""Into which lot a new identifier goes, so that its row says little (`registry.template_rows`).

    first of a transaction  the lot made last of its template, if it shares most fields with it
    the next ones           the lot of the one before, until the identifiers have come to be more
                            like each other than like the lot's first for a while
    else                    a lot of its own, which the next ones can share

What is chosen changes only what is kept, never what an identifier is answered with. The journal
says which lot it was, so that a replay gives the same store.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgpack

from protocol.value import HandleValue
from registry.errors import JournalError, RecordError
from registry.journal import OWNER, JournalOperation, Kind
from registry.schema import decode_record, folded_key
from registry.tables import Table
from registry.template_rows import (
    LOTS_END,
    Fields,
    encode_lot,
    encode_row,
    lot_key,
    lot_number,
    read_lot,
)
from registry.views import View, WriteView

LOSS_MAX = 16  # fields repeated in vain before a lot is begun: about what that costs

_LAST_LOT = b"\x83"


@dataclass(slots=True)
class _Lot:
    """A lot under way."""

    number: int
    fields: Fields
    before: Fields | None = None  # of the identifier made last in this transaction
    loss: int = 0  # fields in which identifiers differed from the lot and not from the one before
    same: "NewRow | None" = None  # the row of one that differs in nothing

    def make_same(self) -> "NewRow":
        """Return the row of an identifier that differs in nothing."""
        self.same = NewRow(encode_row(self.number, ()))
        return self.same


class NewRow(NamedTuple):
    """A row to be stored, with the lot that it begins, if any."""

    row: bytes
    lot: int = 0
    lot_octets: bytes = b""

    def payload(self) -> bytes:
        """Return what the journal is to say: msgpack [row], or [row, number of a lot, lot]."""
        form: list[Any] = [self.row, self.lot, self.lot_octets] if self.lot else [self.row]
        octets: bytes = msgpack.packb(form)
        return octets


class Lots:
    """Finds lots for the identifiers of one transaction, each of which is stored at once.

    Args:
        table: `templates`, of the transaction.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._lots: dict[int, _Lot | None] = {}

    def add(self, number: int, fields: Fields) -> NewRow:
        """Return the row of an identifier made from the template's version of a number."""
        lot = self._lots[number] if number in self._lots else find_last_lot(self._table, number)
        if lot is None:
            return self._begin(number, fields)
        if fields == lot.fields and not lot.loss:
            lot.before = fields
            self._lots[number] = lot
            return lot.same or lot.make_same()
        differences = _differences(lot.fields, fields)
        if lot.before is None:
            if len(differences) > len(fields):  # two for a field: more than half of them differ
                return self._begin(number, fields)
        else:
            lot.loss += len(differences) // 2 - _count_differences(lot.before, fields)
            lot.loss = max(0, lot.loss)
            if lot.loss > LOSS_MAX:
                return self._begin(number, fields)
        lot.before = fields
        self._lots[number] = lot
        return NewRow(encode_row(lot.number, differences))

    def _begin(self, number: int, fields: Fields) -> NewRow:
        lot = next_lot(self._table)
        self._lots[number] = _Lot(lot, fields, fields)
        return NewRow(encode_row(lot, ()), lot, encode_lot(number, fields))


def _differences(lot: Fields, fields: Fields) -> list[Any]:
    differences: list[Any] = []
    if lot != fields:
        for at, content in enumerate(fields):
            if content != lot[at]:
                differences += (at, content)
    return differences


def _count_differences(before: Fields, fields: Fields) -> int:
    return sum([old != new for old, new in zip(before, fields, strict=True)])


def next_lot(table: Table) -> int:
    """Return the number of the next lot."""
    last = table.before(LOTS_END)
    return lot_number(last[0]) + 1 if last is not None and last[0] >= lot_key(0) else 1


def last_lot_key(number: int) -> bytes:
    """Return the key that says which lot was made last of a template's version."""
    return _LAST_LOT + number.to_bytes(4, "big")


def find_last_lot(table: Table, number: int) -> _Lot | None:
    """Return the lot made last of a template's version. Raises: RecordError: it is damaged."""
    octets = table.get(last_lot_key(number))
    if octets is None:
        return None
    lot = int.from_bytes(octets, "big")
    lot_octets = table.get(lot_key(lot))
    if lot_octets is None:
        raise RecordError(f"there is no lot of number {lot}")
    return _Lot(lot, read_lot(lot_octets).fields)


def put_new_row(view: WriteView, key: bytes, new: NewRow) -> None:
    """Store a row, and the lot it begins."""
    put_new_lot(view, new)
    view.put_row(key, new.row)


def put_new_lot(view: WriteView, new: NewRow) -> None:
    """Store the lot that a row begins, if any."""
    if new.lot:
        table = view.writable("templates")
        table.put(lot_key(new.lot), new.lot_octets)
        table.put(last_lot_key(read_lot(new.lot_octets).number), new.lot.to_bytes(8, "big"))


def pack_entries(entries: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Return what the journal says of entries of `templates`: msgpack [[key, entry], ...]."""
    octets: bytes = msgpack.packb(entries)
    return octets


def rebuild_templates(view: View, now_s: int) -> Iterator[JournalOperation]:
    """Iterate over operations that put all of `templates` into a store without any."""
    for entry in view.table("templates").items():
        yield JournalOperation(Kind.TEMPLATE, b"", (), OWNER, now_s, pack_entries([entry]))


def replay_entries(view: WriteView, operation: JournalOperation) -> None:
    """Store entries of `templates` again. Raises: JournalError."""
    try:
        entries = [(key, entry) for key, entry in msgpack.unpackb(operation.payload)]
        if not all(isinstance(each, bytes) and each for entry in entries for each in entry):
            raise ValueError("an entry is not of octets")
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise JournalError(f"an entry of a template does not decode: {error}") from error
    table = view.writable("templates")
    for key, entry in entries:
        table.put(key, entry)
    view.unjournaled = True


def creation_values(view: View, operation: JournalOperation) -> tuple[HandleValue, ...]:
    """Return all values that a creation from a template gave a handle, out of the journal.

    Raises:
        JournalError: the payload does not decode.
        RecordError: the row, its lot or its template is damaged or not there.
    """
    try:
        row = NewRow(*msgpack.unpackb(operation.payload)).row
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise JournalError(f"a creation from a template does not decode: {error}") from error
    return decode_record(view.ordinary_row(folded_key(operation.handle), row)).values


def replay_creation(view: WriteView, operation: JournalOperation) -> None:
    """Make a creation from a template again. Raises: JournalError."""
    try:
        new = NewRow(*msgpack.unpackb(operation.payload))
        put_new_row(view, folded_key(operation.handle), new)
    except (ValueError, TypeError, msgpack.UnpackException, RecordError) as error:
        raise JournalError(f"a creation from a template does not decode: {error}") from error
