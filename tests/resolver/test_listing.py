from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.marks import Mark, State, encode_marked
from registry.operations import Listing
from registry.store import Store
from registry.views import View
from resolver.listing import Pages
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
    assert Pages(store).page(LIST, 1, 2) == (tuple(HANDLES[6:]), 3)


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
    assert Pages(store).page(LIST, number, size) == (tuple(handles), 7)


def test_a_page_may_cross_what_is_read_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resolver.listing.COUNT_PAGE_HANDLES", 2)
    assert Pages(store).page(LIST, 1, 3) == (tuple(HANDLES[3:6]), 7)


@pytest.mark.parametrize(("handle", "ours"), [(b"88.118/x", True), (b"99/x", False)])
def test_whose_a_handle_is(store: Store, handle: bytes, ours: bool) -> None:
    assert Pages(store).is_responsible(handle) == ours
