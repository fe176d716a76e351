"""Lines of NDJSON for native code: made with all sorts of members, damaged, and held to Python."""

import ctypes
import hashlib
import random
from types import ModuleType
from typing import Any

import msgpack

from resolver.rows.ndjson_stream import read_line
from resolver.rows.packed import ROW_OCTETS_MAX
from tests.resolver.rows.streams import NOW_S

CHARACTERS = [*"abcxyz/:.?=&09 ~'{}[],", "é", "螺", "丝", "\U0001f529", "\x7f"]
PACKED_AT_ONCE_MAX = 3
PACKED_OCTETS = 600  # after which no further row is packed
LENGTHS = (0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 40, 300)
HANDLES = ("", "/a", "a" * 2_048, "a" * 2_049)
TYPES = ("URL", "DESC", "", "HS", "HS_", "HS_ADMIN", "hs_admin", "EMAIL")
NUMBERS = ("1", "2", "3", "100", "2147483647", "2147483648", "0", "00", "01", "-1", "1.0", "1e0")
TIMES = (
    *("2026-11-21T00:00:00Z", "2026-11-30T23:59:59Z", "2026-02-28T12:30:30Z"),
    *("2026-02-29T00:00:00Z", "2026-04-31T00:00:00Z", "2026-13-01T00:00:00Z"),
    *("2026-00-01T00:00:00Z", "2026-01-00T00:00:00Z", "2026-01-01T24:00:00Z"),
    *("2026-01-01T00:60:00Z", "2026-01-01T00:00:60Z", "1901-01-01T00:00:00Z"),
    *("2038-12-31T00:00:00Z", "2026-11-21T00:00:00+00:00", "2026-11-21", ""),
)
TOKENS = [
    *(b'"', b"\\", b",", b":", b"{", b"}", b"[", b"]", b" ", b"\t", b"\r", b"\n", b"\v", b"\f"),
    *(b"\x00", b"\x1f", b"\x7f", b"\x80", b"\xc0\x80", b"\xc3", b"\xe2\x82", b"\xed\xa0\x80"),
    *(b"\xe0\x80\x80", b"\xf0\x80\x80\x80", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xff"),
    *(b"0", b"9", b"-", b"+", b".5", b"e3", b"null", b"true", b"NaN", b"\\u0041", b"\\n", b"/"),
    *(b'"ttl":0,', b'"index":7,', b'"x":1,', b'"operation":"create",', b'"operation":"delete",'),
    *(b'"permissions":"1110",', b'"references":[],', b'"timestamp":"2026-11-21T00:00:00Z",'),
    *(b'"handle":"88/b",', b'"values":[],', b"HS_", b"HS_ADMIN", "螺丝".encode(), b'\\"'),
]


class LineMaker:
    """Makes rows, mostly plain, their members in any order."""

    def __init__(self, choose: random.Random) -> None:
        self._choose = choose

    def _is_odd(self) -> bool:
        return self._choose.random() < 0.02

    def _space(self) -> str:
        return self._choose.choice(("", "", "", " ", "\t", " \r "))

    def _words(self) -> str:
        choose = self._choose
        return "".join(choose.choices(CHARACTERS, k=choose.choice(LENGTHS)))

    def _object(self, members: list[tuple[str, str]]) -> str:
        space = self._space
        self._choose.shuffle(members)
        if self._is_odd():
            members.append(self._choose.choice(members))
        pairs = (f'{space()}"{name}"{space()}:{space()}{item}' for name, item in members)
        return "{" + f"{space()},".join(pairs) + space() + "}"

    def _value(self, index: int) -> str:
        choose = self._choose
        is_odd, form = self._is_odd(), "hex" if self._is_odd() else "string"
        data = f'"{self._words()}"'
        if choose.random() < 0.7:
            data = self._object([("format", f'"{form}"'), ("value", data)])
        members = [
            ("index", choose.choice(NUMBERS) if self._is_odd() else str(index)),
            ("type", f'"{choose.choice(TYPES if is_odd else TYPES[:4])}"'),
            ("data", data),
        ]
        if choose.random() < 0.5:
            members.append(("ttl", choose.choice(NUMBERS if is_odd else NUMBERS[:5])))
        if choose.random() < 0.5:
            members.append(("timestamp", f'"{choose.choice(TIMES if is_odd else TIMES[:3])}"'))
        return self._object(members)

    def make(self) -> bytes:
        """Return a row."""
        choose = self._choose
        count = 0 if self._is_odd() else choose.choice((1, 1, 2, 3, 20))
        indexes = choose.sample(range(1, 300), k=count)
        if not self._is_odd():
            indexes.sort()
        values = f"{self._space()},".join(self._value(index) for index in indexes)
        handle = choose.choice(HANDLES) if self._is_odd() else f"88/{self._words()}"
        members = [("handle", f'"{handle}"'), ("values", f"[{values}]")]
        if choose.random() < 0.3:
            members.append(("operation", '"replace"' if self._is_odd() else '"create"'))
        return self._object(members).encode()


def mutate(octets: bytes, choose: random.Random) -> bytes:
    """Change, cut, double, or put a token somewhere; one in four stays whole."""
    changed = bytearray(octets)
    for _ in range(choose.choice((0, 1, 1, 2))):
        how, at = choose.randrange(5), choose.randrange(len(changed) + 1)
        end = at + choose.choice((0, 1, 2, 8, 30))
        if how == 0:
            del changed[at:end]
        elif how == 1:
            changed[at:at] = choose.choice(TOKENS)
        elif how == 2:
            changed[at : at + 1] = choose.choice(TOKENS)
        elif how == 3:
            changed[at:at] = changed[at:end]
        elif choose.random() < 0.3:
            del changed[at:]
    return bytes(changed)


def hold_to_python(native: ModuleType, data: bytes) -> int:
    """Read lines; return how many were not left to Python.

    The octets are an allocation of their own, without one more behind them.

    Raises:
        AssertionError: a row is not what Python makes of its line, or a line is not left whole.
    """
    buffer = (ctypes.c_char * len(data)).from_buffer_copy(data)
    found = native.read_lines(buffer, NOW_S, ROW_OCTETS_MAX, hashlib.sha256, bytes)
    lines = [line for each in data.split(b"\n") if (line := each.strip())]
    assert len(found) == len(lines), f"{len(found)} rows of {len(lines)} lines: {data!r}"
    taken = 0
    for row, line in zip(found, lines, strict=True):
        if isinstance(row, bytes):
            assert row.rstrip() == line, f"of {line!r} was left {row!r}"
        else:
            taken += 1
            expected = read_line(line, NOW_S)
            assert row == expected, f"native {row}\npython {expected}\nline {line!r}"
    hold_packed_to_rows(native, buffer, found)
    return taken


def hold_packed_to_rows(native: ModuleType, buffer: Any, rows: list[Any]) -> None:
    """Have the same lines packed, some at a time. Raises: AssertionError: they are not the same."""
    step = 1 + len(rows) % PACKED_AT_ONCE_MAX
    end, packed = 0, []
    while True:
        count, octets, end = native.pack_lines(
            buffer, end, NOW_S, ROW_OCTETS_MAX, hashlib.sha256, msgpack.packb, step, PACKED_OCTETS
        )
        if not count:
            break
        packed.append(octets)
        assert count <= step, f"{count} rows at once, {step} were wanted"
    expected = b"".join(map(msgpack.packb, rows))
    assert b"".join(packed) == expected, f"packed {packed!r}, not {rows!r}"
    assert end == len(buffer), f"{end} of {len(buffer)} octets were read"
