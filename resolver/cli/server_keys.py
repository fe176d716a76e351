"""`biaoshi admin rotate-key`, `publish-site`, `retire-key`: a new server key, with an overlap.

rotate-key     the node's files: a new key, and the site of the next serial that names it
(a node that runs is told: it signs with either key, as the request's site serial says)
publish-site   the values of its prefix handles that hold its site, here or at its parent
(two days, until nobody has the old site any more)
retire-key     the old key is removed
"""

import os
import signal
import time
from dataclasses import replace
from typing import Annotated

import typer

from protocol.errors import ProtocolError
from protocol.handle import PREFIX_HANDLE_START, to_text
from protocol.types.hs_site import HsSite, decode_hs_site
from protocol.value import HandleValue
from registry.store import Store
from resolver.cli.connect import Where, find_identity, find_node
from resolver.cli.errors import CliError, ExitCode
from resolver.cli.explain import explain_handle_error
from resolver.cli.network_checks import find_pid, is_alive
from resolver.cli.output import print_json
from resolver.cli.value_texts import parse_identity
from resolver.cli.where_options import AdminOption, JsonOption
from resolver.client import (
    BlockingClient,
    HandleClient,
    HandleError,
    HandleNotFoundError,
    ValuesNotFoundError,
)
from resolver.config import Config, NodeRole, load_config
from resolver.key_rotation import (
    OVERLAP_S,
    RotationError,
    find_rotation,
    note_published,
    retire_keys,
)
from resolver.key_rotation import rotate_key as replace_server_key
from resolver.node import Node, load_node
from resolver.node_files import NodeFolder, read_bootstrap
from resolver.server_keys import has_any

NodeHere = Annotated[str, typer.Option("--node", help="Data folder of the node.")]
_SITE_TYPES = ("HS_SITE", "HS_SITE.6", "HS_SITE.PREFIX", "HS_NA_DELEGATE")
_TAKE_UP_S = 60.0  # each process ends within its stop_timeout_s, and starts in moments
_PAUSE_S = 0.1
_ANSWERS = 8  # in a row, each over a connection of its own: any worker may answer one


def rotate_key(node: NodeHere, as_json: JsonOption = False) -> None:
    """Give the node a new server key; the one it has still serves who knows its present site.

    A node that runs takes it up while it serves. Run it again when it was interrupted.
    """
    folder = find_node(node)
    try:
        rotation = replace_server_key(folder)
    except RotationError as error:
        raise CliError(str(error), error.hint, ExitCode.REFUSED) from None
    earlier = [serial for serial, _ in rotation.signing]
    is_running = _take_up(folder)
    if as_json:
        print_json({"serial": rotation.serial, "signing": earlier, "running": is_running})
        return
    print(f"the node's site has serial {rotation.serial} now, and a new server key")
    steps = [] if is_running else ["start the node"]
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
    with BlockingClient(
        HandleClient(read_bootstrap(config.bootstrap_path), identity=identity)
    ) as asked:
        for handle in _prefix_handles(folder, config):
            name = to_text(handle)
            try:
                changed[name] = _publish_at(asked, handle, own)
            except HandleError as error:
                raise explain_handle_error(error, name) from None
    folder.earlier_keys.mkdir(mode=0o700, exist_ok=True)
    note_published(folder, own.site.serial)
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
        is_published = load_config(folder.config).role.registers
        serials = retire_keys(folder, now_s=time.time(), at_once=at_once, is_published=is_published)
    except RotationError as error:
        raise CliError(str(error), error.hint, ExitCode.REFUSED) from None
    pid = _running_pid(folder)
    if serials and pid is not None:
        os.kill(pid, signal.SIGHUP)
    if as_json:
        print_json({"retired": list(serials), "serial": find_rotation(folder).serial})
        return
    for serial in serials:
        print(f"the key of the site of serial {serial} is removed")
    if not serials:
        print("no earlier key signs")
    elif pid is not None:
        print("the node starts its processes anew, one by one, and forgets it")


def _running_pid(folder: NodeFolder) -> int | None:
    pid = find_pid(folder)
    return pid if pid is not None and is_alive(pid) else None


def _take_up(folder: NodeFolder) -> bool:
    """Have a running node take up its files, and wait until it has; False: it does not run.

    Raises:
        CliError: it does not, or not in time.
    """
    pid = _running_pid(folder)
    if pid is None:
        return False
    own = load_node(load_config(folder.config))
    os.kill(pid, signal.SIGHUP)
    end_s, agreeing = time.monotonic() + _TAKE_UP_S, 0
    while agreeing < _ANSWERS:
        agreeing = agreeing + 1 if _running_serial(own) == own.site.serial else 0
        if time.monotonic() > end_s:
            raise CliError(
                f"the node goes on with its earlier site, not with serial {own.site.serial}",
                "look into its log, start it again",
                ExitCode.REFUSED,
            )
        if not agreeing:
            time.sleep(_PAUSE_S)
    return True


def _running_serial(own: Node) -> int | None:
    """Return the serial of the site that the running node tells; None: it does not answer."""
    try:
        with BlockingClient(HandleClient(site=own.site, certify=False)) as asked:
            return asked.site_info().serial
    except HandleError:
        return None


def _check_runs_with(own: Node) -> None:
    """Raise CliError unless the running node has the site that is to be published."""
    running = _running_serial(own)
    if running is None:
        raise CliError("the node does not answer", "start it", ExitCode.UNREACHABLE)
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
    return has_any(site, keys)
