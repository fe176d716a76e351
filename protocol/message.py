"""A whole message: envelope, header, body, credential.

    envelope 20 | header 24 | body | i32 length | credential

The credential's length may be missing (accepted, as Handle.Net does); it is always written. The
body and credential stay octets here: `bodies` and `credential` take them apart, and digests,
signatures and MACs are computed over exactly what was received.
"""

from dataclasses import dataclass, replace

from protocol.envelope import ENVELOPE_OCTETS, Envelope, decode_envelope
from protocol.errors import DecodeError
from protocol.header import HEADER_OCTETS, Header, decode_header
from protocol.wire import MESSAGE_OCTETS_MAX, Reader, write_str


@dataclass(frozen=True, slots=True)
class Message:
    """One decoded message. `envelope.length` is recomputed when the message is encoded."""

    envelope: Envelope
    header: Header
    body: bytes
    credential: bytes = b""

    @property
    def covered(self) -> bytes:
        """Header and body: what request digests, signatures and MACs are computed over."""
        return self.header.encode(len(self.body)) + self.body

    @property
    def payload(self) -> bytes:
        """The message without its envelope, in clear."""
        return self.covered + write_str(self.credential)

    def with_credential(self, credential: bytes) -> "Message":
        """Return this message with another credential."""
        return replace(self, credential=credential)

    def encode(self) -> bytes:
        """Return envelope and message in clear, as sent over TCP.

        Raises:
            DecodeError: the message is over 262,144 octets, which no peer accepts.
        """
        payload = self.payload
        if len(payload) > MESSAGE_OCTETS_MAX:
            raise DecodeError(f"message has {len(payload)} octets, {MESSAGE_OCTETS_MAX} allowed")
        return self.envelope.with_packet(0, len(payload)).encode() + payload


def decode_payload(envelope: Envelope, payload: bytes) -> Message:
    """Take a clear message apart, given its envelope. Raises: DecodeError."""
    header, body_octets = decode_header(payload)
    reader = Reader(payload, HEADER_OCTETS)
    body = reader.read_octets(body_octets, "body")
    credential = reader.read_str("credential") if reader.remaining else b""
    reader.expect_end("message")
    return Message(envelope, header, body, credential)


def decode_message(octets: bytes) -> Message:
    """Decode one unencrypted message with its envelope, all of it and nothing more.

    Raises:
        DecodeError: truncated, too long, encrypted, or a length that does not fit.
    """
    envelope = decode_envelope(octets)
    payload = octets[ENVELOPE_OCTETS:]
    if len(payload) != envelope.length:
        raise DecodeError(f"message announces {envelope.length} octets, {len(payload)} follow")
    if envelope.is_encrypted:
        raise DecodeError("the message is encrypted and no session key is at hand")
    return decode_payload(envelope, payload)
