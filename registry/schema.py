"""The keys and records of the store, written down: store version 4.

The store is one LMDB environment with these named databases (all keys sort as octets):

    name       key                          value
    handles    storage key of a handle      record, see below
    prefixes   storage key of a homed       the prefix handle in full, folded; nothing of one
               prefix handle                that is silent, see `registry.standings`
    journal    u64 sequence number          frame, see `registry.journal`
    snapshot   u32 part number              frame of a sealed snapshot, see `registry.log`
    foreign    storage key, suffix in the   u64 fetched at (seconds since 1970), record:
               case asked                   values of other nodes that log-ins were made with
    streams    16 octets, name of a stream  what is known of it, see `registry.streams`
    verdicts   the same, u64 last row       what became of some rows of it
    ranges     stem, 0x00, u8 octets of     a run of serials, see `registry.range_records`
               the tail, tail of the last
    templates  see `registry.templates`     versions of templates of metadata, lots made from them
    histories  storage key, 0xff, u64       which frames changed a handle that was there already,
               sequence number              see `registry.history_index`
               0xfe, stem, 0x00, ...        which frames changed ranges: `range_history_index`
    statistics see `registry.counters`      counts of identifiers and of queries
    offices    see `registry.offices`       prefixes applied for, quotas, people
    meta       b"version"                   u32 store version
               b"case_sensitive"            u8 0 or 1: whether suffixes keep their case
               b"head"                      u64 sequence number, 32 octets SHA-256: last frame
               b"histories", b"time"        see `registry.history_index`
               b"range_histories"           see `registry.range_history_index`
               b"snapshot"                  u64 sequence number, 32 octets SHA-256 of that frame,
                                            32 octets seal; absent while the journal is whole

All integers are big-endian. A **storage key** is the folded handle (`protocol.handle`). LMDB keys
end at 511 octets; a longer one is its first 478 octets, 0xff and the SHA-256 of all of it. 0xff
occurs in no UTF-8, so such a key is never that of a handle that was created; its record repeats
the handle in full.

A row is a record (format 1), a marked row (format 2, `registry.marks`), or a row made from a
template (format 3, `registry.template_rows`); the upper four bits of its first octet say which.

A **record** keeps the wire octets of its public value list in one piece, so that an answer is a
head, the handle as asked, and a copy:

    offset 0  u8   head: format in the upper four bits (1), flags in the lower
                   0x1 private values follow, 0x2 the handle in full follows
    [       1 u32  octets of the public list, only when a flag is set]
    1 or 5    i32  count, then that many values: what anybody may read, in stored order
    [         u16  octets of the handle, the handle                       when 0x2]
    [         u16  count, then (u16 position among all values, value)     when 0x1]
"""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from protocol.errors import DecodeError
from protocol.handle import PREFIX_HANDLE_START, ROOT_HANDLE, fold_handle
from protocol.value import HandleValue, encode_values, read_value, read_values
from protocol.wire import HANDLE_OCTETS_MAX, MESSAGE_OCTETS_MAX, Reader
from registry.errors import RecordError

STORE_VERSION = 4
RECORD_FORMAT = 1

KEY_OCTETS_MAX = 511  # LMDB's own bound, compiled into the engine
KEY_HEAD_OCTETS = 478  # what is left beside 0xff and a SHA-256

VALUES_MAX = 2_048  # Handle.Net reads no more values in one answer
# An answer is one message: what remains beside header, digest, handle and credential.
RECORD_OCTETS_MAX = MESSAGE_OCTETS_MAX - 2 * HANDLE_OCTETS_MAX
REFERENCES_MAX = 256  # a value's; ours, far above what any tool writes

FLAG_PRIVATE = 0x1
FLAG_HANDLE = 0x2

_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")
_DERIVED_LIST_START = ROOT_HANDLE + b"/"
_LONG_HEAD = struct.Struct(">BI")
_SHORT_OFFSET = 1
_PUBLIC_HEAD = bytes([RECORD_FORMAT << 4])
_LONG_OFFSET = _LONG_HEAD.size


def is_derived_list(prefix_handle: bytes) -> bool:
    """Say whether a list is of the prefixes derived from one: `0.NA/0.NA/88`, not `0.NA/88`."""
    return fold_handle(prefix_handle).startswith(_DERIVED_LIST_START)


def list_start(prefix_handle: bytes) -> bytes:
    """Return how the keys of a list begin: `88/` for `0.NA/88`, `0.NA/88.` for `0.NA/0.NA/88`."""
    listed = fold_handle(prefix_handle)[len(PREFIX_HANDLE_START) :]
    return listed + (b"." if is_derived_list(prefix_handle) else b"/")


def storage_key(handle: bytes, case_sensitive: bool) -> bytes:
    """Return the key a handle is stored under, at most 511 octets."""
    return folded_key(fold_handle(handle, case_sensitive=case_sensitive))


def folded_key(folded: bytes) -> bytes:
    """Return the key of a handle that is folded already."""
    if len(folded) <= KEY_OCTETS_MAX:
        return folded
    return folded[:KEY_HEAD_OCTETS] + b"\xff" + hashlib.sha256(folded).digest()


@dataclass(frozen=True, slots=True)
class Record:
    """All values of one handle in stored order.

    `handle` is the folded handle in full when it is too long for a key, else empty.
    """

    values: tuple[HandleValue, ...]
    handle: bytes = b""

    def find_value(self, index: int) -> HandleValue | None:
        """Return the value at `index`, or None."""
        return next((value for value in self.values if value.index == index), None)

    def of_type(self, type_: bytes) -> tuple[HandleValue, ...]:
        """Return the values whose type is exactly `type_`, as stored values are looked through."""
        return tuple(value for value in self.values if value.type == type_)


def encode_record(values: Sequence[HandleValue], handle: bytes) -> bytes:
    """Return the record of a folded handle."""
    public = encode_values(value for value in values if value.is_public)
    private = [(at, value) for at, value in enumerate(values) if not value.is_public]
    flags = (FLAG_PRIVATE if private else 0) | (FLAG_HANDLE if len(handle) > KEY_OCTETS_MAX else 0)
    head = RECORD_FORMAT << 4 | flags
    if not flags:
        return bytes([head]) + public
    parts = [_LONG_HEAD.pack(head, len(public)), public]
    if flags & FLAG_HANDLE:
        parts += [_U16.pack(len(handle)), handle]
    if private:
        parts.append(_U16.pack(len(private)))
        parts += [_U16.pack(at) + value.encode() for at, value in private]
    return b"".join(parts)


def record_of_public(octets: bytes, handle: bytes) -> bytes:
    """Return the record of a folded handle whose values, all public, are wire octets already."""
    if len(handle) <= KEY_OCTETS_MAX:
        return _PUBLIC_HEAD + octets
    return encode_record(read_values(Reader(octets)), handle)


def public_rows(
    folded: Sequence[bytes], octets: Sequence[bytes]
) -> tuple[Sequence[bytes], list[bytes]]:
    """Return storage keys and records of folded handles, as `record_of_public` makes each."""
    if folded and max(map(len, folded)) <= KEY_OCTETS_MAX:
        return folded, [_PUBLIC_HEAD + each for each in octets]
    keys = [folded_key(each) for each in folded]
    return keys, [record_of_public(*each) for each in zip(octets, folded, strict=True)]


def decode_record(octets: bytes) -> Record:
    """Take a record apart.

    Raises:
        RecordError: damaged, or of a format this version does not know.
    """
    try:
        return _decode_record(octets)
    except DecodeError as error:
        raise RecordError(f"record does not decode: {error}") from error


def _decode_record(octets: bytes) -> Record:
    flags = _record_flags(octets)
    if not flags:
        reader = Reader(octets, _SHORT_OFFSET)
        values = read_values(reader)
        reader.expect_end("record")
        return Record(values)
    reader = Reader(octets, 1)
    public_end = _LONG_OFFSET + reader.read_u32("length of public list")
    values = read_values(reader)
    if reader.position != public_end:
        raise DecodeError(f"public list ends at {reader.position}, announced is {public_end}")
    handle = reader.read_octets(reader.read_u16("length"), "handle") if flags & FLAG_HANDLE else b""
    if flags & FLAG_PRIVATE:
        values = _read_private(reader, values)
    reader.expect_end("record")
    return Record(values, handle)


def _read_private(reader: Reader, public: tuple[HandleValue, ...]) -> tuple[HandleValue, ...]:
    values = list(public)
    for _ in range(reader.read_u16("count of private values")):
        position = reader.read_u16("position of private value")
        if position > len(values):
            raise DecodeError(f"private value at position {position} of {len(values)}")
        values.insert(position, read_value(reader))
    return tuple(values)


def _record_flags(octets: bytes) -> int:
    if not octets:
        raise RecordError("record is empty")
    head = octets[0]
    if head >> 4 != RECORD_FORMAT or head & 0xF & ~(FLAG_PRIVATE | FLAG_HANDLE):
        raise RecordError(
            f"record begins with 0x{head:02x}; this version reads format {RECORD_FORMAT}: "
            "damaged, or written by a newer version"
        )
    return head & 0xF


def public_list(octets: bytes) -> bytes:
    """Return the wire octets of a record's public values, count included.

    Raises:
        RecordError: damaged, or of a format this version does not know.
    """
    if not _record_flags(octets):
        return octets[_SHORT_OFFSET:]
    if len(octets) < _LONG_OFFSET:
        raise RecordError(f"record has {len(octets)} octets, its head needs {_LONG_OFFSET}")
    (length,) = _U32.unpack_from(octets, 1)
    return octets[_LONG_OFFSET : _LONG_OFFSET + length]


def has_private(octets: bytes) -> bool:
    """Say whether a record holds values that not everybody may read. Raises: RecordError."""
    return bool(_record_flags(octets) & FLAG_PRIVATE)
