"""Latency histograms of the generator: merging runs, percentiles.

Bucket b < 128 holds b nanoseconds; above, each power of two has 64 buckets, so a percentile is at
most 1.6 % too low (see `generator/histogram.h`).
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

SUB_BITS = 6
SUB_BUCKETS = 1 << SUB_BITS


def lower_bound_ns(bucket: int) -> int:
    """Return the least latency that falls into a bucket."""
    shift = max((bucket >> SUB_BITS) - 1, 0)
    return (bucket - (shift << SUB_BITS)) << shift


@dataclass(frozen=True)
class Histogram:
    """Counts by bucket, and the largest latency exactly."""

    counts: Mapping[int, int]
    max_ns: int = 0

    @classmethod
    def from_json(cls, form: Mapping[str, Any]) -> "Histogram":
        """Read what the generator prints."""
        return cls({int(bucket): int(count) for bucket, count in form["buckets"]}, form["max_ns"])

    @property
    def total(self) -> int:
        """How many latencies were counted."""
        return sum(self.counts.values())

    def percentile_ns(self, share: float) -> int:
        """Return the latency that `share` (0 to 1) of the answers did not exceed, 0 of none."""
        wanted = share * self.total
        seen = 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= wanted:
                return lower_bound_ns(bucket)
        return 0

    def summary_us(self) -> dict[str, float]:
        """Return p50, p99, p99.9 and max in microseconds."""
        shares = {"p50_us": 0.5, "p99_us": 0.99, "p999_us": 0.999}
        summary = {name: self.percentile_ns(share) / 1000 for name, share in shares.items()}
        return {**summary, "max_us": self.max_ns / 1000}


def merge(histograms: Iterable[Histogram]) -> Histogram:
    """Return one histogram of all."""
    counts: Counter[int] = Counter()
    max_ns = 0
    for histogram in histograms:
        counts.update(histogram.counts)
        max_ns = max(max_ns, histogram.max_ns)
    return Histogram(dict(counts), max_ns)
