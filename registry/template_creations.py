"""Making identifiers from templates: everything that is wrong with one, or its row and values.

request ──> template found? ──> every attribute of its type, none missing, none unknown?
                 │                      │ one refusal that names them all
                 └── refusal            v
                                 Made: as ordinary values, and as the fields of a row
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from protocol.codes import ResponseCode
from protocol.errors import DecodeError
from protocol.handle import to_text
from protocol.value import HandleValue
from registry.attribute_types import UnfitError, keep, parse, read
from registry.authorization import HS_ADMIN
from registry.checks import CHECKED_TYPES, check_record, check_values
from registry.outcomes import Refusal, refuse
from registry.schema import KEY_OCTETS_MAX, RECORD_OCTETS_MAX
from registry.template_lookup import TemplateError, get_usable
from registry.template_lots import Lots, NewRow
from registry.template_requests import Request, find_faults, join_faults
from registry.template_rows import fields_of, tail_of
from registry.templates import (
    FIRST_INDEX,
    TEMPLATE_INDEX,
    TEMPLATE_TYPE,
    VERSION_INDEX,
    VERSION_TYPE,
    Template,
    Version,
)
from registry.views import View

# What a request of so few octets becomes fits into a record for certain: names, heads and all.
SMALL_OCTETS = RECORD_OCTETS_MAX // 8


class Made(NamedTuple):
    """An identifier as it will be; `kept` has None for every attribute that was not given."""

    version: Version
    kept: Sequence[Any]
    others: Sequence[HandleValue]

    def values(self, time_s: int) -> tuple[HandleValue, ...]:
        """Return all values, with their timestamps."""
        number, template = self.version
        del number
        values = [
            HandleValue(
                each.index, each.type, each.data, each.permission, each.ttl, each.ttl_type, time_s,
                each.references,
            )
            for each in self.others
        ]  # fmt: skip
        naming = (
            (TEMPLATE_INDEX, TEMPLATE_TYPE, template.name),
            (VERSION_INDEX, VERSION_TYPE, str(template.version)),
        )
        given = (
            (FIRST_INDEX + place, attribute.name.encode(), read(attribute, kept))
            for place, (attribute, kept) in enumerate(
                zip(template.attributes, self.kept, strict=True)
            )
            if kept is not None
        )
        values += [
            HandleValue(index, type_, text.encode(), timestamp=time_s)
            for index, type_, text in (*naming, *given)
        ]
        return tuple(values)


class TemplateCreations:
    """Makes the identifiers of one transaction.

    Args:
        view: of the transaction; what is made is stored before the next one is.
        now_s: the time of the transaction.
    """

    def __init__(self, view: View, now_s: int) -> None:
        self._view = view
        self._now_s = now_s
        self._lots = Lots(view.table("templates"))
        self._found: dict[tuple[bytes, str, int], Version] = {}

    def make(self, handle: bytes, request: Request) -> Made | Refusal:
        """Return what a request makes of a handle, or everything that is wrong with it.

        Raises:
            RecordError: the template is stored damaged.
        """
        try:
            version = self._find(handle, request)
            others = request.other_values() if request.others != bytes(4) else ()
        except TemplateError as error:
            return refuse(error.response_code, str(error))
        except DecodeError as error:
            return refuse(ResponseCode.INVALID_VALUE, str(error))
        faults: list[str] = []
        kept = keep_all(version.template, request, faults)
        if others:
            faults += _find_other_faults(others)
        if faults:
            return refuse(ResponseCode.INVALID_VALUE, join_faults(faults))
        made = Made(version, kept, others)
        if _octets(request) > SMALL_OCTETS:
            return check_record(made.values(self._now_s)) or made
        return made

    def row(self, key: bytes, made: Made) -> NewRow | None:
        """Return the compact row to store under a key; None: an ordinary record has to do."""
        if len(key) >= KEY_OCTETS_MAX or any(
            value.type in CHECKED_TYPES or value.type == HS_ADMIN for value in made.others
        ):
            return None
        number, template = made.version
        fields = fields_of(template, made.kept, made.others, self._now_s, tail_of(key))
        return self._lots.add(number, fields)

    def _find(self, handle: bytes, request: Request) -> Version:
        name = (handle.partition(b"/")[0], request.template, request.version)
        found = self._found.get(name)
        if found is None:
            found = get_usable(self._view, handle, request.template, request.version)
            self._found[name] = found
        return found


def is_free(view: View, key: bytes) -> bool:
    """Say whether there is nothing at all under a key: no row, be it a mark, and no range.

    Raises:
        RecordError: the range is damaged.
    """
    return view.stored_row(key) is None and view.find_range(key) is None


def keep_all(template: Template, request: Request, faults: list[str]) -> list[Any]:
    """Return what every attribute is kept as; everything wrong is added to `faults`."""
    given: Mapping[str, Any] = request.attributes
    kept: list[Any] = []
    matched = 0
    for attribute in template.attributes:
        content = given.get(attribute.name)
        if content is None:
            if attribute.required:
                faults.append(f"attribute {attribute.name!r} is missing")
            kept.append(None)
            continue
        matched += 1
        if request.is_text and isinstance(content, str):
            content = parse(attribute, content)
        try:
            kept.append(keep(attribute, content))
        except UnfitError as error:
            faults.append(f"attribute {attribute.name!r} {error}")
            kept.append(None)
    if matched < len(given):
        names = {attribute.name for attribute in template.attributes}
        faults += [
            f"attribute {name[:80]!r} is not one of {template.name} version {template.version}"
            for name in given
            if name not in names
        ]
    return kept


def find_row_faults(template: Template, request: Request) -> list[str]:
    """Return all that is wrong with a request by its template, as far as that tells."""
    faults: list[str] = []
    keep_all(template, request, faults)
    return faults + _find_other_faults(request.other_values())


def _find_other_faults(others: Sequence[HandleValue]) -> list[str]:
    faults = find_faults(others)
    for value in others:
        refusal = check_values((value,))
        faults += [] if refusal is None else [to_text(refusal.message)]
    if len({value.index for value in others}) < len(others):
        faults.append("an index is given twice among the values")
    return faults


def _octets(request: Request) -> int:
    """Return roughly how many octets of content a request has, never too few."""
    octets = len(request.others)
    for content in request.attributes.values():
        for each in content if isinstance(content, list) else (content,):
            octets += 4 * len(each) + 8 if isinstance(each, str) else 32
    return octets
