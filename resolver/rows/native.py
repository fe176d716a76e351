"""Whether lines of NDJSON are read in native code (`_rows.pyx`), as the fast path is chosen.

It reads most plain rows in a fifth of the time; `plain` reads these too, and all that it leaves.
"""

import os
from collections.abc import Callable, Mapping
from typing import Protocol

from registry.stream_rows import PackedRow
from resolver.fastpath import VARIABLE, Choice

try:
    from resolver._rows import read_lines as native_lines
except ImportError:  # installed without a compiler
    native_lines = None  # type: ignore[assignment]


class Hash(Protocol):
    """What hashlib makes."""

    def digest(self) -> bytes:
        """Return the octets of the digest."""
        ...


class ReadLines(Protocol):
    """Returns a row for each line that is not blank, in order.

    Args:
        data: lines with line feeds between them.
        now_s: the timestamp of all values.
        octets_max: of a row.
        sha256: hashlib's.
        read_other: makes a row of a line that is left to it, given without white space around it,
            but of one longer than `octets_max` only without that before it.
    """

    def __call__(
        self,
        data: bytes,
        now_s: int,
        octets_max: int,
        sha256: Callable[[bytes], Hash],
        read_other: Callable[[bytes], PackedRow],
        /,
    ) -> list[PackedRow]:
        """Read them."""
        ...


def is_native_built() -> bool:
    """Say whether native code for rows was built when this was installed."""
    return native_lines is not None


def choose_lines(environment: Mapping[str, str] = os.environ) -> ReadLines | None:
    """Return what reads lines in native code; None: the environment wants, or there is, none."""
    if environment.get(VARIABLE, "") in (Choice.PYTHON, Choice.OFF):
        return None
    return native_lines
