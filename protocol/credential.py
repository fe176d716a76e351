"""The credential at a message's end: a server's signature or a session's MAC.

     version 0      u8           kind            str  "HS_SIGNED", "HS_MAC" (old: "HS_DSAPUBKEY")
     reserved 0     u8           section length  i32
     options 0      i16          hash name       str
     signer         str, empty   signature       str  signature or MAC
     counter        i32          of the session, 0 outside of one

What is covered depends on the version in the message's own envelope:

     2.8 up   major, minor, suggested major, suggested minor, i32 session, i32 request, i32 counter,
              header, body
     2.7      the same without the two suggested octets
     2.6      a prefix of 14 misplaced octets, header, body; MACs over a garbled buffer
     2.5      header, body; MACs over the garbled buffer
     below    header, body

# Deviation: the garbled forms of 2.5 and 2.6 are Handle.Net's offset mistakes. Its releases of that
# time speak nothing else, so they are kept exactly.
"""

import hashlib
import hmac
import struct
from dataclasses import dataclass

from protocol.envelope import Envelope
from protocol.errors import DecodeError, SecurityError
from protocol.key_files import PrivateKey
from protocol.message import Message
from protocol.session import SessionKey
from protocol.signatures import sign, signature_holds
from protocol.types.hs_pubkey import PublicKey
from protocol.versions import V2_5, V2_6, V2_7, V2_8
from protocol.wire import Reader, write_i16, write_i32, write_str, write_u8

KIND_SIGNED = b"HS_SIGNED"
KIND_SIGNED_OLD = b"HS_DSAPUBKEY"
KIND_MAC = b"HS_MAC"

NAME_HMAC_SHA256 = b"HMAC-SHA256"
_NAME_SHA1 = b"SHA1"
_NAME_SHA1_OCTET = b"\x02"

_COUNTERS = struct.Struct(">iii")
_GARBLED_PREFIX_OCTETS = 14


@dataclass(frozen=True, slots=True)
class Credential:
    """The fields of a credential, of which only the last four are ever other than zero."""

    version: int
    options: int
    session_counter: int
    kind: bytes
    hash_name: bytes
    signature: bytes
    reserved: int = 0
    signer: bytes = b""

    def encode(self) -> bytes:
        """Return the octets, without the length before them."""
        section = write_str(self.hash_name) + write_str(self.signature)
        return (
            write_u8(self.version)
            + write_u8(self.reserved)
            + write_i16(self.options)
            + write_str(self.signer)
            + write_i32(self.session_counter)
            + write_str(self.kind)
            + write_str(section)
        )


def decode_credential(octets: bytes) -> Credential:
    """Decode a message's credential.

    Raises:
        DecodeError: truncated, a section length that does not fit, or octets left over.
    """
    reader = Reader(octets)
    version = reader.read_u8("credential version")
    reserved = reader.read_u8("credential reserved octet")
    options = reader.read_i16("credential options")
    signer = reader.read_str("credential signer")
    counter = reader.read_i32("session counter")
    kind = reader.read_str("credential kind")
    section = reader.read_i32("credential section length")
    if section != reader.remaining:
        raise DecodeError(f"credential section has {section} octets, {reader.remaining} remain")
    hash_name = reader.read_str("hash name")
    signature = reader.read_str("signature")
    reader.expect_end("credential")
    return Credential(version, options, counter, kind, hash_name, signature, reserved, signer)


def sign_message(message: Message, private_key: PrivateKey, counter: int = 0) -> Message:
    """Return the message with a credential signed by a server's key."""
    octets = _signed_octets(message, counter)
    hash_name, signature = sign(private_key, octets, message.envelope.version)
    credential = Credential(0, 0, counter, KIND_SIGNED, hash_name, signature)
    return message.with_credential(credential.encode())


def verify_message(message: Message, public_key: PublicKey) -> None:
    """Check a server's signature.

    Raises:
        SecurityError: no signature, one of another kind, or one that does not hold.
        DecodeError: the credential is malformed.
    """
    if not message.credential:
        raise SecurityError("the message is not signed")
    credential = decode_credential(message.credential)
    if credential.kind not in (KIND_SIGNED, KIND_SIGNED_OLD):
        raise SecurityError(f"the message is not signed, its credential is {credential.kind!r}")
    octets = _signed_octets(message, credential.session_counter)
    if not signature_holds(public_key, octets, credential.hash_name, credential.signature):
        raise SecurityError("the message's signature does not hold under the server's key")


def mac_message(message: Message, session_key: SessionKey, counter: int) -> Message:
    """Return the message with a MAC under a session key."""
    hash_name, mac = _compute_mac(message, session_key.octets, counter)
    credential = Credential(0, 0, counter, KIND_MAC, hash_name, mac)
    return message.with_credential(credential.encode())


def verify_mac(message: Message, session_key: SessionKey) -> int:
    """Check a session's MAC and return the message's counter.

    Whether the counter is new is the caller's to ask of the session's ReplayWindow.

    Raises:
        SecurityError: no MAC, or one that does not hold.
        DecodeError: the credential is malformed.
    """
    if not message.credential:
        raise SecurityError("the message has no MAC")
    credential = decode_credential(message.credential)
    if credential.kind != KIND_MAC:
        raise SecurityError(f"the message has no MAC, its credential is {credential.kind!r}")
    _, mac = _compute_mac(message, session_key.octets, credential.session_counter)
    if not hmac.compare_digest(mac, credential.signature):
        raise SecurityError("the message's MAC does not hold under the session's key")
    return credential.session_counter


def _envelope_octets(envelope: Envelope, counter: int) -> bytes:
    """Return what 2.7 and later cover before header and body."""
    octets = bytes(envelope.version)
    if envelope.version.at_least(V2_8):
        octets += bytes(envelope.suggested)
    return octets + _COUNTERS.pack(envelope.session_id, envelope.request_id, counter)


def _signed_octets(message: Message, counter: int) -> bytes:
    envelope = message.envelope
    if envelope.version.at_least(V2_7):
        return _envelope_octets(envelope, counter) + message.covered
    if envelope.version.at_least(V2_6):
        prefix = bytes(envelope.version) + write_i32(envelope.session_id)[:2] + write_i32(counter)
        return prefix.ljust(_GARBLED_PREFIX_OCTETS, b"\0") + message.covered
    return message.covered


def _compute_mac(message: Message, key: bytes, counter: int) -> tuple[bytes, bytes]:
    envelope, covered = message.envelope, message.covered
    if envelope.version.at_least(V2_7):
        octets = _envelope_octets(envelope, counter) + covered
        return NAME_HMAC_SHA256, hmac.digest(key, octets, "sha256")
    if envelope.version.at_least(V2_5):
        name = _NAME_SHA1 if envelope.version.at_least(V2_6) else _NAME_SHA1_OCTET
        return name, _sha1(_garbled_buffer(envelope, covered, key, counter))
    return _NAME_SHA1_OCTET, _sha1(key + covered + key)


def _garbled_buffer(envelope: Envelope, covered: bytes, key: bytes, counter: int) -> bytes:
    """Return what 2.5 and 2.6 hash: fields at the wrong offsets, later ones over earlier ones."""
    buffer = bytearray(2 * len(key) + len(covered) + _GARBLED_PREFIX_OCTETS)
    for offset, octets in (
        (0, key),
        (len(key), bytes(envelope.version)),
        (len(key) + 2, write_i32(envelope.session_id)),
        (4, write_i32(counter)),
        (4, covered),
        (4 + len(covered), key),
    ):
        buffer[offset : offset + len(octets)] = octets
    return bytes(buffer)


def _sha1(octets: bytes) -> bytes:
    return hashlib.sha1(octets, usedforsecurity=False).digest()
