"""`biaoshi prefix`: delegate a prefix to another node, list prefixes, home and unhome them.

The prefix office's commands are those of `prefix_office` and `prefix_steps`.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from protocol.handle import to_text
from resolver.cli import prefix_office, prefix_steps
from resolver.cli.connect import (
    Where,
    find_target,
)
from resolver.cli.errors import CliError
from resolver.cli.explain import explain_handle_error
from resolver.cli.output import print_json
from resolver.cli.where_options import JsonOption, asks
from resolver.client import BlockingClient, HandleError
from resolver.node_files import NodeFilesError, read_delegation
from resolver.node_setup import check_prefix, delegation_values, prefix_handle_of

app = typer.Typer(
    help="Apply for prefixes, give them out, delegate, suspend and list them.", no_args_is_help=True
)

for _command in (
    prefix_office.apply,
    prefix_office.applications,
    prefix_office.application,
    prefix_office.approve,
    prefix_office.refuse,
    prefix_steps.suspend,
    prefix_steps.resume,
    prefix_steps.transfer,
    prefix_steps.release,
    prefix_steps.remove,
    prefix_steps.standing,
    prefix_steps.quota,
    prefix_steps.erase_person,
):
    app.command()(_command)

PrefixArgument = Annotated[str, typer.Argument(help="Such as 88.118", show_default=False)]


@app.command()
@asks()
def delegate(
    where: Where,
    file: Annotated[
        Path, typer.Argument(help="delegation.json of the node below.", dir_okay=False)
    ],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier delegation.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Create the prefix handle of a node below at this node, as its administrator.

    It gets the node's site, the key of its administrator, and the right to administer itself.
    Example: biaoshi prefix delegate delegation.json --node secondary
    """
    try:
        delegation = read_delegation(file)
    except NodeFilesError as error:
        hint = "give delegation.json from the data folder of the node below: biaoshi init makes it"
        raise CliError(str(error), hint) from None
    check_prefix(delegation.prefix)
    handle = prefix_handle_of(delegation.prefix)
    values = delegation_values(delegation, now_s=int(time.time()))

    def act(client: BlockingClient) -> None:
        client.create(handle, values, overwrite=overwrite)

    _with_client(where, to_text(handle), act)
    _report(as_json, handle, "delegated", f"{delegation.prefix} is delegated: {to_text(handle)}")


@app.command("list")
@asks()
def list_(
    where: Where,
    prefix: Annotated[
        str, typer.Argument(help="List the handles under it; without it, the prefixes homed.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """List the prefixes a node answers for, or the handles under one of them."""
    handles: list[str] = []

    def act(client: BlockingClient) -> None:
        listing = client.list_handles(prefix) if prefix else client.list_homed()
        for handle in listing:
            if as_json:
                handles.append(to_text(handle))
            else:
                print(to_text(handle))

    _with_client(where, prefix or "the prefixes homed", act)
    if as_json:
        print_json({"handles": handles})


@app.command()
@asks(root=False)
def home(
    where: Where,
    prefix: PrefixArgument,
    as_json: JsonOption = False,
) -> None:
    """Have a node answer for a prefix."""
    check_prefix(prefix)
    _with_client(where, prefix, lambda client: client.home(prefix))
    _report(as_json, prefix_handle_of(prefix), "homed", f"{prefix} is homed")


@app.command()
@asks(root=False)
def unhome(
    where: Where,
    prefix: PrefixArgument,
    as_json: JsonOption = False,
) -> None:
    """Have a node no longer answer for a prefix; its handles stay in the store."""
    check_prefix(prefix)
    _with_client(where, prefix, lambda client: client.unhome(prefix))
    _report(as_json, prefix_handle_of(prefix), "unhomed", f"{prefix} is no longer homed")


def _with_client(where: Where, subject: str, act: Callable[[BlockingClient], None]) -> None:
    try:
        with find_target(where, log_in=True).open() as client:
            act(client)
    except HandleError as error:
        raise explain_handle_error(error, subject) from error


def _report(as_json: bool, handle: bytes, verdict: str, words: str) -> None:
    if as_json:
        print_json({"handle": to_text(handle), "verdict": verdict})
    else:
        print(words)
