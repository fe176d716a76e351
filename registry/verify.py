"""Whether a store is whole: every record and range decodes, the chain holds, the counts are right,
a replay gives the same store.

So do the counters: totals are those of a count of the store, days those that the replay gives.

Offline and read-only. The replay goes into a scratch store that is thrown away, so it takes as much
room as the store itself and never changes it.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice, zip_longest
from pathlib import Path

from protocol.handle import to_text
from registry.counters_check import wrong_events, wrong_totals
from registry.errors import JournalError, RecordError, StoreError
from registry.frame_times import first_frame
from registry.journal import clear_octets, decode_frame, decode_head, frame_digest
from registry.log import seal_of
from registry.marks import decode_marked, is_deleted, kept_row
from registry.office_replay import journaled_entries
from registry.range_history_index import MARK as RANGES_MARK
from registry.range_records import is_active
from registry.replay import replay
from registry.schema import decode_record, folded_key
from registry.store import Store
from registry.verify_ranges import check_ranges
from registry.views import GENESIS_DIGEST, Head, View

PROBLEMS_MAX = 100  # listed; a damaged disk has more than anybody reads
# Of one transaction of the replay, so that the pages which wait to be written have a bound.
FRAMES_MAX = 500
FRAMES_OCTETS_MAX = 32 * 1_048_576  # of operations in clear
PAGE_ROWS = 1_000  # compared at once


@dataclass
class Report:
    """What was looked at, and what is wrong with it; no problems: the store is whole."""

    records: int = 0
    ranges: int = 0
    frames: int = 0
    problems: list[str] = field(default_factory=list)
    unlisted: int = 0

    @property
    def is_whole(self) -> bool:
        """Say whether nothing is wrong."""
        return not self.problems

    def add(self, problem: str) -> None:
        """Note a problem."""
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(problem)
        else:
            self.unlisted += 1


Tell = Callable[[str, int], None]
"""Takes what is being done, and how many frames of the journal were replayed."""


def _tell_nobody(stage: str, done: int) -> None:
    """Take no notice."""


def verify(folder: Path, *, scratch: Path | None = None, tell: Tell = _tell_nobody) -> Report:
    """Check the store in a folder.

    Args:
        folder: the store's.
        scratch: where to make the scratch store; the system's folder for such when None.
        tell: told now and then how far it is.

    Raises:
        StoreError: it cannot be opened at all, or the scratch store has no room.
    """
    report = Report()
    with (
        Store.open(folder, readonly=True, case_sensitive=None, scans=True) as store,
        tempfile.TemporaryDirectory(prefix="biaoshi-verify-", dir=scratch) as place,
        Store.open(
            Path(place), sync=False, case_sensitive=store.case_sensitive, scans=True
        ) as replayed,
        store.read() as view,
    ):
        tell("records", 0)
        _check_records(view, report)
        tell("ranges", 0)
        report.ranges = check_ranges(view, report.add)
        tell("replaying the journal", 0)
        is_whole = _replay_journal(view, replayed, report, tell)
        with replayed.read() as other:
            tell("comparing", 0)
            _compare(view, other, report)
            tell("counting", 0)
            _check_counters(view, other if is_whole else None, report)
    return report


def _check_records(view: View, report: Report) -> None:
    for key, row in view.rows():
        if is_deleted(row):
            _check_tombstone(view, key, row, report)
            continue
        report.records += 1
        try:
            _check_row(view, key, row, report)
        except RecordError as error:
            report.add(f"record {to_text(key)}: {error}")


def _check_row(view: View, key: bytes, row: bytes, report: Report) -> None:
    """Check a row, under its mark if it has one. Raises: RecordError."""
    kept = kept_row(row)
    if kept:
        record = decode_record(view.ordinary_row(key, kept))
        if folded_key(view.fold(record.handle or key)) != key:
            report.add(f"record {to_text(key)}: its key is not that of its handle")


def _check_tombstone(view: View, key: bytes, row: bytes, report: Report) -> None:
    try:
        decode_marked(row)
        held = view.find_range(key)
    except RecordError as error:
        report.add(f"record {to_text(key)}: {error}")
        return
    if held is None or not is_active(held.octets):
        report.add(f"record {to_text(key)}: it was deleted out of a range that is not there")


def _replay_journal(view: View, scratch: Store, report: Report, tell: Tell) -> bool:
    """Check the chain and make its changes in the scratch store; False: it has been trimmed."""
    head = _replay_snapshot(view, scratch, report)
    frames = _checked_frames(view, head, report)
    for batch in _batches(frames):
        _replay_frames(scratch, batch, report)
        tell("replaying the journal", report.frames)
    return not head.seq


def _batches(frames: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Cut frames into what is replayed in one transaction."""
    batch: list[bytes] = []
    octets = 0
    for frame in frames:
        batch.append(frame)
        octets += clear_octets(frame)
        if len(batch) == FRAMES_MAX or octets >= FRAMES_OCTETS_MAX:
            yield batch
            batch, octets = [], 0
    if batch:
        yield batch


def _replay_snapshot(view: View, scratch: Store, report: Report) -> Head:
    """Start from the snapshot when the journal was trimmed; return where the journal goes on."""
    snapshot = view.snapshot()
    first = next(view.frames(), None)
    if snapshot is None or (first is not None and first[0] == 1):
        return Head(0, GENESIS_DIGEST)
    sealed, frames = snapshot
    last = GENESIS_DIGEST
    for batch in _batches(frames):
        for frame in batch:
            last = frame_digest(frame)
        _replay_frames(scratch, batch, report, keeps_history=False)
    if seal_of(Head(sealed.seq, sealed.digest), last) != sealed.seal:
        report.add(f"snapshot at frame {sealed.seq}: its seal does not hold")
    return Head(sealed.seq, sealed.digest)


def _checked_frames(view: View, start: Head, report: Report) -> Iterator[bytes]:
    """Iterate over the frames after `start`, noting where the chain breaks."""
    head = start
    for seq, frame in view.frames(start.seq):
        report.frames += 1
        if seq != head.seq + 1:
            report.add(f"frames {head.seq + 1} to {seq - 1} are missing")
        else:
            _check_link(frame, head, report)
        head = Head(seq, frame_digest(frame))
        yield frame
    if head != view.head():
        report.add(
            f"the journal ends at frame {head.seq} ({head.digest.hex()[:16]}), the store says "
            f"{view.head().seq} ({view.head().digest.hex()[:16]})"
        )


def _check_link(frame: bytes, head: Head, report: Report) -> None:
    try:
        decoded = decode_head(frame)
    except JournalError:
        return  # noted where it is replayed
    if decoded.seq != head.seq + 1:
        report.add(f"frame {head.seq + 1} says it is frame {decoded.seq}")
    if decoded.previous != head.digest:
        report.add(f"frame {decoded.seq} does not continue frame {head.seq}: one was altered")


def _replay_frames(
    scratch: Store, frames: list[bytes], report: Report, *, keeps_history: bool = True
) -> None:
    with scratch.write(journaled=False) as writer:
        for frame in frames:
            try:
                decoded = decode_frame(frame)
                writer.frame = decoded.seq if keeps_history else None
                replay(writer, decoded.operations)
                if keeps_history:
                    writer.note_time(decoded.seq, decoded.time_ms)
            except JournalError as error:
                report.add(str(error))


def _check_counters(view: View, replayed: View | None, report: Report) -> None:
    """Note where counters are wrong; a snapshot tells nothing about days."""
    try:
        for problem in wrong_totals(view):
            report.add(problem)
        for problem in wrong_events(view, replayed) if replayed is not None else ():
            report.add(problem)
    except StoreError as error:
        report.add(str(error))


def _compare(view: View, other: View, report: Report) -> None:
    """Note every row, range and prefix that a replay does not give."""
    _compare_rows("record", view.rows(), other.rows(), report)
    for what, name in (("range", "ranges"), ("entry of templates", "templates")):
        _compare_rows(what, view.table(name).items(), other.table(name).items(), report)
    _compare_histories(view, other, report)
    homed, expected = set(view.homed()), set(other.homed())
    for prefix in sorted(homed ^ expected):
        where = "store" if prefix in homed else "journal"
        report.add(f"prefix {to_text(prefix)} is homed in the {where} only")
    silent, expected = set(view.silent()), set(other.silent())
    for prefix in sorted(silent ^ expected):
        where = "store" if prefix in silent else "journal"
        report.add(f"prefix {to_text(prefix)} is silent in the {where} only")
    # What stays out of the journal, such as the keys of people, is not compared.
    _compare_rows(
        "entry of the prefix office", journaled_entries(view), journaled_entries(other), report
    )


def _compare_rows(
    what: str,
    stored: Iterator[tuple[bytes, bytes]],
    replayed: Iterator[tuple[bytes, bytes]],
    report: Report,
) -> None:
    """Note every difference; pages that are the same, mostly all, are compared as such."""
    page, same = [*islice(stored, PAGE_ROWS)], [*islice(replayed, PAGE_ROWS)]
    while page and page == same:
        page, same = [*islice(stored, PAGE_ROWS)], [*islice(replayed, PAGE_ROWS)]
    _merge_rows(what, chain(page, stored), chain(same, replayed), report)


def _merge_rows(
    what: str,
    stored: Iterator[tuple[bytes, bytes]],
    replayed: Iterator[tuple[bytes, bytes]],
    report: Report,
) -> None:
    row, again = next(stored, None), next(replayed, None)
    while row is not None or again is not None:
        if again is None or (row is not None and row[0] < again[0]):
            assert row is not None
            report.add(f"{what} {_name(row[0])}: no journal entry made it")
            row = next(stored, None)
        elif row is None or again[0] < row[0]:
            report.add(f"{what} {_name(again[0])}: the journal made it, the store lacks it")
            again = next(replayed, None)
        else:
            if row[1] != again[1]:
                report.add(f"{what} {_name(row[0])}: it differs from what the journal says")
            row, again = next(stored, None), next(replayed, None)


def _name(key: bytes) -> str:
    return to_text(key.replace(b"\0", b" "))


def _compare_histories(view: View, other: View, report: Report) -> None:
    """Note that the history differs from what the replayed frames give."""
    sealed = view.snapshot()
    first = first_frame(view)
    replayed_from = sealed[0].seq if sealed is not None and first != 1 else 0
    after = max(view.histories_after(), replayed_from)
    of_ranges = max(view.range_histories_after(), replayed_from)
    stored, again = _entries(view, after, of_ranges), _entries(other, after, of_ranges)
    for entry, expected in zip_longest(stored, again):
        if entry != expected:
            key = min(each[0] for each in (entry, expected) if each is not None)
            report.add(
                f"the history of {_name_entry(key)} differs from what the journal says from "
                f"frame {int.from_bytes(key[-8:], 'big')} on"
            )
            return


def _name_entry(key: bytes) -> str:
    if key.startswith(RANGES_MARK):
        stem = key[1:].partition(b"\0")[0]
        return f"the ranges of {to_text(stem)}"
    return to_text(key[:-9]) or "the clock"


def _entries(view: View, after: int, of_ranges: int) -> Iterator[tuple[bytes, bytes]]:
    """Iterate over the entries of frames beyond one; of the first the time before is not known."""
    for key, value in view.table("histories").items():
        start = of_ranges if key.startswith(RANGES_MARK) else after
        if int.from_bytes(key[-8:], "big") > start + (key[:1] == b"\xff"):
            yield key, value
