from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.marks import Mark, State, encode_marked
from registry.operations import Listing
from registry.store import Store
from registry.views import View
from resolver.listing import ListTooDeepError, Pages
from tests.registry.builders import ADMIN, NOW_S, PREFIX, open_store, put, url

HANDLES = [b"88.118/%03d" % number for number in range(7)]
LIST = Listing(PREFIX)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path) as store:
        put(store, {handle: [url()] for handle in HANDLES}, homed=[PREFIX, b"0.NA/88"])
        yield store


@pytest.mark.parametrize(
    ("size", "lengths"), [(3, [3, 3, 1]), (7, [7]), (6, [6, 1]), (50, [7]), (1, [1] * 7)]
)
def test_a_list_is_cut_into_pages(store: Store, size: int, lengths: list[int]) -> None:
    pages = list(Pages(store).pages(LIST, size))
    assert [len(page.handles) for page in pages] == lengths
    assert [page.is_last for page in pages] == [False] * (len(lengths) - 1) + [True]
    assert [handle for page in pages for handle in page.handles] == HANDLES


def test_an_empty_list_is_one_page(store: Store) -> None:
    assert list(Pages(store).pages(Listing(b"0.NA/99"))) == [((), True)]


def test_revoked_handles_make_pages_short_and_skip_none(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults = View.list_handles.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "looked_at_max", 2)
    mark = Mark(State.REVOKED, NOW_S, ADMIN, "recalled")
    with store.write(journaled=False) as view:
        for handle in HANDLES[1:5]:
            view.put_row(handle, encode_marked(mark, b""))
    pages = list(Pages(store).pages(LIST, 3))
    assert [len(page.handles) for page in pages] == [1, 0, 1, 1]
    assert [page.is_last for page in pages] == [False, False, False, True]
    assert Pages(store).page(LIST, 1, 2) == (tuple(HANDLES[6:]), 3, True)


def test_homed_prefixes_are_listed(store: Store) -> None:
    (page,) = Pages(store).pages(Listing(b"/", homed=True))
    assert page.handles == (b"0.NA/88", b"0.NA/88.118")


def test_what_changes_between_pages_is_seen_once(store: Store) -> None:
    pages = Pages(store).pages(LIST, 3)
    first = next(pages)
    put(store, {b"88.118/000A": [url()], b"88.118/009": [url()]})
    rest = [handle for page in pages for handle in page.handles]
    assert [*first.handles, *rest] == [*HANDLES, b"88.118/009"]


@pytest.mark.parametrize(
    ("number", "size", "handles"),
    [(0, 3, HANDLES[:3]), (2, 3, HANDLES[6:]), (3, 3, []), (0, 100, HANDLES), (1, 4, HANDLES[4:])],
)
def test_a_page_is_found_by_its_number(
    store: Store, number: int, size: int, handles: list[bytes]
) -> None:
    found = Pages(store).page(LIST, number, size)
    assert (found.handles, found.total) == (tuple(handles), 7)
    assert found.is_last == (number * size + size >= 7)


def test_a_page_may_be_many_steps_away(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resolver.listing.STEP_HANDLES", 2)
    assert Pages(store).page(LIST, 1, 3).handles == tuple(HANDLES[3:6])
    assert Pages(store).page(LIST, 6, 1).handles == tuple(HANDLES[6:])


def test_a_page_may_follow_a_handle(store: Store) -> None:
    pages = Pages(store)
    assert pages.page_after(LIST, HANDLES[2], 3) == (tuple(HANDLES[3:6]), 7, False)
    assert pages.page_after(LIST, HANDLES[5], 3) == (tuple(HANDLES[6:]), 7, True)
    assert pages.page_after(LIST, b"88.118/003x", 1) == (tuple(HANDLES[4:5]), 7, False)
    assert pages.page_after(LIST, HANDLES[6], 3) == ((), 7, True)


def test_a_page_too_deep_is_refused_until_the_reader_has_come_there(store: Store) -> None:
    pages = Pages(store, steps_max=2)
    with pytest.raises(ListTooDeepError, match=r"begins 4 handles deep.*at most 2.*after="):
        pages.page(LIST, 2, 2)
    assert pages.page(LIST, 1, 2).handles == tuple(HANDLES[2:4])
    assert pages.page(LIST, 2, 2).handles == tuple(HANDLES[4:6])
    assert pages.page(LIST, 99, 2) == ((), 7, True)


def test_pages_after_a_change_are_counted_anew_where_that_is_near(store: Store) -> None:
    near, far = Pages(store), Pages(store, steps_max=2)
    for pages in (near, far):
        for number in range(3):
            pages.page(LIST, number, 2)
    put(store, {b"88.118/000A": [url()]})
    assert near.page(LIST, 3, 2).handles == (b"88.118/005", b"88.118/006")
    assert far.page(LIST, 3, 2).handles == (b"88.118/006",)  # where the reader was


def test_what_does_not_answer_is_not_counted(store: Store) -> None:
    with store.write(journaled=False) as view:
        for handle, state in ((HANDLES[1], State.REVOKED), (HANDLES[3], State.FROZEN)):
            row = view.stored_row(handle)
            assert row is not None
            view.put_row(handle, encode_marked(Mark(state, NOW_S, ADMIN), row))
    expected = [HANDLES[0], *HANDLES[2:]]
    for size in (1, 2, 4, 6):
        found = [Pages(store).page(LIST, number, size) for number in range(6 // size)]
        assert {page.total for page in found} == {6}
        assert [each for page in found for each in page.handles] == expected[: 6 // size * size]


@pytest.mark.parametrize(("handle", "ours"), [(b"88.118/x", True), (b"99/x", False)])
def test_whose_a_handle_is(store: Store, handle: bytes, ours: bool) -> None:
    assert Pages(store).is_responsible(handle) == ours
