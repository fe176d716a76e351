"""Where this process has a file mapped, from what the kernel says of its memory.

The native batch touches the pages of a store before they are looked up (`_pages.pxi`). LMDB does
not tell where it has mapped a file; Linux does.
"""

import os
from pathlib import Path
from typing import NamedTuple

_MAPS = Path("/proc/self/maps")


class MappedFile(NamedTuple):
    """A file's mapping: where it begins, how long it is, and a descriptor of the same file.

    The descriptor is the receiver's to close.
    """

    start: int
    octets: int
    fileno: int


def find_mapped(path: Path, maps: Path = _MAPS) -> MappedFile | None:
    """Return where a file is mapped from its beginning on, None when it is not, or not one time.

    Args:
        path: of the file as it is now; a mapping of another that had its name does not count.
        maps: lines of start-end permissions offset device inode name (proc(5)).
    """
    try:
        fileno = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    status = os.fstat(fileno)
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    wanted = ["00000000", device, str(status.st_ino)]
    try:
        lines = [line.split(maxsplit=5) for line in maps.read_text("utf-8", "replace").splitlines()]
    except OSError:
        lines = []
    found = [line[0].split("-") for line in lines if line[2:5] == wanted]
    if len(found) != 1:
        os.close(fileno)
        return None
    start, end = (int(address, 16) for address in found[0])
    return MappedFile(start, end - start, fileno)
