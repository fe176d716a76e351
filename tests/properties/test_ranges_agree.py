"""The fast path answers for an identifier in a range as if it had a row of its own, or declines."""

from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.bodies import ResolutionRequest
from protocol.handle import fold_handle
from protocol.value import HandleValue, Reference, encode_values
from registry.errors import RecordError
from registry.marks import Mark, State, encode_marked
from registry.range_records import (
    Patch,
    RangeRecord,
    encode_range,
    find_held,
    holds,
    range_key,
    seek_keys,
    split_identifier,
)
from registry.schema import encode_record
from resolver.fastpath import Choice
from tests.properties.test_fastpath_agrees import VALUES, asked, damaged, every_change, requests
from tests.registry.builders import NOW_S, hidden, url
from tests.resolver.two_paths import TWINS, Given, Paths, make_paths

HOMED = frozenset({b"0.NA/88.118", b"0.NA/0.TYPE"})
STEMS = st.sampled_from([b"88.118/", b"88.118/LOT.", b"88.118/lot.", b"0.type/", b"99/"])
DIGITS = st.text("0159", min_size=1, max_size=3).map(str.encode)
RANGE_VALUE = HandleValue(
    1_002, b"RANGE", b"88.118/lot.000..999", 0b1010, references=(Reference(b"88.118/a", 300),)
)
PUBLIC_VALUES = st.lists(VALUES.filter(lambda value: value.is_public), max_size=2).map(
    lambda values: [url(data=b"https://example.com/000/000"), *values, RANGE_VALUE]
)
HANDLES = st.builds(
    lambda stem, digits, end: stem + digits + end,
    STEMS,
    DIGITS,
    st.sampled_from([b""] * 8 + [b"X", b"x1", "é".encode()]),
)


@st.composite
def range_records(draw: st.DrawFn, first: bytes) -> bytes:
    """Draw the record of a range that begins with a tail; now and then a damaged one."""
    octets = len(first)
    public = encode_values(draw(PUBLIC_VALUES))
    at = public.index(b"000/000")
    length = draw(st.integers(0, min(octets, 3)))
    start = draw(st.integers(0, octets - length))
    patches = [Patch(at, start, length), Patch(at + 4, start, length)]
    # Anywhere, also over lengths: what comes of it need not be a list of values.
    odd = Patch(draw(st.integers(0, len(public) - length)), start, length)
    patches += draw(st.sampled_from([[]] * 4 + [[odd]]))
    record = encode_range(RangeRecord(first, public, tuple(patches)))
    return damaged(draw, record) if draw(st.integers(0, 3)) == 0 else record


@st.composite
def nodes(draw: st.DrawFn) -> Paths:
    """Draw a node with ranges, and rows within them and beside them."""
    case_sensitive = draw(st.booleans())
    ranges = {}
    least: dict[tuple[bytes, int], bytes] = {}  # where the next range of a stem may begin
    for stem, last in sorted(draw(st.sets(st.tuples(STEMS, DIGITS), max_size=8))):
        folded = fold_handle(stem, case_sensitive=case_sensitive)
        first = least.get((folded, len(last)), b"0" * len(last))
        if first <= last:
            ranges[range_key(folded, last)] = draw(
                range_records(draw(st.sampled_from([first, last])))
            )
            least[folded, len(last)] = b"%0*d" % (len(last), int(last) + 1)
    rows = {}
    for handle in draw(st.sets(HANDLES, max_size=3)):
        folded = fold_handle(handle, case_sensitive=case_sensitive)
        row = encode_record(draw(st.lists(VALUES, max_size=2)), folded)
        mark = Mark(draw(st.sampled_from(State)), NOW_S, Reference(b"88.118/a", 300))
        rows[folded] = draw(st.sampled_from([row, row, encode_marked(mark, b"")]))
    return make_paths(Given(rows, HOMED, ranges=ranges, case_sensitive=case_sensitive))


def expected_row(node: Given, handle: bytes) -> bytes | None:
    """Return the row of a handle, of its own or of its range; b"" for a damaged range."""
    folded = fold_handle(handle, case_sensitive=node.case_sensitive)
    try:
        return node.rows.get(folded) or node.row_in_range(folded)
    except RecordError:
        return b""


@settings(max_examples=100, deadline=None)
@given(nodes(), st.lists(HANDLES, min_size=1))
def test_it_is_as_if_each_had_a_row(paths: Paths, handles: list[bytes]) -> None:
    """Both paths find in ranges what they find in rows that say the same."""
    node = paths.given
    found = {handle: expected_row(node, handle) for handle in handles}
    rows = {fold_handle(each, case_sensitive=node.case_sensitive): found[each] for each in handles}
    given_rows = {key: row for key, row in rows.items() if row}
    without = make_paths(Given(given_rows, HOMED, case_sensitive=node.case_sensitive))
    datagrams = [asked(0, ResolutionRequest(handle)) for handle in handles if found[handle] != b""]
    assert [paths.readable(each) for each in datagrams] == [
        without.readable(each) for each in datagrams
    ]


@settings(max_examples=400, deadline=None)
@given(nodes(), st.lists(requests(HANDLES), min_size=1, max_size=20))
def test_of_identifiers_in_ranges_and_beside_them(paths: Paths, datagrams: list[bytes]) -> None:
    paths.check(datagrams)


LOT = b"88.118/LOT."
VALUE_LIST = encode_values([url(data=b"https://example.com/000"), RANGE_VALUE])
RECORD = RangeRecord(b"100", VALUE_LIST, (Patch(VALUE_LIST.index(b"/000") + 1, 0, 3),))


def holding(record: bytes, key: bytes = range_key(LOT, b"899")) -> Paths:
    return make_paths(Given({}, HOMED, ranges={key: record}))


def ask(paths: Paths, *handles: bytes, flags: int = 0) -> int:
    return paths.check([asked(flags, ResolutionRequest(handle)) for handle in handles])


def test_every_identifier_of_a_range_is_answered() -> None:
    paths = holding(encode_range(RECORD))
    handles = [b"88.118/lot.%03d" % number for number in range(90, 910)]
    answered = sum(ask(paths, *handles[at : at + 41]) for at in range(0, len(handles), 41))
    assert answered == len(handles)
    (sent,) = paths.fast(paths.batch(TWINS[-1]), [asked(0, ResolutionRequest(LOT + b"777"))])
    assert sent is not None
    assert b"https://example.com/777" in sent[0]


def test_every_change_of_a_record_and_of_a_key() -> None:
    record, key = encode_range(RECORD), range_key(LOT, b"899")
    handles = (b"88.118/lot.123", b"88.118/lot.12X", b"88.118/lot.099")
    assert ask(holding(record), *handles) == 3
    for changed in every_change(record)[::3]:
        ask(holding(changed), *handles)
    for changed in every_change(key):
        if changed:
            ask_fast_only(record, changed, handles)


def ask_fast_only(record: bytes, key: bytes, handles: tuple[bytes, ...]) -> None:
    """Hold the twins to each other and to `find_held`: a damaged key names no range to expand."""
    paths = make_paths(Given({}, HOMED, ranges={key: record}))
    datagrams = [asked(0, ResolutionRequest(handle)) for handle in handles]
    outcomes = [paths.fast(paths.batch(twin), datagrams) for twin in TWINS]
    assert all(outcome == outcomes[0] for outcome in outcomes)
    for handle, sent in zip(handles, outcomes[0], strict=True):
        folded = fold_handle(handle)
        is_found = key >= seek_keys([folded])[0] and find_held(folded, (key, record)) is not None
        assert sent is not None
        assert is_found == (b"example.com" in sent[0])


@pytest.mark.parametrize(
    "record",
    [
        replace(RECORD, details={"values": []}),
        replace(RECORD, checked=True),
        replace(RECORD, public=encode_values([])),
        replace(RECORD, public=encode_values([hidden(3)])),
        replace(RECORD, public=encode_values([url(data=bytes(40_000))])),
        replace(RECORD, patches=(Patch(len(VALUE_LIST) - 2, 0, 3),)),
        replace(RECORD, patches=(Patch(0, 1, 3),)),
        replace(RECORD, patches=(Patch(0, 0, 3),)),
    ],
)
@pytest.mark.parametrize("twin", TWINS)
def test_a_range_that_is_not_plain_is_the_readable_paths(twin: Choice, record: RangeRecord) -> None:
    paths = holding(encode_range(record))
    assert paths.fast(paths.batch(twin), [asked(0, ResolutionRequest(LOT + b"500"))]) == [None]


@pytest.mark.parametrize("octets", [0, *range(380, 440), 30_000])
def test_answers_of_every_length(octets: int) -> None:
    public = encode_values([url(data=bytes(octets) + b"000")])
    patch = Patch(public.rindex(b"000\0\0\0\0"), 0, 3)
    paths = holding(encode_range(RangeRecord(b"000", public, (patch,))))
    assert ask(paths, LOT + b"123", LOT + b"124") == 2


OCTETS = st.binary(max_size=6) | st.sampled_from([b"A" * 470, b"1" * 33, b"1" * 32, b"9" * 31])
IDENTIFIERS = st.builds(
    lambda parts, digits, end: b"a/" + b"".join(parts) + digits + end,
    st.lists(OCTETS, max_size=2),
    DIGITS,
    st.sampled_from([b"", b"X", b"XY", b"/"]),
).filter(lambda octets: len(octets) <= 511)


@settings(max_examples=500)
@given(st.lists(IDENTIFIERS, max_size=5))
def test_where_ranges_are_sought(keys: list[bytes]) -> None:
    parts = [split_identifier(key) for key in keys]
    expected = [range_key(*each) for each in parts if each is not None]
    for twin in TWINS:
        sought = Sought({})
        batch = make_paths(sought).batch(twin)
        assert batch.find_nearest(cast("Any", sought), "ranges", keys, [None] * len(keys)) == [
            None
        ] * len(keys)
        assert sought.keys == expected


class Sought(Given):
    """A store without ranges that knows which were sought."""

    def __init__(self, rows: dict[bytes, bytes]) -> None:
        super().__init__(rows)
        self.keys: list[bytes] = []

    def cursor(self, db: Any = None) -> Any:
        return self

    def set_range(self, key: bytes) -> bool:
        self.keys.append(key)
        return False

    def item(self) -> tuple[bytes, bytes]:
        raise AssertionError("nothing was found")


def test_a_stem_with_a_zero_octet_is_not_taken_for_another() -> None:
    # The key of a range under `a/<00><05>AB` with tails of one digit ends in five octets that look
    # like a tail of `a/`.
    key = range_key(b"88.118/\0\x05" + b"1A", b"9")
    record = encode_range(RangeRecord(b"0", VALUE_LIST))
    folded = b"88.118/" + b"12345"
    assert key[: -len(b"12345")] == range_key(b"88.118/", b"12345")[:-5]
    assert not holds(range_key(b"88.118/", b"12345"), b"12345", key, record)
    assert find_held(folded, (key, record)) is None
    assert ask(make_paths(Given({}, HOMED, ranges={key: record})), folded) == 1
