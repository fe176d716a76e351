"""Stores held in memory while they are measured, so that a run measures the node and not the disk.

A file that was read once is not warm for long on every machine: some hosts take cached pages of
their guests back within seconds. Pages that are locked stay; a node that maps the file finds them.
"""

import contextlib
import mmap
from collections.abc import Iterator
from pathlib import Path

_MAP_LOCKED = 0x2000  # Linux, not among the constants of `mmap`; reads all pages, and locks them


@contextlib.contextmanager
def held(store: Path) -> Iterator[None]:
    """Keep LMDB's file of a store in memory; what it grows by meanwhile is not locked.

    Where locking is not allowed (`ulimit -l`) the file is only read. A recursive node has none.
    """
    path = store / "data.mdb"
    if not path.exists():
        yield
        return
    with path.open("rb") as file:
        flags, protection = mmap.MAP_SHARED, mmap.PROT_READ
        try:
            pages = mmap.mmap(file.fileno(), 0, flags | _MAP_LOCKED, protection)
        except OSError:
            pages = mmap.mmap(file.fileno(), 0, flags | mmap.MAP_POPULATE, protection)
        with pages:
            yield
