from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from registry.marks import Mark, State, encode_marked
from registry.operations import Listing
from registry.schema import folded_key
from registry.store import Store
from registry.views import View
from resolver import listing
from resolver.listing import FoundPage, ListTooDeepError, Pages
from tests.registry.builders import ADMIN, NOW_S, PREFIX, open_store, put, url

MARK = Mark(State.REVOKED, NOW_S, ADMIN, "recalled")
HANDLES = [b"88.118/%03d" % number for number in range(7)]
LIST = Listing(PREFIX)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path) as store:
        put(store, {handle: [url()] for handle in HANDLES}, homed=[PREFIX, b"0.NA/88"])
        yield store


def find_page(pages: Pages, number: int, size: int) -> FoundPage:
    (*turns, found) = pages.page(LIST, number, size)
    assert found is not None
    assert set(turns) <= {None}
    return found


def revoke(store: Store, handles: Iterable[bytes]) -> None:
    """Put revoked rows in the place of these, or where none are."""
    with store.write(journaled=False) as view:
        for handle in handles:
            row = view.stored_row(handle)
            view.put_row(handle, encode_marked(MARK, row or b""))


def look_at_most(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a transaction look at so many rows of a list."""
    monkeypatch.setattr(listing, "LISTED_ROWS_MAX", rows)
    for function in (View.list_handles, View.list_homed):
        assert function.__kwdefaults__ is not None
        monkeypatch.setitem(function.__kwdefaults__, "looked_at_max", rows)


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
    look_at_most(2, monkeypatch)
    revoke(store, HANDLES[1:5])
    pages = list(Pages(store).pages(LIST, 3))
    assert [len(page.handles) for page in pages] == [1, 0, 1, 1]
    assert [page.is_last for page in pages] == [False, False, False, True]
    assert find_page(Pages(store), 1, 2) == (tuple(HANDLES[6:]), 3, b"")


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
    found = find_page(Pages(store), number, size)
    assert (found.handles, found.total) == (tuple(handles), 7)
    assert (found.next == b"") == (number * size + size >= 7)


def test_a_page_may_be_many_steps_away(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resolver.listing.STEP_HANDLES", 2)
    assert find_page(Pages(store), 1, 3).handles == tuple(HANDLES[3:6])
    assert find_page(Pages(store), 6, 1).handles == tuple(HANDLES[6:])


def test_a_page_may_follow_a_handle(store: Store) -> None:
    pages = Pages(store)
    assert pages.page_after(LIST, HANDLES[2], 3) == (tuple(HANDLES[3:6]), 7, HANDLES[5])
    assert pages.page_after(LIST, HANDLES[5], 3) == (tuple(HANDLES[6:]), 7, b"")
    assert pages.page_after(LIST, b"88.118/003x", 1) == (tuple(HANDLES[4:5]), 7, HANDLES[4])
    assert pages.page_after(LIST, HANDLES[6], 3) == ((), 7, b"")


def test_a_page_too_deep_is_refused_until_the_reader_has_come_there(store: Store) -> None:
    pages = Pages(store, steps_max=3)
    with pytest.raises(ListTooDeepError, match=r"begins 4 handles deep.*at most 3.*after="):
        find_page(pages, 2, 2)
    assert find_page(pages, 1, 2).handles == tuple(HANDLES[2:4])
    assert find_page(pages, 2, 2).handles == tuple(HANDLES[4:6])
    assert find_page(pages, 99, 2) == ((), 7, b"")


def test_pages_after_a_change_are_counted_anew_where_that_is_near(store: Store) -> None:
    near, far = Pages(store), Pages(store, steps_max=2)
    for pages in (near, far):
        for number in range(3):
            find_page(pages, number, 2)
    put(store, {b"88.118/000A": [url()]})
    assert find_page(near, 3, 2).handles == (b"88.118/005", b"88.118/006")
    assert find_page(far, 3, 2).handles == (b"88.118/006",)  # where the reader was


def test_what_does_not_answer_is_not_counted(store: Store) -> None:
    with store.write(journaled=False) as view:
        for handle, state in ((HANDLES[1], State.REVOKED), (HANDLES[3], State.FROZEN)):
            row = view.stored_row(handle)
            assert row is not None
            view.put_row(handle, encode_marked(Mark(state, NOW_S, ADMIN), row))
    expected = [HANDLES[0], *HANDLES[2:]]
    for size in (1, 2, 4, 6):
        found = [find_page(Pages(store), number, size) for number in range(6 // size)]
        assert {page.total for page in found} == {6}
        assert [each for page in found for each in page.handles] == expected[: 6 // size * size]


@pytest.mark.parametrize(("handle", "ours"), [(b"88.118/x", True), (b"99/x", False)])
def test_whose_a_handle_is(store: Store, handle: bytes, ours: bool) -> None:
    assert Pages(store).is_responsible(handle) == ours


@pytest.fixture
def mostly_revoked(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Return a store with 300 revoked rows around seven handles, looked at two at a time."""
    revoke(store, (b"%b.%02d" % (each, number) for each in HANDLES for number in range(40)))
    revoke(store, [b"88.118/00%02d" % number for number in range(20)])
    look_at_most(2, monkeypatch)
    return store


@pytest.mark.parametrize(("size", "rows"), [(1, 1), (3, 7), (100, 10), (100, 1_000)])
def test_pages_after_a_handle_look_at_some_rows_and_say_how_to_go_on(
    mostly_revoked: Store, size: int, rows: int
) -> None:
    pages = Pages(mostly_revoked, after_rows_max=rows)
    found: list[bytes] = []
    after, empty = b"88.118/", 0
    for _ in range(1_000):
        page = pages.page_after(LIST, after, size)
        assert page.total == 7
        found += page.handles
        empty += not page.handles
        after = page.next
        if not after:
            break
    assert found == HANDLES
    assert bool(empty) == (rows < 1_000)


def test_pages_by_number_are_full_in_turns(
    mostly_revoked: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "TURN_ROWS", 10)
    monkeypatch.setattr(listing, "STEP_HANDLES", 2)
    for size in (1, 2, 3, 7, 50):
        for pages in (Pages(mostly_revoked), None):
            found: list[bytes] = []
            for number in range(7 // size + 1):
                # With what was remembered of the page before, and without.
                found += find_page(pages or Pages(mostly_revoked), number, size).handles
                assert len(found) == min(7, number * size + size)
            assert found == HANDLES
    *turns, page = Pages(mostly_revoked).page(LIST, 0, 7)
    assert page is not None
    assert page.handles == tuple(HANDLES)
    assert 20 <= len(turns) <= 31  # of 10 rows each, up to the last handle


def test_a_page_behind_too_many_revoked_rows_is_come_to_by_asking_again(
    mostly_revoked: Store,
) -> None:
    pages = Pages(mostly_revoked, steps_max=12)
    asked = 0
    for number in range(7):
        while True:
            asked += 1
            try:
                page = find_page(pages, number, 1)
            except ListTooDeepError as error:
                assert "at most 12 rows, revoked ones among them" in str(error)  # noqa: PT017
                assert "ask again" in str(error)  # noqa: PT017
                assert asked < 100
                continue
            break
        assert page.handles == (HANDLES[number],)
    assert asked >= 25  # 250 revoked ones stand before the last handle
    with pytest.raises(ListTooDeepError, match=r"stepped over: go on from page to page with after"):
        find_page(Pages(mostly_revoked, steps_max=50), 0, 7)


def test_a_page_may_go_on_after_a_long_handle_that_was_revoked(store: Store) -> None:
    long = [b"88.118/00" + b"\xc3\xa4" * 300 + b"%d" % number for number in range(3)]
    put(store, {handle: [url()] for handle in long})
    with store.write(journaled=False) as view:
        for handle in long:
            key = folded_key(handle)
            row = view.stored_row(key)
            assert row is not None
            view.put_row(key, encode_marked(MARK, row))
    pages = Pages(store, after_rows_max=1)
    with pytest.MonkeyPatch.context() as patched:
        look_at_most(1, patched)
        cursors, after = [], b"88.118/"
        while after:
            after = pages.page_after(LIST, after, 10).next
            cursors.append(after)
    assert sorted(cursors) == [b"", *sorted([*HANDLES, *long])]


def test_silent_prefixes_make_pages_of_homed_ones_short(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefixes = [b"0.NA/77.%d" % number for number in range(9)]
    put(store, {}, homed=prefixes)
    with store.write(journaled=False) as view:
        for prefix in prefixes[1:8]:
            view.let_answer(prefix, False)
    look_at_most(3, monkeypatch)
    pages = list(Pages(store).pages(Listing(b"/", homed=True), 2))
    assert [each for page in pages for each in page.handles] == [
        prefixes[0], prefixes[8], b"0.NA/88", b"0.NA/88.118"
    ]  # fmt: skip
    assert () in [page.handles for page in pages]
    assert [page.is_last for page in pages] == [False] * (len(pages) - 1) + [True]
