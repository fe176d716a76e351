"""Which four nodes the demo runs, on which ports, in which folders.

     top         root for 0.NA/*, home of 88      base port + 0 (udp, tcp), + 1 (http, https)
     secondary   88.118                                     + 2              + 3
     enterprise  88.118.5                                   + 4              + 5
     recursive   a cache for applications                   + 6              + 7

Every node has a folder of its own below the demo's. The demo's folder is made afresh by every
run, so that each run shows the whole story; a marker file tells it from any other folder.
"""

import fcntl
import ipaddress
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from resolver.config import NodeRole
from resolver.demo.errors import DemoError
from resolver.node_files import NodeFolder
from resolver.node_setup import NodePlan, make_node

ADDRESS = ipaddress.IPv4Address("127.0.0.1")
BASE_PORT = 26_410  # beside Handle's 2641, below the range that systems hand out to clients
PORTS = 8
MARKER = "made-by-biaoshi-demo"


@dataclass(frozen=True, slots=True)
class DemoNode:
    """One of the four."""

    role: NodeRole
    prefix: str
    handle_port: int
    http_port: int
    files: NodeFolder

    @property
    def name(self) -> str:
        """The role's name, also that of the folder."""
        return self.role.value


@dataclass(frozen=True, slots=True)
class Topology:
    """The four nodes."""

    folder: Path
    top: DemoNode
    secondary: DemoNode
    enterprise: DemoNode
    recursive: DemoNode

    @property
    def nodes(self) -> tuple[DemoNode, ...]:
        """All of them, in the order in which they are started."""
        return self.top, self.secondary, self.enterprise, self.recursive


def plan_topology(folder: Path, base_port: int) -> Topology:
    """Return the four nodes below `folder` with ports from `base_port` on."""

    def node(position: int, role: NodeRole, prefix: str) -> DemoNode:
        port = base_port + 2 * position
        return DemoNode(role, prefix, port, port + 1, NodeFolder(folder / role.value))

    return Topology(
        folder,
        node(0, NodeRole.TOP, "88"),
        node(1, NodeRole.SECONDARY, "88.118"),
        node(2, NodeRole.ENTERPRISE, "88.118.5"),
        node(3, NodeRole.RECURSIVE, ""),
    )


def check_ports(base_port: int) -> None:
    """Raise DemoError unless every port of the demo is free for UDP and TCP."""
    for port in range(base_port, base_port + PORTS):
        for kind, name in ((socket.SOCK_STREAM, "tcp"), (socket.SOCK_DGRAM, "udp")):
            with socket.socket(socket.AF_INET, kind) as probe:
                # As servers do: a connection of the last run in TIME_WAIT is no obstacle.
                if kind == socket.SOCK_STREAM:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((str(ADDRESS), port))
                except OSError as error:
                    raise DemoError(
                        f"{name} port {port} of {ADDRESS} cannot be used: {error.strerror}",
                        f"stop what uses it, or give --base-port N (with make: "
                        f"DEMO_OPTIONS='--base-port N'); N to N+{PORTS - 1} have to be free",
                    ) from None


@contextmanager
def fresh_folder(folder: Path) -> Iterator[None]:
    """Empty an earlier demo's folder, or make a new one, and hold it against other demos.

    The lock is on the marker and ends with the process, however that ends.

    Raises:
        DemoError: the folder holds something that no demo made, or a demo runs in it.
    """
    marker = folder / MARKER
    is_ours = marker.is_file()
    if folder.exists() and (not folder.is_dir() or (not is_ours and any(folder.iterdir()))):
        raise DemoError(
            f"{folder} holds something that no demo made, and is left alone",
            "give --data with the name of a new folder",
        )
    folder.mkdir(parents=True, exist_ok=True)
    with marker.open("w", encoding="utf-8") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(
                f"another demo runs in {folder}",
                "end it with Ctrl-C, or give --data with the name of a new folder",
            ) from None
        for path in folder.iterdir():
            if path.name != MARKER:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        held.write("biaoshi demo makes this folder afresh every time it runs.\n")
        held.flush()
        yield


def make_folders(topology: Topology, *, now_s: int) -> None:
    """Make the data folders of all four nodes. Raises: NodeFilesError, StoreError, OSError."""
    for node in topology.nodes:
        plan = NodePlan(
            role=node.role,
            prefix=node.prefix,
            folder=node.files.path,
            listen=(ADDRESS,),
            public=(ADDRESS,),
            handle_port=node.handle_port,
            http_port=node.http_port,
            root=None if node.role is NodeRole.TOP else topology.top.files.bootstrap,
        )
        make_node(plan, now_s=now_s)
