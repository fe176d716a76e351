"""HS_ADMIN: who administers a handle and what they may do.

permissions  u16  bits of protocol.codes.AdminPermission (RFC 3651 §3.2.1)
admin        str handle, i32 index
trailing     nothing, or the two zero octets that some old writers append
"""

from dataclasses import dataclass

from protocol.errors import InvalidValueError
from protocol.value import Reference, read_reference
from protocol.wire import Reader, write_u16

LEGACY_TRAILING = b"\0\0"
_TRAILING_ALLOWED = (b"", LEGACY_TRAILING)


@dataclass(frozen=True, slots=True)
class HsAdmin:
    """An administrator (a key, or an HS_VLIST group; index 0 means any) and his permissions."""

    permissions: int
    admin: Reference
    trailing: bytes = b""

    def allows(self, needed: int) -> bool:
        """Say whether all AdminPermission bits in `needed` are granted."""
        return self.permissions & needed == needed

    def encode(self) -> bytes:
        """Return the value's data, the trailing octets kept."""
        return write_u16(self.permissions) + self.admin.encode() + self.trailing


def decode_hs_admin(data: bytes) -> HsAdmin:
    """Decode HS_ADMIN data.

    Raises:
        DecodeError: truncated, or a length out of range.
        InvalidValueError: octets follow that are not the two zeros of old writers.
    """
    reader = Reader(data)
    permissions = reader.read_u16("HS_ADMIN permissions")
    admin = read_reference(reader)
    trailing = reader.read_rest()
    if trailing not in _TRAILING_ALLOWED:
        raise InvalidValueError(f"HS_ADMIN has {len(trailing)} octets too many")
    return HsAdmin(permissions, admin, trailing)
