from typing import Any

import pytest

from loadtest.load import read_result, read_wrk
from loadtest.startup import MeasurementError

RESULT: dict[str, Any] = {
    "mode": "udp",
    "seconds": 2.0,
    "right": 1_000,
    "missing": 5,
    "wrong": 0,
    "lost": 1,
    "stray": 0,
    "refused": 0,
    "malformed_sent": 0,
    "malformed_answered": 0,
    "fault": "",
    "latency": {"max_ns": 9, "buckets": [[9, 1_000]]},
}
WRK: dict[str, Any] = {
    "requests": 300,
    "microseconds": 2_000_000,
    "p50_us": 1.0,
    "p99_us": 2.0,
    "p999_us": 3.0,
    "max_us": 4.0,
    "not_200": 0,
    "broken": 0,
}


def test_only_right_answers_make_the_rate() -> None:
    answers = read_result(RESULT)
    assert answers.rate == 500
    assert answers.counts["lost"] == 1
    assert answers.latency_us["max_us"] == 0.009


@pytest.mark.parametrize(
    ("change", "words"),
    [({"wrong": 1, "fault": "row 7: body length"}, "row 7"), ({"right": 0, "lost": 64}, "64 were")],
)
def test_a_wrong_answer_ends_the_benchmark(change: dict[str, Any], words: str) -> None:
    with pytest.raises(MeasurementError, match=words):
        read_result(RESULT | change)


def test_wrk() -> None:
    assert read_wrk(WRK).rate == 150
    with pytest.raises(MeasurementError, match="3 answers were not 200"):
        read_wrk(WRK | {"not_200": 3})
