import pytest

from loadtest.histogram import Histogram, lower_bound_ns, merge


def test_buckets_meet_without_gap_or_overlap() -> None:
    bounds = [lower_bound_ns(bucket) for bucket in range(59 * 64)]
    assert bounds == sorted(set(bounds))
    assert bounds[:130] == [*range(128), 128, 130]


@pytest.mark.parametrize("bucket", [128, 700, 2_000, 3_000])
def test_a_bucket_is_a_64th_wide(bucket: int) -> None:
    low, high = lower_bound_ns(bucket), lower_bound_ns(bucket + 1)
    assert (high - low) / low <= 1 / 64


def test_percentiles() -> None:
    histogram = Histogram({10: 90, 20: 9, 100: 1}, 100)
    assert histogram.percentile_ns(0.5) == 10
    assert histogram.percentile_ns(0.9) == 10
    assert histogram.percentile_ns(0.99) == 20
    assert histogram.percentile_ns(0.999) == 100


def test_nothing_counted() -> None:
    assert Histogram({}).percentile_ns(0.99) == 0


def test_merging_is_not_averaging() -> None:
    fast = Histogram({10: 99}, 10)
    slow = Histogram.from_json({"max_ns": 90, "buckets": [[10, 1], [90, 100]]})
    both = merge([fast, slow])
    assert both.counts == {10: 100, 90: 100}
    assert both.max_ns == 90
    assert both.percentile_ns(0.5) == 10
    assert both.summary_us()["p99_us"] == 0.09
