"""Days as statistics count them: those of Shanghai, whose midnight is 16:00 UTC.

A day is the number of days since 1970-01-01 there. China has kept one time, eight hours ahead of
UTC, without summer time since 1991; no identifier is older, so the offset is a constant.
"""

from datetime import date

OFFSET_S = 8 * 3_600
DAY_S = 86_400
DAY_MAX = 2_932_896  # 9999-12-31: clocks that say more, or less than 1970, are cut here

_EPOCH = date(1970, 1, 1).toordinal()


def day_of(time_s: float) -> int:
    """Return the day of a time since 1970."""
    return min(max(int(time_s + OFFSET_S) // DAY_S, 0), DAY_MAX)


def start_of(day: int) -> int:
    """Return when a day begins, in seconds since 1970."""
    return day * DAY_S - OFFSET_S


def day_to_text(day: int) -> str:
    """Return `2026-11-21`."""
    return date.fromordinal(_EPOCH + day).isoformat()


def day_from_text(text: str) -> int:
    """Read `2026-11-21`. Raises: ValueError: it is none, or before 1970."""
    if len(text) != len("2026-11-21"):
        raise ValueError("a day is written as 2026-11-21")
    day = date.fromisoformat(text).toordinal() - _EPOCH
    if day < 0:
        raise ValueError("days are counted from 1970-01-01")
    return day
