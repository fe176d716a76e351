"""The rows of a benchmark by formula, as `generator/rows.h` has them, so that no table is needed.

Row n of prefix p has the handle `p/P<n as 10 digits>` and three values, one in the short shape, or
one to four of unlike lengths; every datum holds digits that only this row and this value have.

A shape may also be of ranges: its rows are the identifiers of ranges of so many serials each; or of
lots: they are made from a template, and what their values show is alike within a lot.
"""

import statistics
from dataclasses import dataclass

from protocol.value import HandleValue, encode_values

TIMESTAMP_S = 1_795_219_200  # 2026-11-21T00:00:00Z
NUMBER_DIGITS = 10
SHORT = 1  # values of the short shape
FULL = 3
UNLIKE = 0  # the number of values and their lengths change from row to row
RANGE_DIGITS = 8
RANGE_INDEX = 1_002
RANGE_PERMISSION = 0b1010
TEMPLATE_INDEX = 1_000
ATTRIBUTE_INDEX = 2_000
TEMPLATE_CODE = "part"
UNLIKE_TYPES = ("SERIAL", "LOT", "DESC", "CODE")
UNLIKE_LEAST = 16
UNLIKE_MOST = (255, 181, 111, 75)  # octets of one datum when there are 1, 2, 3, 4
SAMPLE_ROWS = 1_000

_U64 = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Shape:
    """What a benchmark's store holds. Of ranges and lots, `rows` are all their identifiers."""

    rows: int
    values: int = FULL
    prefix: str = "88.118.5"
    serials: int = 0  # of each range or lot; 0: there are none, each row stands for itself
    lots: bool = False  # made from a template, else in ranges

    @property
    def ranges(self) -> int:
        """How many ranges there are."""
        return self.rows // self.serials if self.serials and not self.lots else 0

    @property
    def records(self) -> int:
        """How many rows or ranges are stored."""
        return self.ranges or self.rows

    def options(self) -> list[str]:
        """Return the shape as the generator's options."""
        words = ["--prefix", self.prefix, "--rows", str(self.rows), "--values", str(self.values)]
        if self.serials:
            words += ["--serials", str(self.serials)]
        return [*words, "--lots"] if self.lots else words

    def words(self) -> str:
        """Return the shape in words, for reports."""
        octets = self.row_octets(0)
        if self.values == UNLIKE:
            mean = statistics.fmean(map(self.row_octets, range(min(self.rows, SAMPLE_ROWS))))
            values = "1 to 4 values of unlike lengths"
            return f"{self.rows:,} rows of {values}, {mean:.0f} octets with the handle on average"
        values = "one short value" if self.values == SHORT else f"{self.values} values"
        if self.lots:
            return (
                f"{self.rows:,} rows made from a template in lots of {self.serials:,}, {values} "
                f"and two that name the template, {octets} octets with the handle"
            )
        if self.serials:
            return (
                f"{self.rows:,} identifiers as {self.ranges:,} ranges of {self.serials:,}, "
                f"{values} and the RANGE value, {octets} octets with the handle"
            )
        return f"{self.rows:,} rows of {values}, {octets} octets with the handle"

    def row_octets(self, row: int) -> int:
        """Return the octets of a row's value list and handle."""
        return len(encode_values(make_row(self, row))) + len(make_handle(self, row))


def mix(row: int, lane: int) -> str:
    """Return splitmix64 of 4 row + lane as 16 hex digits."""
    z = (row * 4 + lane + 0x9E3779B97F4A7C15) & _U64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _U64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _U64
    return f"{z ^ (z >> 31):016x}"


def make_handle(shape: Shape, row: int) -> bytes:
    """Return the handle of a row."""
    if shape.serials:
        return (_stem(shape, row) + _serial(shape, row)).encode()
    return f"{shape.prefix}/P{row:0{NUMBER_DIGITS}d}".encode()


def _stem(shape: Shape, row: int) -> str:
    letter = "L" if shape.lots else "R"
    return f"{shape.prefix}/{letter}{row // shape.serials:0{RANGE_DIGITS}d}."


def _serial(shape: Shape, row: int) -> str:
    return f"{row % shape.serials:0{len(str(shape.serials - 1))}d}"


def make_row(shape: Shape, row: int) -> tuple[HandleValue, ...]:
    """Return the values of a row; of an identifier in a range timestamps are really others."""
    texts = make_texts(shape, row)
    first = ATTRIBUTE_INDEX if shape.lots else 1
    values = tuple(
        HandleValue(index, type_.encode(), text.encode(), timestamp=TIMESTAMP_S)
        for index, (type_, text) in enumerate(texts, first)
    )
    if shape.lots:
        return (*_naming_values(shape), *values)
    return (*values, _range_value(shape, row)) if shape.serials else values


def make_texts(shape: Shape, row: int) -> list[tuple[str, str]]:
    """Return types and texts of a row's values but for those that say where it comes from."""
    if shape.serials:
        return make_serial_texts(shape, row // shape.serials, _serial(shape, row))
    if shape.values == UNLIKE:
        return _unlike_texts(row)
    return _numbered_texts(shape, row, f"{row:0{NUMBER_DIGITS}d}", "")


def make_serial_texts(shape: Shape, number: int, serial: str) -> list[tuple[str, str]]:
    """Do so of the identifier with a serial in the range, or lot, of a number."""
    return _numbered_texts(shape, number, f"{number:0{RANGE_DIGITS}d}{serial}", f".{serial}")


def _numbered_texts(shape: Shape, mixed: int, number: str, behind: str) -> list[tuple[str, str]]:
    last = ("SERIAL", mix(mixed, 3) + behind)
    if shape.values == SHORT:
        return [last]
    return [
        ("URL", f"https://id.example.cn/p/{number}?c={mix(mixed, 1)}"),
        ("DESC", f"product {number} of lot {mix(mixed, 2)}"),
        last,
    ]


def _naming_values(shape: Shape) -> tuple[HandleValue, ...]:
    """Return the values that say which template an identifier is made from."""
    name = f"{shape.prefix}:{TEMPLATE_CODE}".encode()
    return (
        HandleValue(TEMPLATE_INDEX, b"TEMPLATE", name, timestamp=TIMESTAMP_S),
        HandleValue(TEMPLATE_INDEX + 1, b"TEMPLATE_VERSION", b"1", timestamp=TIMESTAMP_S),
    )


def _range_value(shape: Shape, row: int) -> HandleValue:
    """Return the value that every identifier of a range has, which says where it comes from."""
    data = _stem(shape, row) + _serial(shape, 0) + ".." + _serial(shape, shape.serials - 1)
    return HandleValue(
        RANGE_INDEX, b"RANGE", data.encode(), RANGE_PERMISSION, timestamp=TIMESTAMP_S
    )


def _unlike_texts(row: int) -> list[tuple[str, str]]:
    """Return types and texts: 2 bits choose how many there are, then 15 each one's length."""
    chosen = int(mix(row, 0), 16)
    count = 1 + (chosen & 3)
    span = UNLIKE_MOST[count - 1] - UNLIKE_LEAST + 1
    texts = []
    for number, type_ in enumerate(UNLIKE_TYPES[:count], 1):
        share = chosen >> (15 * number - 13) & 0x7FFF
        length = UNLIKE_LEAST + (share * span >> 15)
        texts.append((type_, (mix(row, number % 4) * 16)[:length]))
    return texts
