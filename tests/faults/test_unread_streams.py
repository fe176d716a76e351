"""Clients that ask for all there is and stop reading: lists, logs and dumps, over TCP and HTTP.

The list has far more octets than all the buffers between the store and the client, so that what is
true of it is true of one with ten million handles.
"""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import lmdb
import psutil
import pytest

from protocol.value import HandleValue
from registry.store import Store
from tests.interop import foreign_wire as wire
from tests.interop.conftest import Stand, stand
from tests.interop.foreign_client import answer_body
from tests.interop.foreign_mirror import streamed
from tests.interop.foreign_transport import exchange_stream
from tests.interop.foreign_wire import pack_str
from tests.nodes import Node, make_node, running, wait_until
from tests.streams.memory import growth_below

HANDLES = 30_000
LIST_OCTETS = 12_000_000
WRITE_TIMEOUT_S = 3
GROWTH_OCTETS_MAX = 24 * 1_048_576  # four streams, their write buffers, a log's largest frame
IDLE_CPU_S = 0.3
ALL = b"\2" + bytes(3) + b"\1" + bytes(4)  # the share of a mirror of one server
TABLES = {
    "limits": {
        "write_timeout_s": WRITE_TIMEOUT_S,
        "write_buffer_octets": 262_144,
        "tls_handshake_timeout_s": 2,
    }
}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """A node with a prefix of many long handles."""
    node = make_node(tmp_path_factory.mktemp("unread") / "node", tables=TABLES)
    value = HandleValue(1, b"URL", b"x")
    with Store.open(node.store) as store, store.write(journaled=False) as view:
        for number in range(HANDLES):
            view.put_record(b"88/%06d." % number + b"L" * (LIST_OCTETS // HANDLES), (value,))
    with running(node):
        yield stand(node)


def begin_list(place: Stand, transport: str, stack: contextlib.ExitStack) -> None:
    """Ask for the list, read one message of it."""
    client = place.client.speaking(transport=transport)
    challenge = client.ask(wire.LIST, pack_str(b"0.NA/88"), wire.RECU)
    covered = wire.pack_message(
        wire.ANSWER_CHALLENGE, answer_body(challenge, place.admin), wire.RECU
    )
    envelope, message = client._seal(covered, challenge.envelope.session)
    answers = exchange_stream(client, envelope, message, client._open)
    stack.callback(answers.close)  # type: ignore[attr-defined]
    first = next(answers)
    assert first.code == 1
    assert first.flags & wire.CONT


def begin_dump(place: Stand, transport: str, stack: contextlib.ExitStack) -> None:
    """Ask for everything, read the head of it."""
    client = place.client.speaking(transport=transport)
    opened = streamed(client, wire.DUMP_HANDLES, ALL, place.admin)
    _, stream = stack.enter_context(opened)
    assert stream.number("i") == 2


def cpu_s(node: Node) -> float:
    pids = [*node.worker_pids(), node.writer_pid()]
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return sum(each.user + each.system for each in times)


def connections(node: Node) -> int:
    """Connections that workers have with clients."""
    held = [each for pid in node.worker_pids() for each in psutil.Process(pid).net_connections()]
    return sum(each.status == psutil.CONN_ESTABLISHED and bool(each.raddr) for each in held)


def pinned_states(store: Path) -> list[str]:
    """Read transactions of the store that are open at this moment."""
    with lmdb.open(str(store), readonly=True, max_dbs=20, lock=True) as environment:
        lines = environment.readers().splitlines()[1:]
    return [line for line in lines if line.split()[-1] != "-"]


def test_unread_streams_cost_nothing_and_end(large: Stand) -> None:
    node = large.node
    wait_until(lambda: not connections(node), "connections of the start are gone", 20)
    with growth_below(node, GROWTH_OCTETS_MAX), contextlib.ExitStack() as stack:
        started_s = time.monotonic()
        begin_list(large, "tcp", stack)
        begin_list(large, "http", stack)
        begin_dump(large, "tcp", stack)
        begin_dump(large, "https", stack)
        assert connections(node) == 4
        time.sleep(1.0)
        # By now all that buffers take is sent: what a client holds up costs nothing any more.
        before_s = cpu_s(node)
        pinned = [pinned_states(node.store) for _ in range(10)]
        assert [] in pinned, pinned
        time.sleep(0.5)
        assert cpu_s(node) - before_s < IDLE_CPU_S
        assert large.client.resolve(b"0.NA/88").code == 1
        wait_until(lambda: not connections(node), "the connections are ended", WRITE_TIMEOUT_S + 5)
        assert time.monotonic() - started_s >= WRITE_TIMEOUT_S
    # Whoever is cut leaves nothing behind: as many mirrors as may be are fed again.
    for _ in range(8):
        with streamed(large.client, wire.DUMP_HANDLES, ALL, large.admin) as (_, stream):
            assert stream.number("i") == 2


def test_a_handshake_that_does_not_come_or_is_none_ends(large: Stand) -> None:
    node = large.node
    began: dict[str, bytes] = {"silence": b"", "garbage": b"\0" * 600, "a flood": b"\0" * 400_000}
    body = answer_of_peer(large)
    for what, octets in began.items():
        with socket.create_connection((large.client.address, large.client.handle_port), 10) as sock:
            sock.sendall(body())
            read_until_tls(sock)
            with contextlib.suppress(OSError):  # it may be cut while we send
                sock.sendall(octets)
            assert ends(sock), what
    wait_until(lambda: node.log.count("broke off") >= 2, "both are in the log", 5)
    with streamed(large.client, wire.DUMP_HANDLES, ALL, large.admin) as (_, stream):
        assert stream.number("i") == 2


def answer_of_peer(place: Stand) -> Callable[[], bytes]:
    """What makes a proven request for a dump, anew each time."""

    def make() -> bytes:
        challenge = place.client.ask(wire.DUMP_HANDLES, ALL, wire.RECU)
        proof = answer_body(challenge, place.admin)
        covered = wire.pack_message(wire.ANSWER_CHALLENGE, proof, wire.RECU)
        envelope, message = place.client._seal(covered, challenge.envelope.session)
        return envelope.pack() + message

    return make


def read_until_tls(sock: socket.socket) -> None:
    """Read the answer and the type of the stream."""
    octets = b""
    while not octets.endswith(b"TLS\0"):
        more = sock.recv(65_536)
        assert more, octets
        octets += more


def ends(sock: socket.socket) -> bool:
    """Whether the node ends a connection; an alert of TLS may come before."""
    try:
        while sock.recv(65_536):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def test_a_reading_client_gets_all_of_it(large: Stand) -> None:
    for transport in ("tcp", "http"):
        client = large.client.speaking(transport=transport)
        handles = [
            handle
            for answer in client.list(b"0.NA/88", large.admin)
            for handle in answer.payload.strs()
        ]
        assert len(handles) == len(set(handles)) >= HANDLES
