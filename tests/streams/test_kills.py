"""Killed in the middle of a stream; `make soak` does it two hundred times."""

import random
from pathlib import Path

from tests.streams import kills
from tests.streams.kills import KINDS, SEED, expected_verdict, victims

KILLS = 12


def test_kills_in_the_middle_of_a_stream_lose_and_double_nothing(tmp_path: Path) -> None:
    count, killed = kills.run(tmp_path, KILLS)
    assert killed.total() == KILLS
    assert all(killed[kind] for kind in KINDS), killed
    assert count > 500 * KILLS


def test_the_lot_has_all_kinds_of_victims() -> None:
    drawn = list(victims(200, random.Random(SEED)))
    assert all(drawn.count(kind) >= 40 for kind in KINDS)


def test_rows_have_all_kinds_of_verdicts() -> None:
    found = {expected_verdict(number) for number in range(1, 101)}
    assert found == {"created", "replaced", "unchanged", "refused", "deleted"}
