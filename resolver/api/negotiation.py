"""What a client would rather have: a page or JSON, Chinese or English (RFC 9110 §12.5).

Accept missing, */*, a browser's              a page
application/json above text/html              JSON
another type above both                       OTHER: what a record offers for it, if anything
"""

from collections.abc import Iterator
from enum import Enum

_HTML = ("text/html", "application/xhtml+xml")
_JSON = "application/json"
_NAMES_MAX = 16  # of a header that are looked at: browsers send less than ten


class Form(Enum):
    """The form in which a client wants a handle shown."""

    PAGE = "page"
    JSON = "json"
    OTHER = "other"


class Language(Enum):
    """A language that pages are written in; the value is its tag in HTML."""

    CHINESE = "zh-Hans"
    ENGLISH = "en"


def wanted_form(accept: str) -> Form:
    """Return the form that an Accept header prefers; a page where it has no preference.

    Scripts write `application/json, */*` and mean JSON; so among equals a named type comes first.
    """
    ranges = dict(_weighted(accept))
    if not ranges:
        return Form.PAGE
    page = max(_quality(ranges, each) for each in _HTML)
    is_page_named = any(each in ranges for each in _HTML)
    json = _quality(ranges, _JSON)
    others = [quality for name, quality in ranges.items() if _is_other(name)]
    other = max(others, default=0.0)
    if json > page or (json == page > 0 and _JSON in ranges and not is_page_named):
        return Form.OTHER if other > json else Form.JSON
    if other > page:
        return Form.OTHER
    return Form.PAGE


def wanted_language(accept_language: str) -> Language:
    """Return the language that an Accept-Language header prefers; English among equals."""
    best = {Language.CHINESE: 0.0, Language.ENGLISH: 0.0}
    for name, quality in _weighted(accept_language):
        primary = name.partition("-")[0]
        language = {"zh": Language.CHINESE, "en": Language.ENGLISH}.get(primary)
        if language is not None:
            best[language] = max(best[language], quality)
    is_chinese = best[Language.CHINESE] > best[Language.ENGLISH]
    return Language.CHINESE if is_chinese else Language.ENGLISH


def names_preferred(header: str) -> list[str]:
    """Return the names that a header lists before its first wildcard, best first."""
    ranked = sorted(_weighted(header), key=lambda each: -each[1])
    names: list[str] = []
    for name, quality in ranked[:_NAMES_MAX]:
        if "*" in name or not quality:
            break
        names.append(name)
    return names


def _is_other(name: str) -> bool:
    return name not in (*_HTML, _JSON) and not name.endswith("/*")


def _quality(ranges: dict[str, float], name: str) -> float:
    for each in (name, name.partition("/")[0] + "/*", "*/*"):
        if each in ranges:
            return ranges[each]
    return 0.0


def _weighted(header: str) -> Iterator[tuple[str, float]]:
    """Yield what a header lists, in lower case, with its quality from 0 to 1."""
    for item in header.split(","):
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        if name:
            yield name, _quality_of(parameters)


def _quality_of(parameters: list[str]) -> float:
    for each in parameters:
        key, _, text = each.partition("=")
        if key.strip() == "q":
            try:
                quality = float(text)
            except ValueError:
                return 0.0
            return quality if 0 <= quality <= 1 else 0.0
    return 1.0
