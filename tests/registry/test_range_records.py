from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import RecordError
from registry.range_records import (
    TAIL_OCTETS_MAX,
    Patch,
    RangeRecord,
    decode_range,
    encode_range,
    fill_in,
    holds,
    range_key,
    split_identifier,
    split_key,
)

STEM = b"88.118.5/LOT."
RECORD = RangeRecord(b"000100", b"\0\0\0\1" + b"https://example.org/000000", (Patch(24, 0, 6),))


def is_held(range_: RangeRecord, last: bytes, identifier: bytes) -> bool:
    split = split_identifier(identifier)
    if split is None:
        return False
    stem, tail = split
    return holds(range_key(stem, tail), tail, range_key(STEM, last), encode_range(range_))


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        (b"88.118.5/LOT.000042", (b"88.118.5/LOT.", b"000042")),
        (b"88.118.5/000042", (b"88.118.5/", b"000042")),
        (b"88.118.5/LOT.2026000042", (b"88.118.5/LOT.", b"2026000042")),
        (b"88.118.5/LOT.00004X", (b"88.118.5/LOT.", b"00004X")),
        (b"88.118.5/LOT.", None),
        (b"88.118.5/LOT.XY", None),
        (b"", None),
        (b"88.118.5/" + b"1" * TAIL_OCTETS_MAX, (b"88.118.5/", b"1" * TAIL_OCTETS_MAX)),
        (b"88.118.5/" + b"1" * (TAIL_OCTETS_MAX + 1), None),
        (b"88.118.5/" + b"A" * 500 + b"1", None),
    ],
)
def test_an_identifier_has_one_stem_and_one_tail(
    identifier: bytes, expected: tuple[bytes, bytes] | None
) -> None:
    assert split_identifier(identifier) == expected


def test_a_range_holds_what_is_between_its_first_and_its_last() -> None:
    for tail, expected in (
        (b"000099", False),
        (b"000100", True),
        (b"000150", True),
        (b"000199", True),
        (b"000200", False),
        (b"00150", False),
        (b"00015X", False),
    ):
        last = b"000199"
        found = range_key(STEM, last) >= range_key(STEM, tail) and is_held(
            RECORD, last, STEM + tail
        )
        assert found == expected, tail
    assert not is_held(RECORD, b"000199", b"88.118.5/OTHER.000150")


def test_a_letter_ends_only_identifiers_with_a_check_character() -> None:
    checked = replace(RECORD, checked=True)
    assert is_held(checked, b"000199", STEM + b"00015X")
    assert not is_held(RECORD, b"000199", STEM + b"00015X")


def test_what_differs_is_filled_in() -> None:
    assert fill_in(RECORD, b"000177") == b"\0\0\0\1" + b"https://example.org/000177"


@given(
    st.binary(min_size=1, max_size=TAIL_OCTETS_MAX),
    st.binary(min_size=4, max_size=300),
    st.dictionaries(st.sampled_from(("owner", "state", "check")), st.integers() | st.binary()),
    st.booleans(),
)
def test_a_record_is_read_as_it_was_written(
    first: bytes, public: bytes, details: dict[str, object], checked: bool
) -> None:
    details = {key: value for key, value in details.items() if not isinstance(value, int)}
    range_ = RangeRecord(first, public, (Patch(1, 0, 1),), details, checked)
    assert decode_range(encode_range(range_)) == range_


def test_a_key_is_read_as_it_was_written() -> None:
    assert split_key(range_key(STEM, b"000199")) == (STEM, b"000199")
    with pytest.raises(RecordError, match="damaged"):
        split_key(STEM + b"\0\x07000199")


@pytest.mark.parametrize("length", range(len(encode_range(RECORD)) - 26))
def test_a_record_cut_short_is_refused(length: int) -> None:
    with pytest.raises(RecordError):
        decode_range(encode_range(RECORD)[:length])


def test_a_patch_that_leads_out_is_refused() -> None:
    for patch in (Patch(25, 0, 6), Patch(24, 1, 6)):
        with pytest.raises(RecordError, match="leads out"):
            decode_range(encode_range(replace(RECORD, patches=(patch,))))
