"""The database of ranges as it is written: what is put or deleted is counted."""

from collections.abc import Sequence
from typing import Any

from registry.row_changes import RowChanges
from registry.tables import Transaction, WritableTable


class RangesTable(WritableTable):
    """The database of ranges, counted as it is written."""

    def __init__(self, txn: Transaction, database: Any, changes: RowChanges) -> None:
        super().__init__(txn, database)
        self._changes = changes

    def put(self, key: bytes, value: bytes) -> None:
        """Store a range in place of what was there. Raises: RecordError."""
        self._changes.range_(key, self.get(key), value)
        super().put(key, value)

    def replace(self, key: bytes, value: bytes) -> None:
        """Store a range, or delete it (empty); whoever calls counts the rows in it.

        Raises: RecordError.
        """
        self._changes.replaced(key, self.get(key), value or None)
        if value:
            super().put(key, value)
        else:
            super().delete(key)

    def put_new(self, changes: Sequence[tuple[bytes, bytes]]) -> None:
        """Store ranges under keys that are free; `RowChanges.new_ranges` counts them."""
        cursor = self._txn.cursor(db=self._database)
        _, added = cursor.putmulti(changes, overwrite=False)
        assert added == len(changes), "a range was there already"

    def delete(self, key: bytes) -> bool:
        """Delete a range; say whether it was there. Raises: RecordError."""
        self._changes.range_(key, self.get(key), None)
        return super().delete(key)
