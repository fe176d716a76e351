import pytest

from loadtest.formula import (
    SHORT,
    UNLIKE,
    UNLIKE_LEAST,
    UNLIKE_MOST,
    UNLIKE_TYPES,
    Shape,
    make_handle,
    make_row,
    mix,
)
from protocol.value import HandleValue, encode_values

SHAPE = Shape(1_000_000)
# Envelope, header, the handle's length, an empty credential.
AROUND_OCTETS = 20 + 24 + 4 + 4
DATAGRAM_OCTETS = 512
PREFIX = "p" * 20  # the longest that the unlike shape takes


def test_mix_is_splitmix64() -> None:
    # The first two outputs of the reference implementation seeded with 0.
    assert mix(0, 0) == "e220a8397b1dcdaf"
    assert mix(0x9E3779B97F4A7C15 // 4, 1) == "6e789e6aa1b965f4"


def test_a_row() -> None:
    assert make_handle(SHAPE, 42) == b"88.118.5/P0000000042"
    values = make_row(SHAPE, 42)
    assert [(value.index, value.type) for value in values] == [
        (1, b"URL"),
        (2, b"DESC"),
        (3, b"SERIAL"),
    ]
    assert b"0000000042" in values[0].data
    assert b"0000000042" in values[1].data


@pytest.mark.parametrize("shape", [SHAPE, Shape(1_000_000, UNLIKE)])
def test_rows_and_their_values_differ(shape: Shape) -> None:
    data = [value.data for row in range(1_000) for value in make_row(shape, row)]
    assert len(set(data)) == len(data)


def test_the_short_shape_has_the_last_value_only() -> None:
    (value,) = make_row(Shape(10, SHORT), 7)
    assert (value.index, value.type) == (1, b"SERIAL")
    assert value.data == make_row(SHAPE, 7)[2].data


def test_identifiers_of_ranges() -> None:
    shape = Shape(3_000, serials=1_000)
    assert (shape.ranges, shape.records, SHAPE.ranges, SHAPE.records) == (3, 3, 0, 1_000_000)
    assert make_handle(shape, 2_042) == b"88.118.5/R00000002.042"
    *values, origin = make_row(shape, 2_042)
    assert all(b"042" in value.data for value in values)
    assert (origin.index, origin.data) == (1_002, b"88.118.5/R00000002.000..999")
    assert make_row(shape, 2_999)[-1] == origin
    data = [value.data for row in range(990, 1_010) for value in make_row(shape, row)[:-1]]
    assert len(set(data)) == len(data)
    words = "3,000 identifiers as 3 ranges of 1,000, 3 values and the RANGE value, 292 octets"
    assert shape.words().startswith(words)
    (value, _) = make_row(Shape(3_000, SHORT, serials=1_000), 2_042)
    assert value.data == values[2].data
    assert make_handle(Shape(12, serials=12), 11) == b"88.118.5/R00000000.11"


def test_identifiers_of_lots() -> None:
    shape, ranges = Shape(3_000, serials=1_000, lots=True), Shape(3_000, serials=1_000)
    assert (shape.ranges, shape.records) == (0, 3_000)
    assert make_handle(shape, 2_042) == b"88.118.5/L00000002.042"
    template, version, *values = make_row(shape, 2_042)
    assert (template.index, template.data) == (1_000, b"88.118.5:part")
    assert (version.index, version.data) == (1_001, b"1")
    assert [value.index for value in values] == [2_000, 2_001, 2_002]
    like = make_row(ranges, 2_042)[:-1]
    assert [(each.type, each.data) for each in values] == [(each.type, each.data) for each in like]
    words = "3,000 rows made from a template in lots of 1,000, 3 values and two that name the"
    assert shape.words().startswith(words)
    assert AROUND_OCTETS + shape.row_octets(0) <= DATAGRAM_OCTETS


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_every_unlike_row_fits_a_datagram(count: int) -> None:
    most = UNLIKE_MOST[count - 1]
    texts = zip(UNLIKE_TYPES[:count], [b"x" * most] * count, strict=True)
    values = [HandleValue(1, type_.encode(), text) for type_, text in texts]
    handle = make_handle(Shape(1, UNLIKE, PREFIX), 0)
    assert AROUND_OCTETS + len(handle) + len(encode_values(values)) <= DATAGRAM_OCTETS
    assert most <= 255  # a TXT string
    rows = (make_row(Shape(1, UNLIKE), row) for row in range(4_000))
    lengths = {len(value.data) for row in rows if len(row) == count for value in row}
    assert (min(lengths), max(lengths)) == (UNLIKE_LEAST, most)


def test_unlike_rows_are_unlike() -> None:
    shape = Shape(1_000, UNLIKE)
    answers = [AROUND_OCTETS + shape.row_octets(row) for row in range(shape.rows)]
    assert min(answers) < 150
    assert max(answers) > 470
    alike = sum(answers[row] == answers[row + 1] for row in range(shape.rows - 1))
    assert alike < 20
    assert {len(make_row(shape, row)) for row in range(shape.rows)} == {1, 2, 3, 4}


def test_a_shape_in_words() -> None:
    assert Shape(1_000_000).words() == "1,000,000 rows of 3 values, 226 octets with the handle"
    unlike = Shape(1_000_000, UNLIKE).words()
    assert "1 to 4 values of unlike lengths, 281 octets" in unlike
    assert unlike.endswith("on average")
