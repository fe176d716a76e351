"""Typed values: what the data of a known type mean.

To add a type, write one file beside these with a dataclass that has `encode()` and a
`decode_x(data)`, and add its line to `DECODERS`. A type that is not in the table is Opaque.
Names are compared exactly, as Handle.Net does with stored values: they are upper case.

Every decoder raises DecodeError (truncated, a count out of range, octets left over) or
InvalidValueError (a well-formed field with a meaning that does not exist), and nothing else.
"""

from collections.abc import Callable
from typing import Protocol

from protocol.types.hs_admin import decode_hs_admin
from protocol.types.hs_pubkey import decode_hs_pubkey
from protocol.types.hs_seckey import decode_hs_seckey
from protocol.types.hs_serv import decode_hs_serv
from protocol.types.hs_site import decode_hs_site
from protocol.types.hs_vlist import decode_hs_vlist
from protocol.types.opaque import decode_opaque


class TypedValue(Protocol):
    """Decoded data of any type."""

    def encode(self) -> bytes:
        """Return the value's data."""
        ...


DECODERS: dict[bytes, Callable[[bytes], TypedValue]] = {
    b"HS_ADMIN": decode_hs_admin,
    b"HS_VLIST": decode_hs_vlist,
    b"HS_PUBKEY": decode_hs_pubkey,
    b"HS_SECKEY": decode_hs_seckey,
    b"HS_SITE": decode_hs_site,
    b"HS_SITE.6": decode_hs_site,
    b"HS_SITE.PREFIX": decode_hs_site,
    b"HS_NA_DELEGATE": decode_hs_site,
    b"HS_SERV": decode_hs_serv,
    b"HS_SERV.PREFIX": decode_hs_serv,
}


def decode_typed(type_: bytes, data: bytes) -> TypedValue:
    """Decode data by the name of their type.

    Raises:
        DecodeError: truncated, a count out of range, or octets left over.
        InvalidValueError: a field whose meaning does not exist.
    """
    return DECODERS.get(type_, decode_opaque)(data)
