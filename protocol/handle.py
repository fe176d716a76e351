"""Handles as octets: parts, validity, case folding, and the server a handle hashes to.

A handle is `prefix/suffix`. The prefix is case-insensitive, the suffix as its server is
configured, a handle that begins with `0.` entirely case-insensitive; folding is ASCII only and
there is no Unicode normalisation. A handle without a slash has the prefix part `0.NA`
(RFC 3651 §2).
"""

import hashlib
from collections.abc import Iterable

from protocol.errors import InvalidHandleError
from protocol.wire import HANDLE_OCTETS_MAX

PREFIX_PREFIX = b"0.NA"  # the prefix under which prefixes themselves are handles
PREFIX_HANDLE_START = b"0.NA/"
ROOT_HANDLE = b"0.NA/0.NA"


def fold_case(octets: bytes) -> bytes:
    """Return `octets` with ASCII a-z upper-cased and everything else untouched."""
    return octets.upper()  # of octets it touches nothing else


def split_handle(handle: bytes) -> tuple[bytes, bytes]:
    """Return (prefix, suffix). A handle without a slash is a suffix under `0.NA`."""
    prefix, slash, suffix = handle.partition(b"/")
    return (prefix, suffix) if slash else (PREFIX_PREFIX, handle)


def fold_handle(handle: bytes, *, case_sensitive: bool = False) -> bytes:
    """Return the form under which a handle is stored and compared.

    `x` without a slash becomes `0.NA/X`. With `case_sensitive` the suffix keeps its case, unless
    the handle begins with `0.`.
    """
    if not case_sensitive and b"/" in handle:
        return fold_case(handle)
    prefix, suffix = split_handle(handle)
    prefix = fold_case(prefix)
    if not case_sensitive or prefix.startswith(b"0."):
        suffix = fold_case(suffix)
    return prefix + b"/" + suffix


def fold_handles(handles: Iterable[bytes], *, case_sensitive: bool = False) -> list[bytes]:
    """Return what `fold_handle` makes of each."""
    if case_sensitive:
        return [fold_handle(each, case_sensitive=True) for each in handles]
    return [each.upper() if b"/" in each else fold_handle(each) for each in handles]


def check_handle(handle: bytes) -> None:
    """Raise InvalidHandleError unless `handle` may be created.

    It must be 1 to 2,048 octets of valid UTF-8 with a prefix before the first slash.
    """
    if not handle or len(handle) > HANDLE_OCTETS_MAX:
        raise InvalidHandleError(
            f"a handle has 1 to {HANDLE_OCTETS_MAX} octets, this one {len(handle)}"
        )
    try:
        handle.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidHandleError(f"octet {error.start} of the handle is not UTF-8") from None
    if handle.startswith(b"/"):
        raise InvalidHandleError("the handle has no prefix before its slash")


def prefix_handle(handle: bytes) -> bytes:
    """Return the handle of the prefix that `handle` is registered under: `a/b` -> `0.NA/A`."""
    return PREFIX_HANDLE_START + fold_case(split_handle(handle)[0])


def parent_prefix_handle(prefix_handle_: bytes) -> bytes | None:
    """Return `0.NA/A` for `0.NA/A.B`, `0.NA/0.NA` for `0.NA/A`, and None for `0.NA/0.NA`."""
    folded = fold_handle(prefix_handle_)
    if folded == ROOT_HANDLE:
        return None
    head, dot, _ = folded[len(PREFIX_HANDLE_START) :].rpartition(b".")
    return PREFIX_HANDLE_START + head if dot else ROOT_HANDLE


def is_prefix_handle(handle: bytes) -> bool:
    """Say whether `handle` is that of a prefix (`0.NA/88.118`, or without a slash)."""
    return fold_case(split_handle(handle)[0]) == PREFIX_PREFIX


def to_text(handle: bytes) -> str:
    """Return a handle as text to show; octets that are not UTF-8 appear as \\xNN."""
    return handle.decode("utf-8", "backslashreplace")


def hash_position(handle: bytes, hash_option: int, servers: int) -> int:
    """Return the position in a site's server list that `handle` hashes to.

    Args:
        handle: as asked.
        hash_option: 0 by prefix, 1 by suffix, 2 by the whole handle.
        servers: number of servers, at least 1.
    """
    if servers == 1:
        return 0
    prefix, suffix = split_handle(handle)
    part = (prefix, suffix, handle)[hash_option]
    digest = hashlib.md5(fold_case(part), usedforsecurity=False).digest()
    # Java's abs(-2**31) stays negative; its remainder by a power of two is 0 either way.
    return abs(int.from_bytes(digest[-4:], "big", signed=True)) % servers
