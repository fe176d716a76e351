"""What `biaoshi life` prints of pasts that a node in its first minute does not have."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from resolver.cli import life
from resolver.cli.errors import ExitCode
from resolver.cli.main import main
from resolver.client.life import Event, HistoryPage

SPLIT = Event(
    4, "2026-11-21T08:00:00.000Z", "split", "300:0.NA/88", hidden=1, range="88/L.1..5"
)  # fmt: skip


class Told:
    """A client that tells these pages."""

    def __init__(self, *pages: HistoryPage) -> None:
        self._pages = pages

    def history_pages(self, handle: str, *, after: int) -> Iterator[HistoryPage]:
        assert handle == "88/L.1"
        return iter(self._pages)


def said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *pages: HistoryPage
) -> list[str]:
    @contextmanager
    def administered(*_: Any, **__: Any) -> Iterator[Told]:
        yield Told(*pages)

    monkeypatch.setattr(life, "administered", administered)
    assert main(["life", "history", "88/L.1"]) == ExitCode.OK
    return capsys.readouterr().out.splitlines()


def test_a_history_says_from_when_it_is_known(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = said(monkeypatch, capsys, HistoryPage((SPLIT,), False, 3))
    assert "split its range" in lines[2]
    assert "88/L.1..5; 1 hidden" in lines[2]
    assert lines[4] == "what was before frame 4 of the journal is not known here"
    lines = said(monkeypatch, capsys, HistoryPage((), True, 0), HistoryPage((), False, 3))
    assert lines == ["nothing is known of 88/L.1", lines[-1]]
    assert lines[-1].startswith("what was before frame 4")


def test_a_creation_that_was_not_found_is_said_to_be_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = said(monkeypatch, capsys, HistoryPage((SPLIT,), False, 0))
    assert lines[4].startswith("a creation is missing")
    assert len(said(monkeypatch, capsys, HistoryPage((SPLIT,), True, 0))) == 4
