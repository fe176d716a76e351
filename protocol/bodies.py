"""Message bodies: what stands between header and credential, by opcode and response code.

Requests have one body class per shape; `decode_request_body` finds it by opcode. A success
response's body depends on the opcode, every other response's on its response code. In a response
with the REQUEST_DIGEST flag a digest stands first (`protocol.digests`); `decode_response_body`
returns it beside the body.

    resolution request             resolution answer
      str       handle               str          handle
      list<i32> indexes              list<value>  values
      list<str> types
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from protocol.codes import REFERRALS, MessageFlag, OpCode, ResponseCode
from protocol.digests import RequestDigest, read_digest
from protocol.errors import DecodeError
from protocol.header import Header
from protocol.value import HandleValue, encode_values, read_values
from protocol.versions import V2_9, Version
from protocol.wire import (
    Reader,
    write_i16,
    write_i32,
    write_i64,
    write_list,
    write_str,
)


class Body(Protocol):
    """Anything that encodes to a body's octets."""

    def encode(self) -> bytes:
        """Return the octets."""
        ...


@dataclass(frozen=True, slots=True)
class Empty:
    """A body of no octets: the success of delete, add, remove, modify, home and others."""

    def encode(self) -> bytes:
        """Return nothing."""
        return b""


@dataclass(frozen=True, slots=True)
class ResolutionRequest:
    """RESOLUTION: indexes and types are OR-ed; both empty ask for all values."""

    handle: bytes
    indexes: tuple[int, ...] = ()
    types: tuple[bytes, ...] = ()

    def encode(self) -> bytes:
        """Return the octets."""
        return (
            write_str(self.handle)
            + write_list(write_i32(index) for index in self.indexes)
            + write_list(write_str(type_) for type_ in self.types)
        )


@dataclass(frozen=True, slots=True)
class HandleRequest:
    """A body that is one handle: GET_SITE_INFO, DELETE, LIST, HOME, UNHOME, SESSION_TERMINATE."""

    handle: bytes

    def encode(self) -> bytes:
        """Return the octets."""
        return write_str(self.handle)


@dataclass(frozen=True, slots=True)
class ValuesRequest:
    """CREATE_HANDLE, ADD_VALUE, MODIFY_VALUE; also the body of a resolution answer."""

    handle: bytes
    values: tuple[HandleValue, ...]

    def encode(self) -> bytes:
        """Return the octets."""
        return write_str(self.handle) + encode_values(self.values)


@dataclass(frozen=True, slots=True)
class RemoveValuesRequest:
    """REMOVE_VALUE."""

    handle: bytes
    indexes: tuple[int, ...]

    def encode(self) -> bytes:
        """Return the octets."""
        return write_str(self.handle) + write_list(write_i32(index) for index in self.indexes)


@dataclass(frozen=True, slots=True)
class ChallengeAnswerRequest:
    """RESPONSE_TO_CHALLENGE; `answer` is taken apart by `protocol.challenge`."""

    authentication_type: bytes
    user_handle: bytes
    user_index: int
    answer: bytes

    def encode(self) -> bytes:
        """Return the octets."""
        return (
            write_str(self.authentication_type)
            + write_str(self.user_handle)
            + write_i32(self.user_index)
            + write_str(self.answer)
        )


@dataclass(frozen=True, slots=True)
class VerifyChallengeRequest:
    """VERIFY_CHALLENGE: another server asks whether a secret-key answer holds."""

    handle: bytes
    index: int
    nonce: bytes
    digest: RequestDigest
    digest_as_str: bool
    answer: bytes

    def encode(self) -> bytes:
        """Return the octets; current clients write the digest as a `str`."""
        digest = write_str(self.digest.digest) if self.digest_as_str else self.digest.encode()
        return (
            write_str(self.handle)
            + write_i32(self.index)
            + write_str(self.nonce)
            + digest
            + write_str(self.answer)
        )


@dataclass(frozen=True, slots=True)
class SessionSetupRequest:
    """SESSION_SETUP. `trailing` keeps the two zero octets that Java clients append.

    `public_key` is there in modes 1 and 4, the key's reference in mode 3.
    """

    mode: int
    timeout_s: int
    identity_handle: bytes
    identity_index: int
    public_key: bytes = b""
    key_handle: bytes = b""
    key_index: int = 0
    trailing: bytes = b"\0\0"

    def encode(self) -> bytes:
        """Return the octets."""
        octets = (
            write_i16(self.mode)
            + write_i32(self.timeout_s)
            + write_str(self.identity_handle)
            + write_i32(self.identity_index)
        )
        if self.mode in _MODES_WITH_PUBLIC_KEY:
            octets += write_str(self.public_key)
        elif self.mode == SESSION_MODE_KEY_IN_HANDLE:
            octets += write_str(self.key_handle) + write_i32(self.key_index)
        return octets + self.trailing


@dataclass(frozen=True, slots=True)
class SessionExchangeKeyRequest:
    """SESSION_EXCHANGE_KEY: a session key encrypted for the server."""

    encrypted_key: bytes

    def encode(self) -> bytes:
        """Return the octets."""
        return write_str(self.encrypted_key)


@dataclass(frozen=True, slots=True)
class RetrieveLogRequest:
    """RETRIEVE_TXN_LOG: mode octet from 2.9 on (None before); mode 1 carries JSON positions."""

    mode: int | None
    last_id: int
    last_query_ms: int
    positions_json: bytes
    hash_option: int
    servers: int
    server_number: int

    def encode(self) -> bytes:
        """Return the octets."""
        octets = b"" if self.mode is None else bytes([self.mode])
        if self.mode == 1:
            octets += write_str(self.positions_json)
        else:
            octets += write_i64(self.last_id) + write_i64(self.last_query_ms)
        return (
            octets
            + bytes([self.hash_option])
            + write_i32(self.servers)
            + write_i32(self.server_number)
        )


@dataclass(frozen=True, slots=True)
class DumpRequest:
    """DUMP_HANDLES: a mirror's share, and where to resume (None: from the start)."""

    hash_option: int
    servers: int
    server_number: int
    resume_at: bytes | None = None
    resume_type: int = 0

    def encode(self) -> bytes:
        """Return the octets."""
        octets = (
            bytes([self.hash_option]) + write_i32(self.servers) + write_i32(self.server_number)
        )
        if self.resume_at is None:
            return octets
        return octets + write_str(self.resume_at) + write_i32(self.resume_type)


@dataclass(frozen=True, slots=True)
class UnknownBody:
    """The body of an opcode or response that is not known here, octet for octet."""

    octets: bytes

    def encode(self) -> bytes:
        """Return the octets."""
        return self.octets


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


SESSION_MODE_CLIENT_KEY = 1
SESSION_MODE_SERVER_KEY = 2
SESSION_MODE_KEY_IN_HANDLE = 3
SESSION_MODE_DIFFIE_HELLMAN = 4
_MODES_WITH_PUBLIC_KEY = frozenset({SESSION_MODE_CLIENT_KEY, SESSION_MODE_DIFFIE_HELLMAN})


def _read_resolution(reader: Reader) -> Body:
    return ResolutionRequest(
        reader.read_str("handle"),
        reader.read_list(lambda r: r.read_i32("index"), "indexes", 4),
        reader.read_list(lambda r: r.read_str("type"), "types", 4),
    )


def _read_handle(reader: Reader) -> Body:
    return HandleRequest(reader.read_str("handle"))


def _read_values(reader: Reader) -> Body:
    return ValuesRequest(reader.read_str("handle"), read_values(reader))


def _read_remove(reader: Reader) -> Body:
    return RemoveValuesRequest(
        reader.read_str("handle"),
        reader.read_list(lambda r: r.read_i32("index"), "indexes", 4),
    )


def _read_challenge_answer(reader: Reader) -> Body:
    return ChallengeAnswerRequest(
        reader.read_str("authentication type"),
        reader.read_str("user handle"),
        reader.read_i32("user index"),
        reader.read_str("answer"),
    )


def _read_verify_challenge(reader: Reader) -> Body:
    handle = reader.read_str("handle")
    index = reader.read_i32("index")
    nonce = reader.read_str("nonce")
    # A first octet 0 is the length of a str here, whatever the digest's algorithm.
    as_str = reader.octets[reader.position : reader.position + 1] == b"\0"
    digest = RequestDigest(0, reader.read_str("digest")) if as_str else read_digest(reader)
    return VerifyChallengeRequest(handle, index, nonce, digest, as_str, reader.read_str("answer"))


def _read_session_setup(reader: Reader) -> Body:
    mode = reader.read_i16("session mode")
    timeout_s = reader.read_i32("session time-out")
    identity = reader.read_str("identity handle")
    index = reader.read_i32("identity index")
    public_key = key_handle = b""
    key_index = 0
    if mode in _MODES_WITH_PUBLIC_KEY:
        public_key = reader.read_str("public key")
    elif mode == SESSION_MODE_KEY_IN_HANDLE:
        key_handle = reader.read_str("key handle")
        key_index = reader.read_i32("key index")
    return SessionSetupRequest(
        mode, timeout_s, identity, index, public_key, key_handle, key_index, reader.read_rest()
    )


def _read_exchange_key(reader: Reader) -> Body:
    return SessionExchangeKeyRequest(reader.read_str("encrypted key"))


def _read_dump(reader: Reader) -> Body:
    hash_option = reader.read_u8("hash option")
    servers = reader.read_i32("number of servers")
    server_number = reader.read_i32("server number")
    if not reader.remaining:
        return DumpRequest(hash_option, servers, server_number)
    return DumpRequest(
        hash_option,
        servers,
        server_number,
        reader.read_str("resume point"),
        reader.read_i32("resume type"),
    )


def _read_retrieve_log(reader: Reader, version: Version) -> Body:
    mode = reader.read_u8("log mode") if version.at_least(V2_9) else None
    last_id = last_query_ms = 0
    positions = b""
    if mode == 1:
        positions = reader.read_str("log positions")
    else:
        last_id = reader.read_i64("last transaction id")
        last_query_ms = reader.read_i64("last query date")
    return RetrieveLogRequest(
        mode,
        last_id,
        last_query_ms,
        positions,
        reader.read_u8("hash option"),
        reader.read_i32("number of servers"),
        reader.read_i32("server number"),
    )


_REQUEST_READERS: dict[int, Callable[[Reader], Body]] = {
    OpCode.RESOLUTION: _read_resolution,
    OpCode.GET_SITE_INFO: _read_handle,
    OpCode.CREATE_HANDLE: _read_values,
    OpCode.DELETE_HANDLE: _read_handle,
    OpCode.ADD_VALUE: _read_values,
    OpCode.REMOVE_VALUE: _read_remove,
    OpCode.MODIFY_VALUE: _read_values,
    OpCode.LIST_HANDLES: _read_handle,
    OpCode.RESPONSE_TO_CHALLENGE: _read_challenge_answer,
    OpCode.VERIFY_CHALLENGE: _read_verify_challenge,
    OpCode.HOME_NA: _read_handle,
    OpCode.UNHOME_NA: _read_handle,
    OpCode.LIST_HOMED_NAS: _read_handle,
    OpCode.SESSION_SETUP: _read_session_setup,
    OpCode.SESSION_TERMINATE: _read_handle,
    OpCode.SESSION_EXCHANGE_KEY: _read_exchange_key,
    OpCode.GET_NEXT_TXN_ID: _read_handle,
    OpCode.DUMP_HANDLES: _read_dump,
    OpCode.BACKUP_SERVER: _read_handle,
}


def decode_request_body(opcode: int, body: bytes, version: Version) -> Body:
    """Decode a request's body; an unknown opcode gives an UnknownBody.

    Raises:
        DecodeError: truncated, a count out of range, or octets left over.
    """
    reader = Reader(body)
    if opcode == OpCode.RETRIEVE_TXN_LOG:
        request = _read_retrieve_log(reader, version)
    elif opcode in _REQUEST_READERS:
        request = _REQUEST_READERS[opcode](reader)
    else:
        return UnknownBody(body)
    reader.expect_end("request body")
    return request


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
    OpCode.RESOLUTION: _read_values,
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
