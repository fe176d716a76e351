"""Streams of registrations: how far each has come, and what became of every row.

A client names a stream with an idempotency key of its own; the stream belongs to the identity that
began it, until its prefix changes hands (`registry.owners`). Its rows are numbered from 1. A row is
decided on once, in the transaction that makes its change, and the same transaction keeps its
verdict: what is acknowledged is there, and what is there was not done twice. A row that comes again
is compared with the digest of what came first.

    streams     name -> msgpack [format, identity's handle, its index, key, begun ms, ended ms or 0,
                rows, created, replaced, deleted, unchanged, refused, first and last sequence
                number (0: none), digest of all rows, receipt or "", then unless all are 0 how
                often the identity's prefix had changed hands, first and last row that came out
                of a damaged body and did not come again]
    verdicts    name, u64 last row -> msgpack [first row, sequence number or 0, time ms,
                first 8 octets of each row's SHA-256,
                [[rows, verdict, response code, words], ...] equal ones after another as one]

    name        first 16 octets of SHA-256(u32 octets of the handle, handle with its prefix folded,
                u32 index, key; unless that is 0, an octet 0 and how often, u64)
"""

import hashlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import NamedTuple

import msgpack

from protocol.handle import fold_handle
from protocol.value import Reference
from registry.errors import StoreError
from registry.owners import owners_before
from registry.views import View, WriteView

FORMAT = 1
KEY_OCTETS_MAX = 128  # of an idempotency key
ROW_DIGEST_OCTETS = 8  # kept of each row: enough to tell a mistake, and a row costs no more
WORDS_OCTETS_MAX = 1_024  # kept of a reason
NAME_OCTETS = 16

_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")


class Verdict(IntEnum):
    """What became of a row. The numbers are in stores: never re-use one."""

    REFUSED = 0
    CREATED = 1
    REPLACED = 2
    DELETED = 3
    UNCHANGED = 4


class Run(NamedTuple):
    """Rows one after another of which the same became; code and words say why not."""

    rows: int
    verdict: int
    code: int = 1
    words: bytes = b""


class RunList:
    """Verdicts in the order of their rows, equal ones after another as one."""

    def __init__(self) -> None:
        self._runs: list[Run] = []

    def add(self, run: Run, rows: int = 1) -> None:
        """Add what became of the next rows; `run` is that of one."""
        last = self._runs[-1] if self._runs else None
        if last is not None and last[1:] == run[1:]:
            self._runs[-1] = last._replace(rows=last.rows + rows)
        else:
            self._runs.append(run._replace(rows=rows))

    def close(self) -> tuple[Run, ...]:
        """Return them all."""
        return tuple(self._runs)


@dataclass(frozen=True, slots=True)
class Stream:
    """How far a stream has come. `ended_ms` is 0 while rows may follow."""

    identity: Reference
    key: bytes
    begun_ms: int
    ended_ms: int = 0
    rows: int = 0
    created: int = 0
    replaced: int = 0
    deleted: int = 0
    unchanged: int = 0
    refused: int = 0
    first_sequence: int = 0
    last_sequence: int = 0
    digest: bytes = bytes(32)
    receipt: str = ""
    owners_before: int = 0
    damaged_first: int = 0
    damaged_last: int = 0

    @property
    def name(self) -> bytes:
        """The name it is stored under."""
        return stream_name(self.identity, self.key, self.owners_before)

    def damaged(self, first: int, last: int) -> "Stream":
        """Return the stream when these rows came out of a body that was damaged."""
        first = min(first, self.damaged_first or first)
        return replace(self, damaged_first=first, damaged_last=max(last, self.damaged_last))

    def sent_again(self, first: int, rows: int) -> "Stream":
        """Return the stream when rows have come again, which may have been the damaged ones."""
        if not first <= self.damaged_first < first + rows:
            return self
        if first + rows > self.damaged_last:
            return replace(self, damaged_first=0, damaged_last=0)
        return replace(self, damaged_first=first + rows)

    def counted(self, runs: Sequence[Run]) -> "Stream":
        """Return the stream with these verdicts added to its counts."""
        added = dict.fromkeys(Verdict, 0)
        for run in runs:
            added[Verdict(run.verdict)] += run.rows
        return replace(
            self,
            rows=self.rows + sum(added.values()),
            created=self.created + added[Verdict.CREATED],
            replaced=self.replaced + added[Verdict.REPLACED],
            deleted=self.deleted + added[Verdict.DELETED],
            unchanged=self.unchanged + added[Verdict.UNCHANGED],
            refused=self.refused + added[Verdict.REFUSED],
        )


class Batch(NamedTuple):
    """What became of rows that were decided on together."""

    first: int
    sequence: int
    time_ms: int
    digests: bytes
    runs: tuple[Run, ...]

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self.digests) // ROW_DIGEST_OCTETS


def stream_name(identity: Reference, key: bytes, owners_before: int = 0) -> bytes:
    """Return the name of an identity's stream, which had so many owners before."""
    handle = fold_handle(identity.handle, case_sensitive=True)  # as identities are compared
    start = _U32.pack(len(handle)) + handle + _U32.pack(identity.index)
    end = b"\0" + _U64.pack(owners_before) if owners_before else b""  # keys are printable
    return hashlib.sha256(start + key + end).digest()[:NAME_OCTETS]


def own_stream_name(view: View, identity: Reference, key: bytes) -> bytes:
    """Return the name of a stream of who has an identity now."""
    return stream_name(identity, key, owners_before(view, identity.handle))


def find_stream(view: View, name: bytes) -> Stream | None:
    """Return a stream, None when there is none. Raises: StoreError: damaged."""
    octets = view.find_stream(name)
    return None if octets is None else decode_stream(octets)


def put_stream(view: WriteView, stream: Stream) -> None:
    """Keep how far a stream has come."""
    form = [
        FORMAT,
        stream.identity.handle,
        stream.identity.index,
        stream.key,
        stream.begun_ms,
        stream.ended_ms,
        stream.rows,
        stream.created,
        stream.replaced,
        stream.deleted,
        stream.unchanged,
        stream.refused,
        stream.first_sequence,
        stream.last_sequence,
        stream.digest,
        stream.receipt,
    ]
    more = [stream.owners_before, stream.damaged_first, stream.damaged_last]
    form += more if any(more) else []
    view.put_stream(stream.name, msgpack.packb(form))


def decode_stream(octets: bytes) -> Stream:
    """Take apart what `put_stream` wrote. Raises: StoreError: damaged."""
    try:
        format_, handle, index, *rest = msgpack.unpackb(octets)
        if format_ != FORMAT:
            raise ValueError(f"format {format_}")
        return Stream(Reference(handle, index), *rest)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise StoreError(f"a stream's entry is damaged: {error}") from error


def put_batch(view: WriteView, name: bytes, batch: Batch) -> None:
    """Keep what became of some rows."""
    runs = [
        [run.rows, int(run.verdict), int(run.code), run.words[:WORDS_OCTETS_MAX]]
        for run in batch.runs
    ]
    form = [batch.first, batch.sequence, batch.time_ms, batch.digests, runs]
    view.put_verdicts(name, batch.first + batch.rows - 1, msgpack.packb(form))


def batches(view: View, name: bytes, row: int) -> Iterator[Batch]:
    """Iterate over a stream's batches from the one that a row is in. Raises: StoreError."""
    for octets in view.verdicts(name, row):
        try:
            first, sequence, time_ms, digests, runs = msgpack.unpackb(octets)
            yield Batch(first, sequence, time_ms, digests, tuple(Run(*run) for run in runs))
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            raise StoreError(f"a stream's verdicts are damaged: {error}") from error


def cut(batch: Batch, first: int, last: int) -> Batch:
    """Return what a batch says of the rows from `first` to `last`, which are in it."""
    runs: list[Run] = []
    at = batch.first
    for run in batch.runs:
        start, end = max(at, first), min(at + run.rows - 1, last)
        if start <= end:
            runs.append(run._replace(rows=end - start + 1))
        at += run.rows
    octets = batch.digests[
        (first - batch.first) * ROW_DIGEST_OCTETS : (last - batch.first + 1) * ROW_DIGEST_OCTETS
    ]
    return Batch(first, batch.sequence, batch.time_ms, octets, tuple(runs))


def find_changed(view: View, name: bytes, first: int, digests: bytes) -> tuple[int, ...]:
    """Return the numbers of rows that are not what was sent under their numbers before.

    Args:
        view: of the store.
        name: the stream's.
        first: number of the first row, which was sent before as all others were.
        digests: the first octets of each row's digest, as batches keep them.

    Raises:
        StoreError: what was kept of these rows is gone, or damaged.
    """
    if not digests:
        return ()
    last = first + len(digests) // ROW_DIGEST_OCTETS - 1
    before = bytearray()
    for batch in batches(view, name, first):
        end = batch.first + batch.rows - 1
        if batch.first > first + len(before) // ROW_DIGEST_OCTETS:
            break
        before += cut(batch, max(first, batch.first), min(last, end)).digests
        if end >= last:
            break
    if len(before) != len(digests):
        raise StoreError("what was kept of these rows is not there any more: begin a new stream")
    if digests == before:
        return ()
    return tuple(
        first + at // ROW_DIGEST_OCTETS
        for at in range(0, len(digests), ROW_DIGEST_OCTETS)
        if digests[at : at + ROW_DIGEST_OCTETS] != before[at : at + ROW_DIGEST_OCTETS]
    )
