import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.value import Reference
from registry.errors import RecordError
from registry.marks import Mark, State, decode_marked, encode_marked, is_marked

MARKS = st.builds(
    Mark,
    st.sampled_from(State),
    st.integers(0, 2**40),
    st.builds(Reference, st.binary(max_size=30), st.integers(-1, 2**31 - 1)),
    st.text(max_size=200),
)
ROW = b"\x10\0\0\0\0"


@given(MARKS, st.sampled_from((b"", ROW)))
def test_a_marked_row_is_read_as_it_was_written(mark: Mark, row: bytes) -> None:
    octets = encode_marked(mark, row)
    assert is_marked(octets)
    assert decode_marked(octets) == (mark, row)


def test_a_record_is_not_marked() -> None:
    assert not is_marked(ROW)
    assert not is_marked(b"")


@pytest.mark.parametrize("length", range(1, 12))
def test_a_mark_cut_short_is_refused(length: int) -> None:
    octets = encode_marked(Mark(State.FROZEN, 1, Reference(b"0.NA/88", 300), "why"), ROW)
    with pytest.raises(RecordError):
        decode_marked(octets[:length])
