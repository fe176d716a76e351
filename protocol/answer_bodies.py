"""Bodies of answers: a success's by its opcode, any other's by its response code.

    RESOLUTION             402 challenge       302, 303 referral            other refusals
      str         handle     str nonce           str          handle          str message
      list<value> values                         list<value>  values (or nothing)

When the header's REQUEST_DIGEST flag is set a digest stands before all of it (`protocol.digests`).
"""

from collections.abc import Callable
from dataclasses import dataclass

from protocol.body_shapes import Body, Empty, UnknownBody, read_values_body
from protocol.codes import REFERRALS, MessageFlag, OpCode, ResponseCode
from protocol.digests import RequestDigest, read_digest
from protocol.errors import DecodeError
from protocol.header import Header
from protocol.value import HandleValue, encode_values, read_values
from protocol.wire import Reader, write_i16, write_i64, write_list, write_str


@dataclass(frozen=True, slots=True)
class CreatedAnswer:
    """Success of CREATE_HANDLE; None encodes the empty body old clients expect."""

    handle: bytes | None

    def encode(self) -> bytes:
        """Return the octets."""
        return b"" if self.handle is None else write_str(self.handle)


@dataclass(frozen=True, slots=True)
class SiteInfoAnswer:
    """Success of GET_SITE_INFO: HS_SITE octets without a length."""

    site: bytes

    def encode(self) -> bytes:
        """Return the octets."""
        return self.site


@dataclass(frozen=True, slots=True)
class HandleListAnswer:
    """Success of LIST_HANDLES and LIST_HOMED_NAS, at most 50 a message."""

    handles: tuple[bytes, ...]

    def encode(self) -> bytes:
        """Return the octets."""
        return write_list(write_str(handle) for handle in self.handles)


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """Any refusal: a message in UTF-8; None where a 2.0 peer left the field out."""

    message: bytes | None = b""

    def encode(self) -> bytes:
        """Return the octets."""
        return b"" if self.message is None else write_str(self.message)


@dataclass(frozen=True, slots=True)
class ReferralAnswer:
    """302 and 303: ask there instead. Without values, `handle` says where to look."""

    handle: bytes
    values: tuple[HandleValue, ...] | None = None

    def encode(self) -> bytes:
        """Return the octets."""
        octets = write_str(self.handle)
        return octets if self.values is None else octets + encode_values(self.values)


@dataclass(frozen=True, slots=True)
class ChallengeAnswer:
    """402: the nonce to sign together with the request digest before it."""

    nonce: bytes

    def encode(self) -> bytes:
        """Return the octets."""
        return write_str(self.nonce)


@dataclass(frozen=True, slots=True)
class SessionSetupAnswer:
    """Success of SESSION_SETUP, with the same two trailing octets as its request."""

    mode: int
    data: bytes
    trailing: bytes = b"\0\0"

    def encode(self) -> bytes:
        """Return the octets."""
        return write_i16(self.mode) + write_str(self.data) + self.trailing


@dataclass(frozen=True, slots=True)
class VerificationAnswer:
    """Success of VERIFY_CHALLENGE: bit 0 says whether the answer holds."""

    result: int

    def encode(self) -> bytes:
        """Return the octet."""
        return bytes([self.result])


@dataclass(frozen=True, slots=True)
class TransactionIdAnswer:
    """Success of GET_NEXT_TXN_ID."""

    transaction_id: int

    def encode(self) -> bytes:
        """Return the octets."""
        return write_i64(self.transaction_id)


@dataclass(frozen=True, slots=True)
class StreamAnswer:
    """Success of RETRIEVE_TXN_LOG (one octet) before its stream begins."""

    flags: int

    def encode(self) -> bytes:
        """Return the octet."""
        return bytes([self.flags])


def _read_created(reader: Reader) -> Body:
    return CreatedAnswer(reader.read_str("handle") if reader.remaining else None)


def _read_handle_list(reader: Reader) -> Body:
    return HandleListAnswer(reader.read_list(lambda r: r.read_str("handle"), "handles", 4))


def _read_session_answer(reader: Reader) -> Body:
    return SessionSetupAnswer(
        reader.read_i16("session mode"), reader.read_str("session data"), reader.read_rest()
    )


def _read_empty(reader: Reader) -> Body:
    return Empty()


_SUCCESS_READERS: dict[int, Callable[[Reader], Body]] = {
    OpCode.RESOLUTION: read_values_body,
    OpCode.GET_SITE_INFO: lambda reader: SiteInfoAnswer(reader.read_rest()),
    OpCode.CREATE_HANDLE: _read_created,
    OpCode.DELETE_HANDLE: _read_empty,
    OpCode.ADD_VALUE: _read_empty,
    OpCode.REMOVE_VALUE: _read_empty,
    OpCode.MODIFY_VALUE: _read_empty,
    OpCode.LIST_HANDLES: _read_handle_list,
    OpCode.VERIFY_CHALLENGE: lambda reader: VerificationAnswer(reader.read_u8("verification")),
    OpCode.HOME_NA: _read_empty,
    OpCode.UNHOME_NA: _read_empty,
    OpCode.LIST_HOMED_NAS: _read_handle_list,
    OpCode.SESSION_SETUP: _read_session_answer,
    OpCode.SESSION_TERMINATE: _read_empty,
    OpCode.SESSION_EXCHANGE_KEY: _read_empty,
    OpCode.GET_NEXT_TXN_ID: lambda reader: TransactionIdAnswer(reader.read_i64("txn id")),
    OpCode.RETRIEVE_TXN_LOG: lambda reader: StreamAnswer(reader.read_u8("stream flags")),
    OpCode.DUMP_HANDLES: _read_empty,
    OpCode.BACKUP_SERVER: _read_empty,
}


def _read_referral(reader: Reader) -> Body:
    handle = reader.read_str("referral handle")
    return ReferralAnswer(handle, read_values(reader) if reader.remaining else None)


def _read_error(reader: Reader) -> Body:
    return ErrorAnswer(reader.read_str("error message") if reader.remaining else None)


def _response_reader(opcode: int, response_code: int) -> Callable[[Reader], Body]:
    if response_code == ResponseCode.SUCCESS:
        return _SUCCESS_READERS.get(opcode, lambda reader: UnknownBody(reader.read_rest()))
    if response_code == ResponseCode.AUTHENTICATION_NEEDED:
        return lambda reader: ChallengeAnswer(reader.read_str("nonce"))
    if response_code in REFERRALS:
        return _read_referral
    return _read_error


def decode_response_body(header: Header, body: bytes) -> tuple[RequestDigest | None, Body]:
    """Decode a response's body into (request digest when flagged, body).

    Raises:
        DecodeError: truncated, a count out of range, octets left over, or a request's header.
    """
    if header.response_code == ResponseCode.REQUEST:
        raise DecodeError("response code 0 marks a request, not a response")
    reader = Reader(body)
    digest = read_digest(reader) if header.has(MessageFlag.REQUEST_DIGEST) else None
    answer = _response_reader(header.opcode, header.response_code)(reader)
    reader.expect_end("response body")
    return digest, answer
