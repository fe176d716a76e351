"""Which template rows of CSV are made from, and which columns are its attributes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from registry.template_documents import ATTRIBUTES_MAX
from registry.template_requests import read_name
from registry.templates import VERSIONS_MAX
from resolver.rows.errors import RowsError
from resolver.rows.tables import is_utf8

_VERSION = re.compile(r"[1-9][0-9]{0,5}", re.ASCII)


@dataclass(frozen=True, slots=True)
class CsvTemplate:
    """A template as an option names it, and pairs of column and attribute where options do."""

    text: str
    name: str
    version: int
    attributes: tuple[tuple[str, str], ...]


def parse_csv_template(names: Sequence[str], attributes: Sequence[str]) -> CsvTemplate | None:
    """Return what the options template (`auto-part@2`) and attribute (`COLUMN[:NAME]`) say.

    Raises:
        RowsError: one of another form.
    """
    if not names or not names[0]:
        if attributes:
            raise RowsError("the option attribute is for rows made from a template", "add template")
        return None
    text = names[0]
    name, at, version = text.partition("@")
    faults: list[str] = []
    read_name(name, faults)
    if at and not (_VERSION.fullmatch(version) and int(version) <= VERSIONS_MAX):
        faults.append(f"{version[:40]!r} is no version")
    if faults:
        raise RowsError(
            f"{text[:200]!r} names no template", "write CODE or CODE@VERSION, such as auto-part@2"
        )
    pairs = []
    for each in attributes:
        column, colon, attribute = each.partition(":")
        if not column or (colon and not attribute) or not is_utf8(each):
            raise RowsError(
                f"{each[:200]!r} names no attribute", "write attribute=COLUMN or COLUMN:NAME"
            )
        pairs.append((column, attribute or column))
    if len(pairs) > ATTRIBUTES_MAX:
        raise RowsError(f"{len(pairs)} attributes, a template has at most {ATTRIBUTES_MAX}")
    given = [attribute for _, attribute in pairs]
    if len(set(given)) < len(given):
        raise RowsError("the option attribute names one of them twice", "name each once")
    return CsvTemplate(text, name, int(version) if at else 0, tuple(pairs))


def name_attributes(
    template: CsvTemplate | None, header: Sequence[str], used: Sequence[str]
) -> tuple[tuple[str, str], ...]:
    """Return pairs of column and attribute: as options say, else all columns not used otherwise.

    Raises:
        RowsError: more columns than a template has attributes.
    """
    if template is None:
        return ()
    if template.attributes:
        return template.attributes
    left = tuple((column, column) for column in header if column not in used)
    if len(left) > ATTRIBUTES_MAX:
        raise RowsError(
            f"{len(left)} columns are left for attributes, a template has at most {ATTRIBUTES_MAX}",
            "name those that are, with the option attribute",
        )
    return left
