"""Making a new node: keys, configuration, site, and a store that holds its first records.

What each role is given:

     top         homes 0.NA/0.NA and 0.NA/<prefix>; holds both prefix handles, its administrator's
                 key among them; its own site is everybody's bootstrap.json
     secondary   homes 0.NA/<prefix> and the marker 0.NA/0.NA/<prefix>: it answers for the prefix
                 handles below its own
     enterprise  homes 0.NA/<prefix>
     recursive   holds nothing: a cache

The administrator of a node is `300:0.NA/<prefix>` (top: `300:0.NA/0.NA`), named in the
configuration. For secondary and enterprise that handle, with the key, is made at the parent when
it delegates the prefix; `delegation.json` tells it how.
"""

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from protocol.errors import InvalidHandleError
from protocol.handle import PREFIX_HANDLE_START, ROOT_HANDLE, check_handle, fold_case
from protocol.key_files import PrivateKey, generate_rsa_key
from protocol.types.hs_site import HsSite
from protocol.value import HandleValue, Reference
from registry.offline import seed_store
from registry.prefix_records import prefix_values
from registry.prefixes import prefix_fault
from resolver.config import NodeRole
from resolver.node_files import (
    ADMIN_INDEX,
    FOLDER_MODE,
    Delegation,
    IpAddress,
    NodeFilesError,
    NodeFolder,
    make_site,
    read_bootstrap,
    write_bootstrap,
    write_delegation,
    write_key_pair,
    write_new_file,
    write_site,
)

CASE_LINES = "case_sensitive = true  # for good: the store was made so\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlan:
    """What a new node shall be. `root` is the bootstrap.json of an existing top node."""

    role: NodeRole
    prefix: str
    folder: Path
    listen: tuple[IpAddress, ...]
    public: tuple[IpAddress, ...]
    handle_port: int
    http_port: int
    root: Path | None
    case_sensitive: bool = False

    @property
    def admin(self) -> Reference | None:
        """The identity that administers the node."""
        if self.role is NodeRole.RECURSIVE:
            return None
        if self.role is NodeRole.TOP:
            return Reference(ROOT_HANDLE, ADMIN_INDEX)
        return Reference(prefix_handle_of(self.prefix), ADMIN_INDEX)


def prefix_handle_of(prefix: str) -> bytes:
    """Return `0.NA/88.118` for `88.118`."""
    return PREFIX_HANDLE_START + fold_case(prefix.encode())


def check_prefix(prefix: str) -> None:
    """Raise NodeFilesError unless `prefix` can be one: dot-separated parts, none empty."""
    try:
        check_handle(prefix_handle_of(prefix))
    except InvalidHandleError as error:
        raise NodeFilesError(f"{prefix!r} is not a prefix: {error}") from None
    fault = prefix_fault(prefix)
    if fault is not None:
        raise NodeFilesError(f"{prefix!r} is not a prefix: {fault}")


def make_node(plan: NodePlan, *, now_s: int) -> NodeFolder:
    """Make the data folder that `plan` describes.

    The folder must not exist, or be empty. When a step fails what was made is removed again.

    Raises:
        NodeFilesError: the folder holds something, or the root's bootstrap cannot be read.
        StoreError: the store cannot be made.
        OSError: the disk refuses.
    """
    folder = NodeFolder(plan.folder)
    if plan.role is not NodeRole.RECURSIVE:
        check_prefix(plan.prefix)
    roots = read_bootstrap(plan.root) if plan.root else ()
    if plan.folder.exists() and (not plan.folder.is_dir() or any(plan.folder.iterdir())):
        raise NodeFilesError(f"{plan.folder} exists and is not overwritten")
    plan.folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    try:
        _fill_folder(plan, folder, roots, now_s)
    except BaseException:
        shutil.rmtree(plan.folder, ignore_errors=True)
        raise
    return folder


def _fill_folder(plan: NodePlan, folder: NodeFolder, roots: Sequence[HsSite], now_s: int) -> None:
    keys = _generate_keys(1 if plan.admin is None else 2)
    server_public = write_key_pair(folder.server_key, folder.server_public_key, keys[0])
    site = make_site(
        server_public,
        plan.public,
        plan.handle_port,
        plan.http_port,
        description=f"{plan.role.value} node {plan.prefix}".rstrip(),
    )
    write_site(folder.site, site)
    write_bootstrap(folder.bootstrap, roots or [site])
    write_new_file(folder.config, config_text(plan).encode())
    if plan.admin is None:
        return
    admin_public = write_key_pair(folder.admin_key, folder.admin_public_key, keys[1])
    if plan.role is not NodeRole.TOP:
        delegation = Delegation(plan.prefix, plan.role.value, site, admin_public)
        write_delegation(folder.delegation, delegation)
    records = top_records(plan.prefix, site, admin_public, plan.admin, now_s=now_s)
    seed_store(
        folder.store,
        records if plan.role is NodeRole.TOP else {},
        homed_prefixes(plan.role, plan.prefix),
        actor=plan.admin,
        now_s=now_s,
        case_sensitive=plan.case_sensitive,
    )


def _generate_keys(count: int) -> list[PrivateKey]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: generate_rsa_key(), range(count)))


def homed_prefixes(role: NodeRole, prefix: str) -> list[bytes]:
    """Return the prefix handles that a new node answers for."""
    own = prefix_handle_of(prefix)
    if role is NodeRole.TOP:
        return [ROOT_HANDLE, own]
    if role is NodeRole.SECONDARY:
        return [own, ROOT_HANDLE + b"/" + fold_case(prefix.encode())]
    return [own]


def top_records(
    prefix: str, site: HsSite, admin_public_key: bytes, admin: Reference, *, now_s: int
) -> dict[bytes, tuple[HandleValue, ...]]:
    """Return the records a top node starts with: the root's and its own prefix's."""
    return {
        ROOT_HANDLE: prefix_values(admin, now_s=now_s, site=site, public_key=admin_public_key),
        prefix_handle_of(prefix): prefix_values(admin, now_s=now_s, site=site),
    }


def delegation_values(delegation: Delegation, *, now_s: int) -> tuple[HandleValue, ...]:
    """Return the values of the prefix handle that the parent creates for a delegation.

    A secondary node delegates further, so it also gets HS_SITE.PREFIX: whoever asks the parent
    for a prefix below is referred to it.
    """
    handle = prefix_handle_of(delegation.prefix)
    return prefix_values(
        Reference(handle, delegation.admin_index),
        now_s=now_s,
        site=delegation.site,
        public_key=delegation.admin_public_key,
        prefix_site=delegation.site if delegation.role == NodeRole.SECONDARY.value else None,
    )


def config_text(plan: NodePlan) -> str:
    """Return the configuration file: what differs from the defaults."""
    listen = ", ".join(f'"{address}"' for address in plan.listen)
    text = (
        f"# A {plan.role.value} node. Every key with its default:"
        " deploy/config/biaoshi.example.toml\n"
        f'role = "{plan.role.value}"\n'
        f"{CASE_LINES if plan.case_sensitive else ''}"
        "\n[listen]\n"
        f"addresses = [{listen}]\n"
        f"handle_port = {plan.handle_port}\n"
        f"http_port = {plan.http_port}\n"
        "# client_certificate_port = 8443  # REST for TLS clients with a certificate of their key\n"
    )
    if plan.admin is not None:
        identity = f"{plan.admin.index}:{plan.admin.handle.decode()}"
        text += f'\n[roles]\nadministrators = ["{identity}"]\n'
    return text
