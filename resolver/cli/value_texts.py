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
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from protocol.errors import ProtocolError
from protocol.json_forms import site_from_json
from protocol.value import HandleValue, Reference
from resolver.cli.errors import CliError, ExitCode
from resolver.node_files import NodeFilesError, read_json
from resolver.rows import value_texts
from resolver.rows.errors import RowsError
from resolver.rows.value_texts import (
    FIRST_ADMIN_INDEX,
    INDEX_MAX,
    SITE_TYPES,
    check_data,
    encode_data,
    usual_permission,
)

FIRST_INDEXES = {
    b"HS_ADMIN": FIRST_ADMIN_INDEX,
    b"HS_VLIST": 200,
    b"HS_PUBKEY": 300,
    b"HS_SECKEY": 300,
}

_TEXT = re.compile(r"(?P<type>[^=:]+)(?::(?P<index>[0-9]{1,10}))?=(?P<data>.*)", re.DOTALL)


@contextmanager
def usage_errors() -> Iterator[None]:
    """Turn what is wrong with rows or texts into a CliError."""
    try:
        yield
    except RowsError as error:
        raise CliError(error.what, error.hint, ExitCode.USAGE) from None


def parse_identity(text: str) -> Reference:
    """Return the identity written as `index:handle`. Raises: CliError."""
    with usage_errors():
        return value_texts.parse_identity(text)


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
        values.append(HandleValue(index, type_, data, usual_permission(type_)))
    return tuple(values)


def _split(text: str) -> tuple[bytes, int | None, bytes, str]:
    match = _TEXT.fullmatch(text)
    index = int(match["index"]) if match and match["index"] else None
    if match is None or (index is not None and not 0 < index <= INDEX_MAX):
        raise CliError(
            f"{text!r} is not a value",
            "write TYPE=DATA or TYPE:INDEX=DATA, such as URL:1=https://example.org/",
            ExitCode.USAGE,
        )
    type_ = match["type"].encode()
    data = match["data"]
    with usage_errors():
        if data.startswith("@"):
            octets = check_data(type_, _read_data_file(type_, Path(data[1:])), data)
        else:
            octets = encode_data(type_, data)
    return type_, index, octets, text


def _read_data_file(type_: bytes, path: Path) -> bytes:
    try:
        if type_ in SITE_TYPES and path.suffix == ".json":
            return site_from_json(read_json(path)).encode()
        return path.read_bytes()
    except OSError as error:
        raise CliError(f"{path} cannot be read: {error.strerror}", "check the path") from None
    except (NodeFilesError, ProtocolError) as error:
        raise CliError(f"{path} is not a site: {error}", "give a site.json") from None
