from pathlib import Path

import pytest

from resolver.demo.errors import DemoError
from resolver.demo.topology import MARKER, PORTS, fresh_folder, plan_topology


def test_every_port_is_used_once(tmp_path: Path) -> None:
    topology = plan_topology(tmp_path, 20_000)
    ports = [port for node in topology.nodes for port in (node.handle_port, node.http_port)]
    assert ports == list(range(20_000, 20_000 + PORTS))
    assert len({node.files.path for node in topology.nodes}) == 4


def test_an_earlier_demo_is_cleared_away(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "demo"
    with fresh_folder(folder):
        (folder / "old").mkdir()
        (folder / "older").write_text("x")
    with fresh_folder(folder):
        assert [path.name for path in folder.iterdir()] == [MARKER]


def test_a_running_demo_is_left_alone(tmp_path: Path) -> None:
    with fresh_folder(tmp_path):
        (tmp_path / "top").mkdir()
        with pytest.raises(DemoError, match="another demo runs in"), fresh_folder(tmp_path):
            pass
        assert (tmp_path / "top").is_dir()


def test_anything_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(DemoError, match="is left alone"), fresh_folder(tmp_path):
        pass
    assert (tmp_path / "mine").read_text() == "precious"
    with pytest.raises(DemoError, match="is left alone"), fresh_folder(tmp_path / "mine"):
        pass
