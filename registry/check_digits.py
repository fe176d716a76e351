"""Check characters: what a scheme adds behind a serial, so that a misread identifier is noticed.

    gs1               1 digit of the digits before it (GTIN, SSCC): weights 3 and 1 from the right
    iso7064-mod11-2   1 digit or X of the digits
    iso7064-mod11-10  1 digit of the digits
    iso7064-mod37-2   1 digit, letter or * of the digits and letters
    iso7064-mod37-36  1 digit or letter of the digits and letters
    iso7064-mod97-10  2 digits of the digits

A scheme looks at the digits (and letters, in upper case) that what precedes its characters ends in.
The algorithms are python-stdnum's, imported when the first check characters are computed: a node
has to answer within half a second of its start, and most have no scheme.
"""

import importlib
import re
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

_DIGITS = re.compile(rb"[0-9]+\Z")
_DIGITS_AND_LETTERS = re.compile(rb"[0-9A-Za-z]+\Z")


class Scheme(NamedTuple):
    """How many characters it adds, what it looks at, and what of stdnum computes them of that."""

    octets: int
    looked_at: re.Pattern[bytes]
    module: str
    function: str = "calc_check_digit"


SCHEMES: dict[str, Scheme] = {
    "gs1": Scheme(1, _DIGITS, "stdnum.ean"),
    "iso7064-mod11-2": Scheme(1, _DIGITS, "stdnum.iso7064.mod_11_2"),
    "iso7064-mod11-10": Scheme(1, _DIGITS, "stdnum.iso7064.mod_11_10"),
    "iso7064-mod37-2": Scheme(1, _DIGITS_AND_LETTERS, "stdnum.iso7064.mod_37_2"),
    "iso7064-mod37-36": Scheme(1, _DIGITS_AND_LETTERS, "stdnum.iso7064.mod_37_36"),
    "iso7064-mod97-10": Scheme(2, _DIGITS, "stdnum.iso7064.mod_97_10", "calc_check_digits"),
}


def check_octets(name: str) -> int:
    """Return how many characters a scheme adds; no name, no scheme, none."""
    return SCHEMES[name].octets if name else 0


def check_of(name: str, before: bytes) -> bytes:
    """Return the check characters that follow `before`, which ends in a digit."""
    if not name:
        return b""
    scheme = SCHEMES[name]
    found = scheme.looked_at.search(before)
    assert found, "nothing to compute check characters of"
    return _computation(name)(found[0].decode().upper()).encode()


@cache
def _computation(name: str) -> Callable[[str], str]:
    """Import what computes the check characters of a scheme."""
    scheme = SCHEMES[name]
    compute: Callable[[str], str] = getattr(importlib.import_module(scheme.module), scheme.function)
    return compute
