import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.test_disk_full import small_disk
from tests.nodes import Node, Tables, make_node, must_run, running
from tests.streams.client import Streams

__all__ = ["small_disk"]

TABLES: Tables = {"tls": {"allow_plain_credentials_on_loopback": True}}


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A running node that homes 88; whole after all that was done to it."""
    folder: Path = tmp_path_factory.mktemp("streams")
    with running(make_node(folder / "node", tables=TABLES)) as made:
        yield made
        assert "Traceback" not in made.log, made.log_tail
        assert made.stop() == 0
        must_run("verify", str(made.folder))


@pytest.fixture(scope="session")
def streams(node: Node) -> Streams:
    return Streams(node)


@pytest.fixture
def key() -> str:
    return f"lot-{secrets.token_hex(8)}"


@pytest.fixture
def stem() -> str:
    """Names that no other test has."""
    return secrets.token_hex(6) + "-"
