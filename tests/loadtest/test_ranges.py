from pathlib import Path

import pytest

from loadtest.formula import FULL, SHORT, Shape
from loadtest.large import store_name
from loadtest.ranges import (
    P9,
    P9_ROWS,
    available_octets,
    describe_costs,
    disk_need_octets,
    state_need,
)
from loadtest.startup import MeasurementError

SHAPE = Shape(10_000_000_000, serials=10_000)


def test_the_need_is_stated(tmp_path: Path) -> None:
    said: list[str] = []
    state_need(SHAPE, tmp_path, said.append)
    assert said[0].startswith("10,000,000,000 identifiers as 1,000,000 ranges of 10,000, 3 values")
    assert f"needs {disk_need_octets(SHAPE) / 1e9:.1f} GB of disk in {tmp_path}" in said[0]


def test_too_little_room_ends_it_before_it_starts(tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(MeasurementError, match="lacks"):
        state_need(Shape(10**18, SHORT, serials=1_000), tmp_path, said.append)
    assert said


def test_stores_that_are_kept_have_names_of_their_own() -> None:
    shapes = [Shape(20_000, SHORT), Shape(20_000), Shape(20_000, serials=10), SHAPE]
    names = [store_name(shape) for shape in shapes]
    assert names[0] == "rows-20000"  # as `make bench-100m` has named them from the beginning
    assert len({*names, store_name(Shape(20_000, SHORT, serials=10))}) == 5


def test_what_a_look_up_in_a_range_costs() -> None:
    costs = {
        ("native", P9_ROWS): [2.0, 9.0, 2.5],
        ("native", P9): [3.0, 3.0, 8.0],
        ("python", P9_ROWS): [10.0],
    }
    assert describe_costs(costs) == {
        "a look-up in a range, native": "takes 1.20 times a row's: 3.00 µs of the worker's "
        "processor time, 2.50 µs"
    }


def test_the_memory_that_is_free() -> None:
    assert available_octets("MemTotal: 9 kB\nMemAvailable:   2000 kB\n") == 2_048_000
    assert available_octets("MemTotal: 9 kB\n") == 0


def test_the_need_is_known_for_each_number_of_values() -> None:
    full, short = (disk_need_octets(Shape(1_000, values, serials=10)) for values in (FULL, SHORT))
    assert full > short
