"""NDJSON as it arrives: one object a line.

    {"handle": "88.118.5/a", "values": [..], "operation": "create"}

    {"handle": "88.118.5/a", "template": "auto-part", "attributes": {"serial": "000042"}}

"operation" is create (when left out), replace or delete; a row that deletes has no "values". One
made from a template is described in `registry.template_requests`.
Values are as in the REST interface. Other members of a row are passed over; a member given twice
is refused. Blank lines are no rows. A row is what stands between line feeds, and its digest that of
the octets without the white space around them (space, HT, LF, VT, FF, CR).

Most plain rows are read in native code, where that was built; it leaves every other line to us.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from functools import partial

import msgspec

from registry.plain_ranges import FORM_ERRORS, read_json_form
from registry.stream_rows import PackedRow, RowKind
from resolver.rows.held import HeldRow, Opening
from resolver.rows.native import choose_lines
from resolver.rows.packed import (
    ROW_OCTETS_MAX,
    bad_row,
    digest_of,
    long_row,
    make_object,
    pack_form,
    pack_plain_range,
)
from resolver.rows.pieces import OCTETS_MAX, ROWS_MAX, Piece, pack_row, pack_rows
from resolver.rows.plain import PLAIN_ERRORS, read_plain_json

_WHITE_SPACE = b" \t\n\v\f\r"  # as bytes.strip() has it
_RANGE = b'"range"'
_PLAIN = RowKind.PLAIN.value


class NdjsonReader:
    """Rows out of octets of NDJSON; `now_s` gives the timestamps of what is plain."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._native = choose_lines()
        self._now_s = now_s
        self._opening = Opening()
        self._held = HeldRow(_WHITE_SPACE, _WHITE_SPACE)

    def feed(self, data: bytes) -> list[PackedRow]:
        """Return the rows that end in `data`."""
        now_s = int(self._now_s())
        rows, lines = self._cut(data, now_s)
        return rows + self._read(lines, now_s)

    def feed_packed(self, data: bytes) -> Iterator[Piece]:
        """Yield the rows that end in `data`, packed; take them all before more is fed."""
        now_s = int(self._now_s())
        rows, lines = self._cut(data, now_s)
        yield from pack_rows(rows)
        if self._native is None:
            yield from pack_rows(self._read(lines, now_s))
            return
        end = 0
        while end < len(lines):
            count, octets, end = self._native.pack_lines(
                lines,
                end,
                now_s,
                ROW_OCTETS_MAX,
                hashlib.sha256,
                lambda line: pack_row(read_line(line, now_s)),
                ROWS_MAX,
                OCTETS_MAX,
            )
            if count:
                yield Piece(count, octets)

    def _cut(self, data: bytes, now_s: int) -> tuple[list[PackedRow], bytes]:
        """Return the row that was held, when it ends here, and the lines that follow it."""
        data = self._opening.skip(data)
        start, end = 0, data.rfind(b"\n") + 1
        rows: list[PackedRow] = []
        if end and self._held:
            start = data.index(b"\n") + 1
            self._held.add(data[: start - 1])
            rows = self._take(now_s)
        self._held.add(data[end:])
        return rows, data[start:end]

    def end(self) -> list[PackedRow]:
        """Return the row that ends with the stream."""
        self._held.add(self._opening.end())
        return self._take(int(self._now_s()))

    def _read(self, data: bytes, now_s: int) -> list[PackedRow]:
        """Return the rows of lines."""
        if self._native is not None:
            other = partial(read_line, now_s=now_s)
            return self._native.read_lines(data, now_s, ROW_OCTETS_MAX, hashlib.sha256, other)
        lines = (each.lstrip() for each in data.split(b"\n"))
        return [read_line(line, now_s) for line in lines if line]

    def _take(self, now_s: int) -> list[PackedRow]:
        if self._held.is_long:
            return [long_row(self._held.take_digest())]
        return self._read(self._held.take(), now_s)


def read_line(line: bytes, now_s: int) -> PackedRow:
    """Return the row of a line that begins with it, read in Python."""
    is_long = len(line) > ROW_OCTETS_MAX
    line = line.rstrip()
    if is_long:
        return long_row(digest_of(line))
    if _RANGE in line:
        try:
            return pack_plain_range(read_json_form(line), digest_of(line))
        except FORM_ERRORS:
            pass  # it is read in full, and may be no range
    try:
        handle, octets = read_plain_json(line, now_s)
    except PLAIN_ERRORS:
        return _read_any(line)
    return _PLAIN, handle, octets, digest_of(line)


def _read_any(line: bytes) -> PackedRow:
    digest = digest_of(line)
    try:
        text = line.decode()
        msgspec.json.decode(line)  # stricter than json, and its words are better
        form = json.loads(text, object_pairs_hook=make_object)
    except UnicodeDecodeError as error:
        return bad_row(b"", [f"octet {error.start} of the row is not UTF-8"], digest)
    except (msgspec.DecodeError, ValueError) as error:
        return bad_row(b"", [str(error)[:200]], digest)
    except RecursionError:
        return bad_row(b"", ["nested too deep"], digest)
    return pack_form(form, digest)
