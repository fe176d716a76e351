"""Check characters: what a scheme adds behind a serial, so that a misread identifier is noticed.

    gs1               1 digit of the digits before it (GTIN, SSCC): weights 3 and 1 from the right
    iso7064-mod11-2   1 digit or X of the digits
    iso7064-mod11-10  1 digit of the digits
    iso7064-mod37-2   1 digit, letter or * of the digits and letters
    iso7064-mod37-36  1 digit or letter of the digits and letters
    iso7064-mod97-10  2 digits of the digits

A scheme looks at the digits (and letters, in upper case) that what precedes its characters ends in.
The algorithms are python-stdnum's.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from stdnum import ean
from stdnum.iso7064 import mod_11_2, mod_11_10, mod_37_2, mod_37_36, mod_97_10

_DIGITS = re.compile(rb"[0-9]+\Z")
_DIGITS_AND_LETTERS = re.compile(rb"[0-9A-Za-z]+\Z")


class Scheme(NamedTuple):
    """How many characters it adds, what it looks at, and how they are computed of that."""

    octets: int
    looked_at: re.Pattern[bytes]
    compute: Callable[[str], str]


SCHEMES: dict[str, Scheme] = {
    "gs1": Scheme(1, _DIGITS, ean.calc_check_digit),
    "iso7064-mod11-2": Scheme(1, _DIGITS, mod_11_2.calc_check_digit),
    "iso7064-mod11-10": Scheme(1, _DIGITS, mod_11_10.calc_check_digit),
    "iso7064-mod37-2": Scheme(1, _DIGITS_AND_LETTERS, mod_37_2.calc_check_digit),
    "iso7064-mod37-36": Scheme(1, _DIGITS_AND_LETTERS, mod_37_36.calc_check_digit),
    "iso7064-mod97-10": Scheme(2, _DIGITS, mod_97_10.calc_check_digits),
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
    return scheme.compute(found[0].decode().upper()).encode()
