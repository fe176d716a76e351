"""Values of a file that state no timestamp, compared with what is stored.

A value without a timestamp gets the time of the load. When the load broke off and the file is
loaded again, that time is another one, but the value is the same: whatever timestamp is stored, it
does not contradict what the file says. So such a file can be loaded again like any other.
"""

from collections.abc import Sequence
from dataclasses import replace

from protocol.value import HandleValue


def first_difference(
    stated: Sequence[HandleValue], stored: Sequence[HandleValue], filled_s: int
) -> str:
    """Return in words how stored values differ from those of a file; empty: they do not.

    Args:
        stated: those of the file, in its order.
        stored: those of the store.
        filled_s: what was put in place of timestamps that the file does not state, beside 0.
    """
    if len(stated) != len(stored):
        return f"{len(stored)} values are stored, {len(stated)} are in the file"
    for one, other in zip(stated, stored, strict=True):
        is_dated = one.timestamp not in (0, filled_s)
        if (one if is_dated else replace(one, timestamp=other.timestamp)) != other:
            return f"the value at index {one.index} is stored otherwise"
    return ""
