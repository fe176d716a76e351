"""What the demo does once its nodes run: delegate, register, resolve, and check itself.

Everything goes over the network, as the administrators that `biaoshi init` made would do it.
"""

import asyncio
import http.client
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from protocol.codes import ResponseCode
from protocol.key_files import decode_private_key
from protocol.types.hs_site import TRANSPORT_HTTP, TRANSPORT_TCP, TRANSPORT_UDP
from registry.verify import verify
from resolver.cli.importing import Existing, RowVerdict, Verdict, register_rows
from resolver.client import (
    HandleClient,
    HandleError,
    Hop,
    KeyIdentity,
    reference_from_text,
)
from resolver.config import load_config
from resolver.demo.errors import DemoError
from resolver.demo.products import read_expected
from resolver.demo.topology import ADDRESS, DemoNode, Topology
from resolver.node_files import read_bootstrap, read_delegation, read_site
from resolver.node_setup import delegation_values, prefix_handle_of
from resolver.rows.row import Row

TRANSPORTS = (("udp", TRANSPORT_UDP), ("tcp", TRANSPORT_TCP), ("http", TRANSPORT_HTTP))
CHECKS_IN_FLIGHT = 16
HTTP_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Route:
    """One product resolved through the recursive node, twice: `hops` are those of the first."""

    row: Row
    transport: str
    first_ms: float
    again_ms: float
    hops: tuple[Hop, ...]


def administrator(node: DemoNode) -> KeyIdentity:
    """Return the identity of a node's own administrator, with its key."""
    key = decode_private_key(node.files.admin_key.read_bytes())
    name = load_config(node.files.config).roles.administrators[0]
    return KeyIdentity(reference_from_text(name), key)


def client_of(node: DemoNode, identity: KeyIdentity | None = None) -> HandleClient:
    """Return a client that asks one node."""
    return HandleClient(site=read_site(node.files.site), identity=identity)


def root_client(topology: Topology, identity: KeyIdentity | None = None) -> HandleClient:
    """Return a client that starts at the root and finds every node by itself."""
    return HandleClient(read_bootstrap(topology.top.files.bootstrap), identity=identity)


async def delegate(parent: DemoNode, child: DemoNode) -> None:
    """Create the child's prefix handle at the parent, as the parent's administrator.

    Raises:
        DemoError: refused.
    """
    delegation = read_delegation(child.files.delegation)
    values = delegation_values(delegation, now_s=int(time.time()))
    client = client_of(parent, administrator(parent))
    try:
        await client.create(prefix_handle_of(child.prefix), values)
    except HandleError as error:
        raise DemoError(
            f"the {parent.name} node did not take {child.prefix}: {error.words}", error.hint
        ) from error


async def register(topology: Topology, rows: Sequence[Row], on_row: Callable[[], None]) -> None:
    """Register the products at the enterprise, found from the root, as its administrator.

    Raises:
        DemoError: a row was refused.
    """
    refused: list[RowVerdict] = []

    def on_verdict(verdict: RowVerdict) -> None:
        on_row()
        if verdict.verdict is not Verdict.REGISTERED:
            refused.append(verdict)

    client = root_client(topology, administrator(topology.enterprise))
    await register_rows(client, iter(rows), on_verdict, existing=Existing.REFUSE)
    if refused:
        first = refused[0]
        raise DemoError(
            f"{len(refused)} products were not registered, first {first.row.handle.decode()}: "
            f"{first.reason}",
            f"read {topology.enterprise.files.path / 'serve.log'}",
        )


async def resolve_samples(topology: Topology, rows: Sequence[Row]) -> list[Route]:
    """Resolve products through the recursive node, the transports taking turns.

    Raises:
        DemoError: one was not resolved.
    """
    client = client_of(topology.recursive)
    routes = []
    for position, row in enumerate(rows):
        name, transport = TRANSPORTS[position % len(TRANSPORTS)]
        try:
            first = await client.resolve(row.handle, transport=transport)
            again = await client.resolve(row.handle, transport=transport)
        except HandleError as error:
            raise DemoError(
                f"{row.handle.decode()} over {name}: {error.words}",
                f"read {topology.recursive.files.path / 'serve.log'}",
            ) from error
        routes.append(Route(row, name, first.elapsed_ms, again.elapsed_ms, first.hops))
    return routes


async def walk_from_root(topology: Topology, row: Row) -> tuple[Hop, ...]:
    """Return the hops of a walk from the root: the way the recursive node goes on a miss."""
    try:
        return (await root_client(topology).resolve(row.handle)).hops
    except HandleError as error:
        raise DemoError(
            f"from the root, {row.handle.decode()}: {error.words}", error.hint
        ) from error


async def check_contents(topology: Topology, products: Path, on_row: Callable[[], None]) -> int:
    """Resolve every product through the recursive node and compare it to the file.

    Returns the number of products that are exactly as they should be.

    Raises:
        DemoError: one is missing or differs.
    """
    client = client_of(topology.recursive)
    turns = asyncio.Semaphore(CHECKS_IN_FLIGHT)

    async def check(handle: bytes, expected: dict[int, bytes]) -> None:
        async with turns:
            resolution = await client.resolve(handle)
        found = {value.index: value.data for value in resolution.values}
        nutrients = json.loads(found.pop(3))
        if found != expected or not isinstance(nutrients, dict):
            raise DemoError(f"{handle.decode()} holds {found}, not {expected}", "report this")
        on_row()

    expectations = list(read_expected(products, topology.enterprise.prefix))
    try:
        async with asyncio.TaskGroup() as group:
            for handle, expected in expectations:
                group.create_task(check(handle, expected))
    except ExceptionGroup as failures:
        raise _first(topology, failures) from failures
    return len(expectations)


def _first(topology: Topology, failures: ExceptionGroup[Exception]) -> DemoError:
    error = failures.exceptions[0]
    if isinstance(error, DemoError):
        return error
    log = topology.recursive.files.path / "serve.log"
    return DemoError(f"a product was not resolved: {error}", f"read {log}")


async def count_registered(topology: Topology) -> int:
    """Return how many handles the enterprise lists under its prefix."""
    client = client_of(topology.enterprise, administrator(topology.enterprise))
    try:
        return len([handle async for handle in client.list_handles(topology.enterprise.prefix)])
    except HandleError as error:
        raise DemoError(f"the enterprise's list: {error.words}", error.hint) from error


async def check_missing(topology: Topology) -> None:
    """Make sure that what is not registered is not found. Raises: DemoError."""
    handle = f"{topology.enterprise.prefix}/not-registered"
    try:
        await client_of(topology.recursive).resolve(handle)
    except HandleError as error:
        if error.response_code == ResponseCode.HANDLE_NOT_FOUND:
            return
        raise DemoError(f"{handle}: {error.words} instead of not found", "report this") from error
    raise DemoError(f"{handle} was found, nobody registered it", "report this")


def check_rest(topology: Topology, row: Row) -> None:
    """Read one product as JSON over plain HTTP, as curl does. Raises: DemoError."""
    connection = http.client.HTTPConnection(
        str(ADDRESS), topology.recursive.http_port, timeout=HTTP_TIMEOUT_S
    )
    try:
        connection.request("GET", f"/api/handles/{quote(row.handle.decode())}")
        document = json.loads(connection.getresponse().read())
        texts = {each["index"]: each["data"]["value"] for each in document["values"]}
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError) as error:
        raise DemoError(f"{row.handle.decode()} over REST: {error!r}", "report this") from error
    finally:
        connection.close()
    expected = {value.index: value.data.decode() for value in row.values}
    if texts != expected:
        raise DemoError(f"{row.handle.decode()} over REST is {texts}", "report this")


def check_stores(topology: Topology) -> int:
    """Verify the stores of the stopped nodes; return the number of records. Raises: DemoError."""
    records = 0
    for node in (topology.top, topology.secondary, topology.enterprise):
        report = verify(node.files.store)
        if report.problems:
            raise DemoError(f"the {node.name} store: {report.problems[0]}", "report this")
        records += report.records
    return records
