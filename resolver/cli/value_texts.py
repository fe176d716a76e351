"""Handle values as a person writes them on a command line.

     TYPE=DATA            URL=https://example.org/p/1
     TYPE:INDEX=DATA      DESC:2=Stainless screw M4
     TYPE=@FILE           HS_SITE=@site.json   HS_PUBKEY:300=@admin-public-key.bin
     HS_ADMIN=IDENTITY    HS_ADMIN=300:0.NA/88.118.5   (all permissions)
     HS_VLIST=IDENTITY,.. HS_VLIST:200=300:0.NA/88.118.5,301:0.NA/88.118.5

An identity is `index:handle`. Without an index a value gets the next free one, where its type
usually stands: administrators from 100, groups from 200, keys from 300, anything else from 1.
"""

import re
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from protocol.codes import AdminPermission, Permission
from protocol.errors import ProtocolError
from protocol.json_forms import site_from_json
from protocol.types import decode_typed
from protocol.types.hs_admin import HsAdmin
from protocol.types.hs_vlist import HsVlist
from protocol.value import TTL_DEFAULT_S, HandleValue, Reference
from resolver.cli.errors import CliError, ExitCode
from resolver.node_files import NodeFilesError, read_json

FIRST_ADMIN_INDEX = 100
FIRST_INDEXES = {
    b"HS_ADMIN": FIRST_ADMIN_INDEX,
    b"HS_VLIST": 200,
    b"HS_PUBKEY": 300,
    b"HS_SECKEY": 300,
}
SITE_TYPES = frozenset({b"HS_SITE", b"HS_SITE.6", b"HS_SITE.PREFIX", b"HS_NA_DELEGATE"})
SECRET_PERMISSION = Permission.ADMIN_READ | Permission.ADMIN_WRITE

_TEXT = re.compile(r"(?P<type>[^=:]+)(?::(?P<index>[0-9]{1,10}))?=(?P<data>.*)", re.DOTALL)
_INDEX_MAX = 2**31 - 1


def parse_identity(text: str) -> Reference:
    """Return the identity written as `index:handle`. Raises: CliError."""
    index, colon, handle = text.partition(":")
    if not (colon and handle and index.isascii() and index.isdigit() and int(index) <= _INDEX_MAX):
        raise CliError(
            f"{text!r} is not an identity",
            "write index:handle, such as 300:0.NA/88.118.5",
            ExitCode.USAGE,
        )
    return Reference(handle.encode("utf-8", "surrogateescape"), int(index))


def make_admin_value(admin: Reference, index: int = FIRST_ADMIN_INDEX) -> HandleValue:
    """Return the HS_ADMIN value that lets `admin` do everything with a handle."""
    return HandleValue(index, b"HS_ADMIN", HsAdmin(AdminPermission.ALL, admin).encode())


def parse_values(texts: Iterable[str], taken: Collection[int] = ()) -> tuple[HandleValue, ...]:
    """Return the values that `texts` describe; indexes left out avoid those in `taken`.

    Raises:
        CliError: a text that is not of the form above, or an index given twice.
    """
    parts = [_split(text) for text in texts]
    used = set(taken)
    for _, index, _, text in parts:
        if index is not None:
            if index in used:
                raise CliError(
                    f"{text!r}: index {index} is taken", "choose another", ExitCode.USAGE
                )
            used.add(index)
    values = []
    for type_, index, data, _ in parts:
        if index is None:
            index = FIRST_INDEXES.get(type_, 1)
            while index in used:
                index += 1
            used.add(index)
        permission = SECRET_PERMISSION if type_ == b"HS_SECKEY" else Permission.DEFAULT
        values.append(HandleValue(index, type_, data, permission, TTL_DEFAULT_S))
    return tuple(values)


def _split(text: str) -> tuple[bytes, int | None, bytes, str]:
    match = _TEXT.fullmatch(text)
    index = int(match["index"]) if match and match["index"] else None
    if match is None or (index is not None and not 0 < index <= _INDEX_MAX):
        raise CliError(
            f"{text!r} is not a value",
            "write TYPE=DATA or TYPE:INDEX=DATA, such as URL:1=https://example.org/",
            ExitCode.USAGE,
        )
    type_ = match["type"].encode()
    data = match["data"]
    if data.startswith("@"):
        return type_, index, _check_data(type_, _read_data_file(type_, Path(data[1:])), data), text
    return type_, index, encode_data(type_, data), text


def encode_data(type_: bytes, text: str) -> bytes:
    """Return the data of a value of type `type_` written as `text`, which never names a file.

    Rows of strangers' files come through here: an `@` at their start is just an `@`.

    Raises:
        CliError: not the form that the type asks for.
    """
    return _check_data(type_, _ENCODERS.get(type_, _encode_text)(text), text)


def _check_data(type_: bytes, data: bytes, text: str) -> bytes:
    try:
        decode_typed(type_, data)
    except ProtocolError as error:
        raise CliError(
            f"{text[:80]!r} is not {type_.decode()} data: {error}",
            "see `biaoshi register --help` for the forms",
            ExitCode.USAGE,
        ) from None
    return data


def _read_data_file(type_: bytes, path: Path) -> bytes:
    try:
        if type_ in SITE_TYPES and path.suffix == ".json":
            return site_from_json(read_json(path)).encode()
        return path.read_bytes()
    except OSError as error:
        raise CliError(f"{path} cannot be read: {error.strerror}", "check the path") from None
    except (NodeFilesError, ProtocolError) as error:
        raise CliError(f"{path} is not a site: {error}", "give a site.json") from None


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
