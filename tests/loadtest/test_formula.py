from loadtest.formula import SHORT, Shape, make_handle, make_row, mix

SHAPE = Shape(1_000_000)


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


def test_rows_and_their_values_differ() -> None:
    data = [value.data for row in range(1_000) for value in make_row(SHAPE, row)]
    assert len(set(data)) == len(data)


def test_the_short_shape_has_the_last_value_only() -> None:
    (value,) = make_row(Shape(10, SHORT), 7)
    assert (value.index, value.type) == (1, b"SERIAL")
    assert value.data == make_row(SHAPE, 7)[2].data
