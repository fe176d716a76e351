from pathlib import Path

import pytest

from loadtest.formula import Shape
from registry.store import Store
from resolver.fastpath import Choice, choose
from tests.loadtest.counting import describe, fill, measure

pytestmark = pytest.mark.skipif(choose() is Choice.OFF, reason="no fast path on this system")


def test_every_answer_is_served_both_ways(tmp_path: Path) -> None:
    fill(tmp_path, Shape(50))
    result = measure(tmp_path, Shape(50), pairs=3, sources=5)
    assert result["pairs"] == 3
    assert result["with_ns"] > 0
    assert result["without_ns"] > 0
    assert "medians of 3 batches of 36 each way from 5 addresses" in describe(result)


def test_a_row_that_is_not_answered_ends_the_measurement(tmp_path: Path) -> None:
    with Store.open(tmp_path, sync=False):
        pass
    with pytest.raises(RuntimeError, match="0 of 36"):
        measure(tmp_path, Shape(50), pairs=1)
