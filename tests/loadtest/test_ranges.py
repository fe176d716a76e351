from pathlib import Path

import pytest

from loadtest.formula import FULL, SHORT, Shape
from loadtest.ranges import (
    ALIKE,
    P1,
    P9,
    available_octets,
    case_of,
    describe_costs,
    describe_ratios,
    disk_need_octets,
    kinds_of,
    state_need,
)
from loadtest.report import Sample
from loadtest.startup import MeasurementError
from loadtest.stores import store_name
from loadtest.wholeness import Checked, describe_checked, own_octets

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
        ("native", P1): [5.0, 5.0, 5.0],
        ("native", ALIKE): [2.0, 9.0, 2.5],
        ("native", P9): [3.0, 3.0, 8.0],
        ("python", ALIKE): [10.0],
    }
    words = {"a look-up in a range, native": "takes 1.20 times a row's: 3.00 µs of the worker's "
             "processor time, 2.50 µs"}  # fmt: skip
    assert describe_costs(costs, ALIKE) == words
    assert "0.60 times" in describe_costs(costs, P1)["a look-up in a range, native"]


def sample(case: str, run: int, rate: float, echo: float) -> Sample:
    return Sample(case, "native", run, rate, rate / echo)


def test_how_fast_ranges_are_beside_p1() -> None:
    samples = [
        sample(P1, 1, 100.0, 200.0), sample(P9, 1, 80.0, 200.0),
        sample(P1, 2, 100.0, 200.0), sample(P9, 2, 45.0, 100.0),
        sample(P1, 3, 100.0, 200.0), sample(P9, 3, 70.0, 200.0),
        sample(ALIKE, 1, 300.0, 200.0),
    ]  # fmt: skip
    assert describe_ratios(samples) == {
        "P9 beside P1, native": "0.70 of P1's answers a second (0.80, 0.45, 0.70 by run), 0.80 "
        "with the echo beside each; the target is 0.5"
    }


def test_ranges_of_one_value_have_rows_of_one_beside_them_too() -> None:
    short = Shape(20_000, SHORT, serials=10)
    assert [case_of(Shape(9, values)) for values in kinds_of(short)] == [P1, ALIKE]
    assert [case_of(Shape(9, values)) for values in kinds_of(SHAPE)] == [P1]
    assert case_of(short) == case_of(SHAPE) == P9


def test_what_verifying_took_in_words() -> None:
    words = describe_checked(Checked("all is well", 12.0, 50_000_000), SHAPE)
    assert words == "all is well; in 12 s, 12.0 µs a range, with at most 50 MB of its own memory"


def test_the_memory_that_is_free() -> None:
    assert available_octets("MemTotal: 9 kB\nMemAvailable:   2000 kB\n") == 2_048_000
    assert available_octets("MemTotal: 9 kB\n") == 0
    assert own_octets("VmRSS: 9 kB\nRssAnon:\t   3 kB\n") == 3_072
    assert own_octets("") == 0


def test_the_need_is_known_for_each_number_of_values() -> None:
    full, short = (disk_need_octets(Shape(1_000, values, serials=10)) for values in (FULL, SHORT))
    assert full > short
