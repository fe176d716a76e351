"""Ranges as programs have them, and how what a node tells becomes them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from protocol.errors import InvalidValueError
from protocol.handle import fold_case
from protocol.json_forms import values_from_json
from protocol.value import HandleValue
from registry.check_digits import SCHEMES, check_of
from registry.errors import RangeError
from registry.range_templates import parse_template
from resolver.client.client import Text, octets_of
from resolver.client.errors import HandleError
from resolver.told.ranges import RangeForm


@dataclass(frozen=True, slots=True)
class Range:
    """A range as the node has it.

    Attributes:
        stem: what all its identifiers begin with, prefix and slash included.
        first: the first serial as it is written; last likewise.
        check: the scheme of the check characters after a serial, "" for none.
        identifiers: how many serials it runs over.
        state: "active", or "revoked".
        registered: when, in RFC 3339.
        by: who registered it, `300:0.NA/88.118.5`.
        values: with their placeholders; a template may be told otherwise than it was given, and
            say the same. Private ones only to who may read them, and not in listings.
        revoked: when, in RFC 3339; "" for never.
        revoked_by: who did.
        reason: why.
    """

    stem: str
    first: str
    last: str
    check: str
    identifiers: int
    state: str
    registered: str
    by: str
    values: tuple[HandleValue, ...]
    revoked: str = ""
    revoked_by: str = ""
    reason: str = ""

    def __str__(self) -> str:
        """Return `88.118.5/870101.M1.000001..100000`."""
        return f"{self.stem}{self.first}..{self.last}"

    @property
    def first_identifier(self) -> str:
        """The identifier of the first serial, with its check characters."""
        return identifier_of(self.stem, self.first, self.check)

    @property
    def last_identifier(self) -> str:
        """The identifier of the last serial, with its check characters."""
        return identifier_of(self.stem, self.last, self.check)

    @property
    def is_revoked(self) -> bool:
        """Say whether its identifiers are answered with "not found", and why."""
        return self.state == "revoked"


def identifier_of(stem: str, serial: str, check: str) -> str:
    """Return an identifier, with check characters if the scheme is known."""
    before = f"{stem}{serial}"
    return before + check_of(check, before.encode()).decode() if check in SCHEMES else before


def read_range(form: RangeForm) -> Range:
    """Return the range. Raises: HandleError."""
    try:
        values = values_from_json(form.values)
    except InvalidValueError as error:
        words = f"the values of {form.stem}{form.first} cannot be read: {error}"
        raise HandleError(words, hint="is the node of another version?") from None
    return Range(
        form.stem,
        form.first,
        form.last,
        "" if form.check == "none" else form.check,
        form.identifiers,
        form.state,
        form.registered,
        form.by,
        values,
        form.revoked,
        form.revoked_by,
        form.reason,
    )


def begins_with(form: RangeForm, identifier: Text) -> bool:
    """Say whether a range begins with an identifier."""
    first = identifier_of(form.stem, form.first, form.check)
    return fold_case(first.encode()) == fold_case(octets_of(identifier))


def identifier_before(form: RangeForm) -> str:
    """Return the identifier before a range's first; of serial 0 itself."""
    number = max(0, int(form.first) - 1)
    return identifier_of(form.stem, f"{number:0{len(form.first)}}", form.check)


@dataclass(frozen=True, slots=True)
class AskedRange:
    """A range as it was to be registered."""

    stem: str
    first: str
    last: str
    check: str
    values: tuple[HandleValue, ...]

    def is_it(self, found: Range) -> bool:
        """Say whether a range of the node's is the one asked for."""
        there = (found.stem, found.first, found.last, found.check)
        return (
            not found.is_revoked
            and there == (self.stem, self.first, self.last, self.check)
            and _said(self.stem, self.check, found.values)
            == _said(self.stem, self.check, self.values)
        )


def _said(stem: str, check: str, values: Iterable[HandleValue]) -> list[HandleValue]:
    """Return what values say of the identifiers of a range, however their templates say it."""
    serial = "{serial}{check}" if check else "{serial}"
    prefix, _, rest = stem.partition("/")
    meant = {
        "prefix": _escaped(prefix),
        "suffix": f"{_escaped(rest)}{serial}",
        "handle": f"{_escaped(stem)}{serial}",
        "check": "{check}" if check else "",
    }
    said = (replace(value, timestamp=0, data=_spelt_out(value.data, meant)) for value in values)
    return sorted(said, key=lambda value: value.index)


def _spelt_out(data: bytes, meant: Mapping[str, str]) -> bytes:
    """Return a template with other placeholders in place of those that `meant` has.

    A node tells templates by what they come to: {prefix} is a constant to it. What is no template
    stays as it is.
    """
    try:
        pieces = parse_template(data)
    except (UnicodeDecodeError, RangeError):
        return data
    texts = (
        meant.get(piece, f"{{{piece}}}") if isinstance(piece, str) else _escaped(piece.decode())
        for piece in pieces
    )
    return "".join(texts).encode()


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
