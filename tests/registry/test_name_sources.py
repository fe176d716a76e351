"""Who asked for what: lists share their room, and say what they miss when it is short."""

from hypothesis import given
from hypothesis import strategies as st

from registry.name_sources import NameSources
from registry.space_saving import SpaceSaving

SOURCES = st.dictionaries(st.sampled_from([b"%d" % n for n in range(30)]), st.integers(1, 50))
NAMES = st.sampled_from([b"88.1", b"88.2", b"88.3", b"0.NA/88"])


def test_the_longest_lists_are_cut_first() -> None:
    sources = NameSources(entries_max=100)
    for number in range(10):
        sources.add(b"88.%d" % number, {b"one": 1, b"two": 2})
    sources.add(b"99", {b"%d" % number: number + 1 for number in range(90)})
    found = {name: sources.find(name) for name in sources}
    assert sources.entries == sum(len(each) for each in found.values() if each) <= 50
    for name, summary in found.items():
        assert summary is not None
        if name != b"99":
            assert (len(summary), summary.floor) == (2, 0)
    cut = found[b"99"]
    assert cut is not None
    assert cut.total == 90 * 91 // 2
    assert [each.at_least for each in cut.largest()][:2] == [90, 89]
    assert cut.floor == 90 - len(cut)
    assert sources.find(b"77") is None


def test_more_names_than_there_is_room_list_nobody() -> None:
    sources = NameSources(entries_max=10)
    for number in range(50):
        sources.add(b"88.%d" % number, {b"one": number + 1})
    assert len(sources) == 50
    assert sources.entries <= 10
    first = sources.find(b"88.0")
    assert first is not None
    assert (len(first), first.total, first.rest, first.floor) == (0, 1, 1, 1)


@given(st.lists(st.tuples(NAMES, SOURCES), max_size=20), st.integers(0, 40), st.booleans())
def test_every_count_lies_between_what_is_told(
    pieces: list[tuple[bytes, dict[bytes, int]]], entries_max: int, is_merged: bool
) -> None:
    true: dict[bytes, dict[bytes, int]] = {}
    sources = NameSources(entries_max)
    for name, exact in pieces:
        if is_merged:
            more = SpaceSaving()
            more.add(exact)
            sources.merge(name, SpaceSaving.decode(more.encode()))
        else:
            sources.add(name, exact)
        for source, queries in exact.items():
            of = true.setdefault(name, {})
            of[source] = of.get(source, 0) + queries
    assert sources.entries <= entries_max
    for name, counts in true.items():
        summary = sources.find(name)
        assert summary is not None
        assert summary.total == sum(counts.values())
        listed = {each.source: each for each in summary.largest()}
        assert sum(each.at_least for each in listed.values()) + summary.rest == summary.total
        for source, queries in counts.items():
            if source in listed:
                assert listed[source].at_least <= queries <= listed[source].at_most
            else:
                assert queries <= summary.floor
