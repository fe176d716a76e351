"""The fast path agrees with the readable path, octet for octet, or declines: for any request to any
store, both twins alike."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.bodies import ResolutionRequest, decode_request_body
from protocol.codes import MessageFlag, OpCode, ResponseCode
from protocol.envelope import Envelope
from protocol.errors import ProtocolError
from protocol.framing import split_datagrams
from protocol.handle import fold_handle
from protocol.header import Header
from protocol.json_forms import values_from_json
from protocol.message import Message, decode_message
from protocol.value import HandleValue, Reference, encode_values
from protocol.versions import Version
from registry.marks import Mark, State, encode_marked
from registry.schema import encode_record, folded_key
from resolver.cache import CacheEntry, cache_key
from tests.registry.builders import ADMIN, NOW_S, hidden, url
from tests.resolver.two_paths import Given, Paths, make_paths

VECTORS = Path(__file__).parents[1] / "vectors"
PUBLIC = MessageFlag.PUBLIC_ONLY
PREFIXES = (b"88.118", b"88.118.x", b"0.NA", b"0.na", b"0.TYPE", b"99", b"a" * 505, b"a" * 507)
SUFFIXES = (b"A", b"a", b"", b"x/y", b"\xc3\xa9", b"\xff", b"b" * 503, b"b" * 505, b"b" * 600)
HANDLES = st.one_of(
    st.builds(
        lambda prefix, slash, suffix: prefix + slash + suffix,
        st.sampled_from(PREFIXES[:5]) | st.sampled_from([*PREFIXES, b""]),
        st.sampled_from([b"/"] * 9 + [b""]),
        st.sampled_from(SUFFIXES[:4]) | st.sampled_from(SUFFIXES),
    ),
    st.sampled_from([b"", b"/", b"0.NA/0.NA", b"88.118"]),
)
I32 = st.integers(-(2**31), 2**31 - 1)
PERMISSIONS = st.sampled_from([0b1110] * 6 + [0b1100, 0b0000, 0b0010, 0xFF])
VALUES = st.builds(
    HandleValue,
    index=I32,
    type=st.sampled_from([b"URL", b"HS_SITE.PREFIX", b""]),
    data=st.binary(max_size=40) | st.sampled_from([bytes(300), bytes(492), bytes(9_000)]),
    permission=PERMISSIONS,
    ttl=I32,
    ttl_type=st.integers(0, 255),
    references=st.lists(st.builds(Reference, st.binary(max_size=9), I32), max_size=2).map(tuple),
)
RECORDS = st.dictionaries(HANDLES, st.lists(VALUES, max_size=4), max_size=4)
VERSIONS = st.one_of(
    st.just(Version(2, 10)),
    st.builds(Version, st.just(2), st.integers(0, 255)),
    st.builds(Version, st.integers(0, 255), st.integers(0, 255)),
)
SUGGESTED = st.builds(Version, st.sampled_from([2, 2, 2, 0, 1, 3]), st.integers(0, 12))
ODD_FLAGS = st.sets(st.integers(0, 31).map(lambda bit: 1 << bit), max_size=3).map(sum)
PLAIN_FLAGS = st.sampled_from([PUBLIC, PUBLIC, 0, PUBLIC | MessageFlag.CACHE_CERTIFY])


def plain(draw: Callable[[st.SearchStrategy[int]], int], usual: int, odd: int) -> int:
    """Draw the usual number, one time in ten an odd one."""
    return draw(st.sampled_from([usual] * 9 + [odd]))


@st.composite
def requests(draw: st.DrawFn, handles: st.SearchStrategy[bytes] = HANDLES) -> bytes:
    """Draw a request, most of them plain, some damaged."""
    envelope = Envelope(
        draw(VERSIONS),
        draw(SUGGESTED),
        plain(draw, 0, draw(st.sampled_from([0x80, 0x40, 0x20, 0x04]))),
        plain(draw, 0, draw(I32)),
        draw(I32),
        0,
        0,
    )
    header = Header(
        plain(draw, OpCode.RESOLUTION, draw(st.sampled_from([0, 2, 100, 105, 200, 300, 7, -1]))),
        plain(draw, 0, 1),
        draw(PLAIN_FLAGS) | plain(draw, 0, draw(ODD_FLAGS)),
        draw(I32),
        draw(st.integers(0, 0xFFFF)),
        draw(st.integers(0, 255)),
        draw(st.integers(0, 255)),
    )
    unfiltered = draw(st.sampled_from([True] * 9 + [False]))
    body = ResolutionRequest(
        draw(handles),
        () if unfiltered else tuple(draw(st.lists(I32, max_size=2))),
        () if unfiltered else tuple(draw(st.lists(st.sampled_from([b"URL", b"HS_"]), max_size=2))),
    )
    credential = draw(st.sampled_from([b""] * 5 + [b"odd"]))
    octets = Message(envelope, header, body.encode(), credential).encode()
    return damaged(draw, octets)


def damaged(draw: st.DrawFn, octets: bytes) -> bytes:
    """Cut, lengthen or change some octets of one in five."""
    how = draw(st.sampled_from(["whole"] * 16 + ["cut", "longer", "changed", "no credential"]))
    at = draw(st.integers(0, max(len(octets) - 1, 0)))
    if how == "cut":
        return octets[:at]
    if how == "longer":
        return octets + draw(st.binary(min_size=1, max_size=9))
    if how == "changed":
        octet = draw(st.sampled_from([0, 1, 2, 0x7F, 0x80, 0xFF]))
        return octets[:at] + bytes([octet]) + octets[at + 1 :]
    if how == "no credential" and len(octets) > 24 and octets.endswith(bytes(4)):
        return octets[:16] + (len(octets) - 24).to_bytes(4, "big") + octets[20:-4]
    return octets


@st.composite
def stores(draw: st.DrawFn) -> Paths:
    """Draw a node with records of its own, some of their rows damaged."""
    case_sensitive = draw(st.booleans())
    rows = {}
    for handle, values in draw(RECORDS).items():
        folded = fold_handle(handle, case_sensitive=case_sensitive)
        row = encode_record(values, folded)
        if draw(st.integers(0, 5)) == 0:
            row = encode_marked(Mark(draw(st.sampled_from(State)), NOW_S, ADMIN, "why"), row)
        rows[folded_key(folded)] = damaged(draw, row)
    markers = [b"0.NA/0.NA", b"0.NA/0.NA/88", b"0.NA/88.118", b"0.NA/0.TYPE"]
    homed = {b"0.NA/88.118", *draw(st.sets(st.sampled_from(markers)))}
    if draw(st.integers(0, 9)) == 0:
        homed.remove(b"0.NA/88.118")
    keys = frozenset(folded_key(fold_handle(prefix)) for prefix in homed)
    return make_paths(Given(rows, keys, case_sensitive=case_sensitive))


@st.composite
def caches(draw: st.DrawFn) -> Paths:
    """Draw a recursive node with a cache, some of its rows damaged."""
    rows = {}
    for handle, values in draw(RECORDS).items():
        code = plain(draw, ResponseCode.SUCCESS, draw(st.sampled_from([100, 200, 301])))
        entry = CacheEntry(
            code,
            NOW_S - 5,
            NOW_S + plain(draw, 5, draw(st.integers(-2, 2))),
            encode_values(values) if code == ResponseCode.SUCCESS else b"",
            words=b"words",
            is_stale=bool(plain(draw, 0, 1)),
            is_authoritative=draw(st.booleans()),
        )
        rows[cache_key(handle)] = damaged(draw, entry.encode(handle))
    return make_paths(Given(rows), cached=True)


@settings(max_examples=300, deadline=None)
@given(stores(), st.lists(requests(), min_size=1, max_size=20))
def test_of_its_own_records(paths: Paths, datagrams: list[bytes]) -> None:
    paths.check(datagrams)


@settings(max_examples=150, deadline=None)
@given(caches(), st.lists(requests(), min_size=1, max_size=20))
def test_of_a_cache(paths: Paths, datagrams: list[bytes]) -> None:
    paths.check(datagrams)


@settings(max_examples=50, deadline=None)
@given(caches() | stores(), st.lists(st.binary(max_size=120), max_size=64))
def test_of_noise(paths: Paths, datagrams: list[bytes]) -> None:
    assert paths.check(datagrams) == sum(paths.readable(each) == [] for each in datagrams)


HANDLE = b"88.118/a"
ASK = ResolutionRequest(HANDLE)


def asked(flags: int = PUBLIC, body: ResolutionRequest = ASK, credential: bytes = b"") -> bytes:
    envelope = Envelope(Version(2, 10), Version(2, 10), 0, 0, 7, 0, 0)
    return Message(envelope, Header(1, 0, flags, 0), body.encode(), credential).encode()


def every_change(octets: bytes) -> list[bytes]:
    """Return every truncation, and every octet changed in several ways."""
    changed = [octets[:at] for at in range(len(octets))]
    for at, octet in enumerate(octets):
        for other in (0, 1, 2, 0x7F, 0x80, 0xFF, octet ^ 1, octet ^ 0x20, octet + 1 & 0xFF):
            changed.append(octets[:at] + bytes([other]) + octets[at + 1 :])
    return [*changed, octets + b"\0", octets + bytes(4)]


def holding(*values: HandleValue, row: bytes | None = None, cached: bool = False) -> Paths:
    folded = fold_handle(HANDLE, case_sensitive=cached)
    if row is None and cached:
        entry = CacheEntry(ResponseCode.SUCCESS, NOW_S, NOW_S + 9, encode_values(values))
        row = entry.encode(HANDLE)
    row = encode_record(values, folded) if row is None else row
    return make_paths(Given({folded: row}, frozenset({b"0.NA/88.118"})), cached=cached)


@pytest.mark.parametrize("cached", [False, True])
def test_of_every_change_of_a_request(cached: bool) -> None:
    paths = holding(url(), url(2), cached=cached)
    answered = 0
    for datagram in (asked(), asked(0, credential=b"odd")):
        assert paths.check([datagram]) == 1
        changed = every_change(datagram)
        for start in range(0, len(changed), 64):
            answered += paths.check(changed[start : start + 64])
    assert answered > 100  # request ids, versions, expiration and so on change nothing


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("at", [40, 44])
def test_of_lengths_that_lie(cached: bool, at: int) -> None:
    paths = holding(url(), cached=cached)
    whole = asked()
    lies = [25, 80, 2**31 - 1, -1, -(2**31)]
    damaged = [whole[:at] + lie.to_bytes(4, "big", signed=True) + whole[at + 4 :] for lie in lies]
    assert paths.check(damaged) == len(lies)
    refused = [answer for each in damaged for answer in paths.readable(each) or ()]
    # A header with a negative length cannot be read, and is met with silence.
    assert len(refused) == (3 if at == 40 else 5)
    assert all(decode_message(each).header.response_code == 4 for each in refused)


@pytest.mark.parametrize("flags", [PUBLIC, 0])
@pytest.mark.parametrize("cached", [False, True])
def test_of_every_change_of_a_row(cached: bool, flags: int) -> None:
    values = (url(), url(2, data=b"")) if cached else (hidden(5), url(), hidden(6), url(2))
    paths = holding(*values, cached=cached)
    assert paths.check([asked(flags)]) == (1 if cached or flags else 0)
    ((_, row),) = paths.given.rows.items()
    for changed in every_change(row):
        holding(row=changed, cached=cached).check([asked(flags)])


@pytest.mark.parametrize("flags", [PUBLIC, 0])
@pytest.mark.parametrize("state", State)
def test_of_what_is_marked_the_readable_path_answers(state: State, flags: int) -> None:
    mark = Mark(state, NOW_S, ADMIN, "printed twice")
    paths = holding(row=encode_marked(mark, encode_record((url(), url(2)), HANDLE)))
    assert paths.check([asked(flags)]) == 0
    (answer,) = paths.readable(asked(flags)) or [b""]
    message = decode_message(answer)
    if state == State.FROZEN:
        (plain,) = holding(url(), url(2)).readable(asked(flags)) or [b""]
        assert answer == plain
    else:
        assert message.header.response_code == ResponseCode.HANDLE_NOT_FOUND
        assert (b": printed twice" in message.body) == (state == State.REVOKED)


@pytest.mark.parametrize("octets", [0, 1, *range(380, 440), *range(860, 930), 30_000, 100_000])
def test_of_every_length_of_an_answer(octets: int) -> None:
    paths = holding(url(data=bytes(octets)))
    assert paths.check([asked()]) == (1 if octets <= 30_000 else 0)
    answered = paths.check([asked()] * 64)
    assert answered == (0 if octets > 30_000 else 8 if octets == 30_000 else 64)


def test_of_recorded_requests() -> None:
    boot = json.loads((VECTORS / "boot.json").read_text(encoding="utf-8"))
    rows = {}
    for handle, record in boot["handleRecords"].items():
        folded = fold_handle(handle.encode())
        rows[folded] = encode_record(values_from_json(record["values"]), folded)
    homed = frozenset(fold_handle(each.encode()) for each in boot["homedPrefixes"])
    paths = make_paths(Given(rows, homed))
    lines = (VECTORS / "messages.jsonl").read_text(encoding="utf-8").splitlines()
    recorded = [bytes.fromhex(json.loads(line)["bytes"]) for line in lines]
    answered = 0
    for octets in recorded:
        answered += paths.check(split_datagrams(octets))
        answered += paths.check([simplified(octets)])
    assert answered == 20  # what else was recorded changes something, or has no plain row


def simplified(octets: bytes) -> bytes:
    """Return a recorded request without the flags and filters that the fast path declines."""
    try:
        message = decode_message(octets)
    except ProtocolError:
        return octets
    if message.header.opcode != OpCode.RESOLUTION or message.header.response_code:
        return octets
    flags = message.header.flags & ~(MessageFlag.CERTIFY | MessageFlag.REQUEST_DIGEST) | PUBLIC
    body = decode_request_body(1, message.body, message.envelope.version)
    assert isinstance(body, ResolutionRequest)
    header = replace(message.header, flags=flags)
    plain_body = ResolutionRequest(body.handle).encode()
    return replace(message, header=header, body=plain_body).encode()
