"""Processes that die, are ended, or come twice: no orphan, no held port, look-ups go on."""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from protocol.codes import ResponseCode
from resolver.registrar import NICENESS
from tests.faults.wire_client import (
    Connection,
    administrator,
    ask_udp,
    data_of,
    expected_data,
    look_up,
    read_answer,
    resolution,
)
from tests.nodes import (
    ADDRESS,
    Node,
    configure,
    free_port,
    make_node,
    run_biaoshi,
    running,
    wait_until,
)

HANDLE = b"88/kept"
LOOK_UP_TIMEOUT_S = 1.0


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A running node with two workers and one handle."""
    made = make_node(tmp_path / "node", tables={"process": {"workers": 2}})
    with running(made):
        register(made, HANDLE.decode().removeprefix("88/"))
        yield made


def register(node: Node, name: str) -> None:
    """Register, although the worker that is met may not have found its registrar yet.

    /readyz speaks for the worker that answered it; each finds the registrar by itself, and until
    then answers 3: nothing was done, try again.
    """
    codes = []

    def registers() -> bool:
        with Connection(node.address) as connection:
            codes.append(connection.register(administrator(node), name).code)
        return codes[-1] == ResponseCode.SUCCESS

    wait_until(registers, "it registers again")
    assert set(codes[:-1]) <= {ResponseCode.SERVER_TOO_BUSY}


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that only waits to be reaped has."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def can_bind(port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as sock:
        if kind is socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((ADDRESS, port))
        except OSError:
            return False
    return True


def ports_are_free(node: Node) -> bool:
    return (
        can_bind(node.handle_port, socket.SOCK_DGRAM)
        and can_bind(node.handle_port, socket.SOCK_STREAM)
        and can_bind(node.http_port, socket.SOCK_STREAM)
    )


def answers_over_udp(node: Node) -> bool:
    try:
        return ask_udp(node.address, resolution(HANDLE), LOOK_UP_TIMEOUT_S) is not None
    except OSError:
        return False


@contextmanager
def looking_up(ask: Callable[[], bool]) -> Iterator[list[bool]]:
    """Look up again and again in a thread while the block lasts; yield what came of each."""
    outcomes: list[bool] = []
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            outcomes.append(ask())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield outcomes
    finally:
        over.set()
        thread.join(LOOK_UP_TIMEOUT_S * 2)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_supervisor_that_dies_leaves_no_orphan_and_no_held_port(
    node: Node, number: signal.Signals
) -> None:
    children = [child.pid for child in node.children]
    assert len(children) == 3
    os.kill(node.pid, number)
    wait_until(lambda: all(map(is_gone, children)), "the children are gone")
    wait_until(lambda: ports_are_free(node), "the ports are free")


def test_node_starts_again_after_its_supervisor_was_killed(node: Node) -> None:
    os.kill(node.pid, signal.SIGKILL)
    node.kill()
    node.start()
    assert data_of(look_up(node.address, HANDLE).body) == expected_data("kept")
    register(node, "after")


def test_look_ups_go_before_registrations(node: Node) -> None:
    (worker, *_), registrar = node.worker_pids(), node.writer_pid()
    niceness = min(19, psutil.Process(worker).nice() + NICENESS)  # 19 is the most there is
    assert psutil.Process(registrar).nice() == niceness


def test_registrar_that_dies_is_replaced_and_look_ups_go_on(node: Node) -> None:
    dead = node.writer_pid()
    assert dead is not None
    workers = node.worker_pids()
    with looking_up(lambda: answers_over_udp(node)) as outcomes:
        os.kill(dead, signal.SIGKILL)
        wait_until(lambda: node.writer_pid() not in (None, dead), "another registrar writes")
        seen = len(outcomes)
        wait_until(lambda: len(outcomes) > seen + 20, "look-ups after the replacement")
    assert outcomes.count(False) == 0
    wait_until(lambda: node.get("/readyz").status == 200, "the node is ready again")
    register(node, "after")
    assert node.worker_pids() == workers
    assert node.metric("biaoshi_restarts_total") == 1


def test_registration_without_a_registrar_is_answered_not_left_waiting(node: Node) -> None:
    registrar = node.writer_pid()
    assert registrar is not None
    os.kill(registrar, signal.SIGSTOP)  # while it lives its replacement cannot come
    try:
        assert answers_over_udp(node)
    finally:
        os.kill(registrar, signal.SIGKILL)
    admin = administrator(node)

    def code() -> int:
        with Connection(node.address, 5) as connection:
            return connection.register(admin, "late").code

    codes = []

    def registers() -> bool:
        codes.append(code())
        return codes[-1] in (ResponseCode.SUCCESS, ResponseCode.HANDLE_ALREADY_EXISTS)

    wait_until(registers, "it registers again")
    assert set(codes[:-1]) <= {ResponseCode.ERROR, ResponseCode.SERVER_TOO_BUSY}


def test_worker_that_dies_is_replaced_and_look_ups_go_on(node: Node) -> None:
    before = node.worker_pids()
    registrar = node.writer_pid()
    assert len(before) == 2
    os.kill(before[0], signal.SIGKILL)
    # The other worker's socket takes what comes; a datagram in the dead one's queue is lost, and
    # asked again as every UDP client does.
    wait_until(lambda: answers_over_udp(node), "a look-up while one worker is gone", 5)
    after = wait_until(
        lambda: (now := node.worker_pids()) != before and len(now) == 2 and now,
        "another worker listens",
    )
    assert before[0] not in after
    assert before[1] in after
    assert node.writer_pid() == registrar
    for _ in range(50):
        assert look_up(node.address, HANDLE, LOOK_UP_TIMEOUT_S).code == ResponseCode.SUCCESS


def test_kept_connection_of_the_other_worker_survives(node: Node) -> None:
    connections = [Connection(node.address) for _ in range(20)]
    for each in connections:
        each.ask(resolution(HANDLE))
    os.kill(node.worker_pids()[0], signal.SIGKILL)
    alive = 0
    for each in connections:
        with each:
            try:
                alive += read_answer(each.ask(resolution(HANDLE))).code == ResponseCode.SUCCESS
            except (OSError, EOFError):
                continue
    assert 0 < alive < 20


def test_node_that_was_stopped_for_a_while_goes_on(node: Node) -> None:
    assert node.process is not None
    supervisor = psutil.Process(node.process.pid)
    before = node.worker_pids()
    supervisor.suspend()
    wait_until(lambda: supervisor.status() == psutil.STATUS_STOPPED, "it is stopped")
    stopped_s = time.monotonic()
    wait_until(lambda: time.monotonic() - stopped_s > 1.2, "it would have waited no longer")
    supervisor.resume()
    register(node, "after")
    assert (node.worker_pids(), node.process.poll()) == (before, None)
    assert "Traceback" not in node.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_node_ends_cleanly_when_told_to(node: Node, number: signal.Signals) -> None:
    children = [child.pid for child in node.children]
    process = node.process
    assert process is not None
    with Connection(node.address) as idle:  # a client that stays must not hold the node up
        idle.ask(resolution(HANDLE))
        os.kill(node.pid, number)
        assert process.wait(10) == 0, node.log_tail
    assert all(map(is_gone, children))
    assert ports_are_free(node)
    assert "Traceback" not in node.log
    assert run_biaoshi("verify", str(node.folder)).returncode == 0
    node.process = None
    node.start()
    assert data_of(look_up(node.address, HANDLE).body) == expected_data("kept")


def test_node_that_is_told_to_end_while_it_starts_ends_cleanly(node: Node) -> None:
    node.stop()
    node.start(wait=False)

    def answers() -> bool:
        with contextlib.suppress(TimeoutError, ConnectionRefusedError):
            ask_udp(node.address, resolution(HANDLE), 0.01)
            return True
        return False

    # It answers before it has imported what HTTP needs, which goes on in a thread.
    wait_until(answers, "it answers over UDP")
    begun = len(node.log)
    assert node.stop() == 0
    assert "Traceback" not in node.log[begun:]


def test_second_start_in_the_same_folder_is_refused(node: Node) -> None:
    ended = run_biaoshi("serve", str(node.folder))
    assert ended.returncode not in (0, None)
    assert f"running already in {node.folder}" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert look_up(node.address, HANDLE).code == ResponseCode.SUCCESS
    assert node.stop() == 0


def test_second_start_in_the_same_folder_on_other_ports_is_refused(node: Node) -> None:
    configure(node.folder, {"listen": {"handle_port": free_port(), "http_port": free_port()}})
    ended = run_biaoshi("serve", str(node.folder))
    assert ended.returncode not in (0, None)
    assert f"running already in {node.folder}" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert (node.folder / "run" / "pid").read_text().strip() == str(node.pid)


@pytest.mark.parametrize("taken", ["handle_port", "http_port"])
def test_port_in_use_is_named_before_anything_starts(tmp_path: Path, taken: str) -> None:
    node = make_node(tmp_path / "node")
    port = getattr(node, taken)
    with socket.create_server((ADDRESS, port)):
        ended = run_biaoshi("serve", str(node.folder))
    assert ended.returncode == 1
    assert f"TCP port {port} of {ADDRESS} is in use" in ended.stderr
    assert "[listen]" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_two_nodes_cannot_share_a_port_unseen(node: Node, tmp_path: Path) -> None:
    # Workers share ports with SO_REUSEPORT; another node must not slip in and take half the load.
    other = make_node(tmp_path / "other")
    configure(other.folder, {"listen": {"handle_port": node.handle_port}})
    ended = run_biaoshi("serve", str(other.folder))
    assert ended.returncode == 1
    assert f"port {node.handle_port} of {ADDRESS} is in use" in ended.stderr


def test_node_without_hope_ends_at_once_not_after_the_time_to_stop(tmp_path: Path) -> None:
    node = make_node(tmp_path / "node")
    configure(node.folder, {"process": {"stop_timeout_s": 600}})
    for file in (node.folder / "store").iterdir():
        file.write_bytes(b"not a store" * 1_000)
    ended = run_biaoshi("serve", str(node.folder))
    assert ended.returncode == 1
    assert "registrar cannot start, see above" in ended.stderr


def test_start_and_stop_are_in_the_log(node: Node) -> None:
    assert node.stop() == 0
    words = node.log
    assert "supervisor" in words
    assert words.index(" ready role=") < words.index("SIGTERM: stopping") < words.index("stopped")
