"""Fixtures that more than one folder of tests uses."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.nodes import Node, Topology, make_node, running, topology


@pytest.fixture(scope="module")
def module_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that lives as long as a module's tests."""
    return tmp_path_factory.mktemp("module")


@pytest.fixture(scope="module")
def top_node(module_folder: Path) -> Iterator[Node]:
    """A running top node for prefix 88, shared by a module's tests."""
    with running(make_node(module_folder / "top")) as node:
        yield node


@pytest.fixture(scope="session")
def four_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topology]:
    """The four roles running, shared by all tests that only read or keep to names of their own."""
    with topology(tmp_path_factory.mktemp("topology")) as nodes:
        yield nodes
