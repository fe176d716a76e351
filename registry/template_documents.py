"""Templates as people write them down, and everything that is wrong with one at once.

    {"prefix": "88.118.5", "code": "auto-part", "version": 2, "title": "Parts of cars",
     "industry": "C3670", "activeCarrier": false,
     "attributes": [
        {"name": "serial", "type": "string", "alias": "序列号", "required": true, "length": 20},
        {"name": "grade", "type": "enumeration", "values": ["A", "B", "C"]},
        {"name": "plants", "type": "list", "itemType": "string", "length": 8}]}

"version" may be missing: the one after the last. "industry" is a code of GB/T 4754: the letter of
the section, perhaps with the two digits of the division, three of the group or four of the class.
"length" is that of a text or number in characters, of a list in items.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from protocol.errors import InvalidHandleError
from protocol.handle import PREFIX_HANDLE_START, check_handle, fold_handle, to_text
from protocol.json_fields import describe
from protocol.json_forms import time_to_json
from registry.attribute_types import LENGTH_MAX, LIST_ITEMS_MAX, MEASURED, Attribute, AttributeType
from registry.checks import CHECKED_TYPES
from registry.outcomes import identity_text
from registry.prefixes import PREFIX_OCTETS_MAX
from registry.templates import (
    CODE,
    TEMPLATE_TYPE,
    VERSION_TYPE,
    VERSIONS_MAX,
    Registered,
    Template,
    Withdrawal,
)

ATTRIBUTES_MAX = 256
ENUMERATION_VALUES_MAX = 1_000
VALUE_CHARACTERS_MAX = 256  # of one value of an enumeration
TITLE_CHARACTERS_MAX = 256  # also of an alias

_MEMBERS = ("prefix", "code", "version", "title", "industry", "activeCarrier", "attributes")
_ATTRIBUTE_MEMBERS = ("name", "type", "alias", "required", "length", "values", "itemType")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}", re.ASCII)
_INDUSTRY = re.compile(r"[A-T]([0-9]{2,4})?", re.ASCII)
_TAKEN = frozenset({TEMPLATE_TYPE, VERSION_TYPE} | CHECKED_TYPES)
_ITEM_TYPES = [each for each in AttributeType if each is not AttributeType.LIST]


class Parsed(NamedTuple):
    """A template, its version 0 where the document says none, or what is wrong with it."""

    template: Template | None
    faults: list[str]


def parse_template(document: Any) -> Parsed:
    """Return the template that a document describes, or all of its faults."""
    if not isinstance(document, Mapping):
        return Parsed(None, [f"a template is an object, not {describe(document)}"])
    faults = _unknown("template", document, _MEMBERS)
    prefix = _parse_prefix(document.get("prefix"), faults)
    code = document.get("code")
    if not isinstance(code, str) or not CODE.fullmatch(code):
        faults.append(
            f"code is {describe(code)}: write 1 to 64 of a-z, 0-9, dot, dash and underscore, such "
            "as auto-part"
        )
    version = document.get("version")
    if version is not None and not _is_within(version, 1, VERSIONS_MAX):
        faults.append(f"version is {describe(version)}: write a number from 1 to {VERSIONS_MAX:,}")
    title = _parse_title("title", document.get("title", ""), faults)
    industry = document.get("industry")
    if not isinstance(industry, str) or not _INDUSTRY.fullmatch(industry):
        faults.append(
            f"industry is {describe(industry)}: write a code of GB/T 4754 such as C, C36, C367 or "
            "C3670"
        )
    active = _parse_flag("activeCarrier", document.get("activeCarrier", False), faults)
    attributes = _parse_attributes(document.get("attributes"), faults)
    if faults:
        return Parsed(None, faults)
    template = Template(
        prefix, str(code), version or 0, title, str(industry), active, tuple(attributes)
    )
    return Parsed(template, [])


def template_form(registered: Registered, withdrawal: Withdrawal | None) -> dict[str, Any]:
    """Return a version as it is shown, its own document with what became of it."""
    template, time_s, actor = registered
    form: dict[str, Any] = {
        "prefix": to_text(template.prefix),
        "code": template.code,
        "version": template.version,
        "title": template.title,
        "industry": template.industry,
        "activeCarrier": template.active_carrier,
        "attributes": [_attribute_form(each) for each in template.attributes],
        "registered": time_to_json(time_s),
        "by": identity_text(actor),
    }
    if withdrawal is not None:
        form["withdrawn"] = {
            "time": time_to_json(withdrawal.time_s),
            "by": identity_text(withdrawal.actor),
            "reason": withdrawal.reason,
        }
    return form


def _attribute_form(attribute: Attribute) -> dict[str, Any]:
    form: dict[str, Any] = {
        "name": attribute.name,
        "type": attribute.type.value,
        "alias": attribute.alias,
        "required": attribute.required,
    }
    if attribute.length:
        form["length"] = attribute.length
    if attribute.values:
        form["values"] = list(attribute.values)
    if attribute.item is not None:
        form["itemType"] = attribute.item.value
    return form


def _parse_prefix(item: Any, faults: list[str]) -> bytes:
    """Return a prefix without 0.NA/, folded."""
    octets = item.encode("utf-8", "surrogateescape") if isinstance(item, str) else b""
    if octets.upper().startswith(PREFIX_HANDLE_START):
        octets = octets[len(PREFIX_HANDLE_START) :]
    if not 0 < len(octets) <= PREFIX_OCTETS_MAX or b"/" in octets or b"\0" in octets:
        faults.append(f"prefix is {describe(item)}: write one such as 88.118.5")
        return b""
    try:
        check_handle(octets)
    except InvalidHandleError as error:
        faults.append(f"prefix is {describe(item)}: {error}")
    return fold_handle(PREFIX_HANDLE_START + octets)[len(PREFIX_HANDLE_START) :]


def _parse_attributes(items: Any, faults: list[str]) -> list[Attribute]:
    if not isinstance(items, list | tuple) or not 0 < len(items) <= ATTRIBUTES_MAX:
        given = len(items) if isinstance(items, list | tuple) else describe(items)
        faults.append(f"attributes: {given} given, write a list of 1 to {ATTRIBUTES_MAX}")
        return []
    attributes: list[Attribute] = []
    seen: set[str] = set()
    for position, item in enumerate(items):
        where = f"attributes[{position}]"
        if not isinstance(item, Mapping):
            faults.append(f"{where} is an object, not {describe(item)}")
            continue
        attribute = _parse_attribute(where, item, faults)
        if attribute is not None:
            if attribute.name.lower() in seen:  # types are compared without case
                faults.append(f"{where}: there is a {attribute.name!r} already, case aside")
            seen.add(attribute.name.lower())
            attributes.append(attribute)
    return attributes


def _parse_attribute(where: str, item: Mapping[str, Any], faults: list[str]) -> Attribute | None:
    before = len(faults)
    faults += _unknown(where, item, _ATTRIBUTE_MEMBERS)
    name = item.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name) or _is_taken(name):
        faults.append(
            f"{where}.name is {describe(name)}: write a letter, then up to 63 letters, digits, "
            "dashes and underscores; not HS_..., TEMPLATE or TEMPLATE_VERSION"
        )
    type_ = _parse_type(f"{where}.type", item.get("type"), list(AttributeType), faults)
    alias = _parse_title(f"{where}.alias", item.get("alias", ""), faults)
    required = _parse_flag(f"{where}.required", item.get("required", False), faults)
    item_type = None
    if type_ is AttributeType.LIST:
        item_type = _parse_type(f"{where}.itemType", item.get("itemType"), _ITEM_TYPES, faults)
    elif "itemType" in item:
        faults.append(f"{where}.itemType is for lists only")
    length = _parse_length(where, type_, item.get("length"), faults)
    listed = AttributeType.ENUMERATION in (type_, item_type)
    values = _parse_values(where, item.get("values"), listed, faults)
    if len(faults) > before or type_ is None:
        return None
    return Attribute(str(name), type_, alias, required, length, values, item_type)


def _is_taken(name: str) -> bool:
    return name.upper().startswith("HS_") or name.upper().encode() in _TAKEN


def _parse_type(
    where: str, item: Any, known: Collection[AttributeType], faults: list[str]
) -> AttributeType | None:
    name = item.lower() if isinstance(item, str) else item  # "URL" is how people write it
    found = next((each for each in known if each.value == name), None)
    if found is None:
        faults.append(f"{where} is {describe(item)}: write one of {', '.join(known)}")
    return found


def _parse_length(where: str, type_: AttributeType | None, item: Any, faults: list[str]) -> int:
    if item is None:
        return 0
    most = LIST_ITEMS_MAX if type_ is AttributeType.LIST else LENGTH_MAX
    if type_ is not None and type_ not in MEASURED:
        faults.append(f"{where}.length: a {type_} has none")
    elif not _is_within(item, 1, most):
        faults.append(f"{where}.length is {describe(item)}: write a number from 1 to {most:,}")
    else:
        return int(item)
    return 0


def _parse_values(where: str, items: Any, listed: bool, faults: list[str]) -> tuple[str, ...]:
    if not listed:
        if items:
            faults.append(f"{where}.values is for enumerations only")
        return ()
    if not isinstance(items, list | tuple) or not 0 < len(items) <= ENUMERATION_VALUES_MAX:
        faults.append(f"{where}.values: write a list of 1 to {ENUMERATION_VALUES_MAX:,} texts")
        return ()
    for each in items:
        if not isinstance(each, str) or not 0 < len(each) <= VALUE_CHARACTERS_MAX:
            faults.append(
                f"{where}.values: {describe(each)} is no text of 1 to {VALUE_CHARACTERS_MAX} "
                "characters"
            )
            return ()
    if len(set(items)) < len(items):
        faults.append(f"{where}.values: one is given twice")
    return tuple(items)


def _parse_title(where: str, item: Any, faults: list[str]) -> str:
    if isinstance(item, str) and len(item) <= TITLE_CHARACTERS_MAX:
        return item
    faults.append(f"{where} is a text of at most {TITLE_CHARACTERS_MAX} characters")
    return ""


def _parse_flag(where: str, item: Any, faults: list[str]) -> bool:
    if not isinstance(item, bool):
        faults.append(f"{where} is {describe(item)}: write true or false")
    return item is True


def _is_within(item: Any, low: int, high: int) -> bool:
    return isinstance(item, int) and not isinstance(item, bool) and low <= item <= high


def _unknown(where: str, item: Mapping[Any, Any], known: Collection[str]) -> list[str]:
    unknown = [each for each in item if each not in known]
    if not unknown:
        return []
    named = ", ".join(describe(each) for each in unknown[:10])
    return [f"{where} has members that are not known: {named}; known are {', '.join(known)}"]
