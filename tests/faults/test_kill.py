"""Killed fifty times while registering: what was acknowledged is there, what was refused is not.

Each round several clients register until something breaks, and in the midst of it the registrar,
a worker or the whole process group gets SIGKILL. The choice, and the moment, are seeded.
"""

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from protocol.codes import ResponseCode
from tests.faults.wire_client import (
    Administrator,
    Connection,
    administrator,
    creation,
    data_of,
    expected_data,
    product_values,
    read_answer,
    resolution,
)
from tests.nodes import Node, make_node, must_run, running, wait_until

SEED = 20261121
ROUNDS = 50
CLIENTS = 4
ACKNOWLEDGED_BEFORE_KILL_MAX = 16
MOMENT_SPREAD_S = 0.01  # a few transactions long
# A child that keeps dying is replaced ever more slowly: after three the whole node starts afresh.
SINGLE_KILLS_MAX = 3
CLIENT_TIMEOUT_S = 5.0

# Codes that promise that nothing was done; 2 and a broken connection promise nothing.
REFUSALS = frozenset(ResponseCode) - {ResponseCode.SUCCESS, ResponseCode.ERROR}


class Ledger:
    """What the clients were told. Handles in neither list may or may not exist."""

    def __init__(self) -> None:
        self.complaints: list[str] = []
        self.acknowledged: list[str] = []
        self.refused: list[str] = []

    def note(self, name: str, code: int) -> None:
        if code == ResponseCode.SUCCESS:
            self.acknowledged.append(name)
        elif code in REFUSALS:
            self.refused.append(name)


class Callers(NamedTuple):
    """The administrator, and a stranger who claims to be him with a key of his own."""

    admin: Administrator
    stranger: Administrator


def register_until_it_breaks(node: Node, callers: Callers, stem: str, ledger: Ledger) -> None:
    try:
        with Connection(node.address, CLIENT_TIMEOUT_S) as connection:
            for number in count():
                name = f"{stem}-{number}"
                code = connection.register(callers.admin, name).code
                ledger.note(name, code)
                if code != ResponseCode.SUCCESS:
                    return
                if number % 4 == 0:
                    be_refused(connection, callers, name, ledger)
    except (OSError, EOFError):
        return  # killed: the name under way is in doubt
    except AssertionError as error:
        ledger.complaints.append(f"{stem}: {error}")


def be_refused(connection: Connection, callers: Callers, name: str, ledger: Ledger) -> None:
    forged = f"forged-{name}"
    ledger.note(forged, connection.register(callers.stranger, forged).code)
    # A second creation with other values must leave the first as it is.
    again = creation(b"88/" + name.encode(), product_values("usurper"))
    code = connection.administer(again, callers.admin).code
    assert code != ResponseCode.SUCCESS, f"{name} was acknowledged and created again"


def victims(chance: random.Random) -> Iterator[str]:
    """Yield whom to kill in each round; the first rounds have all kinds."""
    alone = 0
    for _ in range(ROUNDS):
        kind = "group" if alone == SINGLE_KILLS_MAX else chance.choice(("registrar", "worker"))
        if chance.random() < 0.3:
            kind = "group"
        alone = 0 if kind == "group" else alone + 1
        yield kind


def strike(node: Node, kind: str) -> None:
    if kind == "group":
        node.kill()
        return
    pid = node.writer_pid() if kind == "registrar" else node.worker_pids()[0]
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def recover(node: Node, callers: Callers, number: int, ledger: Ledger) -> None:
    """Bring the node back; return when it registers again."""
    if node.process is None:
        node.start()
    attempts = count()

    def registers() -> bool:
        name = f"probe-{number}-{next(attempts)}"
        try:
            with Connection(node.address, CLIENT_TIMEOUT_S) as connection:
                code = connection.register(callers.admin, name).code
        except (OSError, EOFError):
            return False
        ledger.note(name, code)
        return code == ResponseCode.SUCCESS

    wait_until(registers, f"round {number}: the node registers again", 15)


def play_round(
    node: Node, callers: Callers, kind: str, number: int, ledger: Ledger, chance: random.Random
) -> None:
    enough = len(ledger.acknowledged) + chance.randint(1, ACKNOWLEDGED_BEFORE_KILL_MAX)
    clients = [
        threading.Thread(
            target=register_until_it_breaks,
            args=(node, callers, f"r{number}-c{client}", ledger),
        )
        for client in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    wait_until(lambda: len(ledger.acknowledged) >= enough, f"round {number} registers", 20, 0.001)
    time.sleep(chance.random() * MOMENT_SPREAD_S)  # the moment of death is part of the lot
    strike(node, kind)
    for client in clients:
        client.join(CLIENT_TIMEOUT_S * 3)
        assert not client.is_alive(), f"round {number}: a client still waits after the {kind} died"
    assert not ledger.complaints, f"round {number}, {kind} killed: {ledger.complaints}"


def check_ledger(node: Node, ledger: Ledger) -> None:
    with Connection(node.address) as connection:
        for name in ledger.acknowledged:
            found = read_answer(connection.ask(resolution(b"88/" + name.encode())))
            assert found.code == ResponseCode.SUCCESS, f"{name} was acknowledged and is lost"
            assert data_of(found.body) == expected_data(name)
        for name in ledger.refused:
            found = read_answer(connection.ask(resolution(b"88/" + name.encode())))
            assert found.code == ResponseCode.HANDLE_NOT_FOUND, f"{name} was refused and exists"


@pytest.mark.timeout(240)
def test_fifty_kills_lose_nothing_acknowledged(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    node = make_node(tmp_path / "node")
    admin = administrator(node)
    callers = Callers(admin, admin._replace(key=generate_private_key(65_537, 2_048)))
    ledger = Ledger()
    with running(node):
        for number, kind in enumerate(victims(chance)):
            play_round(node, callers, kind, number, ledger, chance)
            recover(node, callers, number, ledger)
        check_ledger(node, ledger)
        assert len(ledger.acknowledged) >= 2 * ROUNDS
        assert sum(name.startswith("forged") for name in ledger.refused) >= ROUNDS
        assert node.stop() == 0
    must_run("verify", str(node.folder))


def test_the_lot_has_all_kinds_of_victims() -> None:
    drawn = list(victims(random.Random(SEED)))
    assert all(drawn.count(kind) >= 8 for kind in ("group", "registrar", "worker"))
