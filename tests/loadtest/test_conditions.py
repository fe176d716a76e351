from loadtest.conditions import describe_registered
from loadtest.formula import Shape
from loadtest.hierarchy import HITS, cached_rows, describe_hits, describe_misses
from loadtest.load import Answers
from loadtest.report import Sample


def test_hits_are_compared_with_the_enterprise_node_of_the_same_run() -> None:
    samples = [
        Sample(HITS, "biaoshi native, enterprise", 1, 100),
        Sample(HITS, "biaoshi native, recursive", 1, 90),
        Sample("P1", "biaoshi native", 1, 1),
        Sample(HITS, "biaoshi native, enterprise", 2, 200),
        Sample(HITS, "biaoshi native, recursive", 2, 200),
    ]
    assert describe_hits(samples).startswith("0.95 of the enterprise node's rate")
    assert describe_hits(samples).endswith("(0.90 to 1.00)")


def test_misses_say_what_they_went_through() -> None:
    words = describe_misses(Answers(1_234.5, {"lost": 2}), Shape(5_000))
    assert words.startswith("1,234 rows/s; each of 5,000 rows asked for once")
    assert "Two tiers" in words


def test_the_cache_holds_the_first_rows() -> None:
    assert cached_rows(Shape(70)).rows == 70
    assert cached_rows(Shape(1_000_000)) == Shape(100_000)


def test_what_was_registered_during_a_case() -> None:
    samples = [
        Sample("with", "biaoshi native", 1, 1, counts={"registered": 10}),
        Sample("with", "C echo", 1, 1, counts={"right": 1}),
        Sample("with", "biaoshi native", 2, 1, counts={"registered": 1_030}),
    ]
    assert describe_registered(samples, "with", 3) == (
        "520 rows registered meanwhile, median of the runs (10 to 1,030), each of 3 s after 0.5 s"
    )
