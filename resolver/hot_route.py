"""The hot route of HTTP: GET /api/handles/{handle} without query or credentials, before ASGI.

    GET /api/handles/88.118/x ─> target ─> row ─> JSON ─> head and body, one write
                                   │        │       │
                                   └────────┴───────┴── None: Starlette answers (resolver.api)

It answers octet for octet as Starlette would, or not at all: only a success, only from what the
worker has at hand (the node's store, or a fresh row of the recursive role's cache), only targets
without anything to interpret. `HttpProtocol` calls it for requests whose headers change nothing.
"""

import asyncio
from collections.abc import Callable, Sequence
from http import HTTPStatus
from time import perf_counter, time
from typing import Protocol
from urllib.parse import unquote_to_bytes

import msgspec
from starlette.responses import Response

from protocol.codes import OpCode, ResponseCode
from protocol.handle import PREFIX_HANDLE_START, PREFIX_PREFIX, fold_handle, to_text
from protocol.types.hs_site import TRANSPORT_HTTP, TRANSPORT_HTTPS
from protocol.wire import HANDLE_OCTETS_MAX
from registry.errors import RecordError, StoreError
from registry.range_records import FoundRow, find_held
from registry.schema import (
    FLAG_HANDLE,
    FLAG_PRIVATE,
    KEY_OCTETS_MAX,
    decode_record,
    public_list,
)
from registry.store import CacheStore, Store
from resolver.api.answers import JSON_HEADERS, JSON_TYPE
from resolver.cache import find_fresh
from resolver.metrics import CACHE_LOOKUPS
from resolver.plain_rows import find_in_range
from resolver.query_counts import QueryCounts
from resolver.tally import Tally
from resolver.wire_json import values_to_json

FLUSH_S = 0.25  # how late a counted answer may appear in the metrics
# Octets of a target that mean themselves, or stand for an octet as %XX: no query, no fragment.
PLAIN_OCTETS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@/%"
ENCODED_OCTETS_MAX = 3 * HANDLE_OCTETS_MAX
_LENGTH = b"content-length"
_PREFIX_OCTETS_MAX = KEY_OCTETS_MAX - len(PREFIX_HANDLE_START)


class PublicRows(Protocol):
    """Where the hot route looks handles up."""

    def find_public(self, handle: bytes) -> tuple[bytes, bytes] | None:
        """Return the wire octets of a handle's public values; None: the readable path knows.

        Beside them, where look-ups are counted, stands what this one counts under: as
        `QueryCounts.add_found` has it.
        """
        ...

    def count(self, answers: int) -> None:
        """Take note of answers that were given from here."""
        ...


class OwnRows:
    """The rows of a node that registers."""

    def __init__(self, store: Store) -> None:
        self._find_rows = store.find_rows
        self._case_sensitive = store.case_sensitive

    def find_public(self, handle: bytes) -> tuple[bytes, bytes] | None:
        """Return the public values of a handle whose prefix is homed here."""
        prefix_octets = handle.find(b"/")
        key = fold_handle(handle, case_sensitive=self._case_sensitive)
        prefix = key[:prefix_octets]
        if prefix_octets < 1 or len(key) > KEY_OCTETS_MAX or prefix_octets > _PREFIX_OCTETS_MAX:
            return None
        (row,), (is_homed,) = self._find_rows([key], [PREFIX_HANDLE_START + prefix])
        if not is_homed:
            return None
        octets = _public_of(key, row)
        if octets is None:
            return None
        return octets, key if prefix == PREFIX_PREFIX else prefix

    def count(self, answers: int) -> None:
        """Nothing is counted here but the answers themselves."""


class CachedRows:
    """The rows of a recursive node's cache.

    Args:
        store: the cache, opened read-only.
        now_s: the time since 1970.
    """

    def __init__(self, store: CacheStore, now_s: Callable[[], float] = time) -> None:
        self._store = store
        self._now_s = now_s
        self._hits = CACHE_LOOKUPS.labels("hit")

    def find_public(self, handle: bytes) -> tuple[bytes, bytes] | None:
        """Return the values of a row that is fresh and a success."""
        entry = find_fresh(self._store, handle, self._now_s())
        if entry is None or entry.response_code != ResponseCode.SUCCESS:
            return None
        return entry.values, b""

    def count(self, answers: int) -> None:
        """Count hits."""
        self._hits.inc(answers)


class HotRoute:
    """Answers what it can answer exactly; use one for all connections of a worker.

    Args:
        rows: where handles are looked up.
        default_headers: what uvicorn writes before an application's headers.
        loop: counts are passed on from it.
        counts: where queries are counted for statistics; None: nowhere.
    """

    def __init__(
        self,
        rows: PublicRows,
        default_headers: Sequence[tuple[bytes, bytes]],
        loop: asyncio.AbstractEventLoop,
        counts: QueryCounts | None = None,
    ) -> None:
        self._rows = rows
        self._counts = counts
        self._loop = loop
        self._flush: asyncio.TimerHandle | None = None
        self._tallies = {
            transport: Tally(OpCode.RESOLUTION, ResponseCode.SUCCESS, transport)
            for transport in (TRANSPORT_HTTP, TRANSPORT_HTTPS)
        }
        self._encode = msgspec.json.Encoder().encode
        self._heads = {
            keep_alive: make_head(default_headers, 200, keep_alive=keep_alive)
            for keep_alive in (True, False)
        }

    def answer(
        self, target: bytes, transport: int, *, keep_alive: bool, sender: str = ""
    ) -> bytes | None:
        """Return the whole answer to a GET.

        Args:
            target: of the request, what follows /api/handles/.
            transport: TRANSPORT_HTTP or TRANSPORT_HTTPS.
            keep_alive: whether the connection stays open afterwards.
            sender: the address of the client.

        Returns:
            Head and body; None when Starlette has to answer.
        """
        started = perf_counter()
        if len(target) > ENCODED_OCTETS_MAX or target.translate(None, PLAIN_OCTETS):
            return None
        handle = unquote_to_bytes(target) if b"%" in target else target
        # Starlette's paths match no line end; of a handle too long the API says that it is.
        if not handle or len(handle) > HANDLE_OCTETS_MAX or b"\n" in handle:
            return None
        try:
            found = self._rows.find_public(handle)
        except StoreError:
            return None  # Starlette meets it again, and says so
        values = None if found is None else values_to_json(found[0])
        if found is None or values is None:
            return None
        document = {"responseCode": 1, "handle": to_text(handle), "values": values}
        body = self._encode(document)
        if self._counts is not None:
            self._counts.add_found(found[1], sender)
        if self._flush is None:
            self._flush = self._loop.call_later(FLUSH_S, self.flush)
        self._tallies[transport].add(perf_counter() - started)
        return self._heads[keep_alive] % (len(body), body)

    def flush(self) -> None:
        """Pass on what was counted."""
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
            self._rows.count(sum(tally.flush() for tally in self._tallies.values()))


def _public_of(key: bytes, row: FoundRow) -> bytes | None:
    """Return the public values of what was found; None: the readable path knows."""
    if isinstance(row, tuple):
        held = find_held(key, row)
        return None if held is None else find_in_range(*held)
    if not row or row[0] & FLAG_HANDLE:
        return None
    try:
        if row[0] & FLAG_PRIVATE:
            decode_record(row)  # a record is damaged as a whole, or not at all
        return public_list(row)
    except RecordError:
        return None


def make_head(
    default_headers: Sequence[tuple[bytes, bytes]], status: int, *, keep_alive: bool
) -> bytes:
    """Return the head as uvicorn writes it for a JSON answer, to be filled with length and body."""
    response = Response(b"", status, JSON_HEADERS, JSON_TYPE)
    parts = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()]
    for name, value in [*default_headers, *response.raw_headers]:
        octets = b"%d" if name == _LENGTH else value.replace(b"%", b"%%")
        parts.append(name + b": " + octets + b"\r\n")
    if not keep_alive:
        parts.append(b"connection: close\r\n")
    return b"".join(parts) + b"\r\n%s"
