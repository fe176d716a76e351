"""The rows of a benchmark by formula, as `generator/rows.h` has them, so that no table is needed.

Row n of prefix p has the handle `p/P<n as 10 digits>` and three values, or one in the short shape;
every datum holds digits that only this row and this value have.
"""

from dataclasses import dataclass

from protocol.value import HandleValue, encode_values

TIMESTAMP_S = 1_795_219_200  # 2026-11-21T00:00:00Z
NUMBER_DIGITS = 10
SHORT = 1  # values of the short shape
FULL = 3

_U64 = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Shape:
    """What a benchmark's store holds."""

    rows: int
    values: int = FULL
    prefix: str = "88.118.5"

    def words(self) -> str:
        """Return the shape in words, for reports."""
        row = make_row(self, 0)
        octets = len(encode_values(row)) + len(make_handle(self, 0))
        values = "one short value" if self.values == SHORT else f"{self.values} values"
        return f"{self.rows:,} rows of {values}, {octets} octets with the handle"


def mix(row: int, lane: int) -> str:
    """Return splitmix64 of 4 row + lane as 16 hex digits."""
    z = (row * 4 + lane + 0x9E3779B97F4A7C15) & _U64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _U64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _U64
    return f"{z ^ (z >> 31):016x}"


def make_handle(shape: Shape, row: int) -> bytes:
    """Return the handle of a row."""
    return f"{shape.prefix}/P{row:0{NUMBER_DIGITS}d}".encode()


def make_row(shape: Shape, row: int) -> tuple[HandleValue, ...]:
    """Return the values of a row."""
    number = f"{row:0{NUMBER_DIGITS}d}"
    texts = [("SERIAL", mix(row, 3))]
    if shape.values == FULL:
        texts = [
            ("URL", f"https://id.example.cn/p/{number}?c={mix(row, 1)}"),
            ("DESC", f"product {number} of lot {mix(row, 2)}"),
            *texts,
        ]
    return tuple(
        HandleValue(index, type_.encode(), text.encode(), timestamp=TIMESTAMP_S)
        for index, (type_, text) in enumerate(texts, 1)
    )
