from pathlib import Path

import pytest

from loadtest.formula import Shape
from loadtest.load import Tools, pinned
from loadtest.plan import SOCKETS_OPTIONS, Bench, Plan, check_cores
from loadtest.startup import MeasurementError


def test_cores() -> None:
    assert Plan(Shape(1)).both_cores == (0, 1)
    assert Plan(Shape(1), server_core=3, client_core=3).both_cores == (3,)
    assert Plan(Shape(1), client_core=None).both_cores is None


def test_words_that_pin() -> None:
    assert pinned(None) == []
    assert pinned(0) == ["taskset", "-c", "0"]
    assert pinned((0, 1)) == ["taskset", "-c", "0,1"]


def test_a_core_that_is_not_there() -> None:
    with pytest.raises(MeasurementError, match=r"core 4096|taskset"):
        check_cores(Plan(Shape(1), server_core=4096, client_core=None))


def test_what_is_asked_of_the_echo_is_asked_of_the_node(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[object, ...]] = []

    def generate(*words: object) -> object:
        asked.append(words)
        raise MeasurementError

    bench = Bench(Plan(Shape(9)), Tools(tmp_path, tmp_path), tmp_path, lambda _: None, 7)
    monkeypatch.setattr(bench, "generate", generate)
    with pytest.raises(MeasurementError):
        bench.measure("a case", "a node", 1, "udp", 8, SOCKETS_OPTIONS, Shape(5))
    assert asked == [("echo", 7, SOCKETS_OPTIONS, Shape(5))]
