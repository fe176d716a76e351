"""Finding the range that an identifier is in, and the row that it has in it.

One seek finds the only range that can hold an identifier (`registry.range_records`). What is made
for it are the octets of a record, the same that a handle registered on its own would have, so that
everything that reads records reads these too. A revoked range makes none.
"""

from dataclasses import replace
from typing import NamedTuple

from protocol.errors import ProtocolError
from protocol.value import read_value, read_values
from protocol.wire import Reader
from registry.check_digits import SCHEMES, check_octets, check_of
from registry.errors import RecordError
from registry.range_records import (
    READABLE_PATH,
    Nearest,
    RangeRecord,
    decode_range,
    fill_in,
    holds,
    range_key,
    split_identifier,
)
from registry.range_templates import parse_template, render
from registry.range_values import cut_of, kept_of, read_origin
from registry.schema import encode_record, record_of_public
from registry.tables import Table


class Held(NamedTuple):
    """The range that holds an identifier, as key and octets; the identifier's stem and tail."""

    key: bytes
    octets: bytes
    stem: bytes
    tail: bytes


def find_range(ranges: Table, folded: bytes) -> Held | None:
    """Return the range, revoked or not, that holds a folded handle. Raises: RecordError."""
    split = split_identifier(folded)
    found = None if split is None else ranges.at_or_after(range_key(*split))
    return None if found is None else hold(found, folded)


def hold(range_: Nearest, folded: bytes) -> Held | None:
    """Return a folded handle as it is in a range; None: that does not hold it.

    Args:
        range_: key and record of the range, revoked or not.
        folded: the handle.

    Raises:
        RecordError: the range is damaged.
    """
    split = split_identifier(folded)
    if split is None:
        return None
    stem, tail = split
    sought = range_key(stem, tail)
    if sought > range_[0] or not holds(sought, tail, *range_):
        return None
    held = Held(*range_, stem, tail)
    is_plain = not held.octets[0] & READABLE_PATH
    return held if is_plain or has_right_check(decode_range(held.octets), stem, tail) else None


def has_right_check(record: RangeRecord, stem: bytes, tail: bytes) -> bool:
    """Say whether a tail ends in the check characters that its range asks for, if it does.

    Raises:
        RecordError: the range has a scheme that is not known.
    """
    name = record.details.get("check", "")
    if not name:
        return True
    if name not in SCHEMES:
        raise RecordError(f"a range has the check scheme {name!r}, which is not known here")
    digits = tail[: -check_octets(name)]
    return digits.isdigit() and tail == digits + check_of(name, stem + digits)


def make_row(held: Held) -> bytes | None:
    """Return the record octets of an identifier in a range; None: it was revoked.

    Raises:
        RecordError: the range is damaged.
    """
    record = decode_range(held.octets)
    if "revoked" in record.details:
        return None
    public, folded = fill_in(record, held.tail), held.stem + held.tail
    if not record.details.get("values"):
        return record_of_public(public, folded)
    try:
        values = list(read_values(Reader(public)))
        if not values:
            raise RecordError("the record of a range does not decode: it has no values")
        names = cut_of(record, read_origin(values[-1])).names(held.tail)
        for position, octets in kept_of(record):
            value = read_value(Reader(octets, 1))
            if octets[0]:
                data = render(parse_template(value.data), names)
                value = replace(value, data=data)
            values.insert(position, value)
    except (ProtocolError, ValueError, IndexError) as error:
        raise RecordError(f"the values of a range do not decode: {error}") from error
    return encode_record(values, folded)
