"""Data of handle values as people write them in a cell or on a command line.

    HS_ADMIN   IDENTITY              300:0.NA/88.118.5   (all permissions)
    HS_VLIST   IDENTITY,IDENTITY..   300:0.NA/88.118.5,301:0.NA/88.118.5
    any other  the text itself, in UTF-8

An identity is `index:handle`. A text never names a file: rows come from strangers.
"""

from collections.abc import Callable

from protocol.codes import AdminPermission, Permission
from protocol.errors import ProtocolError
from protocol.types import decode_typed
from protocol.types.hs_admin import HsAdmin
from protocol.types.hs_vlist import HsVlist
from protocol.value import HandleValue, Reference
from resolver.rows.errors import RowsError

FIRST_ADMIN_INDEX = 100
SECRET_PERMISSION = Permission.ADMIN_READ | Permission.ADMIN_WRITE
INDEX_MAX = 2**31 - 1
SITE_TYPES = frozenset({b"HS_SITE", b"HS_SITE.6", b"HS_SITE.PREFIX", b"HS_NA_DELEGATE"})


def parse_identity(text: str) -> Reference:
    """Return the identity written as `index:handle`. Raises: RowsError."""
    index, colon, handle = text.partition(":")
    if not (colon and handle and index.isascii() and index.isdigit() and _is_index(index)):
        raise RowsError(
            f"{text[:80]!r} is not an identity", "write index:handle, such as 300:0.NA/88.118.5"
        )
    return Reference(handle.encode("utf-8", "surrogateescape"), int(index))


def _is_index(digits: str) -> bool:
    return len(digits) <= 10 and int(digits) <= INDEX_MAX


def make_admin_value(admin: Reference, index: int = FIRST_ADMIN_INDEX) -> HandleValue:
    """Return the HS_ADMIN value that lets `admin` do everything with a handle."""
    return HandleValue(index, b"HS_ADMIN", HsAdmin(AdminPermission.ALL, admin).encode())


def usual_permission(type_: bytes) -> int:
    """Return the permissions of a value that states none: a secret's data are not public."""
    return SECRET_PERMISSION if type_ == b"HS_SECKEY" else Permission.DEFAULT


def encode_data(type_: bytes, text: str) -> bytes:
    """Return the data of a value of type `type_` written as `text`.

    Raises:
        RowsError: not the form that the type asks for.
    """
    return check_data(type_, _ENCODERS.get(type_, _encode_text)(text), text)


def check_data(type_: bytes, data: bytes, text: str) -> bytes:
    """Return `data`, written as `text`, if they have their type's form. Raises: RowsError."""
    try:
        decode_typed(type_, data)
    except ProtocolError as error:
        raise RowsError(
            f"{text[:80]!r} is not {type_.decode()} data: {error}",
            "see `biaoshi register --help` for the forms",
        ) from None
    return data


def _encode_text(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _encode_admin(text: str) -> bytes:
    return HsAdmin(AdminPermission.ALL, parse_identity(text)).encode()


def _encode_vlist(text: str) -> bytes:
    return HsVlist(tuple(parse_identity(part) for part in text.split(","))).encode()


_ENCODERS: dict[bytes, Callable[[str], bytes]] = {
    b"HS_ADMIN": _encode_admin,
    b"HS_VLIST": _encode_vlist,
}
