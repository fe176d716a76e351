"""Ranges that need no closer look: their documents read, and their records made, in short.

Plain is a range whose values are text with the usual permissions and ttl, of no type that a node
takes apart, that has no check characters, no rows to keep, and of the placeholders not {number}.
That is nearly every range that comes in lots of thousands, and it takes a sixth of the time of the
way that reads all documents and words all refusals (`registry.range_documents`,
`registry.range_making`). What is made is the same, octet for octet; whatever is not plain, be it
good or bad, is left to that way.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from protocol.codes import Permission
from protocol.handle import PREFIX_PREFIX
from protocol.json_fields import I32_MAX
from protocol.types import DECODERS
from protocol.value import TTL_DEFAULT_S, TTL_RELATIVE, Reference
from protocol.wire import HANDLE_OCTETS_MAX
from registry.errors import RangeError
from registry.range_batches import PlainRange
from registry.range_documents import WIDTH_MAX
from registry.range_making import GROWN_OCTETS_MAX, Fold
from registry.range_records import (
    PATCH,
    PATCHES_MAX,
    RANGE_FORMAT,
    STEM_OCTETS_MAX,
    TAIL_OCTETS_MAX,
    range_key,
)
from registry.range_templates import Piece, parse_template
from registry.range_values import (
    CACHED_TYPE_MAX,
    RANGE_INDEX,
    RANGE_PERMISSION,
    RANGE_TYPE,
    make_head,
)

CACHED_MAX = 4_096  # heads of values and the like, each kept for one transaction
_NO_REFERENCES = bytes(4)
_NO_DETAILS = bytes(2)
_SERIAL = b"{serial}"
_DIGITS = b"0123456789"
_STRINGS = 9  # names and texts of operation, stem, first and last; "values"
_TEXT_STRINGS = 5  # of a value: three names, two texts
_DATA_STRINGS = 8  # and the names in its data, and what the format is
_RECORD_HEAD = RANGE_FORMAT << 4


class PlainData(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The data of a value, and what they are."""

    format: str
    value: str


class PlainValue(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A value that may be plain."""

    index: Annotated[int, msgspec.Meta(ge=1, le=I32_MAX)]
    type: str
    data: str | PlainData


class FormStart(msgspec.Struct, forbid_unknown_fields=True, gc=False, tag_field="operation"):
    """What every document of a range that may be plain begins with."""

    stem: str
    first: str
    last: str

    def document(self) -> dict[str, Any]:
        """Return the document with its members by name, as all documents are read."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        return document


class RangeForm(FormStart, forbid_unknown_fields=True, gc=False, tag="range"):
    """The document of a range that may be plain, as its JSON or msgpack has it."""

    values: list[PlainValue]


class NotPlainError(Exception):
    """The document has to be read in full."""


# What the functions here raise for a document that is not plain, be it good or bad.
FORM_ERRORS = (msgspec.DecodeError, UnicodeError, RecursionError, NotPlainError)

_json_decoder = msgspec.json.Decoder(RangeForm)
_msgpack_decoder = msgspec.msgpack.Decoder(RangeForm)
pack_form = msgspec.msgpack.Encoder().encode
"""Return the msgpack of a form, which every reader of documents reads."""


def read_json_form(line: bytes) -> RangeForm:
    """Read a document in JSON.

    Raises:
        FORM_ERRORS: it may not be plain, has a member twice, or does not say that it is a range.
    """
    form = _json_decoder.decode(line)
    strings = _STRINGS
    for value in form.values:
        strings += _DATA_STRINGS if isinstance(value.data, PlainData) else _TEXT_STRINGS
    check_members(line, strings)
    return form


def check_members(line: bytes, strings: int) -> None:
    """Make sure that no member of a form with so many names and texts is given twice in its JSON.

    Raises:
        NotPlainError: one is, or that is not to be seen.
    """
    quotes = line.count(b'"')
    if quotes != 2 * strings and (b"\\\\" in line or quotes - line.count(b'\\"') != 2 * strings):
        raise NotPlainError


def read_msgpack_form(octets: bytes) -> RangeForm:
    """Read a document in msgpack; a member given twice counts once. Raises: FORM_ERRORS."""
    return _msgpack_decoder.decode(octets)


class PlainMaker:
    """Makes the records of plain ranges that one identity registers at one time.

    Args:
        fold: how handles are folded here.
        by: who registers them.
        now_s: when.
    """

    def __init__(self, fold: Fold, by: Reference, now_s: int) -> None:
        self._fold = fold
        self._now_s = now_s
        self._heads: dict[tuple[int, str], bytes | None] = {}
        self._origin, self._reference = origin_head(now_s), origin_reference(by)

    def make(self, form: RangeForm) -> PlainRange | None:
        """Return what is stored of a range; None: it is not plain."""
        return self.put_together(form, form.values, self._origin, self._reference)

    def put_together(
        self, form: FormStart, values: Sequence[PlainValue], head: bytes, reference: bytes
    ) -> PlainRange | None:
        """Return what is stored of a range; None: it is not plain.

        Args:
            form: its names.
            values: its values.
            head: of its RANGE value, up to the data.
            reference: of its RANGE value, to who registered it.
        """
        try:
            stem, first, last = form.stem.encode(), form.first.encode(), form.last.encode()
            if not (_are_serials(first, last) and _is_stem(form.stem, stem)):
                return None
            folded = self._fold(stem)
            bare = folded.rstrip(_DIGITS)
            lead = folded[len(bare) :]
            prefix = folded[: folded.find(b"/")]
            octets = len(lead) + len(first)
            if octets > TAIL_OCTETS_MAX or len(bare) > STEM_OCTETS_MAX or prefix == PREFIX_PREFIX:
                return None
            compiled = self._compile(values, stem, len(lead), len(first))
        except (UnicodeError, RangeError):
            return None
        if compiled is None:
            return None
        public, patches = compiled
        data = b"%b%b..%b" % (stem, first, last)
        origin = head + len(data).to_bytes(4, "big") + data + reference
        if len(public) + len(origin) > GROWN_OCTETS_MAX:
            return None
        first_tail, last_tail = lead + first, lead + last
        start = bytes((_RECORD_HEAD, octets)) + first_tail + _NO_DETAILS
        count = (len(patches) // PATCH.size).to_bytes(2, "big")
        return PlainRange(
            range_key(bare, last_tail),
            b"".join((start, count, patches, public, origin)),
            range_key(bare, first_tail),
            bare + first_tail,
            bare + last_tail,
            prefix,
            int(last) - int(first) + 1,
        )

    def _compile(
        self, values: Sequence[PlainValue], stem: bytes, at: int, width: int
    ) -> tuple[bytes, bytes] | None:
        """Return the value list up to its RANGE value, and patches; None: they are not plain.

        Args:
            values: of the form.
            stem: as its owner wrote it.
            at: where the serial begins in a tail.
            width: of the serial.
        """
        parts = [(len(values) + 1).to_bytes(4, "big")]
        patches: list[bytes] = []
        offset, before = 4, 0
        for value in values:
            index, text = value.index, value.data
            head = self.find_head(value)
            # Indexes that fall may be given twice.
            if head is None or index <= before:
                return None
            before = index
            if isinstance(text, PlainData):
                if text.format != "string":
                    return None
                text = text.value
            data = text.encode()
            offset += len(head) + 4
            if b"{" in data or b"}" in data:
                made = _fill_in(data, stem, offset, at, width, patches)
                if made is None:
                    return None
                data = made
            parts += (head, len(data).to_bytes(4, "big"), data, _NO_REFERENCES)
            offset += len(data) + 4
        if not before or len(patches) > PATCHES_MAX:
            return None
        return b"".join(parts), b"".join(patches)

    def find_head(self, value: PlainValue) -> bytes | None:
        """Return the octets of a value up to its data; None: it is not plain."""
        index, type_ = value.index, value.type
        try:
            return self._heads[index, type_]
        except KeyError:
            pass
        if len(self._heads) >= CACHED_MAX:
            self._heads.clear()
        head = None
        octets = type_.encode()
        if (
            index != RANGE_INDEX and len(octets) <= CACHED_TYPE_MAX and octets not in DECODERS
        ):  # fmt: skip
            head = make_head(
                index, octets, self._now_s, TTL_RELATIVE, TTL_DEFAULT_S, Permission.DEFAULT
            )
        self._heads[index, type_] = head
        return head


def origin_head(registered_s: int) -> bytes:
    """Return the octets of the RANGE value of a range up to its data."""
    return make_head(
        RANGE_INDEX, RANGE_TYPE, registered_s, TTL_RELATIVE, TTL_DEFAULT_S, RANGE_PERMISSION
    )


def origin_reference(by: Reference) -> bytes:
    """Return the references of the RANGE value of a range that somebody registered."""
    return b"\0\0\0\1" + by.encode() if by.handle else _NO_REFERENCES


def _are_serials(first: bytes, last: bytes) -> bool:
    """Say whether a range may reach from one serial to the other."""
    return (
        0 < len(first) == len(last) <= WIDTH_MAX
        and first <= last and first.isdigit() and last.isdigit()
    )  # fmt: skip


def _is_stem(text: str, stem: bytes) -> bool:
    """Say whether identifiers may begin so; the prefix of prefixes aside."""
    return stem.find(b"/") > 0 and len(stem) <= HANDLE_OCTETS_MAX and text.isprintable()


def _fill_in(
    data: bytes, stem: bytes, offset: int, at: int, width: int, patches: list[bytes]
) -> bytes | None:
    """Return what is constant of a template, adding what is patched into it; None: not plain.

    Args:
        data: of the template.
        stem: as its owner wrote it.
        offset: where the data stand in the value list.
        at: where the serial begins in a tail.
        width: of the serial.
        patches: those of the values before.

    Raises:
        RangeError: it cannot be read.
    """
    room, pack = bytes(width), PATCH.pack
    pieces = data.split(_SERIAL)
    serials = len(pieces) - 1
    if data.count(b"{") == serials == data.count(b"}"):
        # Most: the serial, and constants around it.
        for piece in pieces[:-1]:
            offset += len(piece)
            patches.append(pack(offset, at, width))
            offset += width
        return room.join(pieces)
    parts: list[bytes] = []
    for each in parse_template(data):
        constant = _constant(each, stem)
        if constant is None:
            return None
        parts.append(constant)
        offset += len(constant)
        if each in ("serial", "handle", "suffix"):
            patches.append(pack(offset, at, width))
            parts.append(room)
            offset += width
    return b"".join(parts)


def _constant(piece: Piece, stem: bytes) -> bytes | None:
    """Return what is constant of a piece of a template; None: its length is not."""
    if isinstance(piece, bytes):
        return piece
    if piece in ("serial", "check"):
        return b""
    if piece == "handle":
        return stem
    prefix, _, suffix = stem.partition(b"/")
    return {"suffix": suffix, "prefix": prefix}.get(piece)
