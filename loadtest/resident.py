"""Stores held in memory while they are measured, so that a run measures the node and not the disk.

A file that was read once is not warm for long on every machine: some hosts take cached pages of
their guests back within seconds. Pages that are locked stay; a node that maps the file finds them.
They are read anew and in large pieces, as a node reads them after its machine has started: what a
loader has just written lies in memory page by page. Then an octet of every page is looked at: in a
guest the first look of its processor at a page that a disk has filled costs microseconds, once.
"""

import contextlib
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

# Of Linux, not among the constants of `mmap`.
_MAP_LOCKED = 0x2000  # reads all pages, and locks them
_MADV_POPULATE_READ = 22
_HUGE_PAGES = 14  # MADV_HUGEPAGE


@contextlib.contextmanager
def held(store: Path) -> Iterator[None]:
    """Keep LMDB's file of a store in memory; what it grows by meanwhile is not locked.

    Where locking is not allowed (`ulimit -l`) the file is only read. A recursive node has none.
    """
    path = store / "data.mdb"
    if not path.exists():
        yield
        return
    with contextlib.ExitStack() as kept:
        file = kept.enter_context(path.open("rb"))
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        flags, protection = mmap.MAP_SHARED, mmap.PROT_READ
        pages = kept.enter_context(mmap.mmap(file.fileno(), 0, flags, protection))
        # An older kernel, or one without large pages, reads as it can.
        for advice in (_HUGE_PAGES, _MADV_POPULATE_READ):
            with contextlib.suppress(OSError):
                pages.madvise(advice)
        with contextlib.suppress(OSError):
            kept.enter_context(mmap.mmap(file.fileno(), 0, flags | _MAP_LOCKED, protection))
        with memoryview(pages) as octets, octets[:: mmap.PAGESIZE] as firsts:
            firsts.tobytes()
        yield
