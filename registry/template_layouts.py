"""What templates and lots are prepared to for a look-up in C (`resolver/_templates.pxi`).

    layout    u8 kind, u16 octets, octets; again and again: what the values of all identifiers of
              one version begin with, in order, timestamps zero
    text lot  a lot as `registry.template_rows` has it whose contents are all octets as they are
              shown, in pieces around tails, and whose other values are [head, pieces, end]

A value is its head, the length of its data, the data, and an empty list of references. A lot that
has nothing but texts is a text lot already, but for other values. That is most of them, so most
are never prepared here.
"""

import struct
from enum import IntEnum

import msgpack

from registry.errors import RecordError
from registry.template_expansion import prepare
from registry.template_rows import DAMAGE, LOT_FORMAT, OTHERS, TIME, read_lot
from registry.templates import decode_template

_ENTRY_HEAD = struct.Struct(">BH")
_NAMING_VALUES = 2  # that every identifier has: its template and the version


class EntryKind(IntEnum):
    """What an entry of a layout stands for."""

    WHOLE = 0
    """A value, all of it: one that names the template."""
    TEXT = 1
    """The head of an attribute's value that is kept as it is shown."""
    OTHER = 2
    """That of one which is kept in another form."""


def make_layout(template_octets: bytes) -> bytes:
    """Return the layout of a version. Raises: RecordError: its entry is damaged."""
    template = decode_template(template_octets).template
    try:
        compiled = prepare(template, [0, [], *[None] * len(template.attributes)])
        named = compiled.chunks[:_NAMING_VALUES]
        entries = [(EntryKind.WHOLE, each.whole) for each in named if each and each.whole]
        entries += [
            (EntryKind.TEXT if attribute.is_text else EntryKind.OTHER, head)
            for attribute, head in zip(template.attributes, compiled.heads, strict=True)
        ]
        return b"".join(_ENTRY_HEAD.pack(kind, len(each)) + each for kind, each in entries)
    except DAMAGE as error:
        raise RecordError(f"a template has no layout: {error}") from error


def make_text_lot(template_octets: bytes, lot_octets: bytes) -> bytes | None:
    """Return a lot's text lot, None when not everybody may read all of its values.

    Raises:
        RecordError: one of them is damaged.
    """
    lot = read_lot(lot_octets)
    try:
        compiled = prepare(decode_template(template_octets).template, lot.fields)
        if not compiled.is_public:
            return None
        count = len(lot.fields[OTHERS])
        others = [[each.head, each.pieces, each.end] for each in compiled.chunks[:count] if each]
        contents = [each and each.pieces for each in compiled.chunks[count + _NAMING_VALUES :]]
        octets: bytes = msgpack.packb(
            [LOT_FORMAT, lot.number, [lot.fields[TIME], others, *contents]]
        )
    except DAMAGE as error:
        raise RecordError(f"a lot does not decode: {error}") from error
    return octets
