"""HS_VLIST: a group, as a list of references to its members' keys or to further groups.

references  list of (str handle, i32 index)
"""

from dataclasses import dataclass

from protocol.value import Reference, read_reference
from protocol.wire import Reader, write_list

_REFERENCE_OCTETS_MIN = 8


@dataclass(frozen=True, slots=True)
class HsVlist:
    """The members of a group, in stored order."""

    references: tuple[Reference, ...]

    def encode(self) -> bytes:
        """Return the value's data."""
        return write_list(reference.encode() for reference in self.references)


def decode_hs_vlist(data: bytes) -> HsVlist:
    """Decode HS_VLIST data.

    Raises:
        DecodeError: truncated, a count out of range, or octets left over.
    """
    reader = Reader(data)
    references = reader.read_list(read_reference, "HS_VLIST references", _REFERENCE_OCTETS_MIN)
    reader.expect_end("HS_VLIST")
    return HsVlist(references)
