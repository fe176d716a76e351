import subprocess
import sys
from pathlib import Path

import pytest

from protocol.errors import KeyFileError
from registry.errors import StoreError
from resolver.cli import app as app_module
from resolver.cli.app import ORDER, make_app, report
from resolver.cli.errors import CliError, ExitCode
from resolver.cli.main import INTERRUPTED, main
from resolver.client import AuthenticationRefusedError, HandleNotFoundError, UnreachableError
from resolver.config import ConfigError
from resolver.demo.errors import DemoError
from resolver.node_files import NodeFilesError


def test_every_command_has_a_help_page(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ORDER:
        assert main([name, "--help"]) == ExitCode.OK
        assert f"biaoshi {name}" in capsys.readouterr().out
    assert main(["--help"]) == ExitCode.OK
    page = capsys.readouterr().out
    for name in ORDER:
        assert f" {name} " in page


def test_only_the_wanted_command_is_imported() -> None:
    names = [command.name for command in make_app("keygen").registered_commands]
    assert names == ["keygen"]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == ExitCode.OK
    assert capsys.readouterr().out.startswith("biaoshi 0.")


@pytest.mark.parametrize(
    "words", [["nonsense"], ["resolve"], ["resolve", "1/a", "--index", "x"], ["init", "king"]]
)
def test_a_wrong_command_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == ExitCode.USAGE
    assert capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (CliError("a", "b", ExitCode.USAGE), ExitCode.USAGE, "error: a\n  try: b\n"),
        (CliError("a"), ExitCode.FILES, "error: a\n"),
        (UnreachableError("w", hint="h"), ExitCode.UNREACHABLE, "error: w\n  try: h\n"),
        (
            HandleNotFoundError("1/a is not registered", response_code=100, hint="h"),
            ExitCode.REFUSED,
            "error: 1/a is not registered (response code 100)\n  try: h\n",
        ),
        (AuthenticationRefusedError("w", response_code=403), ExitCode.NOT_ALLOWED, "(response"),
        (ConfigError(["one", "two"]), ExitCode.FILES, "error: one; two\n"),
        (DemoError("w", "h"), ExitCode.FILES, "error: w\n  try: h\n"),
        (NodeFilesError("w"), ExitCode.FILES, "error: w\n"),
        (StoreError("w"), ExitCode.FILES, "error: w\n"),
        (KeyFileError("w"), ExitCode.REFUSED, "error: w\n"),
        (PermissionError(13, "denied", "/f"), ExitCode.FILES, "error: /f: denied\n"),
        (ZeroDivisionError("w"), ExitCode.BUG, "error: this is a bug of ours: ZeroDivisionError"),
    ],
)
def test_errors_in_words(
    error: Exception, code: ExitCode, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(error) == code
    printed = capsys.readouterr().err
    assert words in printed
    assert "Traceback" not in printed


def test_only_debug_shows_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def explode(wanted: str | None) -> None:
        raise ZeroDivisionError(wanted)

    monkeypatch.setattr(app_module, "make_app", explode)
    assert main(["keygen"]) == ExitCode.BUG
    assert "Traceback" not in capsys.readouterr().err
    assert main(["--debug", "keygen"]) == ExitCode.BUG
    assert "Traceback" in capsys.readouterr().err


def test_serve_starts_without_the_libraries_of_the_command_line(tmp_path: Path) -> None:
    program = (
        "import sys; from resolver.cli.main import main; main(['serve', sys.argv[1]]); "
        "import resolver.supervisor; "
        "print(sorted(name for name in ('typer', 'rich', 'pydantic') if name in sys.modules))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ended.stdout == "[]\n"


def test_serve_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", str(tmp_path)]) == ExitCode.FILES
    assert "biaoshi init" in capsys.readouterr().err
    assert main(["serve", "a", "b"]) == ExitCode.USAGE
    assert "usage: biaoshi serve" in capsys.readouterr().err


def test_serve_lists_every_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "biaoshi.toml").write_text('role = "top"\nwrokers = 1\n[listen]\nhandle_port = 0\n')
    assert main(["serve", str(tmp_path)]) != ExitCode.OK
    printed = capsys.readouterr().err
    assert "wrokers" in printed
    assert "listen.handle_port" in printed


INTERRUPTING = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
from resolver.cli.main import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("typer", ["resolve", "88/x"]),
        ("resolver.cli.app", ["--help"]),
        ("resolver.cli.resolve", ["resolve", "88/x"]),
        ("resolver.cli.serve", ["serve", "node"]),
    ],
)
def test_an_interrupt_while_modules_are_imported(module: str, words: list[str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", INTERRUPTING, module, *words],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (ExitCode.INTERRUPTED, "")
    assert ended.stderr == "interrupted\n"


def test_the_exit_code_of_an_interrupt_is_that_of_all_commands() -> None:
    assert INTERRUPTED == ExitCode.INTERRUPTED
