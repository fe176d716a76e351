"""The document that describes a range, read and written; what is stored of one.

    {"stem": "88.118.5/870101.M1.20261121.", "first": "000001", "last": "100000",
     "check": "gs1",                 left out, or "none": no check characters
     "existing": "refuse",           or "keep": rows inside stay, as identifiers with values of
                                     their own
     "values": [value forms, their texts with the placeholders of `registry.range_values`]}

First and last are serials of one width. Shown, a document also says how many identifiers there
are, the state, who registered it and when, and why it was revoked; a loaded one may state that too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from protocol.codes import ResponseCode
from protocol.errors import ProtocolError
from protocol.handle import check_handle, is_prefix_handle, to_text
from protocol.json_forms import value_from_json
from protocol.types import DECODERS
from protocol.value import HandleValue
from registry.check_digits import SCHEMES, check_octets, check_of
from registry.errors import RangeError, RecordError
from registry.range_records import (
    RangeRecord,
    decode_range,
    split_key,
)
from registry.range_values import (
    CACHED_TYPE_MAX,
    Pattern,
)
from registry.schema import VALUES_MAX

WIDTH_MAX = 18  # digits of a serial; ours: a range has at most 10^18 identifiers
_PLAIN_MEMBERS = frozenset({"index", "type", "data"})
_CONTROLS = bytes([*range(0x20), 0x7F])


@dataclass(frozen=True, slots=True)
class Described:
    """A document that was read: everything but what the store adds."""

    stem: bytes
    first: bytes
    last: bytes
    check: str
    keeps_rows: bool
    patterns: tuple[Pattern, ...]


class Span(NamedTuple):
    """The identifiers of a range by number: folded stem, then digits, then check characters.

    `low` and `high` are what the digits of the first and last tail say as numbers.
    """

    stem: bytes
    digits: int
    low: int
    high: int
    check: str

    def tail(self, number: int) -> bytes:
        """Return the tail of one identifier."""
        digits = b"%0*d" % (self.digits, number)
        return digits + check_of(self.check, self.stem + digits) if self.check else digits

    def is_like(self, other: "Span") -> bool:
        """Say whether the identifiers of both look alike but for their numbers."""
        return (self.stem, self.digits, self.check) == (other.stem, other.digits, other.check)

    @property
    def tail_octets(self) -> int:
        """The length of all its tails."""
        return self.digits + check_octets(self.check)

    @property
    def size(self) -> int:
        """How many identifiers there are."""
        return self.high - self.low + 1


class Range(NamedTuple):
    """A range as it is stored: its key, its record, and what these say."""

    key: bytes
    octets: bytes
    record: RangeRecord
    span: Span

    @property
    def revoked(self) -> list[Any] | None:
        """When, by whom (handle, index) and why it was revoked; None: it was not."""
        return self.record.details.get("revoked")

    @property
    def first(self) -> bytes:
        """The first identifier, folded."""
        return self.span.stem + self.record.first


def read_range(key: bytes, octets: bytes) -> Range:
    """Take a stored range apart. Raises: RecordError."""
    stem, last = split_key(key)
    record = decode_range(octets)
    check = str(record.details.get("check", ""))
    if check and check not in SCHEMES:
        raise RecordError(f"a range has the check scheme {check!r}, which is not known here")
    digits = len(last) - check_octets(check)
    try:
        low, high = int(record.first[:digits]), int(last[:digits])
    except ValueError:
        raise RecordError("the tails of a range are no digits") from None
    return Range(key, octets, record, Span(stem, digits, low, high, check))


def read_document(document: Mapping[str, Any]) -> Described:
    """Read the description of a range.

    Raises:
        RangeError: a member that is missing or wrong; the message names it.
    """
    stem = _octets(document, "stem")
    _check_stem(stem)
    first, last = (_serial(document, name) for name in ("first", "last"))
    if len(first) != len(last):
        raise bad_name(
            f"first has {len(first)} digits, last has {len(last)}: write both with the same number"
        )
    if first > last:
        raise bad_name(f"first ({to_text(first)}) is beyond last ({to_text(last)})")
    check = _choice(document, "check", "none", ("none", *SCHEMES))
    existing = _choice(document, "existing", "refuse", ("refuse", "keep"))
    patterns = tuple(_read_patterns(document.get("values")))
    return Described(
        stem, first, last, "" if check == "none" else check, existing == "keep", patterns
    )


def bad_name(words: str) -> RangeError:
    """Return the error of a stem or serial that cannot be one."""
    return RangeError(words, ResponseCode.INVALID_HANDLE)


def _octets(document: Mapping[str, Any], name: str) -> bytes:
    item = document.get(name)
    if isinstance(item, str):
        try:
            return item.encode()
        except UnicodeEncodeError:
            raise bad_name(f"{name} is not Unicode text") from None
    if isinstance(item, bytes):
        return item
    raise bad_name(f"{name} is missing" if item is None else f"{name} must be text")


def _check_stem(stem: bytes) -> None:
    prefix, slash, _ = stem.partition(b"/")
    if not slash or not prefix:
        raise bad_name("stem must begin with a prefix and a slash, such as 88.118.5/LOT.")
    if len(stem.translate(None, _CONTROLS)) < len(stem):
        raise bad_name("stem has a control character in it")
    try:
        check_handle(stem)
    except ProtocolError as error:
        raise bad_name(f"stem: {error}") from None
    if is_prefix_handle(stem):
        raise bad_name("prefixes are registered one by one: a range has no stem under 0.NA/")


def _serial(document: Mapping[str, Any], name: str) -> bytes:
    text = _octets(document, name)
    if not 0 < len(text) <= WIDTH_MAX or not text.isdigit():
        shown = to_text(text[:40])
        raise bad_name(f'{name} must be 1 to {WIDTH_MAX} digits as text, not "{shown}"')
    return text


def _choice(document: Mapping[str, Any], name: str, default: str, known: Sequence[str]) -> str:
    item = document.get(name, default)
    if isinstance(item, str) and item in known:
        return item
    raise RangeError(f"{name} must be one of {', '.join(known)}, not {str(item)[:40]!r}")


def _read_patterns(items: Any) -> list[Pattern]:
    if not isinstance(items, list | tuple) or not items:
        raise RangeError("values must be a list of at least one value")
    if len(items) >= VALUES_MAX:
        raise RangeError(
            f"{len(items)} values given, a range has at most {VALUES_MAX - 1} and its RANGE value"
        )
    return [_read_pattern(item, position) for position, item in enumerate(items)]


def _read_pattern(item: Any, position: int) -> Pattern:
    plain = _read_plain(item)
    if plain is not None:
        return plain
    try:
        value = value_from_json(item, where=f"values[{position}]")
    except ProtocolError as error:
        raise RangeError(str(error)) from None
    data = item["data"]
    is_text = isinstance(data, str) or data["format"] == "string"
    return Pattern(value, is_text and value.type not in DECODERS)


def _read_plain(item: Any) -> Pattern | None:
    """Read a value that is text and has the usual permissions and ttl; None: it is another."""
    if not isinstance(item, dict) or item.keys() != _PLAIN_MEMBERS:
        return None
    index, type_, data = item["index"], item["type"], item["data"]
    if isinstance(data, dict) and data.keys() == {"format", "value"}:
        data = data["value"] if data["format"] == "string" else None
    if not (
        type(index) is int and isinstance(type_, str) and isinstance(data, str)
        and len(type_) <= CACHED_TYPE_MAX and 0 < index < 1 << 31
    ):  # fmt: skip
        return None
    try:
        octets = _type_octets(type_)
        return Pattern(HandleValue(index, octets, data.encode()), octets not in DECODERS)
    except UnicodeEncodeError:
        return None


_type_octets = lru_cache(1_024)(str.encode)
