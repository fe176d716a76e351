"""Ranges as `registry.export` writes them, read and made in short where they are plain.

Such a line states, beside what any range's does, when the range was registered, by whom, and the
time and ttl of every value. Most are plain all the same (`registry.plain_ranges`), active and
without check characters; what is made of one is what the long way makes, octet for octet. A line
that states anything else, or a time in another form, is left to that way.
"""

from typing import Annotated, Literal

import msgspec

from protocol.codes import Permission
from protocol.json_fields import I32_MAX
from protocol.json_forms import time_to_json
from protocol.types import DECODERS
from protocol.value import TTL_RELATIVE, Reference
from registry.errors import RangeError
from registry.journal import OWNER
from registry.plain_ranges import (
    CACHED_MAX,
    FormStart,
    PlainData,
    PlainMaker,
    PlainValue,
    check_members,
    origin_head,
    origin_reference,
)
from registry.range_batches import PlainRange
from registry.range_making import Fold
from registry.range_values import CACHED_TYPE_MAX, RANGE_INDEX, find_registered_s, make_head
from registry.stated import read_identity, read_time

_STRINGS = 18  # names and texts of a range; "values"
_VALUE_STRINGS = 11  # four names, the type, the time; two names, two texts of its data
_TIME_OCTETS = len("2026-11-21T08:00:00Z")


class ExportedValue(PlainValue, forbid_unknown_fields=True, gc=False):
    """A value with the usual permissions and no references."""

    data: PlainData
    ttl: Annotated[int, msgspec.Meta(ge=0, le=I32_MAX)]
    timestamp: str


class ExportedForm(FormStart, forbid_unknown_fields=True, gc=False, tag="range"):
    """The line of an active range without check characters, as it is exported."""

    check: Literal["none"]
    identifiers: int
    state: Literal["active"]
    registered: str
    by: str
    values: list[ExportedValue]


_decoder = msgspec.json.Decoder(ExportedForm)


def read_exported_form(line: bytes) -> ExportedForm:
    """Read a line.

    Raises:
        FORM_ERRORS: it is no such line, or has a member twice.
    """
    form = _decoder.decode(line)
    check_members(line, _STRINGS + _VALUE_STRINGS * len(form.values))
    return form


class ExportedMaker(PlainMaker):
    """Makes the records of plain ranges that are loaded, of exported ones and others.

    Args:
        fold: how handles are folded here.
        now_s: when they are loaded.
    """

    def __init__(self, fold: Fold, now_s: int) -> None:
        super().__init__(fold, OWNER, now_s)
        self._exported_heads: dict[tuple[int, str, int, str], bytes | None] = {}
        self._times: dict[str, int] = {}
        self._identities: dict[str, Reference] = {}

    def make_exported(self, form: ExportedForm) -> tuple[PlainRange, int] | None:
        """Return what is stored of a range, and when it was registered; None: it is not plain."""
        registered_s = self._find_time(form.registered)
        if not registered_s:
            return None
        try:
            reference = origin_reference(self._identity(form.by))
        except RangeError:
            return None
        new = self.put_together(form, form.values, origin_head(registered_s), reference)
        # The journal knows it by its octets, in which somebody's name may look like a value.
        if new is None or find_registered_s(new.octets) != registered_s:
            return None
        return new, registered_s

    def _find_time(self, text: str) -> int:
        """Return the seconds of a time as it is exported; 0: it is another."""
        seconds = self._times.get(text)
        if seconds is None:
            if len(self._times) >= CACHED_MAX:
                self._times.clear()
            seconds = _read_time(text)
            self._times[text] = seconds
        return seconds

    def _identity(self, text: str) -> Reference:
        """Return who registered a range. Raises: RangeError."""
        known = self._identities.get(text)
        if known is None:
            if len(self._identities) >= CACHED_MAX:
                self._identities.clear()
            known = self._identities[text] = read_identity({"by": text}, "by")
        return known

    def find_head(self, value: PlainValue) -> bytes | None:
        """Return the octets of a value up to its data; None: it is not plain."""
        if not isinstance(value, ExportedValue):
            return super().find_head(value)
        stated = value.index, value.type, value.ttl, value.timestamp
        try:
            return self._exported_heads[stated]
        except KeyError:
            pass
        if len(self._exported_heads) >= CACHED_MAX:
            self._exported_heads.clear()
        head = self._exported_heads[stated] = self._make_head(value)
        return head

    def _make_head(self, value: ExportedValue) -> bytes | None:
        type_, time_s = value.type.encode(), self._find_time(value.timestamp)
        if not time_s or value.index == RANGE_INDEX or len(type_) > CACHED_TYPE_MAX:
            return None
        if type_ in DECODERS:
            return None
        return make_head(
            value.index, type_, time_s, TTL_RELATIVE, value.ttl, int(Permission.DEFAULT)
        )


def _read_time(text: str) -> int:
    if len(text) != _TIME_OCTETS:
        return 0
    try:
        seconds = read_time({"time": text}, "time", 0)
    except RangeError:
        return 0
    return seconds if time_to_json(seconds) == text else 0
