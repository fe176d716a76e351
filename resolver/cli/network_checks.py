"""What `biaoshi doctor` asks of processes, ports and the root."""

import http.client
import os
import socket
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import msgspec

from protocol.errors import ProtocolError
from protocol.json_forms import site_from_json
from protocol.types.hs_site import TRANSPORT_HTTP, TRANSPORT_TCP, HsSite
from resolver.cli.findings import Finding, Level, Subject
from resolver.node_files import NodeFilesError, NodeFolder, read_bootstrap

CLOCK_SKEW_MAX_S = 60  # certificates and challenges live for minutes
CONNECT_TIMEOUT_S = 3.0
_SITE_OCTETS_MAX = 1_048_576


class _SiteForm(msgspec.Struct):
    site: dict[str, object]


def check_pid(subject: Subject) -> Iterator[Finding]:
    """Look whether the node runs, and whether a pid file was left behind."""
    pid = find_pid(subject.folder)
    if pid is None:
        yield Finding(Level.OK, "process", "not running")
    elif is_alive(pid):
        yield Finding(Level.OK, "process", f"running as {pid}")
    else:
        words = f"{subject.folder.pid} names process {pid}, which does not exist"
        yield Finding(
            Level.WARNING, "process", words, "the node did not end cleanly; serve replaces the file"
        )


def find_pid(folder: NodeFolder) -> int | None:
    """Return the process id in the pid file, if there is one."""
    try:
        return int(folder.pid.read_text())
    except (OSError, ValueError):
        return None


def is_alive(pid: int) -> bool:
    """Say whether a process exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def check_ports(subject: Subject) -> Iterator[Finding]:
    """Look whether the node's ports are free, unless it runs and has them itself."""
    pid = find_pid(subject.folder)
    if pid is not None and is_alive(pid):
        yield Finding(Level.OK, "ports", "in use by this node")
        return
    listen = subject.config.listen
    trouble = [
        found
        for address in listen.addresses
        for port, kind in (
            (listen.handle_port, socket.SOCK_DGRAM),
            (listen.handle_port, socket.SOCK_STREAM),
            (listen.http_port, socket.SOCK_STREAM),
            (listen.client_certificate_port, socket.SOCK_STREAM),
        )
        if port and (found := _try_port(address, port, kind))
    ]
    for words in trouble:
        yield Finding(Level.PROBLEM, "ports", words, "stop what uses it, or edit [listen]")
    if not trouble:
        yield Finding(Level.OK, "ports", f"{listen.handle_port} and {listen.http_port} are free")


def _try_port(address: str, port: int, kind: socket.SocketKind) -> str:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    name = "udp" if kind == socket.SOCK_DGRAM else "tcp"
    try:
        with socket.socket(family, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
    except OSError as error:
        return f"{name} {address} port {port}: {error.strerror}"
    return ""


def check_root(subject: Subject) -> Iterator[Finding]:
    """Look whether a server of the root answers, and whether its clock agrees with ours."""
    try:
        sites = read_bootstrap(subject.config.bootstrap_path)
    except NodeFilesError as error:
        yield Finding(Level.PROBLEM, "root", str(error), "copy bootstrap.json of the top node")
        return
    for site in sites:
        for server in site.servers:
            yield from _check_root_server(str(server.ip), site)


def _check_root_server(address: str, site: HsSite) -> Iterator[Finding]:
    interfaces = [each for server in site.servers for each in server.interfaces]
    ports = [each.port for each in interfaces if each.protocol == TRANSPORT_TCP]
    for port in ports:
        try:
            with socket.create_connection((address, port), CONNECT_TIMEOUT_S):
                yield Finding(Level.OK, "root", f"{address} port {port} accepts connections")
        except OSError as error:
            words = f"{address} port {port} cannot be reached: {error.strerror or error}"
            yield Finding(
                Level.WARNING, "root", words, "is the top node up, and no firewall between?"
            )
    for port in [each.port for each in interfaces if each.protocol == TRANSPORT_HTTP]:
        yield from _compare_clocks(address, port)
        yield from _compare_sites(address, port, site)


def _compare_sites(address: str, port: int, site: HsSite) -> Iterator[Finding]:
    """Look whether the root has replaced the site, and perhaps the key, that we start with."""
    connection = http.client.HTTPConnection(address, port, timeout=CONNECT_TIMEOUT_S)
    try:
        connection.request("GET", "/api/site")
        octets = connection.getresponse().read(_SITE_OCTETS_MAX)
        serial = site_from_json(msgspec.json.decode(octets, type=_SiteForm).site).serial
    except (OSError, http.client.HTTPException, msgspec.DecodeError, ProtocolError):
        return
    finally:
        connection.close()
    if serial != site.serial:
        words = f"bootstrap.json has its site of serial {site.serial}, it has serial {serial} now"
        hint = "copy bootstrap.json of the top node, before it retires the key of before"
        yield Finding(Level.WARNING, "root", words, hint)


def _compare_clocks(address: str, port: int) -> Iterator[Finding]:
    connection = http.client.HTTPConnection(address, port, timeout=CONNECT_TIMEOUT_S)
    try:
        connection.request("GET", "/healthz")
        date = connection.getresponse().getheader("Date") or ""
        skew_s = time.time() - parsedate_to_datetime(date).timestamp()
    except (OSError, http.client.HTTPException, ValueError):
        return
    finally:
        connection.close()
    if abs(skew_s) > CLOCK_SKEW_MAX_S:
        words = f"our clock is {skew_s:+.0f} s off the root's"
        yield Finding(Level.WARNING, "clock", words, "run NTP on both")
