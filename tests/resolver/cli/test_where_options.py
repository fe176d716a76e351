"""The options that say whom to ask, given to a command in place of `where`."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from resolver.cli.connect import Where
from resolver.cli.errors import CliError, ExitCode
from resolver.cli.where_options import Command, JsonOption, asks, confirm

PLACES = ("--node", "--server")
LOGIN = ("--key", "--secret", "--admin")


def run(
    decorate: Callable[[Command], Command], *arguments: str
) -> tuple[int, str, list[tuple[Where, str, bool]]]:
    """Run a command that notes what it is given; return also its exit code and output."""
    called: list[tuple[Where, str, bool]] = []
    app = typer.Typer()

    @app.command()
    @decorate
    def command(
        where: Where, name: Annotated[str, typer.Argument()], as_json: JsonOption = False
    ) -> None:
        """Note it."""
        called.append((where, name, as_json))

    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.output, called


def test_a_command_gets_all_options_as_one_argument(tmp_path: Path) -> None:
    key = tmp_path / "key.bin"
    code, _, called = run(
        asks(rest=True), "it", "--root", "r.json", "--key", str(key), "--admin", "300:0.NA/88",
        "--cacert", str(key), "--json",
    )  # fmt: skip
    assert code == 0
    where = Where(root="r.json", key=key, admin="300:0.NA/88", cacert=key)
    assert called == [(where, "it", True)]


@pytest.mark.parametrize(
    ("decorate", "given", "withheld"),
    [
        (asks(), (*PLACES, "--root", *LOGIN), ("--cacert",)),
        (asks(root=False), (*PLACES, *LOGIN), ("--root", "--cacert")),
        (asks(login=False), (*PLACES, "--root"), (*LOGIN, "--cacert")),
        (asks(rest=True), (*PLACES, "--root", *LOGIN, "--cacert"), ()),
    ],
)
def test_a_command_has_the_options_it_needs_and_no_others(
    decorate: Callable[[Command], Command], given: tuple[str, ...], withheld: tuple[str, ...]
) -> None:
    for option in given:
        assert run(decorate, "it", option, "x")[0] == 0, option
    for option in withheld:
        assert run(decorate, "it", option, "x")[0] == 2, option


def test_the_variable_stands_for_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIAOSHI_NODE", "enterprise")
    assert run(asks(), "it")[2] == [(Where(node="enterprise"), "it", False)]


def test_what_cannot_be_undone_is_asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def refuse(question: str) -> bool:
        asked.append(question)
        return False

    monkeypatch.setattr(typer, "confirm", refuse)
    confirm("delete it?", "nothing was deleted", yes=True)
    assert asked == []
    with pytest.raises(CliError, match="nothing was deleted") as raised:
        confirm("delete it?", "nothing was deleted", yes=False)
    assert raised.value.code == ExitCode.REFUSED
    assert asked == ["delete it?"]
