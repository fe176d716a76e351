import pytest

from protocol.errors import DecodeError
from protocol.wire import (
    LIST_ITEMS_MAX,
    Reader,
    write_i16,
    write_i32,
    write_i64,
    write_list,
    write_str,
    write_u8,
    write_u16,
    write_u32,
)


def test_numbers() -> None:
    octets = (
        write_u8(200)
        + write_i16(-2)
        + write_u16(65_534)
        + write_i32(-3)
        + write_u32(2**32 - 1)
        + write_i64(-(2**40))
    )
    reader = Reader(octets)
    assert reader.read_u8("a") == 200
    assert reader.read_i16("b") == -2
    assert reader.read_u16("c") == 65_534
    assert reader.read_i32("d") == -3
    assert reader.read_u32("e") == 2**32 - 1
    assert reader.read_i64("f") == -(2**40)
    assert reader.remaining == 0


def test_a_number_that_is_not_there() -> None:
    with pytest.raises(DecodeError, match="port needs 4 octets, 3 remain"):
        Reader(b"\0\0\0").read_i32("port")


def test_octets() -> None:
    reader = Reader(b"abc", 1)
    assert reader.read_octets(1, "x") == b"b"
    assert reader.read_rest() == b"c"
    for count in (-1, 1):
        with pytest.raises(DecodeError, match="x needs"):
            reader.read_octets(count, "x")


def test_strings_and_lists() -> None:
    octets = write_list([write_str(b"ab"), write_str(b"")])
    assert Reader(octets).read_list(lambda r: r.read_str("s"), "strings", 4) == (b"ab", b"")


@pytest.mark.parametrize("count", [-1, LIST_ITEMS_MAX + 1, 2**31 - 1])
def test_counts_out_of_range(count: int) -> None:
    with pytest.raises(DecodeError, match="allowed are 0 to 1048576"):
        Reader(write_i32(count)).read_count("values", 1)


def test_a_count_that_cannot_fit_is_refused_before_anything_is_read() -> None:
    with pytest.raises(DecodeError, match="1000 values need at least 26000 octets, 0 remain"):
        Reader(write_i32(1000)).read_count("values", 26)


def test_octets_left_over() -> None:
    reader = Reader(b"ab")
    with pytest.raises(DecodeError, match="body has 2 octets too many"):
        reader.expect_end("body")
    reader.read_rest()
    reader.expect_end("body")
