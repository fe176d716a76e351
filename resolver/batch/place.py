"""How far a batch has come, kept in a small file beside it until all of it is done.

The file says how many operations were done, at which octet the last of them ends, and the SHA-256
of the octets up to there: a later run goes on only in the same file. It is written after every
operation, in one call that is too short to be torn by the end of the process.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from resolver.batch.reader import BatchReader
from resolver.batch.sections import Fault, LogIn, Operation, Section, SessionWish

_FILE_OCTETS = 4_096  # padded with spaces, so that a shorter text covers a longer one


class Place(msgspec.Struct, frozen=True):
    """Where a run stopped, and which files it wrote."""

    operations: int = 0
    line: int = 0
    offset: int = 0
    sha256: str = ""
    succeeded: int = 0
    log: str = ""
    failed: str = ""


class PlaceError(Exception):
    """The place in the file does not fit the batch."""


class PlaceFile:
    """The file that a Place is kept in. Raises OSError wherever the disk does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1

    def read(self) -> Place | None:
        """Return the place kept, None when there is none. Raises: PlaceError."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=Place)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as error:
            raise PlaceError(f"{self.path} cannot be read: {error}") from None

    def write(self, place: Place) -> None:
        """Keep a place."""
        if self._descriptor < 0:
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600)
        os.pwrite(self._descriptor, msgspec.json.encode(place).ljust(_FILE_OCTETS), 0)

    def close(self, *, is_done: bool) -> None:
        """Close the file, and remove it when all is done."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if is_done:
            self.path.unlink(missing_ok=True)


def check_place(reader: BatchReader, place: Place) -> Iterator[Section]:
    """Yield the sections of a batch; stop where the place does not fit it.

    Raises:
        PlaceError: what an earlier run did was not done from these octets.
    """
    operations = 0
    for section in reader:
        if isinstance(section, LogIn | SessionWish):
            yield section
            continue
        operations += 1
        assert isinstance(section, Operation | Fault), "there are no others"
        if operations == place.operations and (reader.offset, reader.digest) != (
            place.offset,
            place.sha256,
        ):
            raise PlaceError(f"the batch was changed before line {place.line}, where it stopped")
        yield section
    if operations < place.operations:
        raise PlaceError(f"the batch has {operations} operations, {place.operations} were done")
