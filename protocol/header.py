"""The message header, 24 octets at the start of every message.

 0  i32  opcode                     (RFC 3652 §2.2.2)
 4  i32  response code, 0 in requests
 8  u32  flags
12  i16  site serial number the sender knows, 0xffff = unknown
14  u8   recursion count
15  u8   reserved
16  i32  expiration, seconds since 1970
20  i32  body length
"""

import struct
from dataclasses import dataclass

from protocol.errors import DecodeError

HEADER_OCTETS = 24
SITE_SERIAL_UNKNOWN = 0xFFFF
EXPIRY_DEFAULT_S = 43_200
_FORM = struct.Struct(">iiIHBBii")


@dataclass(frozen=True, slots=True)
class Header:
    """The fields of a header but the body length, which follows from the body."""

    opcode: int
    response_code: int
    flags: int
    expiration: int
    site_serial: int = SITE_SERIAL_UNKNOWN
    recursion_count: int = 0
    reserved: int = 0

    def has(self, flag: int) -> bool:
        """Say whether a MessageFlag is set."""
        return bool(self.flags & flag)

    def encode(self, body_octets: int) -> bytes:
        """Return the 24 octets for a body of `body_octets`."""
        return _FORM.pack(
            self.opcode,
            self.response_code,
            self.flags,
            self.site_serial,
            self.recursion_count,
            self.reserved,
            self.expiration,
            body_octets,
        )


def decode_header(octets: bytes) -> tuple[Header, int]:
    """Decode the first 24 octets into (header, body length). Raises: DecodeError."""
    if len(octets) < HEADER_OCTETS:
        raise DecodeError(f"header needs {HEADER_OCTETS} octets, {len(octets)} remain")
    opcode, code, flags, serial, recursion, reserved, expiration, length = _FORM.unpack_from(octets)
    if length < 0:
        raise DecodeError(f"body length is {length}, it cannot be negative")
    return Header(opcode, code, flags, expiration, serial, recursion, reserved), length
