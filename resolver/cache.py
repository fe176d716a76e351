"""What a recursive node keeps of an answer: the rows of its cache, and how long they hold.

One row for each handle, whatever was asked of it: the walk asks for all public values and questions
are filtered here. The key is the handle with the case of its suffix kept, because only the node
that holds a handle knows whether that case matters. A row is

    offset 0  u8   format, 1
           1  u8   0x1 the upstreams are down and this is stale, 0x2 a primary site answered
           2  u16  response code
           4  u32  fetched at, seconds since 1970
           8  u32  holds until
          12       success: a record as in `registry.schema`;  otherwise: words in UTF-8

The keeper writes, workers read. A row past its time answers nothing, but stays: when nobody can be
reached it is better than nothing (`CacheSettings.stale_max_s`). Time is an argument.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace

from protocol.codes import ResponseCode
from protocol.handle import fold_handle
from protocol.value import HandleValue, encode_values, read_values, select_values
from protocol.wire import Reader
from registry.errors import RecordError
from registry.schema import encode_record, public_list, storage_key
from registry.store import CacheStore
from resolver.recursion import Reply, ttl_of

ROW_FORMAT = 1
FLAG_STALE = 0x1
FLAG_AUTHORITATIVE = 0x2
WORDS_OCTETS_MAX = 512  # of an error message that is kept
PENDING_MAX = 256  # rows that wait to be written; more are written at once

_HEAD = struct.Struct(">BBHII")
_U32_MAX = 2**32 - 1
# Answers worth keeping. Others (busy, error, read-only) say nothing about the handle.
_NEGATIVE = frozenset(
    {
        ResponseCode.HANDLE_NOT_FOUND,
        ResponseCode.VALUES_NOT_FOUND,
        ResponseCode.SERVER_NOT_RESPONSIBLE,
        ResponseCode.INSUFFICIENT_PERMISSIONS,  # of a suspended prefix: nothing stale answers
    }
)


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """How long answers are kept."""

    ttl_max_s: int = 86_400
    """Seconds a success is kept at most, whatever its ttl says."""
    negative_ttl_s: int = 60
    """Seconds that "no such handle" and the like are kept."""
    stale_max_s: int = 86_400
    """Seconds past its time that a row may still answer while upstreams are down."""
    stale_hold_s: int = 5
    """Seconds for which a stale answer is given without trying the upstreams again."""


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """One row. `values` are the wire octets of a success's value list, `words` an error's."""

    response_code: int
    fetched_s: int
    expires_s: int
    values: bytes = b""
    words: bytes = b""
    is_stale: bool = False
    is_authoritative: bool = False

    def is_fresh(self, now_s: float) -> bool:
        """Say whether the entry may answer."""
        return now_s < self.expires_s

    def age_s(self, now_s: float) -> int:
        """Return for how long the entry has been kept."""
        return max(0, int(now_s) - self.fetched_s)

    def decode_values(self) -> tuple[HandleValue, ...]:
        """Return the values of a success, none otherwise."""
        return read_values(Reader(self.values)) if self.values else ()

    def answer(
        self, indexes: Iterable[int] = (), types: Iterable[bytes] = ()
    ) -> tuple[int, bytes, bytes]:
        """Return (response code, value list octets, words) for a question with these filters."""
        indexes, types = tuple(indexes), tuple(types)
        if self.response_code != ResponseCode.SUCCESS:
            return self.response_code, b"", self.words
        if not indexes and not types:
            return self.response_code, self.values, b""
        selected = select_values(self.decode_values(), indexes, types)
        if not selected:
            return ResponseCode.VALUES_NOT_FOUND, b"", b""
        return self.response_code, encode_values(selected), b""

    def held_stale(self, now_s: float, settings: CacheSettings) -> "CacheEntry | None":
        """Return this entry marked stale and held a moment longer, None when it is too old."""
        if now_s >= self.expires_s + settings.stale_max_s:
            return None
        return replace(self, is_stale=True, expires_s=int(now_s) + settings.stale_hold_s)

    def encode(self, handle: bytes) -> bytes:
        """Return the row for a handle."""
        flags = (FLAG_STALE if self.is_stale else 0) | (
            FLAG_AUTHORITATIVE if self.is_authoritative else 0
        )
        expires_s = min(self.expires_s, _U32_MAX)
        head = _HEAD.pack(ROW_FORMAT, flags, self.response_code, self.fetched_s, expires_s)
        if self.response_code != ResponseCode.SUCCESS:
            return head + self.words
        return head + encode_record(self.decode_values(), fold_handle(handle, case_sensitive=True))


def decode_row(row: bytes) -> CacheEntry | None:
    """Take a row apart; None when it is damaged or of another format, which is a miss."""
    if len(row) < _HEAD.size:
        return None
    format_, flags, code, fetched_s, expires_s = _HEAD.unpack_from(row)
    if format_ != ROW_FORMAT:
        return None
    rest = row[_HEAD.size :]
    values = words = b""
    if code == ResponseCode.SUCCESS:
        try:
            values = public_list(rest)
        except RecordError:
            return None
    else:
        words = rest
    return CacheEntry(
        code,
        fetched_s,
        expires_s,
        values,
        words,
        bool(flags & FLAG_STALE),
        bool(flags & FLAG_AUTHORITATIVE),
    )


def find_fresh(store: CacheStore, handle: bytes, now_s: float) -> CacheEntry | None:
    """Return what a worker may answer with by itself: an entry that is fresh and not stale."""
    row = store.get(cache_key(handle))
    entry = None if row is None else decode_row(row)
    if entry is None or entry.is_stale or not entry.is_fresh(now_s):
        return None
    return entry


def entry_from_reply(
    reply: Reply, now_s: float, settings: CacheSettings, *, words: str = ""
) -> CacheEntry | None:
    """Return what to keep of an answer; None when it says nothing about the handle.

    An entry whose values have no ttl left is returned all the same, but is never fresh.
    """
    code = reply.response_code
    now = int(now_s)
    if code == ResponseCode.SUCCESS:
        public = tuple(value for value in reply.values if value.is_public)
        expires_s = now + ttl_of(public, now, settings.ttl_max_s)
        octets = encode_values(public)
        return CacheEntry(code, now, expires_s, octets, is_authoritative=reply.authoritative)
    if code is None or code not in _NEGATIVE:
        return None
    kept_words = (words or reply.problem).encode()[:WORDS_OCTETS_MAX]
    return CacheEntry(
        code,
        now,
        now + settings.negative_ttl_s,
        words=kept_words,
        is_authoritative=reply.authoritative,
    )


def cache_key(handle: bytes) -> bytes:
    """Return the key of a handle's row."""
    return storage_key(handle, case_sensitive=True)


class Cache:
    """The keeper's end of the cache: rows are gathered and written together.

    A transaction costs far more than a row, and nobody waits for these: `flush` is to be called a
    moment after `has_pending` turned true.
    """

    def __init__(self, store: CacheStore) -> None:
        self._store = store
        self._pending: dict[bytes, CacheEntry] = {}
        self._rows: dict[bytes, bytes] = {}

    @property
    def has_pending(self) -> bool:
        """Say whether rows wait to be written."""
        return bool(self._pending)

    def find(self, handle: bytes) -> CacheEntry | None:
        """Return a handle's entry, fresh or not, None when there is none."""
        key = cache_key(handle)
        pending = self._pending.get(key)
        if pending is not None:
            return pending
        row = self._store.get(key)
        return None if row is None else decode_row(row)

    def put(self, handle: bytes, entry: CacheEntry) -> None:
        """Keep an entry; readers in other processes see it after the next `flush`."""
        key = cache_key(handle)
        self._pending[key] = entry
        self._rows[key] = entry.encode(handle)
        if len(self._pending) >= PENDING_MAX:
            self.flush()

    def flush(self) -> None:
        """Write what was put."""
        rows, self._rows = self._rows, {}
        self._pending.clear()
        if rows:
            self._store.put_many(sorted(rows.items()))

    def count(self) -> int:
        """Return the number of rows written."""
        return self._store.count()
