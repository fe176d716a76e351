"""Every type of attribute: what it takes, what it reads as, what it refuses and in which words."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.attribute_types import Attribute, AttributeType, UnfitError, keep, parse, read

T = AttributeType
GRADE = Attribute("grade", T.ENUMERATION, values=("A", "B", "特"))
NUMBERS = Attribute("sizes", T.LIST, item=T.NUMBER, length=3)


def of(type_: AttributeType, **more: Any) -> Attribute:
    return Attribute("it", type_, **more)


@pytest.mark.parametrize(
    ("attribute", "value", "text"),
    [
        (of(T.STRING), "泵 \n", "泵 \n"),
        (of(T.STRING, length=2), "泵泵", "泵泵"),
        (of(T.NUMBER), 12, "12"),
        (of(T.NUMBER), -0.5, "-0.5"),
        (of(T.NUMBER), 1.0, "1"),
        (of(T.NUMBER), -0.0, "0"),
        (of(T.NUMBER), 1e300, "1e+300"),
        (of(T.NUMBER), 2**63 - 1, "9223372036854775807"),
        (of(T.NUMBER), -(2**63), "-9223372036854775808"),
        (of(T.BOOLEAN), True, "true"),
        (of(T.BOOLEAN), False, "false"),
        (of(T.DATE), "2026-11-21", "2026-11-21"),
        (of(T.DATE), "0001-01-01", "0001-01-01"),
        (of(T.DATE), "9999-12-31", "9999-12-31"),
        (of(T.URL), "https://example.org/a?b#c", "https://example.org/a?b#c"),
        (of(T.IDENTIFIER), "88.118.5/泵", "88.118.5/泵"),
        (GRADE, "特", "特"),
        (NUMBERS, [1, 2.5, 3.0], "[1,2.5,3]"),
        (NUMBERS, [], "[]"),
        (of(T.LIST, item=T.ENUMERATION, values=("A", "B")), ["B", "B"], '["B","B"]'),
        (of(T.LIST, item=T.DATE), ["2026-11-21"], '["2026-11-21"]'),
        (of(T.LIST, item=T.BOOLEAN), [True, False], "[true,false]"),
        (of(T.LIST, item=T.STRING), ['"泵"'], '["\\"泵\\""]'),
    ],
)
def test_what_is_taken_and_what_it_reads_as(attribute: Attribute, value: Any, text: str) -> None:
    kept = keep(attribute, value)
    assert read(attribute, kept) == text
    assert keep(attribute, parse(attribute, text)) == kept


@pytest.mark.parametrize(
    ("attribute", "value", "words"),
    [
        (of(T.STRING), 7, "must be text, not 7"),
        (of(T.STRING), ["a"], "must be text, not an array"),
        (of(T.STRING), "", "is empty"),
        (of(T.STRING, length=2), "abc", "has 3 characters, at most 2"),
        (of(T.STRING), "a" * 65_536, "has 65,536 characters, at most 65,535"),
        (of(T.NUMBER), "12", "must be a number, not '12'"),
        (of(T.NUMBER), True, "must be a number, not True"),
        (of(T.NUMBER), float("nan"), "finite"),
        (of(T.NUMBER), float("inf"), "finite"),
        (of(T.NUMBER), 2**63, "more than 64 bits"),
        (of(T.NUMBER, length=3), 12.25, "at most 3 characters"),
        (of(T.BOOLEAN), 1, "must be true or false, not 1"),
        (of(T.BOOLEAN), "true", "must be true or false"),
        (of(T.DATE), "2026-02-30", "must be a date"),
        (of(T.DATE), "20261121", "must be a date"),
        (of(T.DATE), "2026-W47-6", "must be a date"),
        (of(T.DATE), "\uff12026-11-21", "must be a date"),
        (of(T.DATE), 20261121, "must be a date"),
        (of(T.URL), "example.org/a", "must be a URL"),
        (of(T.URL), "https://", "must be a URL"),
        (of(T.URL), "https://example.org/a b", "must be a URL"),
        (of(T.URL), "https://example.org/a\n", "must be a URL"),
        (of(T.URL), 5, "must be a URL, not 5"),
        (of(T.IDENTIFIER), "no-slash", "must be an identifier"),
        (of(T.IDENTIFIER), "/a", "no prefix"),
        (of(T.IDENTIFIER), "88/" + "a" * 3_000, "2048 octets"),
        (GRADE, "a", "must be one of A, B, 特, not 'a'"),
        (GRADE, 0, "must be one of"),
        (NUMBERS, "1,2", "must be a list"),
        (NUMBERS, {"a": 1}, "must be a list, not an object"),
        (NUMBERS, [1, 2, 3, 4], "has 4 items, at most 3"),
        (NUMBERS, [1, "2"], "item 1: it must be a number, not '2'"),
        (NUMBERS, [[1]], "item 0: it must be a number, not an array"),
    ],
)
def test_what_is_refused(attribute: Attribute, value: Any, words: str) -> None:
    with pytest.raises(UnfitError, match=r"^(?!it )") as raised:
        keep(attribute, value)
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("type_", "text"),
    [(T.NUMBER, "1,5"), (T.NUMBER, "0x10"), (T.NUMBER, "1" * 5_000), (T.BOOLEAN, "yes")],
)
def test_a_cell_of_another_form_is_refused_with_its_text(type_: AttributeType, text: str) -> None:
    attribute = of(type_)
    assert parse(attribute, text) == text
    with pytest.raises(UnfitError, match="not"):
        keep(attribute, parse(attribute, text))


@pytest.mark.parametrize("text", ["[1", "1", "[" * 100_000, '{"a": 1}'])
def test_a_cell_that_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(UnfitError):
        keep(NUMBERS, parse(NUMBERS, text))


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63 - 1))
def test_numbers_that_read_alike_are_kept_alike(number: float) -> None:
    attribute = of(T.NUMBER)
    kept = keep(attribute, number)
    text = read(attribute, kept)
    assert kept == number
    again = keep(attribute, parse(attribute, text))
    assert (again, type(again)) == (kept, type(kept))


@given(st.dates())
def test_every_date_is_kept_in_days(day: date) -> None:
    kept = keep(of(T.DATE), day.isoformat())
    assert kept == (day - date(1970, 1, 1)).days
    assert read(of(T.DATE), kept) == day.isoformat()
