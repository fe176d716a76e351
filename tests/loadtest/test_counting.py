from pathlib import Path

import pytest

from loadtest.counting import describe_counting, main
from loadtest.formula import Shape, make_handle, make_row
from resolver.fastpath import Choice, choose
from tests.registry.builders import open_store, put

pytestmark = pytest.mark.skipif(choose() is Choice.OFF, reason="no fast path on this system")


def test_every_answer_is_served_both_ways(tmp_path: Path) -> None:
    shape = Shape(50)
    with open_store(tmp_path / "store") as store:
        rows = {make_handle(shape, row): make_row(shape, row) for row in range(shape.rows)}
        put(store, rows, homed=[b"0.NA/88.118.5"])
    result = main(tmp_path / "store", shape.rows, pairs=3)
    assert result["pairs"] == 3
    assert result["with_ns"] > 0
    assert result["without_ns"] > 0
    assert "medians of 3 batches of 36" in describe_counting(result)


def test_a_row_that_is_not_answered_ends_the_measurement(tmp_path: Path) -> None:
    with open_store(tmp_path / "store"):
        pass
    with pytest.raises(SystemExit, match="0 of 36"):
        main(tmp_path / "store", 50, pairs=1)
