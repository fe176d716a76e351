"""Which handles this node answers for, and to whom it refers for the others.

A handle `a/b` is ours when its prefix, homed as `0.NA/A`, is. A *prefix* handle `0.NA/A.B` is ours
when the root `0.NA/0.NA` is homed, or the marker `0.NA/0.NA/A` ("prefixes derived from A") of any
ancestor:

    top        homes 0.NA/0.NA, 0.NA/88            answers 0.NA/88.118, refers for 0.NA/88.118.5
    secondary  homes 0.NA/88.118, 0.NA/0.NA/88.118 answers 0.NA/88.118.5
    enterprise homes 0.NA/88.118.5                 answers 88.118.5/anything

A prefix handle that is not stored is referred to the node its nearest ancestor with delegation
values names, unless this node is that delegate. Nothing is answered for a prefix that is suspended
here, nor is anybody referred for it or a prefix derived from it: `find_silence` says why.
"""

from collections.abc import Iterator

from protocol.handle import (
    PREFIX_HANDLE_START,
    fold_handle,
    is_prefix_handle,
    parent_prefix_handle,
    prefix_handle,
    to_text,
)
from protocol.value import HandleValue
from registry.standings import (
    State,
    find_standing,
    second_text,
    silence_words,
)
from registry.views import View

# Keys of handles under a longer prefix would be cut inside it and could not be listed.
PREFIX_OCTETS_MAX = 400
DELEGATION_TYPES = frozenset({b"HS_SITE.PREFIX", b"HS_NA_DELEGATE", b"HS_SERV.PREFIX"})
_ANCESTORS_MAX = 64  # labels of one prefix looked at; ours, real ones have three


def prefix_marker(prefix_handle_: bytes) -> bytes:
    """Return what is homed to answer for all prefixes derived from one: `0.NA/0.NA/88.118`."""
    return PREFIX_HANDLE_START + fold_handle(prefix_handle_)


def ancestors(prefix_handle_: bytes) -> Iterator[bytes]:
    """Iterate from the parent of a prefix handle up to the root `0.NA/0.NA`."""
    parent = parent_prefix_handle(prefix_handle_)
    for _ in range(_ANCESTORS_MAX):
        if parent is None:
            return
        yield parent
        parent = parent_prefix_handle(parent)


def prefix_fault(prefix: str) -> str | None:
    """Return why a text such as `88.118.5` cannot be a prefix; None: it can."""
    octets = prefix.encode("utf-8", "surrogateescape")
    if len(PREFIX_HANDLE_START) + len(octets) > PREFIX_OCTETS_MAX:
        return f"a prefix has at most {PREFIX_OCTETS_MAX - len(PREFIX_HANDLE_START)} octets"
    if not all(prefix.split(".")) or not prefix.isprintable() or set(prefix) & set(' /"\\'):
        return "write parts joined by dots, 88.118.5"
    return None


def is_responsible(view: View, handle: bytes) -> bool:
    """Say whether this node answers for a handle, stored or not."""
    if view.is_homed(prefix_handle(handle)):
        return True
    if not is_prefix_handle(handle):
        return False
    return any(view.is_homed(prefix_marker(ancestor)) for ancestor in ancestors(handle))


def find_referral(view: View, handle: bytes) -> tuple[HandleValue, ...]:
    """Return the public delegation values to refer a prefix handle with; empty: none.

    Those of the nearest ancestor that has some: one that is stored and delegates nothing leaves it
    to its own ancestors (wire-notes §12).
    """
    if not is_prefix_handle(handle):
        return ()
    for ancestor in ancestors(handle):
        if view.is_homed(prefix_marker(ancestor)):
            return ()  # delegated to this very node
        record = view.find_record(ancestor) if is_responsible(view, ancestor) else None
        delegation = tuple(
            value
            for value in (record.values if record is not None else ())
            if value.is_public and value.type in DELEGATION_TYPES
        )
        if delegation:
            return delegation
    return ()


def lives_here(view: View, handle: bytes) -> bool:
    """Say whether this node is the one to look a handle up at.

    It answers for the handles of all prefixes it is an ancestor of, but one that is not stored and
    is delegated lives where it is referred to.
    """
    if not is_responsible(view, handle):
        return False
    if not is_prefix_handle(handle) or view.find_record(handle) is not None:
        return True
    return not is_delegated(view, handle)


def is_delegated(view: View, handle: bytes) -> bool:
    """Say whether a handle that is not stored here is one of a prefix that others look after."""
    return bool(find_referral(view, handle)) and find_silence(view, handle) is None


def find_silence(view: View, handle: bytes) -> str | None:
    """Return why nothing is answered for a handle that was not found; None: for another reason.

    Raises:
        RecordError: what is noted of the prefix is damaged.
    """
    is_prefix = is_prefix_handle(handle)
    own = fold_handle(handle) if is_prefix else prefix_handle(handle)
    for each in (own, *(ancestors(own) if is_prefix else ())):
        standing = find_standing(view, each)
        if standing is not None and standing.silent:
            return silence_words(each, standing)
    return None


def find_release(view: View, handle: bytes) -> str | None:
    """Return why nothing new is registered beside a handle; None: it may be.

    Raises:
        RecordError: what is noted of the prefix is damaged.
    """
    prefix = prefix_handle(handle)
    standing = find_standing(view, prefix)
    if standing is None or standing.state != State.TO_BE_DELETED:
        return None
    name = to_text(prefix[len(PREFIX_HANDLE_START) :])
    since = second_text(standing.since_s)
    return f"{name} is to be deleted since {since}, nothing is registered: {standing.reason}"
