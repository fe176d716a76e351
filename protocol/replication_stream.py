"""How a replication stream begins, where it is signed, and taking it apart as it arrives.

    i32 type    0           str hash name, then blocks, each followed by its str signature
               -1           the records as they are (inside https, by the server's RSA key)
               "TLS\\0"      a TLS handshake follows on the same connection, in it the records

A block is the head of the log or dump, and then each record; signed are its octets, from the type
of the record on. The octet that ends a dump alone is in no block: nobody signs or checks it. RSA
and DSA keys sign with SHA-1 here ("SHA1"). So Handle.Net 9 has it, on both sides.

`ReplicationDecoder` gives whole records, whose signatures hold, out of octets in pieces of any
size. It holds no more than one record that has not arrived whole.
"""

import struct
from collections.abc import Callable
from typing import Generic, TypeVar

from protocol.errors import DecodeError, SecurityError
from protocol.key_files import PrivateKey
from protocol.replication import (
    DUMP_FORMAT_OLD,
    RECORD_OCTETS_MAX,
    DumpEnd,
    DumpHead,
    DumpRecord,
    DumpServer,
    LogEnd,
    LogHead,
    LogRecord,
    read_dump_head,
    read_dump_record,
    read_log_head,
    read_log_record,
)
from protocol.signatures import NAME_SHA1, sign, signature_holds
from protocol.types.hs_pubkey import PublicKey
from protocol.versions import V2_6
from protocol.wire import LIST_ITEMS_MAX, Reader, write_i32, write_str

STREAM_SIGNED = 0
STREAM_UNSIGNED = -1
STREAM_TLS = 0x544C5300
STREAM_TYPES = frozenset({STREAM_SIGNED, STREAM_UNSIGNED, STREAM_TLS})
STREAM_TYPE_OCTETS = 4

_DUMP_END = DumpEnd().encode()

Record = TypeVar("Record")
Head = TypeVar("Head")


def stream_start(stream_type: int) -> bytes:
    """Return what a stream of a type begins with."""
    assert stream_type in STREAM_TYPES
    start = write_i32(stream_type)
    return start + write_str(NAME_SHA1) if stream_type == STREAM_SIGNED else start


def read_stream_type(octets: bytes) -> int:
    """Read the four octets a stream begins with. Raises: DecodeError."""
    found = Reader(octets).read_i32("stream type")
    if found not in STREAM_TYPES:
        raise DecodeError(f"stream type is {found}, known are 0, -1 and {STREAM_TLS}")
    return found


def signed_part(part: bytes, key: PrivateKey) -> bytes:
    """Return a part of a stream, its head or a record, with its signature if it is a block."""
    if part == _DUMP_END:
        return part
    _, signature = sign(key, part, V2_6)  # the last version that signs with SHA-1
    return part + write_str(signature)


class _MoreNeeded(Exception):  # noqa: N818 - a state, caught a few lines below
    """The record has not arrived whole."""


class _PartReader(Reader):
    """A reader that tells what is not there yet from what is wrong."""

    __slots__ = ("_end",)

    def __init__(self, octets: bytes, position: int) -> None:
        super().__init__(octets, position)
        self._end = position + RECORD_OCTETS_MAX

    def _read(self, form: struct.Struct, name: str) -> int:
        self._wait_for(form.size, name)
        return super()._read(form, name)

    def read_octets(self, count: int, name: str) -> bytes:
        """Read exactly `count` octets. Raises: DecodeError."""
        self._wait_for(count, name)
        return super().read_octets(count, name)

    def read_str(self, name: str) -> bytes:
        """Read a counted string as octets. Raises: DecodeError."""
        return self.read_octets(self.read_i32(f"length of {name}"), name)

    def read_count(self, name: str, item_octets_min: int) -> int:
        """Read the count of a list. Raises: DecodeError."""
        before = self.position
        count = self.read_i32(f"count of {name}")
        if 0 < count <= LIST_ITEMS_MAX:
            self._wait_for(count * item_octets_min, name)
        self.position = before
        return super().read_count(name, item_octets_min)

    def _wait_for(self, count: int, name: str) -> None:
        if self.position + count > self._end:
            raise DecodeError(f"a record with its {name} has more than {RECORD_OCTETS_MAX} octets")
        if count > self.remaining:
            raise _MoreNeeded


class ReplicationDecoder(Generic[Head, Record]):
    """Takes a stream apart behind its type, as it arrives.

    Args:
        read_head: reads the head of the log or dump.
        read_record: reads a record, given the head.
        ends: says of a record that nothing follows, given the head.
        public_key: of a signed stream, whose signatures must hold; None: it is not signed.
    """

    def __init__(
        self,
        read_head: Callable[[Reader], Head],
        read_record: Callable[[Reader, Head], Record],
        ends: Callable[[Head, Record], bool],
        public_key: PublicKey | None = None,
    ) -> None:
        self._read_head = read_head
        self._read_record = read_record
        self._ends = ends
        self._public_key = public_key
        self._hash_name = b""
        self._buffer = b""
        self.head: Head | None = None
        self.is_ended = False

    def take(self, octets: bytes) -> list[Record]:
        """Return the records that are whole now, with what has just arrived.

        Raises:
            DecodeError: what arrived is no such stream, or goes on behind its end.
            SecurityError: a block's signature does not hold.
        """
        buffer = self._buffer + octets
        records: list[Record] = []
        position = 0
        try:
            while not self.is_ended:
                reader = _PartReader(buffer, position)
                self._take_one(reader, records)
                position = reader.position
        except _MoreNeeded:
            pass
        self._buffer = buffer[position:]
        if self.is_ended and self._buffer:
            raise DecodeError(f"{len(self._buffer)} octets follow the end of the stream")
        return records

    def _take_one(self, reader: _PartReader, records: list[Record]) -> None:
        """Read the hash name, the head or a record."""
        if self._public_key is not None and not self._hash_name:
            self._hash_name = reader.read_str("hash name") or b"none"
            return
        start = reader.position
        if self.head is None:
            head = self._read_head(reader)
            self._verify_block(reader, start)
            self.head = head
            return
        record = self._read_record(reader, self.head)
        if not isinstance(record, DumpEnd):
            self._verify_block(reader, start)
        records.append(record)
        self.is_ended = self._ends(self.head, record)

    def _verify_block(self, reader: _PartReader, start: int) -> None:
        if self._public_key is None:
            return
        block = reader.octets[start : reader.position]
        signature = reader.read_str("signature")
        if not signature_holds(self._public_key, block, self._hash_name, signature):
            raise SecurityError("a block's signature does not hold under the server's key")


def log_decoder(public_key: PublicKey | None = None) -> ReplicationDecoder[LogHead, LogRecord]:
    """Return what takes a log apart."""

    def ends(head: LogHead, record: LogRecord) -> bool:
        return isinstance(record, LogEnd)

    def read_record(reader: Reader, head: LogHead) -> LogRecord:
        return read_log_record(reader, head.format)

    return ReplicationDecoder(read_log_head, read_record, ends, public_key)


def dump_decoder(public_key: PublicKey | None = None) -> ReplicationDecoder[DumpHead, DumpRecord]:
    """Return what takes a dump apart."""

    def ends(head: DumpHead, record: DumpRecord) -> bool:
        is_old = head.format == DUMP_FORMAT_OLD
        return isinstance(record, DumpServer if is_old else DumpEnd)

    def read_record(reader: Reader, head: DumpHead) -> DumpRecord:
        return read_dump_record(reader)

    return ReplicationDecoder(read_dump_head, read_record, ends, public_key)
