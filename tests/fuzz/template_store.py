"""Templates, lots and rows made from them, whole and damaged, for `fuzz_fastpath`."""

import random
from collections.abc import Callable
from typing import Any

from protocol.value import HandleValue, Reference
from registry.attribute_types import Attribute, AttributeType
from registry.template_rows import encode_lot, encode_row, fields_of, lot_key, tail_of
from registry.templates import Registered, Template, encode_template, number_key

TIME_S = 1_795_000_000
SAMPLE_KEY = b"88.118/LOT.000150"
LOTS = range(1, 9)  # of which the last one is not there

Mutate = Callable[[bytes, random.Random], bytes]

_TYPES = AttributeType
_TEMPLATES = {
    1: (Attribute("serial", _TYPES.STRING), Attribute("page", _TYPES.URL)),
    2: (
        Attribute("made", _TYPES.DATE),
        Attribute("名", _TYPES.STRING),
        Attribute("grade", _TYPES.ENUMERATION, values=("A", "B")),
        Attribute("weight", _TYPES.NUMBER),
        Attribute("plants", _TYPES.LIST, item=_TYPES.STRING),
        Attribute("maker", _TYPES.IDENTIFIER),
    ),
}
_OTHER = HandleValue(1, b"URL", b"https://example.org/000150", references=(Reference(b"88/a", 1),))
_HIDDEN = HandleValue(2, b"NOTE", b"secret", permission=0)
_KEPT: dict[int, list[list[Any]]] = {
    1: [["000150", "https://example.org/000150/000150"], ["same", None], ["一", "x" * 9_000]],
    2: [
        [20_778, "SN-000150", 1, 12.5, ["a", "b"], "88.118/M"],
        [None, "SN", None, None, None, None],
    ],
}


def make_entries(choose: random.Random, mutate: Mutate) -> dict[bytes, bytes]:
    """Return what a database `templates` holds; half of them hold something damaged."""
    found = {}
    for number, attributes in _TEMPLATES.items():
        template = Template(b"88.118", "part", number, "Parts", "C3670", False, attributes)
        registered = Registered(template, TIME_S, Reference(b"0.NA/88.118", 300))
        found[number_key(number)] = encode_template(registered)
    for lot in LOTS[:-1]:
        number = choose.choice((1, 1, 2))
        others = choose.choice(((), (), (_OTHER,), (_OTHER, _HIDDEN)))
        fields = _fields(choose, number, others)
        found[lot_key(lot)] = encode_lot(number, fields)
    if choose.random() < 0.5:
        for key in choose.sample(sorted(found), 2):
            found[key] = mutate(found[key], choose)
    return found


def _fields(choose: random.Random, number: int, others: tuple[HandleValue, ...]) -> list[Any]:
    template = Template(b"", "", 1, "", "", False, _TEMPLATES[number])
    kept = choose.choice(_KEPT[number])
    return fields_of(template, kept, others, TIME_S, tail_of(SAMPLE_KEY))


def make_template_row(choose: random.Random) -> bytes:
    """Return a row of one of the lots; what it differs in need not be of its template."""
    number = choose.choice((1, 2))
    others = choose.choice(((), (_OTHER,), (_HIDDEN,)))
    fields = enumerate(_fields(choose, number, others))
    differences = []
    for field, content in fields:
        if choose.random() < (0.05 if field == 1 else 0.2):
            differences += [field, choose.choice((content, content, None, ["a", "", "b"], 7))]
    return encode_row(choose.choice(LOTS), differences)
