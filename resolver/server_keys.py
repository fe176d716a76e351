"""A node's server keys: the one its site names, and those of its earlier sites.

    site.json                    the site; whichever key it names is the current one
    server-key.bin               the current key; while one is replaced, perhaps the one before
    server-key.new.bin           the key that is to be the current one, while one is replaced
    earlier-keys/3-site.json     the site of serial 3, kept for ever: what its key signed holds
    earlier-keys/3-key.bin       the key of that site, until it is retired

A request names the site that its sender knows by serial, and is answered with that site's key; a
serial that is not known here, or whose key is retired, with the current one (`design.md` §6). So
nothing is signed with a key that no published site of this node holds: a private key counts only
together with the site that names it. How one is replaced: `resolver.key_rotation`.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from protocol.errors import ProtocolError
from protocol.key_files import PrivateKey, decode_private_key
from protocol.types.hs_pubkey import PublicKey, decode_public_key, encode_public_key
from protocol.types.hs_site import HsSite
from resolver.node_files import NodeFilesError, NodeFolder, read_site


@dataclass(frozen=True, slots=True)
class EarlierKey:
    """An earlier site's key: HS_PUBKEY data, and the private half unless it is retired."""

    serial: int
    public_key: bytes
    private_key: PrivateKey | None


@dataclass(frozen=True, slots=True)
class ServerKeys:
    """All server keys of a node."""

    current: PrivateKey
    earlier: tuple[EarlierKey, ...] = ()


def load_server_keys(folder: NodeFolder, site: HsSite) -> ServerKeys:
    """Read the keys of a node.

    Raises:
        NodeFilesError: a file is missing or does not hold what it should, or the site names no key
            that is here.
    """
    own = read_key(folder.server_key)
    current = own if names(site, own) else _find_key(site, _other_keys(folder))
    if current is None:
        raise NodeFilesError(
            f"{folder.site} names another key than {folder.server_key}, and no client would trust "
            "an answer: restore both from one copy"
        )
    earlier = tuple(_earlier_keys(folder, site.serial))
    return ServerKeys(current, earlier)


def read_key(path: Path) -> PrivateKey:
    """Read an unencrypted private key. Raises: NodeFilesError."""
    try:
        return decode_private_key(path.read_bytes())
    except OSError as error:
        raise NodeFilesError(f"{path} cannot be read: {error.strerror}") from None
    except ProtocolError as error:
        raise NodeFilesError(f"{path} is not a private key without a passphrase: {error}") from None


def names(site: HsSite, key: PrivateKey) -> bool:
    """Say whether a server of a site has a key."""
    return find_public_key(site, key) is not None


def find_public_key(site: HsSite, key: PrivateKey) -> bytes | None:
    """Return a key's public half as a site has it, HS_PUBKEY data. Keys are compared by number."""
    public = key.public_key()
    return next((data for data in _public_keys(site) if _decoded(data) == public), None)


def has_any(site: HsSite, keys: Collection[bytes]) -> bool:
    """Say whether a server of a site has one of some public keys, HS_PUBKEY data as we write it."""
    found = (_decoded(data) for data in _public_keys(site))
    return any(key is not None and encode_public_key(key) in keys for key in found)


def earlier_sites(folder: NodeFolder) -> Iterator[tuple[int, Path]]:
    """Yield (serial, path) of the earlier sites that are kept, by serial."""
    found = {}
    for path in folder.earlier_keys.glob("*-site.json"):
        text = path.name.removesuffix("-site.json")
        if text.isascii() and text.isdigit():
            found[int(text)] = path
    yield from sorted(found.items())


def earlier_key_path(folder: NodeFolder, serial: int) -> Path:
    """Return where the private key of an earlier site is, until it is retired."""
    return folder.earlier_keys / f"{serial}-key.bin"


def _other_keys(folder: NodeFolder) -> Iterator[PrivateKey]:
    if folder.new_server_key.exists():
        yield read_key(folder.new_server_key)


def _find_key(site: HsSite, keys: Iterator[PrivateKey]) -> PrivateKey | None:
    return next((key for key in keys if names(site, key)), None)


def _earlier_keys(folder: NodeFolder, serial: int) -> Iterator[EarlierKey]:
    for number, path in earlier_sites(folder):
        if number == serial:
            continue  # a rotation was begun, and its site not published
        site = read_site(path)
        key_path = earlier_key_path(folder, number)
        if not key_path.exists():
            for public in map(_decoded, _public_keys(site)):
                if public is not None:
                    yield EarlierKey(number, encode_public_key(public), None)
            continue
        private = read_key(key_path)
        if not names(site, private):
            raise NodeFilesError(f"{path} names another key than {key_path}: remove {key_path}")
        yield EarlierKey(number, encode_public_key(private.public_key()), private)


def _public_keys(site: HsSite) -> Iterator[bytes]:
    yield from (server.public_key for server in site.servers)


def _decoded(data: bytes) -> PublicKey | None:
    try:
        return decode_public_key(data)
    except ProtocolError:
        return None
