"""`biaoshi register`, `update`, `delete`: one handle at a time."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from protocol.errors import ProtocolError
from protocol.json_forms import values_from_json
from protocol.value import HandleValue
from resolver.cli.connect import (
    Where,
    find_target,
)
from resolver.cli.errors import CliError, ExitCode
from resolver.cli.explain import explain_handle_error
from resolver.cli.output import print_json
from resolver.cli.value_texts import parse_identity, parse_values
from resolver.cli.where_options import JsonOption, YesOption, asks, confirm
from resolver.client import BlockingClient, HandleError
from resolver.node_files import NodeFilesError, read_json
from resolver.rows.value_texts import FIRST_ADMIN_INDEX, make_admin_value

HandleArgument = Annotated[str, typer.Argument(help="prefix/suffix", show_default=False)]


@asks()
def register(
    where: Where,
    handle: HandleArgument,
    value: Annotated[
        list[str] | None,
        typer.Option("--value", "-v", help="TYPE=DATA or TYPE:INDEX=DATA; repeat for more."),
    ] = None,
    values_file: Annotated[
        Path | None, typer.Option("--values", help="JSON file with values.", dir_okay=False)
    ] = None,
    owner: Annotated[
        list[str] | None,
        typer.Option(help="Identity that may administer the handle (HS_ADMIN); may be repeated."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the handle if it exists.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Register a new handle with its values.

    DATA is text; @FILE reads a file; HS_ADMIN and HS_VLIST take identities (index:handle).
    Example: biaoshi register 88.118.5/valve-7 -v URL=https://example.org/7 --node enterprise
    """
    values = collect_values(value or [], values_file, owner or [])
    with _opened(where) as client:
        _attempt(handle, lambda: client.create(handle.encode(), values, overwrite=overwrite))
    count = "1 value" if len(values) == 1 else f"{len(values)} values"
    _report(as_json, handle, "registered", f"{handle}: registered with {count}")


def collect_values(
    texts: list[str], values_file: Path | None, owners: list[str]
) -> tuple[HandleValue, ...]:
    """Return the values of all options together, in order of index. Raises: CliError."""
    from_file = read_values_file(values_file) if values_file else ()
    taken = {value.index for value in from_file}
    values = [*from_file, *parse_values(texts, taken)]
    used = {value.index for value in values}
    index = FIRST_ADMIN_INDEX
    for owner in owners:
        while index in used:
            index += 1
        used.add(index)
        values.append(make_admin_value(parse_identity(owner), index))
    if not values:
        raise CliError("no values given", "add --value TYPE=DATA, or --values FILE", ExitCode.USAGE)
    return tuple(sorted(values, key=lambda value: value.index))


def read_values_file(path: Path) -> tuple[HandleValue, ...]:
    """Read values in their JSON form: a list, `{"values": [...]}`, or one. Raises: CliError."""
    try:
        return tuple(values_from_json(read_json(path)))
    except (ProtocolError, NodeFilesError, msgspec.ValidationError) as error:
        raise CliError(
            f"{path}: {error}", "write values as the REST interface shows them (resolve --json)"
        ) from None


@asks()
def update(
    where: Where,
    handle: HandleArgument,
    add: Annotated[
        list[str] | None, typer.Option("--add", help="TYPE=DATA or TYPE:INDEX=DATA to add.")
    ] = None,
    modify: Annotated[
        list[str] | None,
        typer.Option("--modify", help="TYPE:INDEX=DATA in place of the value at INDEX."),
    ] = None,
    remove: Annotated[
        list[int] | None, typer.Option("--remove", help="INDEX of a value to remove.", min=1)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Change the values of a handle: modify, then add, then remove, each one request.

    A request that fails changes nothing; those before it have been done.
    Example: biaoshi update 88.118.5/valve-7 --modify URL:1=https://example.org/new
    """
    changed = parse_values(modify or [])
    _check_indexes_given(modify or [], changed)
    if not (add or changed or remove):
        raise CliError("nothing to change", "give --add, --modify or --remove", ExitCode.USAGE)
    name = handle.encode()
    with _opened(where) as client:
        if changed:
            _attempt(handle, lambda: client.modify(name, changed))
        if add:
            _add(client, handle, add)
        if remove:
            _attempt(handle, lambda: client.remove(name, remove))
    words = f"{len(changed)} modified, {len(add or [])} added, {len(remove or [])} removed"
    _report(as_json, handle, "updated", f"{handle}: {words}")


def _check_indexes_given(texts: list[str], values: tuple[HandleValue, ...]) -> None:
    for text, value in zip(texts, values, strict=True):
        if not text.split("=")[0].endswith(f":{value.index}"):
            raise CliError(
                f"{text!r} does not say which value to modify",
                "write TYPE:INDEX=DATA",
                ExitCode.USAGE,
            )


def _add(client: BlockingClient, handle: str, texts: list[str]) -> None:
    taken = _find_indexes(client, handle.encode())
    values = parse_values(texts, taken)
    _attempt(handle, lambda: client.add(handle.encode(), values))


def _find_indexes(client: BlockingClient, handle: bytes) -> set[int]:
    try:
        resolution = client.resolve(handle, authoritative=True)
    except HandleError:
        return set()  # the add itself will say what is wrong
    return {value.index for value in resolution.values}


@asks()
def delete(
    where: Where,
    handle: HandleArgument,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Delete a handle with all its values."""
    confirm(f"delete {handle} for good?", "nothing was deleted", yes=yes)
    with _opened(where) as client:
        _attempt(handle, lambda: client.delete(handle.encode()))
    _report(as_json, handle, "deleted", f"{handle}: deleted")


def _opened(where: Where) -> BlockingClient:
    return find_target(where, log_in=True).open()


def _attempt(handle: str, act: Callable[[], object]) -> None:
    try:
        act()
    except HandleError as error:
        raise explain_handle_error(error, handle) from error


def _report(as_json: bool, handle: str, verdict: str, words: str) -> None:
    if as_json:
        print_json({"handle": handle, "verdict": verdict})
    else:
        print(words)
