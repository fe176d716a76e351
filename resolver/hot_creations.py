"""The hot route of registering: PUT of a new handle in a session, before ASGI.

    one whole request ─> head known? ─> target, body plain? ─> name free here? ─> registrar ─> 201
                            │                 │                    │                 │
                            └─────────────────┴────────────────────┴── no ───────────┴── Starlette

It writes octet for octet what Starlette would write, or leaves the request to it: only a creation
that succeeds, only within TLS, only in a session that `Authorization: Handle` goes on with, only
values that need no looking into (`registry.plain_creations`). Whatever is refused is Starlette's to
refuse: nothing was done before.

Heads are the same from request to request but for their target, so those that Starlette's way has
parsed are remembered, and one that comes again is not parsed again.
"""

import asyncio
import re
import struct
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

import msgspec

from protocol.bodies import ErrorAnswer
from protocol.codes import OpCode, Permission, ResponseCode
from protocol.handle import PREFIX_HANDLE_START, fold_handle, to_text
from protocol.json_fields import I32_MAX
from protocol.types.hs_site import TRANSPORT_HTTPS
from protocol.value import TTL_DEFAULT_S, TTL_RELATIVE
from protocol.wire import HANDLE_OCTETS_MAX, write_str
from registry.checks import CHECKED_TYPES
from registry.errors import StoreError
from registry.range_records import find_held
from registry.schema import KEY_OCTETS_MAX, VALUES_MAX
from registry.store import Store
from resolver.api.answers import result_document
from resolver.dispatch import link_code
from resolver.hot_route import ENCODED_OCTETS_MAX, FLUSH_S, PLAIN_OCTETS, make_head
from resolver.link import Link, LinkDown, LinkLost
from resolver.query import Result
from resolver.tally import Tally

START = b"PUT /api/handles/"
BODY_OCTETS_MAX = 16_384  # what is longer is not hot
HEAD_OCTETS_MAX = 1_024
HEADS_MAX = 1_024  # remembered: 1 MB and what was made of them
_HEAD_END = b"\r\n\r\n"
_QUERIES = frozenset({b"", b"overwrite=true", b"overwrite=false"})  # of a new handle all the same
_SESSION = re.compile(rb'Handle version="0", sessionId="([A-Za-z0-9+/=]{1,64})"')
# What else a head may say does not change the answer.
_TELLING_HEADERS = frozenset({b"transfer-encoding", b"expect", b"upgrade"})
_KEEP_ALIVE = b"keep-alive"
_TYPE_LETTERS_MAX = 64
_CACHED_MIDDLES = 1_024
_NO_REFERENCES = bytes(4)
_pack_i32 = struct.Struct(">i").pack
_pack_middle = struct.Struct(">BiB").pack


class Head(NamedTuple):
    """What a remembered head says."""

    session_id: str
    body_octets: int


class Request(NamedTuple):
    """A request with a known head; its octets are whole when there are `octets` of them."""

    head: Head
    target: bytes
    body_at: int
    octets: int


class Creation(NamedTuple):
    """A creation under way: what is created, when it began, how it will end."""

    handle: bytes
    begun_s: float
    reply: "asyncio.Future[bool]"


class HotCreations:
    """Creates handles for all connections of a worker.

    Args:
        store: opened read-only.
        link: to the registrar.
        default_headers: what uvicorn writes before an application's headers.
        loop: counts are passed on from it.
    """

    def __init__(
        self,
        store: Store,
        link: Link,
        default_headers: Sequence[tuple[bytes, bytes]],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._store = store
        self._link = link
        self._default_headers = default_headers
        self._loop = loop
        self._known: dict[bytes, Head] = {}
        self._encode = msgspec.json.Encoder().encode
        self._heads = {
            keep_alive: make_head(default_headers, 201, keep_alive=keep_alive)
            for keep_alive in (True, False)
        }
        self._flush: asyncio.TimerHandle | None = None
        self._tally = Tally(OpCode.CREATE_HANDLE, ResponseCode.SUCCESS, TRANSPORT_HTTPS)

    def learn(self, head: bytes, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Remember a head that was parsed, if it is one of a creation in a session.

        Args:
            head: what stands behind the target, to the empty line.
            headers: the same, names in lower case.
        """
        if head in self._known or not head.startswith(b" HTTP/1.1\r\n"):
            return
        if len(head) > HEAD_OCTETS_MAX or not head.endswith(_HEAD_END):
            return
        found = read_head(headers)
        if found is None:
            return
        if len(self._known) >= HEADS_MAX:
            self._known.clear()
        self._known[head] = found

    def find(self, data: bytes) -> Request | None:
        """Return the request that `data` begin with; None when its head is not known."""
        target_end = data.find(b" ", len(START))
        body_at = data.find(_HEAD_END, target_end) + len(_HEAD_END)
        head = self._known.get(data[target_end:body_at])
        if head is None:
            return None
        return Request(head, data[len(START) : target_end], body_at, body_at + head.body_octets)

    def begin(self, request: Request, data: bytes) -> Creation | None:
        """Begin a creation; None when Starlette has to answer.

        Args:
            request: as found.
            data: its octets, whole.
        """
        begun_s = time.perf_counter()
        handle = read_target(request.target)
        if handle is None or not self._is_free(handle):
            return None
        pieces = read_pieces(data[request.body_at :], handle)
        if pieces is None:
            return None
        try:
            reply = self._link.begin("creation", [request.head.session_id, handle, pieces])
        except LinkDown:
            return None
        return Creation(handle, begun_s, reply)

    def answer(self, creation: Creation, *, keep_alive: bool) -> bytes | None:
        """Return the whole answer to a creation that has ended; None: Starlette has to answer."""
        try:
            if not creation.reply.result():
                return None
        except LinkLost as error:
            return self._lost(creation.handle, error, keep_alive=keep_alive)
        if self._flush is None:
            self._flush = self._loop.call_later(FLUSH_S, self.flush)
        self._tally.add(time.perf_counter() - creation.begun_s)
        body = self._encode({"responseCode": 1, "handle": to_text(creation.handle)})
        return self._heads[keep_alive] % (len(body), body)

    def flush(self) -> None:
        """Pass on what was counted."""
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
            self._tally.flush()

    def _lost(self, handle: bytes, error: LinkLost, *, keep_alive: bool) -> bytes:
        """Say that the outcome is not known: to ask again might find the handle there already."""
        result = Result(link_code(error), ErrorAnswer(str(error).encode()))
        document, status = result_document(handle, result)
        body = self._encode(document)
        return make_head(self._default_headers, status, keep_alive=keep_alive) % (len(body), body)

    def _is_free(self, handle: bytes) -> bool:
        """Say whether a handle's prefix is homed here and no row or range has its name."""
        key = fold_handle(handle, case_sensitive=self._store.case_sensitive)
        prefix = PREFIX_HANDLE_START + key[: handle.find(b"/")]
        if max(len(key), len(prefix)) > KEY_OCTETS_MAX:
            return False
        try:
            (row,), (is_homed,) = self._store.find_rows([key], [prefix])
        except StoreError:
            return False  # Starlette meets it again, and says so
        if isinstance(row, tuple):
            return is_homed and find_held(key, row) is None
        return is_homed and row is None


def read_head(headers: Sequence[tuple[bytes, bytes]]) -> Head | None:
    """Return what headers say, None when they are not those of a creation in a session."""
    fields = dict(headers)
    session = _SESSION.fullmatch(fields.get(b"authorization", b""))
    length = fields.get(b"content-length", b"")
    if session is None or len(fields) < len(headers) or fields.keys() & _TELLING_HEADERS:
        return None
    if fields.get(b"connection", _KEEP_ALIVE).lower() != _KEEP_ALIVE:
        return None
    media_type = fields.get(b"content-type", b"").partition(b";")[0]
    if media_type.strip().lower() != b"application/json":
        return None
    if not length.isdigit() or not 0 < int(length) <= BODY_OCTETS_MAX:
        return None
    return Head(session[1].decode(), int(length))


def read_target(target: bytes) -> bytes | None:
    """Return the handle in what follows /api/handles/; None when it needs a closer look."""
    path, _, query = target.partition(b"?")
    if query not in _QUERIES or len(path) > ENCODED_OCTETS_MAX:
        return None
    if path.translate(None, PLAIN_OCTETS):
        return None
    handle = unquote_to_bytes(path) if b"%" in path else path
    # Starlette's paths match no line end. Without a prefix before the slash it is no new handle.
    if len(handle) > HANDLE_OCTETS_MAX or b"\n" in handle or handle.find(b"/") < 1:
        return None
    try:
        handle.decode()
    except UnicodeDecodeError:
        return None
    return handle


def read_pieces(body: bytes, handle: bytes) -> list[bytes] | None:
    """Return the wire octets of the values in a body, cut where their timestamps stand.

    None when it names another handle, or one of them is not plain: text of a type this node does
    not act upon, with the permissions that values have when nobody says otherwise.
    """
    try:
        items = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if type(items) is dict:
        named = items.get("handle")
        if named is not None and (type(named) is not str or named.encode() != handle):
            return None
        items = items.get("values")
    if type(items) is not list or not 0 < len(items) <= VALUES_MAX:
        return None
    pieces: list[bytes] = []
    before = _pack_i32(len(items))
    indexes: set[int] = set()
    for item in items:
        value = _read_value(item)
        if value is None:
            return None
        index, after = value
        indexes.add(index)
        pieces.append(before + _pack_i32(index))
        before = after
    pieces.append(before)
    return pieces if len(indexes) == len(items) else None


def _read_value(item: object) -> tuple[int, bytes] | None:
    """Return the index and the wire octets behind the timestamp of a plain value."""
    if type(item) is not dict:
        return None
    get = item.get
    index, type_, data, ttl = get("index"), get("type"), get("data"), get("ttl", TTL_DEFAULT_S)
    if type(index) is not int or type(type_) is not str or type(ttl) is not int:
        return None
    if "permissions" in item or "timestamp" in item or "references" in item:
        return None
    text = data if type(data) is str else _read_text(data)
    if text is None:
        return None
    if not (0 < index <= I32_MAX and 0 <= ttl <= I32_MAX) or len(type_) > _TYPE_LETTERS_MAX:
        return None
    octets, middle = text.encode(), _middle(ttl, type_)
    if middle is None:
        return None
    return index, middle + _pack_i32(len(octets)) + octets + _NO_REFERENCES


def _read_text(data: object) -> str | None:
    """Return the text of {"format": "string", "value": ..}."""
    if type(data) is not dict or data.get("format") != "string":
        return None
    text = data.get("value")
    return text if type(text) is str else None


@lru_cache(_CACHED_MIDDLES)
def _middle(ttl: int, type_: str) -> bytes | None:
    """Return the wire octets between timestamp and data; None of types that are looked into."""
    octets = type_.encode()
    if octets in CHECKED_TYPES:
        return None
    return _pack_middle(TTL_RELATIVE, ttl, Permission.DEFAULT) + write_str(octets)
