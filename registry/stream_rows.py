"""The rows of a stream of registrations, as those who read them hand them to `registry.bulk`."""

from enum import IntEnum
from typing import NamedTuple

ROWS_MAX = 4_096  # registered in one transaction, which is one frame of the journal


class RowKind(IntEnum):
    """What a row asks for."""

    BAD = 0
    """Nothing that can be understood; its octets say why."""
    PLAIN = 1
    """A creation whose values anybody may read and whose octets were checked."""
    CREATE = 2
    REPLACE = 3
    """A creation, or other values for a handle that exists."""
    DELETE = 4
    RANGE = 5
    """A run of serials; its octets are the document of `registry.range_documents` in msgpack."""
    TEMPLATE = 6
    """A creation, or other values, from a template (`registry.template_requests`)."""


class Row(NamedTuple):
    """One row.

    `octets` are a list of values on the wire, nothing (DELETE), a document (RANGE), a request
    (TEMPLATE), or words (BAD).
    """

    kind: int
    handle: bytes
    octets: bytes
    digest: bytes
    """SHA-256 of the row as it was sent; of a row of CSV also of what its columns mean."""


PackedRow = tuple[int, bytes, bytes, bytes]
"""The members of a `Row`; what most rows stay."""
