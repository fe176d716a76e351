"""Children come back with a new server key, one after the other."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from resolver.renewal import Renewal


@dataclass
class FakeChild:
    name: str
    pid: int
    is_ready: bool = True
    is_renewed: bool = False

    def come_back(self, pid: int) -> None:
        """What the supervisor does once it has ended."""
        self.pid, self.is_renewed, self.is_ready = pid, False, False


@dataclass
class Scene:
    site: Path
    children: list[FakeChild]
    renewal: Renewal
    killed: list[tuple[int, int]]

    def change(self) -> None:
        self.site.unlink()
        self.site.write_text("another")


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    site = tmp_path / "site.json"
    site.write_text("one")
    children = [FakeChild("registrar", 1), FakeChild("worker1", 2), FakeChild("worker2", 3)]
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append((pid, number)))
    files = (site, tmp_path / "earlier-keys")
    return Scene(site, children, Renewal(files, children, 10.0), killed)


def test_nothing_is_renewed_while_the_keys_are_the_same(scene: Scene) -> None:
    assert not scene.renewal.begin_if_changed()
    scene.renewal.step(0.0)
    assert scene.killed == []


def test_one_after_the_other_the_writer_first(scene: Scene) -> None:
    scene.change()
    assert scene.renewal.begin_if_changed()
    for number, child in enumerate(scene.children, 1):
        scene.renewal.step(0.0)
        scene.renewal.step(0.0)
        assert scene.killed == [(pid, signal.SIGTERM) for pid in range(1, number + 1)]
        assert child.is_renewed
        child.come_back(10 + number)
        scene.renewal.step(0.0)
        assert len(scene.killed) == number, "the next waits until this one answers"
        child.is_ready = True
        scene.renewal.step(0.0)
    assert not scene.renewal.is_under_way
    assert not scene.renewal.begin_if_changed()


def test_a_retired_key_renews_too(scene: Scene) -> None:
    (scene.site.parent / "earlier-keys").mkdir()
    assert scene.renewal.begin_if_changed()


def test_who_does_not_end_is_killed(scene: Scene) -> None:
    scene.change()
    scene.renewal.begin_if_changed()
    scene.renewal.step(0.0)
    scene.renewal.step(10.5)
    assert scene.killed == [(1, signal.SIGTERM), (1, signal.SIGKILL)]


def test_who_is_coming_back_anyway_is_renewed_when_it_is_there(scene: Scene) -> None:
    scene.change()
    scene.children[0].pid, scene.children[0].is_ready = 0, False
    scene.renewal.begin_if_changed()
    scene.renewal.step(0.0)
    assert scene.killed == []
    scene.children[0].pid, scene.children[0].is_ready = 7, True
    scene.renewal.step(0.0)
    assert scene.killed == [(7, signal.SIGTERM)]
