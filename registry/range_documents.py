"""The document that describes a range, read and written; what is stored of one.

    {"stem": "88.118.5/870101.M1.20261121.", "first": "000001", "last": "100000",
     "check": "gs1",                 left out, or "none": no check characters
     "existing": "refuse",           or "keep": rows inside stay, as identifiers with values of
                                     their own
     "values": [value forms, their texts with the placeholders of `registry.range_values`]}

First and last are serials of one width. Shown, a document also says how many identifiers there
are, the state, who registered it and when, and why it was revoked; a loaded one may state that too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from protocol.codes import ResponseCode
from protocol.errors import ProtocolError
from protocol.handle import check_handle, is_prefix_handle, to_text
from protocol.json_forms import value_from_json
from protocol.types import DECODERS
from protocol.value import HandleValue, Reference
from registry.check_digits import SCHEMES, check_octets, check_of
from registry.checks import check_values
from registry.errors import RangeError
from registry.range_records import (
    STEM_OCTETS_MAX,
    TAIL_OCTETS_MAX,
    RangeRecord,
    decode_range,
    encode_range,
    range_key,
    split_key,
)
from registry.range_values import (
    RANGE_INDEX,
    Cut,
    Pattern,
    compile_values,
    range_value,
)
from registry.schema import RECORD_OCTETS_MAX, VALUES_MAX

KEPT_OCTETS_MAX = 60_000  # what the record has room for, beside the reason of a revocation
GROWN_OCTETS_MAX = 16_384  # what placeholders may add: 4,096 such ranges are one transaction
WIDTH_MAX = 18  # digits of a serial; ours: a range has at most 10^18 identifiers
_PLAIN_MEMBERS = frozenset({"index", "type", "data"})
_CACHED_TYPE_MAX = 64
_CONTROLS = bytes([*range(0x20), 0x7F])

Fold = Callable[[bytes], bytes]


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
    digits = len(last) - (check_octets(check) if check in SCHEMES or not check else len(last))
    return Range(
        key,
        octets,
        record,
        Span(stem, digits, int(record.first[:digits]), int(last[:digits]), check),
    )


def read_document(document: Mapping[str, Any]) -> Described:
    """Read the description of a range.

    Raises:
        RangeError: a member that is missing or wrong; the message names it.
    """
    stem = _octets(document, "stem")
    _check_stem(stem)
    first, last = (_serial(document, name) for name in ("first", "last"))
    if len(first) != len(last):
        raise _bad_name(
            f"first has {len(first)} digits, last has {len(last)}: write both with the same number"
        )
    if first > last:
        raise _bad_name(f"first ({to_text(first)}) is beyond last ({to_text(last)})")
    check = _choice(document, "check", "none", ("none", *SCHEMES))
    existing = _choice(document, "existing", "refuse", ("refuse", "keep"))
    patterns = tuple(_read_patterns(document.get("values")))
    return Described(
        stem, first, last, "" if check == "none" else check, existing == "keep", patterns
    )


def _bad_name(words: str) -> RangeError:
    return RangeError(words, ResponseCode.INVALID_HANDLE)


def _octets(document: Mapping[str, Any], name: str) -> bytes:
    item = document.get(name)
    if isinstance(item, str):
        try:
            return item.encode()
        except UnicodeEncodeError:
            raise _bad_name(f"{name} is not Unicode text") from None
    if isinstance(item, bytes):
        return item
    raise _bad_name(f"{name} is missing" if item is None else f"{name} must be text")


def _check_stem(stem: bytes) -> None:
    prefix, slash, _ = stem.partition(b"/")
    if not slash or not prefix:
        raise _bad_name("stem must begin with a prefix and a slash, such as 88.118.5/LOT.")
    if len(stem.translate(None, _CONTROLS)) < len(stem):
        raise _bad_name("stem has a control character in it")
    try:
        check_handle(stem)
    except ProtocolError as error:
        raise _bad_name(f"stem: {error}") from None
    if is_prefix_handle(stem):
        raise _bad_name("prefixes are registered one by one: a range has no stem under 0.NA/")


def _serial(document: Mapping[str, Any], name: str) -> bytes:
    text = _octets(document, name)
    if not 0 < len(text) <= WIDTH_MAX or not text.isdigit():
        shown = to_text(text[:40])
        raise _bad_name(f'{name} must be 1 to {WIDTH_MAX} digits as text, not "{shown}"')
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
        and len(type_) <= _CACHED_TYPE_MAX and 0 < index < 1 << 31
    ):  # fmt: skip
        return None
    try:
        octets = _type_octets(type_)
        return Pattern(HandleValue(index, octets, data.encode()), octets not in DECODERS)
    except UnicodeEncodeError:
        return None


_type_octets = lru_cache(1_024)(str.encode)


def make_range(
    described: Described,
    fold: Fold,
    *,
    by: Reference,
    now_s: int,
    registered_s: int = 0,
    keeps_times: bool = False,
    revoked: list[Any] | None = None,
) -> Range:
    """Return what is stored of a range.

    Args:
        described: by its document.
        fold: how handles are folded here.
        by: who registers it.
        now_s: the time of values that state none.
        registered_s: when it was registered, if that was not now.
        keeps_times: others keep theirs; else all get that time.
        revoked: see `Range.revoked`.

    Raises:
        RangeError: it cannot be stored; the message says why.
    """
    cut, span, first, last = _tails(described, fold)
    origin = range_value(described.stem, described.first, described.last, by, registered_s or now_s)
    patterns = [*described.patterns, Pattern(origin, is_template=False)]
    _check_patterns(patterns)
    compiled = compile_values(cut, patterns, now_s, keeps_times=keeps_times)
    details: dict[str, Any] = {}
    if described.check:
        details["check"] = described.check
    if compiled.kept:
        details["values"] = [list(item) for item in compiled.kept]
    if revoked:
        details["revoked"] = revoked
    record = RangeRecord(
        first, compiled.public, compiled.patches, details, checked=bool(described.check)
    )
    _check_size(record, described.patterns)
    return Range(range_key(span.stem, last), encode_range(record), record, span)


def _tails(described: Described, fold: Fold) -> tuple[Cut, Span, bytes, bytes]:
    """Return how identifiers are cut, their numbers, and the first and last tail."""
    folded = fold(described.stem)
    stem = folded.rstrip(b"0123456789")
    lead = folded[len(stem) :]
    width, check = len(described.first), described.check
    digits = len(lead) + width
    tail_octets = digits + check_octets(check)
    if tail_octets > TAIL_OCTETS_MAX:
        raise _bad_name(
            f"the identifiers end in {tail_octets} octets of digits and check characters, the "
            f"stem's own included; at most {TAIL_OCTETS_MAX} are possible"
        )
    if len(stem) > STEM_OCTETS_MAX:
        raise _bad_name(f"the stem has {len(stem)} octets, at most {STEM_OCTETS_MAX} fit")
    span = Span(stem, digits, int(lead + described.first), int(lead + described.last), check)
    cut = Cut(described.stem, width, len(lead), check_octets(check))
    return cut, span, span.tail(span.low), span.tail(span.high)


def _check_patterns(patterns: Sequence[Pattern]) -> None:
    for value, _ in patterns[:-1]:
        if value.index == RANGE_INDEX:
            raise RangeError(
                f"value at index {RANGE_INDEX}: there stands which range an identifier comes from"
            )
    refusal = check_values([value for value, _ in patterns])
    if refusal is not None:
        raise RangeError(to_text(refusal.message), refusal.response_code)


def _check_size(record: RangeRecord, patterns: Sequence[Pattern]) -> None:
    """Refuse what would not fit into an answer, or not into the record."""
    kept = [octets for _, octets in record.details.get("values", ())]
    taken = sum(map(len, kept))
    if taken > KEPT_OCTETS_MAX:
        raise RangeError(
            f"values that are not public or have {{number}} in them take {taken} octets, at most "
            f"{KEPT_OCTETS_MAX} fit"
        )
    octets = len(record.public) + taken
    written = octets
    if octets > GROWN_OCTETS_MAX:
        written = sum(len(pattern.value.encode()) for pattern in patterns)
    if octets > written + GROWN_OCTETS_MAX:
        raise RangeError(
            f"the placeholders make {octets} octets of {written}, at most {GROWN_OCTETS_MAX} more "
            "are possible: name the handle less often"
        )
    octets += sum(each.count(b"{") for each in kept) * (STEM_OCTETS_MAX + TAIL_OCTETS_MAX)
    if octets > RECORD_OCTETS_MAX:
        largest = max(patterns, key=lambda pattern: len(pattern.value.data)).value
        raise RangeError(
            f"the values take up to {octets} octets, at most {RECORD_OCTETS_MAX} fit into an "
            f"answer; the largest is the value at index {largest.index}"
        )
