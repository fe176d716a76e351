"""The journal: what changed, when and by whom, as a chain of compressed frames.

One frame is one group commit, written in the transaction that makes the changes:

    offset  0  u8   format, 1
            1  u64  sequence number, from 1
            9  i64  time of the commit, milliseconds since 1970
           17  32   SHA-256 of the frame before, octet for octet; zeros before the first
           49  u32  number of operations
           53  zstd frame with its content size: msgpack list of operations

An operation is the list [kind, handle as stored, values, actor's handle, actor's index, seconds
since 1970]. `values` are the wire octets of the full value list *after* the operation, empty where
none remain, so that a replay needs no earlier frame; of kinds in WITH_PAYLOAD they are msgpack that
the kind's own module describes, likewise what is so afterwards. The actor is who asked, proven:
index -1 for somebody unnamed (a public-write value), index 0 without a handle for the owner of the
machine.
"""

import hashlib
import struct
import threading
from collections.abc import Sequence, Set
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import msgpack
import zstandard

from protocol.errors import DecodeError
from protocol.value import HandleValue, Reference, encode_values, read_values
from protocol.wire import Reader
from registry.errors import JournalError
from registry.schema import RECORD_OCTETS_MAX
from registry.views import Head

FRAME_FORMAT = 1
FRAME_OPERATIONS_MAX = 4_096  # the largest bulk commit
# Operations of one frame, in clear: the largest registration at most this many times over.
FRAME_OCTETS_MAX = 1_024 * RECORD_OCTETS_MAX
COMPRESSION_LEVEL = 3  # zstd's default: 54 octets an identifier on real products

ANONYMOUS = Reference(b"", -1)
OWNER = Reference(b"", 0)

# Of a record that the owner of the machine loads, its first value is no older than this, or the
# history notes its creation: it could not be found by its time.
OWN_TIME_S = 60

_HEAD = struct.Struct(">BQq32sI")


class Kind(IntEnum):
    """What an operation did. The numbers are in journals: never re-use one."""

    CREATE = 1
    DELETE = 2
    ADD = 3
    REMOVE = 4
    MODIFY = 5
    HOME = 6
    UNHOME = 7
    REPLACE_KEY = 8
    RANGES = 9
    MARK = 10
    TEMPLATE = 11
    APPLICATION = 12
    QUOTA = 13
    PERSON = 14
    CREATE_FROM_TEMPLATE = 15


WITHOUT_VALUES = frozenset({Kind.DELETE, Kind.HOME, Kind.UNHOME})
WITH_PAYLOAD = frozenset(
    {
        Kind.RANGES,
        Kind.MARK,
        Kind.TEMPLATE,
        Kind.APPLICATION,
        Kind.QUOTA,
        Kind.PERSON,
        Kind.CREATE_FROM_TEMPLATE,
    }
)


@dataclass(frozen=True, slots=True)
class JournalOperation:
    """One change of one handle or prefix; `payload` only of kinds in WITH_PAYLOAD."""

    kind: Kind
    handle: bytes
    values: tuple[HandleValue, ...]
    actor: Reference
    time_s: int
    payload: bytes = b""

    def packed(self) -> list[Any]:
        """Return the list that stands for it in a frame."""
        octets = self.payload
        if self.kind not in WITH_PAYLOAD and self.kind not in WITHOUT_VALUES:
            octets = encode_values(self.values)
        return pack_change(self.kind, self.handle, octets, self.actor, self.time_s)


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded frame."""

    seq: int
    time_ms: int
    previous: bytes
    operations: tuple[JournalOperation, ...]


def frame_digest(frame: bytes) -> bytes:
    """Return the SHA-256 that the next frame repeats."""
    return hashlib.sha256(frame).digest()


def encode_frame(head: Head, operations: Sequence[JournalOperation], time_ms: int) -> bytes:
    """Return the frame that follows `head`."""
    return encode_packed(head, [operation.packed() for operation in operations], time_ms)


def pack_change(
    kind: Kind, handle: bytes, values: bytes, actor: Reference, time_s: int
) -> list[Any]:
    """Return the list that stands for one change in a frame, its values as wire octets."""
    return [int(kind), handle, values, actor.handle, actor.index, time_s]


def encode_packed(head: Head, items: list[list[Any]], time_ms: int) -> bytes:
    """Return the frame that follows `head`, its operations packed as lists already."""
    assert 0 < len(items) <= FRAME_OPERATIONS_MAX, "a frame holds 1 to 4,096 operations"
    packed: bytes = msgpack.packb(items)
    assert len(packed) <= FRAME_OCTETS_MAX, "the operations of one commit are too large"
    body = _compressor().compress(packed)
    return _HEAD.pack(FRAME_FORMAT, head.seq + 1, time_ms, head.digest, len(items)) + body


_compressors = threading.local()


def _compressor() -> zstandard.ZstdCompressor:
    """Return this thread's compressor: to make one takes as long as 3,000 rows."""
    compressor: zstandard.ZstdCompressor | None = getattr(_compressors, "kept", None)
    if compressor is None:
        compressor = zstandard.ZstdCompressor(COMPRESSION_LEVEL, write_content_size=True)
        _compressors.kept = compressor
    return compressor


class FrameHead(NamedTuple):
    """What stands before a frame's operations."""

    seq: int
    time_ms: int
    previous: bytes
    operations: int


def decode_head(frame: bytes) -> FrameHead:
    """Read what stands before a frame's operations, which stay as they are.

    Raises:
        JournalError: too short, or of a format this version does not know.
    """
    if len(frame) < _HEAD.size:
        raise JournalError(f"frame has {len(frame)} octets, its head needs {_HEAD.size}")
    format_, *fields = _HEAD.unpack_from(frame)
    if format_ != FRAME_FORMAT:
        raise JournalError(f"frame has format {format_}, this version reads {FRAME_FORMAT}")
    return FrameHead(*fields)


def has_own_times(operation: JournalOperation) -> bool:
    """Say whether an operation stored values whose times are not that of the operation."""
    if operation.kind != Kind.CREATE or operation.actor != OWNER:
        return False
    first = operation.values[0].timestamp if operation.values else 0
    return is_own_time(first, operation.time_s)


def is_own_time(timestamp: int, time_s: int) -> bool:
    """Say whether a timestamp is too far from the time of an operation to find that by it."""
    return not 0 <= time_s - timestamp <= OWN_TIME_S


def frame_time(frame: bytes) -> int:
    """Return the time of a frame in milliseconds since 1970."""
    return int(_HEAD.unpack_from(frame)[2])


def clear_octets(frame: bytes) -> int:
    """Return how many octets the operations of a frame take in clear; of a damaged one its own."""
    try:
        size = int(zstandard.frame_content_size(frame[_HEAD.size :]))
    except zstandard.ZstdError:
        size = -1
    return size if 0 <= size <= FRAME_OCTETS_MAX else len(frame)


def operations_on(
    frame: bytes, handles: Set[bytes], part: bytes = b""
) -> tuple[tuple[JournalOperation, ...], int]:
    """Return the operations of a frame on handles as stored, and the frame's octets in clear.

    Args:
        frame: as it is in the journal.
        handles: as stored.
        part: only operations whose values or payload have these octets in them.

    Only these are decoded, so that of a large frame little more than its octets is looked at.

    Raises:
        JournalError: damaged, or of a format this version does not know.
    """
    seq = decode_head(frame).seq
    try:
        packed = _decompress(frame[_HEAD.size :])
        if not any(handle in packed for handle in handles):
            return (), len(packed)
        found = [item for item in _unpack(packed) if item[1] in handles and part in item[2]]
        return tuple(_unpack_operation(item) for item in found), len(packed)
    except (ValueError, TypeError, LookupError, zstandard.ZstdError, DecodeError) as error:
        raise JournalError(f"frame {seq} does not decode: {error}") from error


def touched_handles(frame: bytes) -> list[tuple[Kind, bytes, bytes]]:
    """Return kind, handle and octets of each operation of a frame; these are not decoded.

    Raises:
        JournalError: damaged, or of a format this version does not know.
    """
    seq = decode_head(frame).seq
    try:
        items = _unpack(_decompress(frame[_HEAD.size :]))
        return [(Kind(item[0]), item[1], item[2]) for item in items]
    except (ValueError, TypeError, LookupError, zstandard.ZstdError) as error:
        raise JournalError(f"frame {seq} does not decode: {error}") from error


def decode_frame(frame: bytes) -> Frame:
    """Take a frame apart.

    Raises:
        JournalError: damaged, or of a format this version does not know.
    """
    seq, time_ms, previous, count = decode_head(frame)
    try:
        items = _unpack(_decompress(frame[_HEAD.size :]))
        operations = tuple(_unpack_operation(item) for item in items)
    except (ValueError, TypeError, zstandard.ZstdError, DecodeError) as error:
        raise JournalError(f"frame {seq} does not decode: {error}") from error
    if len(operations) != count:
        raise JournalError(f"frame {seq} announces {count} operations, {len(operations)} follow")
    return Frame(seq, time_ms, previous, operations)


def _decompress(body: bytes) -> bytes:
    # The size is looked at first: a damaged frame must not make us reserve what it announces.
    size = zstandard.frame_content_size(body)
    if not 0 <= size <= FRAME_OCTETS_MAX:
        raise ValueError(f"content of {size} octets, at most {FRAME_OCTETS_MAX} allowed")
    return zstandard.ZstdDecompressor().decompress(body, max_output_size=FRAME_OCTETS_MAX)


def _unpack(packed: bytes) -> list[Any]:
    items = msgpack.unpackb(packed)
    if not isinstance(items, list):
        raise ValueError("operations are not a list")
    return items


def _unpack_operation(item: Any) -> JournalOperation:
    kind, handle, octets, actor_handle, actor_index, time_s = item
    if not (isinstance(handle, bytes) and isinstance(actor_handle, bytes)):
        raise ValueError("handles are not octets")
    kind, actor = Kind(kind), Reference(actor_handle, int(actor_index))
    if kind in WITH_PAYLOAD:
        return JournalOperation(kind, handle, (), actor, int(time_s), octets)
    values: tuple[HandleValue, ...] = ()
    if octets:
        reader = Reader(octets)
        values = read_values(reader)
        reader.expect_end("values")
    return JournalOperation(kind, handle, values, actor, int(time_s))
