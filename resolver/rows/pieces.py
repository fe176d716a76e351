"""Rows packed in msgpack, some at a time, as they go on to the registrar.

Whoever sends rows on needs no objects of them. Native code packs the plain rows of NDJSON as it
reads them; all others are packed here. A piece is small: packing one takes no loop long.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgpack

from registry.stream_rows import PackedRow
from resolver.rows.packed import ROW_OCTETS_MAX, too_large_row

ROWS_MAX = 1_024  # of a piece
OCTETS_MAX = 131_072  # of a piece, after which it gets no further row


class Piece(NamedTuple):
    """How many rows there are, and their octets one after another."""

    rows: int
    octets: bytes


def pack_row(row: PackedRow) -> bytes:
    """Return the octets of a row, a bad one when its values take too many."""
    octets: bytes = msgpack.packb(row if len(row[2]) <= ROW_OCTETS_MAX else too_large_row(row))
    return octets


def pack_rows(rows: Iterable[PackedRow]) -> Iterator[Piece]:
    """Pack rows."""
    packed: list[bytes] = []
    octets = 0
    for row in rows:
        packed.append(pack_row(row))
        octets += len(packed[-1])
        if len(packed) == ROWS_MAX or octets >= OCTETS_MAX:
            yield Piece(len(packed), b"".join(packed))
            packed, octets = [], 0
    if packed:
        yield Piece(len(packed), b"".join(packed))
