"""The readable and the fast path side by side, over rows that are given, damaged ones included."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

from protocol.errors import ProtocolError
from protocol.framing import Reassembler, split_datagrams
from protocol.types.hs_site import TRANSPORT_UDP
from registry.range_records import (
    FindNearest,
    FoundRow,
    decode_range,
    fill_in,
    find_nearest,
    split_key,
)
from registry.schema import record_of_public
from registry.store import CacheStore, Store
from registry.template_expansion import ExpandRows, expand_rows
from registry.views import Databases, View
from resolver.config import NodeRole
from resolver.dispatch import Dispatcher, Peer
from resolver.fastpath import Batch, Choice, Datagram, is_native_built, make_batch
from resolver.metrics import RequestMetrics
from resolver.query import CachedRecords, OwnRecords, Records
from tests.registry.builders import NOW_S
from tests.resolver.office import make_node

try:
    from resolver._batch import Batch as NativeBatch
    from resolver._batch import KnownLots
except ImportError:  # installed without a compiler
    NativeBatch = None  # type: ignore[assignment,misc]

CLIENT = ("192.0.2.1", 5000)
PEER = Peer(*CLIENT, TRANSPORT_UDP)
TWINS = [Choice.PYTHON, *([Choice.NATIVE] if is_native_built() else [])]
CHOICES = [*TWINS, Choice.OFF]


_batches: dict[tuple[Choice, bool, bool, bool], Batch] = {}


class Given:
    """A store or a cache of rows that are given, and of what they need, as a look-up sees one."""

    def __init__(
        self,
        rows: Mapping[bytes, bytes],
        homed: frozenset[bytes] = frozenset(),
        *,
        ranges: Mapping[bytes, bytes] | None = None,
        templates: Mapping[bytes, bytes] | None = None,
        case_sensitive: bool = False,
    ) -> None:
        self.rows = rows
        self.templates = templates or {}
        self.homed = homed
        self.ranges = ranges or {}
        self.case_sensitive = case_sensitive

    def get(self, key: bytes, default: None = None, db: Any = None) -> bytes | None:
        if db == "prefixes":
            return key if key in self.homed else None
        if db == "templates":
            return self.templates.get(key)
        if db == "ranges":
            return self.ranges.get(key)
        return self.rows.get(key)

    def cursor(self, db: Any = None) -> "GivenCursor":
        assert db == "ranges"
        return GivenCursor(self.ranges)

    def row_in_range(self, key: bytes) -> bytes | None:
        """Return the row that an identifier would have: found without seeking, range by range.

        Raises: RecordError.
        """
        for range_key_, record in self.ranges.items():
            stem, last = split_key(range_key_)
            tail = key[len(stem) :]
            if not key.startswith(stem) or len(tail) != len(last) or not tail.isdigit():
                continue
            if record[1:2] == bytes([len(tail)]) and record[2 : 2 + len(tail)] <= tail <= last:
                return record_of_public(fill_in(decode_range(record), tail), key)
        return None

    @contextmanager
    def read(self) -> Iterator[View]:
        databases = Databases(*Databases._fields)
        yield View(cast("Any", self), databases, case_sensitive=self.case_sensitive)

    def find_rows(
        self,
        keys: list[bytes],
        prefixes: list[bytes],
        nearest: FindNearest = find_nearest,
        expand: ExpandRows = expand_rows,
    ) -> tuple[list[FoundRow], list[bool]]:
        rows = [self.rows.get(key) for key in keys]
        expand(self.templates.get, keys, rows)
        found = nearest(cast("Any", self), "ranges", keys, list(rows))
        return found, [each in self.homed for each in prefixes]


class GivenCursor:
    """A cursor over ranges that are given."""

    def __init__(self, ranges: Mapping[bytes, bytes]) -> None:
        self._items = sorted(ranges.items())
        self._at = 0

    def set_range(self, key: bytes) -> bool:
        self._at = bisect_left(self._items, key, key=lambda item: item[0])
        return self._at < len(self._items)

    def item(self) -> tuple[bytes, bytes]:
        return self._items[self._at]


class Paths(NamedTuple):
    """Both ways to an answer, over the same rows at the same time."""

    given: Given
    dispatcher: Dispatcher
    cached: bool
    lots: "KnownLots | None" = None

    def batch(self, twin: Choice) -> Batch:
        """Return a batch that other tests used before: nothing of theirs may show."""
        replies = self.dispatcher.replies
        key = (twin, replies.is_primary, self.given.case_sensitive, self.cached)
        if key not in _batches:
            case_sensitive, cached = key[2:]
            batch = make_batch(twin, -1, replies, case_sensitive=case_sensitive, cached=cached)
            _batches[key] = batch
        found = _batches[key]
        if self.lots is not None and isinstance(found, NativeBatch):
            found.know_lots(self.lots)
        return found

    def readable(self, datagram: bytes) -> list[bytes] | None:
        """Return what is sent, None when somebody else has to be asked."""
        try:
            octets = Reassembler().receive(datagram, CLIENT[0], 0.0)
        except ProtocolError:
            return []
        answer = b"" if octets is None else self.dispatcher.answer_now(octets, PEER)
        if answer is None:
            return None
        return split_datagrams(answer) if answer else []

    def fast(self, batch: Batch, datagrams: list[bytes]) -> list[list[bytes] | None]:
        """Return what is sent for each datagram, None when it is declined."""
        # Each has a port of its own, so that its answer is told from the others'.
        clients: list[Datagram] = [(each, ("192.0.2.1", at)) for at, each in enumerate(datagrams)]
        assert batch.load(clients) == len(datagrams)
        rows, homed = self.given.find_rows(
            batch.keys, batch.prefixes, batch.find_nearest, batch.expand_rows
        )
        declined = batch.assemble(rows, homed, NOW_S)
        sent: list[list[bytes] | None] = [[] for _ in datagrams]
        for datagram, address in declined:
            assert datagram == datagrams[address[1]]
            sent[address[1]] = None
        for datagram, address in batch.take():
            pieces = sent[address[1]]
            assert pieces is not None
            pieces.append(datagram)
        counted = batch.answered + batch.missing + batch.refused
        assert counted == sum(bool(pieces) for pieces in sent)
        return sent

    def check(self, datagrams: list[bytes]) -> int:
        """Hold both twins to the readable path and to each other; return what they answered."""
        outcomes = [self.fast(self.batch(twin), datagrams) for twin in TWINS]
        for outcome in outcomes:
            assert outcome == outcomes[0]
        for datagram, answer in zip(datagrams, outcomes[0], strict=True):
            if answer is not None:
                assert answer == self.readable(datagram), datagram.hex()
        return sum(answer is not None for answer in outcomes[0])


def make_paths(
    given: Given, *, cached: bool = False, role: NodeRole = NodeRole.ENTERPRISE
) -> Paths:
    """Return both paths over given rows; of a recursive node when they are a cache's."""
    records: Records
    if cached:
        role = NodeRole.RECURSIVE
        records = CachedRecords(cast("CacheStore", given), now_s=lambda: NOW_S)
    else:
        records = OwnRecords(cast("Store", given))
    nobody = cast("Any", None)  # no link, no threads: nothing here waits
    dispatcher = Dispatcher(
        make_node(role), records, nobody, nobody, RequestMetrics(), now_s=lambda: NOW_S
    )
    lots = None if cached or NativeBatch is None else KnownLots()
    return Paths(given, dispatcher, cached, lots)


def renewed(paths: Paths) -> Paths:
    """Return the same paths to lots and templates that are others now."""
    return paths if paths.lots is None else paths._replace(lots=KnownLots())
