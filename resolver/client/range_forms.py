"""What is told of ranges: `Range`, `RangeCounts`, and how the node's JSON becomes them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from protocol.errors import InvalidValueError
from protocol.handle import fold_case
from protocol.json_forms import values_from_json
from protocol.value import HandleValue
from registry.check_digits import SCHEMES, check_of
from registry.errors import RangeError
from registry.range_templates import parse_template
from resolver.client.calls import Page
from resolver.client.client import Text, octets_of
from resolver.client.errors import HandleError


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


class RangeCounts(msgspec.Struct, rename="camel", frozen=True):
    """How many identifiers there are under a prefix, exactly.

    Attributes:
        rows: handles with a row of their own, inside ranges or not.
        ranges: how many ranges there are.
        identifiers: all that are registered, as rows or in ranges, each counted once.
        in_ranges: serials that ranges run over.
        overrides: identifiers in ranges that have a row of their own.
        deleted: identifiers deleted out of ranges.
        revoked_ranges: ranges that were revoked, not among the above.
        in_revoked: serials that these run over.
    """

    rows: int
    ranges: int
    identifiers: int
    in_ranges: int
    overrides: int
    deleted: int
    revoked_ranges: int = 0
    in_revoked: int = 0


class RangeForm(msgspec.Struct, rename="camel", frozen=True):
    """A range as the node tells it."""

    stem: str
    first: str
    last: str
    identifiers: int
    state: str
    registered: str
    by: str
    values: list[Any]
    check: str = "none"
    revoked: str = ""
    revoked_by: str = ""
    reason: str = ""

    def read(self) -> Range:
        """Return the range. Raises: HandleError."""
        try:
            values = values_from_json(self.values)
        except InvalidValueError as error:
            words = f"the values of {self.stem}{self.first} cannot be read: {error}"
            raise HandleError(words, hint="is the node of another version?") from None
        return Range(
            self.stem,
            self.first,
            self.last,
            "" if self.check == "none" else self.check,
            self.identifiers,
            self.state,
            self.registered,
            self.by,
            values,
            self.revoked,
            self.revoked_by,
            self.reason,
        )


class OneRange(msgspec.Struct, rename="camel", frozen=True):
    """The answer that is one range."""

    range: RangeForm


class ManyRanges(msgspec.Struct, rename="camel", frozen=True):
    """The answer that is several."""

    ranges: list[RangeForm]


class RangePage(Page, frozen=True):
    """A page of ranges."""

    ranges: list[RangeForm]


class RangeEvent(msgspec.Struct, rename="camel", frozen=True):
    """One change of the range around an identifier.

    Attributes:
        sequence: the frame of the journal that made it.
        time: when, in RFC 3339.
        operation: register, split, shrink, revoke; cut: shrunk, and the identifier is not in it
            any more.
        by: who did, `300:0.NA/88.118.5`.
        range: the one around the identifier afterwards, else what was left of it:
            `88.118.5/870101.M1.000001..100000`.
        identifiers: how many serials that runs over.
        ranges: all that the change made of the one before.
        reason: why it was revoked.
    """

    sequence: int
    time: str
    operation: str
    by: str
    range: str
    identifiers: int
    ranges: list[str]
    reason: str = ""


class RangeEvents(msgspec.Struct, rename="camel", frozen=True):
    """Some of the changes; `next`: where to go on, 0 at the end."""

    events: list[RangeEvent]
    next: int


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
