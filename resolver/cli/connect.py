"""Where the command line asks, and as whom.

     --node FOLDER     the node whose data folder that is, on this machine; for changes also its
                       administrator's key. A bare name is looked for in .demo/ too
     --server ADDR:PORT  one server, whatever it is responsible for
     --root FILE       start at the root: bootstrap.json of a top node, referrals followed

One of the three, or the variable BIAOSHI_NODE, BIAOSHI_SERVER or BIAOSHI_ROOT.
"""

import asyncio
import socket
from dataclasses import dataclass
from pathlib import Path

from protocol.types.hs_site import HsSite
from resolver.cli.errors import CliError, ExitCode
from resolver.cli.keys import read_private_key
from resolver.cli.value_texts import parse_identity
from resolver.client import (
    BlockingClient,
    HandleClient,
    Identity,
    KeyIdentity,
    SecretIdentity,
    fetch_site,
)
from resolver.config import Config, load_config
from resolver.node_files import NodeFolder, read_bootstrap, read_site

DEMO_FOLDER = Path(".demo")


@dataclass(frozen=True, slots=True)
class Where:
    """Whom to ask (one of node, server, root), and as whom when logging in.

    `cacert` is a file of certificates that the node's may be issued by.
    """

    node: str = ""
    server: str = ""
    root: str = ""
    key: Path | None = None
    secret: Path | None = None
    admin: str = ""
    cacert: Path | None = None

    @property
    def names_a_key(self) -> bool:
        """Say whether there is a key or a secret of its own to log in with."""
        return self.key is not None or self.secret is not None


@dataclass(frozen=True, slots=True)
class Target:
    """What a client is made of: the root's sites, or one site, and an identity."""

    roots: tuple[HsSite, ...] = ()
    site: HsSite | None = None
    identity: Identity | None = None

    def open(self) -> BlockingClient:
        """Return a client for commands that do one thing after the other."""
        return BlockingClient(self.open_async())

    def open_async(self) -> HandleClient:
        """Return a client for commands that do many things at once."""
        return HandleClient(self.roots, site=self.site, identity=self.identity)


def find_target(where: Where, *, log_in: bool) -> Target:
    """Return what the options say.

    Args:
        where: the options.
        log_in: an identity is needed. Without it, one is used when options name it.

    Raises:
        CliError: not exactly one place to ask, or no identity where one is needed.
        HandleError: the server named does not say who it is.
        NodeFilesError, ConfigError: the node's folder or the root file cannot be read.
    """
    places = [place for place in (where.node, where.server, where.root) if place]
    if len(places) != 1:
        raise CliError(
            "nobody to ask" if not places else f"{len(places)} places to ask, only one is possible",
            "give one of --node FOLDER, --server ADDRESS:PORT, --root bootstrap.json",
            ExitCode.USAGE,
        )
    identity = find_identity(where, log_in=log_in)
    if where.server:
        address, port = parse_server(where.server)
        return Target(site=asyncio.run(fetch_site(address, port)), identity=identity)
    if where.root:
        return Target(roots=read_bootstrap(Path(where.root)), identity=identity)
    return Target(site=read_site(find_node(where.node).site), identity=identity)


def find_identity(where: Where, *, log_in: bool) -> Identity | None:
    """Return the identity that the options name, if any. Raises: CliError."""
    if where.key is not None or where.secret is not None:
        if not where.admin:
            raise CliError(
                "a key alone does not say whose it is",
                "add --admin, such as --admin 300:0.NA/88.118.5",
                ExitCode.USAGE,
            )
        reference = parse_identity(where.admin)
        if where.key is not None:
            return KeyIdentity(reference, read_private_key(where.key))
        assert where.secret is not None
        return SecretIdentity(reference, where.secret.read_bytes().rstrip(b"\r\n"))
    if not log_in:
        return None
    if where.node:
        return _node_identity(find_node(where.node), where.admin)
    raise CliError(
        "changes need an identity",
        "add --admin 300:0.NA/PREFIX and --key FILE, or use --node FOLDER",
        ExitCode.USAGE,
    )


def _node_identity(folder: NodeFolder, admin: str) -> KeyIdentity:
    administrators = load_config(folder.config).roles.administrators
    if not admin and not administrators:
        raise CliError(
            f"the node in {folder.path} names no administrator",
            "give --admin and --key, or add one to roles.administrators",
        )
    return KeyIdentity(
        parse_identity(admin or administrators[0]), read_private_key(folder.admin_key)
    )


def find_node(text: str) -> NodeFolder:
    """Return the folder of the node called `text`: a path, or a node of the demo.

    Raises:
        CliError: neither.
    """
    for path in (Path(text), DEMO_FOLDER / text):
        if NodeFolder(path).config.is_file():
            config: Config = load_config(NodeFolder(path).config)
            return NodeFolder(config.folder)
    raise CliError(
        f"there is no node in {text}",
        f"biaoshi init ROLE --data {text} makes one; biaoshi demo makes four",
    )


def parse_server(text: str) -> tuple[str, int]:
    """Return (address, port) of `127.0.0.1:2641` or `[::1]:2641`. Raises: CliError."""
    address, colon, port = text.rpartition(":")
    if not (colon and address and port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        raise CliError(
            f"{text!r} is not a server",
            "write ADDRESS:PORT, such as 127.0.0.1:2641 or [::1]:2641",
            ExitCode.USAGE,
        )
    return _find_ip(address.removeprefix("[").removesuffix("]"), int(port)), int(port)


def _find_ip(address: str, port: int) -> str:
    try:
        found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise CliError(
            f"{address} has no address: {error.strerror}",
            "check the name, or write the address",
            ExitCode.UNREACHABLE,
        ) from None
    return str(found[0][4][0])
