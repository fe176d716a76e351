"""Answers of rows made from templates, whatever is damaged: both twins agree with the readable path
or decline."""

import importlib
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.value import HandleValue, Reference
from registry.attribute_types import Attribute, AttributeType
from registry.template_expansion import expand_rows
from registry.template_rows import encode_lot, encode_row, fields_of, lot_key, tail_of
from registry.templates import Registered, Template, encode_template, number_key
from resolver.fastpath import is_native_built
from tests.properties.test_fastpath_agrees import every_change
from tests.properties.test_templates_agree import ask
from tests.registry.builders import ADMIN, NOW_S, hidden, url
from tests.resolver.two_paths import Given, Paths, make_paths, renewed

KEY = b"88.118/LOT.000150"
HOMED = frozenset({b"0.NA/88.118"})
LOT, VERSION = 300, 1
TEXTS = (Attribute("serial", AttributeType.STRING), Attribute("page", AttributeType.URL))
TYPED = (Attribute("made", AttributeType.DATE), *TEXTS)
NOTED = HandleValue(7, b"NOTE", b"of 000150", ttl=5, references=(Reference(b"88/a", 1),))
Differences = list[Any]

native = pytest.mark.skipif(not is_native_built(), reason="the native batch was not built here")


def template_of(*attributes: Attribute, code: str = "part") -> Template:
    return Template(b"88.118", code, 2, "Parts", "C3670", False, attributes)


def entry(template: Template) -> bytes:
    return encode_template(Registered(template, NOW_S, ADMIN))


def lot_of(template: Template, kept: list[Any], *others: HandleValue) -> bytes:
    return encode_lot(VERSION, fields_of(template, kept, others, NOW_S, tail_of(KEY)))


def holding(row: bytes, lot: bytes, template: bytes, key: bytes = KEY) -> Paths:
    entries = {lot_key(LOT): lot, number_key(VERSION): template}
    return make_paths(Given({key: row}, HOMED, templates=entries))


PAGE = "https://example.org/000150?of=000150"
PLAIN = template_of(*TEXTS)
PLAIN_LOT = lot_of(PLAIN, ["000150", PAGE])
TYPED_LOT = lot_of(template_of(*TYPED), [20_778, "SN-000150", PAGE], url(1), NOTED)
FORMS = {
    "texts": (PLAIN_LOT, PLAIN),
    "typed, other values": (TYPED_LOT, template_of(*TYPED)),
}
DIFFERENCES: list[Differences] = [
    [],
    [0, NOW_S + 7],
    [2, "000150x"],
    [0, NOW_S + 7, 2, ["SN-", "-", ""], 3, None],
]


@pytest.mark.parametrize("differences", DIFFERENCES)
@pytest.mark.parametrize("form", FORMS)
def test_of_every_change_of_a_row(form: str, differences: Differences) -> None:
    lot, template = FORMS[form]
    if form != "texts":
        differences = [each + 1 if each in (2, 3) else each for each in differences]
    row = encode_row(LOT, differences)
    paths = holding(row, lot, entry(template))
    assert paths.check([ask(KEY)]) == 1
    rows = cast("dict[bytes, bytes]", paths.given.rows)
    for rows[KEY] in every_change(row):
        paths.check([ask(KEY)])


@pytest.mark.parametrize("form", FORMS)
def test_of_every_change_of_a_lot(form: str) -> None:
    lot, template = FORMS[form]
    paths = holding(encode_row(LOT, []), lot, entry(template))
    assert check_changes(paths, lot_key(LOT), lot)  # another text is as good


def test_of_every_change_of_a_template() -> None:
    octets = entry(PLAIN)
    paths = holding(encode_row(LOT, [2, "other"]), PLAIN_LOT, octets)
    assert check_changes(paths, number_key(VERSION), octets)


def check_changes(paths: Paths, key: bytes, octets: bytes) -> int:
    """Ask with every change of an entry of `templates`; return how many were answered."""
    entries = cast("dict[bytes, bytes]", paths.given.templates)
    answered = 0
    for entries[key] in every_change(octets):
        answered += renewed(paths).check([ask(KEY)])
    return answered


@pytest.mark.parametrize(
    "differences",
    [
        [2, ["a"]],
        [2, []],
        [2, b"octets"],
        [2, ["a", 5]],
        [2, 5],
        [2, "中文" * 30],
        [2, "x" * 300],
        [2, "x" * 40_000],
        [2, ["", "x" * 30_000, ""]],
        [3, "a", 2, "b"],
        [2, "a", 2, "b"],
        [9, "a"],
        [1, []],
        [1, [[1, b"URL", b"u", 14, 86_400, 0, []]]],
        [1, [[1, b"URL", b"u", 0, 86_400, 0, []]]],
        [0, -5],
        [0, 1 << 31],
        [0, 1 << 63],
        [2],
    ],
)
def test_of_every_kind_of_difference(differences: Differences) -> None:
    for lot, template in FORMS.values():
        holding(encode_row(LOT, differences), lot, entry(template)).check([ask(KEY)])


def test_a_lot_that_not_everybody_may_read_is_not_answered_without_public_only() -> None:
    lot = lot_of(PLAIN, ["000150", PAGE], url(), hidden(5))
    for differences in DIFFERENCES:
        assert holding(encode_row(LOT, differences), lot, entry(PLAIN)).check([ask(KEY)]) == 1


@given(st.binary(max_size=24), st.booleans())
def test_of_any_octets_of_a_text(octets: bytes, in_lot: bool) -> None:
    marked = "\x00" * len(octets)
    kept, differences = (["000150", marked], []) if in_lot else (["a", "b"], [3, marked])
    lot, row = lot_of(PLAIN, kept), encode_row(LOT, differences)
    lot, row = (each.replace(marked.encode(), octets, 1) if octets else each for each in (lot, row))
    holding(row, lot, entry(PLAIN)).check([ask(KEY)])


TAILS = [
    b"1", b"12", b"123", b"1" * 64, b"1" * 65, b"x12", b"xy1", b"-ab", b"-abc", b"_abc", b":a.bcd",
    b"a" * 64, b"a" * 65, b".12", b"/123", b"\xc3\xa9\xc3\xa9", b"abc123", b"123X", b"",
]  # fmt: skip


@pytest.mark.parametrize("tail", TAILS)
def test_of_every_form_of_a_tail(tail: bytes) -> None:
    for before in (b"88.118/", b"88.118/a.", b"88.118/a"):
        key = (before + tail).upper()
        paths = holding(encode_row(LOT, []), PLAIN_LOT, entry(PLAIN), key)
        assert paths.check([ask(key)]) == 1


class Counting(dict[bytes, bytes]):
    """Entries of `templates`, and how often they were asked for."""

    asked = 0

    def get(self, key: bytes, default: Any = None) -> Any:
        self.asked += 1
        return super().get(key, default)


def lots_of(count: int, template: Template, text: str, *, apart: int = 1) -> Counting:
    entries = Counting({number_key(VERSION): entry(template)})
    for number in range(count):
        lot = lot_of(template, [f"{number}", text])
        entries[lot_key(number * apart)] = lot
    return entries


def native_batch(entries: Counting, rows: dict[bytes, bytes]) -> Paths:
    return make_paths(Given(rows, HOMED, templates=entries))


@native
def test_rows_of_a_known_lot_are_left_as_they_are_and_the_store_is_asked_once() -> None:
    known = importlib.import_module("resolver._batch").KnownLots()
    entries = lots_of(3, PLAIN, PAGE)
    keys = [b"88.118/LOT.%06d" % number for number in range(6)]
    rows = [encode_row(number % 3, DIFFERENCES[number % 4]) for number in range(6)]
    given = list(rows)
    for _ in range(2):
        known.expand_rows(entries.get, keys, given)
        assert given == rows
    assert entries.asked == 2 * 3
    others = [encode_row(1, [1, [[1, b"URL", b"u", 14, 9, 0, []]]]), None, b"\x10row", b"\x30"]
    expected, found = list(others), list(others)
    expand_rows(entries.get, keys[:4], expected)
    known.expand_rows(entries.get, keys[:4], found)
    assert found == expected
    assert found[0] != others[0]


@native
@pytest.mark.parametrize(("count", "octets", "apart"), [(1_700, 16_000, 1), (12, 10, 32_768)])
def test_more_lots_than_are_kept_are_answered_all_the_same(
    count: int, octets: int, apart: int
) -> None:
    entries = lots_of(count, PLAIN, "x" * octets, apart=apart)
    keys = [b"88.118/LOT.%06d" % number for number in range(count)]
    rows = {key: encode_row(number * apart, []) for number, key in enumerate(keys)}
    paths = native_batch(entries, rows)
    batch = 8 if octets > 10 else 64  # a batch has room for so many answers
    for _ in range(2):
        for start in range(0, count, batch):
            asked = [ask(key) for key in keys[start : start + batch]]
            assert paths.check(asked) == len(asked)


@native
def test_more_templates_than_are_kept_are_answered_all_the_same() -> None:
    count = 1_100
    entries = Counting()
    for number in range(count):
        template = template_of(*TEXTS, code=f"part-{number}")
        entries[number_key(number)] = entry(template)
        fields = fields_of(template, [f"{number}", None], (), NOW_S, b"")
        entries[lot_key(number)] = encode_lot(number, fields)
    keys = [b"88.118/LOT.%06d" % number for number in range(count)]
    rows = {key: encode_row(number, []) for number, key in enumerate(keys)}
    paths = native_batch(entries, rows)
    answered = 0
    for start in (*range(0, count, 64), *range(0, count, 64)):
        answered += paths.check([ask(key) for key in keys[start : start + 64]])
    assert answered == 2 * count
