"""Templates of metadata: named, versioned lists of typed attributes that identifiers are made from.

    88.118.5:auto-part, version 2, industry C3670
        name          type         alias       required  length
        serial        string       序列号       yes       20        -> value at index 2000
        made          date         生产日期     yes                 -> value at index 2001
        grade         enumeration  等级         A, B, C             -> value at index 2002

A template belongs to a prefix and is used by the handles under it and under the prefixes derived
from it. Once registered a version never changes: a change is the version after it. A version that
was withdrawn takes no new identifiers, and those made from it keep their meaning.

What an identifier made from a template shows, behind its other values:

    index 1000       type TEMPLATE          code with its prefix: 88.118.5:auto-part
    index 1001       type TEMPLATE_VERSION  version in decimal
    index 2000 + n   type the name          attribute n of the template, when it is given

The database `templates` holds all of this and the lots of `registry.template_rows`:

    u32 number, below 2^31               msgpack [format 1, prefix folded, code, version, title,
                                         industry, for active carriers, [[name, type, alias,
                                         required, length, values, item type or ""], ...],
                                         registered at in seconds since 1970, actor's handle,
                                         actor's index]
    0x80, prefix, 0x00, code, 0x00,      u32 number
      u32 version
    0x81, u64 number of a lot            a lot
    0x82, u32 number                     msgpack [withdrawn at, actor's handle, actor's index,
                                         reason]
    0x83, u32 number                     u64 number of the lot that was made last of it
"""

import re
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import msgpack

from protocol.handle import to_text
from protocol.value import Reference
from registry.attribute_types import Attribute, AttributeType
from registry.errors import RecordError
from registry.tables import Table

FORMAT = 1
TEMPLATE_INDEX = 1_000
VERSION_INDEX = 1_001
FIRST_INDEX = 2_000
TEMPLATE_TYPE = b"TEMPLATE"
VERSION_TYPE = b"TEMPLATE_VERSION"

CODE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
VERSIONS_MAX = 10_000  # of one template; ours
PAGE_MAX = 1_000  # versions listed in one answer

NUMBERS_END = b"\x80"  # the first key that is not that of a version
_NAMES = b"\x80"
_WITHDRAWN = b"\x82"
_CACHED_TEMPLATES = 64  # each at most TEMPLATE_OCTETS_MAX, mostly some hundred octets

_U32 = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Template:
    """One version of a template. `prefix` is folded; `code` is unique under it."""

    prefix: bytes
    code: str
    version: int
    title: str
    industry: str
    active_carrier: bool
    attributes: tuple[Attribute, ...]

    @property
    def name(self) -> str:
        """Its code with its prefix, as identifiers show it."""
        return f"{to_text(self.prefix)}:{self.code}"


class Registered(NamedTuple):
    """A version as it is stored: when and by whom it was registered."""

    template: Template
    time_s: int
    actor: Reference


class Withdrawal(NamedTuple):
    """When, by whom and why a version was withdrawn."""

    time_s: int
    actor: Reference
    reason: str


class Version(NamedTuple):
    """A version that was found, and the number it is stored under."""

    number: int
    template: Template


def encode_template(registered: Registered) -> bytes:
    """Return the entry of a version."""
    template, time_s, actor = registered
    attributes = [
        [each.name, each.type, each.alias, each.required, each.length, each.values, each.item or ""]
        for each in template.attributes
    ]
    octets: bytes = msgpack.packb(
        [
            FORMAT,
            template.prefix,
            template.code,
            template.version,
            template.title,
            template.industry,
            template.active_carrier,
            attributes,
            time_s,
            actor.handle,
            actor.index,
        ]
    )
    return octets


@lru_cache(_CACHED_TEMPLATES)
def decode_template(octets: bytes) -> Registered:
    """Take the entry of a version apart. Raises: RecordError."""
    try:
        format_, prefix, code, version, title, industry, active, attributes, *by = msgpack.unpackb(
            octets
        )
        if format_ != FORMAT:
            raise ValueError(f"format {format_}")
        decoded = tuple(_decode_attribute(*each) for each in attributes)
        template = Template(prefix, code, version, title, industry, active, decoded)
        time_s, handle, index = by
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise RecordError(f"the entry of a template does not decode: {error}") from error
    return Registered(template, time_s, Reference(handle, index))


def _decode_attribute(
    name: str, type_: str, alias: str, required: bool, length: int, values: list[str], item: str
) -> Attribute:
    item_type = AttributeType(item) if item else None
    return Attribute(name, AttributeType(type_), alias, required, length, tuple(values), item_type)


def number_key(number: int) -> bytes:
    """Return the key of a version's entry."""
    return _U32.pack(number)


def name_key(prefix: bytes, code: str = "", version: int | None = None) -> bytes:
    """Return the key of a version by its name; without version, or code, what all begin with."""
    key = _NAMES + prefix + b"\0"
    if code:
        key += code.encode() + b"\0"
    return key if version is None else key + _U32.pack(version)


def withdrawn_key(number: int) -> bytes:
    """Return the key of a version's withdrawal."""
    return _WITHDRAWN + _U32.pack(number)


def encode_withdrawal(withdrawal: Withdrawal) -> bytes:
    """Return the entry of a withdrawal."""
    time_s, actor, reason = withdrawal
    octets: bytes = msgpack.packb([time_s, actor.handle, actor.index, reason])
    return octets


def next_number(table: Table) -> int:
    """Return the number of the next version that is registered."""
    last = table.before(NUMBERS_END)
    return 1 if last is None else int(_U32.unpack(last[0])[0]) + 1


def get_registered(table: Table, number: int) -> Registered:
    """Return the version of a number. Raises: RecordError: there is none, or it is damaged."""
    octets = table.get(number_key(number))
    if octets is None:
        raise RecordError(f"there is no template of number {number}")
    return decode_template(octets)


def find_version(table: Table, prefix: bytes, code: str, version: int = 0) -> Version | None:
    """Return a version, with 0 the last one; None: there is none. Raises: RecordError."""
    if not CODE.fullmatch(code) or not 0 <= version <= VERSIONS_MAX:
        return None
    if version:
        octets = table.get(name_key(prefix, code, version))
    else:
        start = name_key(prefix, code)
        last = table.before(start + b"\xff\xff\xff\xff")
        octets = last[1] if last is not None and last[0].startswith(start) else None
    if octets is None:
        return None
    (number,) = _U32.unpack(octets)
    return Version(number, get_registered(table, number).template)


def find_withdrawal(table: Table, number: int) -> Withdrawal | None:
    """Return a version's withdrawal, None while there is none. Raises: RecordError."""
    octets = table.get(withdrawn_key(number))
    if octets is None:
        return None
    try:
        time_s, handle, index, reason = msgpack.unpackb(octets)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise RecordError(f"the withdrawal of a template does not decode: {error}") from error
    return Withdrawal(time_s, Reference(handle, index), reason)
