from pathlib import Path

import pytest

from resolver.demo.errors import DemoError
from resolver.demo.products import (
    PRODUCTS,
    choose_samples,
    find_products,
    read_expected,
    read_products,
)


def test_a_thousand_products_of_three_values() -> None:
    rows = read_products(find_products(), "88.118.5")
    assert len({row.handle for row in rows}) == PRODUCTS
    assert {len(row.values) for row in rows} == {3}
    expected = dict(read_expected(find_products(), "88.118.5"))
    assert {row.handle for row in rows} == set(expected)
    for row in rows:
        data = {value.index: value.data for value in row.values}
        assert data.pop(3).startswith(b"{")
        assert data == expected[row.handle]


def test_samples_are_unlike_and_all_different() -> None:
    rows = read_products(find_products(), "88.118.5")
    samples = choose_samples(rows, 9)
    assert len({row.handle for row in samples}) == 9
    assert any(max(row.values[1].data.decode()) > "\u0600" for row in samples)


def test_a_file_cut_short_is_said(tmp_path: Path) -> None:
    path = tmp_path / "products.csv"
    path.write_text("".join(find_products().read_text("utf-8").splitlines(keepends=True)[:5]))
    with pytest.raises(DemoError, match="4 good products of 4, not 1000"):
        read_products(path, "88.118.5")
