"""Quotas of a prefix and day: how many identifiers are registered, how many requests taken.

    "q", prefix handle -> [format, identifiers a day, requests a day]   -1: no limit    journaled
    "u", prefix handle -> [day, identifiers registered on it]                           here only
    "r", prefix handle -> [day, requests taken on it]                                   here only

A day is Shanghai's, UTC+8 all year. Identifiers are counted in the transaction that creates them,
so a quota is exact; what is deleted is not given back. Requests are those to register, change or
delete one handle; they are counted in the registrar's memory and kept every second. Look-ups are
not counted. A prefix without a quota costs one look-up a batch.
"""

import struct
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec

from protocol.codes import ResponseCode
from protocol.handle import PREFIX_HANDLE_START, prefix_handle, to_text
from registry.errors import RecordError
from registry.offices import IDENTIFIERS, OFFICES, QUOTA, REQUESTS, Entries, prefix_key
from registry.outcomes import Refusal, refuse
from registry.schema import KEY_OCTETS_MAX
from registry.views import View, WriteView

FORMAT = 1
NO_LIMIT = -1
LIMIT_MAX = 1 << 53  # JSON's
DAY_S = 86_400
SHANGHAI = timezone(timedelta(hours=8))
NEAR = 0.8  # of a quota: from there on the operator is told

_USED = struct.Struct(">qQ")


@dataclass(frozen=True, slots=True)
class Quota:
    """What a prefix may do in a day; NO_LIMIT: as much as it likes."""

    identifiers: int = NO_LIMIT
    requests: int = NO_LIMIT

    def limit(self, kind: bytes) -> int:
        """Return the limit of IDENTIFIERS or REQUESTS."""
        return self.identifiers if kind == IDENTIFIERS else self.requests

    def encode(self) -> bytes:
        """Return the octets that are stored."""
        return msgspec.msgpack.encode((FORMAT, self.identifiers, self.requests))


NAMES = {IDENTIFIERS: "identifiers", REQUESTS: "requests"}


def decode_quota(octets: bytes) -> Quota:
    """Take a stored quota apart. Raises: RecordError."""
    try:
        format_, identifiers, requests = msgspec.msgpack.decode(octets, type=tuple[int, int, int])
    except msgspec.MsgspecError as error:
        raise RecordError(f"a quota does not decode: {error}") from None
    if format_ != FORMAT:
        raise RecordError(f"a quota has format {format_}, this version reads {FORMAT}")
    return Quota(identifiers, requests)


def find_quota(view: View, handle: bytes) -> Quota | None:
    """Return the quota of a prefix handle. Raises: RecordError."""
    key = prefix_key(QUOTA, handle)
    octets = view.table(OFFICES).get(key) if len(key) <= KEY_OCTETS_MAX else None
    return None if octets is None else decode_quota(octets)


def day_of(now_s: int) -> int:
    """Return the number of Shanghai's day."""
    return (now_s + 8 * 3_600) // DAY_S


def resets_s(now_s: int) -> int:
    """Return when the day ends, in seconds since 1970."""
    return (day_of(now_s) + 1) * DAY_S - 8 * 3_600


def resets_text(now_s: int) -> str:
    """Return the same as RFC 3339 has it, in Shanghai's time."""
    return datetime.fromtimestamp(resets_s(now_s), SHANGHAI).isoformat()


def used_today(view: View, kind: bytes, handle: bytes, now_s: int) -> int:
    """Return how many IDENTIFIERS or REQUESTS a prefix has used today."""
    octets = view.table(OFFICES).get(prefix_key(kind, handle))
    return used_of(octets, now_s)


def used_of(octets: bytes | None, now_s: int) -> int:
    """Return what a stored count says of today."""
    if octets is None:
        return 0
    day, used = _USED.unpack(octets)
    return int(used) if day == day_of(now_s) else 0


def put_used(view: WriteView, kind: bytes, handle: bytes, used: int, now_s: int) -> None:
    """Keep how many were used today."""
    view.writable(OFFICES).put(prefix_key(kind, handle), _USED.pack(day_of(now_s), used))


def refuse_beyond(view: View, handle: bytes, wanted: int, now_s: int) -> Refusal | None:
    """Return why so many new identifiers are too many for the prefix of `handle`, or None.

    Args:
        view: of the transaction that creates them.
        handle: one of them.
        wanted: how many.
        now_s: the time since 1970.
    """
    prefix = prefix_handle(handle)
    quota = find_quota(view, prefix)
    if quota is None or quota.identifiers == NO_LIMIT:
        return None
    used = used_today(view, IDENTIFIERS, prefix, now_s)
    if used + wanted <= quota.identifiers:
        return None
    return refusal_of(prefix, IDENTIFIERS, used, quota.identifiers, now_s)


def refusal_of(handle: bytes, kind: bytes, used: int, limit: int, now_s: int) -> Refusal:
    """Return the refusal of what goes beyond a quota."""
    prefix = to_text(handle[len(PREFIX_HANDLE_START) :])
    words = (
        f"{prefix} has used {used} of {limit} {NAMES[kind]} today; "
        f"its quota begins anew at {resets_text(now_s)}"
    )
    # Not "too busy": nobody shall try again in a second, or at another server.
    return refuse(ResponseCode.INSUFFICIENT_PERMISSIONS, words)


def count_created(view: WriteView, handle: bytes, created: int, now_s: int) -> None:
    """Count new identifiers, in the transaction that creates them, if their prefix has a quota."""
    prefix = prefix_handle(handle)
    quota = find_quota(view, prefix)
    if quota is not None and quota.identifiers != NO_LIMIT:
        used = used_today(view, IDENTIFIERS, prefix, now_s)
        put_used(view, IDENTIFIERS, prefix, used + created, now_s)


def left_of(view: View, prefix: bytes, now_s: int) -> int:
    """Return how many identifiers may be created today under a prefix that has a quota.

    `prefix` is folded: `88.118.5`.
    """
    handle = PREFIX_HANDLE_START + prefix
    quota = find_quota(view, handle) or Quota()
    return max(0, quota.identifiers - used_today(view, IDENTIFIERS, handle, now_s))


def keep_within(fit: list[bool], prefixes: Sequence[bytes], left: dict[bytes, int]) -> None:
    """Leave so many of each prefix fit as are left of its quota, the first ones.

    Args:
        fit: what may be created; changed.
        prefixes: of each.
        left: by prefix, of those that have a quota; changed.
    """
    for at, prefix in enumerate(prefixes):
        if fit[at] and prefix in left:
            fit[at] = left[prefix] > 0
            left[prefix] -= 1


def count_names(
    view: WriteView, names: Sequence[bytes], prefixes: Collection[bytes], now_s: int
) -> None:
    """Count new identifiers by their folded names, those of `prefixes`, which have quotas."""
    created = Counter(name.partition(b"/")[0] for name in names)
    for prefix in prefixes:
        if created[prefix]:
            count_created(view, prefix + b"/", created[prefix], now_s)


def counted_entries(view: View, handle: bytes, created: int, now_s: int) -> Entries:
    """Return what keeps count of identifiers that an act creates; nothing without a quota."""
    prefix = prefix_handle(handle)
    quota = find_quota(view, prefix)
    if quota is None or quota.identifiers == NO_LIMIT:
        return ()
    used = used_today(view, IDENTIFIERS, prefix, now_s) + created
    return ((prefix_key(IDENTIFIERS, prefix), _USED.pack(day_of(now_s), used)),)


def quota_form(view: View, handle: bytes, now_s: int) -> dict[str, Any]:
    """Return a prefix's quotas, what is used and left today, and when they begin anew."""
    quota = find_quota(view, handle) or Quota()
    form: dict[str, Any] = {"prefix": to_text(handle[len(PREFIX_HANDLE_START) :])}
    for kind, name in NAMES.items():
        limit = quota.limit(kind)
        used = used_today(view, kind, handle, now_s) if limit != NO_LIMIT else 0
        left = max(0, limit - used) if limit != NO_LIMIT else None
        form[name] = {"perDay": None if limit == NO_LIMIT else limit, "used": used, "left": left}
    return form | {"resets": resets_text(now_s)}
