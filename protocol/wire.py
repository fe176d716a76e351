"""Bounds-checked reading and writing of the protocol's primitive fields.

All integers are big-endian and signed, except octets and the flag word. `str` is a four-octet
count and that many octets; `list` is a four-octet count and that many items (RFC 3652 §2.1).

Every `read_x` raises DecodeError, and only that, on octets that are not there or a count out of
range; it never reads past the end and never reserves memory for what a count merely announces.
"""

import struct
from collections.abc import Callable, Iterable
from typing import TypeVar

from protocol.errors import DecodeError

MESSAGE_OCTETS_MAX = 262_144  # Handle.Net's MAX_MESSAGE_LENGTH: what existing peers accept
LIST_ITEMS_MAX = 1_048_576  # Handle.Net's bound on any count
HANDLE_OCTETS_MAX = 2_048

_U8 = struct.Struct(">B")
_I16 = struct.Struct(">h")
_U16 = struct.Struct(">H")
_I32 = struct.Struct(">i")
_U32 = struct.Struct(">I")
_I64 = struct.Struct(">q")

Item = TypeVar("Item")


class Reader:
    """A cursor over octets. `position` is the offset of the next octet to read."""

    __slots__ = ("octets", "position")

    def __init__(self, octets: bytes, position: int = 0) -> None:
        """Start at `position`."""
        self.octets = octets
        self.position = position

    @property
    def remaining(self) -> int:
        """The number of octets not read yet."""
        return len(self.octets) - self.position

    def _read(self, form: struct.Struct, name: str) -> int:
        start = self.position
        if len(self.octets) - start < form.size:
            raise DecodeError(f"{name} needs {form.size} octets, {self.remaining} remain")
        (number,) = form.unpack_from(self.octets, start)
        self.position = start + form.size
        return int(number)

    def find_fields(self, form: struct.Struct) -> tuple[int, ...] | None:
        """Read several numbers at once; None, and nothing is read, when there are too few octets.

        For what is read often: read one by one, each says by its name that it is missing.
        """
        start = self.position
        if len(self.octets) - start < form.size:
            return None
        self.position = start + form.size
        return form.unpack_from(self.octets, start)

    def read_u8(self, name: str) -> int:
        """Read an octet as a number. Raises: DecodeError."""
        return self._read(_U8, name)

    def read_i16(self, name: str) -> int:
        """Read a signed two-octet number. Raises: DecodeError."""
        return self._read(_I16, name)

    def read_u16(self, name: str) -> int:
        """Read an unsigned two-octet number. Raises: DecodeError."""
        return self._read(_U16, name)

    def read_i32(self, name: str) -> int:
        """Read a signed four-octet number. Raises: DecodeError."""
        return self._read(_I32, name)

    def read_u32(self, name: str) -> int:
        """Read an unsigned four-octet number (flag words only). Raises: DecodeError."""
        return self._read(_U32, name)

    def read_i64(self, name: str) -> int:
        """Read a signed eight-octet number. Raises: DecodeError."""
        return self._read(_I64, name)

    def read_octets(self, count: int, name: str) -> bytes:
        """Read exactly `count` octets. Raises: DecodeError."""
        if count < 0 or count > self.remaining:
            raise DecodeError(f"{name} needs {count} octets, {self.remaining} remain")
        octets = self.octets[self.position : self.position + count]
        self.position += count
        return octets

    def read_str(self, name: str) -> bytes:
        """Read a counted string as octets (UTF-8 where it is text). Raises: DecodeError."""
        before = self.position
        fields = self.find_fields(_I32)
        if fields is not None:
            start, end = self.position, self.position + fields[0]
            if start <= end <= len(self.octets):
                self.position = end
                return self.octets[start:end]
            self.position = before
        # Something is wrong with it: say what.
        return self.read_octets(self.read_i32(f"length of {name}"), name)

    def read_count(self, name: str, item_octets_min: int) -> int:
        """Read the count of a list whose items take at least `item_octets_min` octets each.

        Raises: DecodeError when the count is negative, over LIST_ITEMS_MAX, or more than can fit.
        """
        fields = self.find_fields(_I32)
        count = self.read_i32(f"count of {name}") if fields is None else fields[0]
        if not 0 <= count <= LIST_ITEMS_MAX:
            raise DecodeError(f"count of {name} is {count}, allowed are 0 to {LIST_ITEMS_MAX}")
        if count and count * item_octets_min > self.remaining:
            raise DecodeError(
                f"{count} {name} need at least {count * item_octets_min} octets, "
                f"{self.remaining} remain"
            )
        return count

    def read_list(
        self, read_item: Callable[["Reader"], Item], name: str, item_octets_min: int
    ) -> tuple[Item, ...]:
        """Read a counted list with `read_item` for each. Raises: DecodeError."""
        count = self.read_count(name, item_octets_min)
        return tuple([read_item(self) for _ in range(count)])

    def read_rest(self) -> bytes:
        """Read all that is left, perhaps nothing."""
        return self.read_octets(self.remaining, "rest")

    def expect_end(self, name: str) -> None:
        """Raise DecodeError unless everything has been read."""
        if self.remaining:
            raise DecodeError(f"{name} has {self.remaining} octets too many")


def write_i16(number: int) -> bytes:
    """Return a signed two-octet number; the unsigned 0xffff is written as -1."""
    return _I16.pack(number)


def write_u8(number: int) -> bytes:
    """Return an octet."""
    return _U8.pack(number)


def write_u16(number: int) -> bytes:
    """Return an unsigned two-octet number."""
    return _U16.pack(number)


def write_i32(number: int) -> bytes:
    """Return a signed four-octet number."""
    return _I32.pack(number)


def write_u32(number: int) -> bytes:
    """Return an unsigned four-octet number."""
    return _U32.pack(number)


def write_i64(number: int) -> bytes:
    """Return a signed eight-octet number."""
    return _I64.pack(number)


def write_str(octets: bytes) -> bytes:
    """Return a counted string."""
    return _I32.pack(len(octets)) + octets


def write_list(items: Iterable[bytes]) -> bytes:
    """Return a counted list of items that are already encoded."""
    encoded = list(items)
    return _I32.pack(len(encoded)) + b"".join(encoded)
