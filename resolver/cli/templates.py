"""`biaoshi template`: register, show, list and withdraw templates; check rows against one."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from registry.template_documents import parse_template
from resolver.cli.administration import administered
from resolver.cli.connect import (
    Where,
)
from resolver.cli.errors import CliError, ExitCode
from resolver.cli.output import print_json, print_table, visible
from resolver.cli.template_checks import Checked, check_rows
from resolver.cli.where_options import JsonOption, asks
from resolver.client.templates import Attribute, Template
from resolver.node_files import read_json

app = typer.Typer(
    help="Templates of metadata: attributes that identifiers are made from.", no_args_is_help=True
)

PrefixArgument = Annotated[
    str, typer.Argument(help="Whose it is, such as 88.118.5", show_default=False)
]
CodeArgument = Annotated[str, typer.Argument(help="Such as auto-part", show_default=False)]
FileArgument = Annotated[
    Path, typer.Argument(help="JSON file with the template.", show_default=False, dir_okay=False)
]


@app.command()
@asks(rest=True)
def register(
    where: Where,
    file: FileArgument,
    as_json: JsonOption = False,
) -> None:
    """Register a version of a template; without "version", the next one.

    FILE: {"prefix": "88.118.5", "code": "auto-part", "industry": "C3670", "title": "Parts",
    "attributes": [{"name": "serial", "type": "string", "required": true, "length": 20}]}.
    Types: string, number, boolean, date, url, identifier, enumeration (with "values"), list (with
    "itemType"). The same template again changes nothing; another needs the next version.
    """
    document = _read_document(file)
    with administered(where, str(document["prefix"])) as client:
        made = client.register_template(document)
    if as_json:
        print_json(made)
    else:
        print(visible(f"{made.name} version {made.version}: {len(made.attributes)} attributes"))


@app.command()
@asks(rest=True)
def show(
    where: Where,
    prefix: PrefixArgument,
    code: CodeArgument,
    version: Annotated[int, typer.Option(min=0, help="0 is the last one.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Show a version of a template. Exit code 1 when there is none."""
    with administered(where, prefix) as client:
        found = client.find_template(prefix, code, version)
    if found is None:
        raise _not_found(prefix, code)
    if as_json:
        print_json(found)
        return
    _print_template(found)


@app.command("list")
@asks(rest=True)
def list_(
    where: Where,
    prefix: PrefixArgument,
    code: Annotated[str, typer.Option(help="Only versions of this one.")] = "",
    as_json: JsonOption = False,
) -> None:
    """List all versions of a prefix's templates; with --json, one on each line."""
    with administered(where, prefix) as client:
        found = client.list_templates(prefix, code=code)
        if as_json:
            for each in found:
                print(msgspec.json.encode(each).decode())
            return
        columns = ("code", "version", "industry", "attributes", "title", "state")
        rows = [
            (
                each.code,
                str(each.version),
                each.industry,
                str(len(each.attributes)),
                each.title,
                "withdrawn" if each.withdrawn else "active",
            )
            for each in found
        ]
    print_table(f"templates of {prefix}", columns, rows, elastic="title")


@app.command()
@asks(rest=True)
def withdraw(
    where: Where,
    prefix: PrefixArgument,
    code: CodeArgument,
    version: Annotated[int, typer.Argument(min=1, help="Which one.", show_default=False)],
    reason: Annotated[str, typer.Option(help="Why; everybody can read it.", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Have no more identifiers made from a version; those there are keep their meaning."""
    with administered(where, prefix) as client:
        made = client.withdraw_template(prefix, code, version, reason)
    if as_json:
        print_json(made)
    else:
        print(visible(f"{made.name} version {made.version}: withdrawn"))


@app.command()
def check(
    file: Annotated[
        Path,
        typer.Argument(
            help="Rows: .ndjson, .jsonl or .msgpack; also with .gz or .zst.",
            show_default=False,
            dir_okay=False,
        ),
    ],
    template: Annotated[
        Path,
        typer.Option(
            help="JSON file with the template, as it was registered.",
            show_default=False,
            dir_okay=False,
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Check rows against a template before they are sent; no node is asked.

    Every row that would be refused is named with all that is wrong in it. Exit code 1 if one is.
    """
    parsed = parse_template(_read_document(template))
    assert parsed.template is not None, "its faults were raised"
    checked = check_rows(file, parsed.template)
    if as_json:
        print_json(checked)
    else:
        _print_checked(checked)
    if checked.refused:
        raise typer.Exit(ExitCode.REFUSED)


def _read_document(file: Path) -> dict[str, Any]:
    """Return the template in a file, which has no faults. Raises: CliError, NodeFilesError."""
    document = read_json(file)
    faults = parse_template(document).faults
    if faults:
        raise CliError(
            f"{file} is no template: {'; '.join(faults)}", "biaoshi template register --help"
        )
    assert isinstance(document, dict), "else it had faults"
    return document


def _not_found(prefix: str, code: str) -> CliError:
    return CliError(
        f"there is no such version of a template {code} of {prefix}",
        f"biaoshi template list {prefix} shows all",
        ExitCode.REFUSED,
    )


def _print_template(template: Template) -> None:
    print(visible(f"{template.name} version {template.version}: {template.title}"))
    print(visible(f"industry {template.industry}, registered {template.registered}"))
    if template.active_carrier:
        print("for active carriers")
    if template.withdrawn is not None:
        print(visible(f"withdrawn {template.withdrawn.time}: {template.withdrawn.reason}"))
    columns = ("index", "name", "type", "alias", "required", "length", "values")
    rows = [_cells(2000 + at, each) for at, each in enumerate(template.attributes)]
    print_table("", columns, rows, elastic="values")


def _cells(index: int, attribute: Attribute) -> tuple[str, ...]:
    type_ = f"{attribute.type} of {attribute.item_type}" if attribute.item_type else attribute.type
    return (
        str(index),
        attribute.name,
        type_,
        attribute.alias,
        "yes" if attribute.required else "",
        str(attribute.length or ""),
        ", ".join(attribute.values),
    )


def _print_checked(checked: Checked) -> None:
    for each in checked.faulty:
        print(visible(f"row {each.row} {each.handle}: {each.message}"))
    more = checked.refused - len(checked.faulty)
    if more:
        print(f"and {more:,} more rows")
    print(f"{checked.rows:,} rows, {checked.refused:,} would be refused")
