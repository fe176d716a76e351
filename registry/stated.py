"""What the lines of a file state of themselves: who did something, and when."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from protocol.value import Reference
from registry.errors import RangeError
from registry.journal import OWNER

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INDEX_DIGITS_MAX = 10


def read_identity(document: Mapping[str, Any], name: str) -> Reference:
    """Return the identity that a line states, the owner where it states none.

    Raises: RangeError.
    """
    text = document.get(name) or ""
    if not text:
        return OWNER
    index, colon, handle = str(text).partition(":")
    if not (colon and handle and index.isascii() and index.isdigit()) or (
        len(index) > _INDEX_DIGITS_MAX or int(index) >= 1 << 31
    ):
        raise RangeError(f"{name} must be an identity such as 300:0.NA/88.118, not {text!r}"[:200])
    return Reference(handle.encode("utf-8", "surrogateescape"), int(index))


def read_time(document: Mapping[str, Any], name: str, now_s: int) -> int:
    """Return the time that a line states, in seconds since 1970; `now_s` where it states none.

    Raises: RangeError.
    """
    text = document.get(name)
    if text is None:
        return now_s
    try:
        seconds = int((datetime.fromisoformat(str(text)) - _EPOCH).total_seconds())
    except (ValueError, TypeError, OverflowError):
        seconds = -1
    if not 0 <= seconds < 1 << 31:
        raise RangeError(f"{name} must be a time such as 2026-11-21T08:00:00Z, not {text!r}"[:200])
    return seconds
