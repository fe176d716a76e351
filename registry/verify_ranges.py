"""Whether the ranges of a store are whole."""

from collections.abc import Callable

from protocol.errors import ProtocolError
from protocol.handle import to_text
from protocol.value import read_values
from protocol.wire import Reader
from registry.errors import RangeError, RecordError
from registry.marks import is_marked
from registry.range_documents import Range, read_range
from registry.range_records import fill_in, range_key, split_identifier
from registry.range_shown import read_shown
from registry.range_values import read_origin
from registry.schema import decode_record
from registry.views import View

Note = Callable[[str], None]


def check_ranges(view: View, note: Note) -> int:
    """Note every range that is damaged, not at its key, or over another; return how many there are.

    Args:
        view: the store.
        note: takes a problem in words.
    """
    count = 0
    before: Range | None = None
    for key, octets in view.table("ranges").items():
        count += 1
        try:
            range_ = read_range(key, octets)
            _check_range(view, range_)
        except (RecordError, RangeError, ProtocolError, ValueError, AssertionError) as error:
            note(f"range {_name(key)}: {error}")
            continue
        if before is not None and _are_alike(before, range_) and _overlap(before, range_):
            note(f"range {_name(key)}: it has identifiers of the range before it")
        before = range_
    return count


def _name(key: bytes) -> str:
    return to_text(key.replace(b"\0", b" "))


def _check_range(view: View, range_: Range) -> None:
    """Raise RecordError unless the range is what its key says."""
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


def _are_alike(one: Range, other: Range) -> bool:
    return one.span.stem == other.span.stem and one.span.tail_octets == other.span.tail_octets


def _overlap(before: Range, range_: Range) -> bool:
    return range_.record.first <= before.key[-before.span.tail_octets :]
