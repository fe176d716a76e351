"""How much a node's processes grow while something is done to them."""

import contextlib
import threading
from collections.abc import Iterator

import psutil

from tests.nodes import Node

LOOK_EVERY_S = 0.02


@contextlib.contextmanager
def growth_below(node: Node, octets_max: int) -> Iterator[None]:
    """Fail when a worker or the registrar holds so many octets more of its own at any moment."""
    pids = [*node.worker_pids(), node.writer_pid()]
    processes = [psutil.Process(pid) for pid in pids]
    before = [own_octets(each) for each in processes]
    most = list(before)
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(LOOK_EVERY_S):
            for at, each in enumerate(processes):
                most[at] = max(most[at], own_octets(each))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
    grown = [after - start for after, start in zip(most, before, strict=True)]
    assert max(grown) < octets_max, f"workers and registrar grew by {grown} octets"


def own_octets(process: psutil.Process) -> int:
    """Octets that this process alone holds."""
    return int(process.memory_full_info().uss)
