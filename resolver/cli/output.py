"""How the command line shows things: tables for people, one JSON document for machines.

Text that comes from records is never taken as markup, and control characters in it (a terminal
obeys some) are shown escaped.
"""

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from protocol.errors import ProtocolError
from protocol.handle import to_text
from protocol.types import decode_typed
from protocol.types.hs_admin import HsAdmin
from protocol.types.hs_site import HsSite, SiteInterface
from protocol.types.hs_vlist import HsVlist
from protocol.value import TTL_ABSOLUTE, HandleValue, Reference

# Output that is not a terminal is a file or a pipe: wide enough that no line is ever cut there.
PIPE_COLUMNS = 1_000
DATA_CHARACTERS_MAX = 400
TRANSPORT_NAMES = ("udp", "tcp", "http", "https")


def make_console(*, stderr: bool = False) -> Console:
    """Return a console on standard output or standard error."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PIPE_COLUMNS
    return Console(stderr=stderr, width=width, highlight=False, markup=False, soft_wrap=True)


def print_json(document: object) -> None:
    """Print one JSON document, indented."""
    print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, elastic: str = ""
) -> None:
    """Print a table of plain text; where the screen is narrow only column `elastic` is folded."""
    console = make_console()
    table = Table(title=Text(title) if title else None, title_justify="left", box=None)
    table.pad_edge = False
    for column in columns:
        keep = bool(elastic) and column != elastic
        table.add_column(column, overflow="fold", no_wrap=keep, header_style="bold")
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    console.print(table)


def visible(text: str) -> str:
    """Return `text` with control characters escaped, line breaks and tabs apart."""
    return "".join(
        character
        if character.isprintable() or character in "\n\t"
        else character.encode("unicode_escape").decode()
        for character in text
    )


def local_time(text: str) -> str:
    """Return a time of RFC 3339 in the zone of this machine, as people read it off the wall."""
    exact = "milliseconds" if "." in text else "seconds"
    return datetime.fromisoformat(text).astimezone().isoformat(timespec=exact)


ZONE_WORDS = "times are those of this machine's zone; --json tells them in UTC"


def value_rows(values: Iterable[HandleValue]) -> list[tuple[str, ...]]:
    """Return index, type, data, ttl and permissions of values as table cells."""
    return [
        (
            str(value.index),
            to_text(value.type),
            show_data(value),
            show_ttl(value),
            f"{value.permission:04b}",
        )
        for value in values
    ]


def show_ttl(value: HandleValue) -> str:
    """Return a value's time to live as text."""
    return f"until {value.ttl}" if value.ttl_type == TTL_ABSOLUTE else f"{value.ttl} s"


def show_data(value: HandleValue) -> str:
    """Return a value's data as a person reads them, shortened when they are very long."""
    text = _show_typed(value)
    if len(text) <= DATA_CHARACTERS_MAX:
        return text
    return f"{text[:DATA_CHARACTERS_MAX]}... ({len(value.data)} octets, --json shows all)"


def _show_typed(value: HandleValue) -> str:
    try:
        typed = decode_typed(value.type, value.data)
    except ProtocolError as error:
        return f"not {to_text(value.type)} data: {error}"
    if isinstance(typed, HsAdmin):
        return f"{show_identity(typed.admin)} may {typed.permissions:012b}"
    if isinstance(typed, HsVlist):
        return ", ".join(show_identity(reference) for reference in typed.references)
    if isinstance(typed, HsSite):
        return show_site(typed)
    if value.type == b"HS_PUBKEY":
        return f"{_key_kind(value.data)} ({len(value.data)} octets)"
    return _show_octets(value.data)


def _show_octets(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return f"{len(data)} octets: {data[:32].hex(' ')}{' ...' if len(data) > 32 else ''}"


def _key_kind(data: bytes) -> str:
    return to_text(data[4 : 4 + int.from_bytes(data[:4], "big")])


def show_identity(identity: Reference) -> str:
    """Return `300:0.NA/88.118`."""
    return f"{identity.index}:{to_text(identity.handle)}"


def show_site(site: HsSite) -> str:
    """Return a site's kind, addresses and interfaces on one line."""
    kind = "primary" if site.is_primary else "mirror"
    servers = "; ".join(
        f"{server.ip} " + " ".join(_show_interface(each) for each in server.interfaces)
        for server in site.servers
    )
    return f"{kind} site, serial {site.serial}: {servers}"


def _show_interface(interface: SiteInterface) -> str:
    name = (
        TRANSPORT_NAMES[interface.protocol]
        if interface.protocol < len(TRANSPORT_NAMES)
        else f"transport {interface.protocol}"
    )
    return f"{name}/{interface.port}"
