"""Opening the sockets a worker listens on.

Every worker opens its own with SO_REUSEPORT: the kernel spreads datagrams and connections over the
workers, and no socket crosses a fork. SO_REUSEPORT also lets two nodes of the same user share a
port unseen, so the supervisor calls `check_free` before any worker starts.
"""

import contextlib
import errno
import ipaddress
import resource
import socket
from collections.abc import Iterable

# Connections that wait to be accepted; Linux cuts it to net.core.somaxconn (4,096).
BACKLOG = 4_096
# Requests queued while the loop is busy: 1 MiB holds about 1,300 datagrams as the kernel counts
# them. Linux cuts it to net.core.rmem_max unless the process may force it.
UDP_BUFFER_OCTETS = 1_048_576
_WILDCARDS = ("0.0.0.0", "::")


class SocketError(Exception):
    """An address that cannot be listened on; its text says what to do."""


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET


def _explain(error: OSError, address: str, port: int, kind: str) -> SocketError:
    where = f"{kind} port {port} of {address}"
    if error.errno == errno.EADDRINUSE:
        return SocketError(
            f"{where} is in use by another program: stop it, or choose another port "
            "in the table [listen]"
        )
    if error.errno == errno.EACCES:
        return SocketError(f"{where} needs privileges: choose a port above 1023 in [listen]")
    if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return SocketError(f"{where}: this machine does not have that address, see `ip address`")
    return SocketError(f"{where} cannot be opened: {error.strerror}")


def _open(address: str, port: int, kind: socket.SocketKind, *, share: bool) -> socket.socket:
    family = _family(address)
    sock = socket.socket(family, kind | socket.SOCK_CLOEXEC)
    try:
        if kind is socket.SOCK_STREAM:
            # A port whose last connections are still in TIME_WAIT is free.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # "::" beside "0.0.0.0" must not fight over IPv4.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setblocking(False)
        sock.bind((address, port))
        if kind is socket.SOCK_STREAM:
            sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def open_udp(address: str, port: int) -> socket.socket:
    """Open a non-blocking UDP socket, shared among workers.

    Raises:
        SocketError: the port is in use by another user, or the address is not this machine's.
    """
    try:
        sock = _open(address, port, socket.SOCK_DGRAM, share=True)
    except OSError as error:
        raise _explain(error, address, port, "UDP") from None
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, option, UDP_BUFFER_OCTETS)
    return sock


def open_tcp(address: str, port: int) -> socket.socket:
    """Open a non-blocking listening TCP socket, shared among workers.

    Raises:
        SocketError: the port is in use by another user, or the address is not this machine's.
    """
    try:
        return _open(address, port, socket.SOCK_STREAM, share=True)
    except OSError as error:
        raise _explain(error, address, port, "TCP") from None


def check_free(addresses: Iterable[str], handle_port: int, *http_ports: int) -> list[str]:
    """Return a sentence for every port that somebody holds already, a node of ours included.

    The sockets are opened without SO_REUSEPORT, so one that shares its port is found too.
    """
    problems = []
    for address in addresses:
        for port, kind, name in (
            (handle_port, socket.SOCK_DGRAM, "UDP"),
            (handle_port, socket.SOCK_STREAM, "TCP"),
            *((port, socket.SOCK_STREAM, "TCP") for port in http_ports if port),
        ):
            try:
                _open(address, port, kind, share=False).close()
            except OSError as error:
                problems.append(str(_explain(error, address, port, name)))
    return problems


def raise_file_limit(wanted: int) -> int:
    """Raise the number of open files towards `wanted` as far as the machine lets; return it.

    Many systems start programs with 1,024, less than the connections a worker admits.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft == resource.RLIM_INFINITY or soft >= target:
        return soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
    return target


def url_host(address: str) -> str:
    """Return an address as it stands in a URL: IPv6 in brackets, a wildcard as loopback."""
    if address in _WILDCARDS:
        return "127.0.0.1" if address == _WILDCARDS[0] else "[::1]"
    return f"[{address}]" if ":" in address else address
