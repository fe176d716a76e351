"""Values of a range: from a user's templates to a value list with patches, and back.

    "https://example.org/{serial}?id={handle}"      see `registry.range_templates`

Most of these stand in the identifier's tail, octet for octet, so a template becomes constant octets
with patches (`registry.range_records`), and an answer a copy. What cannot be done so is kept as it
was written, in the record's details: values with {number}, whose length varies, and values that
not everybody may read. Written back, a template may look different and yet say the same: what stood
as {prefix} is a constant.

Every identifier has one value more, of type RANGE at index 1002, that says where it came from:
`88.118.5/LOT.000001..100000`, with the time of the registration and, as its reference, who
registered it (none: the owner of the machine). It is read-only.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

from protocol.codes import Permission
from protocol.errors import ProtocolError
from protocol.types import DECODERS
from protocol.value import (
    TTL_DEFAULT_S,
    TTL_RELATIVE,
    HandleValue,
    Reference,
    read_value,
    read_values,
)
from protocol.wire import Reader
from registry.errors import RangeError, RecordError
from registry.range_records import PATCHES_MAX, Patch, RangeRecord
from registry.range_templates import Piece, parse_template

RANGE_TYPE = b"RANGE"
RANGE_INDEX = 1_002
RANGE_PERMISSION = Permission.ADMIN_READ | Permission.PUBLIC_READ
CACHED_TYPE_MAX = 64  # octets

_VALUE_HEAD = struct.Struct(">iiBiB")
_I32 = struct.Struct(">i")
_ORIGIN_TYPE = _I32.pack(len(RANGE_TYPE)) + RANGE_TYPE
_TIME_BEFORE_TYPE = 10  # octets: the time itself, ttl and permissions
_NO_REFERENCES = bytes(4)


class Cut(NamedTuple):
    """How the identifiers of a range are put together: stem, serial, check characters.

    `stem` is as its owner wrote it; `serial_at` is where the serial begins in a tail.
    """

    stem: bytes
    width: int
    serial_at: int
    check_octets: int

    def names(self, tail: bytes) -> dict[str, bytes]:
        """Return what the placeholders stand for in one identifier."""
        end = self.serial_at + self.width
        serial, check = tail[self.serial_at : end], tail[end:]
        handle = self.stem + serial + check
        prefix, _, suffix = handle.partition(b"/")
        return {
            "serial": serial,
            "number": serial.lstrip(b"0") or b"0",
            "prefix": prefix,
            "suffix": suffix,
            "handle": handle,
            "check": check,
        }


class Pattern(NamedTuple):
    """A value of a range; of a template, its data are the text with the placeholders."""

    value: HandleValue
    is_template: bool


class Compiled(NamedTuple):
    """What a range keeps of its values: `kept` are (position among all values, value octets)."""

    public: bytes
    patches: tuple[Patch, ...]
    kept: list[tuple[int, bytes]]


def compile_values(
    cut: Cut,
    patterns: Sequence[Pattern],
    origin: bytes,
    now_s: int = 0,
    *,
    keeps_times: bool = True,
) -> Compiled:
    """Return the value list of a range and its patches.

    Args:
        cut: how its identifiers are put together.
        patterns: its values.
        origin: octets of its RANGE value, which comes last.
        now_s: the time of values that state none.
        keeps_times: others keep theirs; else all get that time.

    Raises:
        RangeError: too many patches, a template that cannot be read.
    """
    parts = [b""]
    patches: list[Patch] = []
    kept: list[tuple[int, bytes]] = []
    places = _places(cut)
    at = _I32.size
    for position, (value, is_template) in enumerate(patterns):
        time_s = value.timestamp if keeps_times and value.timestamp else now_s
        pieces = parse_template(value.data) if is_template else (value.data,)
        if not value.permission & Permission.PUBLIC_READ or "number" in pieces:
            octets = replace(value, timestamp=time_s).encode()
            kept.append((position, bytes((is_template,)) + octets))
            continue
        head = _head_of(value, time_s)
        start = at + len(head) + _I32.size
        data, end = _join(places, pieces, start, patches)
        references = _NO_REFERENCES if not value.references else _references(value)
        parts += (head, _I32.pack(end - start), data, references)
        at = end + len(references)
    if len(patches) > PATCHES_MAX:
        raise RangeError(
            f"the serial stands {len(patches)} times in the values, at most {PATCHES_MAX} fit"
        )
    parts[0] = _I32.pack(len(patterns) - len(kept) + 1)
    parts.append(origin)
    return Compiled(b"".join(parts), tuple(patches), kept)


def _head_of(value: HandleValue, time_s: int) -> bytes:
    make = _cached_head if len(value.type) <= CACHED_TYPE_MAX else make_head
    return make(value.index, value.type, time_s, value.ttl_type, value.ttl, value.permission)


def make_head(
    index: int, type_: bytes, time_s: int, ttl_type: int, ttl: int, permission: int
) -> bytes:
    """Return the wire octets of a value up to its data."""
    head = _VALUE_HEAD.pack(index, time_s, ttl_type, ttl, permission)
    return head + _I32.pack(len(type_)) + type_


_cached_head = lru_cache(4_096)(make_head)


def _references(value: HandleValue) -> bytes:
    return _I32.pack(len(value.references)) + b"".join(
        reference.encode() for reference in value.references
    )


Place = tuple[bytes, int, int]
"""What a placeholder is: a constant, and behind it octets of the tail, from where and how many."""


def _places(cut: Cut) -> dict[str, Place]:
    stem, width, start, check = cut
    prefix, _, suffix = stem.partition(b"/")
    return {
        "serial": (b"", start, width),
        "handle": (stem, start, width + check),
        "suffix": (suffix, start, width + check),
        "prefix": (prefix, 0, 0),
        "check": (b"", start + width, check),
    }


def _join(
    places: dict[str, Place], pieces: Iterable[Piece], at: int, patches: list[Patch]
) -> tuple[bytes, int]:
    """Return the data that pieces make and where they end, adding what is patched into them."""
    parts: list[bytes] = []
    for piece in pieces:
        if isinstance(piece, bytes):
            parts.append(piece)
            at += len(piece)
            continue
        constant, start, length = places[piece]
        parts.append(constant)
        at += len(constant)
        if length:
            patches.append(Patch(at, start, length))
            parts.append(bytes(length))
            at += length
    return b"".join(parts), at


def range_value(stem: bytes, first: bytes, last: bytes, by: Reference, registered_s: int) -> bytes:
    """Return the octets of the value that says which range an identifier comes from."""
    head = _cached_head(
        RANGE_INDEX, RANGE_TYPE, registered_s, TTL_RELATIVE, TTL_DEFAULT_S, RANGE_PERMISSION
    )
    data = b"%b%b..%b" % (stem, first, last)
    reference = b"\0\0\0\1" + by.encode() if by.handle else _NO_REFERENCES
    return head + _I32.pack(len(data)) + data + reference


class Origin(NamedTuple):
    """What the RANGE value of a record says; serials as written, with all their digits."""

    stem: bytes
    first: bytes
    last: bytes
    by: Reference
    registered_s: int


def read_origin(value: HandleValue) -> Origin:
    """Read a RANGE value. Raises: RecordError."""
    text, dots, last = value.data.rpartition(b"..")
    width = len(last)
    if value.type != RANGE_TYPE or not dots or not 0 < width < len(text):
        raise RecordError("the record of a range does not decode: it lacks its RANGE value")
    by = value.references[0] if value.references else Reference(b"", 0)
    return Origin(text[:-width], text[-width:], last, by, value.timestamp)


def registered_s(range_: RangeRecord) -> int:
    """Return when a stored range was registered. Raises: RecordError."""
    try:
        values = read_values(Reader(range_.public))
    except ProtocolError as error:
        raise RecordError(f"the values of a range do not decode: {error}") from error
    if not values:
        raise RecordError("the record of a range does not decode: it has no values")
    return read_origin(values[-1]).registered_s


def find_registered_s(record: bytes) -> int | None:
    """Return when a range was registered, taken from its octets; None: that is not to be seen."""
    at = record.rfind(_ORIGIN_TYPE) - _TIME_BEFORE_TYPE
    return int(_I32.unpack_from(record, at)[0]) if at >= 0 else None


def cut_of(range_: RangeRecord, origin: Origin) -> Cut:
    """Return how the identifiers of a stored range are put together."""
    digits = len(origin.stem) - len(origin.stem.rstrip(b"0123456789"))
    width = len(origin.first)
    return Cut(origin.stem, width, digits, len(range_.first) - digits - width)


def stored_patterns(range_: RangeRecord) -> tuple[list[Pattern], Origin]:
    """Return the values of a range with their placeholders, and its RANGE value.

    Raises:
        RecordError: damaged.
    """
    reader = Reader(range_.public)
    count = reader.read_i32("count of values")
    spans: list[tuple[HandleValue, int]] = []
    for _ in range(count):
        begin = reader.position
        value = read_value(reader)
        spans.append((value, begin + _VALUE_HEAD.size + 2 * _I32.size + len(value.type)))
    reader.expect_end("values")
    if not spans:
        raise RecordError("the record of a range does not decode: it has no values")
    origin = read_origin(spans.pop()[0])
    cut = cut_of(range_, origin)
    patterns = [_pattern(cut, value, start, range_.patches) for value, start in spans]
    for position, octets in kept_of(range_):
        patterns.insert(position, Pattern(read_value(Reader(octets, 1)), bool(octets[0])))
    return patterns, origin


def kept_of(range_: RangeRecord) -> list[tuple[int, bytes]]:
    """Return the values that are no part of the public list."""
    kept: Any = range_.details.get("values", [])
    return [(position, octets) for position, octets in kept]


def _pattern(cut: Cut, value: HandleValue, start: int, patches: Sequence[Patch]) -> Pattern:
    """Return a value of the public list, whose data begin at `start`, as it can be written."""
    parts: list[str] = []
    done, is_patched = 0, False
    try:
        for offset, at, length in patches:
            if not start <= offset < start + len(value.data):
                continue
            constant = value.data[done : offset - start]
            parts.append(_written(cut, constant.decode(), at, length))
            done, is_patched = offset - start + length, True
        parts.append(_escaped(value.data[done:].decode()))
    except UnicodeDecodeError:
        return Pattern(value, is_template=False)
    if value.type in DECODERS and not is_patched:
        return Pattern(value, is_template=False)
    return Pattern(replace(value, data="".join(parts).encode()), is_template=True)


def _written(cut: Cut, constant: str, at: int, length: int) -> str:
    """Return constant text with the placeholder of the octets of the tail behind it."""
    if at == cut.serial_at + cut.width:
        return _escaped(constant) + "{check}"
    if length == cut.width + cut.check_octets:
        stem = cut.stem.decode("utf-8", "replace")
        for name, before in (("handle", stem), ("suffix", stem.partition("/")[2])):
            if before and constant.endswith(before):
                return _escaped(constant[: -len(before)]) + f"{{{name}}}"
    check = "{check}" if length > cut.width else ""
    return _escaped(constant) + "{serial}" + check


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
