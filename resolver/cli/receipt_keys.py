"""Whose key a receipt has to be signed with, and which node is asked about it.

--key FILE          the node's public key
--site FILE         its site, or those of a bootstrap file: any of their servers; a site that the
                    node has replaced since is in its folder, earlier-keys/3-site.json
--node, --server    the node that is asked, when neither is given
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from protocol.errors import ProtocolError
from protocol.types.hs_pubkey import PublicKey, decode_public_key
from protocol.types.hs_site import HsSite
from resolver.cli.connect import Where, find_node, find_target
from resolver.cli.errors import CliError, ExitCode
from resolver.node_files import read_bootstrap, read_json, read_site
from resolver.server_keys import earlier_sites


@dataclass(frozen=True, slots=True)
class NamedKey:
    """A public key and where it comes from."""

    name: str
    key: PublicKey


def find_asked(node: str, server: str) -> HsSite | None:
    """Return the site of the node to ask, None for none. Raises: as `find_target`."""
    if not node and not server:
        return None
    return find_target(Where(node=node, server=server), log_in=False).site


def find_keys(
    key: Path | None, site: Path | None, asked: HsSite | None, node: str
) -> list[NamedKey]:
    """Return the keys that may have signed. Raises: CliError, NodeFilesError."""
    if key is None and site is None and asked is not None:
        # A node here also tells which keys it had before.
        earlier = [read_site(path) for _, path in earlier_sites(find_node(node))] if node else []
        return _keys_of([asked, *earlier], "the node that is asked")
    if key is not None and site is None:
        return [NamedKey(str(key), _read_public_key(key))]
    if site is not None and key is None:
        return _read_site_keys(site)
    raise CliError(
        "nobody's key to verify with" if key is None else "--key and --site, only one is possible",
        "give --key FOLDER/server-public-key.bin, or --site with site.json or bootstrap.json; "
        "--node FOLDER or --server ADDRESS:PORT ask the node",
        ExitCode.USAGE,
    )


def _read_public_key(path: Path) -> PublicKey:
    try:
        return decode_public_key(path.read_bytes())
    except OSError as error:
        raise CliError(
            f"the key {path} cannot be read: {error.strerror}",
            "give the node's public key, such as FOLDER/server-public-key.bin",
        ) from None
    except ProtocolError as error:
        raise CliError(
            f"{path} is not a public key: {error}",
            "give the public half of the node's key, such as FOLDER/server-public-key.bin",
        ) from None


def _read_site_keys(path: Path) -> list[NamedKey]:
    document = read_json(path)
    has_many = isinstance(document, dict) and "sites" in document
    return _keys_of(read_bootstrap(path) if has_many else (read_site(path),), str(path))


def _keys_of(sites: Iterable[HsSite], where: str) -> list[NamedKey]:
    keys = []
    for site in sites:
        for server in site.servers:
            name = f"server {server.id} at {server.ip} in {where}"
            try:
                keys.append(NamedKey(name, decode_public_key(server.public_key)))
            except ProtocolError:  # a server of another make; the others count
                continue
    if not keys:
        raise CliError(f"{where} names no server with a key", "give another, or --key")
    return keys
