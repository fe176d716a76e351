"""The message envelope, 20 octets before every message and every UDP packet.

 0  u8   major version            (RFC 3652 §2.2.1)
 1  u8   minor version
 2  u8   0x80 compressed, 0x40 encrypted, 0x20 truncated; low two bits: suggested major
 3  u8   suggested minor version
 4  i32  session id, 0 = none
 8  i32  request id
12  i32  sequence number of this packet
16  i32  length of the whole message without any envelope
"""

import struct
from dataclasses import dataclass, replace

from protocol.codes import EnvelopeFlag
from protocol.errors import DecodeError
from protocol.versions import Version
from protocol.wire import MESSAGE_OCTETS_MAX

ENVELOPE_OCTETS = 20
_FORM = struct.Struct(">BBBBiiii")
_SUGGESTED_MAJOR_MASK = 0x03


@dataclass(frozen=True, slots=True)
class Envelope:
    """The fields of an envelope; `flags` is octet 2 without the suggested major version."""

    version: Version
    suggested: Version
    flags: int
    session_id: int
    request_id: int
    sequence: int
    length: int

    @property
    def is_encrypted(self) -> bool:
        """Say whether the message after the envelope is cipher text."""
        return bool(self.flags & EnvelopeFlag.ENCRYPTED)

    @property
    def best_version(self) -> Version:
        """The highest version the sender speaks; old peers suggest none and mean their own."""
        return self.suggested if self.suggested.major else self.version

    def encode(self) -> bytes:
        """Return the 20 octets."""
        return _FORM.pack(
            self.version.major,
            self.version.minor,
            self.flags | self.suggested.major,
            self.suggested.minor,
            self.session_id,
            self.request_id,
            self.sequence,
            self.length,
        )

    def with_packet(self, sequence: int, length: int) -> "Envelope":
        """Return this envelope for packet `sequence` of a message of `length` octets."""
        return replace(self, sequence=sequence, length=length)


def decode_envelope(octets: bytes) -> Envelope:
    """Decode the first 20 octets.

    Raises:
        DecodeError: fewer than 20 octets; a length that is negative or over 262,144; a negative
            sequence number.
    """
    if len(octets) < ENVELOPE_OCTETS:
        raise DecodeError(f"envelope needs {ENVELOPE_OCTETS} octets, {len(octets)} remain")
    major, minor, flags, suggested_minor, session, request, sequence, length = _FORM.unpack_from(
        octets
    )
    if not 0 <= length <= MESSAGE_OCTETS_MAX:
        raise DecodeError(f"message length is {length}, allowed are 0 to {MESSAGE_OCTETS_MAX}")
    if sequence < 0:
        raise DecodeError(f"sequence number is {sequence}, it cannot be negative")
    return Envelope(
        Version(major, minor),
        Version(flags & _SUGGESTED_MAJOR_MASK, suggested_minor),
        flags & ~_SUGGESTED_MAJOR_MASK,
        session,
        request,
        sequence,
        length,
    )
