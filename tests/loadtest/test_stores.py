from pathlib import Path

import pytest

from loadtest import stores
from loadtest.formula import Shape
from loadtest.load import Tools
from loadtest.startup import MeasurementError
from loadtest.stores import Filled, build, is_filled, read_filled, store_name

SHAPE = Shape(10_000, serials=1_000)
TOOLS = Tools(Path("generator"), Path("echo"))


class Loader:
    """Stands for `load_node`: takes a second for each call; fails at one of them."""

    def __init__(self, fails_at: int = -1) -> None:
        self.fails_at = fails_at
        self.calls: list[tuple[int, int]] = []

    def __call__(self, tools: Tools, node: Path, shape: Shape, first: int, count: int) -> float:
        assert (node / "made").exists()
        if len(self.calls) == self.fails_at:
            raise MeasurementError("stopped")
        self.calls.append((first, count))
        return 1.0


def make(folder: Path, shape: Shape) -> Path:
    (folder / "node").mkdir()
    (folder / "node" / "made").touch()
    return folder / "node"


def fill(folder: Path, monkeypatch: pytest.MonkeyPatch, loader: Loader, said: list[str]) -> Path:
    monkeypatch.setattr(stores, "load_node", loader)
    return build(TOOLS, folder, SHAPE, said.append, make, step=4)


def test_a_store_is_filled_in_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loader, said = Loader(), list[str]()
    node = fill(tmp_path, monkeypatch, loader, said)
    assert node == tmp_path / store_name(SHAPE) / "node"
    assert loader.calls == [(0, 4), (4, 4), (8, 2)]
    assert said[1] == "built 4 of 10 in 1 s, 4/s; 0.0 minutes left"
    assert read_filled(node.parent / stores.MARKER) == Filled(10, 3.0, 0)
    fill(tmp_path, monkeypatch, loader, said)
    assert len(loader.calls) == 3


def test_a_stopped_one_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    with pytest.raises(MeasurementError, match="stopped"):
        fill(tmp_path, monkeypatch, Loader(fails_at=1), said)
    assert not is_filled(tmp_path, SHAPE)
    loader = Loader()
    node = fill(tmp_path, monkeypatch, loader, said)
    assert loader.calls == [(4, 4), (8, 2)]
    assert "going on with the store behind 4 of 10 records" in said
    assert read_filled(node.parent / stores.MARKER) == Filled(10, 3.0, 1)


def test_what_is_half_made_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / store_name(SHAPE) / "node").mkdir(parents=True)
    fill(tmp_path, monkeypatch, Loader(), [])
    assert is_filled(tmp_path, SHAPE)


@pytest.mark.parametrize("text", ["", "12 s\n", "x records in 3 s, stopped 0 times"])
def test_a_file_that_says_nothing_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "loading").write_text(text)
    with pytest.raises(MeasurementError, match="delete"):
        read_filled(tmp_path / "loading")
