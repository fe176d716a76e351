"""`biaoshi prefix apply`, `applications`, `approve`, `suspend` and so on: the prefix office."""

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from protocol.errors import ProtocolError
from protocol.json_forms import key_to_json
from resolver.cli.administration import administered
from resolver.cli.connect import (
    Where,
    find_target,
)
from resolver.cli.errors import CliError, ExitCode
from resolver.cli.explain import explain_handle_error
from resolver.cli.output import print_json
from resolver.cli.where_options import JsonOption, asks
from resolver.client import HandleError
from resolver.client.office import apply_for_prefix, ask_for_application
from resolver.node_files import NodeFilesError, read_json

Document = dict[str, Any]
PrefixArgument = Annotated[str, typer.Argument(help="Such as 88.118.5", show_default=False)]
NumberArgument = Annotated[
    int, typer.Argument(help="Number of the application.", min=1, show_default=False)
]
ReasonOption = Annotated[
    str, typer.Option("--reason", "-r", help="Why; of a suspension everybody sees it.")
]


class Mode(StrEnum):
    """Where the identifiers under a prefix live."""

    DELEGATED = "delegated"
    HOSTED = "hosted"


@asks(root=False, login=False)
def apply(
    where: Where,
    file: Annotated[
        Path,
        typer.Argument(help="JSON file with prefix and particulars.", dir_okay=False),
    ],
    public_key: Annotated[
        Path | None,
        typer.Option("--public-key", help="Your public key, PEM or .bin.", dir_okay=False),
    ] = None,
    delegation: Annotated[
        Path | None,
        typer.Option(help="delegation.json of your node, if you run one.", dir_okay=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Apply for a prefix at the node above, without logging in.

    Keep the token that is printed: it shows how the application stands.
    Example: biaoshi prefix apply application.json --delegation delegation.json --server ADDR:PORT
    """
    document = read_object(file)
    if delegation is not None:
        document |= _from_delegation(read_object(delegation), document)
    if public_key is not None:
        document["publicKey"] = read_public_key(public_key)
    if "publicKey" not in document:
        hint = "add --public-key FILE, or --delegation delegation.json"
        raise CliError("an application needs your public key", hint, ExitCode.USAGE)
    site = find_target(where, log_in=False).site
    assert site is not None, "node and server have one"
    try:
        told = asyncio.run(apply_for_prefix(site, document))
    except HandleError as error:
        raise explain_handle_error(error, str(document.get("prefix", ""))) from error
    words = f"application {told['number']} is in review; token {told['token']}"
    report(told, as_json, words)


@asks(root=False, rest=True)
def application(
    where: Where,
    number: NumberArgument,
    token: Annotated[str, typer.Option(help="What applying printed; without it, log in.")] = "",
    people: Annotated[
        bool, typer.Option("--people", help="Show people in clear; the node logs that.")
    ] = False,
) -> None:
    """Show an application, as its applicant or as a reviewer."""
    if token:
        site = find_target(where, log_in=False).site
        assert site is not None, "node and server have one"
        try:
            print_json(asyncio.run(ask_for_application(site, number, token)))
        except HandleError as error:
            raise explain_handle_error(error, str(number)) from error
        return
    with administered(where, str(number)) as client:
        print_json(client.application(number, people=people))


@asks(root=False, rest=True)
def applications(
    where: Where,
    state: Annotated[str, typer.Option(help='Only those in this state: "in review".')] = "",
    as_json: JsonOption = False,
) -> None:
    """List the applications for prefixes."""
    with administered(where, "applications") as client:
        found = list(client.applications(state=state))
    if as_json:
        print_json({"applications": found})
    for each in () if as_json else found:
        print(
            f"{each['number']}\t{each['prefix']}\t{each['state']}\t{each['made']}\t{each['name']}"
        )


@asks(root=False, rest=True)
def approve(
    where: Where,
    number: NumberArgument,
    mode: Annotated[Mode, typer.Option(help="Served by the applicant's node, or by this one.")],
    reason: ReasonOption = "",
    delegation: Annotated[
        Path | None,
        typer.Option(help="delegation.json, if the application has no site.", dir_okay=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Give out the prefix that an application asks for."""
    site = None if delegation is None else read_object(delegation)
    with administered(where, str(number)) as client:
        told = client.approve(number, mode.value, reason=reason, delegation=site)
    report(told, as_json, f"{told['prefix']} is {told['mode']}: {told['handle']}")


@asks(root=False, rest=True)
def refuse(
    where: Where,
    number: NumberArgument,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why: the applicant sees it.")],
    as_json: JsonOption = False,
) -> None:
    """Refuse an application."""
    with administered(where, str(number)) as client:
        told = client.refuse(number, reason)
    report(told, as_json, f"application {number} for {told['prefix']} is rejected")


def read_object(path: Path) -> Document:
    """Return the JSON object in a file. Raises: NodeFilesError."""
    document = read_json(path)
    if not isinstance(document, dict):
        raise NodeFilesError(f"{path} holds no JSON object")
    return document


def read_public_key(path: Path) -> Any:
    """Return a public key as the node takes it: PEM, or the form it has in JSON.

    Raises:
        NodeFilesError: the file holds neither PEM nor HS_PUBKEY data.
    """
    octets = path.read_bytes()
    if octets.lstrip().startswith(b"-----BEGIN"):
        return octets.decode("ascii", "replace")
    try:
        return key_to_json(octets)
    except ProtocolError as error:
        raise NodeFilesError(f"{path} is no public key: {error}") from None


def _from_delegation(delegation: Document, document: Document) -> Document:
    """Return what a delegation says that the application does not."""
    key = delegation.get("admin_public_key")
    found = {
        "prefix": delegation.get("prefix"),
        "site": delegation.get("site"),
        "role": delegation.get("role"),
        "publicKey": key.get("value") if isinstance(key, dict) else None,
    }
    return {name: each for name, each in found.items() if each is not None and name not in document}


def report(told: Document, as_json: bool, words: str) -> None:
    """Print what the node told, or words."""
    if as_json:
        print_json({name: each for name, each in told.items() if name != "responseCode"})
    else:
        print(words)
