"""What a row says that is to be made from a template, before anybody looks at the template.

    {"handle": "88.118.5/870101.000042", "template": "auto-part", "version": 2,
     "attributes": {"serial": "000042", "made": "2026-11-21"},
     "values": [ordinary values]}

"version" (else the last one) and "values" may be missing, as may "operation", create or replace.
"template" is a code, or one with its prefix: 88.118.5:auto-part. An attribute that is null counts
as one not given. With "isText" they are the text of cells, and "1.5" is a number. `pack_request`
makes of it all what a stream hands on and `registry.bulk` reads:

    msgpack [template, version or 0, {name: content, ...}, wire octets of the other values, count
    included, whether contents are the text of cells, whether it may replace what is there]
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgpack

from protocol.errors import ProtocolError
from protocol.json_fields import describe, expect_list
from protocol.json_forms import value_from_json
from protocol.value import HandleValue, encode_values, read_values
from protocol.wire import Reader
from registry.schema import VALUES_MAX
from registry.template_documents import ATTRIBUTES_MAX
from registry.templates import FIRST_INDEX, TEMPLATE_INDEX, VERSION_INDEX, VERSIONS_MAX

NAME_CHARACTERS_MAX = 512  # of a template with its prefix
ITEMS_MAX = 10_000  # in all lists of a row together; each list is bounded by its template
# Of a row, beside those that every row has.
TEMPLATE_MEMBERS = ("template", "version", "attributes", "isText")
FAULTS_OCTETS_MAX = 960  # of what is said about one row; `streams.WORDS_OCTETS_MAX` are kept
DEPTH_MAX = 32  # of documents; ours, those of use have three
_U64_BITS = 64
_RESERVED = frozenset({TEMPLATE_INDEX, VERSION_INDEX})


class Request(NamedTuple):
    """An identifier to be made from a template."""

    template: str
    version: int = 0
    attributes: Mapping[str, Any] = {}
    others: bytes = bytes(4)
    is_text: bool = False
    replaces: bool = False

    def other_values(self) -> tuple[HandleValue, ...]:
        """Return the values beside the template's. Raises: DecodeError: not what was packed."""
        return read_values(Reader(self.others))


def read_request(form: Mapping[str, Any], faults: list[str]) -> Request:
    """Return what an object asks for; everything wrong in its form is added to `faults`."""
    name = read_name(form.get("template"), faults)
    version = read_version(form.get("version"), faults)
    attributes = _read_attributes(form.get("attributes"), faults)
    others = encode_values(_read_others(form.get("values"), faults))
    is_text = form.get("isText", False)
    if not isinstance(is_text, bool):
        faults.append(f"isText is {describe(is_text)}: write true or false")
    return Request(name, version, attributes, others, is_text)


def read_name(item: Any, faults: list[str]) -> str:
    """Return the name of a template."""
    if isinstance(item, str) and 0 < len(item) <= NAME_CHARACTERS_MAX and item.isprintable():
        return item
    faults.append(f"template is {describe(item)}: write a code such as auto-part")
    return ""


def read_version(item: Any, faults: list[str]) -> int:
    """Return a version, 0 for none."""
    if item is None:
        return 0
    if isinstance(item, int) and not isinstance(item, bool) and 1 <= item <= VERSIONS_MAX:
        return item
    faults.append(f"version is {describe(item)}: write a number from 1 to {VERSIONS_MAX:,}")
    return 0


def _read_attributes(item: Any, faults: list[str]) -> dict[str, Any]:
    if not isinstance(item, Mapping):
        words = "is missing" if item is None else f"is {describe(item)}"
        faults.append(f'attributes {words}: write an object such as {{"serial": "000042"}}')
        return {}
    if len(item) > ATTRIBUTES_MAX:
        faults.append(f"{len(item):,} attributes given, a template has at most {ATTRIBUTES_MAX}")
        return {}
    attributes: dict[str, Any] = {}
    items = 0
    for name, content in item.items():
        if not isinstance(name, str):
            faults.append(f"the name of an attribute is text, not {describe(name)}")
            continue
        if content is None:
            continue
        items += len(content) if isinstance(content, list) else 0
        fault = _find_fault(content) if items <= ITEMS_MAX else "lists are too long"
        if fault:
            faults.append(f"attribute {name[:80]!r}: {fault}")
        else:
            attributes[name] = content
    return attributes


def _find_fault(content: Any) -> str:
    """Return why something cannot be handed on at all; empty: it can."""
    for each in content if isinstance(content, list) else (content,):
        if not isinstance(each, str | int | float | bool):
            return f"{describe(each)} is neither text, number, true, false nor a list of these"
        if isinstance(each, int) and each.bit_length() >= _U64_BITS:
            return f"{describe(each)} has more than 64 bits"
        if isinstance(each, str) and not _is_utf8(each):
            return "its text is not UTF-8"
    return ""


def find_unsendable(document: Any, depth: int = DEPTH_MAX) -> str:
    """Return what in a document of JSON msgpack cannot hold; empty: nothing."""
    if not depth:
        return "the document is nested too deep"
    if isinstance(document, dict | list):
        parts = [*document, *document.values()] if isinstance(document, dict) else document
        return next((fault for each in parts if (fault := find_unsendable(each, depth - 1))), "")
    if isinstance(document, int) and document.bit_length() >= _U64_BITS:
        return f"{describe(document)} has more than 64 bits"
    if isinstance(document, str) and not _is_utf8(document):
        return f"{describe(document)} is not UTF-8"
    return ""


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_others(item: Any, faults: list[str]) -> list[HandleValue]:
    values: list[HandleValue] = []
    try:
        items = expect_list([] if item is None else item, "values")
    except ProtocolError as error:
        faults.append(str(error))
        return []
    if len(items) > VALUES_MAX:
        faults.append(f"{len(items)} values given, a handle has at most {VALUES_MAX}")
        return []
    for position, each in enumerate(items):
        try:
            values.append(value_from_json(each, where=f"values[{position}]"))
        except ProtocolError as error:
            faults.append(str(error))
    return values


def find_faults(values: Sequence[HandleValue]) -> list[str]:
    """Return what keeps values from standing beside those of a template."""
    return [
        f"value at index {value.index}: {TEMPLATE_INDEX}, {VERSION_INDEX} and all from "
        f"{FIRST_INDEX} on are the template's"
        for value in values
        if value.index in _RESERVED or value.index >= FIRST_INDEX
    ]


def pack_request(request: Request) -> bytes:
    """Return the octets of a request."""
    octets: bytes = msgpack.packb(request)
    return octets


def unpack_request(octets: bytes) -> Request:
    """Take the octets of a request apart. Raises: ValueError: they are none."""
    try:
        request = Request(*msgpack.unpackb(octets))
        if not (
            isinstance(request.template, str)
            and isinstance(request.version, int)
            and isinstance(request.attributes, dict)
            and isinstance(request.others, bytes)
        ):
            raise ValueError("members of other types")
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise ValueError(f"this asks for nothing from a template: {error}") from None
    return request


def join_faults(faults: Sequence[str]) -> str:
    """Return faults as one text; those beyond what is kept of a verdict are only counted."""
    said: list[str] = []
    room = FAULTS_OCTETS_MAX
    for fault in faults:
        octets = len(fault.encode("utf-8", "backslashreplace")) + 2
        if octets > room:
            break
        said.append(fault)
        room -= octets
    if len(said) < len(faults):
        said.append(f"and {len(faults) - len(said)} more faults")
    return "; ".join(said)
