from pathlib import Path

import pytest

from loadtest.bench import P1
from loadtest.formula import Shape
from loadtest.large import (
    P8,
    describe_ratios,
    disk_need_octets,
    shapes_of,
    state_need,
    system_words,
)
from loadtest.load import Tools
from loadtest.plan import Bench, Plan
from loadtest.report import Sample
from loadtest.startup import MeasurementError
from loadtest.stores import MARKER, disk_octets, store_name

LOTS = Shape(2_000_000, serials=1_000, lots=True)


def test_the_need_is_that_of_stores_not_there_yet(tmp_path: Path) -> None:
    shapes = shapes_of(2_000_000, 1_000)
    assert shapes == [Shape(1_000_000, serials=1_000, lots=True), LOTS, Shape(1_000_000)]
    said: list[str] = []
    state_need(shapes, tmp_path, said.append)
    assert said[0].startswith(f"needs {disk_need_octets(shapes) / 1e9:.1f} GB of disk in")
    assert said[0].endswith("0 of 3 are there from before")
    built = tmp_path / store_name(LOTS)
    built.mkdir()
    (built / MARKER).touch()
    state_need(shapes, tmp_path, said.append)
    others = disk_need_octets([shape for shape in shapes if shape != LOTS])
    assert said[1].startswith(f"needs {others / 1e9:.1f} GB")
    assert others < disk_need_octets(shapes)


def test_a_small_run_has_each_store_once() -> None:
    assert shapes_of(20_000, 1_000) == [Shape(20_000, serials=1_000, lots=True), Shape(20_000)]


def test_rows_are_whole_lots() -> None:
    with pytest.raises(MeasurementError, match="are not whole lots of 3,000"):
        shapes_of(3_000_000, 3_000)


def test_too_little_room_ends_it_before_it_starts(tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(MeasurementError, match="lacks"):
        state_need([Shape(10**15, serials=1_000, lots=True)], tmp_path, said.append)
    assert said


def test_p8_is_said_beside_both_ratios(tmp_path: Path) -> None:
    small, large, plain = shapes_of(100_000_000, 1_000)
    bench = Bench(Plan(large), Tools(tmp_path, tmp_path), tmp_path, print)
    for shape, ratio in ((small, 0.8), (large, 0.6), (plain, 0.75)):
        case = P8 if shape.lots else P1
        bench.samples.append(Sample(case, system_words(shape), 1, 1e5, ratio))
    assert describe_ratios(bench, [small, large, plain]) == {
        "P8, of the same at 1 M": "0.75: 0.600 of the echo with 100,000,000 rows in lots, 0.800 "
        "with 1,000,000",
        "P8, of P1": "0.80: 0.600 of the echo with 100,000,000 rows in lots, 0.750 with 1,000,000 "
        "plain rows of 3 values and uniform keys",
    }


def test_a_hole_takes_no_disk(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    with (tmp_path / "below" / "hole").open("wb") as file:
        file.truncate(1 << 30)
    assert disk_octets(tmp_path) < 1 << 20
