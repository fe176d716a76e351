"""Taking over the records of another server, all of them or none.

    rows ─> find_problems   every row tried on the store and taken back again, and put into a
                            scratch store, where a handle that comes twice is found
            load_records    once there are none (`registry.offline`)
            find_differences  every row compared with what is stored then

The rows are read anew for each step, so files may be of any length. The node is not running.

Rows come as JSON, whose forms of HS_SITE and keys leave out bits of flags that nobody knows. All
else comes octet for octet. After a break the rows that are stored already do not stand in the way,
whatever time was put in place of timestamps that they do not state (`registry.undated`).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from protocol.codes import ResponseCode
from protocol.handle import (
    PREFIX_HANDLE_START,
    fold_handle,
    is_prefix_handle,
    prefix_handle,
    split_handle,
    to_text,
)
from protocol.value import HandleValue
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
from registry.prefixes import (
    PREFIX_OCTETS_MAX,
    ancestors,
    find_silence,
    is_responsible,
    prefix_marker,
)
from registry.replay import make_changes
from registry.store import Store
from registry.stream_rows import RowKind
from registry.undated import first_difference
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
    store: Store,
    scratch: Store,
    rows: Iterable[LoadRow],
    findings: Findings,
    *,
    now_s: int,
    homes: Sequence[str] = (),
) -> Iterator[RefusedRow]:
    """Yield every row that cannot be taken over, and why.

    Args:
        store: opened for writing; nothing in it is changed.
        scratch: an empty store with the same rule for case; gets the rows.
        rows: those of the file.
        findings: gets what else is found.
        now_s: for values without a timestamp.
        homes: prefix handles that the other server answered for; may be filled by reading rows.

    Raises:
        StoreError: one of `homes` is no prefix handle, or there are too many.
    """
    for batch in batches(rows):
        note_homes(store, homes, findings)
        refused = {each.row.number: each for each in _try_batch(store, batch, findings, now_s)}
        for each in load_batch(scratch, batch, LoadPolicy.REFUSE, now_s).refused:
            if each.code == ResponseCode.HANDLE_ALREADY_EXISTS:
                words = "it comes twice in the file, with other values"
                refused[each.row.number] = each._replace(reason=words)
        yield from (refused[number] for number in sorted(refused))


def note_homes(store: Store, homes: Iterable[str], findings: Findings) -> None:
    """Note those of the other server's prefixes that this node has to home.

    Raises:
        StoreError: one of them is no prefix handle, or there are too many.
    """
    with store.read() as view:
        for text in homes:
            handle = text.encode("utf-8", "surrogateescape")
            if not is_prefix_handle(handle) or len(handle) > PREFIX_OCTETS_MAX:
                raise StoreError(f"{text[:80]!r} in homedPrefixes is no prefix handle")
            folded = fold_handle(handle)
            if not view.is_homed(folded):
                _need_home(findings, folded)


def _need_home(findings: Findings, folded: bytes) -> None:
    if len(findings.unhomed) == HOMED_MAX and folded not in findings.unhomed:
        raise _NotOursError(f"over {HOMED_MAX:,} prefixes are not homed here: home some before")
    findings.unhomed.add(folded)


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
    findings.note(row.in_values(), now_s)
    try_row(view, row, now_s)
    silence = find_silence(view, row.handle)
    if silence is not None:
        raise _NotOursError(silence)
    if is_responsible(view, row.handle) or _will_answer(row.handle, findings.unhomed):
        return
    prefix, _ = split_handle(row.handle)
    home = PREFIX_HANDLE_START + fold_handle(prefix + b"/").removesuffix(b"/")
    if row.handle.upper().startswith(PREFIX_HANDLE_START):
        raise _NotOursError("a prefix handle belongs to the node that gives the prefix out")
    if len(home) > PREFIX_OCTETS_MAX:
        raise _NotOursError(f"its prefix is longer than {PREFIX_OCTETS_MAX} octets")
    _need_home(findings, home)


def _will_answer(handle: bytes, homes: set[bytes]) -> bool:
    """Say whether the node answers for a handle once these are homed: `is_responsible`."""
    if prefix_handle(handle) in homes:
        return True
    return is_prefix_handle(handle) and any(
        prefix_marker(ancestor) in homes for ancestor in ancestors(handle)
    )


class _NotOursError(StoreError):
    response_code = ResponseCode.SERVER_NOT_RESPONSIBLE


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
    return first_difference(row.in_values(), record.values, row.filled_s)
