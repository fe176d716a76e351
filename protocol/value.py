"""A handle value, as it is stored and sent.

     index      i32   > 0 in stored values
     timestamp  i32   seconds since 1970
     ttl type   u8    0 relative, 1 absolute
     ttl        i32   seconds
     permission u8    RFC 3651 §3.1
     type       str
     data       str
     references list of (str handle, i32 index)

Data are kept octet for octet whatever their type; `protocol.types` takes known ones apart.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from protocol.codes import Permission
from protocol.handle import fold_case
from protocol.wire import Reader, write_i32, write_list, write_str

TTL_RELATIVE = 0
TTL_ABSOLUTE = 1
TTL_DEFAULT_S = 86_400
VALUE_OCTETS_MIN = 26  # all fields with empty type, data and references

_HEAD = struct.Struct(">iiBiB")


class Reference(NamedTuple):
    """A value elsewhere: of an administrator, of a group member, of a key."""

    handle: bytes
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody calls here

    def encode(self) -> bytes:
        """Return str handle, i32 index."""
        return write_str(self.handle) + write_i32(self.index)


def read_reference(reader: Reader) -> Reference:
    """Read str handle, i32 index. Raises: DecodeError."""
    return Reference(reader.read_str("reference handle"), reader.read_i32("reference index"))


@dataclass(frozen=True, slots=True)
class HandleValue:
    """One typed value of a handle. `data` and `type` are octets, exactly as received."""

    index: int
    type: bytes
    data: bytes
    permission: int = Permission.DEFAULT
    ttl: int = TTL_DEFAULT_S
    ttl_type: int = TTL_RELATIVE
    timestamp: int = 0
    references: tuple[Reference, ...] = ()

    @property
    def is_public(self) -> bool:
        """Say whether anybody may read this value."""
        return bool(self.permission & Permission.PUBLIC_READ)

    def encode(self) -> bytes:
        """Return the value's wire octets."""
        return (
            _HEAD.pack(self.index, self.timestamp, self.ttl_type, self.ttl, self.permission)
            + write_str(self.type)
            + write_str(self.data)
            + write_list(reference.encode() for reference in self.references)
        )


def read_value(reader: Reader) -> HandleValue:
    """Read one value. Raises: DecodeError."""
    index, timestamp, ttl_type, ttl, permission = reader.find_fields(_HEAD) or _read_head(reader)
    type_ = reader.read_str("value type")
    data = reader.read_str("value data")
    references = reader.read_list(read_reference, "value references", 8)
    return HandleValue(index, type_, data, permission, ttl, ttl_type, timestamp, references)


def _read_head(reader: Reader) -> tuple[int, int, int, int, int]:
    """Read what stands before a value's type, one by one: what is missing has a name."""
    return (
        reader.read_i32("value index"),
        reader.read_i32("value timestamp"),
        reader.read_u8("value ttl type"),
        reader.read_i32("value ttl"),
        reader.read_u8("value permission"),
    )


def read_values(reader: Reader) -> tuple[HandleValue, ...]:
    """Read a counted list of values. Raises: DecodeError."""
    return reader.read_list(read_value, "values", VALUE_OCTETS_MIN)


def encode_values(values: Iterable[HandleValue]) -> bytes:
    """Return a counted list of values."""
    return write_list(value.encode() for value in values)


def matches_type(asked: bytes, type_: bytes) -> bool:
    """Say whether a query for type `asked` selects a value of type `type_`.

    ASCII case-insensitive; `asked` ending in a dot also selects everything that begins with it
    and the bare name without the dot.
    """
    asked, type_ = fold_case(asked), fold_case(type_)
    if asked == type_:
        return True
    return asked.endswith(b".") and (type_.startswith(asked) or type_ == asked[:-1])


def select_values(
    values: Iterable[HandleValue], indexes: Iterable[int], types: Iterable[bytes]
) -> tuple[HandleValue, ...]:
    """Return the values a query selects, in stored order; both filters empty select all.

    The rule is that of `matches_type`, in a time that hardly grows with the number of types.
    """
    indexes, asked = frozenset(indexes), frozenset(map(fold_case, types))
    if not indexes and not asked:
        return tuple(values)
    starts = tuple(each for each in asked if each.endswith(b"."))
    names = asked.union(start[:-1] for start in starts)

    def is_asked_for(value: HandleValue) -> bool:
        folded = fold_case(value.type)
        return folded in names or folded.startswith(starts)

    return tuple(value for value in values if value.index in indexes or is_asked_for(value))
