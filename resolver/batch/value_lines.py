"""Value lines of batch files, read and written.

    index type ttl permissions encoding data

    100 HS_ADMIN 86400 1110 ADMIN 300:111111111111:0.NA/88.118
    200 HS_VLIST 86400 1110 LIST 300:88.118/a;301:88.118/b;
    300 HS_PUBKEY 86400 1110 FILE pub.bin
      1 URL 86400 1110 UTF8 https://example.org/

Between the fields stand one or more spaces. ttl is relative, in seconds; permissions are admin
read, admin write, public read, public write. UTF8 data go to the end of the line, without the white
space around them. The twelve permissions of an ADMIN have an order of their own: `admin_digits`.
The manual shows an ADMIN broken after that word: what the next line says then belongs to it.

A FILE has the data as octets; for the types of sites also as JSON. Paths are those of the working
folder, or else of the batch file's. Written, data that are not such a line of text go to files.

Neither timestamps nor references nor absolute times to live can be said in this form.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from protocol.codes import AdminPermission
from protocol.errors import InvalidValueError, ProtocolError
from protocol.handle import to_text
from protocol.json_fields import I32_MAX
from protocol.json_forms import site_from_json
from protocol.types import decode_typed
from protocol.types.hs_admin import HsAdmin
from protocol.types.hs_vlist import HsVlist
from protocol.value import TTL_ABSOLUTE, HandleValue, Reference
from protocol.wire import MESSAGE_OCTETS_MAX
from resolver.batch.admin_digits import (
    DIGITS,
    AdminDigits,
    are_doubtful,
    digits_of,
    permissions_of,
)
from resolver.batch.sections import BatchError
from resolver.rows.value_texts import SITE_TYPES

SPACE = "".join(map(chr, range(0x21)))  # what the stock tool trims
_EXAMPLE = "write INDEX TYPE TTL PERMISSIONS ENCODING DATA, as 1 URL 86400 1110 UTF8 text"
_FIELD_NAMES = ("index", "type", "ttl", "permissions", "encoding")
_FIELD = re.compile(r"[^ \t]+")
_IDENTITY_HINT = "write index:handle, as 300:0.NA/88.118"

ReadFile = Callable[[str], bytes]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the file, without its end."""

    number: int
    text: str

    def fault(self, at: int, what: str, hint: str = "") -> BatchError:
        """Return the error for what stands at offset `at`."""
        return BatchError(self.number, at + 1, what, hint)


def is_unfinished(line: Line) -> bool:
    """Say whether a value line ends after the word ADMIN, so that the next line belongs to it."""
    words = line.text.split()
    return len(words) == len(_FIELD_NAMES) and words[-1].upper() == "ADMIN"


@dataclass(slots=True)
class ValueRules:
    """How the values of one file are read."""

    read_file: ReadFile
    """Returns the octets of a FILE; raises OSError."""
    admin_digits: AdminDigits = AdminDigits.MANUAL
    doubtful_line: int = 0
    """The first line with digits that the other order would read otherwise; 0: none so far."""


def read_value_line(line: Line, rules: ValueRules) -> HandleValue:
    """Return the value of a line.

    Args:
        line: a line that is not blank.
        rules: how it is read; gets the first line that is doubtful.

    Raises:
        BatchError: what is wrong, at which column.
    """
    fields = [(match.start(), match.group()) for match in _first_fields(line.text)]
    if len(fields) < len(_FIELD_NAMES):
        missing = _FIELD_NAMES[len(fields)]
        raise line.fault(len(line.text.rstrip(SPACE)), f"the value has no {missing}", _EXAMPLE)
    index, type_, ttl, permissions, encoding = fields
    start = encoding[0] + len(encoding[1])
    rest = line.text[start:]
    data_at = start + len(rest) - len(rest.lstrip(SPACE))
    return HandleValue(
        index=_number(line, *index, "index", 1),
        type=type_[1].encode(),
        data=_read_data(line, encoding, data_at, rest.strip(SPACE), type_[1].encode(), rules),
        permission=_permissions(line, *permissions),
        ttl=_number(line, *ttl, "ttl", 0),
    )


def _first_fields(text: str) -> Iterable[re.Match[str]]:
    for number, match in enumerate(_FIELD.finditer(text), 1):
        yield match
        if number == len(_FIELD_NAMES):
            return


def read_number(line: Line, at: int, text: str, name: str, least: int) -> int:
    """Return a number of at most 31 bits. Raises: BatchError."""
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise line.fault(at, f"{name} {text[:40]!r} is not a number", _hint_of(name))
    number = int(text)
    if not least <= number <= I32_MAX:
        raise line.fault(at, f"{name} is {number}, allowed are {least} to {I32_MAX}")
    return number


_number = read_number


def _hint_of(name: str) -> str:
    if name == "index":
        return "end a section's values with a blank line, or " + _EXAMPLE
    return _EXAMPLE if name == "ttl" else ""


def _permissions(line: Line, at: int, text: str) -> int:
    if len(text) != 4 or set(text) - {"0", "1"}:
        hint = "four digits 0 or 1: admin read, admin write, public read, public write"
        raise line.fault(at, f"permissions {text[:40]!r} are none", hint)
    return int(text, 2)


def _read_data(
    line: Line, encoding: tuple[int, str], at: int, text: str, type_: bytes, rules: ValueRules
) -> bytes:
    match encoding[1].upper():
        case "UTF8":
            data = text.encode("utf-8")
        case "ADMIN":
            data = _read_admin(line, at, text, rules)
        case "LIST":
            data = _read_list(line, at, text)
        case "FILE":
            data = _read_file_data(line, at, text, type_, rules.read_file)
        case _:
            hint = "one of UTF8, FILE, ADMIN, LIST"
            raise line.fault(encoding[0], f"encoding {encoding[1][:40]!r} is unknown", hint)
    try:
        decode_typed(type_, data)
    except ProtocolError as error:
        raise line.fault(at, f"these are no data of {to_text(type_)}: {error}") from None
    return data


def _read_admin(line: Line, at: int, text: str, rules: ValueRules) -> bytes:
    parts = text.split(":", 2)
    if len(parts) != 3 or not parts[2].strip(SPACE):
        hint = "write ADMIN index:permissions:handle, as ADMIN 300:111111111111:0.NA/88.118"
        raise line.fault(at, "the administrator is not complete", hint)
    index = read_number(line, at, parts[0].strip(SPACE), "administrator's index", 0)
    digits = parts[1].strip(SPACE)
    if len(digits) != DIGITS or set(digits) - {"0", "1"}:
        where = at + len(parts[0]) + 1
        raise line.fault(where, f"{digits[:40]!r} are not the 12 digits 0 or 1 of an administrator")
    if are_doubtful(digits):
        rules.doubtful_line = rules.doubtful_line or line.number
    granted = permissions_of(digits, rules.admin_digits)
    return HsAdmin(granted, Reference(parts[2].strip(SPACE).encode(), index)).encode()


def _read_list(line: Line, at: int, text: str) -> bytes:
    references = []
    for part in text.split(";"):
        if part.strip(SPACE):
            start = at + len(part) - len(part.lstrip(SPACE))
            references.append(read_identity(line, start, part.strip(SPACE)))
        at += len(part) + 1
    if not references:
        raise line.fault(at - 1, "the list is empty", "write LIST index:handle;index:handle;")
    return HsVlist(tuple(references)).encode()


def read_identity(line: Line, at: int, text: str) -> Reference:
    """Return what `index:handle` stands for. Raises: BatchError."""
    index, colon, handle = text.partition(":")
    if not colon or not handle.strip(SPACE):
        raise line.fault(at, f"{text[:80]!r} is not index:handle", _IDENTITY_HINT)
    return Reference(
        handle.strip(SPACE).encode(), read_number(line, at, index.strip(SPACE), "index", 0)
    )


def _read_file_data(line: Line, at: int, path: str, type_: bytes, read_file: ReadFile) -> bytes:
    if not path:
        raise line.fault(at, "FILE names no file", "write FILE path")
    try:
        data = read_file(path)
    except OSError as error:
        words = f"the file {path} cannot be read: {error.strerror or error}"
        raise line.fault(at, words, "check the path, seen from here or from the batch") from None
    if len(data) > MESSAGE_OCTETS_MAX:
        words = f"the file {path} has over {MESSAGE_OCTETS_MAX} octets"
        raise line.fault(at, words, "no message is so long")
    if type_ in SITE_TYPES and data.lstrip()[:1] == b"{":
        try:
            return site_from_json(msgspec.json.decode(data)).encode()
        except (ProtocolError, msgspec.DecodeError) as error:
            raise line.fault(at, f"the file {path} is not a site: {error}") from None
    return data


def find_file(path: str, beside: Path) -> Path:
    """Return where a path leads, from the working folder or else from the batch's."""
    here = Path(path)
    return here if here.exists() or here.is_absolute() else beside / path


def write_value_line(value: HandleValue, keep_file: Callable[[bytes], str], now_s: int) -> str:
    """Return the line of a value.

    Args:
        value: its timestamp and references are left out.
        keep_file: stores data that are not a line of text, and returns the path to name.
        now_s: an absolute time to live becomes what is left of it.

    Raises:
        InvalidValueError: a type that cannot be written in such a line.
    """
    type_ = _utf8(value.type)
    if type_ is None or not type_ or not type_.isprintable() or " " in type_:
        raise InvalidValueError(f"type {to_text(value.type)[:80]!r} cannot stand in a batch file")
    ttl = max(0, value.ttl - now_s) if value.ttl_type == TTL_ABSOLUTE else value.ttl
    head = f"{value.index} {type_} {ttl} {value.permission & 0xF:04b}"
    return f"{head} {_write_data(value, keep_file)}"


def _write_data(value: HandleValue, keep_file: Callable[[bytes], str]) -> str:
    try:
        typed = decode_typed(value.type, value.data)
    except ProtocolError:
        typed = None
    if isinstance(typed, HsAdmin) and is_plain(typed.admin.handle) and not typed.trailing:
        digits = digits_of(typed.permissions)
        is_sayable = not typed.permissions & ~AdminPermission.ALL and typed.admin.index >= 0
        if is_sayable and not are_doubtful(digits):
            return f"ADMIN {typed.admin.index}:{digits}:{to_text(typed.admin.handle)}"
    if isinstance(typed, HsVlist) and typed.references and all(map(_is_listable, typed.references)):
        members = "".join(f"{index}:{to_text(handle)};" for handle, index in typed.references)
        return f"LIST {members}"
    if is_plain(value.data) or not value.data:
        return f"UTF8 {to_text(value.data)}"
    return f"FILE {keep_file(value.data)}"


def _is_listable(reference: Reference) -> bool:
    return is_plain(reference.handle) and b";" not in reference.handle and reference.index >= 0


def is_plain(octets: bytes) -> bool:
    """Say whether octets are one line of text that is read back as it is written."""
    text = _utf8(octets)
    if not text:
        return False
    return text == text.strip(SPACE) and "\n" not in text and "\r" not in text


def _utf8(octets: bytes) -> str | None:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return None
