"""The fast path: a batch of plain look-ups is answered together, with few system calls over UDP.

    UDP   receive a batch ─┐                                                       ┌─ send
    TCP   messages ────────┴> keys ─> one read transaction ─> assemble ──> answers ─┴─ to streams
                    └─ whatever is not a plain look-up, or has no plain row ─> the readable path

It may only agree with the readable path (`dispatch.answer_now`) octet for octet, or decline. It
answers a request when

- it is whole in its datagram, of major version 2, in no session, neither encrypted nor compressed,
- it is a resolution without filters, not certified, without a request digest,
- all its lengths fit exactly, and the key of its handle, which has a slash, has at most 511 octets,
- the handle's prefix is homed in the same state of the store that its row is read from,
- the row decodes, all of it, and everybody may read all that was asked for: it has public values
  only, or PUBLIC_ONLY was asked; or there is no row, and the handle is in ASCII and no prefix's,
- or the row is made from a template, and what row, lot and template stand for is such a record,
- or there is no row, but a plain range holds the handle, its record decodes, all of it, and so does
  what comes of it once the handle's octets are filled in,
- in the recursive role: the row is a fresh success or "not found", and the question did not ask for
  an authority.

To a datagram that is neither a message nor a piece of one it is silent, as the readable path is. A
plain look-up whose body or handle is announced longer than what follows is refused in its words.
Referrals are the readable path's: they need more than one row. A batch is one `recvmmsg`, so TCP,
HTTP and the link of the same worker get their turn after at most 64 answers, and what arrives
faster than that is shed by the kernel: the newest first.

There are two batches with one interface, `_batch` (native, where a C compiler was found) and
`batch_python`. The environment variable BIAOSHI_FASTPATH forces one: `native`, `python` or `off`.
"""

import os
import secrets
from collections.abc import Mapping
from enum import StrEnum
from time import perf_counter
from typing import NamedTuple, Protocol
from weakref import WeakKeyDictionary

from protocol.codes import OpCode, ResponseCode
from protocol.types.hs_site import TRANSPORT_UDP
from registry.errors import StoreError
from registry.range_records import FindNearest, FoundRow
from registry.store import CacheStore, Store
from registry.template_expansion import ExpandRows
from resolver import batch_python, message_tables
from resolver.batch_counts import Taken
from resolver.batch_python import Address, Datagram
from resolver.mapped_file import find_mapped
from resolver.metrics import CACHE_LOOKUPS
from resolver.query_counts import QueryCounts
from resolver.replies import Replies
from resolver.tally import Tally

try:
    from resolver._batch import Batch as NativeBatch
    from resolver._batch import KnownLots
    from resolver._batch import MappedPages as NativePages
except ImportError:  # installed without a compiler
    NativeBatch = None  # type: ignore[assignment,misc]

__all__ = [
    "Address",
    "Batch",
    "Choice",
    "Datagram",
    "FastPath",
    "FastPathError",
    "Lookups",
    "choose",
]

VARIABLE = "BIAOSHI_FASTPATH"


class FastPathError(Exception):
    """What the environment asks for cannot be had; the text says what to do."""


class Choice(StrEnum):
    """Who moves and reads datagrams."""

    NATIVE = "native"
    PYTHON = "python"
    OFF = "off"


class Batch(Protocol):
    """One socket's buffers, and the batch that is in them."""

    @property
    def keys(self) -> list[bytes]:
        """The storage keys to look up."""
        ...

    @property
    def prefixes(self) -> list[bytes]:
        """The prefix handles that have to be homed; none in the recursive role."""
        ...

    @property
    def answered(self) -> int:
        """How many datagrams `assemble` answered with values."""
        ...

    @property
    def missing(self) -> int:
        """How many it answered with "not found"."""
        ...

    @property
    def refused(self) -> int:
        """How many it refused because one of their lengths does not fit."""
        ...

    @property
    def counts_are_full(self) -> bool:
        """Whether what was counted has to be taken before the next batch."""
        ...

    def begin_counting(self, seed: int) -> None:
        """Count look-ups for statistics from now on; a cache's are not counted.

        Args:
            seed: a random number of 64 bits that no stranger knows.
        """
        ...

    def take_counts(self) -> Taken:
        """Return {name: (answered, {source: queries})}, and begin anew."""
        ...

    @property
    def find_nearest(self) -> FindNearest:
        """`registry.range_records.find_nearest` for the keys of this batch, or the same in C."""
        ...

    @property
    def expand_rows(self) -> ExpandRows:
        """`registry.template_expansion.expand_rows`, for those rows that `assemble` cannot."""
        ...

    def receive(self) -> int:
        """Take what has arrived and read it; return how many datagrams that are."""
        ...

    def load(self, datagrams: list[Datagram], source: bytes = b"") -> int:
        """Take these instead of what has arrived.

        Args:
            datagrams: (octets, address) of each.
            source: who they are all from, as it is counted; b"": not known.
        """
        ...

    def assemble(self, rows: list[FoundRow], homed: list[bool], now_s: int) -> list[Datagram]:
        """Write the answers; return the datagrams that are left to the readable path.

        What is no message at all is neither answered nor left.

        Args:
            rows: of `keys`; the nearest range where there is none, None where there is neither.
            homed: whether each of `prefixes` is.
            now_s: the time since 1970.
        """
        ...

    def send(self) -> list[Datagram]:
        """Send the answers; return those that the kernel has no room for."""
        ...

    def take(self) -> list[Datagram]:
        """Return the answers instead of sending them."""
        ...


class Rows(Protocol):
    """Where rows come from: `registry.store.Store` or `CacheStore`."""

    def find_rows(
        self, keys: list[bytes], prefixes: list[bytes], nearest: FindNearest, expand: ExpandRows
    ) -> tuple[list[FoundRow], list[bool]]:
        """Return what is found of these keys, and which prefixes are homed, of one state."""
        ...


class Served(NamedTuple):
    """What is left of a batch: for the readable path, and for when the kernel has room again."""

    declined: list[Datagram]
    unsent: list[Datagram]
    answered: int


class Lookups:
    """Looks up what a batch asks, has it answered, and counts that.

    Args:
        batch: of a socket, or of none.
        rows: where handles are looked up.
        replies: whose answers these are.
        transport: that they are counted under (TRANSPORT_*).
        cached: whether `rows` is a cache, whose hits are counted.
        counts: where queries are counted for statistics; None: nowhere.
    """

    def __init__(
        self,
        batch: Batch,
        rows: Rows,
        replies: Replies,
        transport: int,
        *,
        cached: bool,
        counts: QueryCounts | None = None,
    ) -> None:
        self.batch = batch
        self.counts = counts
        if counts is not None:
            batch.begin_counting(secrets.randbits(64))
            counts.add_part(batch.take_counts)
        self._rows = rows
        self._now_s = replies.now_s
        self._found = Tally(OpCode.RESOLUTION, ResponseCode.SUCCESS, transport)
        self._missing = Tally(OpCode.RESOLUTION, ResponseCode.HANDLE_NOT_FOUND, transport)
        self._refused = Tally(OpCode.RESOLUTION, ResponseCode.PROTOCOL_ERROR, transport)
        self._hits = CACHE_LOOKUPS.labels("hit") if cached else None

    def answer(self) -> list[Datagram]:
        """Answer what the batch has read; return what is left to the readable path."""
        started = perf_counter()
        batch = self.batch
        keys, prefixes = batch.keys, batch.prefixes
        rows: list[FoundRow] = []
        homed: list[bool] = []
        if keys:
            try:
                rows, homed = self._rows.find_rows(
                    keys, prefixes, batch.find_nearest, batch.expand_rows
                )
            except StoreError:
                # The readable path meets it again, and says so.
                rows, homed = [None] * len(keys), [False] * len(prefixes)
        now_s = int(self._now_s())
        counts = self.counts
        if counts is not None and (
            batch.counts_are_full or not counts.begins_s <= now_s < counts.ends_s
        ):
            counts.turn(now_s)
        declined = batch.assemble(rows, homed, now_s)
        # Each was under way as long as the batch was: that is what its client waited for.
        took_s = perf_counter() - started
        if batch.answered:
            self._found.add(took_s, batch.answered)
        if batch.missing:
            self._missing.add(took_s, batch.missing)
        if batch.refused:
            self._refused.add(took_s, batch.refused)
        return declined

    def flush(self) -> None:
        """Pass on what was counted."""
        answers = self._found.flush() + self._missing.flush()
        self._refused.flush()
        if self._hits is not None:
            self._hits.inc(answers)


class FastPath:
    """Answers batches of one UDP socket with `lookups`."""

    def __init__(self, lookups: Lookups) -> None:
        self._lookups = lookups
        self.flush = lookups.flush

    def serve(self, *, hold: bool = False) -> Served:
        """Answer what has arrived.

        Args:
            hold: send nothing: other datagrams wait for the kernel already.
        """
        batch = self._lookups.batch
        if not batch.receive():
            return _NOTHING
        declined = self._lookups.answer()
        answered = batch.answered + batch.missing + batch.refused
        if not answered:
            return Served(declined, [], 0)
        return Served(declined, batch.take() if hold else batch.send(), answered)


_NOTHING = Served([], [], 0)


def is_native_built() -> bool:
    """Say whether the native batch was built when this was installed."""
    return NativeBatch is not None


def choose(environment: Mapping[str, str] = os.environ) -> Choice:
    """Return what serves UDP here: the best there is, or what the environment asks for.

    Raises:
        FastPathError: it asks for what is not here, or for what nobody knows.
    """
    asked = environment.get(VARIABLE, "")
    if asked not in ("", *Choice):
        raise FastPathError(f"{VARIABLE} is {asked!r}: set it to native, python or off, or not")
    if asked == Choice.NATIVE and not is_native_built():
        raise FastPathError(
            f"{VARIABLE} asks for the native batch, which was not built: "
            "install a C compiler and Python's headers, then install biaoshi again"
        )
    if asked == Choice.PYTHON and not message_tables.is_available():
        raise FastPathError(f"{VARIABLE} asks for batches, which this system cannot: set it to off")
    if asked:
        return Choice(asked)
    if is_native_built():
        return Choice.NATIVE
    return Choice.PYTHON if message_tables.is_available() else Choice.OFF


def make_batch(
    choice: Choice, fileno: int, replies: Replies, *, case_sensitive: bool, cached: bool
) -> Batch:
    """Return a batch for a socket, answering as `replies` does; not for `Choice.OFF`."""
    assert choice is not Choice.OFF
    kind = NativeBatch if choice is Choice.NATIVE else batch_python.Batch
    return kind(
        fileno,
        case_sensitive=case_sensitive,
        cached=cached,
        authoritative=replies.is_primary,
        site_serial=replies.site_serial,
    )


def touch_pages(batch: Batch, store: Store | CacheStore) -> None:
    """Have a native batch touch the pages that its look-ups in a store will read."""
    if NativeBatch is None or not isinstance(batch, NativeBatch):
        return
    rows = _find_pages(store, store.rows_database)
    if rows is not None:
        ranges = store.ranges_database
        batch.touch_pages_of(rows, None if ranges is None else _find_pages(store, ranges))


def _find_pages(store: Store | CacheStore, database: bytes) -> "NativePages | None":
    mapped = find_mapped(store.data_file)
    return None if mapped is None else NativePages(*mapped, database)


_known_lots: "WeakKeyDictionary[Store, KnownLots]" = WeakKeyDictionary()


def know_lots(batch: Batch, store: Store | CacheStore) -> None:
    """Have a native batch put rows made from templates together itself.

    What it has to know of lots and templates is kept once for all batches of a store.
    """
    if NativeBatch is None or not isinstance(batch, NativeBatch) or not isinstance(store, Store):
        return
    lots = _known_lots.get(store)
    if lots is None:
        lots = _known_lots[store] = KnownLots()
    batch.know_lots(lots)


def open_lookups(
    fileno: int,
    store: Store | CacheStore,
    replies: Replies,
    transport: int,
    choice: Choice | None = None,
    counts: QueryCounts | None = None,
) -> Lookups | None:
    """Return what answers batches, None for nothing.

    Args:
        fileno: of the socket they arrive at, -1 for none.
        store: where handles are looked up.
        replies: whose answers it gives.
        transport: that they are counted under (TRANSPORT_*).
        choice: what `choose` says unless given.
        counts: where queries are counted; None: nowhere.

    Raises:
        FastPathError: see `choose`.
    """
    choice = choose() if choice is None else choice
    if choice is Choice.OFF:
        return None
    cached = isinstance(store, CacheStore)
    case_sensitive = isinstance(store, Store) and store.case_sensitive
    batch = make_batch(choice, fileno, replies, case_sensitive=case_sensitive, cached=cached)
    touch_pages(batch, store)
    know_lots(batch, store)
    return Lookups(batch, store, replies, transport, cached=cached, counts=counts)


def open_fast_path(
    fileno: int,
    store: Store | CacheStore,
    replies: Replies,
    choice: Choice | None = None,
    counts: QueryCounts | None = None,
) -> FastPath | None:
    """Return the fast path of a UDP socket, None for none; as `open_lookups`."""
    lookups = open_lookups(fileno, store, replies, TRANSPORT_UDP, choice, counts)
    return None if lookups is None else FastPath(lookups)
