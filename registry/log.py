"""The registration log: where frames of the journal go, and what can be asked of it.

`RegistrationLog` is the interface. A log has parts (shards; one for now), each a chain of frames.
`LocalLog`, the default, is the journal inside the store, written in the very transaction that makes
the changes: what is acknowledged survives a crash of the machine, not its loss, so wherever its
state is shown it says "not replicated".

A trimmed log begins with a **snapshot**: frames of HOME, TEMPLATE, RANGES, CREATE, MARK and DELETE
operations, and of the prefix office's, that rebuild the store as of one frame of the journal,
chained like the journal from zeros, and sealed with

    SHA-256(u64 sequence number of that frame, its digest, digest of the snapshot's last frame)
"""

import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from registry import office_replay
from registry.errors import JournalError
from registry.journal import (
    FRAME_OCTETS_MAX,
    FRAME_OPERATIONS_MAX,
    OWNER,
    JournalOperation,
    Kind,
    encode_frame,
    encode_packed,
    frame_digest,
)
from registry.mark_changes import pack_mark
from registry.marks import decode_marked, is_deleted, is_marked, kept_row
from registry.range_changes import rebuilding_ranges, rebuilding_tombstones
from registry.schema import decode_record
from registry.template_lots import NewRow, rebuild_templates
from registry.template_rows import is_template_row
from registry.views import GENESIS_DIGEST, Head, SnapshotHead, View, WriteView

LOCAL_PART = 0
SNAPSHOT_FRAME_OCTETS = FRAME_OCTETS_MAX // 16  # built in memory: stop well below the bound


class RegistrationLog(Protocol):
    """What every log can do. `label` says what an acknowledgement by it is worth."""

    label: str

    def append(self, part: int, expected_seq: int, prev_hash: bytes, frame: bytes) -> Head:
        """Append the frame that follows (expected_seq, prev_hash); return the new head.

        Raises:
            JournalError: the head is another one, so somebody else writes too.
        """
        ...

    def read(self, part: int, after: int) -> Iterator[tuple[int, bytes]]:
        """Iterate over (sequence number, frame) after a sequence number."""
        ...

    def head(self, part: int) -> Head:
        """Return the last frame's sequence number and digest."""
        ...

    def trim(self, part: int, through_seq: int) -> int:
        """Delete frames up to a sequence number, which a sealed snapshot must cover.

        Raises:
            JournalError: it does not.
        """
        ...

    def put_snapshot(self, part: int, head: SnapshotHead, frames: Iterable[bytes]) -> None:
        """Keep a sealed snapshot in place of the one before. Raises: JournalError."""
        ...

    def get_snapshot(self, part: int) -> tuple[SnapshotHead, Iterator[bytes]] | None:
        """Return the sealed snapshot, or None while the log is whole."""
        ...


class LocalLog:
    """The journal in the store, within one transaction. Given a `View` it only reads."""

    label = "not replicated"

    def __init__(self, view: View) -> None:
        self._view = view

    def _writer(self) -> WriteView:
        assert isinstance(self._view, WriteView), "the log was opened for reading"
        return self._view

    def append(self, part: int, expected_seq: int, prev_hash: bytes, frame: bytes) -> Head:
        """Append a frame; see RegistrationLog."""
        head = self.head(part)
        if head != (expected_seq, prev_hash):
            raise JournalError(f"frame {expected_seq + 1} does not follow frame {head.seq}")
        digest = frame_digest(frame)
        self._writer().append_frame(head.seq + 1, frame, digest)
        return Head(head.seq + 1, digest)

    def append_operations(self, operations: Sequence[JournalOperation], time_ms: int) -> Head:
        """Append what was applied in this transaction as one frame; return the new head.

        What was not dated by `registry.replay` became true when the last operation did.
        """
        head = self.head(LOCAL_PART)
        frame = encode_frame(head, operations, time_ms)
        self._writer().changes.date(operations[-1].time_s)
        return self.append(LOCAL_PART, head.seq, head.digest, frame)

    def append_packed(self, items: list[list[Any]], time_ms: int) -> Head:
        """Append likewise, of operations packed as `registry.journal.pack_change` does."""
        head = self.head(LOCAL_PART)
        frame = encode_packed(head, items, time_ms)
        self._writer().changes.date(items[-1][-1])
        return self.append(LOCAL_PART, head.seq, head.digest, frame)

    def read(self, part: int, after: int) -> Iterator[tuple[int, bytes]]:
        """Iterate over (sequence number, frame); see RegistrationLog."""
        assert part == LOCAL_PART
        return self._view.frames(after)

    def head(self, part: int) -> Head:
        """Return the last frame's sequence number and digest."""
        assert part == LOCAL_PART
        return self._view.head()

    def trim(self, part: int, through_seq: int) -> int:
        """Delete frames; see RegistrationLog."""
        snapshot = self.get_snapshot(part)
        covered = snapshot[0].seq if snapshot else 0
        if through_seq > covered:
            raise JournalError(
                f"frames up to {through_seq} cannot be trimmed: the sealed snapshot covers those "
                f"up to {covered}"
            )
        return self._writer().delete_frames(through_seq)

    def put_snapshot(self, part: int, head: SnapshotHead, frames: Iterable[bytes]) -> None:
        """Keep a sealed snapshot; see RegistrationLog."""
        if head.seq > self.head(part).seq:
            raise JournalError(f"frame {head.seq} is not in the journal yet")
        self._writer().put_snapshot(head, frames)

    def get_snapshot(self, part: int) -> tuple[SnapshotHead, Iterator[bytes]] | None:
        """Return the sealed snapshot; see RegistrationLog."""
        assert part == LOCAL_PART
        return self._view.snapshot()

    def seal_snapshot(self, time_ms: int) -> SnapshotHead:
        """Snapshot the store as it is in this transaction, and keep it."""
        frames = list(snapshot_frames(self._view, time_ms))
        journal_head = self.head(LOCAL_PART)
        last = frame_digest(frames[-1]) if frames else GENESIS_DIGEST
        head = SnapshotHead(*journal_head, seal_of(journal_head, last))
        self.put_snapshot(LOCAL_PART, head, frames)
        return head


def seal_of(journal_head: Head, last_digest: bytes) -> bytes:
    """Return the seal over a snapshot whose last frame has a digest."""
    return hashlib.sha256(
        struct.pack(">Q", journal_head.seq) + journal_head.digest + last_digest
    ).digest()


def snapshot_frames(view: View, time_ms: int) -> Iterator[bytes]:
    """Iterate over the frames that rebuild a store from nothing."""
    head = Head(0, GENESIS_DIGEST)
    for operations in _chunks(_rebuilding(view, time_ms // 1000)):
        frame = encode_frame(head, operations, time_ms)
        yield frame
        head = Head(head.seq + 1, frame_digest(frame))


def _rebuilding(view: View, now_s: int) -> Iterator[JournalOperation]:
    for prefix in view.homed():
        yield JournalOperation(Kind.HOME, prefix, (), OWNER, now_s)
    yield from rebuild_templates(view, now_s)
    yield from rebuilding_ranges(view, now_s)
    for key, stored in view.rows():
        if not is_deleted(stored):
            yield from _rebuilding_row(key, stored, now_s)
    yield from rebuilding_tombstones(view)
    yield from office_replay.rebuilding(view, now_s)


def _rebuilding_row(key: bytes, stored: bytes, now_s: int) -> Iterator[JournalOperation]:
    """Iterate over what makes one row: its creation, and its mark if it has one."""
    row, handle = kept_row(stored), key
    if is_template_row(row):
        payload = NewRow(row).payload()
        yield JournalOperation(Kind.CREATE_FROM_TEMPLATE, key, (), OWNER, now_s, payload)
    else:
        record = decode_record(row)
        handle = record.handle or key
        yield JournalOperation(Kind.CREATE, handle, record.values, OWNER, now_s)
    if is_marked(stored):
        yield pack_mark(handle, decode_marked(stored)[0], OWNER, now_s)


def _chunks(operations: Iterable[JournalOperation]) -> Iterator[list[JournalOperation]]:
    """Cut operations into what fits one frame."""
    chunk: list[JournalOperation] = []
    octets = 0
    for operation in operations:
        chunk.append(operation)
        octets += len(operation.handle) + len(operation.payload)
        octets += sum(len(value.data) for value in operation.values)
        if len(chunk) == FRAME_OPERATIONS_MAX or octets >= SNAPSHOT_FRAME_OCTETS:
            yield chunk
            chunk, octets = [], 0
    if chunk:
        yield chunk
