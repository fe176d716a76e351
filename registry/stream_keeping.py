"""Which streams are kept: so many of one identity, open and in all, and for so long.

One entry of `meta` an identity, written in the transaction that begins, ends or forgets a stream:

    "streams", 0x00, name of the identity's stream without a key -> u32 open, u32 kept

Streams that an older version began were not counted: such an identity has more than are told.

Old streams are looked for by going through all of them, some at a time and again from the first: a
look takes the writer nothing, and what it has to do is what is forgotten.
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

from protocol.codes import ResponseCode
from protocol.value import Reference
from registry.outcomes import Refusal, identity_text, refuse
from registry.streams import Stream, decode_stream, find_stream, stream_name
from registry.views import View, WriteView

META_START = b"streams\0"
_NUMBERS = struct.Struct(">II")


class StreamCounts(NamedTuple):
    """How many streams there are of one identity, or may be."""

    open: int
    kept: int


def find_counts(view: View, identity: Reference, owners_before: int) -> StreamCounts:
    """Return how many streams an identity has."""
    octets = view.find_meta(_key(identity, owners_before))
    return StreamCounts(0, 0) if octets is None else StreamCounts(*_NUMBERS.unpack(octets))


def refuse_beyond(
    view: View, identity: Reference, owners_before: int, bounds: StreamCounts
) -> Refusal | None:
    """Return why an identity may not begin one more stream; None: it may."""
    counts = find_counts(view, identity, owners_before)
    who = identity_text(identity)
    if counts.open >= bounds.open:
        words = (
            f"{who} has {counts.open:,} streams open, {bounds.open:,} may be: go on with one, or "
            "end one (an empty request with its key does)"
        )
    elif counts.kept >= bounds.kept:
        words = (
            f"the node keeps {counts.kept:,} streams of {who}, {bounds.kept:,} may be: send more "
            "rows in one, or wait until old ones are forgotten"
        )
    else:
        return None
    # Not "too busy": that this is tried again in a second helps nobody.
    return refuse(ResponseCode.INSUFFICIENT_PERMISSIONS, words)


def count_begun(view: WriteView, stream: Stream) -> None:
    """Count a stream that begins."""
    _add(view, stream, 1, 1)


def count_ended(view: WriteView, stream: Stream) -> None:
    """Count a stream that ends."""
    _add(view, stream, -1, 0)


class Bounds(NamedTuple):
    """Which streams are old: in milliseconds since 1970, compared with when they ended.

    A stream that has not ended is old when it began so long ago, one of which nothing was accepted
    when that was before `idle_before_ms`.
    """

    before_ms: int
    idle_before_ms: int

    def are_beyond(self, stream: Stream) -> bool:
        """Say whether a stream is old."""
        limit_ms = self.before_ms if stream.rows > stream.refused else self.idle_before_ms
        return (stream.ended_ms or stream.begun_ms) < limit_ms


def find_old(view: View, bounds: Bounds, after: bytes, limit: int) -> tuple[list[bytes], bytes]:
    """Look at up to `limit` streams beyond a name (empty: from the first on).

    Returns:
        The names of those that are old, and the name to go on after; empty: there are no more.
    """
    page = view.list_streams(after, limit)
    old = [name for name, octets in page if bounds.are_beyond(decode_stream(octets))]
    return old, page[-1][0] if len(page) == limit else b""


def forget(
    view: WriteView, names: Sequence[bytes], bounds: Bounds, entries_max: int
) -> Sequence[bytes]:
    """Forget old streams with all their verdicts, up to so many entries of the store.

    Returns:
        The names that are left.
    """
    deleted = 0
    for at, name in enumerate(names):
        stream = find_stream(view, name)
        if stream is None or not bounds.are_beyond(stream):
            continue  # somebody went on with it meanwhile
        deleted += view.delete_verdicts(name, entries_max - deleted)
        if deleted >= entries_max:
            return names[at:]
        view.delete_stream(name)
        _add(view, stream, 0 if stream.ended_ms else -1, -1)
        deleted += 1
    return ()


def _add(view: WriteView, stream: Stream, opened: int, kept: int) -> None:
    before = find_counts(view, stream.identity, stream.owners_before)
    after = StreamCounts(max(0, before.open + opened), max(0, before.kept + kept))
    key = _key(stream.identity, stream.owners_before)
    if any(after):
        view.put_meta(key, _NUMBERS.pack(*after))
    else:
        view.delete_meta(key)


def _key(identity: Reference, owners_before: int) -> bytes:
    return META_START + stream_name(identity, b"", owners_before)
