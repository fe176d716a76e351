"""The store that most of the registry's tests work on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.store import Store
from tests.registry.builders import PREFIX, ROOT, admin_value, open_store, put, url


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Store]:
    """A store with nothing in it."""
    with open_store(tmp_path / "store") as store:
        yield store


@pytest.fixture
def store(empty: Store) -> Store:
    """The store of a node that is its own root and homes 88.118 with one administrator."""
    put(
        empty,
        {b"0.NA/0.NA": [admin_value(ROOT)], PREFIX: [admin_value(), url()]},
        [b"0.NA/0.NA", PREFIX],
    )
    return empty
