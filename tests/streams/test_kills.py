"""Killed in the middle of a stream: its writer 200 times, nodes some (`make soak`: 200 times)."""

import json
import random
import subprocess
import sys
from pathlib import Path

from tests.nodes import ROOT
from tests.streams import kills
from tests.streams.kills import KINDS, SEED, expected_verdict, victims

KILLS = 12


def test_kills_in_the_middle_of_a_stream_lose_and_double_nothing(tmp_path: Path) -> None:
    count, killed = kills.run(tmp_path, KILLS)
    assert killed.total() == KILLS
    assert all(killed[kind] for kind in KINDS), killed
    assert count > 500 * KILLS


def test_two_hundred_kills_of_the_writer_lose_and_double_nothing(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "tests.streams.writer_kills", str(tmp_path / "store")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["kills"] == 200
    assert told["amid"] > 50  # else the machine was too slow for any of this to be in the middle
    assert told["rows"] > 500


def test_the_lot_has_all_kinds_of_victims() -> None:
    drawn = list(victims(200, random.Random(SEED)))
    assert all(drawn.count(kind) >= 40 for kind in KINDS)


def test_rows_have_all_kinds_of_verdicts() -> None:
    found = {expected_verdict(number) for number in range(1, 101)}
    assert found == {"created", "replaced", "unchanged", "refused", "deleted"}
