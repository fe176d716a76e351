"""One row of a file: a handle with its values, or why it is none."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TextIO

from protocol.value import HandleValue, Reference
from resolver.rows.value_texts import FIRST_ADMIN_INDEX, make_admin_value


@dataclass(frozen=True, slots=True)
class Row:
    """One handle to register; `number` counts rows from 1, header not counted."""

    number: int
    handle: bytes
    values: tuple[HandleValue, ...]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be sent, and why."""

    number: int
    handle: bytes
    reason: str


def open_rows(path: Path) -> TextIO:
    """Open a file of rows; octets that are not UTF-8 are found row by row. Raises: OSError."""
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def check_filled(row: Row) -> Row | BadRow:
    """Return the row, or why not when it has no values."""
    return row if row.values else BadRow(row.number, row.handle, "no values: all cells are empty")


def add_owners(rows: Iterable[Row | BadRow], owners: Sequence[Reference]) -> Iterator[Row | BadRow]:
    """Yield the rows, each with an HS_ADMIN value for every owner, from index 100 on."""
    for row in rows:
        if isinstance(row, Row) and owners:
            used = {value.index for value in row.values}
            free = (index for index in count(FIRST_ADMIN_INDEX) if index not in used)
            extra = tuple(make_admin_value(owner, next(free)) for owner in owners)
            yield Row(row.number, row.handle, row.values + extra)
        else:
            yield row
