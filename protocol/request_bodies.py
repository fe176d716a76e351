"""Bodies of requests: what stands between header and credential, by opcode.

    RESOLUTION                     CREATE_HANDLE, ADD_VALUE, MODIFY_VALUE
      str       handle               str          handle
      list<i32> indexes              list<value>  values
      list<str> types

The others are as short: see each class's `encode`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from protocol.body_shapes import Body, UnknownBody, read_values_body
from protocol.codes import OpCode
from protocol.digests import RequestDigest, read_digest
from protocol.versions import V2_9, Version
from protocol.wire import Reader, write_i16, write_i32, write_i64, write_list, write_str

SESSION_MODE_CLIENT_KEY = 1
SESSION_MODE_SERVER_KEY = 2
SESSION_MODE_KEY_IN_HANDLE = 3
SESSION_MODE_DIFFIE_HELLMAN = 4
_MODES_WITH_PUBLIC_KEY = frozenset({SESSION_MODE_CLIENT_KEY, SESSION_MODE_DIFFIE_HELLMAN})


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
        octets = bytes([self.hash_option]) + write_i32(self.servers) + write_i32(self.server_number)
        if self.resume_at is None:
            return octets
        return octets + write_str(self.resume_at) + write_i32(self.resume_type)


def _read_resolution(reader: Reader) -> Body:
    return ResolutionRequest(
        reader.read_str("handle"),
        reader.read_list(lambda r: r.read_i32("index"), "indexes", 4),
        reader.read_list(lambda r: r.read_str("type"), "types", 4),
    )


def _read_handle(reader: Reader) -> Body:
    return HandleRequest(reader.read_str("handle"))


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
    OpCode.CREATE_HANDLE: read_values_body,
    OpCode.DELETE_HANDLE: _read_handle,
    OpCode.ADD_VALUE: read_values_body,
    OpCode.REMOVE_VALUE: _read_remove,
    OpCode.MODIFY_VALUE: read_values_body,
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
