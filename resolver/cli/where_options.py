"""The options that say whom to ask and as whom, the same for every command.

A command takes one argument `where`; `asks` gives it the options of `Where` in its place:

    @asks()                       --node --server --root --key --secret --admin
    @asks(root=False)             not --root: it is about one node
    @asks(login=False)            not --key --secret --admin: nobody logs in
    @asks(rest=True)              also --cacert: it uses the REST interface
"""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from resolver.cli.connect import Where
from resolver.cli.errors import CliError, ExitCode

Command = Callable[..., None]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
AdminOption = Annotated[
    str, typer.Option("--admin", help="Identity to log in as, such as 300:0.NA/88.118.5.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

_PLACES = {
    "node": Annotated[
        str, typer.Option("--node", help="Data folder of a node here.", envvar="BIAOSHI_NODE")
    ],
    "server": Annotated[
        str, typer.Option("--server", help="ADDRESS:PORT of one server.", envvar="BIAOSHI_SERVER")
    ],
}
_ROOT = {
    "root": Annotated[
        str, typer.Option("--root", help="bootstrap.json of the top node.", envvar="BIAOSHI_ROOT")
    ]
}
_LOGIN = {
    "key": Annotated[
        Path | None, typer.Option("--key", help="Private key of the identity.", dir_okay=False)
    ],
    "secret": Annotated[
        Path | None,
        typer.Option("--secret", help="File with the identity's secret.", dir_okay=False),
    ],
    "admin": AdminOption,
}
_REST = {
    "cacert": Annotated[
        Path | None,
        typer.Option(
            help="PEM file: who issued the node's certificate, if it has not the node's own key.",
            dir_okay=False,
        ),
    ]
}


def asks(
    *, root: bool = True, login: bool = True, rest: bool = False
) -> Callable[[Command], Command]:
    """Return a decorator that gives a command the options of `Where`, see the module's text."""
    options = {
        **_PLACES,
        **(_ROOT if root else {}),
        **(_LOGIN if login else {}),
        **(_REST if rest else {}),
    }

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def asking(**arguments: Any) -> None:
            place = {name: arguments.pop(name) for name in options}
            command(where=Where(**place), **arguments)

        parameters = _with_options(command, options)
        # typer reads both: the one for defaults, the other for types.
        asking.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        asking.__annotations__ = {each.name: each.annotation for each in parameters}
        return asking

    return decorate


def _with_options(command: Command, options: dict[str, Any]) -> list[inspect.Parameter]:
    """Return a command's parameters with the options in place of `where`, before `--json`."""
    own = dict(inspect.signature(command).parameters)
    del own["where"]
    json_ = own.pop("as_json", None)
    defaults = Where()
    added = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=getattr(defaults, name),
            annotation=annotation,
        )
        for name, annotation in options.items()
    ]
    rest = added if json_ is None else [*added, json_]
    return [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*own.values(), *rest)]


def confirm(question: str, unchanged: str, *, yes: bool) -> None:
    """Ask before what cannot be undone.

    Args:
        question: what is about to happen.
        unchanged: what to say when it does not.
        yes: the answer was given on the command line.

    Raises:
        CliError: the answer is no.
    """
    if not yes and not typer.confirm(question):
        raise CliError(unchanged, "repeat with --yes", ExitCode.REFUSED)
