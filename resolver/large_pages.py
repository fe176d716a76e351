"""Asking for a store in large pages, where all of it fits into memory.

A look-up in a store of many gigabytes waits for the processor's page tables more than for the rows:
with pages of 4 KiB nearly every step down the tree needs an entry that is in no cache. In pages of
2 MiB a store of 10 GB has 5,000. The kernel makes them when it reads the file, 2 MiB at a time, so
this is asked for only where the store will stay in memory: one that does not would be read 500
times over. Linux, with `transparent_hugepage` at `madvise` or `always`; elsewhere nothing happens.
"""

import ctypes
import os
from pathlib import Path

from resolver.mapped_file import find_mapped

MEMORY_SHARE_MAX = 0.5  # of the machine's memory; ours, the rest is for others and for growing
_MADV_HUGEPAGE = 14


def memory_octets() -> int:
    """Return how much memory the machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def ask_for_large_pages(path: Path, memory: int | None = None) -> bool:
    """Ask that a file, which this process has mapped, is mapped in large pages; say whether it was.

    Args:
        path: of the file.
        memory: octets of the machine's; None: as the kernel says.
    """
    memory = memory_octets() if memory is None else memory
    mapped = find_mapped(path)
    if mapped is None:
        return False
    try:
        if os.fstat(mapped.fileno).st_size > memory * MEMORY_SHARE_MAX:
            return False
        libc = ctypes.CDLL(None, use_errno=True)
        start, octets = ctypes.c_void_p(mapped.start), ctypes.c_size_t(mapped.octets)
        return int(libc.madvise(start, octets, _MADV_HUGEPAGE)) == 0
    finally:
        os.close(mapped.fileno)
