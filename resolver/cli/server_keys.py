"""`biaoshi admin rotate-key`, `publish-site`, `retire-key`: a new server key, with an overlap.

rotate-key     the node's files: a new key, and the site of the next serial that names it
(start the node again: it signs with either key, as the request's site serial says)
publish-site   the values of its prefix handles that hold its site, here or at its parent
(two days, until nobody has the old site any more)
retire-key     the old key is removed
"""

import time
from dataclasses import replace
from typing import Annotated

import typer

from protocol.errors import ProtocolError
from protocol.handle import PREFIX_HANDLE_START, to_text
from protocol.types.hs_site import HsSite, decode_hs_site
from protocol.value import HandleValue
from registry.store import Store
from resolver.cli.connect import AdminOption, JsonOption, Where, find_identity, find_node
from resolver.cli.errors import CliError, ExitCode
from resolver.cli.explain import explain_handle_error
from resolver.cli.network_checks import find_pid, is_alive
from resolver.cli.output import print_json
from resolver.cli.value_texts import parse_identity
from resolver.client import (
    BlockingClient,
    HandleClient,
    HandleError,
    HandleNotFoundError,
    ValuesNotFoundError,
)
from resolver.config import Config, NodeRole, load_config
from resolver.key_rotation import OVERLAP_S, RotationError, find_rotation, retire_keys
from resolver.key_rotation import rotate_key as replace_server_key
from resolver.node import Node, load_node
from resolver.node_files import NodeFolder, read_bootstrap

NodeHere = Annotated[str, typer.Option("--node", help="Data folder of the node.")]
_SITE_TYPES = ("HS_SITE", "HS_SITE.6", "HS_SITE.PREFIX", "HS_NA_DELEGATE")
_PAGE = 1_000


def rotate_key(node: NodeHere, as_json: JsonOption = False) -> None:
    """Give the node a new server key; the one it has still serves who knows its present site.

    Run it again when it was interrupted. Then start the node again, and publish the new site.
    """
    folder = find_node(node)
    try:
        rotation = replace_server_key(folder)
    except RotationError as error:
        raise CliError(str(error), error.hint, ExitCode.REFUSED) from None
    earlier = [serial for serial, _ in rotation.signing]
    if as_json:
        print_json({"serial": rotation.serial, "signing": earlier})
        return
    print(f"the node's site has serial {rotation.serial} now, and a new server key")
    steps = ["start the node again" if _runs(folder) else "start the node"]
    if load_config(folder.config).role.registers:
        steps.append(f"biaoshi admin publish-site --node {node}")
    if load_config(folder.config).role is NodeRole.TOP:
        steps.append("give the new bootstrap.json to the nodes that start at this one")
    steps.append(f"after {OVERLAP_S // 86_400} days, biaoshi admin retire-key --node {node}")
    print("\n".join(f"next: {step}" for step in steps))


def publish_site(node: NodeHere, admin: AdminOption = "", as_json: JsonOption = False) -> None:
    """Put the node's present site where its prefix handles hold an earlier one.

    It asks and changes over the network, as the node's administrator, so the node has to run.
    """
    folder = find_node(node)
    config = load_config(folder.config)
    if not config.role.registers:
        raise CliError(
            "a recursive node is published nowhere",
            "whoever was given its site.json needs the new one",
            ExitCode.USAGE,
        )
    own = load_node(config)
    _check_runs_with(own)
    identity = find_identity(Where(node=node, admin=admin), log_in=True)
    changed: dict[str, list[int]] = {}
    with BlockingClient(HandleClient(read_bootstrap(folder.bootstrap), identity=identity)) as asked:
        for handle in _prefix_handles(folder, config):
            name = to_text(handle)
            try:
                changed[name] = _publish_at(asked, handle, own)
            except HandleError as error:
                raise explain_handle_error(error, name) from None
    if as_json:
        print_json({"serial": own.site.serial, "changed": changed})
        return
    for name, indexes in changed.items():
        told = f"the site of serial {own.site.serial} stands at" if indexes else "nothing to change"
        print(f"{name}: {told} {', '.join(map(str, indexes))}".rstrip())


def retire_key(
    node: NodeHere,
    at_once: Annotated[
        bool, typer.Option("--at-once", help="Do not wait until clients know the new site.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove the server key of before; what it signed can be verified as before."""
    folder = find_node(node)
    try:
        serials = retire_keys(folder, now_s=time.time(), at_once=at_once)
    except RotationError as error:
        raise CliError(str(error), error.hint, ExitCode.REFUSED) from None
    if as_json:
        print_json({"retired": list(serials), "serial": find_rotation(folder).serial})
        return
    for serial in serials:
        print(f"the key of the site of serial {serial} is removed")
    if not serials:
        print("no earlier key signs")
    elif _runs(folder):
        print("next: start the node again, it holds the key until then")


def _runs(folder: NodeFolder) -> bool:
    pid = find_pid(folder)
    return pid is not None and is_alive(pid)


def _check_runs_with(own: Node) -> None:
    """Raise CliError unless the running node has the site that is to be published."""
    try:
        with BlockingClient(HandleClient(site=own.site, certify=False)) as asked:
            running = asked.site_info().serial
    except HandleError as error:
        raise explain_handle_error(error) from None
    if running != own.site.serial:
        raise CliError(
            f"the node runs with its site of serial {running}, not {own.site.serial}",
            "start it again: a site is published when its key signs",
            ExitCode.REFUSED,
        )


def _prefix_handles(folder: NodeFolder, config: Config) -> list[bytes]:
    """Return the prefix handles that may hold this node's site."""
    administrators = (parse_identity(each).handle for each in config.roles.administrators)
    found = dict.fromkeys(each for each in administrators if _is_prefix_handle(each))
    with (
        Store.open(folder.store, readonly=True, case_sensitive=None) as store,
        store.read() as view,
    ):
        found |= dict.fromkeys(each for each in view.homed() if _is_prefix_handle(each))
    return list(found)


def _is_prefix_handle(handle: bytes) -> bool:
    # 0.NA/0.NA/88 is a mark for what is derived from 88, not a handle.
    suffix = handle.removeprefix(PREFIX_HANDLE_START)
    return suffix != handle and b"/" not in suffix


def _publish_at(asked: BlockingClient, handle: bytes, own: Node) -> list[int]:
    """Change the values of a handle that hold an earlier site of ours; return their indexes."""
    try:
        found = asked.resolve(handle, _SITE_TYPES, authoritative=True)
    except (HandleNotFoundError, ValuesNotFoundError):
        return []
    changed = [_with_site(each, own.site) for each in found.values if _is_earlier(each, own)]
    if changed:
        asked.modify(handle, changed)
    return [each.index for each in changed]


def _with_site(value: HandleValue, site: HsSite) -> HandleValue:
    return replace(value, data=site.encode())


def _is_earlier(value: HandleValue, own: Node) -> bool:
    if value.data == own.site_octets:
        return False
    try:
        site = decode_hs_site(value.data)
    except ProtocolError:
        return False
    keys = {own.public_key, *(each.public_key for each in own.earlier_keys)}
    return any(server.public_key in keys for server in site.servers)
