"""What `biaoshi doctor` looks at: the machine, a node's folder, its ports, its root.

Every check is a function that yields findings; it changes nothing and raises nothing. To add one,
write a function and add its name to `MACHINE_CHECKS` or `NODE_CHECKS`.
"""

import importlib.util
import resource
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from protocol.errors import ProtocolError
from protocol.key_files import decode_private_key, is_encrypted
from protocol.types.hs_pubkey import decode_public_key
from protocol.types.hs_site import TRANSPORT_HTTP, TRANSPORT_TCP, TRANSPORT_UDP, HsSite
from registry.errors import StoreError
from registry.store import Store
from resolver.cli.findings import Finding, Level, Subject
from resolver.cli.network_checks import check_pid, check_ports, check_root, find_pid, is_alive
from resolver.cli.tls_checks import check_tls
from resolver.config import Config
from resolver.fastpath import VARIABLE, Choice, FastPathError, choose, is_native_built
from resolver.key_rotation import OVERLAP_S, find_rotation
from resolver.node_files import NodeFilesError, read_site
from resolver.rows import native as rows

PYTHON_MIN = (3, 11)
OPEN_FILES_RESERVE = 256  # sockets, store, log and libraries beside the connections
CLOCK_MIN_S = 1_793_491_200  # 2026-11-01, the month this program was begun: no clock is older


def check_python() -> Iterator[Finding]:
    """Look at the interpreter."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info >= PYTHON_MIN:
        yield Finding(Level.OK, "python", version)
    else:
        yield Finding(Level.PROBLEM, "python", f"{version} is too old", "install 3.11 or newer")


def check_uvloop() -> Iterator[Finding]:
    """Look whether the event loop is there."""
    if importlib.util.find_spec("uvloop"):
        yield Finding(Level.OK, "uvloop", "installed")
    else:
        yield Finding(Level.PROBLEM, "uvloop", "is not installed", "pip install uvloop")


def check_clock() -> Iterator[Finding]:
    """Look whether the clock can be right."""
    now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    if time.time() >= CLOCK_MIN_S:
        yield Finding(Level.OK, "clock", now)
    else:
        yield Finding(Level.PROBLEM, "clock", f"{now} is in the past", "set it, run NTP")


def check_open_files(connections: int = 0) -> Iterator[Finding]:
    """Look whether as many files may be open as connections are allowed."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + OPEN_FILES_RESERVE
    if soft == resource.RLIM_INFINITY or soft >= needed:
        yield Finding(Level.OK, "open files", f"{soft} allowed, {needed} may be needed")
        return
    yield Finding(
        Level.WARNING,
        "open files",
        f"{soft} allowed, {needed} may be needed",
        f"ulimit -n {needed}, LimitNOFILE in systemd, or a smaller limits.connections_max",
    )


def check_fast_path() -> Iterator[Finding]:
    """Look at who moves and reads datagrams."""
    try:
        choice = choose()
    except FastPathError as error:
        yield Finding(Level.PROBLEM, "fast path", str(error), f"unset {VARIABLE}")
        return
    hint = "install a C compiler and Python's headers, then install biaoshi again"
    if choice is Choice.NATIVE and rows.is_native_built():
        yield Finding(Level.OK, "fast path", "native")
        return
    words = {
        Choice.NATIVE: "native, but for NDJSON: its rows are read without native code",
        Choice.PYTHON: "python: UDP is answered in batches, without native code",
        Choice.OFF: "off: UDP is answered one datagram at a time",
    }[choice]
    if is_native_built() and choice is not Choice.NATIVE:
        hint = f"unset {VARIABLE}"
    yield Finding(Level.WARNING, "fast path", words, hint)


MACHINE_CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    check_python,
    check_uvloop,
    check_clock,
    check_fast_path,
)


def check_limits(subject: Subject) -> Iterator[Finding]:
    """Look at the open files one process of this node may need."""
    yield from check_open_files(subject.config.limits.connections_max)


def check_disk(subject: Subject) -> Iterator[Finding]:
    """Look at the room on the disk of the data folder."""
    free = shutil.disk_usage(subject.folder.path).free
    least = subject.config.store.free_octets_min
    words = f"{free // 2**20:,} MiB free, read-only below {least // 2**20:,} MiB"
    if free >= 2 * least:
        yield Finding(Level.OK, "disk", words)
    elif free >= least:
        yield Finding(Level.WARNING, "disk", words, "make room soon")
    else:
        yield Finding(Level.PROBLEM, "disk", words, "make room, or lower store.free_octets_min")


def check_keys(subject: Subject) -> Iterator[Finding]:
    """Look at the key files: there, readable by the owner only, both halves of one key."""
    folder = subject.folder
    yield from _check_key_pair("server key", folder.server_key, folder.server_public_key)
    if subject.config.role.registers and folder.admin_key.exists():
        yield from _check_key_pair("admin key", folder.admin_key, folder.admin_public_key)


def _check_key_pair(name: str, private_path: Path, public_path: Path) -> Iterator[Finding]:
    try:
        octets, public = private_path.read_bytes(), decode_public_key(public_path.read_bytes())
        mode = stat.S_IMODE(private_path.stat().st_mode)
        if is_encrypted(octets):
            yield Finding(Level.OK, name, f"{private_path} has a passphrase")
            return
        private = decode_private_key(octets)
    except OSError as error:
        words = f"{error.filename}: {error.strerror}"
        yield Finding(Level.PROBLEM, name, words, "restore it from a copy, or see biaoshi keygen")
        return
    except ProtocolError as error:
        yield Finding(Level.PROBLEM, name, f"{private_path}: {error}", "restore it from a copy")
        return
    if private.public_key() != public:
        words = f"{public_path} is not the public half of {private_path}"
        yield Finding(Level.PROBLEM, name, words, "restore both from one copy")
    elif mode & 0o077:
        words = f"{private_path} can be read by others (mode {mode:04o})"
        yield Finding(Level.PROBLEM, name, words, f"chmod 600 {private_path}")
    else:
        yield Finding(Level.OK, name, str(private_path))


def check_rotation(subject: Subject) -> Iterator[Finding]:
    """Look whether a server key is being replaced, and whether the node knows."""
    folder = subject.folder
    try:
        rotation = find_rotation(folder)
    except NodeFilesError:
        return  # `check_site` tells
    if rotation.is_unfinished:
        words = "a new one was begun and is not in place"
        yield Finding(
            Level.PROBLEM, "server key", words, f"biaoshi admin rotate-key --node {folder.path}"
        )
    for serial, since_s in rotation.signing:
        hours = (time.time() - since_s) / 3600
        words = f"the one of site serial {serial} signs too, replaced {hours:.0f} hours ago"
        hint = f"biaoshi admin publish-site, after {OVERLAP_S // 3600} hours retire-key"
        yield Finding(Level.WARNING, "server key", words, hint)
        yield from _started_before(subject, since_s)


def _started_before(subject: Subject, since_s: float) -> Iterator[Finding]:
    pid = find_pid(subject.folder)
    if pid is not None and is_alive(pid) and subject.folder.pid.stat().st_mtime < since_s:
        words = "was started before its key was replaced, and signs with the old one only"
        yield Finding(Level.PROBLEM, "process", words, "start the node again")


def check_site(subject: Subject) -> Iterator[Finding]:
    """Look whether site.json tells others what the configuration and the key say."""
    try:
        site = read_site(subject.folder.site)
        key = decode_public_key(subject.folder.server_public_key.read_bytes())
        keys = [decode_public_key(server.public_key) for server in site.servers]
    except NodeFilesError as error:
        yield Finding(Level.PROBLEM, "site", str(error), "restore it from a copy")
        return
    except (OSError, ProtocolError) as error:
        yield Finding(Level.PROBLEM, "site", f"its key: {error}", "restore it from a copy")
        return
    if key not in keys:
        words = "site.json has another key than server-key.bin: no client will trust an answer"
        yield Finding(Level.PROBLEM, "site", words, "put the right key into site.json")
    wrong = sorted(_site_ports(site) - _config_ports(subject.config))
    if wrong:
        words = f"site.json sends clients to {', '.join(wrong)}, where the node does not listen"
        yield Finding(
            Level.WARNING, "site", words, "right if a proxy forwards; else edit [listen] or site"
        )
    if key in keys and not wrong:
        yield Finding(Level.OK, "site", "agrees with the configuration and the key")


def _site_ports(site: HsSite) -> set[str]:
    names = {TRANSPORT_UDP: "udp", TRANSPORT_TCP: "tcp", TRANSPORT_HTTP: "http"}
    return {
        f"{names.get(interface.protocol, 'https')}/{interface.port}"
        for server in site.servers
        for interface in server.interfaces
    }


def _config_ports(config: Config) -> set[str]:
    handle_port, http_port = config.listen.handle_port, config.listen.http_port
    return {f"udp/{handle_port}", f"tcp/{handle_port}", f"http/{http_port}", f"https/{http_port}"}


def check_store(subject: Subject) -> Iterator[Finding]:
    """Look whether this program can read the store."""
    if not subject.config.role.registers:
        return
    try:
        store = Store.open(
            subject.folder.store, readonly=True, case_sensitive=subject.config.case_sensitive
        )
    except StoreError as error:
        yield Finding(Level.PROBLEM, "store", str(error), "biaoshi verify looks deeper")
        return
    try:
        with store.read() as view:
            yield Finding(Level.OK, "store", f"readable, journal frame {view.head().seq}")
    finally:
        store.close()


NODE_CHECKS: tuple[Callable[[Subject], Iterator[Finding]], ...] = (
    check_limits,
    check_disk,
    check_keys,
    check_rotation,
    check_tls,
    check_site,
    check_pid,
    check_ports,
    check_store,
    check_root,
)
