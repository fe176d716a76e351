"""Templates of values: text with placeholders, taken apart once and filled in.

{serial}   the serial, with all its digits     {suffix}  all after the slash
{number}   the serial without leading zeros    {handle}  the whole identifier
{prefix}   what is before the slash            {check}   its check characters
{{ and }}  a brace
"""

import re
from collections.abc import Iterable
from functools import lru_cache

from registry.errors import RangeError

PLACEHOLDERS = ("serial", "number", "prefix", "suffix", "handle", "check")
CACHED_TEXT_MAX = 512  # octets; templates repeat from range to range

_KNOWN = re.compile(b"\\{(" + "|".join(PLACEHOLDERS).encode() + b")\\}")
_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")

Piece = bytes | str
"""Constant octets, or the name of a placeholder."""


def parse_template(data: bytes) -> tuple[Piece, ...]:
    """Take a template apart, UTF-8. Raises: RangeError: an unknown placeholder, a lone brace."""
    return _parse_cached(data) if len(data) <= CACHED_TEXT_MAX else _parse(data)


def _parse(data: bytes) -> tuple[Piece, ...]:
    split = _KNOWN.split(data)
    if any(b"{" in constant or b"}" in constant for constant in split[::2]):
        return _parse_braces(data)
    pieces: list[Piece] = list(split)
    pieces[1::2] = [name.decode() for name in split[1::2]]
    return tuple(piece for piece in pieces if piece)


def _parse_braces(data: bytes) -> tuple[Piece, ...]:
    """Take a template apart that has braces not of a placeholder."""
    text = data.decode()
    pieces: list[Piece] = []
    constant: list[str] = []
    for token in _TOKEN.finditer(text):
        name = token[1]
        if name is None:
            if token[0] in "{}":
                raise RangeError(
                    f"a lone {token[0]} at character {token.start() + 1}: write it twice"
                )
            constant.append(token[0][0] if token[0] in ("{{", "}}") else token[0])
            continue
        if name not in PLACEHOLDERS:
            known = ", ".join(f"{{{each}}}" for each in PLACEHOLDERS)
            raise RangeError(
                f"the placeholder {{{name[:40]}}} is unknown: there are {known}; "
                "write a brace that stands for itself twice"
            )
        if constant:
            pieces.append("".join(constant).encode())
            constant.clear()
        pieces.append(name)
    if constant:
        pieces.append("".join(constant).encode())
    return tuple(pieces)


_parse_cached = lru_cache(1_024)(_parse)


def render(pieces: Iterable[Piece], names: dict[str, bytes]) -> bytes:
    """Return the data of a template for one identifier."""
    return b"".join(piece if isinstance(piece, bytes) else names[piece] for piece in pieces)
