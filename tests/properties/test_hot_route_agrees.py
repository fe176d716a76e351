"""The hot route of HTTP writes what Starlette would write, octet for octet, or leaves it to it."""

import asyncio
import socket
from typing import Any, cast
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.handle import fold_handle
from protocol.types.hs_admin import HsAdmin
from protocol.value import HandleValue, Reference, encode_values
from registry.marks import Mark, State, encode_marked
from registry.range_records import Patch, RangeRecord, encode_range, range_key
from registry.schema import encode_record, folded_key
from resolver.api.app import make_app
from resolver.cache import CacheEntry, cache_key
from resolver.config import Config, LimitsConfig, MetricsConfig, NodeRole, TlsConfig
from resolver.hot_route import CachedRows, OwnRows, PublicRows
from resolver.http_protocol import HttpProtocol
from resolver.http_server import HttpServer
from resolver.metrics import RequestMetrics
from resolver.query import CachedRecords, OwnRecords
from resolver.rest_operations import RestOperations
from tests.registry.builders import NOW_S, url
from tests.resolver.office import make_node
from tests.resolver.peers import FakeTransport, turns
from tests.resolver.two_paths import Given

ADMIN = HsAdmin(0xFFF, Reference(b"0.NA/88.118", 300)).encode()
I32 = st.integers(-(2**31), 2**31 - 1)
HANDLES = st.sampled_from(
    [
        b"88.118/A",
        b"88.118/b",
        "88.118/é".encode(),
        b"88.118/\xff",
        b"88.118/x\n",
        b"99/A",
        b"0.NA/88",
        b"88.118/lot.5",
        b"88.118/LOT.9",
    ]
)
VALUES = st.builds(
    HandleValue,
    index=I32,
    type=st.sampled_from([b"URL", b"HS_ADMIN", b"HS_PUBKEY", b"\xff", "É".encode()]),
    data=st.binary(max_size=30) | st.sampled_from([b"https://example.com/", b'"\\\x7f', ADMIN]),
    permission=st.sampled_from([0b1110] * 6 + [0b1100, 0b0010, 0xFF]),
    ttl=I32,
    ttl_type=st.integers(0, 2),
    timestamp=I32,
    references=st.lists(st.builds(Reference, st.binary(max_size=9), I32), max_size=1).map(tuple),
)
PUBLIC_VALUES = st.lists(VALUES.filter(lambda value: value.is_public), max_size=2)
RARELY = st.sampled_from([False] * 5 + [True])
TARGETS = st.one_of(
    st.just(b"88.118/A"),
    HANDLES.map(lambda handle: quote(handle, safe="/").encode()),
    HANDLES.map(lambda handle: quote(handle, safe="").encode()),
    st.sampled_from([b"", b"88.118/a?type=URL", b"88.118/a#b", b"88.118/%zz", b"//", b"88.118/a?"]),
)
HEADS = st.sampled_from(
    [b"Host: n\r\n"] * 4
    + [
        b"",
        b"Host: n\r\nConnection: close\r\n",
        b"Host: n\r\nAuthorization: Basic eDp5\r\n",
        b"Content-Length: 0\r\n",
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
        b"Expect: 100-continue\r\n",
        b"If-None-Match: x\r\nAccept: text/html\r\n",
        b"bad header\r\n",
    ]
)
LINES = st.builds(
    lambda method, path, target, version, head: (
        method + b" " + path + target + b" HTTP/" + version + b"\r\n" + head + b"\r\n"
    ),
    st.sampled_from([b"GET"] * 6 + [b"HEAD", b"POST"]),
    st.sampled_from([b"/api/handles/"] * 8 + [b"/api/%68andles/", b"/"]),
    TARGETS,
    st.sampled_from([b"1.1"] * 5 + [b"1.0", b"0.9"]),
    HEADS,
)


class NoLink:
    """A registrar or keeper that knows nothing."""

    is_up = True

    async def call(self, kind: str, payload: Any, timeout_s: float = 0) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"code": 100, "values": b"", "message": b"not here", "created": False, "body": b""}


@st.composite
def stores(draw: st.DrawFn) -> tuple[Given, bool]:
    cached = draw(st.booleans())
    rows = {}
    drawn = {b"88.118/A": [url()]} | draw(st.dictionaries(HANDLES, st.lists(VALUES, max_size=3)))
    for handle, values in drawn.items():
        if cached:
            public = encode_values(value for value in values if value.is_public)
            expires_s = NOW_S + draw(st.sampled_from([90, 1, 0, -1]))
            code = draw(st.sampled_from([1, 1, 1, 100]))
            stale = draw(st.sampled_from([False, False, True]))
            entry = CacheEntry(code, NOW_S, expires_s, public, b"words", stale)
            key, row = cache_key(handle), entry.encode(handle)
        else:
            key = folded_key(fold_handle(handle))
            row = encode_record(values, fold_handle(handle))
            if draw(RARELY):
                mark = Mark(draw(st.sampled_from(State)), NOW_S, Reference(b"0.NA/88", 300), "why")
                row = encode_marked(mark, row)
        if draw(st.integers(0, 5)) == 0:
            at = draw(st.integers(0, len(row) - 1))
            octet = draw(st.sampled_from([0, 1, 2, 0x11, 0x7F, 0xFF]))
            row = draw(st.sampled_from([row[:at], row + b"\0", row[:at] + bytes([octet])]))
        rows[key] = row
    ranges = {}
    if not cached:
        public = encode_values([url(data=b"https://example.com/0"), *draw(PUBLIC_VALUES)])
        patch = Patch(public.index(b"/0\0") + 1, 0, 1)
        record = encode_range(RangeRecord(b"0", public, (patch,), checked=draw(RARELY)))
        if draw(RARELY):
            record = record[: draw(st.integers(3, len(record) - 1))]
        ranges[range_key(b"88.118/LOT.", b"8")] = record
    homed = frozenset({b"0.NA/88.118", b"0.NA/0.NA"})
    return Given(rows, homed, ranges=ranges), cached


def make_server(store: Given, *, cached: bool, hot: bool) -> HttpServer:
    found = cast("Any", store)
    role = NodeRole.RECURSIVE if cached else NodeRole.TOP
    records = CachedRecords(found, lambda: NOW_S) if cached else OwnRecords(found)
    rows: PublicRows = CachedRows(found, lambda: NOW_S) if cached else OwnRows(found)
    operations = RestOperations(make_node(role), records, cast("Any", NoLink()), RequestMetrics())
    return HttpServer(
        socket.socket(),
        make_app(operations, Config(role=role, tls=TlsConfig(), metrics=MetricsConfig())),
        cast("Any", None),
        LimitsConfig(pipelined_max=8),
        cast("Any", None),
        asyncio.get_running_loop(),
        rows=rows if hot else None,
    )


async def exchange(server: HttpServer, chunks: list[bytes], *, secure: bool) -> tuple[bytes, bool]:
    """Return what a server writes when these arrive one after the other, and whether it closes."""
    assert server._limiter.admit("192.0.2.1")
    connection = HttpProtocol(server, "192.0.2.1")
    transport = FakeTransport(connection, secure=secure)
    for chunk in chunks:
        if transport.closing or not transport.reading:
            break
        connection.data_received(chunk)
        await turns(40)
    written, closing = transport.written, transport.closing
    transport.abort()
    await turns(3)
    await server.stop()
    return written, closing


async def compare(store: Given, cached: bool, chunks: list[bytes], secure: bool) -> None:
    outcomes = []
    for hot in (True, False):
        server = make_server(store, cached=cached, hot=hot)
        outcomes.append(await exchange(server, chunks, secure=secure))
    assert outcomes[0] == outcomes[1]


@settings(deadline=None)
@given(stores(), st.lists(LINES, min_size=1, max_size=4), st.booleans())
def test_requests_one_by_one(
    drawn: tuple[Given, bool], requests: list[bytes], secure: bool
) -> None:
    twice = [request for request in requests for _ in range(2)]  # the second has a known head
    asyncio.run(compare(*drawn, twice, secure))


# A head that cannot be read ends its connection at once, with what is under way on it: what is
# written before it in one piece then depends on who was quicker, so none is pipelined here.
READABLE_LINES = LINES.filter(lambda request: b"bad header" not in request)


@settings(deadline=None)
@given(stores(), st.lists(READABLE_LINES, min_size=1, max_size=4), st.integers(1, 200))
def test_requests_pipelined_and_in_pieces(
    drawn: tuple[Given, bool], requests: list[bytes], step: int
) -> None:
    octets = b"".join(requests)
    chunks = [octets[start : start + step] for start in range(0, len(octets), step)]
    asyncio.run(compare(*drawn, chunks, False))
