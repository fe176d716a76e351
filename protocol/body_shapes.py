"""Shapes of message bodies that requests and answers share."""

from dataclasses import dataclass
from typing import Protocol

from protocol.value import HandleValue, encode_values, read_values
from protocol.wire import Reader, write_str


class Body(Protocol):
    """Anything that encodes to a body's octets."""

    def encode(self) -> bytes:
        """Return the octets."""
        ...


@dataclass(frozen=True, slots=True)
class Empty:
    """A body of no octets: the success of delete, add, remove, modify, home and others."""

    def encode(self) -> bytes:
        """Return nothing."""
        return b""


@dataclass(frozen=True, slots=True)
class UnknownBody:
    """The body of an opcode or response that is not known here, octet for octet."""

    octets: bytes

    def encode(self) -> bytes:
        """Return the octets."""
        return self.octets


@dataclass(frozen=True, slots=True)
class ValuesRequest:
    """CREATE_HANDLE, ADD_VALUE, MODIFY_VALUE; also the body of a resolution answer."""

    handle: bytes
    values: tuple[HandleValue, ...]

    def encode(self) -> bytes:
        """Return the octets."""
        return write_str(self.handle) + encode_values(self.values)


def read_values_body(reader: Reader) -> Body:
    """Read a handle and its values. Raises: DecodeError."""
    return ValuesRequest(reader.read_str("handle"), read_values(reader))
