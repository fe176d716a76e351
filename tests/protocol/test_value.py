import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.value import HandleValue, matches_type, select_values

VALUES = (
    HandleValue(2, b"URL", b"x"),
    HandleValue(1, b"HS_SITE", b"y"),
    HandleValue(3, b"HS_SITE.6", b"z", permission=0b1100),
)


@pytest.mark.parametrize(
    ("asked", "type_", "selected"),
    [
        (b"url", b"URL", True),
        (b"URL", b"URL2", False),
        (b"URL.", b"url", True),
        (b"URL.", b"URL.x", True),
        (b"URL.", b"URLx", False),
        (b"HS_SITE", b"HS_SITE.6", False),
    ],
)
def test_types(asked: bytes, type_: bytes, selected: bool) -> None:
    assert matches_type(asked, type_) is selected


@pytest.mark.parametrize(
    ("indexes", "types", "selected"),
    [
        ((), (), [2, 1, 3]),
        ((3, 9), (), [3]),
        ((), (b"hs_site.",), [1, 3]),
        ((2,), (b"HS_SITE",), [2, 1]),
        ((), (b"EMAIL",), []),
    ],
)
def test_selection_keeps_the_stored_order(
    indexes: tuple[int, ...], types: tuple[bytes, ...], selected: list[int]
) -> None:
    assert [value.index for value in select_values(VALUES, indexes, types)] == selected


@given(
    st.lists(st.sampled_from([b"", b".", b"a", b"A", b"a.", b"a.b", b"A.B.", b"b"]), max_size=5),
    st.lists(st.sampled_from([b"", b".", b"a", b"a.", b"A.b", b"a.b.", b"b"]), min_size=1),
)
def test_selection_is_by_the_rule_of_types(stored: list[bytes], asked: list[bytes]) -> None:
    values = tuple(HandleValue(index, type_, b"") for index, type_ in enumerate(stored, 1))
    assert select_values(values, (), asked) == tuple(
        value for value in values if any(matches_type(each, value.type) for each in asked)
    )


def test_public_read() -> None:
    assert [value.is_public for value in VALUES] == [True, True, False]
