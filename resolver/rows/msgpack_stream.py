"""msgpack as it arrives: one object after another, of the form that NDJSON has.

"handle" and a datum's "value" may be bin instead of str. The digest of a row is that of its
octets. Behind octets that are not msgpack, or are nested deeper than DEPTH_MAX, no row begins
anywhere: that row is bad, its digest that of no octets, what came with it is dropped, and whatever
comes after is a RowsError.
"""

import base64
import contextlib
import re
from collections.abc import Callable
from typing import Any

import msgpack

from registry.stream_rows import PackedRow, RowKind
from resolver.rows.errors import RowsError
from resolver.rows.held import HeldRow
from resolver.rows.packed import (
    ROW_OCTETS_MAX,
    bad_row,
    digest_of,
    long_row,
    make_object,
    pack_form,
)
from resolver.rows.plain import PLAIN_ERRORS, read_plain_msgpack

DEPTH_MAX = 1_024  # msgpack's own, compiled in
SLICE_OCTETS = 65_536  # looked at in one go

_PLAIN = RowKind.PLAIN.value
_BROKEN = "what follows is not msgpack, and no row can be found behind it"
_LENGTHS: dict[int, tuple[int, int]] = {  # code: octets of the length, octets beside what it counts
    **{0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0), 0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1)},
    **{0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0)},
}
_BODIES: dict[int, int] = {  # code: octets that follow
    **{0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8},
    **{0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17},
    **{code: code - 0xA0 for code in range(0xA0, 0xC0)},
    **dict.fromkeys((*range(128), *range(224, 256), 192, 194, 195), 0),
}
# What is an item of one octet; empty containers too, which must not open where no other may.
_ATOMS = re.compile(rb"[\x00-\x80\x90\xa0\xc0\xc2\xc3\xe0-\xff]+")
_COUNTS: dict[int, tuple[int, int]] = {  # code: octets of the count, items for one of it
    **{0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)},
}


class MsgpackReader:
    """Rows out of octets of msgpack; `now_s` gives the timestamps of what is plain."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._held = HeldRow()
        self._skipped: _ObjectEnd | None = None  # the end of a row too long to be held
        self._is_broken = False
        self._start()

    def _start(self) -> None:
        """Begin where a row begins."""
        self._unpacker = msgpack.Unpacker(
            max_buffer_size=ROW_OCTETS_MAX + 2 * SLICE_OCTETS, read_size=SLICE_OCTETS
        )
        self._given = 0  # octets that the unpacker was fed

    def feed(self, data: bytes) -> list[PackedRow]:
        """Return the rows that end in `data`. Raises: RowsError."""
        if self._is_broken and data:
            raise RowsError(_BROKEN, "send the rows again from the first bad one on")
        rows: list[PackedRow] = []
        now_s = int(self._now_s())
        for start in range(0, len(data), SLICE_OCTETS):
            piece = data[start : start + SLICE_OCTETS]
            try:
                self._read(piece, now_s, rows)
            except ValueError:
                self._is_broken = True
                rows.append(bad_row(b"", [_BROKEN], digest_of(b"")))
                break
        return rows

    def end(self) -> list[PackedRow]:
        """Return the row that the stream cuts off."""
        if self._is_broken or not self._held:
            return []
        if self._held.is_long:
            return [long_row(self._held.take_digest())]
        return [bad_row(b"", ["the stream ends inside a row"], digest_of(self._held.take()))]

    def _read(self, piece: bytes, now_s: int, rows: list[PackedRow]) -> None:
        """Add the rows that end in `piece`. Raises: ValueError: it is not msgpack."""
        if self._skipped is not None:
            end = self._skipped.find(piece)
            if end < 0:
                self._held.add(piece)
                return
            self._held.add(piece[:end])
            rows.append(long_row(self._held.take_digest()))
            self._skipped = None
            self._start()
            piece = piece[end:]
        begin, start = self._given, 0
        self._unpacker.feed(piece)
        self._given += len(piece)
        with contextlib.suppress(msgpack.OutOfData):
            while start < len(piece):
                self._unpacker.skip()
                end = self._unpacker.tell() - begin
                rows.append(self._take(piece[start:end], now_s))
                start = end
        self._hold(piece[start:])

    def _take(self, end: bytes, now_s: int) -> PackedRow:
        """Return the row whose last octets these are."""
        if self._held or len(end) > ROW_OCTETS_MAX:
            self._held.add(end)
            if self._held.is_long:
                return long_row(self._held.take_digest())
            end = self._held.take()
        try:
            handle, octets = read_plain_msgpack(end, now_s)
        except PLAIN_ERRORS:
            return _read_any(end)
        return _PLAIN, handle, octets, digest_of(end)

    def _hold(self, piece: bytes) -> None:
        """Keep the beginning of a row; of one too long only find out where it ends."""
        if len(self._held.octets) + len(piece) > ROW_OCTETS_MAX:
            self._skipped = _ObjectEnd()
            self._skipped.find(bytes(self._held.octets))
            self._skipped.find(piece)
        self._held.add(piece)


class _ObjectEnd:
    """Finds where one object ends, in pieces of any length, keeping only counts."""

    def __init__(self) -> None:
        self._left = [1]  # items to come, of the object itself and of every container around
        self._body = 0  # octets of an item to come
        self._head = b""  # the first octets of an item whose length is not there yet

    def find(self, piece: bytes) -> int:
        """Return where the object ends in `piece`, -1 when it does not.

        Raises:
            ValueError: it is not msgpack, or nested too deep.
        """
        known = len(self._head)
        data, self._head = self._head + piece, b""
        start, left = 0, self._left
        while True:
            start += self._body
            if start > len(data):
                self._body = start - len(data)
                return -1
            self._body = 0
            while left and not left[-1]:
                left.pop()
            if not left:
                return start - known
            if start == len(data):
                return -1
            run = _ATOMS.match(data, start, start + left[-1])
            if run and len(left) <= DEPTH_MAX:
                left[-1] -= run.end() - start
                start = run.end()
                continue
            taken = self._read_head(data, start)
            if not taken:
                self._head = data[start:]
                return -1
            start += taken

    def _read_head(self, data: bytes, start: int) -> int:
        """Take one item's head; return its octets, 0 when they are not all there."""
        code, left = data[start], self._left
        body = _BODIES.get(code)
        if body is not None:
            left[-1] -= 1
            self._body = body
            return 1
        if 0x80 <= code < 0xA0:
            width, items, beside = 0, (code & 0x0F) * (2 if code < 0x90 else 1), 0
        elif code in _LENGTHS or code in _COUNTS:
            width, beside = _LENGTHS.get(code) or _COUNTS[code]
            if start + 1 + width > len(data):
                return 0
            items = int.from_bytes(data[start + 1 : start + 1 + width], "big")
        else:
            raise ValueError(f"0x{code:02x} is no msgpack")
        left[-1] -= 1
        if code in _LENGTHS:
            self._body = items + beside
        else:
            self._push(items * (beside or 1))
        return 1 + width

    def _push(self, items: int) -> None:
        if len(self._left) > DEPTH_MAX:
            raise ValueError("nested too deep")
        self._left.append(items)


def _read_any(row: bytes) -> PackedRow:
    digest = digest_of(row)
    try:
        form = msgpack.unpackb(row, raw=False, strict_map_key=False, object_pairs_hook=make_object)
    except UnicodeDecodeError:
        return bad_row(b"", ["a str of the row is not UTF-8"], digest)
    except (ValueError, TypeError, OverflowError) as error:
        return bad_row(b"", [str(error)[:200] or "not msgpack"], digest)
    except RecursionError:
        return bad_row(b"", ["nested too deep"], digest)
    return pack_form(_with_text(form), digest)


def _with_text(form: Any) -> Any:
    """Return the row with data given as bin in a form that JSON has."""
    values = form.get("values") if isinstance(form, dict) else None
    for value in values if isinstance(values, list) else ():
        data = value.get("data") if isinstance(value, dict) else None
        if isinstance(data, dict) and data.get("format") == "string":
            data = data.get("value")
        if isinstance(data, bytes):
            text = base64.b64encode(data).decode()
            value["data"] = {"format": "base64", "value": text}
    return form
