"""Whether lines of NDJSON are read in native code (`_rows.pyx`), as the fast path is chosen.

It reads most plain rows in a fifth of the time; `plain` reads these too, and all that it leaves.
"""

import os
from collections.abc import Callable, Mapping
from typing import Protocol

from registry.stream_rows import PackedRow
from resolver.fastpath import VARIABLE, Choice

try:
    from resolver import _rows as native_rows
except ImportError:  # installed without a compiler
    native_rows = None  # type: ignore[assignment]


class Hash(Protocol):
    """What hashlib makes."""

    def digest(self) -> bytes:
        """Return the octets of the digest."""
        ...


class NativeRows(Protocol):
    """Reads lines with line feeds between them; the rows are those that are not blank, in order.

    Each function is given the octets, `now_s`, the timestamp of all values, how many octets a row
    may have, and hashlib's sha256. A line that is left to Python is given without white space
    around it, but one of more octets only without that before it.
    """

    def read_lines(
        self,
        data: bytes,
        now_s: int,
        octets_max: int,
        sha256: Callable[[bytes], Hash],
        read_other: Callable[[bytes], PackedRow],
        /,
    ) -> list[PackedRow]:
        """Return the rows; `read_other` makes one of a line that is left to it."""
        ...

    def pack_lines(
        self,
        data: bytes,
        start: int,
        now_s: int,
        octets_max: int,
        sha256: Callable[[bytes], Hash],
        pack_other: Callable[[bytes], bytes],
        rows_max: int,
        packed_max: int,
        /,
    ) -> tuple[int, bytes, int]:
        """Return how many rows there are from `start` on, their octets, and where to go on.

        They are `rows_max` at most, and none follows once they take `packed_max` octets.
        """
        ...


def is_native_built() -> bool:
    """Say whether native code for rows was built when this was installed."""
    return native_rows is not None


def choose_lines(environment: Mapping[str, str] = os.environ) -> NativeRows | None:
    """Return what reads lines in native code; None: the environment wants, or there is, none."""
    if environment.get(VARIABLE, "") in (Choice.PYTHON, Choice.OFF):
        return None
    return native_rows
