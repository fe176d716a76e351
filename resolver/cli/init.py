"""`biaoshi init`: make the data folder of a new node and say what to do next."""

import ipaddress
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from resolver.cli.errors import CliError, ExitCode
from resolver.cli.output import print_json, show_identity
from resolver.config import NodeRole, load_config
from resolver.node_files import IpAddress, NodeFolder
from resolver.node_setup import NodePlan, make_node

TOP_PREFIX = "88"
HANDLE_PORT = 2641
HTTP_PORT = 8000


def init(
    role: Annotated[NodeRole, typer.Argument(help="What the node is.", show_default=False)],
    prefix: Annotated[
        str, typer.Option(help="The node's prefix, such as 88.118 (top: 88 if not given).")
    ] = "",
    data: Annotated[
        Path | None,
        typer.Option(help="The folder to make.  [default: ./ROLE]", show_default=False),
    ] = None,
    listen: Annotated[
        list[str] | None,
        typer.Option(help="Address to listen on; may be repeated.  [default: 127.0.0.1]"),
    ] = None,
    public_address: Annotated[
        list[str] | None,
        typer.Option(
            help="Address under which others reach the node; a second one is the alternative "
            "(IPv4 and IPv6).  [default: the listen addresses]"
        ),
    ] = None,
    handle_port: Annotated[int, typer.Option(min=1, max=65_535)] = HANDLE_PORT,
    http_port: Annotated[int, typer.Option(min=1, max=65_535)] = HTTP_PORT,
    root: Annotated[
        Path | None,
        typer.Option(help="bootstrap.json of the top node (all roles but top).", dir_okay=False),
    ] = None,
    case_sensitive: Annotated[
        bool, typer.Option("--case-sensitive", help="Suffixes keep their case, for good.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Make the folder of a new node: keys, configuration, site info, an empty store.

    Example: biaoshi init enterprise --prefix 88.118.5 --root top/bootstrap.json
    """
    plan = make_plan(
        role,
        prefix,
        data,
        listen or ["127.0.0.1"],
        public_address or [],
        (handle_port, http_port),
        root,
    )
    plan = replace(plan, case_sensitive=case_sensitive)
    folder = make_node(plan, now_s=int(time.time()))
    load_config(folder.config)  # what we wrote must be what we read
    if as_json:
        admin = show_identity(plan.admin) if plan.admin else None
        print_json({"folder": str(folder.path), "role": role.value, "administrator": admin})
        return
    print(f"made the {role.value} node {plan.prefix}".rstrip() + f" in {folder.path}")
    for line in next_steps(plan, folder):
        print(line)


def make_plan(
    role: NodeRole,
    prefix: str,
    data: Path | None,
    listen: list[str],
    public: list[str],
    ports: tuple[int, int],
    root: Path | None,
) -> NodePlan:
    """Check what was asked for and return the plan of the node. Raises: CliError."""
    if role is NodeRole.TOP:
        prefix = prefix or TOP_PREFIX
    elif root is None:
        raise _usage(
            f"this {role.value} node has to know the root",
            "add --root FILE with bootstrap.json out of the top node's folder",
        )
    if role in (NodeRole.SECONDARY, NodeRole.ENTERPRISE) and not prefix:
        raise _usage(f"this {role.value} node needs its prefix", "add --prefix, such as 88.118.5")
    if role is NodeRole.RECURSIVE and prefix:
        raise _usage("a recursive node has no prefix", "leave --prefix out")
    if role is NodeRole.TOP and root is not None:
        raise _usage("a top node is the root itself", "leave --root out")
    if ports[0] == ports[1]:
        raise _usage(f"both ports are {ports[0]}", "give --http-port another number")
    listen_ips = tuple(_parse_address(text) for text in listen)
    public_ips = tuple(_parse_address(text) for text in public) or listen_ips
    if any(ip.is_unspecified for ip in public_ips):
        raise _usage(
            f"nobody can reach the node under {public_ips[0]}",
            "add --public-address with the address others use",
        )
    return NodePlan(
        role=role,
        prefix=prefix,
        folder=data or Path(role.value),
        listen=listen_ips,
        public=public_ips,
        handle_port=ports[0],
        http_port=ports[1],
        root=root,
    )


def next_steps(plan: NodePlan, folder: NodeFolder) -> list[str]:
    """Return the lines that say what to do now."""
    steps = []
    if plan.admin is not None:
        steps.append(
            f"keep {folder.admin_key} safe: whoever holds it is {show_identity(plan.admin)}, "
            "the administrator"
        )
    if plan.role is NodeRole.TOP:
        steps.append(f"give {folder.bootstrap} to everybody who runs a node below (--root)")
    elif plan.admin is not None:
        steps.append(
            f"send {folder.delegation} to the operator of the parent node, who runs: "
            f"biaoshi prefix delegate {folder.delegation.name} --node FOLDER"
        )
    steps.append(f"start it: biaoshi serve {folder.path}")
    steps.append(f"check it: biaoshi doctor {folder.path}")
    return ["next:"] + [f"  {number}. {step}" for number, step in enumerate(steps, 1)]


def _parse_address(text: str) -> IpAddress:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise _usage(f"{text!r} is not an address", "write IPv4 or IPv6, such as ::1") from None


def _usage(what: str, hint: str) -> CliError:
    return CliError(what, hint, ExitCode.USAGE)
