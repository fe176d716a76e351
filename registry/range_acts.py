"""The acts on ranges: register, show, list, count, shrink, split, revoke.

    ranges.register  the document (`registry.range_documents`)       -> {"range"}
    ranges.show      {"identifier"}                                  -> {"range"} around it
    ranges.list      {"prefix", "stem", "after", "limit"}            -> {"ranges", "next"}
    ranges.count     {"prefix"}                                      -> numbers, exact
    ranges.shrink    {"identifier" in it, "first", "last", "existing"} -> {"range"}
    ranges.split     {"identifier", first of the second part}        -> {"ranges"}
    ranges.revoke    {"identifier" in it, "reason", "existing"}      -> {"range"}

Who may create handles under a prefix may register ranges; shrinking, splitting and revoking takes
the permission to delete their identifiers, listing and counting that to list handles. Anybody may
see a range, as anybody may resolve its identifiers: with the values that everybody may read.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from protocol.codes import AdminPermission, OpCode, ResponseCode
from protocol.errors import InvalidHandleError
from protocol.handle import (
    PREFIX_HANDLE_START,
    check_handle,
    fold_handle,
    prefix_handle,
    to_text,
)
from registry import quotas
from registry.act_steps import NOBODY, ActDecider, ActOutcome, ActStep, Done, TakesLong
from registry.authorization import (
    HS_ADMIN,
    Authorization,
    Permitted,
    administrators,
    authorize,
)
from registry.creation_rights import CreationRights
from registry.errors import LongWalkError, RangeError
from registry.journal import OWNER, Kind
from registry.outcomes import Need, Refusal, refuse
from registry.prefixes import find_silence, is_responsible
from registry.range_changes import REGISTER, REVOKE, SHRINK, SPLIT, pack_changes
from registry.range_documents import Range, read_document, read_range
from registry.range_making import make_range
from registry.range_records import STEM_OCTETS_MAX, RangeChange
from registry.range_rows import STEPS_MAX
from registry.range_shown import name_range, read_shown, show_range
from registry.ranges import (
    changes_to,
    check_free,
    count_rows,
    find_range_of,
    number_of,
    revoked_range,
    shrunk,
    split,
)
from registry.schema import KEY_OCTETS_MAX, Record

LIMIT_MAX = 1_000  # ranges of one page
LOOKED_AT_MAX = 10_000  # of one page, with those that do not begin with the stem asked for


def _refusing(decide: ActDecider) -> ActDecider:
    """Turn a RangeError into the answer it asks for, a long walk into `TakesLong`."""

    def decided(step: ActStep) -> ActOutcome:
        try:
            return decide(step)
        except LongWalkError as error:
            if step.steps_max < STEPS_MAX:
                return TakesLong()
            return refuse(error.response_code, str(error))
        except RangeError as error:
            return refuse(error.response_code, str(error))

    return decided


@_refusing
def register(step: ActStep) -> ActOutcome:
    """Decide about ranges.register."""
    described = read_document(step.parameters)
    handle = described.stem + described.first
    not_here = _not_here(step, handle)
    if not_here is not None:
        return not_here
    if step.identity is None:
        return NOBODY
    new = make_range(described, step.view.fold, by=step.identity, now_s=step.now_s)
    right = creation_right(step, handle)
    if not isinstance(right, Permitted):
        return right
    kept = check_free(step.view, new, keeps_rows=described.keeps_rows, steps_max=step.steps_max)
    created = new.span.size - kept
    refusal = quotas.refuse_beyond(step.view, handle, created, step.now_s)
    if refusal is not None:
        return refusal
    done = _changed(step, REGISTER, [(new.key, new.octets)], {"range": _form(new)})
    return replace(done, own=quotas.counted_entries(step.view, handle, created, step.now_s))


def _form(range_: Range) -> dict[str, Any]:
    return show_range(range_, public_only=False)


def _not_here(step: ActStep, handle: bytes) -> Refusal | None:
    if is_responsible(step.view, handle):
        return None
    silence = find_silence(step.view, handle)
    if silence is not None:
        return refuse(ResponseCode.INSUFFICIENT_PERMISSIONS, silence)
    return refuse(
        ResponseCode.SERVER_NOT_RESPONSIBLE,
        f"the prefix of {to_text(handle)} is not homed on this node",
    )


def creation_right(step: ActStep, handle: bytes) -> Authorization:
    """Return whether the identity may create handles under the prefix of one."""
    if step.identity is None:
        return NOBODY
    rights = CreationRights(
        step.view, step.identity, step.knowledge.foreign, step.policy, step.now_s
    )
    return rights.find(handle, step.view.fold(handle))


def _changed(step: ActStep, verb: str, changes: list[RangeChange], result: dict[str, Any]) -> Done:
    stem = changes[0][0].partition(b"\0")[0]
    return Done(result, (step.operation(Kind.RANGES, stem, pack_changes(verb, changes)),))


def show(step: ActStep) -> ActOutcome:
    """Decide about ranges.show."""
    found = _find(step)
    if isinstance(found, Refusal):
        return found
    _, range_ = found
    right = _permission(step, range_, AdminPermission.READ_VALUE)
    if isinstance(right, Need):
        return right
    return Done({"range": show_range(range_, public_only=not isinstance(right, Permitted))})


def _permission(step: ActStep, range_: Range, needed: int) -> Authorization:
    """Say whether the identity may do something to a whole range.

    Its own HS_ADMIN values count, without any those of its prefix; not those of single identifiers.
    """
    if step.identity is None:
        return NOBODY
    record = Record(tuple(pattern.value for pattern in read_shown(range_).patterns))
    if not record.of_type(HS_ADMIN) and step.policy.allow_na_admins:
        return step.permission(prefix_handle(range_.first), needed)
    holders = step.policy.roles.holders(OpCode.CREATE_HANDLE)
    candidates = [*holders, *administrators(record, needed)]
    return authorize(step.knowledge, step.identity, candidates)


def _find(step: ActStep) -> tuple[bytes, Range] | Refusal:
    """Return the identifier that is asked for, and the range around it."""
    item = step.parameters.get("identifier")
    handle = item if isinstance(item, bytes) else str(item or "").encode("utf-8", "replace")
    try:
        check_handle(handle)
    except InvalidHandleError as error:
        return refuse(ResponseCode.INVALID_HANDLE, f"identifier: {error}")
    not_here = _not_here(step, handle)
    if not_here is not None:
        return not_here
    range_ = find_range_of(step.view, handle)
    if range_ is None:
        return refuse(ResponseCode.HANDLE_NOT_FOUND, f"{to_text(handle)} is in no range")
    return handle, range_


Changer = Callable[[ActStep, bytes, Range], ActOutcome]


def _changing(change: Changer) -> ActDecider:
    """Return the decider of a change of the range around an identifier."""

    def decide(step: ActStep) -> ActOutcome:
        found = _find(step)
        if isinstance(found, Refusal):
            return found
        handle, range_ = found
        if range_.revoked is not None:
            words = f"{name_range(range_)} was revoked: it stays as it is"
            return refuse(ResponseCode.HANDLE_NOT_FOUND, words)
        right = _permission(step, range_, AdminPermission.DELETE_HANDLE)
        return change(step, handle, range_) if isinstance(right, Permitted) else right

    return _refusing(decide)


def _shrink(step: ActStep, _: bytes, range_: Range) -> ActOutcome:
    first, last = (str(step.parameters.get(name) or "") for name in ("first", "last"))
    new = shrunk(range_, first.encode("utf-8", "replace"), last.encode("utf-8", "replace"))
    keeps_rows = _keeps_rows(step)
    for low, high in (
        (range_.span.low, new.span.low - 1), (new.span.high + 1, range_.span.high)
    ):  # fmt: skip
        if low <= high:
            instead = "take away fewer identifiers at a time"
            _count_rows(step, range_, low, high, instead, keeps_rows=keeps_rows)
    if new.octets == range_.octets and new.key == range_.key:
        return Done({"range": _form(new)})
    return _changed(step, SHRINK, changes_to(range_, new), {"range": _form(new)})


def _count_rows(
    step: ActStep, range_: Range, low: int, high: int, instead: str, *, keeps_rows: bool
) -> None:
    """Make sure that the rows in a part of a range may stay, and are not too many."""
    count_rows(
        step.view,
        range_,
        low,
        high,
        keeps_rows=keeps_rows,
        steps_max=step.steps_max,
        instead=instead,
    )


def _keeps_rows(step: ActStep) -> bool:
    existing = step.parameters.get("existing", "refuse")
    if existing not in ("refuse", "keep"):
        raise RangeError(f"existing must be refuse or keep, not {str(existing)[:40]!r}")
    return bool(existing == "keep")


def _split(step: ActStep, handle: bytes, range_: Range) -> ActOutcome:
    parts = split(range_, number_of(range_, step.view.fold(handle)))
    result = {"ranges": [_form(part) for part in parts]}
    return _changed(step, SPLIT, changes_to(range_, *parts), result)


def _revoke(step: ActStep, _: bytes, range_: Range) -> ActOutcome:
    reason = step.parameters.get("reason")
    words = reason if isinstance(reason, str) else ""
    new = revoked_range(range_, step.identity or OWNER, step.now_s, words)
    span = range_.span
    instead = "split it there, and revoke one part after the other"
    _count_rows(step, range_, span.low, span.high, instead, keeps_rows=_keeps_rows(step))
    return _changed(step, REVOKE, changes_to(range_, new), {"range": _form(new)})


def list_ranges(step: ActStep) -> ActOutcome:
    """Decide about ranges.list; a page may be short where many others lie between."""
    prefix = _prefix(step)
    if not isinstance(prefix, bytes):
        return prefix
    stem, after, limit = (step.parameters.get(name) for name in ("stem", "after", "limit"))
    if limit is None:
        limit = LIMIT_MAX
    if not isinstance(limit, int) or not 1 <= limit <= LIMIT_MAX:
        return refuse(ResponseCode.INVALID_VALUE, f"limit must be a number, 1 to {LIMIT_MAX}")
    start = step.view.fold(str(stem).encode("utf-8", "replace")) if stem else prefix + b"/"
    if not start.startswith(prefix + b"/") or len(start) > STEM_OCTETS_MAX:
        return refuse(
            ResponseCode.INVALID_VALUE,
            f"stem must begin with {to_text(prefix)}/ and have at most {STEM_OCTETS_MAX} octets",
        )
    try:
        cursor = bytes.fromhex(str(after or "")[: 2 * KEY_OCTETS_MAX])
    except ValueError:
        return refuse(ResponseCode.INVALID_VALUE, 'after must be the "next" of a page before')
    ranges, following = _page(step, start, cursor, limit)
    return Done({"ranges": ranges, "next": following.hex()})


def _page(
    step: ActStep, start: bytes, after: bytes, limit: int
) -> tuple[list[dict[str, Any]], bytes]:
    """Return the ranges whose identifiers begin with `start`, and the key to go on after."""
    found: list[dict[str, Any]] = []
    stem = start.rstrip(b"0123456789")
    for looked_at, (key, octets) in enumerate(step.view.table("ranges").items(after, stem)):
        if key == after:
            continue
        range_ = read_range(key, octets)
        if range_.first.startswith(start) or _last(range_).startswith(start):
            found.append(show_range(range_))
        if len(found) == limit or looked_at == LOOKED_AT_MAX:
            return found, key
    return found, b""


def _last(range_: Range) -> bytes:
    return range_.span.stem + range_.key[-range_.span.tail_octets :]


def count(step: ActStep) -> ActOutcome:
    """Decide about ranges.count."""
    prefix = _prefix(step)
    if not isinstance(prefix, bytes):
        return prefix
    counts = step.view.counts(prefix)
    return Done(
        {
            "prefix": to_text(prefix),
            "rows": counts.rows,
            "ranges": counts.ranges,
            "identifiers": counts.identifiers,
            "inRanges": counts.in_ranges,
            "overrides": counts.overrides - counts.deleted,
            "deleted": counts.deleted,
            "revoked": counts.revoked,
            "revokedRanges": counts.revoked_ranges,
            "inRevoked": counts.in_revoked,
        }
    )


def _prefix(step: ActStep) -> bytes | ActOutcome:
    """Return the folded prefix whose handles the identity may list."""
    item = step.parameters.get("prefix")
    text = item if isinstance(item, bytes) else str(item or "").encode("utf-8", "replace")
    prefix = fold_handle(text)[len(PREFIX_HANDLE_START) :] if b"/" in text else text.upper()
    if not prefix or b"/" in prefix:
        return refuse(
            ResponseCode.INVALID_HANDLE, f"prefix must be one such as 88.118.5, not {item!r}"[:200]
        )
    not_here = _not_here(step, prefix + b"/")
    if not_here is not None:
        return not_here
    if step.identity is None:
        return NOBODY
    right = step.permission(prefix_handle(prefix + b"/"), AdminPermission.LIST_HANDLES)
    return prefix if isinstance(right, Permitted) else right


ACTS: dict[str, ActDecider] = {
    "ranges.register": register,
    "ranges.show": show,
    "ranges.list": list_ranges,
    "ranges.count": count,
    "ranges.shrink": _changing(_shrink),
    "ranges.split": _changing(_split),
    "ranges.revoke": _changing(_revoke),
}
READING_ACTS = frozenset({"ranges.show", "ranges.list", "ranges.count"})
