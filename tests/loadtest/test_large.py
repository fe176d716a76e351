from pathlib import Path

import pytest

from loadtest.large import disk_need_octets, disk_octets, state_need
from loadtest.startup import MeasurementError


def test_the_need_is_stated(tmp_path: Path) -> None:
    said: list[str] = []
    state_need(1_000_000, tmp_path, said.append)
    assert said[0].startswith(f"needs {disk_need_octets(1_000_000) / 1e9:.1f} GB of disk in")


def test_too_little_room_ends_it_before_it_starts(tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(MeasurementError, match="lacks"):
        state_need(10**15, tmp_path, said.append)
    assert said


def test_a_hole_takes_no_disk(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    with (tmp_path / "below" / "hole").open("wb") as file:
        file.truncate(1 << 30)
    assert disk_octets(tmp_path) < 1 << 20
