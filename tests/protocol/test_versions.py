from protocol.versions import BEST, V2_0, V2_4, V2_10, Version, answer_version


def test_order() -> None:
    assert V2_10.at_least(V2_4)
    assert not V2_4.at_least(V2_10)
    assert V2_0.at_least(Version(5, 3))
    assert not Version(5, 9).at_least(V2_0)


def test_text() -> None:
    assert str(V2_10) == "2.10"


def test_the_answer_is_in_the_lower_version() -> None:
    assert answer_version(V2_4) == V2_4
    assert answer_version(Version(2, 11)) == BEST
    assert answer_version(Version(3, 0)) == BEST
