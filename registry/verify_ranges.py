"""Whether the ranges of a store are whole."""

import struct
from collections.abc import Callable

from protocol.errors import ProtocolError
from protocol.handle import to_text
from protocol.value import read_values
from protocol.wire import Reader
from registry.errors import RangeError, RecordError
from registry.marks import is_marked
from registry.range_batches import read_plain_range
from registry.range_documents import Range, read_range
from registry.range_making import Fold
from registry.range_records import (
    PATCH,
    STEM_OCTETS_MAX,
    fill_in,
    range_key,
    split_identifier,
)
from registry.range_shown import read_shown
from registry.range_values import RANGE_TYPE, read_origin
from registry.schema import VALUES_MAX, decode_record
from registry.views import View

_U16 = struct.Struct(">H")
_I32 = struct.Struct(">i")
_VALUE = struct.Struct(">iiBiBi")  # index to permission, octets of the type
_DIGITS = b"0123456789"

Note = Callable[[str], None]


def check_ranges(view: View, note: Note) -> int:
    """Note every range that is damaged, not at its key, or over another; return how many there are.

    Args:
        view: the store.
        note: takes a problem in words.
    """
    count = 0
    before = last_before = b""  # of the last good range: its key up to the tail, its last tail
    for key, octets in view.table("ranges").items():
        count += 1
        if not is_surely_whole(view.fold, key, octets):
            try:
                check_range(view, read_range(key, octets))
            except (RecordError, RangeError, ProtocolError, ValueError, AssertionError) as error:
                note(f"range {_name(key)}: {error}")
                continue
        tail = octets[1]
        if key[:-tail] == before and octets[2 : 2 + tail] <= last_before:
            note(f"range {_name(key)}: it has identifiers of the range before it")
        before, last_before = key[:-tail], key[-tail:]
    return count


def is_surely_whole(fold: Fold, key: bytes, octets: bytes) -> bool:
    """Say whether a range is plain and nothing is wrong with it; False: it is to be looked at.

    Of most ranges all can be told by their octets, in a third of the time.
    """
    plain = read_plain_range(key, octets)
    if plain is None:
        return False
    tail = octets[1]
    stem = plain.first[:-tail]
    if stem[-1] in _DIGITS or len(stem) > STEM_OCTETS_MAX or fold(stem) != stem:
        return False
    try:
        return _has_whole_values(octets, 4 + tail, tail)
    except (struct.error, IndexError):
        return False


def _has_whole_values(octets: bytes, at: int, tail: int) -> bool:
    """Say whether patches, and the values that they are in, fill a record to its end.

    Args:
        octets: of the record.
        at: where the patches begin.
        tail: octets of a tail.

    Raises:
        struct.error, IndexError: they do not.
    """
    (count,) = _U16.unpack_from(octets, at)
    begin = at + _U16.size + count * PATCH.size
    patches = [*PATCH.iter_unpack(octets[at + _U16.size : begin]), (len(octets), 0, 0)]
    (values,) = _I32.unpack_from(octets, begin)
    if not 0 < values <= VALUES_MAX:
        return False
    at, done = begin + _I32.size, 0
    start = end = length = 0
    for left in range(values - 1, -1, -1):
        *_, length = _VALUE.unpack_from(octets, at)
        at += _VALUE.size + length
        (octets_of_data,) = _I32.unpack_from(octets, at)
        start, end = at + _I32.size, at + _I32.size + octets_of_data
        (references,) = _I32.unpack_from(octets, end)
        if length < 0 or octets_of_data < 0 or references not in (0, 1):
            return False
        at = end + _I32.size if not references else _end_of_reference(octets, end + _I32.size)
        # Patches lie in the data of values, one behind the other, and none in the last.
        filled = start - begin
        while left and patches[done][0] + begin < end:
            offset, first, size = patches[done]
            if offset < filled or offset + begin + size > end or first + size > tail:
                return False
            filled, done = offset + size, done + 1
    origin, dots, last = octets[start:end].rpartition(b"..")
    return (
        at == len(octets) and done == count
        and octets[start - _I32.size - length : start - _I32.size] == RANGE_TYPE
        and bool(dots) and last.isdigit() and len(last) < len(origin)
    )  # fmt: skip


def _end_of_reference(octets: bytes, at: int) -> int:
    """Return where a reference ends. Raises: struct.error, IndexError."""
    (handle,) = _I32.unpack_from(octets, at)
    if handle < 0:
        raise IndexError("the octets of a handle are fewer than none")
    return at + 2 * _I32.size + int(handle)


def _name(key: bytes) -> str:
    return to_text(key.replace(b"\0", b" "))


def check_range(view: View, range_: Range) -> None:
    """Raise RecordError or ProtocolError unless the range is what its key says."""
    span, first = range_.span, range_.record.first
    last = range_.key[-span.tail_octets :]
    if len(first) != len(last) or span.low > span.high:
        raise RecordError("its first identifier is not before its last")
    for number, tail in ((span.low, first), (span.high, last)):
        if span.tail(number) != tail:
            raise RecordError("its first or last identifier has wrong check characters")
        if split_identifier(span.stem + tail) != (span.stem, tail):
            raise RecordError("its digits are not cut where they have to be")
    if view.fold(span.stem) != span.stem or range_key(span.stem, last) != range_.key:
        raise RecordError("its key is not that of its last identifier")
    _check_values(view, range_)


def _check_values(view: View, range_: Range) -> None:
    """Raise RecordError or ProtocolError unless its identifiers have values."""
    if range_.record.details:
        read_shown(range_)
        row = None if range_.revoked else view.find_row(range_.first)
        if row is not None and not is_marked(row):
            decode_record(row)
        return
    reader = Reader(fill_in(range_.record, range_.record.first))
    values = read_values(reader)
    reader.expect_end("values")
    if not values:
        raise RecordError("its identifiers have no values")
    read_origin(values[-1])
