"""The counters of the table `statistics`: what is in it, read and written.

    b"T" name              what there is now: TOTALS numbers
    b"D" name 0x00 u32 day what happened on a day: EVENTS numbers
    b"Q" u32 day, name     queries of a day: received, answered
    b"S" u32 day, name     who asked on a day: `registry.space_saving`; under `/` how many addresses
                           are listed of all names together
    b"C"                   how far an older store was counted: `registry.first_count`

A **name** is what is counted under: a prefix folded, `88.118.5`, for the identifiers below it, and
a prefix handle folded, `0.NA/88.118`, for the *prefixes* derived from it. A secondary node reports
how many prefixes there are below its own, an enterprise how many identifiers: these two are never
added up. The empty name is all identifiers of the node, `0.NA/` all its prefixes; of queries the
empty name is all, and `/`, which is in no prefix, those for what is not homed here.

A number has 16 octets, big-endian: a range may stand for 10^18 identifiers. A day is one of
`registry.days`. Registrations are counted by `registry.row_changes` in the transaction that makes
them, so journal, store and counters agree. Queries are no registrations: they are added in
transactions of their own, are not in the journal, and are kept QUERY_DAYS_KEPT days.
"""

import struct
from typing import NamedTuple

from protocol.handle import PREFIX_HANDLE_START, ROOT_HANDLE
from registry.days import DAY_MAX
from registry.errors import StoreError
from registry.schema import KEY_HEAD_OCTETS
from registry.tables import Table, WritableTable

TABLE = "statistics"
ALL_IDENTIFIERS = b""
ALL_PREFIXES = PREFIX_HANDLE_START
ALL_QUERIES = b""
ELSEWHERE = b"/"  # no prefix has a slash in it
NAME_OCTETS_MAX = 400  # the longest prefix that can be homed; a name beyond it is cut
NAMES_MAX = 1_000  # in one page of totals
QUERY_DAYS_KEPT = 400  # a year and what reporting it takes

_NUMBER_OCTETS = 16
_U32 = struct.Struct(">I")
_ROOT_SUFFIX = ROOT_HANDLE[len(PREFIX_HANDLE_START) :]


class Totals(NamedTuple):
    """What there is under a name.

    `rows` answer, `revoked` and `deleted` are marked rows; `overrides` are rows of all three kinds
    that stand in place of an identifier of a range. `ranges` and `in_ranges` answer, of those that
    were revoked `in_revoked` are the identifiers.
    """

    rows: int = 0
    in_ranges: int = 0
    ranges: int = 0
    overrides: int = 0
    revoked: int = 0
    deleted: int = 0
    revoked_ranges: int = 0
    in_revoked: int = 0

    @property
    def identifiers(self) -> int:
        """Rows and identifiers in ranges together, those that are both once."""
        return self.rows + self.in_ranges - self.overrides


class Events(NamedTuple):
    """What happened under a name on one day; single identifiers first, then those in ranges."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    revoked: int = 0
    ranges_added: int = 0
    in_ranges_added: int = 0
    in_ranges_removed: int = 0
    in_ranges_revoked: int = 0

    @property
    def net(self) -> int:
        """By how many identifiers there are more than before."""
        gone = self.removed + self.revoked + self.in_ranges_removed + self.in_ranges_revoked
        return self.added + self.in_ranges_added - gone


class Queries(NamedTuple):
    """Look-ups under a name on one day; answered are those that got values."""

    received: int = 0
    answered: int = 0


TOTALS = len(Totals._fields)
EVENTS = len(Events._fields)
QUERIES = len(Queries._fields)


def prefix_of(key: bytes) -> bytes:
    """Return the folded prefix that a key of a row or a range is under."""
    return key[: key.find(b"/")]


def counted_name(key: bytes) -> bytes:
    """Return the name that a storage key, or a folded handle, is counted under."""
    # What follows in a key that was shortened is no text.
    prefix, slash, suffix = key[:KEY_HEAD_OCTETS].partition(b"/")
    if not slash or prefix + slash != PREFIX_HANDLE_START:
        return prefix[:NAME_OCTETS_MAX] or ELSEWHERE
    parent, dot, _ = suffix.rpartition(b".")
    if not dot or suffix == _ROOT_SUFFIX:
        return ROOT_HANDLE
    return (PREFIX_HANDLE_START + parent)[:NAME_OCTETS_MAX]


def sum_name(name: bytes) -> bytes:
    """Return the name under which a name is counted once more: all of its kind."""
    return ALL_PREFIXES if name.startswith(PREFIX_HANDLE_START) else ALL_IDENTIFIERS


def totals_key(name: bytes) -> bytes:
    """Return the key of a name's totals."""
    return b"T" + name


def events_key(name: bytes, day: int) -> bytes:
    """Return the key of what happened under a name on a day."""
    return b"D" + name + b"\0" + _U32.pack(day)


def queries_key(day: int, name: bytes) -> bytes:
    """Return the key of the queries of a day."""
    return b"Q" + _U32.pack(day) + name


def sources_key(day: int, name: bytes = ALL_QUERIES) -> bytes:
    """Return the key of who asked on a day for what is counted under a name."""
    return b"S" + _U32.pack(day) + name


def read_numbers(table: Table, key: bytes, count: int) -> list[int]:
    """Return the numbers under a key, zeros when there are none. Raises: StoreError: damaged."""
    octets = table.get(key)
    if octets is None:
        return [0] * count
    if len(octets) != count * _NUMBER_OCTETS:
        raise StoreError(f"the counters under {key!r} are damaged: {len(octets)} octets")
    starts = range(0, len(octets), _NUMBER_OCTETS)
    return [int.from_bytes(octets[at : at + _NUMBER_OCTETS], "big") for at in starts]


def add_numbers(table: WritableTable, key: bytes, more: list[int]) -> None:
    """Add to the numbers under a key. Raises: StoreError: damaged.

    A number that was wrong before is not let fall below 0: `verify` tells of it, and nobody's
    registration fails for it.
    """
    before = read_numbers(table, key, len(more))
    numbers = [max(old + new, 0) for old, new in zip(before, more, strict=True)]
    table.put(key, b"".join(number.to_bytes(_NUMBER_OCTETS, "big") for number in numbers))


def find_totals(table: Table, name: bytes) -> Totals:
    """Return what there is under a name. Raises: StoreError."""
    return Totals(*read_numbers(table, totals_key(name), TOTALS))


def find_events(table: Table, name: bytes, day: int) -> Events:
    """Return what happened under a name on a day. Raises: StoreError."""
    return Events(*read_numbers(table, events_key(name, day), EVENTS))


def find_queries(table: Table, day: int, name: bytes) -> Queries:
    """Return the queries of a day. Raises: StoreError."""
    return Queries(*read_numbers(table, queries_key(day, name), QUERIES))


def net_after(table: Table, name: bytes, day: int) -> int:
    """Return by how many identifiers there are more than at the end of a day. Raises: StoreError.

    With `Totals.identifiers` it says how many there were then.
    """
    start, end = events_key(name, min(day + 1, DAY_MAX)), b"D" + name + b"\0"
    if day >= DAY_MAX:
        return 0
    keys = [key for key, _ in table.items(start, end) if len(key) == len(start)]
    return sum(Events(*read_numbers(table, key, EVENTS)).net for key in keys)


def list_totals(table: Table, after: bytes, limit: int) -> list[tuple[bytes, Totals]]:
    """Return up to `limit` of (name, totals) beyond a name, without sums. Raises: StoreError."""
    sums = (totals_key(ALL_IDENTIFIERS), totals_key(ALL_PREFIXES))
    found: list[tuple[bytes, Totals]] = []
    for key, _ in table.items(totals_key(after), b"T"):
        if key in sums or key == totals_key(after):
            continue
        if len(found) == limit:
            break
        found.append((key[1:], Totals(*read_numbers(table, key, TOTALS))))
    return found
