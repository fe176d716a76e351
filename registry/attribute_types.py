"""The types that attributes of a template have: what is taken, how it is kept, what it reads as.

    type         taken from JSON or msgpack        kept as                    data of the value
    string       text                              text                       the text
    number       a number of 64 bits               number, 1.0 as 1           42, 0.5, 1e+30
    boolean      true, false                       boolean                    true, false
    date         text, 2026-11-21                  days since 1970            2026-11-21
    url          text, scheme://host...            text                       the text
    identifier   text, prefix/suffix               text                       the text
    enumeration  text, one of those listed         its place in the list      the text
    list         a list of one other type          list of what that keeps    a JSON array

What two values are kept as is equal exactly when they read as the same. A cell of CSV has only
text: `parse` makes of it what JSON would have had.
"""

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Any

from protocol.errors import InvalidHandleError
from protocol.handle import check_handle
from protocol.json_fields import describe

LENGTH_MAX = 65_535  # characters of a text; ours, the record's own bound is not far above
LIST_ITEMS_MAX = 1_024
NUMBER_CHARACTERS_MAX = 40  # of a cell; 64 bits need 24

_EPOCH = date(1970, 1, 1)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\x00-\x1f\x7f/?#]+[^\s\x00-\x1f\x7f]*")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
_I64_MAX = 2**63 - 1
_EXACT_MAX = 2**53  # floats up to here that are whole numbers are kept as such
_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class AttributeType(StrEnum):
    """What an attribute is. The names are in stores."""

    STRING = "string"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    URL = "url"
    IDENTIFIER = "identifier"
    ENUMERATION = "enumeration"
    LIST = "list"


TEXTS = frozenset({AttributeType.STRING, AttributeType.URL, AttributeType.IDENTIFIER})
MEASURED = TEXTS | {AttributeType.NUMBER, AttributeType.LIST}  # those that have a length

# str, int, float, bool, or a list of these
Kept = Any


class UnfitError(ValueError):
    """Something is not of its attribute's type; the message goes on after the attribute's name."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute of a template.

    Args:
        name: the type of its values.
        alias: what people call it, in any language.
        type: of its values.
        required: whether every identifier has it.
        length: at most so many characters, or items of a list; 0: as many as ever fit.
        values: those of an enumeration, or of a list of such.
        item: the type of a list's items.
    """

    name: str
    type: AttributeType
    alias: str = ""
    required: bool = False
    length: int = 0
    values: tuple[str, ...] = ()
    item: AttributeType | None = None

    @property
    def is_text(self) -> bool:
        """Say whether its values are kept as text."""
        return self.type in TEXTS


def keep(attribute: Attribute, value: Any) -> Kept:
    """Return what a value is kept as. Raises: UnfitError."""
    return _KEEPERS[attribute.type](attribute, value)


def read(attribute: Attribute, kept: Kept) -> str:
    """Return what a value reads as that is kept; anything but what `keep` made may raise."""
    if attribute.type is AttributeType.LIST:
        assert attribute.item is not None
        return _to_json([_item_form(attribute, attribute.item, each) for each in kept])
    return _read_one(attribute, attribute.type, kept)


def parse(attribute: Attribute, text: str) -> Any:
    """Return what the text of a cell stands for; of text that has not the form, the text."""
    if attribute.type is AttributeType.NUMBER:
        return _parse_number(text)
    if attribute.type is AttributeType.BOOLEAN:
        return {"true": True, "false": False}.get(text, text)
    if attribute.type is AttributeType.LIST:
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text


def _parse_number(text: str) -> Any:
    if len(text) > NUMBER_CHARACTERS_MAX or not _NUMBER.fullmatch(text):
        return text
    return float(text) if any(each in text for each in ".eE") else int(text)


def _read_one(attribute: Attribute, type_: AttributeType, kept: Kept) -> str:
    if type_ in TEXTS:
        return str(kept)
    if type_ is AttributeType.DATE:
        return (_EPOCH + timedelta(days=kept)).isoformat()
    if type_ is AttributeType.ENUMERATION:
        return attribute.values[kept]
    if type_ is AttributeType.BOOLEAN:
        return "true" if kept else "false"
    return repr(kept)


def _item_form(attribute: Attribute, type_: AttributeType, kept: Kept) -> Any:
    if type_ in (AttributeType.NUMBER, AttributeType.BOOLEAN):
        return kept
    return _read_one(attribute, type_, kept)


def _expect_text(attribute: Attribute, value: Any, what: str = "text") -> str:
    if not isinstance(value, str):
        raise UnfitError(f"must be {what}, not {describe(value)}")
    if not value:
        raise UnfitError("is empty: give a text, or leave it out")
    longest = attribute.length if attribute.length and attribute.is_text else LENGTH_MAX
    if len(value) > longest:
        raise UnfitError(f"has {len(value):,} characters, at most {longest:,} are possible")
    return value


def _keep_string(attribute: Attribute, value: Any) -> Kept:
    return _expect_text(attribute, value)


def _keep_number(attribute: Attribute, value: Any) -> Kept:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnfitError(f"must be a number, not {describe(value)}")
    if isinstance(value, float):
        if not math.isfinite(value):
            raise UnfitError(f"must be a finite number, not {value}")
        if value.is_integer() and abs(value) <= _EXACT_MAX:
            value = int(value)
    if isinstance(value, int) and not -_I64_MAX - 1 <= value <= _I64_MAX:
        raise UnfitError("is a number of more than 64 bits: make the attribute a string")
    if attribute.type is AttributeType.NUMBER and 0 < attribute.length < len(repr(value)):
        raise UnfitError(f"is {value!r}, at most {attribute.length} characters are possible")
    return value


def _keep_boolean(attribute: Attribute, value: Any) -> Kept:
    if not isinstance(value, bool):
        raise UnfitError(f"must be true or false, not {describe(value)}")
    return value


def _keep_date(attribute: Attribute, value: Any) -> Kept:
    try:
        if not _DATE.fullmatch(value):
            raise ValueError
        return (date.fromisoformat(value) - _EPOCH).days
    except (ValueError, TypeError):
        raise UnfitError(f"must be a date such as 2026-11-21, not {describe(value)}") from None


def _keep_url(attribute: Attribute, value: Any) -> Kept:
    text = _expect_text(attribute, value, "a URL")
    if not _URL.fullmatch(text):
        raise UnfitError(f"must be a URL such as https://example.org/a, not {describe(text)}")
    return text


def _keep_identifier(attribute: Attribute, value: Any) -> Kept:
    text = _expect_text(attribute, value, "an identifier")
    try:
        check_handle(text.encode())
    except (InvalidHandleError, UnicodeEncodeError) as error:
        raise UnfitError(f"is no identifier: {error}") from None
    if "/" not in text:
        raise UnfitError(f"must be an identifier such as 88.118.5/a, not {describe(text)}")
    return text


def _keep_enumeration(attribute: Attribute, value: Any) -> Kept:
    if not isinstance(value, str) or value not in attribute.values:
        known = ", ".join(attribute.values[:10])
        more = f" and {len(attribute.values) - 10} more" if len(attribute.values) > 10 else ""
        raise UnfitError(f"must be one of {known[:200]}{more}, not {describe(value)}")
    return attribute.values.index(value)


def _keep_list(attribute: Attribute, value: Any) -> Kept:
    if not isinstance(value, list | tuple):
        raise UnfitError(f"must be a list, not {describe(value)}")
    most = attribute.length or LIST_ITEMS_MAX
    if len(value) > most:
        raise UnfitError(f"has {len(value):,} items, at most {most:,} are possible")
    assert attribute.item is not None
    kept = []
    for position, item in enumerate(value):
        try:
            kept.append(_KEEPERS[attribute.item](attribute, item))
        except UnfitError as error:
            raise UnfitError(f"item {position}: it {error}") from None
    return kept


_KEEPERS: dict[AttributeType, Callable[[Attribute, Any], Kept]] = {
    AttributeType.STRING: _keep_string,
    AttributeType.NUMBER: _keep_number,
    AttributeType.BOOLEAN: _keep_boolean,
    AttributeType.DATE: _keep_date,
    AttributeType.URL: _keep_url,
    AttributeType.IDENTIFIER: _keep_identifier,
    AttributeType.ENUMERATION: _keep_enumeration,
    AttributeType.LIST: _keep_list,
}
