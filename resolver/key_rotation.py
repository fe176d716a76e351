"""Replacing a node's server key, so that a crash between any two steps leaves a node that serves.

    1  earlier-keys/3-site.json, 3-key.bin   what is there now, once more: nothing changes by it
    2  server-key.new.bin                    the new key; no site names it, so it signs nothing
    3  site.json                             the new site, serial 4, in place of the old: decided
    4  server-public-key.bin, bootstrap.json, delegation.json, where they held the old key
    5  server-key.bin                        is the new key; server-key.new.bin is gone

Each file is whole and durable before the next. `resolver.server_keys` finds the key that site.json
names wherever it is, so a node may start after any step: before 3 with the old key, after it with
the new one and, for who knows the old site, the old one. To run the whole again ends what was
begun. A running node goes on as it was until it is told (SIGHUP) or started again.
"""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from protocol.header import SITE_SERIAL_UNKNOWN
from protocol.json_forms import site_to_json
from protocol.key_files import PrivateKey, encode_private_key, generate_rsa_key
from protocol.types.hs_pubkey import encode_public_key
from protocol.types.hs_site import HsSite
from resolver.node_files import (
    SECRET_MODE,
    Delegation,
    NodeFilesError,
    NodeFolder,
    bootstrap_document,
    delegation_document,
    json_octets,
    read_bootstrap,
    read_delegation,
    read_site,
    remove_parts,
    replace_file,
    sync_folder,
)
from resolver.server_keys import earlier_key_path, earlier_sites, find_public_key, names, read_key


class RotationError(Exception):
    """What is not possible while keys stand as they do; `hint` says what to do."""

    def __init__(self, words: str, hint: str) -> None:
        super().__init__(words)
        self.hint = hint


# Clients keep a site as long as its value says, a day where nobody said otherwise; twice that.
OVERLAP_S = 2 * 86_400
_FOLDER_MODE = 0o700
_PUBLISHED_FILE = "published"  # the serial of the newest site that was; its time is the file's


@dataclass(frozen=True, slots=True)
class Rotation:
    """How a node's server keys stand.

    Args:
        serial: of the node's site.
        is_unfinished: a replacement was begun and has not ended.
        signing: (serial, since when in seconds since 1970) of earlier sites whose keys still sign.
    """

    serial: int
    is_unfinished: bool
    signing: tuple[tuple[int, float], ...]


def find_rotation(folder: NodeFolder) -> Rotation:
    """Return how a node's server keys stand. Raises: NodeFilesError."""
    site = read_site(folder.site)
    signing = tuple(
        (serial, path.stat().st_mtime)
        for serial, path in earlier_sites(folder)
        if serial != site.serial and earlier_key_path(folder, serial).exists()
    )
    return Rotation(site.serial, folder.new_server_key.exists(), signing)


def rotate_key(
    folder: NodeFolder, make_key: Callable[[], PrivateKey] = generate_rsa_key
) -> Rotation:
    """Give a node a new server key and the site that names it, or end what was begun.

    Raises:
        NodeFilesError: a file cannot be read.
        RotationError: an earlier key still signs; another process is at it.
        OSError: the disk refuses.
    """
    with _alone(folder):
        for each in (folder.path, folder.earlier_keys):
            remove_parts(each)
        site = read_site(folder.site)
        if not (folder.new_server_key.exists() and names(site, read_key(folder.new_server_key))):
            _refuse_second(folder)
            site = _publish_new_key(folder, site, make_key)
        _finish(folder, site)
        return find_rotation(folder)


def note_published(folder: NodeFolder, serial: int) -> None:
    """Keep that the site of a serial stands now where clients look for it. Raises: OSError."""
    replace_file(folder.earlier_keys / _PUBLISHED_FILE, f"{serial}\n".encode())


def published_s(folder: NodeFolder, serial: int) -> float | None:
    """Return since when the site of a serial is published, None: it is not known to be."""
    path = folder.earlier_keys / _PUBLISHED_FILE
    try:
        return path.stat().st_mtime if path.read_text("ascii").strip() == str(serial) else None
    except (OSError, ValueError):
        return None


def retire_keys(
    folder: NodeFolder, *, now_s: float, at_once: bool = False, is_published: bool = True
) -> tuple[int, ...]:
    """Remove the earlier keys that still sign; return the serials of their sites.

    The sites stay: what their keys signed can be verified as before.

    Args:
        folder: the node's.
        now_s: the time since 1970.
        at_once: whatever clients know.
        is_published: clients learn of the site by `publish-site`, not from its file.

    Raises:
        NodeFilesError: a file cannot be read.
        RotationError: a replacement has not ended; another process is at it; or clients may still
            know an earlier site only, and it is not to be `at_once`.
    """
    with _alone(folder):
        rotation = find_rotation(folder)
        if rotation.is_unfinished:
            raise RotationError("a new server key is not in place yet", "run rotate-key again")
        if rotation.signing and not at_once:
            _refuse_early(folder, rotation, now_s, is_published=is_published)
        for serial, _ in rotation.signing:
            earlier_key_path(folder, serial).unlink()
        if rotation.signing:
            sync_folder(folder.earlier_keys)
        return tuple(serial for serial, _ in rotation.signing)


def _refuse_early(
    folder: NodeFolder, rotation: Rotation, now_s: float, *, is_published: bool
) -> None:
    """Raise RotationError while clients may know no other site than an earlier one."""
    known_s = published_s(folder, rotation.serial) if is_published else 0.0
    if known_s is None:
        raise RotationError(
            f"the site of serial {rotation.serial} was not published, so clients know no other "
            "than the earlier one",
            "run biaoshi admin publish-site, wait two days, or --at-once",
        )
    for serial, since_s in rotation.signing:
        left_s = max(since_s, known_s) + OVERLAP_S - now_s
        if left_s > 0:
            raise RotationError(
                f"the site of serial {serial} was replaced less than {OVERLAP_S // 86_400} "
                "days ago, and clients may know no other",
                f"wait {left_s / 3600:.0f} hours, or --at-once",
            )


def next_serial(serial: int) -> int:
    """Return the serial of the site after one; 0xffff means "unknown" and is left out."""
    following = (serial + 1) & 0xFFFF
    return 1 if following in (0, SITE_SERIAL_UNKNOWN) else following


def with_key(site: HsSite, old_key: bytes, new_key: bytes) -> HsSite:
    """Return a site of the next serial in which one HS_PUBKEY data stands for another."""
    servers = tuple(
        replace(each, public_key=new_key) if each.public_key == old_key else each
        for each in site.servers
    )
    return replace(site, serial=next_serial(site.serial), servers=servers)


@contextlib.contextmanager
def _alone(folder: NodeFolder) -> Iterator[None]:
    """Hold the folder of earlier keys. Raises: RotationError."""
    folder.earlier_keys.mkdir(mode=_FOLDER_MODE, exist_ok=True)
    descriptor = os.open(folder.earlier_keys, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        words = "another process is replacing or retiring keys of this node"
        raise RotationError(words, "wait until it has ended") from None
    finally:
        os.close(descriptor)


def _refuse_second(folder: NodeFolder) -> None:
    signing = find_rotation(folder).signing
    if signing:
        raise RotationError(
            f"the key of the site of serial {signing[0][0]} still signs, and there is one overlap "
            "at a time",
            "end it with biaoshi admin retire-key",
        )


def _publish_new_key(
    folder: NodeFolder, site: HsSite, make_key: Callable[[], PrivateKey]
) -> HsSite:
    old = read_key(folder.server_key)
    old_public = find_public_key(site, old)
    if old_public is None:
        raise NodeFilesError(f"{folder.site} names another key than {folder.server_key}")
    _read_others(folder)  # whatever is wrong with them is told before anything is decided
    kept = folder.earlier_keys / f"{site.serial}-site.json"
    replace_file(earlier_key_path(folder, site.serial), encode_private_key(old), SECRET_MODE)
    replace_file(kept, json_octets(site_to_json(site)))
    sync_folder(folder.path)
    if folder.new_server_key.exists():  # of a replacement that came no further
        new = read_key(folder.new_server_key)
    else:
        new = make_key()
        replace_file(folder.new_server_key, encode_private_key(new), SECRET_MODE)
    published = with_key(site, old_public, encode_public_key(new.public_key()))
    replace_file(folder.site, json_octets(site_to_json(published)))
    return published


def _finish(folder: NodeFolder, site: HsSite) -> None:
    new = read_key(folder.new_server_key)
    public = encode_public_key(new.public_key())
    replace_file(folder.server_public_key, public)
    old = read_key(folder.server_key)
    roots, delegation = _read_others(folder)
    sites = tuple(site if names(each, old) else each for each in roots)
    if sites != roots:
        replace_file(folder.bootstrap, json_octets(bootstrap_document(sites)))
    if delegation is not None:
        renewed = replace(delegation, site=site)
        replace_file(folder.delegation, json_octets(delegation_document(renewed)))
    os.replace(folder.new_server_key, folder.server_key)
    sync_folder(folder.path)


def _read_others(folder: NodeFolder) -> tuple[tuple[HsSite, ...], Delegation | None]:
    """Return what else in the folder holds sites, as far as it is there. Raises: NodeFilesError."""
    roots = read_bootstrap(folder.bootstrap) if folder.bootstrap.exists() else ()
    return roots, read_delegation(folder.delegation) if folder.delegation.exists() else None
