"""`biaoshi prefix suspend`, `resume`, `transfer`, `release`, `remove`, `quota` and so on."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from resolver.cli.administration import administered
from resolver.cli.connect import (
    Where,
)
from resolver.cli.prefix_office import (
    PrefixArgument,
    ReasonOption,
    read_object,
    read_public_key,
    report,
)
from resolver.cli.where_options import JsonOption, asks
from resolver.client.administration import BlockingAdministrationClient

WhyOption = Annotated[str, typer.Option("--reason", "-r", help="Why; everybody who asks sees it.")]


@asks(root=False, rest=True)
def suspend(
    where: Where,
    prefix: PrefixArgument,
    reason: WhyOption,
    as_json: JsonOption = False,
) -> None:
    """Have a prefix stop answering within a second; caches elsewhere keep answers to their TTL."""
    _step(where, as_json, prefix, lambda client: client.suspend(prefix, reason))


@asks(root=False, rest=True)
def resume(
    where: Where,
    prefix: PrefixArgument,
    reason: ReasonOption = "",
    as_json: JsonOption = False,
) -> None:
    """Have a suspended prefix answer again, or take its release back."""
    _step(where, as_json, prefix, lambda client: client.resume(prefix, reason))


@asks(root=False, rest=True)
def transfer(
    where: Where,
    prefix: PrefixArgument,
    public_key: Annotated[
        Path,
        typer.Option("--public-key", help="The new owner's key, PEM or .bin.", dir_okay=False),
    ],
    particulars: Annotated[
        Path | None, typer.Option(help="JSON file: the new owner's.", dir_okay=False)
    ] = None,
    reason: ReasonOption = "",
    as_json: JsonOption = False,
) -> None:
    """Give a prefix to somebody else; keys and rights of the one before are gone."""
    new_key = read_public_key(public_key)
    document = None if particulars is None else read_object(particulars)
    _step(
        where,
        as_json,
        prefix,
        lambda client: client.transfer(prefix, new_key, particulars=document, reason=reason),
    )


@asks(root=False, rest=True)
def release(
    where: Where,
    prefix: PrefixArgument,
    reason: WhyOption,
    as_json: JsonOption = False,
) -> None:
    """Note that a prefix is to be deleted: nothing new is registered under it."""
    _step(where, as_json, prefix, lambda client: client.release(prefix, reason))


@asks(root=False, rest=True)
def remove(
    where: Where,
    prefix: PrefixArgument,
    as_json: JsonOption = False,
) -> None:
    """Delete a released prefix under which nothing is left."""
    _step(where, as_json, prefix, lambda client: client.remove(prefix))


@asks(root=False, rest=True)
def standing(
    where: Where,
    prefix: PrefixArgument,
    as_json: JsonOption = False,
) -> None:
    """Show how a prefix stands that this node gave out."""
    _step(where, as_json, prefix, lambda client: client.prefix(prefix))


@asks(root=False, rest=True)
def quota(
    where: Where,
    prefix: PrefixArgument,
    identifiers: Annotated[
        int | None, typer.Option(help="New identifiers a day; with neither: show.", min=0)
    ] = None,
    requests: Annotated[int | None, typer.Option(help="Registering requests a day.", min=0)] = None,
    no_limit: Annotated[bool, typer.Option("--no-limit", help="Take both quotas away.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show a prefix's quotas and what is left today; with options, set them. Days are Shanghai's.

    What is not named has no limit afterwards.
    """
    with administered(where, prefix) as client:
        if no_limit or identifiers is not None or requests is not None:
            client.set_quota(prefix, identifiers=identifiers, requests=requests)
        told = client.quota(prefix)
    report(told, as_json, _quota_words(told))


@asks(root=False, rest=True)
def erase_person(
    where: Where,
    subject: Annotated[
        str, typer.Argument(help="As an application names the person.", show_default=False)
    ],
    as_json: JsonOption = False,
) -> None:
    """Erase a person for good: the key goes, journal and copies hold what nobody can read."""
    with administered(where, subject) as client:
        told = client.erase_person(subject)
    report(told, as_json, f"person {told['subject']} is erased since {told['erased']}")


def _quota_words(told: dict[str, Any]) -> str:
    lines = []
    for name in ("identifiers", "requests"):
        each = told[name]
        limit = "no limit" if each["perDay"] is None else f"{each['used']} of {each['perDay']} used"
        lines.append(f"{name}: {limit}")
    return "\n".join([*lines, f"begins anew {told['resets']}"])


def _step(
    where: Where,
    as_json: bool,
    prefix: str,
    step: Callable[[BlockingAdministrationClient], dict[str, Any]],
) -> None:
    with administered(where, prefix) as client:
        told = step(client)
    words = f"{told['prefix']} is {told['state']}"
    if told.get("since"):
        words += f" since {told['since']}: {told['reason']}"
    report(told, as_json, words)
