"""What a disk would hold after a power cut, made from the system calls that wrote to it.

The model: a write is on the disk for certain once it returned through a descriptor with O_DSYNC,
or once an fdatasync that began after it returned has itself returned. Any other write may be on
the disk or not, sector by sector, in whatever order the machine found convenient. This is what
POSIX and disks promise, and no more.
"""

import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from registry.store import Store
from registry.verify import verify
from tests.faults.system_calls import FILE_WRITES, SYNCS, UNMODELLED, SystemCall

Row = tuple[bytes, dict[int, tuple[bytes, bytes]]]  # a handle; type and data by index
SECTOR_OCTETS = 512  # the smallest unit a disk writes whole


class DiskWrite(NamedTuple):
    """Octets written at an offset; entered and left as in SystemCall."""

    offset: int
    octets: bytes
    synchronous: bool
    entered: int
    left: int


class DiskHistory(NamedTuple):
    """What happened to one file since it had the octets `base`."""

    base: bytes
    writes: tuple[DiskWrite, ...]
    syncs: tuple[SystemCall, ...]

    def without_syncs(self) -> "DiskHistory":
        """The same writes by a program that never asks for them to be kept."""
        writes = tuple(write._replace(synchronous=False) for write in self.writes)
        return DiskHistory(self.base, writes, ())

    def is_durable(self, write: DiskWrite, moment: int) -> bool:
        """Say whether a write is certainly on the disk at a moment."""
        if write.synchronous and write.left < moment:
            return True
        return any(sync.entered > write.left and sync.left < moment for sync in self.syncs)

    def image(self, moment: int, chance: random.Random | None = None) -> bytes:
        """The file as found after a power cut at `moment`.

        With `chance` each sector that is not certainly on the disk is there or not by lot;
        without it none of them is.
        """
        image = bytearray(self.base)
        for write in self.writes:
            if write.entered >= moment:
                break
            if self.is_durable(write, moment):
                _put(image, write.offset, write.octets)
            elif chance is not None:
                _put_some(image, write, chance)
        return bytes(image)

    @property
    def final(self) -> bytes:
        """The file as every reader sees it in the end, if the history is complete."""
        image = bytearray(self.base)
        for write in self.writes:
            _put(image, write.offset, write.octets)
        return bytes(image)


def _put(image: bytearray, offset: int, octets: bytes) -> None:
    image.extend(bytes(max(0, offset + len(octets) - len(image))))
    image[offset : offset + len(octets)] = octets


def _put_some(image: bytearray, write: DiskWrite, chance: random.Random) -> None:
    at = 0
    while at < len(write.octets):
        # A sector is written whole: a short write within one is there or not as a whole.
        size = SECTOR_OCTETS - (write.offset + at) % SECTOR_OCTETS
        if chance.random() < 0.5:
            _put(image, write.offset + at, write.octets[at : at + size])
        at += size


def disk_history(
    calls: Iterable[SystemCall], path: Path, base: bytes, synchronous: set[int]
) -> DiskHistory:
    """Find what was done to a file; `synchronous` are the descriptors opened with O_DSYNC."""
    writes: list[DiskWrite] = []
    syncs: list[SystemCall] = []
    positions: dict[int, int] = {}
    for call in (each for each in calls if each.target == str(path)):
        assert call.name not in UNMODELLED, f"{call.name} on {path} is not in the model"
        assert call.result >= 0, f"{call.name} on {path} failed: {call.arguments[-80:]}"
        if call.name == "lseek":
            positions[call.fd] = call.result
        elif call.name in SYNCS:
            syncs.append(call)
        elif call.name in FILE_WRITES:
            offset = _offset(call, positions)
            assert call.result == len(call.octets), f"{call.name} wrote {call.result} octets"
            durable = call.fd in synchronous
            writes.append(DiskWrite(offset, call.octets, durable, call.entered, call.left))
    return DiskHistory(base, tuple(writes), tuple(syncs))


def _offset(call: SystemCall, positions: dict[int, int]) -> int:
    if call.name.startswith("pwrite"):
        return int(call.arguments.rpartition(")")[0].split(", ")[-1])
    offset = positions[call.fd]
    positions[call.fd] = offset + call.result
    return offset


def find_missing(image: bytes, folder: Path, acknowledged: Sequence[Row]) -> list[str]:
    """Open a disk image as the restarted node would; name every acknowledged row it lacks."""
    folder.mkdir(parents=True)
    (folder / "data.mdb").write_bytes(image)
    with Store.open(folder) as store, store.read() as view:
        problems = []
        for handle, expected in acknowledged:
            record = view.find_record(handle)
            values = record.values if record else ()
            found = {value.index: (value.type, value.data) for value in values}
            if found != expected:
                problems.append(f"{handle.decode()}: {len(found)} of {len(expected)} values")
    return problems


def find_loss(image: bytes, folder: Path, acknowledged: Sequence[Row]) -> list[str]:
    """Name every acknowledged row a disk image lacks, and whatever else is wrong with its store."""
    return find_missing(image, folder, acknowledged) + verify(folder).problems
