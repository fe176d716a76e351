import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import uvloop

from resolver.readiness import EVENTS_MAX, READ, WRITE, Readiness


class Told:
    """Remembers what it was told; reads one octet each time."""

    def __init__(self, sock: socket.socket, *, fails: bool = False) -> None:
        self.sock = sock
        self.fails = fails
        self.times: list[tuple[bool, bool]] = []

    def on_ready(self, *, readable: bool, writable: bool) -> None:
        self.times.append((readable, writable))
        if self.fails:
            raise ValueError("as the test wants it")
        if readable:
            self.sock.recv(1)


def run(scenario: Callable[[Readiness], Coroutine[Any, Any, None]]) -> None:
    async def with_readiness() -> None:
        readiness = Readiness(asyncio.get_running_loop())
        try:
            await scenario(readiness)
        finally:
            readiness.close()

    uvloop.run(with_readiness())


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@contextmanager
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        yield ours, theirs


def test_who_does_not_read_all_is_told_again() -> None:
    async def scenario(readiness: Readiness) -> None:
        with pair() as (ours, theirs):
            told = Told(ours)
            readiness.watch(ours.fileno(), told, READ)
            await turns()
            assert told.times == []
            theirs.send(b"abc")
            await turns(20)
            assert told.times == [(True, False)] * 3

    run(scenario)


def test_only_what_interests_is_told() -> None:
    async def scenario(readiness: Readiness) -> None:
        with pair() as (ours, theirs):
            told = Told(ours)
            theirs.send(b"abc")
            readiness.watch(ours.fileno(), told, WRITE)
            await turns(20)
            assert set(told.times) == {(False, True)}
            readiness.watch(ours.fileno(), told, READ | WRITE)
            await turns(20)
            assert (True, True) in told.times
            readiness.watch(ours.fileno(), told, 0)
            told.times.clear()
            theirs.send(b"abc")
            await turns()
            assert told.times == []

    run(scenario)


def test_of_a_broken_connection_nothing_is_told_while_nothing_interests() -> None:
    async def scenario(readiness: Readiness) -> None:
        with pair() as (ours, theirs):
            told = Told(ours)
            readiness.watch(ours.fileno(), told, READ)
            readiness.watch(ours.fileno(), told, 0)
            theirs.close()
            await turns(20)
            assert told.times == []
            readiness.watch(ours.fileno(), told, READ)
            await turns(20)
            assert told.times
            assert all(readable for readable, _ in told.times)

    run(scenario)


def test_a_number_reused_by_another_socket_is_the_other_ones() -> None:
    async def scenario(readiness: Readiness) -> None:
        with pair() as (ours, theirs):
            first = Told(ours)
            readiness.watch(ours.fileno(), first, READ)
            fileno = ours.fileno()
            readiness.forget(fileno)
            ours.close()
            theirs.close()
            with pair() as (others, their_others):
                assert others.fileno() == fileno
                second = Told(others)
                readiness.watch(fileno, second, READ)
                their_others.send(b"x")
                await turns(20)
                assert (first.times, second.times) == ([], [(True, False)])

    run(scenario)


def test_one_that_fails_keeps_nobody_else_from_being_told() -> None:
    async def scenario(readiness: Readiness) -> None:
        problems: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: problems.append(context))
        with pair() as (ours, theirs), pair() as (others, their_others):
            failing, working = Told(ours, fails=True), Told(others)
            readiness.watch(ours.fileno(), failing, READ)
            readiness.watch(others.fileno(), working, READ)
            theirs.send(b"x")
            their_others.send(b"x")
            await turns(20)
            assert working.times == [(True, False)]
            assert isinstance(problems[0]["exception"], ValueError)

    run(scenario)


def test_others_get_their_turn_when_many_sockets_are_ready() -> None:
    async def scenario(readiness: Readiness) -> None:
        told: list[Told] = []
        sockets: list[socket.socket] = []
        for _ in range(EVENTS_MAX + 10):
            ours, theirs = socket.socketpair()
            sockets += [ours, theirs]
            theirs.send(b"x")
            told.append(Told(ours))
            readiness.watch(ours.fileno(), told[-1], READ)
        readiness._on_events()
        assert sum(bool(each.times) for each in told) == EVENTS_MAX
        await turns(20)
        assert all(each.times == [(True, False)] for each in told)
        for sock in sockets:
            sock.close()

    run(scenario)


def test_after_the_end_nobody_is_told() -> None:
    async def scenario() -> None:
        readiness = Readiness(asyncio.get_running_loop())
        with pair() as (ours, theirs):
            told = Told(ours)
            readiness.watch(ours.fileno(), told, READ)
            theirs.send(b"x")
            readiness.close()
            await turns(20)
            assert told.times == []

    uvloop.run(scenario())
