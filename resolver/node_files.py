"""A node's data folder: which files it holds, and how they are written and read.

     biaoshi.toml           the configuration
     server-key.bin         the server's private key, unencrypted: the node starts unattended
     server-public-key.bin  its public half, HS_PUBKEY data
     server-key.new.bin     a server key that replaces it (`resolver.key_rotation`), for moments
     earlier-keys/          sites that this one replaced, and their keys (`resolver.server_keys`)
     admin-key.bin          the administrator's private key    (not in the recursive role)
     admin-public-key.bin   its public half, HS_PUBKEY data
     site.json              this node's site, as others find it
     bootstrap.json         {"sites": [...]}: the root, where every walk starts; it is a
                            bootstrap_handles of Handle.Net's clients, too
     delegation.json        what the parent needs to delegate the prefix; holds nothing secret
     store/ cache/ run/     LMDB store, the recursive role's cache, sockets and pid file

Private keys are readable by their owner only; nothing is ever overwritten by accident.
"""

import contextlib
import ipaddress
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from protocol.claims import TRUST_ROOT
from protocol.errors import ProtocolError
from protocol.handle import ROOT_HANDLE, to_text
from protocol.json_forms import (
    key_from_json,
    key_to_json,
    site_from_json,
    site_to_json,
    value_to_json,
)
from protocol.key_files import PrivateKey, encode_private_key
from protocol.types.hs_pubkey import encode_public_key
from protocol.types.hs_site import (
    KIND_BOTH,
    KIND_QUERY,
    TRANSPORT_HTTP,
    TRANSPORT_TCP,
    TRANSPORT_UDP,
    HsSite,
    SiteInterface,
    SiteServer,
    address_octets,
)
from protocol.value import HandleValue
from protocol.versions import BEST
from registry.prefix_records import ADMIN_INDEX as ADMIN_INDEX
from resolver.bootstrap_handles import BootstrapHandles

SECRET_MODE = 0o600
PUBLIC_MODE = 0o644
FOLDER_MODE = 0o755
_PART = ".part"
_NEVER_OLD_MS = 253_402_300_799_000  # the end of the year 9999

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class NodeFilesError(Exception):
    """A file of a data folder that is missing, or does not hold what it should."""


@dataclass(frozen=True, slots=True)
class NodeFolder:
    """The paths within one data folder."""

    path: Path

    @property
    def config(self) -> Path:
        """The configuration."""
        return self.path / "biaoshi.toml"

    @property
    def server_key(self) -> Path:
        """The server's private key."""
        return self.path / "server-key.bin"

    @property
    def server_public_key(self) -> Path:
        """The server's public key, HS_PUBKEY data."""
        return self.path / "server-public-key.bin"

    @property
    def new_server_key(self) -> Path:
        """The private key that is to replace the server's."""
        return self.path / "server-key.new.bin"

    @property
    def earlier_keys(self) -> Path:
        """The sites before this one, and their keys."""
        return self.path / "earlier-keys"

    @property
    def admin_key(self) -> Path:
        """The administrator's private key."""
        return self.path / "admin-key.bin"

    @property
    def admin_public_key(self) -> Path:
        """The administrator's public key, HS_PUBKEY data."""
        return self.path / "admin-public-key.bin"

    @property
    def site(self) -> Path:
        """This node's site."""
        return self.path / "site.json"

    @property
    def bootstrap(self) -> Path:
        """The root's sites."""
        return self.path / "bootstrap.json"

    @property
    def delegation(self) -> Path:
        """What the parent needs to delegate the prefix."""
        return self.path / "delegation.json"

    @property
    def store(self) -> Path:
        """The LMDB store."""
        return self.path / "store"

    @property
    def cache(self) -> Path:
        """The recursive role's cache."""
        return self.path / "cache"

    @property
    def pid(self) -> Path:
        """The supervisor's process id, while the node runs."""
        return self.path / "run" / "pid"


@dataclass(frozen=True, slots=True)
class Delegation:
    """What a parent needs to delegate a prefix; `admin_public_key` is HS_PUBKEY data."""

    prefix: str
    role: str
    site: HsSite
    admin_public_key: bytes
    admin_index: int = ADMIN_INDEX


def make_site(
    public_key: bytes,
    addresses: Sequence[IpAddress],
    handle_port: int,
    http_port: int,
    *,
    description: str,
    serial: int = 1,
) -> HsSite:
    """Return the site of a one-server node.

    A server record has room for one address; a second one, usually of the other IP family, goes
    into the attribute `alt_addr`, which clients take as an alternative site. UDP is for queries
    only, as everywhere: administration needs a connection.
    """
    attributes = [(b"desc", description.encode())]
    attributes += [(b"alt_addr", str(address).encode()) for address in addresses[1:2]]
    interfaces = (
        SiteInterface(KIND_BOTH, TRANSPORT_TCP, handle_port),
        SiteInterface(KIND_QUERY, TRANSPORT_UDP, handle_port),
        SiteInterface(KIND_BOTH, TRANSPORT_HTTP, http_port),
    )
    server = SiteServer(1, address_octets(addresses[0]), public_key, interfaces)
    return HsSite(
        protocol_version=BEST,
        serial=serial,
        is_primary=True,
        servers=(server,),
        attributes=tuple(attributes),
    )


def write_new_file(path: Path, octets: bytes, mode: int = PUBLIC_MODE) -> None:
    """Write a file that must not exist yet, with its final mode from the first octet on.

    Raises:
        NodeFilesError: it exists.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise NodeFilesError(f"{path} exists and is not overwritten") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(octets)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, octets: bytes, mode: int = PUBLIC_MODE) -> None:
    """Write a file in place of what is there, whole or not at all, durable on return.

    It is never readable by more than `mode` says. Raises: OSError.
    """
    # Mode 0600.
    descriptor, name = tempfile.mkstemp(_PART, f".{path.name}.", path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(octets)
            os.fchmod(descriptor, mode)
            file.flush()
            os.fsync(descriptor)
        os.replace(name, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    sync_folder(path.parent)


def remove_parts(folder: Path) -> None:
    """Remove what `replace_file` left behind when its process was killed. Raises: OSError."""
    for path in folder.glob(f".*{_PART}"):
        path.unlink(missing_ok=True)


def sync_folder(path: Path) -> None:
    """Make what was made, renamed or removed in a folder durable. Raises: OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def json_octets(document: object) -> bytes:
    """Return an indented JSON document as files have it."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def write_key_pair(private_path: Path, public_path: Path, key: PrivateKey) -> bytes:
    """Write both halves of a key, the private one unencrypted; return the HS_PUBKEY data.

    Raises:
        NodeFilesError: one of the files exists.
    """
    public_key = encode_public_key(key.public_key())
    write_new_file(private_path, encode_private_key(key), SECRET_MODE)
    write_new_file(public_path, public_key)
    return public_key


def write_json(path: Path, document: object) -> None:
    """Write an indented JSON file that must not exist yet. Raises: NodeFilesError."""
    write_new_file(path, json_octets(document))


def read_json(path: Path) -> object:
    """Read a JSON file. Raises: NodeFilesError."""
    try:
        document: object = msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise NodeFilesError(f"{path} cannot be read: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise NodeFilesError(f"{path} is not JSON: {error}") from None
    return document


def write_site(path: Path, site: HsSite) -> None:
    """Write `site.json`. Raises: NodeFilesError."""
    write_json(path, site_to_json(site))


def read_site(path: Path) -> HsSite:
    """Read `site.json`. Raises: NodeFilesError."""
    try:
        return site_from_json(read_json(path))
    except ProtocolError as error:
        raise NodeFilesError(f"{path} is not a site: {error}") from None


def write_bootstrap(path: Path, sites: Sequence[HsSite]) -> None:
    """Write `bootstrap.json`. Raises: NodeFilesError."""
    write_json(path, bootstrap_document(sites))


def bootstrap_document(sites: Sequence[HsSite]) -> dict[str, object]:
    """Return what `bootstrap.json` holds: the sites, for nodes, and the same for other clients.

    Those of Handle.Net read the file under the name `bootstrap_handles` and want a record of the
    root and one of the root of certificates, of which nothing is known here. They fetch both anew
    a day after `lastUpdate`; by whoever wrote the file the root is not to be replaced.
    """
    values = [HandleValue(n, b"HS_SITE", site.encode()) for n, site in enumerate(sites, 1)]
    records = {TRUST_ROOT: [], ROOT_HANDLE: [value_to_json(each) for each in values]}
    return {
        "sites": [site_to_json(site) for site in sites],
        "lastUpdate": _NEVER_OLD_MS,
        "handles": {
            to_text(handle): {"handle": to_text(handle), "values": each}
            for handle, each in records.items()
        },
    }


def read_bootstrap(path: Path) -> tuple[HsSite, ...]:
    """Read the sites of the root from `bootstrap.json`, or from Handle.Net's bootstrap_handles.

    Raises: NodeFilesError.
    """
    document = read_json(path)
    sites = document.get("sites") if isinstance(document, dict) else None
    if sites is None and (found := BootstrapHandles(document).root_sites()):
        return tuple(found)
    if not isinstance(sites, list) or not sites:
        raise NodeFilesError(f'{path} has no "sites": copy bootstrap.json of the top node')
    try:
        return tuple(site_from_json(site) for site in sites)
    except ProtocolError as error:
        raise NodeFilesError(f"{path} holds a site that cannot be read: {error}") from None


def write_delegation(path: Path, delegation: Delegation) -> None:
    """Write `delegation.json`. Raises: NodeFilesError."""
    write_json(path, delegation_document(delegation))


def delegation_document(delegation: Delegation) -> dict[str, object]:
    """Return what `delegation.json` holds."""
    return {
        "prefix": delegation.prefix,
        "role": delegation.role,
        "site": site_to_json(delegation.site),
        "admin_public_key": {
            "format": "key",
            "value": key_to_json(delegation.admin_public_key),
        },
        "admin_index": delegation.admin_index,
    }


def read_delegation(path: Path) -> Delegation:
    """Read `delegation.json`. Raises: NodeFilesError."""
    document = read_json(path)
    try:
        form = msgspec.convert(document, _DelegationForm)
        return Delegation(
            form.prefix,
            form.role,
            site_from_json(form.site),
            key_from_json(form.admin_public_key.value),
            form.admin_index,
        )
    except (msgspec.ValidationError, ProtocolError) as error:
        raise NodeFilesError(f"{path} is not a delegation: {error}") from None


class _KeyForm(msgspec.Struct):
    value: dict[str, str]
    format: str = "key"


class _DelegationForm(msgspec.Struct):
    prefix: str
    site: dict[str, object]
    admin_public_key: _KeyForm
    admin_index: int = ADMIN_INDEX
    role: str = "enterprise"
