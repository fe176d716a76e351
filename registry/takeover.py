"""Taking over the records of another server, all of them or none.

    rows ─> find_problems   every row tried on the store and taken back again, and put into a
                            scratch store, where a handle that comes twice is found
            load_records    once there are none (`registry.offline`)
            find_differences  every row compared with what is stored then

The rows are read anew for each step, so files may be of any length. The node is not running.

Rows come as JSON, whose forms of HS_ADMIN, HS_SITE and keys leave octets out that mean nothing:
those that old writers append, bits of flags that nobody knows. All else comes octet for octet.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from protocol.codes import ResponseCode
from protocol.handle import PREFIX_HANDLE_START, fold_handle, split_handle, to_text
from protocol.value import HandleValue, read_values
from protocol.wire import Reader
from registry.errors import StoreError
from registry.journal import OWNER, JournalOperation, Kind
from registry.offline import (
    LoadPolicy,
    LoadRow,
    RefusedRow,
    batches,
    load_batch,
    refusal_of,
    try_row,
)
from registry.prefixes import PREFIX_OCTETS_MAX, find_silence, is_responsible
from registry.replay import make_changes
from registry.store import Store
from registry.stream_rows import RowKind
from registry.views import View, WriteView

HOMED_MAX = 10_000  # prefixes that one takeover homes; ours, a file for each enterprise has one


@dataclass(slots=True)
class Findings:
    """What a look at all rows told, beside the problems."""

    rows: int = 0
    values: int = 0
    undated: int = 0
    """Values without a timestamp: they get that of the takeover."""
    without_admin: int = 0
    """Handles that nobody administers; what the dump was made with may not have seen HS_ADMIN."""
    oldest_s: int = 0
    newest_s: int = 0
    unhomed: set[bytes] = field(default_factory=set)
    """Prefix handles that the node has to home to answer for the rows."""

    def note(self, values: Sequence[HandleValue], now_s: int) -> None:
        """Take one record in; `now_s` is what stands in place of a missing timestamp."""
        self.rows += 1
        self.values += len(values)
        self.without_admin += all(value.type != b"HS_ADMIN" for value in values)
        for value in values:
            if value.timestamp in (0, now_s):
                self.undated += 1
                continue
            self.oldest_s = min(self.oldest_s or value.timestamp, value.timestamp)
            self.newest_s = max(self.newest_s, value.timestamp)


class _TakenBackError(Exception):
    """Ends a transaction that was only tried."""


def find_problems(
    store: Store, scratch: Store, rows: Iterable[LoadRow], findings: Findings, *, now_s: int
) -> Iterator[RefusedRow]:
    """Yield every row that cannot be taken over, and why.

    Args:
        store: opened for writing; nothing in it is changed.
        scratch: an empty store with the same rule for case; gets the rows.
        rows: those of the file.
        findings: gets what else is found.
        now_s: for values without a timestamp.
    """
    for batch in batches(rows):
        refused = {each.row.number: each for each in _try_batch(store, batch, findings, now_s)}
        for each in load_batch(scratch, batch, LoadPolicy.REFUSE, now_s).refused:
            if each.code == ResponseCode.HANDLE_ALREADY_EXISTS:
                words = "it comes twice in the file, with other values"
                refused[each.row.number] = each._replace(reason=words)
        yield from (refused[number] for number in sorted(refused))


def _try_batch(
    store: Store, batch: Sequence[LoadRow], findings: Findings, now_s: int
) -> list[RefusedRow]:
    refused = []
    try:
        with store.write() as view:
            for row in batch:
                try:
                    _try_row(view, row, findings, now_s)
                except StoreError as error:
                    refused.append(refusal_of(row, error))
            raise _TakenBackError
    except _TakenBackError:
        return refused


def _try_row(view: WriteView, row: LoadRow, findings: Findings, now_s: int) -> None:
    if row.kind is not RowKind.CREATE or row.mark is not None:
        raise StoreError("only records are taken over: biaoshi load takes ranges and marks")
    findings.note(values_of(row), now_s)
    try_row(view, row, now_s)
    silence = find_silence(view, row.handle)
    if silence is not None:
        raise _NotOursError(silence)
    if is_responsible(view, row.handle):
        return
    prefix, _ = split_handle(row.handle)
    home = PREFIX_HANDLE_START + fold_handle(prefix + b"/").removesuffix(b"/")
    if row.handle.upper().startswith(PREFIX_HANDLE_START):
        raise _NotOursError("a prefix handle belongs to the node that gives the prefix out")
    if len(home) > PREFIX_OCTETS_MAX:
        raise _NotOursError(f"its prefix is longer than {PREFIX_OCTETS_MAX} octets")
    if len(findings.unhomed) == HOMED_MAX and home not in findings.unhomed:
        raise _NotOursError(f"over {HOMED_MAX:,} prefixes are not homed here: home some before")
    findings.unhomed.add(home)


class _NotOursError(StoreError):
    response_code = ResponseCode.SERVER_NOT_RESPONSIBLE


def values_of(row: LoadRow) -> tuple[HandleValue, ...]:
    """Return the values of a row, however they are given."""
    if isinstance(row.values, bytes):
        return read_values(Reader(row.values)) if row.values else ()
    return tuple(row.values)


def home_prefixes(store: Store, prefixes: Iterable[bytes], now_s: int) -> None:
    """Have the node answer for prefixes; the journal says that its owner did it."""
    operations = [JournalOperation(Kind.HOME, each, (), OWNER, now_s) for each in sorted(prefixes)]
    if operations:
        with store.write() as view:
            make_changes(view, operations, now_s * 1000)


def find_differences(store: Store, rows: Iterable[LoadRow]) -> Iterator[str]:
    """Yield in words every row that is not stored as it stands in the file."""
    for batch in batches(rows):
        with store.read() as view:
            for row in batch:
                problem = _difference(view, row)
                if problem:
                    yield f"row {row.number}: {to_text(row.handle)}: {problem}"


def _difference(view: View, row: LoadRow) -> str:
    record = view.find_record(row.handle)
    if record is None:
        return "it is not stored"
    wanted, found = values_of(row), record.values
    if len(wanted) != len(found):
        return f"{len(found)} values are stored, {len(wanted)} are in the file"
    for one, other in zip(wanted, found, strict=True):
        if replace(one, timestamp=one.timestamp or other.timestamp) != other:
            return f"the value at index {one.index} is stored otherwise"
    return ""
