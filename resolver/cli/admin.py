"""`biaoshi admin`: what the owner of the machine does to a node's store, asking nobody."""

import time
from pathlib import Path
from typing import Annotated

import typer

from protocol.key_files import generate_rsa_key
from protocol.types.hs_pubkey import decode_public_key, encode_public_key
from registry.offline import replace_key
from registry.store import Store
from resolver.cli import server_keys
from resolver.cli.connect import find_node
from resolver.cli.errors import CliError, ExitCode
from resolver.cli.output import print_json, show_identity
from resolver.cli.value_texts import parse_identity
from resolver.cli.where_options import JsonOption
from resolver.config import load_config
from resolver.node_files import NodeFolder, write_key_pair

app = typer.Typer(help="What the machine's owner does, asking nobody.", no_args_is_help=True)


for _command in (server_keys.rotate_key, server_keys.publish_site, server_keys.retire_key):
    app.command()(_command)


@app.callback()
def _admin() -> None:
    """What the machine's owner does, asking nobody."""


@app.command()
def rekey(
    node: Annotated[str, typer.Option("--node", help="The node whose store holds the key.")],
    admin: Annotated[
        str, typer.Option("--admin", help="Identity that lost its key.  [default: the node's own]")
    ] = "",
    public_key: Annotated[
        Path | None,
        typer.Option(help="Its new public key (HS_PUBKEY data).  [default: a new pair is made]"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Replace a lost administrator key, whether the node runs or not. The journal records it.

    The key of a delegated prefix is held by the parent: run this there, with --admin and
    --public-key.
    """
    folder = find_node(node)
    administrators = load_config(folder.config).roles.administrators
    if not admin and not administrators:
        raise CliError("the node names no administrator", "give --admin", ExitCode.USAGE)
    identity = parse_identity(admin or administrators[0])
    if public_key is not None:
        data, made = public_key.read_bytes(), None
        decode_public_key(data)
    else:
        data, made = _make_pair(folder)
    with Store.open(folder.store, case_sensitive=None) as store:
        replace_key(store, identity, data, now_s=int(time.time()))
    if as_json:
        print_json({"identity": show_identity(identity), "private": made and str(made)})
        return
    print(f"replaced the key of {show_identity(identity)}")
    if made:
        print(f"its private key is {made}: move it to {folder.admin_key} or keep it safe")


def _make_pair(folder: NodeFolder) -> tuple[bytes, Path]:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    private = folder.path / f"admin-key-{stamp}.bin"
    public = folder.path / f"admin-public-key-{stamp}.bin"
    key = generate_rsa_key()
    write_key_pair(private, public, key)
    return encode_public_key(key.public_key()), private
