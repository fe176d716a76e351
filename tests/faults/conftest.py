"""The traced run: registrations over the network while strace writes down what the node does."""

import re
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from protocol.bodies import ErrorAnswer
from protocol.codes import OpCode, ResponseCode
from tests.faults.garbage import BODY_OCTETS_MAX, unharmed
from tests.faults.power_loss import DiskHistory, disk_history
from tests.faults.rest_client import RestSession
from tests.faults.system_calls import (
    SystemCall,
    read_trace,
    require_strace,
    synchronous_descriptors,
    traced,
)
from tests.faults.wire_client import (
    Administrator,
    Connection,
    Line,
    Tunnel,
    administrator,
    product_values,
)
from tests.nodes import Node, Tables, make_node, running

ONE_BY_ONE = 12
OVER_HTTP = 4  # through the tunnel, and as many over REST
CLIENTS = 6
PER_CLIENT = 5


class Acknowledged(NamedTuple):
    """A registration, and how its request and its success look on the network."""

    name: str
    request: bytes
    success: re.Pattern[bytes]

    @classmethod
    def by_message(cls, name: str, request_id: int) -> "Acknowledged":
        """One made with Handle messages: the id is in both, with sequence number 0 behind it."""
        number = struct.pack(">ii", request_id, 0)
        head = struct.pack(">ii", OpCode.CREATE_HANDLE, ResponseCode.SUCCESS)
        success = re.escape(number) + b".{4}" + re.escape(head)
        return cls(name, number, re.compile(success, re.DOTALL))

    @classmethod
    def by_rest(cls, name: str) -> "Acknowledged":
        """One made with PUT: path and JSON name the handle."""
        success = rb'"responseCode":1,"handle":"88/%s"' % name.encode()
        return cls(name, b"PUT /api/handles/88/%s " % name.encode(), re.compile(success))


class TracedRun(NamedTuple):
    """What was acknowledged, and what the node did meanwhile."""

    acknowledged: tuple[Acknowledged, ...]
    calls: tuple[SystemCall, ...]
    disk: DiskHistory
    data_file: Path
    file_afterwards: bytes


@pytest.fixture(scope="session")
def traced_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TracedRun]:
    require_strace()
    folder = tmp_path_factory.mktemp("traced")
    tables: Tables = {"tls": {"allow_plain_credentials_on_loopback": True}}
    with running(make_node(folder / "node", tables=tables)) as node:
        yield _trace_registrations(node, folder / "strace.txt")


def _trace_registrations(node: Node, record: Path) -> TracedRun:
    admin = administrator(node)
    registrar = node.writer_pid()
    assert registrar is not None
    data_file = node.store / "data.mdb"
    base = data_file.read_bytes()
    with traced([registrar, *node.worker_pids()], record):
        assert data_file.read_bytes() == base, "the node wrote before anything was asked of it"
        acknowledged = _register_on_one_connection(node, admin, "single", ONE_BY_ONE)
        acknowledged += _register(Tunnel(node), admin, "tunnel", OVER_HTTP)
        acknowledged += _register_over_rest(node, admin, OVER_HTTP)
        with ThreadPoolExecutor(CLIENTS) as clients:
            jobs = [
                clients.submit(
                    _register_on_one_connection, node, admin, f"client{number}", PER_CLIENT
                )
                for number in range(CLIENTS)
            ]
            for job in jobs:
                acknowledged += job.result()
    calls = read_trace(record)
    disk = disk_history(calls, data_file, base, synchronous_descriptors(registrar, data_file))
    return TracedRun(tuple(acknowledged), tuple(calls), disk, data_file, data_file.read_bytes())


def _register_on_one_connection(
    node: Node, admin: Administrator, stem: str, count: int
) -> list[Acknowledged]:
    with Connection(node.address) as connection:
        return _register(connection, admin, stem, count)


def _register(line: Line, admin: Administrator, stem: str, count: int) -> list[Acknowledged]:
    acknowledged = []
    for number in range(count):
        name = f"{stem}-{number:03d}"
        answer = line.register(admin, name)
        words = answer.body.message if isinstance(answer.body, ErrorAnswer) else b""
        assert answer.code == ResponseCode.SUCCESS, (answer.code, words)
        acknowledged.append(Acknowledged.by_message(name, answer.request_id))
    return acknowledged


def _register_over_rest(node: Node, admin: Administrator, count: int) -> list[Acknowledged]:
    names = [f"rest-{number:03d}" for number in range(count)]
    with RestSession(node, admin) as session:
        for name in names:
            values = [
                {"index": value.index, "type": value.type.decode(), "data": value.data.decode()}
                for value in product_values(name)
            ]
            assert session.put(f"88/{name}", values).status == 201
    return [Acknowledged.by_rest(name) for name in names]


@pytest.fixture(scope="module")
def garbled_node(module_folder: Path) -> Iterator[Node]:
    """A running node with one honest handle, for garbage to be thrown at."""
    tables: Tables = {
        "limits": {"http_body_octets_max": BODY_OCTETS_MAX},
        "tls": {"allow_plain_credentials_on_loopback": True},
    }
    with running(make_node(module_folder / "node", tables=tables)) as node:
        with Connection(node.address) as connection:
            answer = connection.register(administrator(node), "honest")
        assert answer.code == ResponseCode.SUCCESS
        yield node


@pytest.fixture
def no_harm(garbled_node: Node) -> Iterator[None]:
    """After the test: the same processes, no traceback, and right answers."""
    with unharmed(garbled_node):
        yield
