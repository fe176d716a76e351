import json
from pathlib import Path

import pytest

from loadtest.histogram import Histogram
from loadtest.report import Sample, make_report, summarize, to_markdown, write_report


def sample(run: int, rate: float, ratio: float | None, ns: int = 1_000) -> Sample:
    histogram = Histogram({64: 100}, ns)
    return Sample("P1", "ours", run, rate, ratio, {"lost": run}, {}, histogram)


def test_a_line_has_median_extremes_and_the_median_ratio() -> None:
    samples = [sample(1, 100, 0.5), sample(2, 300, 0.4), sample(3, 200, 0.9)]
    other = Sample("P2", "ours", 1, 7, None, {}, {"p99_us": 3.0})
    first, second = summarize([samples[0], other, *samples[1:]])
    assert (first.rate_median, first.rate_least, first.rate_most) == (200, 100, 300)
    assert first.ratio_median == 0.5
    assert first.spread == pytest.approx(1.0)
    assert first.lost == 6
    assert second.ratio_median is None
    assert second.latency_us == {"p99_us": 3.0}


def test_the_report_names_what_a_figure_depends_on(tmp_path: Path) -> None:
    report = make_report([sample(1, 123_456, 0.71)], {"rows": "three", "TLS": "none"}, {})
    assert {"date", "machine", "versions", "commit", "setup"} <= report.keys()
    assert report["versions"]["python"]
    page = to_markdown(report)
    assert "- rows: three" in page
    assert "| P1 | ours | 123,456 | 0% | 0.71 |" in page
    paths = write_report(report, tmp_path / "new", "bench")
    assert [path.suffix for path in paths] == [".json", ".md"]
    assert json.loads(paths[0].read_text("utf-8"))["samples"][0]["rate"] == 123_456


def test_scaling_has_a_table_of_its_own() -> None:
    scaling = {
        "workers": 2,
        "offered_per_s_median": 97_054,
        "answered_per_s_median": 96_967,
        "cpu_us_per_answer_median": 5.98,
        "cpu_us_per_answer": [5.9, 6.06],
        "shares": [[0.52, 0.48], [0.5, 0.5]],
    }
    page = to_markdown(make_report([sample(1, 1, None)], {}, {"scaling": [scaling]}))
    assert "| 2 | 97,054 | 96,967 | 5.98 | 5.90, 6.06 | 52% + 48%, 50% + 50% |" in page
    assert "scaling" not in to_markdown(make_report([sample(1, 1, None)], {}, {}))
