"""Where a browser may be sent: addresses out of records, made safe for a header.

`https`, `http` and `ftp` lead to a place and do nothing else; every other scheme (`javascript`,
`data`, a program's own) may act in the browser or on the machine of whoever follows an identifier,
so it is shown and not followed. What stands in a `Location` is ASCII without control characters:
names of hosts in other scripts are written as DNS has them (IDNA), the rest as %XX.
"""

import contextlib
import re
from urllib.parse import quote, urlsplit

_FOLLOWED = re.compile(
    rb"(?i)((?:https?|ftp)://(?:[^/?#@\x00-\x20\x7f]*@)?)([^/?#@:\x00-\x20\x7f\[]+|\[[0-9a-f:.]+\])"
    rb"((?::[0-9]*)?(?:[/?#][^\x00-\x1f\x7f]*)?)\Z"
)
TARGET_OCTETS_MAX = 8_192  # what browsers and proxies take of an address
_URL_SAFE = "%/:?#[]@!$&'()*+,;=~-._"


def find_target(address: bytes) -> str | None:
    """Return an address as a `Location` header may have it; None: nobody is sent there."""
    if len(address) > TARGET_OCTETS_MAX:
        return None
    match = _FOLLOWED.match(address.strip())
    if match is None:
        return None
    before, host, rest = match.groups()
    return quote(before, safe=_URL_SAFE) + _host(host) + quote(rest, safe=_URL_SAFE)


def _host(name: bytes) -> str:
    """Return a host's name as DNS has it, or quoted where it is no such name."""
    if not name.isascii():
        with contextlib.suppress(UnicodeError):
            return name.decode().encode("idna").decode()
    return quote(name, safe=_URL_SAFE)


def append(target: str, addition: bytes) -> str | None:
    """Return a target with octets behind it; None when they would lead elsewhere.

    Behind `https://a.example`, `.evil.example` or `@evil.example` would name another host.
    """
    made = find_target(target.encode() + addition)
    if made is None or _place(made) != _place(target):
        return None
    return made


def _place(target: str) -> tuple[str, str] | None:
    try:
        parts = urlsplit(target)
    except ValueError:  # brackets that hold no address of IPv6
        return None
    return parts.scheme.lower(), parts.netloc
